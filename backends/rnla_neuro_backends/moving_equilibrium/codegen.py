"""From the expressions of a model to the source of its C++ core."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from rnla_neuro.spec.form import EquilibriumForm, GroupReduction, Traces
from rnla_neuro_backends.common.cpp import ModelWriter, environment


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


class _Writer(ModelWriter):
    N_OUT = "n_"

    def __init__(self, form: EquilibriumForm, precision: str) -> None:
        super().__init__(form)
        self.real = {"float64": "double", "float32": "float"}[precision]

    def over_actions(self, expr: sp.Expr, target: str) -> str:
        lines, value = self.action_code(expr)
        loop = f"for (int i = 0; i < n_; ++i) {target}[i] = {value};"
        return "\n".join(f"    {line}" for line in [*lines, loop])

    def sources(self, traces: Traces) -> str:
        names = {v: f"{v}[i]" for v in ("u", "drive", "ebar", "noise_bar", "mismatch")} | {"n": "n_actions"}
        return "\n".join(
            f"    for (int i = 0; i < n_; ++i) out[{k} * n_ + i] = {self.voltage_code(s.factor, **names)};"
            for k, s in enumerate(traces.sources)
        )

    def reduction(self, group: GroupReduction, slot: int, argument: str) -> list[str]:
        """See `ModelWriter.reduction`."""
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
        taught=form.taught,
        **{
            f"gated_{name}": ", ".join(str(s.gated).lower() for s in traces.sources) for name, traces in pairs
        },
    )
    return CoreSource(code, writer.parameters, writer.variables)
