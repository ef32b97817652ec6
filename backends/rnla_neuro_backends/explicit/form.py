"""What the fused kernels of the explicit form need to know of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.form import EquilibriumForm, Prospective
from rnla_neuro.spec.model import ModelSpec

#: How exploration reaches the voltage. ``jump``: noise_bar is held for a trial, and voltages jump with it.
#: ``process``: noise_bar is a process in time, its current noise_bar + tau*(its change over the step)/dt.
#: ``current``: the file low-passes the current into noise_bar. ``none``: there is none.
NoiseKind = Literal["none", "jump", "process", "current"]


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
        BackendError: Its equations are not of the proven form; the message names file, section and term.
    """
    base = derive_form(model)
    return ExplicitForm(base, base.prospective, noise_kind(base))


def noise_kind(form: EquilibriumForm) -> NoiseKind:
    """Return how a model's exploration reaches the voltage."""
    if form.noise == "none":
        return "none"
    if form.noise_lowpass:
        return "current"
    return "process" if form.noise_tau is not None else "jump"
