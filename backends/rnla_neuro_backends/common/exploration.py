"""Exploration noise of the action layer: as it appears in the voltage (noise_bar), or the current behind it.

Every agent draws from its own generator, in blocks, so that what it sees depends on its seed alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.noise import NoiseBlocks
from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.model import ExplorationSpec
from rnla_neuro_backends.moving_equilibrium.columns import Columns

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Exploration(ABC):
    """Noise of the action layer: `columns` for engines of the equilibrium, `steps` for those that integrate."""

    @abstractmethod
    def columns(self, columns: Columns) -> FloatArray:
        """Return noise_bar for each column, shape (A, C, n_out).

        Columns that all belong to the trial before take no value for the next one.
        """

    @abstractmethod
    def steps(self, n_steps: int, switch: int | None, dt: float) -> tuple[FloatArray, IntArray]:
        """Return the noise of steps of `dt` seconds, rows (A, M, n_out), and which row each has, (n_steps,).

        Args:
            n_steps: Number of steps.
            switch: The step with which a trial starts; None if none does.
            dt: Seconds a step.
        """

    def idle(self, duration: float) -> None:  # noqa: B027 - a held value does not age
        """Let `duration` seconds pass in which nothing reads the noise."""

    @abstractmethod
    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of the state."""

    @abstractmethod
    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a copy of the state."""


class Silence(Exploration):
    """No exploration."""

    def __init__(self, n_agents: int, n_out: int) -> None:
        self._shape = (n_agents, n_out)

    def columns(self, columns: Columns) -> FloatArray:
        """Return zeros, shape (A, C, n_out)."""
        return np.zeros((self._shape[0], len(columns), self._shape[1]))

    def steps(self, n_steps: int, switch: int | None, dt: float) -> tuple[FloatArray, IntArray]:
        """Return one silent row."""
        return np.zeros((self._shape[0], 1, self._shape[1])), np.zeros(n_steps, np.int64)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return nothing: silence has no state."""
        return {}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Accept the empty state."""


class HeldExploration(Exploration):
    """A value held for a trial: prospective (in the voltage at once) or through the membrane's low-pass."""

    def __init__(
        self, law: str, scale: float, rngs: list[np.random.Generator], n_out: int, tau: float | None
    ) -> None:
        self._scale, self._tau = scale, tau
        # zero mean: a common shift of all voltages would act on the homeostasis alone
        self._draws = NoiseBlocks("centred gumbel" if law == "gumbel" else law, rngs, (n_out,))
        self._value: FloatArray = np.zeros((len(rngs), n_out))
        self._bar = np.zeros_like(self._value)
        self._rows: dict[tuple[int, int], npt.NDArray[np.int64]] = {}

    def columns(self, columns: Columns) -> FloatArray:
        """Return noise_bar for each column, shape (A, C, n_out)."""
        old, new = self._value, self._value if columns.before.all() else self._scale * self._draws.next()
        self._value = new
        if self._tau is None:
            if len(columns) == 1:
                return new[:, None, :]
            return np.where(columns.before[None, :, None], old[:, None, :], new[:, None, :])
        out = np.empty((old.shape[0], len(columns), old.shape[1]))
        for c, d in enumerate(columns.duration):
            target = old if columns.before[c] else new
            middle, whole = np.exp(-0.5 * d / self._tau), np.exp(-d / self._tau)
            out[:, c] = target + (self._bar - target) * middle
            self._bar = target + (self._bar - target) * whole
        return out

    def steps(self, n_steps: int, switch: int | None, dt: float) -> tuple[FloatArray, IntArray]:
        """Return the value held so far and, if a trial starts, the next one; see `Exploration.steps`."""
        old = self._value
        if switch is None:
            return old[:, None, :].copy(), np.zeros(n_steps, np.int64)
        self._value = self._scale * self._draws.next()
        rows: FloatArray = np.empty((old.shape[0], 2, old.shape[1]))
        rows[:, 0], rows[:, 1] = old, self._value
        if (n_steps, switch) not in self._rows:  # the same array for all trials of one length
            self._rows[n_steps, switch] = (np.arange(n_steps) >= switch).astype(np.int64)
        return rows, self._rows[n_steps, switch]

    def idle(self, duration: float) -> None:
        """Let the membrane's low-pass approach the value that is held."""
        if self._tau is not None:
            self._bar = self._value + (self._bar - self._value) * np.exp(-duration / self._tau)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of the state."""
        return {"value": self._value.copy(), "bar": self._bar.copy(), **self._draws.state()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a copy of the state."""
        self._value, self._bar = state["value"].copy(), state["bar"].copy()
        self._draws.restore(state)


class OrnsteinUhlenbeck(Exploration):
    """An Ornstein-Uhlenbeck process, sampled exactly at the columns (no error in dt).

    With a low-pass, (xi, xi_bar) is a linear system driven by white noise; its exact transition over any
    gap has a mean from the matrix exponential and a covariance from the stationary one:
    ``S - F S F^T``.
    """

    def __init__(
        self, std: float, tau: float, rngs: list[np.random.Generator], n_out: int, tau_low: float | None
    ) -> None:
        self._tau, self._low = tau, tau_low
        self._std = std
        self._noises = 1 if tau_low is None else 2
        self._draws = NoiseBlocks("gaussian", rngs, (self._noises, n_out))
        self._xi: FloatArray = np.zeros((2, len(rngs), n_out))
        self._transitions: dict[float, tuple[FloatArray, FloatArray]] = {}
        self._fresh = True
        self._last = 0.0

    def _stationary(self) -> FloatArray:
        variance = self._std**2
        if self._low is None:
            return np.array([[variance, 0.0], [0.0, 0.0]])
        cross = variance * self._tau / (self._tau + self._low)
        return np.array([[variance, cross], [cross, cross]])

    def _transition(self, gap: float) -> tuple[FloatArray, FloatArray]:
        if gap not in self._transitions:
            a, s = np.exp(-gap / self._tau), self._stationary()
            if self._low is None:
                mean = np.array([[a, 0.0], [0.0, 0.0]])
            else:
                b = np.exp(-gap / self._low)
                rate = 1.0 / self._low - 1.0 / self._tau
                pull = gap * b if abs(rate) * gap < 1e-9 else (a - b) / rate
                mean = np.array([[a, 0.0], [pull / self._low, b]])
            covariance = s - mean @ s @ mean.T
            values, vectors = np.linalg.eigh(covariance)
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            self._transitions[gap] = (mean, root)
        return self._transitions[gap]

    def columns(self, columns: Columns) -> FloatArray:
        """Return noise_bar at the time of each solved column, shape (A, C, n_out)."""
        solved = np.flatnonzero(columns.solve)
        out = np.zeros((self._xi.shape[1], len(columns), self._xi.shape[2]))
        end = np.cumsum(columns.duration)
        middle = end - 0.5 * columns.duration
        for c in solved:
            normal = self._draws.next()
            if self._fresh:
                values, vectors = np.linalg.eigh(self._stationary())
                mean, root = np.zeros((2, 2)), vectors * np.sqrt(np.maximum(values, 0.0))
                self._fresh = False
            else:
                mean, root = self._transition(round(float(middle[c] + self._last), 12))
            self._step(mean, root, normal)
            self._last = -float(middle[c])
            out[:, c] = self._xi[self._noises - 1]
        self._last += float(end[-1])
        return out

    def steps(self, n_steps: int, switch: int | None, dt: float) -> tuple[FloatArray, IntArray]:
        """Return one row a step; see `Exploration.steps`."""
        every = np.ones(n_steps, np.int64)
        if n_steps == 0:
            return np.zeros((self._xi.shape[1], 1, self._xi.shape[2])), every
        columns = Columns(np.full(n_steps, dt), np.arange(n_steps, dtype=np.float64) * dt, every, every)
        return self.columns(columns), np.arange(n_steps)

    def idle(self, duration: float) -> None:
        """Let the process run on unseen: what comes next is less correlated with what was."""
        self._last += duration

    def _step(self, mean: FloatArray, root: FloatArray, normal: FloatArray) -> None:
        if self._noises == 1:
            self._xi[0] = mean[0, 0] * self._xi[0] + np.abs(root[0]).max() * normal[:, 0]
            return
        drawn = np.moveaxis(normal, 1, 0)
        self._xi = np.tensordot(mean, self._xi, axes=1) + np.tensordot(root, drawn, axes=1)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of the state."""
        clock = np.array([self._last, float(self._fresh)])
        return {"xi": self._xi.copy(), "clock": clock, **self._draws.state()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a copy of the state."""
        self._xi = state["xi"].copy()
        self._last, self._fresh = float(state["clock"][0]), bool(state["clock"][1])
        self._draws.restore(state)


def make_exploration(
    spec: ExplorationSpec,
    form: EquilibriumForm,
    rngs: list[np.random.Generator],
    n_out: int,
    current: bool = False,
) -> Exploration:
    """Build the exploration that the model file asks for.

    Args:
        spec: The file's section.
        form: The proven form: scale, correlation time, low-pass.
        rngs: One generator an agent.
        n_out: Neurons of the action layer.
        current: Give the current itself where the file low-passes it, for engines that do so themselves.
    """
    low = form.tau_m if form.noise_lowpass and not current else None
    return exploration_of(spec.law, form.noise_scale, form.noise_tau, rngs, n_out, low)


def exploration_of(
    law: str,
    scale: float,
    tau: float | None,
    rngs: list[np.random.Generator],
    n_out: int,
    low: float | None = None,
) -> Exploration:
    """Build exploration of a law; `low` is the time constant of a low-pass, if there is one."""
    if law == "none":
        return Silence(len(rngs), n_out)
    if law == "ornstein-uhlenbeck":
        assert tau is not None, "the loader demands tau for Ornstein-Uhlenbeck noise"
        return OrnsteinUhlenbeck(scale, tau, rngs, n_out, low)
    return HeldExploration(law, scale, rngs, n_out, low)
