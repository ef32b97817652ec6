"""The target that a supervised model is told, in the rows that exploration has in other models.

A model that is told a target does not explore (`EquilibriumForm.taught`), so both travel to the engines by one way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.common.exploration import Exploration
from rnla_neuro_backends.moving_equilibrium.columns import Columns, interpolation

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Told(Exploration):
    """What the action layer ought to do: held for a trial, or S samples over it, linearly interpolated.

    Args:
        n_agents: Number of agents A.
        n_out: Neurons of the action layer.
        model: The model.
    """

    def __init__(self, n_agents: int, n_out: int, model: ModelSpec) -> None:
        self._shape, self._model = (n_agents, n_out), model
        self._before: FloatArray = np.zeros((n_agents, 1, n_out))  # samples of the trial before
        self._shown: FloatArray | None = None

    @property
    def samples(self) -> int:
        """Samples of the target of the trial that comes next."""
        return 1 if self._shown is None else self._shown.shape[1]

    def show(self, label: IntArray | FloatArray | None) -> None:
        """Take the target of the next trial.

        Args:
            label: The right action of each agent, (A,), as a whole number; or what every action neuron ought to
                do, (A, n_out), or samples of it over the trial, (A, S, n_out).

        Raises:
            ConfigError: There is none, its shape does not fit, or a value is not allowed.
        """
        agents, n_out = self._shape
        if label is None:
            raise ConfigError(
                f"model {self._model.name!r} is told a target, and this trial has none: learner 'supervised' needs a "
                "task that knows the right answers"
            )
        given = np.asarray(label)
        if given.shape == (agents,) and given.dtype.kind in "iu":
            if given.min() < 0 or given.max() >= n_out:
                raise ConfigError(f"label {given} is not an action; allowed: 0 to {n_out - 1}")
            self._shown = np.eye(n_out)[given][:, None]
            return
        values: FloatArray = np.array(given, dtype=np.float64)
        if values.ndim == 2:
            values = values[:, None]
        if values.ndim != 3 or (values.shape[0], values.shape[2]) != self._shape or not values.shape[1]:
            raise ConfigError(
                f"target of shape {given.shape}: expected whole numbers ({agents},), or ({agents}, {n_out}), or with "
                f"samples in time ({agents}, S, {n_out})"
            )
        if not np.isfinite(values).all():
            raise ConfigError("a target holds NaN or infinity; it must be finite")
        self._shown = values

    def _next(self) -> tuple[FloatArray, FloatArray]:
        assert self._shown is not None, "show() comes before every trial"
        before, self._before, self._shown = self._before, self._shown, None
        return before, self._before

    def columns(self, columns: Columns) -> FloatArray:
        """Return the target at the time of each column, shape (A, C, n_out)."""
        before, now = (self._before, self._before) if columns.before.all() else self._next()
        duration = self._model.trial.duration
        out = np.empty((self._shape[0], len(columns), self._shape[1]))
        for c, t in enumerate(columns.time):
            samples, phase = (now, t / duration) if t >= 0 else (before, 1.0 + t / duration)
            out[:, c] = np.einsum("s,asn->an", interpolation(samples.shape[1], phase), samples)
        return out

    def steps(self, n_steps: int, switch: int | None, dt: float) -> tuple[FloatArray, IntArray]:
        """Return the last target of the trial before and, if a trial starts, its own; see `Exploration.steps`."""
        if switch is None:
            return self._before[:, -1:].copy(), np.zeros(n_steps, np.int64)
        before, now = self._next()
        rows: FloatArray = np.stack([before[:, -1], now[:, -1]], axis=1)
        return rows, (np.arange(n_steps) >= switch).astype(np.int64)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of the state."""
        return {"target": self._before.copy()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a copy of the state."""
        self._before, self._shown = state["target"].copy(), None


def told_by(exploration: Exploration) -> Told | None:
    """Return what tells the target, where the model takes one."""
    return exploration if isinstance(exploration, Told) else None
