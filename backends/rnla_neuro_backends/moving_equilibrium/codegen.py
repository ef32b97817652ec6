"""From the expressions of a model to the source of its C++ core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import jinja2
import sympy as sp
from sympy.printing.cxx import CXX17CodePrinter

from rnla_neuro.resources import template_dir
from rnla_neuro.spec.form import EquilibriumForm, GroupReduction, Traces, Update
from rnla_neuro_backends.moving_equilibrium.core import modulator_state


class Printer(CXX17CodePrinter):  # type: ignore[misc]
    """Prints expressions in the precision of the core: `real` for voltages, `double` for gains."""

    def __init__(self, names: Mapping[str, str], number: str) -> None:
        super().__init__()
        self._names, self._number = names, number

    def _print_Symbol(self, expr: sp.Symbol) -> str:
        return str(self._names[expr.name])

    def _print_Float(self, expr: sp.Float) -> str:
        return f"{self._number}({float(expr)!r})"

    _print_Integer = _print_Rational = _print_Half = _print_One = _print_NegativeOne = _print_Zero = (
        _print_Float
    )
    _print_Pi = _print_Exp1 = _print_NumberSymbol = _print_Float

    def _print_Pow(self, expr: sp.Pow) -> str:
        base = self._print(expr.base)
        if expr.exp == 2:
            return f"sq({base})"
        if expr.exp == -1:
            return f"({self._number}(1)/({base}))"
        if expr.exp == sp.Rational(1, 2):
            return f"std::sqrt({base})"
        return f"std::pow({self._number}({base}), {self._number}({self._print(expr.exp)}))"

    def _nested(self, function: str, args: Sequence[sp.Expr]) -> str:
        code: str = self._print(args[0])
        for arg in args[1:]:
            code = f"std::{function}({self._number}({code}), {self._number}({self._print(arg)}))"
        return code

    def _print_Max(self, expr: sp.Max) -> str:
        return self._nested("max", expr.args)

    def _print_Min(self, expr: sp.Min) -> str:
        return self._nested("min", expr.args)

    def _print_Abs(self, expr: sp.Abs) -> str:
        return f"std::fabs({self._print(expr.args[0])})"

    def _print_sign(self, expr: sp.sign) -> str:
        x = self._print(expr.args[0])
        return f"{self._number}((({x}) > 0) - (({x}) < 0))"


@dataclass(frozen=True)
class CoreSource:
    """C++ source of a core, and what its caller must know of it.

    Attributes:
        code: The translation unit.
        parameters: Names of the parameters, in the order of the core's `params`.
        variables: (channel, variable) of the neuromodulator state, in order.
    """

    code: str
    parameters: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]


class _Writer:
    def __init__(self, form: EquilibriumForm, precision: str) -> None:
        self.form = form
        self.real = {"float64": "double", "float32": "float"}[precision]
        self.parameters = tuple(form.parameters)
        self.variables = tuple(modulator_state(form))
        self.constants = {p: f"P[{k}]" for k, p in enumerate(self.parameters)}

    def voltage_code(self, expr: sp.Expr, **names: str) -> str:
        return str(Printer({**self.constants, "n": "real(n_)", **names}, "real").doprint(expr))

    def gain_code(self, expr: sp.Expr, channel: str) -> str:
        state = {v: f"M[{k}]" for k, (c, v) in enumerate(self.variables)}
        own = {v: f"M[{k}]" for k, (c, v) in enumerate(self.variables) if c == channel}
        clock = {name: name for name in ("R", "t", "trial", "credit", "n")}
        return str(Printer({**self.constants, **state, **own, **clock}, "double").doprint(expr))

    def hidden_rate(self) -> str:
        shared, (rbar, slope) = sp.cse([self.form.phi, self.form.phi_prime])
        names = {"u": "u"} | {str(s): str(s) for s, _ in shared}
        lines = [f"    const real {s} = {self.voltage_code(e, **names)};" for s, e in shared]
        pair = f"{self.voltage_code(rbar, **names)}, {self.voltage_code(slope, **names)}"
        return "\n".join([*lines, f"    return Rate{{{pair}}};"])

    def groups(self, wanted: sp.Expr) -> tuple[list[str], dict[str, str]]:
        """Code for the group reductions that `wanted` needs, and the names of their results."""
        needed = {s.name for s in wanted.free_symbols}
        for group in reversed(self.form.groups):
            if group.name in needed:
                needed |= {s.name for s in self.in_rates(group.argument).free_symbols}
        lines: list[str] = []
        names = {"u": "u[i]", "drive": "drive[i]", "noise_bar": "noise_bar[i]"}
        chosen = [g for g in self.form.groups if g.name in needed]
        for k, group in enumerate(chosen):
            argument = self.voltage_code(self.in_rates(group.argument), **names)
            lines += _reduction(group, k, argument)
            names[group.name] = f"g_{group.name}[i]" if group.kind == "softmax" else f"g_{group.name}"
        return lines, names

    def in_rates(self, expr: sp.Expr) -> sp.Expr:
        return expr.subs(sp.Symbol("rbar", real=True), self.form.action_rate)

    def over_actions(self, expr: sp.Expr, target: str) -> str:
        expr = self.in_rates(expr)
        lines, names = self.groups(expr)
        loop = f"for (int i = 0; i < n_; ++i) {target}[i] = {self.voltage_code(expr, **names)};"
        return "\n".join(f"    {line}" for line in [*lines, loop])

    def sources(self, traces: Traces) -> str:
        names = {v: f"{v}[i]" for v in ("u", "drive", "ebar", "noise_bar", "mismatch")} | {"n": "n_actions"}
        return "\n".join(
            f"    for (int i = 0; i < n_; ++i) out[{k} * n_ + i] = {self.voltage_code(s.factor, **names)};"
            for k, s in enumerate(traces.sources)
        )

    def gains(self, updates: Mapping[str, Update]) -> str:
        lines = ["    switch (channel) {"]
        for index, modulator in enumerate(self.form.modulators):
            update = updates.get(modulator.channel)
            if update is None:
                continue
            lines.append(f"    case {index}:")
            for k, (gain, reset) in enumerate(zip(update.gains, update.resets, strict=True)):
                lines.append(f"        gain[{k}] = {self.gain_code(gain, modulator.channel)};")
                lines.append(f"        reset[{k}] = {str(bool(reset)).lower()};")
            lines.append("        return true;")
        return "\n".join([*lines, "    default: return false;", "    }"])

    def modulate(self) -> str:
        lines = ["    switch (channel) {"]
        index = {cv: k for k, cv in enumerate(self.variables)}
        for number, modulator in enumerate(self.form.modulators):
            lines.append(f"    case {number}:")
            for variable, expr in modulator.statements:
                target = index[(modulator.channel, variable)]
                lines.append(f"        M[{target}] = {self.gain_code(expr, modulator.channel)};")
            lines.append("        break;")
        return "\n".join([*lines, "    default: break;", "    }"])


def _reduction(group: GroupReduction, slot: int, argument: str) -> list[str]:
    name = f"g_{group.name}"
    if group.kind == "softmax":  # the maximum is subtracted: exp never overflows
        return [
            f"real* {name} = scratch + {slot} * n_;",
            f"real top_{name} = -std::numeric_limits<real>::infinity(), total_{name} = 0;",
            f"for (int i = 0; i < n_; ++i) {{ {name}[i] = {argument};"
            f" top_{name} = std::max(top_{name}, {name}[i]); }}",
            f"for (int i = 0; i < n_; ++i) {{ {name}[i] = std::exp({name}[i] - top_{name});"
            f" total_{name} += {name}[i]; }}",
            f"for (int i = 0; i < n_; ++i) {name}[i] /= total_{name};",
        ]
    if group.kind == "max":
        return [
            f"real {name} = -std::numeric_limits<real>::infinity();",
            f"for (int i = 0; i < n_; ++i) {name} = std::max({name}, real({argument}));",
        ]
    lines = [f"real {name} = 0;", f"for (int i = 0; i < n_; ++i) {name} += {argument};"]
    return [*lines, f"{name} /= real(n_);"] if group.kind == "mean" else lines


@lru_cache
def environment() -> jinja2.Environment:
    """Return what renders templates of C++; square brackets, since C++ is full of curly ones."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir()),
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def generate(form: EquilibriumForm, precision: str) -> CoreSource:
    """Write the C++ core of a model.

    Args:
        form: What `derive_form` proved of the model.
        precision: ``float64`` or ``float32`` for voltages, weights and traces.
    """
    writer = _Writer(form, precision)
    pairs = (("hidden", form.hidden), ("action", form.action))
    code = environment().get_template("equilibrium.cpp.j2").render(
        real=writer.real,
        n_mod=max(1, len(writer.variables)),
        n_params=max(1, len(writer.parameters)),
        n_scratch=len(form.groups) + 4,
        max_trace=max(1, *(len(t.names) for _, t in pairs)),
        max_source=max(1, *(len(t.sources) for _, t in pairs)),
        hidden_rate=writer.hidden_rate(),
        nudge=writer.over_actions(form.nudging, "ebar"),
        decision_argument=writer.over_actions(form.decision.argument, "value"),
        projections=[
            {
                "name": name,
                "sources": writer.sources(traces),
                "gains": writer.gains(traces.updates),
                "flows": writer.gains(traces.flows),
                "n_trace": len(traces.names),
                "n_source": len(traces.sources),
            }
            for name, traces in pairs
        ],
        modulate=writer.modulate(),
        lowpass=form.decision.tau is not None,
        **{
            f"gated_{name}": ", ".join(str(s.gated).lower() for s in traces.sources) for name, traces in pairs
        },
    )
    return CoreSource(code, writer.parameters, writer.variables)
