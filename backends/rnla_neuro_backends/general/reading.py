"""Reads neuron types and projection types of a model file into the parts of a `GeneralForm`."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.derive_plasticity import _Projection
from rnla_neuro.spec.equations import Equation, assigned, split_equations, split_statements
from rnla_neuro.spec.expressions import parse, split_call, split_decision
from rnla_neuro.spec.form import Update
from rnla_neuro.spec.model import ModelSpec, NeuronSpec, SynapseSpec
from rnla_neuro.spec.proof import Scope, derivative, number, symbol
from rnla_neuro_backends.general.form import Group, Plasticity, Population, refuse, stripped

DECISION = "rnla_decision"
_UNITS = {"second": "1", "s": "1", "ms": "0.001", "us": "0.000001"}


class _Neurons:
    """Collects the variables of one neuron type."""

    def __init__(self, model: ModelSpec, kind: str, parameters: Mapping[str, float]) -> None:
        self.model, self.kind, self.parameters, self.file = model, kind, parameters, model.path.name
        self.where = f"[neuron.{kind}]"
        self.spec: NeuronSpec = model.neurons[kind]
        self.own: dict[str, Equation] = split_equations(self.spec.equations, f"{self.file}: {self.where} equations")
        self.expr = {name: self.parse(eq.text, f"equations, {eq.left}") for name, eq in self.own.items()}
        self.algebraic = {name: self.expr[name] for name, eq in self.own.items() if not eq.is_ode}
        self.odes = {name: self.expr[name] for name, eq in self.own.items() if eq.is_ode}

    def parse(self, text: str, key: str) -> sp.Expr:
        return parse(text, f"{self.file}: {self.where} {key}", symbol)

    def rate_function(self) -> None:
        if self.spec.phi is None:
            return
        phi = self.parse(self.spec.phi, "phi")
        self.algebraic["phi"] = phi
        self.algebraic["phi_prime"] = derivative(phi, symbol(self.model.roles["voltage"]))

    def groups(self) -> tuple[Group, ...]:
        found = []
        for name, text in self.spec.group.items():
            call = split_call(text, f"{self.file}: {self.where} group.{name}")
            assert call is not None, "the loader has checked it"
            found.append(Group(name, call[0], self.parse(call[1][0], f"group.{name}")))
        return tuple(found)

    def process(self) -> str | None:
        """Return the variable that the exploration law sets: the noise in the voltage, or the file's own current."""
        if self.kind == "action" and self.model.takes_target:
            return "target"
        noise = self.model.roles.get("noise")
        if self.kind != "action" or noise is None:
            return None
        return "noise" if noise in self.own else noise

    def past(self) -> tuple[str, ...]:
        used = {s.name for e in (*self.expr.values(),) for s in e.free_symbols}
        return tuple(sorted(name.removesuffix("_prev") for name in used if name.endswith("_prev")))

    def decision(self) -> None:
        where = f"{self.file}: [exploration] decision"
        text, tau = split_decision(self.model.exploration.decision, where)
        argument = parse(text, where, symbol)
        if tau is None:
            self.algebraic[DECISION] = argument
        else:
            self.odes[DECISION] = (argument - symbol(DECISION)) / parse(tau, where, symbol)

    def condition(self, text: str) -> sp.Basic:
        """Read a threshold: a comparison, read as int(…) is."""
        value = self.parse(f"int({text})", "threshold")
        if not isinstance(value, sp.Piecewise):
            return sp.true if value == 1 else sp.false
        return value.args[0][1]

    def resets(self, text: str) -> tuple[tuple[str, sp.Expr], ...]:
        found = []
        for statement in split_statements(text, f"{self.file}: {self.where} reset"):
            if statement.name not in self.odes:
                raise refuse(self.file, f"{self.where} reset", f"'{statement}' changes {statement.name!r}, not a state")
            value = self.parse(statement.text, "reset")
            found.append((statement.name, assigned(statement.op, symbol(statement.name), value)))
        return tuple(found)

    def refractory(self) -> float | sp.Expr:
        if not self.spec.refractory:
            return 0.0
        where = f"{self.file}: {self.where} refractory"

        def named(name: str) -> sp.Expr:
            return sp.Rational(_UNITS[name]) if name in _UNITS else symbol(name)

        value = parse(self.spec.refractory, where, named)
        names = {s.name for s in value.free_symbols}
        foreign = sorted(names - {*self.parameters, *self.spec.constants})
        if foreign:
            raise refuse(self.file, f"{self.where} refractory", f"{foreign[0]!r} is not a parameter")
        return value if names & set(self.spec.constants) else number(value, self.parameters, where)

    def ordered(self) -> tuple[tuple[str, sp.Expr], ...]:
        graph = {
            name: {s.name for s in expr.free_symbols if s.name in self.algebraic}
            for name, expr in self.algebraic.items()
        }
        try:
            order = list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            raise refuse(self.file, f"{self.where} equations", f"{error.args[1][0]!r} depends on itself") from None
        return tuple((name, self.algebraic[name]) for name in order)

    def result(self) -> Population:
        past, process, groups, spec = self.past(), self.process(), self.groups(), self.spec
        if self.kind != "input":
            self.rate_function()
        if self.kind == "action":
            self.decision()
        spikes = spec.threshold is not None
        return Population(
            self.kind,
            self.ordered(),
            tuple(self.odes.items()),
            frozenset(name for name, eq in self.own.items() if eq.pauses),
            past,
            groups,
            process,
            None if spec.threshold is None else self.condition(spec.threshold),
            self.resets(spec.reset) if spikes else (),
            self.refractory() if spikes else 0.0,
            tuple(spec.constants),
        )


def population_of(model: ModelSpec, kind: str, parameters: Mapping[str, float]) -> Population:
    """Read a neuron type.

    Raises:
        BackendError: It has something that the kernel cannot run; the message names it.
    """
    return _Neurons(model, kind, parameters).result()


class _Parts(Scope):
    """A scope in which some right sides are replaced by a part of them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.replaced: dict[str, sp.Expr] = {}

    def right(self, name: str) -> sp.Expr:
        """Return the right side of a variable's equation."""
        return self.replaced[name] if name in self.replaced else super().right(name)


class _Changes(_Projection):
    """Traces and weight changes of a projection whose post- and presynaptic factors are any functions."""

    def __init__(self, model: ModelSpec, part: str, parameters: Mapping[str, float]) -> None:
        self.model, self.part, self.parameters, self.file = model, part, parameters, model.path.name
        chain: dict[str, SynapseSpec] = {"hidden": model.synapse_hidden, "action": model.synapse_action}
        section = f"synapse.{part}" if part in chain else f"projection.{part}"
        self.spec, self.weight = (chain | dict(model.projections))[part], model.roles["weight"]
        self.equations = split_equations(self.spec.equations, f"{self.file}: [{section}] equations")
        self.traces = tuple(name for name, eq in self.equations.items() if eq.is_ode and name != self.weight)
        self._keeps: dict[str, sp.Expr] = {}
        self.scope = self._parts = _Parts(self.file, section, self.equations, {*self.traces, self.weight})

    def separated(self) -> Plasticity:
        """Separate what drives the traces into post- and presynaptic factors."""
        factors: list[sp.Expr] = []
        rows: list[dict[int, sp.Expr]] = []
        matrix = []
        for name in self.traces:
            right, key = self.scope.right(name), f"equations, d{name}/dt"
            symbols = [symbol(trace) for trace in self.traces]
            matrix.append([self._decay(key, sp.diff(right, trace)) for trace in symbols])
            rest = right.xreplace(dict.fromkeys(symbols, sp.Integer(0)))
            rows.append({})
            for pre, post in self._terms(key, rest).items():
                if pre not in factors:
                    factors.append(pre)
                rows[-1][factors.index(pre)] = post
        growth, decay = self._growth()
        count = len(self.traces)
        shape = [tuple(row.get(k, sp.Integer(0)) for k in range(len(factors))) for row in rows]
        sent = [stripped(factor, "_pre") for factor in factors]
        return Plasticity(
            self.traces,
            np.array(matrix, float).reshape(count, count),
            tuple(own for own, _ in sent),
            tuple(bias for _, bias in sent),
            tuple(tuple(stripped(post, "_post")[0] for post in row) for row in shape),
            {channel: self.update(channel, text) for channel, text in self.spec.on_event.items()},
            {channel: keep for channel, keep in self._keeps.items() if keep != 1},
            self.flows(),
            growth,
            decay,
        )

    def update(self, channel: str, text: str) -> Update:
        """Read what an event does: statements one after the other, each linear in the weight and the traces."""
        key, weight = f"on_event.{channel}", symbol(self.weight)
        known = self._allowed(channel)
        gains: list[sp.Expr] = [sp.Integer(0)] * len(self.traces)
        alive, keep = set(self.traces), sp.Integer(1)
        for statement in split_statements(text, f"{self.file}: [{self.scope.section}] {key}"):
            value = self.scope.parse(statement.text, key)
            if statement.name in self.traces and statement.op == "=" and value == 0:
                alive.discard(statement.name)
                continue
            if statement.name != self.weight:
                raise self.scope.refuse(key, f"statement '{statement}' changes {statement.name!r}, not the weight")
            whole = sp.expand(assigned(statement.op, weight, value))
            factor = sp.diff(whole, weight)
            self.scope.only(key, factor, known, "a weight is multiplied by modulators and parameters")
            change = self.gains(key, sp.expand(whole - factor * weight), alive, known)
            keep, gains = factor * keep, [factor * a + b for a, b in zip(gains, change, strict=True)]
        self._keeps[channel] = keep
        return Update(tuple(gains), tuple(name not in alive for name in self.traces))

    def _allowed(self, channel: str) -> set[str]:
        """Return what a weight change at an event may read."""
        modulator, where = self.model.neuromodulators[channel], f"{self.file}: [neuromodulator.{channel}]"
        assigned = {statement.name for statement in split_statements(modulator.on_event, where)}
        assigned |= {*split_equations(modulator.equations, where), *modulator.initial}
        return {*self.parameters, *assigned, "R", "t", "trial", "credit", "n"}

    def _growth(self) -> tuple[tuple[tuple[sp.Expr, sp.Expr, sp.Expr], ...], float]:
        """Separate what flows into the weights without a trace; `flows` is left with the rest."""
        if self.weight not in self.equations:
            return (), 0.0
        key, right, weight = f"equations, d{self.weight}/dt", self.scope.right(self.weight), symbol(self.weight)
        decay = self._decay(key, sp.diff(right, weight))
        traces = dict.fromkeys((symbol(trace) for trace in self.traces), sp.Integer(0))
        alone = right.xreplace({**traces, weight: sp.Integer(0)})
        terms = self._terms(key, alone)
        self._parts.replaced[self.weight] = sp.expand(right - alone - sp.diff(right, weight) * weight)
        found = tuple((stripped(post, "_post")[0], *stripped(pre, "_pre")) for pre, post in terms.items())
        return found, decay

    def _decay(self, key: str, coefficient: sp.Expr) -> float:
        self.scope.only(key, coefficient, self.parameters, "a trace decays at a constant rate")
        return self.scope.number(key, coefficient, self.parameters)

    def _terms(self, key: str, rest: sp.Expr) -> dict[sp.Expr, sp.Expr]:
        """Presynaptic factor -> postsynaptic factor."""
        found: dict[sp.Expr, sp.Expr] = {}
        for term in sp.Add.make_args(sp.expand(rest)):
            if term == 0:
                continue
            sent = [s for s in term.free_symbols if s.name.endswith("_pre")]
            post, pre = term.as_independent(*sent, as_Add=False) if sent else (term, sp.Integer(1))
            mixed = [s for s in pre.free_symbols if s not in sent and s.name not in self.parameters]
            if mixed:
                raise self.scope.refuse(key, f"term '{term}' is no product of a pre- and a postsynaptic factor")
            found[pre] = found.get(pre, sp.Integer(0)) + post
        return found


def plasticity_of(model: ModelSpec, part: str, parameters: Mapping[str, float]) -> Plasticity:
    """Read a projection type.

    Raises:
        BackendError: It has something that the kernel cannot run; the message names it.
    """
    try:
        return _Changes(model, part, parameters).separated()
    except BackendError as error:
        text = str(error).replace("the equilibrium backend cannot run", "the general kernel cannot run")
        raise BackendError(text.split("; Brian2 integrates", 1)[0]) from None
