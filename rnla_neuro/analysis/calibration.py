"""Measures how often a spiking neuron fires under held inputs (its f-I curve), and inverts the curve.

A model's learning rule takes ``phi`` for the mean of what a neuron sends. For integrate-and-fire neurons it is so by
construction; for leaky ones with refractory time, noise and reset it has to be measured. A file that injects a current
``b0 + y*(b1 + y*(b2 + …))`` for a wanted rate y can be calibrated: the parameters b0, b1, … are the inverse of the
measured curve, fitted by a polynomial (weighted least squares).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from rnla_neuro.analysis.single_neuron import SingleNeuron
from rnla_neuro.errors import ModelError
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.numeric import compile_expression
from rnla_neuro.spec.proof import symbol

FloatArray = npt.NDArray[np.float64]

#: Mean rates of the shipped models differ from their phi by less than this.
TOLERANCE: Final = 0.04
_RANGE: Final = 3.0
_CURRENTS: Final = np.linspace(-4.0, 12.0, 129)  # thresholds: where the curve of the spiking compartment is measured


@dataclass(frozen=True)
class Curve:
    """A measured f-I curve beside the rate function that the file states.

    Attributes:
        current: Held summed inputs, shape (n,).
        rbar: Measured means of what the neuron sends, shape (n,).
        firing: Measured spikes a second, shape (n,).
        phi: The file's rate function, shape (n,).
    """

    current: FloatArray
    rbar: FloatArray
    firing: FloatArray
    phi: FloatArray

    @property
    def deviation(self) -> float:
        """Largest distance between measured mean and phi."""
        return float(np.abs(self.rbar - self.phi).max())


def measure_curve(model: ModelSpec, current: FloatArray | None = None, *, copies: int = 100, seed: int = 1) -> Curve:
    """Simulate the hidden neuron of a model under held inputs.

    Args:
        model: A model whose hidden neurons spike.
        current: Summed inputs, shape (n,); by default 25 from -3 to 3.
        copies: Neurons an input; each is simulated for 1.2 seconds.
        seed: Of the neurons' ``chance``.

    Raises:
        ModelError: The hidden neurons do not spike, or have no rate function.
    """
    held = np.linspace(-_RANGE, _RANGE, 25) if current is None else np.asarray(current, dtype=np.float64)
    neuron = SingleNeuron(model)
    if model.hidden.phi is None:
        where = f"{model.path.name}: [neuron.hidden] phi"
        raise ModelError(f"{where} is missing: there is nothing to compare the measured curve with")
    response = neuron.respond(held, copies=copies, seed=seed)
    voltage = model.roles["voltage"]
    text = parse(model.hidden.phi, f"{model.path.name}: [neuron.hidden] phi", symbol)
    values = {name: parameter.value for name, parameter in model.parameters.items()}
    phi = np.broadcast_to(compile_expression(text, (voltage,), values)(held), held.shape)
    return Curve(held, response.rbar, response.firing, np.array(phi, dtype=np.float64))


def coefficients(model: ModelSpec) -> tuple[str, ...]:
    """Names of the parameters b0, b1, … of a model, in order; empty if it injects no calibrated current."""
    found = sorted(name for name in model.parameters if re.fullmatch(r"b\d", name))
    return tuple(found) if len(found) > 2 and found == [f"b{k}" for k in range(len(found))] else ()


def invert_curve(model: ModelSpec, *, copies: int = 100, seed: int = 1) -> dict[str, str]:
    """Measure what a constant injected current does, and fit the current for a wanted mean.

    The fit weighs a current by the slope of the curve there, so that it is the mean that is right to within a
    tolerance, not the current; the tails, where a mean of -1 would need a current of minus infinity, count little.

    Args:
        model: A model with parameters b0, b1, …
        copies: Neurons a current; each is simulated for 1.2 seconds.
        seed: Of the neurons' ``chance``.

    Returns:
        The parameters b0, b1, … as texts, ready to be overrides or lines of the file.

    Raises:
        ModelError: The model has no such parameters.
    """
    names = coefficients(model)
    if not names:
        raise ModelError(
            f"{model.path.name}: [parameters] b0, b1, b2, … are missing: a calibrated current is written "
            "b0 + y*(b1 + y*b2), y the wanted rate, as in spiking_lif_nla"
        )
    none = np.zeros_like(_CURRENTS)
    swept = dict.fromkeys(names, none) | {names[0]: _CURRENTS}
    mean = SingleNeuron(model, names).respond(none, swept, copies=copies, seed=seed).rbar
    rising = np.maximum.accumulate(mean)
    wanted = np.linspace(-0.99, 0.99, 67)
    current = np.interp(wanted, rising, _CURRENTS)
    slope = np.gradient(current, wanted)
    fitted = np.polynomial.Polynomial.fit(wanted, current, len(names) - 1, domain=[-1, 1], w=1 / slope)
    return {name: f"{value:.4f}" for name, value in zip(names, fitted.coef, strict=True)}


def calibrated(model: ModelSpec, fitted: dict[str, str]) -> ModelSpec:
    """Return the model with other parameters of its injected current."""
    return parse_model(model.text, Path(model.path), {**model.overrides, **fitted})
