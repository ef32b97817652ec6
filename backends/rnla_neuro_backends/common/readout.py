"""What follows from the weights alone: greedy actions, the policy, and whether the network is well-posed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError
from rnla_neuro.network import (
    GainBound,
    NetworkSpec,
    gain_bound,
    nudging_slope,
    refuse_strong_nudging,
    steepest_rate,
)
from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.numeric import ActionLayer, input_rate, rate_and_slope

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Weights = Sequence[npt.NDArray[Any]]

WATCH_EVERY = 500  # trials between two looks at the gain bound while weights grow


class StrongNudgingWarning(UserWarning):
    """Weights have grown until the equilibrium is no longer guaranteed to be unique."""


class GainWatch:
    """Looks at the gain bound: at the start, when weights are replaced, and while they grow.

    Attributes:
        bound: As it was when last looked at.
    """

    bound: GainBound

    def __init__(self, network: NetworkSpec) -> None:
        self._model, self._warned = network.model, False
        self._nudging = nudging_slope(network.form, network.sizes[-1])
        self._steepest = steepest_rate(network.form)

    @property
    def nudging(self) -> float:
        """Slope b of the self-nudging."""
        return self._nudging

    def accept(self, weights: Weights) -> None:
        """Look at weights that are about to be used.

        Raises:
            ModelError: The rate function or the nudging is not finite at some voltages.
            ConvergenceError: The nudging is too strong for these weights.
        """
        bound = gain_bound([np.asarray(w) for w in weights], self._nudging, self._steepest)
        refuse_strong_nudging(bound, self._model)
        self.bound = bound

    def look(self, weights: Weights, decisions: int) -> GainBound:
        """Look at weights that have grown for some trials; warn once if they are too large."""
        self.bound = gain_bound(weights, self._nudging, self._steepest)
        if self.bound.value >= 1.0 and not self._warned:
            self._warned = True
            norms = ", ".join(f"{x:.3g}" for x in self.bound.layer_norms)
            warnings.warn(
                f"after {decisions} trials the weights of agent {self.bound.agent} (norms {norms}) have grown "
                f"until b (1 + sum ‖W phi'‖²) = {self.bound.value:.3g} ≥ 1: the equilibrium may no longer be unique; "
                "a smaller beta gives room and costs nothing",
                StrongNudgingWarning,
                stacklevel=4,
            )
        return self.bound


class Readout:
    """A proven network's forward pass without nudging and noise, for any weights."""

    def __init__(self, form: EquilibriumForm, sizes: tuple[int, ...]) -> None:
        self.input_rate = input_rate(form)
        self.rate = rate_and_slope(form)
        self.action = ActionLayer(form)
        self._sizes = sizes

    def drive(self, weights: Weights, observation: FloatArray) -> FloatArray:
        """Return the drive of the action layer, shape (A, B, n_out), for observations (B, n_in)."""
        rate = np.broadcast_to(self.input_rate(observation), (len(weights[0]), *observation.shape))
        u = rate
        for k, w in enumerate(weights):
            u = np.matmul(rate, w[:, :, :-1].transpose(0, 2, 1)) + w[:, None, :, -1]
            if k < len(self._sizes) - 2:
                rate = self.rate(u)[0]
        return u

    def predict(self, weights: Weights, observation: FloatArray) -> IntArray:
        """Return greedy actions (A, B): the decision without exploration, in the limit of weak nudging."""
        drive = self.drive(weights, observation)
        return np.argmax(self.action.decision(drive, drive, np.zeros_like(drive)), axis=2)

    def policy(self, weights: Weights, observation: FloatArray) -> FloatArray:
        """Return the probabilities of the exploring policy, shape (A, B, n_out)."""
        return np.asarray(self.action.policy(self.drive(weights, observation)), dtype=np.float64)

    def rates(self, u: FloatArray, drive: FloatArray, noise: FloatArray) -> FloatArray:
        """Return the rates of all layers after the input, for recorded voltages (…, sum of layers)."""
        top = self._sizes[-1]
        hidden = np.broadcast_to(self.rate(u[..., :-top])[0], u[..., :-top].shape)
        action = self.action.rate(u[..., -top:], drive[..., -top:], noise)
        return np.concatenate([hidden, action], axis=-1)

    def linear_input(self) -> bool:
        """Whether the input rate is the input value itself, which ramps rely on."""
        return np.array_equal(self.input_rate(np.array([0.0, 1.0, 2.0])), [0.0, 1.0, 2.0])


def check_shapes(own: Weights, weights: Weights) -> None:
    """Compare weights with those of the network.

    Raises:
        ConfigError: Their number or shapes do not fit.
    """
    check_arrays([w.shape for w in own], weights)


def check_arrays(shapes: Sequence[tuple[int, ...]], weights: Weights) -> None:
    """Compare weights with the shapes that they should have; see `check_shapes`."""
    if len(weights) != len(shapes):
        raise ConfigError(f"weights of {len(weights)} projections, expected {len(shapes)}")
    for k, (shape, new) in enumerate(zip(shapes, weights, strict=True)):
        if shape != np.shape(new):
            raise ConfigError(f"weights {k} have shape {np.shape(new)}, expected {shape}")
