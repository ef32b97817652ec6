"""Expressions of a model as C++: what the generated cores of all engines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache

import jinja2
import sympy as sp
from sympy.printing.cxx import CXX17CodePrinter

from rnla_neuro.resources import template_dir
from rnla_neuro.spec.form import EquilibriumForm, GroupReduction, Update
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


class ModelWriter(ABC):
    """Writes the parts of a core that come from the model's strings.

    A subclass says how expressions are printed and how a loop over the action layer is written.

    Attributes:
        PRINTER: Prints expressions.
        N_OUT: The number of actions, in the core's C++.
    """

    PRINTER: type[Printer] = Printer
    N_OUT: str

    def __init__(self, form: EquilibriumForm) -> None:
        self.form = form
        self.parameters = tuple(form.parameters)
        self.variables = tuple(modulator_state(form))
        self.constants = {p: f"P[{k}]" for k, p in enumerate(self.parameters)}

    @abstractmethod
    def reduction(self, group: GroupReduction, slot: int, argument: str) -> list[str]:
        """Write a group reduction; ``g_NAME`` is what it comes to (of each neuron, for a softmax)."""

    def voltage_code(self, expr: sp.Expr, **names: str) -> str:
        """Write an expression of voltages, in the precision of the network."""
        return str(self.PRINTER({**self.constants, "n": f"real({self.N_OUT})", **names}, "real").doprint(expr))

    def gain_code(self, expr: sp.Expr, channel: str) -> str:
        """Write an expression of neuromodulators and time, in double precision."""
        state = {v: f"M[{k}]" for k, (_, v) in enumerate(self.variables)}
        own = {v: f"M[{k}]" for k, (c, v) in enumerate(self.variables) if c == channel}
        clock = {name: name for name in ("R", "t", "trial", "credit", "n")}
        return str(self.PRINTER({**self.constants, **state, **own, **clock}, "double").doprint(expr))

    def hidden_rate(self) -> str:
        """Write the rate function and its slope; what the two share is computed once."""
        shared, (rbar, slope) = sp.cse([self.form.phi, self.form.phi_prime])
        names = {"u": "u"} | {str(s): str(s) for s, _ in shared}
        lines = [f"    const real {s} = {self.voltage_code(e, **names)};" for s, e in shared]
        pair = f"real({self.voltage_code(rbar, **names)}), real({self.voltage_code(slope, **names)})"
        return "\n".join([*lines, f"    return Rate{{{pair}}};"])

    def action_code(self, expr: sp.Expr) -> tuple[list[str], str]:
        """Write an expression of the action layer: the group reductions that it needs, and its value for neuron i."""
        expr = self._in_rates(expr)
        lines, names = self._groups(expr)
        return lines, self.voltage_code(expr, **names)

    def _in_rates(self, expr: sp.Expr) -> sp.Expr:
        return expr.subs(sp.Symbol("rbar", real=True), self.form.action_rate)

    def _groups(self, wanted: sp.Expr) -> tuple[list[str], dict[str, str]]:
        needed = {s.name for s in wanted.free_symbols}
        for group in reversed(self.form.groups):
            if group.name in needed:
                needed |= {s.name for s in self._in_rates(group.argument).free_symbols}
        lines: list[str] = []
        # where a model is told a target, it is in the place of the noise: see `EquilibriumForm.taught`
        names = {"u": "u[i]", "drive": "drive[i]", "noise_bar": "noise_bar[i]", "target": "noise_bar[i]"}
        for k, group in enumerate(g for g in self.form.groups if g.name in needed):
            argument = self.voltage_code(self._in_rates(group.argument), **names)
            lines += self.reduction(group, k, argument)
            names[group.name] = f"g_{group.name}[i]" if group.kind == "softmax" else f"g_{group.name}"
        return lines, names

    def gains(self, updates: Mapping[str, Update]) -> str:
        """Write what an event (or a pulse) does to the weights as cases of a switch over channels."""
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
        """Write what an event does to the neuromodulators' variables."""
        lines = ["    switch (channel) {"]
        index = {cv: k for k, cv in enumerate(self.variables)}
        for number, modulator in enumerate(self.form.modulators):
            lines.append(f"    case {number}:")
            for variable, expr in modulator.statements:
                target = index[(modulator.channel, variable)]
                lines.append(f"        M[{target}] = {self.gain_code(expr, modulator.channel)};")
            lines.append("        break;")
        return "\n".join([*lines, "    default: break;", "    }"])


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
