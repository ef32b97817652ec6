"""What the fused kernels of the explicit form need to know of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.form import EquilibriumForm, Prospective
from rnla_neuro.spec.model import ModelSpec

#: How exploration reaches the voltage. ``jump``: noise_bar is held for a trial, and voltages jump with it.
#: ``process``: noise_bar is a process in time, its current noise_bar + tau*(its change over the step)/dt.
#: ``current``: the file low-passes the current into noise_bar. ``none``: there is none.
#: ``target``: there is none, and noise_bar holds the target, which the error reads and which is no part of the voltage.
NoiseKind = Literal["none", "jump", "process", "current", "target"]


@dataclass(frozen=True)
class ExplicitForm:
    """A model that the fused kernels run.

    Attributes:
        base: The proven form.
        rate: How the hidden neurons' prospective rate is written.
        noise: How exploration reaches the voltage.
    """

    base: EquilibriumForm
    rate: Prospective
    noise: NoiseKind


def explicit_form(model: ModelSpec) -> ExplicitForm:
    """Recognise a model.

    Raises:
        BackendError: Its equations are not of the proven form, or the kernels cannot run it; the message names file,
            section and term.
    """
    base = derive_form(model)
    kind = noise_kind(base)
    if kind == "process":
        _refuse_moving_errors(base, model)
    return ExplicitForm(base, base.prospective, kind)


def _refuse_moving_errors(form: EquilibriumForm, model: ModelSpec) -> None:
    """Refuse errors and decisions that read noise which moves within a step: which of its values is not defined."""
    noise, name = sp.Symbol("noise_bar", real=True), model.roles.get("noise", "noise_bar")
    parts = {f"group.{group.name}": group.argument for group in form.groups}
    parts |= {f"equations, {model.roles['error']}": form.nudging, "decision": form.decision.argument}
    for key, expr in parts.items():
        if noise in expr.free_symbols:
            section = "exploration" if key == "decision" else "neuron.action"
            raise BackendError(
                f"the fused kernels cannot run {model.path.name}: [{section}] {key} uses {name!r}, which is a process "
                f"in time here; it must not (or be low-passed: d{name}/dt = (noise - {name})/tau)"
            )


def noise_kind(form: EquilibriumForm) -> NoiseKind:
    """Return how a model's exploration reaches the voltage."""
    if form.taught:
        return "target"
    if form.noise == "none":
        return "none"
    if form.noise_lowpass:
        return "current"
    return "process" if form.noise_tau is not None else "jump"
