"""Weights as a chip keeps them: whole numbers of a step, changed by stochastic rounding, clipped at the largest.

A signed weight is a pair of synapses, one excitatory and one inhibitory, where rows have a sign; only one of the two is
above zero. Each synapse is stronger or weaker than it should be by a fixed fraction (`Fixed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """The weights that a chip can have: ``low*step, …, high*step``.

    Attributes:
        step: Model weight of one integer.
        low: Smallest integer, such as -63.
        high: Largest integer.
    """

    step: float
    low: int
    high: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.step) and self.step > 0 and self.low < self.high):
            raise ConfigError(f"weights from {self.low} to {self.high} times {self.step}: no such grid")


@dataclass(frozen=True)
class Fixed:
    """Relative deviations of the synapses of one projection, each of shape (A, n_post, columns).

    Attributes:
        positive: Of the synapse that carries a positive weight.
        negative: Of the one that carries a negative weight.
    """

    positive: FloatArray
    negative: FloatArray


def round_at_random(values: FloatArray, uniform: FloatArray) -> IntArray:
    """Round to one of the two whole numbers beside each value, so that the mean is the value.

    Args:
        values: What to round.
        uniform: A number in [0, 1) for each, of the same shape.

    >>> round_at_random(np.array([1.25, 1.25, 2.0]), np.array([0.7, 0.8, 0.99])).tolist()
    [1, 2, 2]
    """
    nearest = np.rint(values)
    # what is whole but for the rounding of floats stays as it is
    whole = np.abs(values - nearest) < 1e-9
    return np.where(whole, nearest, np.floor(values + uniform)).astype(np.int64)


class ChipWeights(ABC):
    """The weights of A agents: what the host means, and what the synapses have.

    Args:
        fixed: Deviations a projection.
        n_agents: A.
        precision: Type in which an engine holds weights; what is written to it is rounded to it here already.

    Attributes:
        updates: Updates of each agent's weights so far, (A,).
    """

    def __init__(self, fixed: Sequence[Fixed], n_agents: int, precision: str) -> None:
        self._fixed, self._precision = tuple(fixed), precision
        self.updates = np.zeros(n_agents, dtype=np.int64)

    @abstractmethod
    def put(self, weights: Sequence[FloatArray]) -> None:
        """Let the host mean these weights, (A, n_post, columns) a projection, as far as a chip can have them."""

    @abstractmethod
    def update(self, changes: Sequence[FloatArray], agents: Sequence[int]) -> None:
        """Add changes of the weights, (A, n_post, columns) a projection, for some agents."""

    @abstractmethod
    def nominal(self) -> list[FloatArray]:
        """Return the weights that the host means, one array (A, n_post, columns) a projection."""

    @abstractmethod
    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes."""

    @abstractmethod
    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state that `state` returned, to the bit."""

    def effective(self) -> list[FloatArray]:
        """Return the weights that the synapses have, deviations included."""
        found = []
        for w, fixed in zip(self.nominal(), self._fixed, strict=True):
            found.append(w * (1.0 + np.where(w > 0, fixed.positive, fixed.negative)))
        return found

    def effective_with(
        self, offsets: Sequence[FloatArray | None], noise: Sequence[FloatArray | None] | None = None
    ) -> list[FloatArray]:
        """Return what to write: `effective`, and what is added to biases, (A, n_post) a projection or None."""
        found = self.effective()
        for added in (offsets, noise or ()):
            for w, one in zip(found, added, strict=False):
                if one is not None:
                    w[:, :, -1] += one
        if self._precision == "float32":
            found = [w.astype(np.float32).astype(np.float64) for w in found]
        return found

    def counts(self) -> dict[str, Any]:
        """Return what happened to the weights, as plain data."""
        return {"updates": int(self.updates.sum())}


class ContinuousWeights(ChipWeights):
    """Weights that are not rounded.

    Args:
        weights: One array (A, n_post, columns) a projection.
        fixed: Deviations a projection.
        precision: As for `ChipWeights`.
    """

    def __init__(self, weights: Sequence[FloatArray], fixed: Sequence[Fixed], precision: str = "float64") -> None:
        super().__init__(fixed, len(weights[0]), precision)
        self._weights = [np.array(w, dtype=np.float64) for w in weights]

    def put(self, weights: Sequence[FloatArray]) -> None:
        """Let the host mean these weights."""
        self._weights = [np.array(w, dtype=np.float64) for w in weights]

    def update(self, changes: Sequence[FloatArray], agents: Sequence[int]) -> None:
        """Add changes of the weights; see `ChipWeights.update`."""
        chosen = list(agents)
        for own, change in zip(self._weights, changes, strict=True):
            own[chosen] += change[chosen]
        self.updates[chosen] += 1

    def nominal(self) -> list[FloatArray]:
        """Return copies of the weights."""
        return [w.copy() for w in self._weights]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes."""
        return {"updates": self.updates.copy()} | {f"weights{k}": w.copy() for k, w in enumerate(self._weights)}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state that `state` returned."""
        self.updates = state["updates"].copy()
        self._weights = [state[f"weights{k}"].copy() for k in range(len(self._weights))]


class IntegerWeights(ChipWeights):
    """Weights on a grid: what was rounded, and what was clipped.

    Args:
        grid: The grid.
        weights: One array (A, n_post, columns) a projection, to be rounded to the grid.
        fixed: Deviations a projection.
        seeds: One sequence an agent, from which it draws for its roundings.
        precision: Type in which an engine holds weights; what is written is rounded to it here already.

    Attributes:
        integers: One array (A, n_post, columns) a projection.
        rounded: Weights of each agent that an update changed by no whole number, (A,).
        clipped: Weights of each agent that an update would have pushed out of the grid, (A,).
        cut: Weights of each agent that were out of the grid when they were written as a whole, (A,).
    """

    def __init__(
        self,
        grid: Grid,
        weights: Sequence[FloatArray],
        fixed: Sequence[Fixed],
        seeds: Sequence[np.random.SeedSequence],
        precision: str = "float64",
    ) -> None:
        super().__init__(fixed, len(seeds), precision)
        self.grid, self._seeds = grid, tuple(seeds)
        self._count = sum(w[0].size for w in weights)
        self._all = np.zeros((len(seeds), self._count), dtype=np.int64)
        ends = np.cumsum([0, *(w[0].size for w in weights)])
        parts = zip(ends[:-1], ends[1:], weights, strict=True)
        self.integers: list[IntArray] = [self._all[:, a:b].reshape(w.shape) for a, b, w in parts]  # views
        self._draws = np.zeros(len(seeds), dtype=np.int64)  # times that an agent has drawn a number a weight
        self._generators = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        self.rounded, self.clipped, self.cut = (self.updates.copy() for _ in range(3))
        self.put(weights)

    def put(self, weights: Sequence[FloatArray]) -> None:
        """Round weights to the grid, at random, and clip them; those on the grid stay as they are."""
        wanted = self._flat(weights) / self.grid.step
        self.cut += [self._move(agent, wanted[agent]) for agent in range(len(self._seeds))]

    def update(self, changes: Sequence[FloatArray], agents: Sequence[int]) -> None:
        """Add changes of the weights, (A, n_post, columns) a projection, for some agents.

        Each weight moves to one of the two integers beside where it should go, so that it goes there on average.
        """
        steps = self._flat(changes) / self.grid.step
        for agent in agents:
            self.updates[agent] += 1
            self.rounded[agent] += int(np.count_nonzero(steps[agent] != np.rint(steps[agent])))
            self.clipped[agent] += self._move(agent, self._all[agent] + steps[agent])

    def _flat(self, arrays: Sequence[FloatArray]) -> FloatArray:
        return np.concatenate([np.reshape(one, (len(self._seeds), -1)) for one in arrays], axis=1, dtype=np.float64)

    def _move(self, agent: int, wanted: FloatArray) -> int:
        """Round and clip the weights of an agent; return how many were clipped."""
        rounded = round_at_random(wanted, self._generators[agent].random(self._count))
        self._draws[agent] += 1
        inside = np.minimum(np.maximum(rounded, self.grid.low), self.grid.high)
        self._all[agent] = inside
        return int(np.count_nonzero(inside != rounded))

    def nominal(self) -> list[FloatArray]:
        """Return the weights that the host means, one array (A, n_post, columns) a projection."""
        return [np.asarray(n * self.grid.step, dtype=np.float64) for n in self.integers]

    def at_limit(self) -> FloatArray:
        """Return the part of each agent's weights that are as large as they can be, (A,)."""
        edges = [((n <= self.grid.low) | (n >= self.grid.high)).sum(axis=(1, 2)) for n in self.integers]
        return np.asarray(sum(edges) / self._count, dtype=np.float64)

    def counts(self) -> dict[str, Any]:
        """Return what happened to the weights, as plain data."""
        return {
            **super().counts(),
            "rounded": int(self.rounded.sum()),
            "saturated": int(self.clipped.sum()),
            "cut_when_written": int(self.cut.sum()),
            "at_limit": self.at_limit().tolist(),
        }

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes."""
        counts = np.stack([self._draws, self.updates, self.rounded, self.clipped, self.cut])
        return {"counts": counts} | {f"integers{k}": n.copy() for k, n in enumerate(self.integers)}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state that `state` returned, to the bit."""
        self._draws, self.updates, self.rounded, self.clipped, self.cut = (row.copy() for row in state["counts"])
        for k, own in enumerate(self.integers):
            own[...] = state[f"integers{k}"]
        for agent, seed in enumerate(self._seeds):  # a float64 takes one number of the generator
            source = np.random.PCG64(seed)
            source.advance(int(self._draws[agent]) * self._count)
            self._generators[agent] = np.random.Generator(source)
