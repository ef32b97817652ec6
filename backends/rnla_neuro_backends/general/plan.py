"""How a network of a `GeneralForm` is stepped: which sums when, and how each product with weights is formed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal

import sympy as sp

from rnla_neuro.spec.populations import Population as Place
from rnla_neuro.spec.populations import Projection as Link
from rnla_neuro.spec.proof import symbol
from rnla_neuro_backends.general.form import GeneralForm, Plasticity, Population, Signal, refuse

Node = tuple[int, str]
#: How a presynaptic signal changes: with the input alone; as ``a + b*s`` of a filtered spike train s; in any way.
Mode = Literal["held", "spikes", "dense"]
LOOK, GATED, ALWAYS = 1, 2, 3
STEPS = "rnla_steps"  # of the refractory time, where that is a neuron's own
_ENGINE = ("t", "dt", "T", "n", "chance", "t_trial", "pi")


@dataclass(frozen=True)
class Train:
    """A state that only decays, and that a spike raises: ``ds/dt = rate*s``, reset ``s += jump``."""

    name: str
    rate: sp.Expr
    jump: sp.Expr


@dataclass(frozen=True)
class Sent:
    """What the neurons of a population send into a projection, and how that changes.

    Attributes:
        link: Number of the projection.
        slot: Its number among all that is sent.
        signal: What is sent.
        mode: How it changes.
        a: Constant part of a spiking signal.
        b: Its factor of the train.
        train: Its train.
    """

    link: int
    slot: int
    signal: Signal
    mode: Mode
    a: sp.Expr
    b: sp.Expr
    train: Train | None


def inlined(population: Population, expr: sp.Expr) -> sp.Expr:
    """Write an expression in states, sums and inputs alone."""
    for name, value in reversed(population.algebraic):
        expr = expr.xreplace({symbol(name): value})
    return expr


def trains(population: Population, parameters: Iterable[str]) -> dict[str, Train]:
    """Return the states of a population that are filtered spike trains, by name."""
    found, changed = {}, [name for name, _ in population.resets]
    known = {*parameters, "n"}
    for name, right in population.odes:
        if not population.spikes or name in population.resting or changed.count(name) != 1:
            continue
        state = symbol(name)
        rate = sp.diff(right, state)
        jump = sp.expand(dict(population.resets)[name] - state)
        constant = all({s.name for s in expr.free_symbols} <= known for expr in (rate, jump))
        if constant and sp.expand(right - rate * state) == 0:
            found[name] = Train(name, rate, jump)
    return found


def classify(
    population: Population, expr: sp.Expr, parameters: Iterable[str]
) -> tuple[Mode, sp.Expr, sp.Expr, Train | None]:
    """Say how a signal changes; for a spiking one: its constant part, its factor, its train."""
    full = sp.expand(inlined(population, expr))
    names = {s.name for s in full.free_symbols} - {*parameters, "n"}
    nothing = sp.Integer(0)
    if names <= {"x", *population.constants} and population.kind == "input":
        return "held", nothing, nothing, None
    known = trains(population, parameters)
    if len(names) == 1 and names <= set(known):
        train = known[next(iter(names))]
        b = sp.diff(full, symbol(train.name))
        if symbol(train.name) not in b.free_symbols:
            return "spikes", sp.expand(full - b * symbol(train.name)), b, train
    return "dense", nothing, nothing, None


class Plan:
    """The order of a step.

    Args:
        form: The model.
        places: All populations: the chain from the inputs to the actions, then those beside it.
        links: All projections.
        top: Number of the action layer.

    Attributes:
        order: Sums and reductions, each after those that it needs.
        late: Those that are formed after the traces: input currents of what has not settled, and what needs them.
        needs: How often each is needed: `LOOK` only for recordings and decisions, `GATED` while the gate is open.
        sent: All that neurons send forward.
    """

    def __init__(self, form: GeneralForm, places: Sequence[Place], links: Sequence[Link], top: int) -> None:
        self.form, self.places, self.links, self.top = form, tuple(places), tuple(links), top
        self._all: dict[Node, list[tuple[int, sp.Expr]]] = {}
        self.received: dict[Node, list[Sent]] = {}
        self.fed_back: dict[Node, list[tuple[int, Signal]]] = {}
        self.sent: list[Sent] = []
        self._nodes()
        self._check()
        self._order()
        self.needs = self._need()

    def population(self, number: int) -> Population:
        """Return the neuron type of a population."""
        return self.form.populations[self.places[number].kind]

    def plasticity(self, link: int) -> Plasticity:
        """Return the traces of a projection."""
        return self.form.plasticity[self.links[link].name]

    # ---- order ----------------------------------------------------------------------------------------
    def _nodes(self) -> None:
        """Find every sum and reduction, and what it reads where."""
        for k, link in enumerate(self.links):
            for name, signal in self.form.sums[link.name].items():
                self.received.setdefault((link.post, name), []).append(self._sent(k, signal))
                self._all.setdefault((link.post, name), []).append((link.pre, signal.expr))
            for name, signal in self.form.feedback[link.name].items():
                if link.feedback:
                    self.fed_back.setdefault((link.pre, name), []).append((k, signal))
                    self._all.setdefault((link.pre, name), []).append((link.post, signal.expr))
        for number in range(len(self.places)):
            for group in self.population(number).groups:
                self._all[number, group.name] = [(number, group.argument)]

    def _sent(self, link: int, signal: Signal) -> Sent:
        """Return what a projection is sent; equal signals are one."""
        for found in self.sent:
            if found.link == link and found.signal == signal:
                return found
        mode, a, b, train = classify(self.population(self.links[link].pre), signal.expr, self.form.parameters)
        made = Sent(link, len(self.sent), signal, mode, a, b, train)
        self.sent.append(made)
        return made

    def names(self, number: int) -> set[str]:
        """Return the names that an expression of a population may use."""
        population = self.population(number)
        names = {*_ENGINE, *self.form.parameters, *(n for n, _ in (*population.algebraic, *population.odes))}
        names |= {*population.constants}
        names |= {name for at, name in self._all if at == number} | {f"{name}_prev" for name in population.past}
        return names | ({population.process} if population.process else set()) | ({"x"} if number == 0 else set())

    def _check(self) -> None:
        """Refuse names that nobody supplies."""
        for number, place in enumerate(self.places):
            known = self.names(number)
            for expr in self._read_in(number):
                foreign = sorted(s.name for s in expr.free_symbols if s.name not in known)
                if foreign:
                    raise refuse(self.form.name, f"[neuron.{place.kind}]", f"{str(expr)!r} uses {foreign[0]!r}")

    def _read_in(self, number: int) -> Iterator[sp.Basic]:
        """Every expression of a population."""
        population = self.population(number)
        yield from (value for _, value in (*population.algebraic, *population.odes, *population.resets))
        yield from (group.argument for group in population.groups)
        if population.threshold is not None:
            yield population.threshold
        for reads in self._all.values():
            yield from (expr for at, expr in reads if at == number)
        for k, link in enumerate(self.links):
            traces = self.plasticity(k)
            post, pre = (factor for row in traces.post for factor in row), traces.pre
            if link.pre == number:
                yield from (*pre, *(factor for _, factor, _ in traces.growth))
            if link.post == number:
                opened = {symbol("gate"): sp.Integer(1)}
                yield from (f.xreplace(opened) for f in (*post, *(factor for factor, _, _ in traces.growth)))

    def reads(self, number: int, expr: sp.Basic) -> set[Node]:
        """Return the sums and reductions that an expression of a population reads."""
        names = {s.name for s in inlined(self.population(number), expr).free_symbols}
        return {(number, name) for name in names if (number, name) in self._all}

    def _waits(self, number: int, expr: sp.Basic) -> bool:
        """Whether it is a function of what is not there at the start of a step: a difference in time, moving noise."""
        population = self.population(number)
        names = {s.name for s in inlined(population, expr).free_symbols}
        moving = not self.form.noise_jumps and population.process in names
        return moving or any(name.endswith("_prev") for name in names)

    def _order(self) -> None:
        self.graph = {
            node: set().union(*(self.reads(number, expr) for number, expr in reads))
            for node, reads in self._all.items()
        }
        try:
            self.order: list[Node] = list(TopologicalSorter(self.graph).static_order())
        except CycleError as error:
            circle = " -> ".join(f"{name} of layer {number}" for number, name in error.args[1])
            raise refuse(self.form.name, "[synapse.sums]", f"these sums need each other: {circle}") from None
        self.late: set[Node] = set()
        for node in self.order:
            current = node[1] == self.form.roles["current"] and any(self._waits(*read) for read in self._all[node])
            if current or self.graph[node] & self.late:
                self.late.add(node)

    # ---- need -----------------------------------------------------------------------------------------
    def _need(self) -> dict[Node, int]:
        needs = dict.fromkeys(self.order, LOOK)

        def ask(number: int, exprs: Iterable[sp.Basic], how: int) -> None:
            for expr in exprs:
                for node in self.reads(number, expr):
                    needs[node] = max(needs[node], how)

        for number in range(len(self.places)):
            population = self.population(number)
            ask(number, [right for _, right in (*population.odes, *population.resets)], ALWAYS)
            ask(number, [symbol(name) for name in population.past], ALWAYS)
            ask(number, [population.threshold] if population.threshold is not None else [], ALWAYS)
        for k, link in enumerate(self.links):
            traces = self.plasticity(k)
            how = GATED if traces.gated else ALWAYS
            ask(link.post, [factor for row in traces.post for factor in row], how)
            ask(link.pre, traces.pre, how)
            ask(link.post, [post for post, _, _ in traces.growth], ALWAYS)
            ask(link.pre, [pre for _, pre, _ in traces.growth], ALWAYS)
        for node in self.late:  # what is late is read in the step after, too
            needs[node] = ALWAYS
        for node in reversed(self.order):
            for other in self.graph[node]:
                needs[other] = max(needs[other], needs[node])
        return needs

    # ---- traces ---------------------------------------------------------------------------------------
    def trace_mode(self, link: int) -> tuple[Mode, sp.Expr, sp.Expr, Train | None]:
        """Say how the presynaptic factor of a projection's traces changes."""
        population = self.population(self.links[link].pre)
        found = [classify(population, g, self.form.parameters) for g in self.plasticity(link).pre]
        if len(found) == 1:
            return found[0]
        if found and all(mode == "held" for mode, *_ in found):
            return "held", sp.Integer(0), sp.Integer(0), None
        return "dense", sp.Integer(0), sp.Integer(0), None
