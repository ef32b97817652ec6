"""The expressions of a model as C++ for the general kernel, in the macros that every target defines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import sympy as sp

from rnla_neuro.spec.proof import symbol
from rnla_neuro_backends.common.cpp import ModelWriter
from rnla_neuro_backends.explicit.writer import KernelPrinter
from rnla_neuro_backends.general.plan import STEPS, Plan, inlined

if TYPE_CHECKING:
    from rnla_neuro_backends.general.layout import GeneralLayout

_STEP = {"t": "g.now", "t_trial": "g.trial_now", "gate": "g.gate"}


class _Writer(ModelWriter):
    """What the general kernel shares with the others: events, gains, parameters."""

    PRINTER, N_OUT = KernelPrinter, "N_OUT"

    def reduction(self, group: Any, slot: int, argument: str) -> list[str]:
        """Not asked for: reductions are written by `GeneralWriter.group`."""
        raise AssertionError("the general kernel writes its own reductions")


class Loop:
    """The body of a loop over the neurons ``i`` of a layer: variables are read once, where first needed.

    Args:
        writer: Knows the names.
        level: The layer.
        tag: Begins the names of local variables: values before and after a change are different ones.
    """

    def __init__(self, writer: GeneralWriter, level: int, tag: str = "v_") -> None:
        self._writer, self._level, self._tag = writer, level, tag
        self._algebraic = dict(writer.plan.population(level).algebraic)
        self._known: dict[str, str] = {}
        self.lines: list[str] = []

    def code(self, expr: sp.Basic, given: Mapping[str, str] | None = None) -> str:
        """Write an expression; what it needs is declared in `lines` before."""
        for name in sorted(s.name for s in expr.free_symbols):
            if name not in (given or {}):
                self._declare(name)
        return self._writer.voltage_code(expr, {**self._known, **(given or {})})

    def _declare(self, name: str) -> None:
        writer = self._writer
        if name in self._known or name in writer.constants or name == "n":
            return
        local = f"{self._tag}{name}"
        at = writer.layout.own.get((self._level, name))
        if name in _STEP:
            self._known[name] = _STEP[name]
            return
        if name == "chance":
            value = "drawn[i]"
        elif at is not None:
            value = f"own[{at} + i]"
        else:
            value = self.code(self._algebraic[name])
        self.lines.append(f"const real {local} = {value};")
        self._known[name] = local


class GeneralWriter:
    """Writes the parts of a kernel that come from the model's strings.

    Args:
        plan: The order of a step.
        layout: Where everything is.
    """

    def __init__(self, plan: Plan, layout: GeneralLayout) -> None:
        self.plan, self.layout = plan, layout
        self.shared = _Writer(cast(Any, plan.form))
        self.parameters, self.variables = self.shared.parameters, self.shared.variables
        self.constants = self.shared.constants

    @property
    def seen_names(self) -> tuple[str, ...]:
        """Variables of the action layer that a silent trial gives back."""
        population = self.plan.population(self.plan.top)
        names = [*(n for n, _ in population.odes), *(n for n, _ in population.algebraic)]
        names += [name for at, name in self.plan.order if at == self.plan.top]
        names += [population.process] if population.process else []
        return tuple(name for name in dict.fromkeys(names) if "chance" not in self._leaves(name))

    def _leaves(self, name: str) -> set[str]:
        return {s.name for s in inlined(self.plan.population(self.plan.top), symbol(name)).free_symbols}

    @property
    def recorded_names(self) -> dict[str, str]:
        """What a recording shows, and the variable that is shown."""
        roles = self.plan.form.roles
        wanted = {"u": "voltage", "ebar": "error", "rate": "rate", "noise": "noise"}
        drive = roles.get("drive", roles["current"])
        return {what: roles[role] for what, role in wanted.items() if role in roles} | {"drive": drive}

    def voltage_code(self, expr: sp.Basic, names: Mapping[str, str]) -> str:
        """Write an expression in the precision of the network."""
        return self.shared.voltage_code(expr, **names)

    def constant(self, expr: sp.Expr) -> str:
        """Write an expression of parameters."""
        return f"real({self.voltage_code(expr, {})})"

    # ---- loops ----------------------------------------------------------------------------------------
    def loop(self, level: int, body: Iterable[str], indent: int = 1) -> str:
        """Write a loop over a layer. Neurons draw in a loop before: loops in numbers of one type vectorise."""
        pad, body = "    " * indent, list(body)
        inner = "\n".join(f"{pad}    {line}" for line in body)
        text = f"{pad}RNLA_SIMD RNLA_FOR(i, N{level}) {{\n{inner}\n{pad}}}"
        if not any("drawn[i]" in line for line in body):
            return text
        first = self.layout.index_of(level)
        draw = f"{pad}RNLA_SIMD RNLA_FOR(i, N{level}) drawn[i] = chance_of(g, {first} + i);"
        return f"{pad}{{\n{pad}real* RNLA_RESTRICT drawn = g.drawn;\n{draw}\n{text}\n{pad}}}"

    def assign(self, level: int, targets: list[tuple[str, sp.Basic]], indent: int = 1) -> str:
        """Write a loop over a layer that gives targets (C++ text) their values."""
        loop = Loop(self, level)
        lines = [f"{target} = {loop.code(expr)};" for target, expr in targets]
        body = [*loop.lines, *lines]
        return self.loop(level, body, indent)

    def send(self, level: int, expr: sp.Expr, bias: sp.Expr) -> str:
        """Write what a population sends, bias unit last, into ``g.sent``."""
        text = self.assign(level, [("g.sent[i]", expr)])
        return f"{text}\n    RNLA_ONCE g.sent[N{level}] = {self.constant(bias)};"

    def reduction(self, level: int, number: int) -> str:
        """Write a reduction over the action layer."""
        group = self.plan.population(level).groups[number]
        at, n = self.layout.own[level, group.name], f"N{level}"
        top = level == self.plan.top
        sync = "    RNLA_GROUP_SYNC();" if top else "    RNLA_SYNC();"
        lines = [
            "RNLA_GROUP {" if top else "{",
            "    real* RNLA_RESTRICT all = g.scratch;",
            self.assign(level, [("all[i]", group.argument)]),
            sync,
        ]
        if group.kind == "softmax":  # the maximum is subtracted: exp never overflows
            lines += [
                f"    const real top = group_max<{n}>(all);",
                sync,
                f"    RNLA_SIMD RNLA_FOR(i, {n}) all[i] = rnla_exp(all[i] - top);",
                sync,
                f"    const real part = real(1) / group_sum<{n}>(all);",
                f"    RNLA_FOR(i, {n}) own[{at} + i] = all[i] * part;",
            ]
        else:
            reduce = "group_max" if group.kind == "max" else "group_sum"
            share = " / real(N_OUT)" if group.kind == "mean" else ""
            lines += [
                f"    const real value = {reduce}<{n}>(all){share};",
                f"    RNLA_FOR(i, {n}) own[{at} + i] = value;",
            ]
        return "\n".join([*lines, "}", "RNLA_SYNC();"])

    def factors(self, projection: int) -> str:
        """Write the postsynaptic factors of a step, times dt, into ``into`` (factors, traces, row)."""
        traces, level = self.plan.plasticity(projection), self.plan.links[projection].post
        dt = symbol("dt")
        targets = [
            (f"into[({g} * {len(traces.names)} + {r}) * ROW{projection} + i]", dt * row[g])
            for r, row in enumerate(traces.post)
            for g in range(len(traces.pre))
        ]
        return self.assign(level, targets)

    def sent_factors(self, projection: int) -> str:
        """Write the presynaptic factors of the present into ``into`` (factors, row), bias unit last."""
        traces = self.plan.plasticity(projection)
        link = self.plan.links[projection]
        targets = [(f"into[{g} * SENT{projection} + i]", expr) for g, expr in enumerate(traces.pre)]
        bias = [
            f"    RNLA_ONCE into[{g} * SENT{projection} + N{link.pre}] = {self.constant(expr * link.bias)};"
            for g, expr in enumerate(traces.bias)
        ]
        return "\n".join([self.assign(link.pre, targets), *bias])

    def growth(self, projection: int) -> str:
        """Write what flows into the weights of a projection in this step, without traces, into the work memory."""
        traces, link = self.plan.plasticity(projection), self.plan.links[projection]
        dt = symbol("dt")
        post = [(f"total[{k} * ROW{projection} + i]", dt * post) for k, (post, _, _) in enumerate(traces.growth)]
        pre = [(f"given[{k} * SENT{projection} + i]", pre) for k, (_, pre, _) in enumerate(traces.growth)]
        lines = [self.assign(link.post, post), self.assign(link.pre, pre)] if traces.growth else []
        for k, (_, _, bias) in enumerate(traces.growth):
            pad = f"RNLA_FOR(i, ROW{projection} - N{link.post}) total[{k} * ROW{projection} + N{link.post} + i] = 0;"
            value = self.constant(bias * link.bias)
            lines += [f"    {pad}", f"    RNLA_ONCE given[{k} * SENT{projection} + N{link.pre}] = {value};"]
        return "\n".join(lines)

    # ---- neurons --------------------------------------------------------------------------------------
    def neurons(self, level: int) -> str:
        """Write a step of the neurons of a layer: past values, Euler steps, thresholds, resets."""
        population, own = self.plan.population(level), self.layout.own
        loop = Loop(self, level)
        rests = (level, "rnla_left") in own
        lines = self._resting(level)
        moved = [(f"{name}_prev", loop.code(symbol(name))) for name in population.past]
        for name, right in population.odes:
            step = f"{loop.code(symbol(name))} + {self.constants['dt']} * ({loop.code(right)})"
            if name in population.resting and rests:
                step = f"awake ? {step} : {loop.code(symbol(name))}"
            moved.append((name, step))
        values = [f"const real next_{k} = {value};" for k, (_, value) in enumerate(moved)]
        stored = [f"own[{own[level, name]} + i] = next_{k};" for k, (name, _) in enumerate(moved)]
        body = [*lines, *loop.lines, *values, *stored]
        moves = self.loop(level, body) if stored else ""
        return moves if population.threshold is None else f"{moves}\n{self._spike(level)}"

    def _resting(self, level: int) -> list[str]:
        """Write the steps that are left of a neuron's refractory time, where it has one."""
        at = self.layout.own.get((level, "rnla_left"))
        if at is None:
            return []
        return [
            f"const real left = own[{at} + i] > 0 ? own[{at} + i] - 1 : real(0);",
            "const bool awake = left <= 0;",
        ]

    def _spike(self, level: int) -> str:
        """Write thresholds and resets: loops of their own, in numbers of one type, are those that vectorise."""
        population, own = self.plan.population(level), self.layout.own
        after = Loop(self, level, "w_")
        assert population.threshold is not None
        condition, resting = after.code(population.threshold), self._resting(level)
        hit = f"({condition}) ? real(1) : real(0)"
        lines = [*resting, *after.lines, f"const real hit = {hit};"]
        lines += ["const real fires = awake ? hit : real(0);" if resting else "const real fires = hit;"]
        for k, (name, value) in enumerate(population.resets):
            loop = Loop(self, level, f"r{k}_")
            code = loop.code(value)
            at = own[level, name]
            lines += [*loop.lines, f"own[{at} + i] = fires > 0 ? {code} : own[{at} + i];"]
        if resting:
            kept = own.get((level, STEPS))
            steps = f"real({self.layout.refractory_steps(level)})" if kept is None else f"own[{kept} + i]"
            lines.append(f"own[{own[level, 'rnla_left']} + i] = fires > 0 ? {steps} : left;")
        looks = self.loop(level, [*lines, "fired[i] = fires;"])
        marks = f"    RNLA_SIMD RNLA_FOR(i, N{level}) g.marks[{self.layout.marks[level]} + i] = int32_t(fired[i]);"
        return f"    real* RNLA_RESTRICT fired = g.fired;\n{looks}\n{marks}"

    # ---- events ---------------------------------------------------------------------------------------
    def events(self, name: str) -> dict[str, str]:
        """Write what events and pulses do to the weights of a projection type."""
        traces = self.plan.form.plasticity[name]
        lines = ["    switch (channel) {"]
        for index, modulator in enumerate(self.plan.form.modulators):
            if modulator.channel in traces.keeps:
                code = self.shared.gain_code(traces.keeps[modulator.channel], modulator.channel)
                lines.append(f"    case {index}: return {code};")
        keeps = "\n".join([*lines, "    default: return 1.0;", "    }"])
        return {
            "gains": self.shared.gains(traces.updates),
            "flows": self.shared.gains(traces.flows),
            "keeps": keeps,
            "has_keeps": str(bool(traces.keeps)).lower(),
        }

    def modulate(self) -> str:
        """Write what an event does to the neuromodulators' variables."""
        return self.shared.modulate()
