"""The expressions of a model as C++ for the explicit kernel, in the macros that every target defines."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from rnla_neuro.spec.form import GroupReduction, Traces
from rnla_neuro_backends.common.cpp import ModelWriter, Printer


class KernelPrinter(Printer):
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


class Writer(ModelWriter):
    """Writes the parts of a kernel that come from the model's strings."""

    PRINTER, N_OUT = KernelPrinter, "N_OUT"

    def over_actions(self, expr: sp.Expr, target: str) -> str:
        """Write an expression of the action layer, with the group reductions that it needs."""
        lines, value = self.action_code(expr)
        body = [f"    {line}" for line in (*lines, f"RNLA_FOR(i, N_OUT) {target}[i] = {value};")]
        return "\n".join(f"    {line}" for line in ["(void)scratch; (void)P;", "RNLA_GROUP {", *body, "}"])

    def sources(self, traces: Traces) -> list[str]:
        """Write the factors of the traces' sources."""
        names = {v: v for v in ("u", "drive", "ebar", "noise_bar", "mismatch")}
        return [f"real({self.voltage_code(s.factor, **names)})" for s in traces.sources]

    def reduction(self, group: GroupReduction, slot: int, argument: str) -> list[str]:
        """See `ModelWriter.reduction`."""
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
