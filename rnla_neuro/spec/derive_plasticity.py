"""Traces, weight changes and neuromodulators of a model, proven and brought into matrix form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.equations import Statement, assigned, split_equations, split_statements
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.form import Modulator, Pulse, Source, Traces, Update
from rnla_neuro.spec.model import ModelSpec, SynapseSpec
from rnla_neuro.spec.proof import Scope, equal, symbol

_POST = ("u", "drive", "ebar", "noise_bar", "mismatch")


class _Projection:
    """Proves the plasticity of one projection."""

    def __init__(self, model: ModelSpec, part: str, rate: sp.Expr, parameters: Mapping[str, float]):
        self.model, self.part, self.parameters = model, part, parameters
        self.file = model.path.name
        self.spec = model.synapse_hidden if part == "hidden" else model.synapse_action
        self.weight = model.roles["weight"]
        where = f"{self.file}: [synapse.{part}] equations"
        self.equations = split_equations(self.spec.equations, where)
        explores = part == "action" and model.exploration.law != "none"
        self.noise: sp.Expr = symbol("noise_bar") if explores else sp.Integer(0)
        self.traces = tuple(name for name, eq in self.equations.items() if eq.is_ode and name != self.weight)
        self.scope = Scope(self.file, f"synapse.{part}", self.equations, self.traces, self._post_names(rate))
        self.scope.shown = {
            expr: symbol(name) for name, expr in self.scope.given.items() if isinstance(expr, sp.Symbol)
        }
        self.rate_pre = symbol(model.roles["rate"] + "_pre")
        self.gate = symbol("gate")
        self.sources: list[Source] = []
        self.entries: dict[tuple[int, int], float] = {}

    def _post_names(self, rate: sp.Expr) -> dict[str, sp.Expr]:
        """Return the form's symbols of postsynaptic variables; a rate of u alone is written out."""
        roles = self.model.roles
        given: dict[str, sp.Expr] = {
            roles["voltage"] + "_post": symbol("u"),
            roles["drive"] + "_post": symbol("drive"),
            roles["error"] + "_post": symbol("ebar"),
        }
        if self.part == "action" and "noise" in roles:
            given[roles["noise"] + "_post"] = self.noise
        if {str(name) for name in rate.free_symbols} <= {"u", *self.parameters}:
            given[roles["rate"] + "_post"] = rate
        return given

    def key(self, name: str) -> str:
        return f"equations, d{name}/dt"

    # ---- dz/dt = A z + B F -----------------------------------------------------------------------

    def trace(self, row: int, name: str) -> list[float]:
        """Prove one trace; return its row of A and note its sources."""
        key, right = self.key(name), self.scope.right(name)
        symbols = [symbol(trace) for trace in self.traces]
        post = ", ".join(self._written())
        form = f"d{name}/dt = (linear in the traces) + [gate*](function of {post})*{self.rate_pre}"
        row_of_a = []
        for trace in symbols:
            coefficient = sp.diff(right, trace)
            self.scope.only(
                key, coefficient, self.parameters, f"a trace decays at a constant rate; expected {form}"
            )
            row_of_a.append(self.scope.number(key, coefficient, self.parameters))
        rest = right.xreplace(dict.fromkeys(symbols, sp.Integer(0)))
        drive = sp.diff(rest, self.rate_pre)
        remainder = sp.expand(rest.xreplace({self.rate_pre: sp.Integer(0)}))
        if self.rate_pre in drive.free_symbols or remainder != 0:
            term = min(sp.Add.make_args(remainder), key=sp.count_ops) if remainder != 0 else rest
            raise self.scope.refuse(
                key, f"term '{self.scope.show(term)}' is not proportional to {self.rate_pre}; expected {form}"
            )
        gated = sp.diff(drive, self.gate)
        if self.gate in gated.free_symbols:
            raise self.scope.refuse(
                key, f"term '{self.scope.show(drive)}' is not proportional to gate; expected {form}"
            )
        self.source(row, key, gated, True, form)
        self.source(row, key, drive.xreplace({self.gate: sp.Integer(0)}), False, form)
        return row_of_a

    def _written(self) -> list[str]:
        roles = self.model.roles
        names = [roles["voltage"], roles["drive"], roles["error"]]
        names += [roles["noise"]] if self.part == "action" and "noise" in roles else []
        return [f"{name}_post" for name in names]

    def source(self, row: int, key: str, factor: sp.Expr, gated: bool, form: str) -> None:
        if factor == 0 or sp.expand(factor) == 0:
            return
        self.scope.only(key, factor, [*_POST, *self.parameters], f"expected {form}")
        free = [name for name in factor.free_symbols if str(name) in _POST]
        constant, rest = sp.factor_terms(factor).as_independent(*free, as_Add=False)
        source = Source(self.on_equilibrium(rest), gated)
        if source not in self.sources:
            self.sources.append(source)
        self.entries[row, self.sources.index(source)] = self.scope.number(
            key, constant, self.parameters
        )

    def on_equilibrium(self, factor: sp.Expr) -> sp.Expr:
        """Write u - drive - noise_bar as ebar + mismatch, exactly; a factor that keeps u stays as it is.

        The difference of two numbers of order one is of order beta: in float32 it would be noise.
        """
        u, drive, ebar = symbol("u"), symbol("drive"), symbol("ebar")
        if drive not in factor.free_symbols:
            return factor
        changed = sp.expand(factor.xreplace({drive: u - self.noise - ebar - symbol("mismatch")}))
        return factor if u in changed.free_symbols else changed

    # ---- what changes the weights ----------------------------------------------------------------

    def gains(self, key: str, change: sp.Expr, alive: set[str], allowed: set[str]) -> list[sp.Expr]:
        """Coefficients of a weight change that is linear in the traces."""
        zero = dict.fromkeys((symbol(name) for name in self.traces), sp.Integer(0))
        form = f"{self.weight} += (sum of gain*trace) with traces {', '.join(self.traces)}"
        rest = sp.expand(change.xreplace(zero))
        if rest != 0:
            raise self.scope.refuse(key, f"term '{rest}' has no trace in it; expected {form}")
        result = []
        for name in self.traces:
            gain = sp.diff(change, symbol(name))
            self.scope.only(
                key, gain, allowed, f"expected {form}; a gain is of modulators, parameters, trial, credit, t"
            )
            if gain != 0 and name not in alive:
                raise self.scope.refuse(key, f"'{name}' is read after it was reset; write the resets last")
            result.append(gain)
        return result

    def update(self, channel: str, text: str) -> Update:
        """Weight change and resets at an event of a channel."""
        key = f"on_event.{channel}"
        modulator = self.model.neuromodulators[channel]
        where = f"{self.file}: [neuromodulator.{channel}]"
        assigned = {statement.name for statement in split_statements(modulator.on_event, f"{where} on_event")}
        pulses = set(split_equations(modulator.equations, f"{where} equations"))
        allowed = {*self.parameters, *assigned, *pulses, *modulator.initial, "R", "t", "trial", "credit", "n"}
        total = [sp.Integer(0)] * len(self.traces)
        alive = set(self.traces)
        for statement in split_statements(text, f"{self.file}: [synapse.{self.part}] {key}"):
            value = self.scope.parse(statement.text, key)
            if statement.name in alive and statement.op == "=" and value == 0:
                alive.remove(statement.name)
                continue
            change = self._weight_change(key, statement, value)
            total = [a + b for a, b in zip(total, self.gains(key, change, alive, allowed), strict=True)]
        return Update(tuple(total), tuple(name not in alive for name in self.traces))

    def _weight_change(self, key: str, statement: Statement, value: sp.Expr) -> sp.Expr:
        weight = symbol(self.weight)
        if (
            statement.name == self.weight
            and weight not in value.free_symbols
            and statement.op in ("+=", "-=")
        ):
            return value if statement.op == "+=" else -value
        if statement.name == self.weight and statement.op == "=" and sp.diff(value, weight) == 1:
            return sp.expand(value - weight)
        form = f"'{self.weight} += …', or 'trace = 0' to reset a trace"
        raise self.scope.refuse(key, f"statement '{statement}' does not belong to the form; expected {form}")

    def flows(self) -> dict[str, Update]:
        """Weight changes that last as long as a pulse: dw/dt in the equations."""
        if self.weight not in self.equations:
            return {}
        key = f"equations, {self.equations[self.weight].left}"
        if not self.equations[self.weight].is_ode:
            raise self.scope.refuse(
                key, f"{self.weight!r} is a state; expected d{self.weight}/dt = …, or on_event"
            )
        pulses = _pulse_variables(self.model)
        allowed = {*self.parameters, *pulses, "trial", "credit", "n"}
        gains = self.gains(key, self.scope.right(self.weight), set(self.traces), allowed)
        result = {}
        parts: list[list[sp.Expr]] = []
        for name, channel in pulses.items():
            others = {symbol(other): sp.Integer(0) for other in pulses if other != name}
            part = [gain.xreplace(others) for gain in gains]
            for gain in part:
                self._homogeneous(key, gain, symbol(name))
            parts.append(part)
            if any(gain != 0 for gain in part):
                result[channel] = Update(tuple(part), (False,) * len(self.traces))
        for index, gain in enumerate(gains):
            if not equal(gain, sum((part[index] for part in parts), sp.Integer(0))):
                raise self.scope.refuse(
                    key, f"term '{gain}*{self.traces[index]}' does not belong to one pulse alone"
                )
        return result

    def _homogeneous(self, key: str, gain: sp.Expr, pulse: sp.Symbol) -> None:
        """A gain that is proportional to the pulse (or to its absolute value) decays with it."""
        factor = sp.Symbol("factor", positive=True)
        if not equal(gain.xreplace({pulse: factor * pulse}), factor * gain):
            raise self.scope.refuse(key, f"term '{gain}' is not proportional to the pulse {str(pulse)!r}")

    def result(self) -> Traces:
        for name, equation in self.equations.items():
            if not equation.is_ode and name == self.weight:
                raise self.scope.refuse(f"equations, {name}", "the weight is a state, not an expression")
        rows = [self.trace(row, name) for row, name in enumerate(self.traces)]
        matrix = np.zeros((len(self.traces), len(self.sources)))
        for (row, column), value in self.entries.items():
            matrix[row, column] = value
        initial, initial_bias = derive_initial(self.model, self.part)
        return Traces(
            names=self.traces,
            A=np.array(rows, dtype=np.float64).reshape(len(self.traces), len(self.traces)),
            B=matrix,
            sources=tuple(self.sources),
            eligibility=self.traces.index(self.model.roles["eligibility"]),
            updates={channel: self.update(channel, text) for channel, text in self.spec.on_event.items()},
            flows=self.flows(),
            initial=initial,
            initial_bias=initial_bias,
        )


def derive_initial(model: ModelSpec, part: str) -> tuple[sp.Expr, sp.Expr]:
    """Return the initial weights of a projection type, and those of the bias unit; any model has them.

    Each call of randn() or rand() gets a symbol of its own: ``randn_1`` and so on.

    Args:
        model: The model.
        part: ``hidden`` or ``action``, the postsynaptic layer, or the name of a [projection.NAME].
    """
    chain: dict[str, SynapseSpec] = {"hidden": model.synapse_hidden, "action": model.synapse_action}
    spec, section = (chain | dict(model.projections))[part], "synapse" if part in chain else "projection"
    names = {name: symbol(name) for name in ("N_pre", "N_post", "i", "j", "n", "T", "dt", *model.parameters)}

    def read(text: str, key: str) -> sp.Expr:
        count = {"randn": 0, "rand": 0}

        def draw(name: str) -> sp.Expr:
            count[name] += 1
            return symbol(f"{name}_{count[name]}")

        generators = {"randn": lambda: draw("randn"), "rand": lambda: draw("rand")}
        return parse(text, f"{model.path.name}: [{section}.{part}] {key}", names, generators)

    return read(spec.initial, "initial"), read(spec.initial_bias, "initial_bias")


def _pulse_variables(model: ModelSpec) -> dict[str, str]:
    """Pulse variable -> channel."""
    return {
        name: channel
        for channel, spec in model.neuromodulators.items()
        for name in split_equations(
            spec.equations, f"{model.path.name}: [neuromodulator.{channel}] equations"
        )
    }


def derive_traces(model: ModelSpec, part: str, rate: sp.Expr, parameters: Mapping[str, float]) -> Traces:
    """Prove the plasticity of a projection type.

    Args:
        model: The model.
        part: ``hidden`` or ``action``, the postsynaptic layer.
        rate: Its rate as a function of ``u``.
        parameters: Values in SI units.

    Raises:
        BackendError: A term does not fit the form.
    """
    return _Projection(model, part, rate, parameters).result()


def _pulse(scope: Scope, name: str, parameters: Mapping[str, float]) -> Pulse:
    equation = scope.equations[name]
    key, form = f"equations, {equation.left}", f"d{name}/dt = -{name}/tau"
    if not equation.is_ode:
        raise scope.refuse(key, f"term '{equation.text}' does not belong to the form; expected {form}")
    right = scope.right(name)
    rate = -sp.diff(right, symbol(name))
    scope.only(key, rate, parameters, f"expected {form}")
    scope.require(key, right, -rate * symbol(name), form)
    speed = scope.number(key, rate, parameters)
    if speed <= 0:
        raise scope.refuse(key, f"term '{equation.text}' does not decay; expected {form}")
    return Pulse(name, 1 / speed)


def _modulator(model: ModelSpec, channel: str, parameters: Mapping[str, float]) -> Modulator:
    spec, file = model.neuromodulators[channel], model.path.name
    section = f"neuromodulator.{channel}"
    equations = split_equations(spec.equations, f"{file}: [{section}] equations")
    scope = Scope(file, section, equations, equations)
    if len(equations) > 1:
        raise scope.refuse("equations", f"{', '.join(equations)}: expected one pulse a channel")
    pulse = _pulse(scope, next(iter(equations)), parameters) if equations else None
    variables = dict(spec.initial)
    if pulse is not None:
        variables.setdefault(pulse.variable, "0")
    statements = []
    for statement in split_statements(spec.on_event, f"{file}: [{section}] on_event"):
        value = scope.parse(statement.text, "on_event")
        statements.append((statement.name, assigned(statement.op, symbol(statement.name), value)))
    initial = tuple(scope.parse(text, f"initial.{name}") for name, text in variables.items())
    return Modulator(channel, tuple(variables), initial, tuple(statements), pulse)


def derive_modulators(model: ModelSpec, parameters: Mapping[str, float]) -> tuple[Modulator, ...]:
    """Bring the neuromodulator channels into the form.

    Raises:
        BackendError: A channel's equation is not a decaying pulse.
    """
    modulators = tuple(_modulator(model, channel, parameters) for channel in model.neuromodulators)
    seen: set[str] = set()
    for modulator in modulators:
        if modulator.pulse is not None and modulator.pulse.variable in seen:
            raise BackendError(
                f"{model.path.name}: two channels have a pulse named {modulator.pulse.variable!r}"
            )
        seen |= {modulator.pulse.variable} if modulator.pulse else set()
    return modulators
