"""The expressions of a model as C++ for the explicit kernel, in the macros that every target defines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy as sp

from rnla_neuro.spec.form import EquilibriumForm, GroupReduction, Traces, Update
from rnla_neuro_backends.moving_equilibrium.codegen import Printer
from rnla_neuro_backends.moving_equilibrium.core import modulator_state


class _KernelPrinter(Printer):
    """Calls the kernel's own exp, tanh, … : they vectorise on a CPU, and are the device's on a GPU."""

    def _call(self, name: str, *args: sp.Expr) -> str:
        return f"{name}({', '.join(f'{self._number}({self._print(arg)})' for arg in args)})"

    def _print_exp(self, expr: sp.Expr) -> str:
        return self._call("rnla_exp", *expr.args)

    def _print_tanh(self, expr: sp.Expr) -> str:
        return self._call("rnla_tanh", *expr.args)

    def _print_Abs(self, expr: sp.Expr) -> str:
        return self._call("rnla_abs", *expr.args)

    def _print_sign(self, expr: sp.Expr) -> str:
        return self._call("rnla_sign", *expr.args)

    def _nested(self, function: str, args: Sequence[sp.Expr]) -> str:
        code = str(self._print(args[0]))
        for arg in args[1:]:
            code = f"rnla_{function}({self._number}({code}), {self._number}({self._print(arg)}))"
        return code


class Writer:
    """Writes the parts of a kernel that come from the model's strings."""

    def __init__(self, form: EquilibriumForm) -> None:
        self.form = form
        self.parameters = tuple(form.parameters)
        self.variables = tuple(modulator_state(form))
        self.constants = {p: f"P[{k}]" for k, p in enumerate(self.parameters)}

    def voltage_code(self, expr: sp.Expr, **names: str) -> str:
        """Write an expression of voltages, in the precision of the network."""
        return str(_KernelPrinter({**self.constants, "n": "real(N_OUT)", **names}, "real").doprint(expr))

    def gain_code(self, expr: sp.Expr, channel: str) -> str:
        """Write an expression of neuromodulators and time, in double precision."""
        state = {v: f"M[{k}]" for k, (_, v) in enumerate(self.variables)}
        own = {v: f"M[{k}]" for k, (c, v) in enumerate(self.variables) if c == channel}
        clock = {name: name for name in ("R", "t", "trial", "credit", "n")}
        return str(_KernelPrinter({**self.constants, **state, **own, **clock}, "double").doprint(expr))

    def hidden_rate(self) -> str:
        """Write the rate function and its slope; what the two share is computed once."""
        shared, (rbar, slope) = sp.cse([self.form.phi, self.form.phi_prime])
        names = {"u": "u"} | {str(s): str(s) for s, _ in shared}
        lines = [f"    const real {s} = {self.voltage_code(e, **names)};" for s, e in shared]
        pair = f"real({self.voltage_code(rbar, **names)}), real({self.voltage_code(slope, **names)})"
        return "\n".join([*lines, f"    return Rate{{{pair}}};"])

    def over_actions(self, expr: sp.Expr, target: str) -> str:
        """Write an expression of the action layer, with the group reductions that it needs."""
        expr = self._in_rates(expr)
        lines, names = self._groups(expr)
        loop = f"RNLA_FOR(i, N_OUT) {target}[i] = {self.voltage_code(expr, **names)};"
        body = [f"    {line}" for line in (*lines, loop)]
        return "\n".join(f"    {line}" for line in ["(void)scratch; (void)P;", "RNLA_GROUP {", *body, "}"])

    def _in_rates(self, expr: sp.Expr) -> sp.Expr:
        return expr.subs(sp.Symbol("rbar", real=True), self.form.action_rate)

    def _groups(self, wanted: sp.Expr) -> tuple[list[str], dict[str, str]]:
        needed = {s.name for s in wanted.free_symbols}
        for group in reversed(self.form.groups):
            if group.name in needed:
                needed |= {s.name for s in self._in_rates(group.argument).free_symbols}
        lines: list[str] = []
        names = {"u": "u[i]", "drive": "drive[i]", "noise_bar": "noise_bar[i]"}
        for k, group in enumerate(g for g in self.form.groups if g.name in needed):
            argument = self.voltage_code(self._in_rates(group.argument), **names)
            lines += _reduction(group, k, argument)
            names[group.name] = f"g_{group.name}[i]" if group.kind == "softmax" else f"g_{group.name}"
        return lines, names

    def sources(self, traces: Traces) -> list[str]:
        """Write the factors of the traces' sources."""
        names = {v: v for v in ("u", "drive", "ebar", "noise_bar", "mismatch")}
        return [f"real({self.voltage_code(s.factor, **names)})" for s in traces.sources]

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


def _reduction(group: GroupReduction, slot: int, argument: str) -> list[str]:
    name = f"g_{group.name}"
    lines = [
        f"real* {name}_all = scratch + {slot} * N_OUT;",
        f"RNLA_FOR(i, N_OUT) {name}_all[i] = {argument};",
        "RNLA_GROUP_SYNC();",
    ]
    if group.kind == "softmax":  # the maximum is subtracted: exp never overflows
        return [
            *lines,
            f"const real top_{name} = group_max<N_OUT>({name}_all);",
            "RNLA_GROUP_SYNC();",
            f"RNLA_SIMD RNLA_FOR(i, N_OUT) {name}_all[i] = rnla_exp({name}_all[i] - top_{name});",
            "RNLA_GROUP_SYNC();",
            f"const real part_{name} = real(1) / group_sum<N_OUT>({name}_all);",
            "RNLA_GROUP_SYNC();",
            f"RNLA_FOR(i, N_OUT) {name}_all[i] *= part_{name};",
            f"const real* {name} = {name}_all;",
            "RNLA_GROUP_SYNC();",
        ]
    reduce = "group_max" if group.kind == "max" else "group_sum"
    share = " / real(N_OUT)" if group.kind == "mean" else ""
    return [*lines, f"const real {name} = {reduce}<N_OUT>({name}_all){share};", "RNLA_GROUP_SYNC();"]
