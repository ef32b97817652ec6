"""Where the patterns of a one-step task come from: a finite set, or a law that makes new ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rnla_neuro.errors import TaskError, unknown

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_BITS: Final = 16


class PatternSource(ABC):
    """Patterns, each with the one action that is right for it.

    Attributes:
        shape: Shape in which a pattern is drawn as text; its product is n_in.
        n_in: Number of inputs.
        n_classes: Number of actions.
        bound: No input is larger than this in magnitude.
        hit: Reward for the right action.
        miss: Reward for any other.
    """

    shape: tuple[int, ...]
    n_in: int
    n_classes: int
    bound: float
    hit: float = 1.0
    miss: float = 0.0

    @abstractmethod
    def draw(self, rng: np.random.Generator, n: int) -> tuple[FloatArray, IntArray]:
        """Draw `n` patterns.

        Returns:
            Patterns, shape (n, n_in), and the right actions, shape (n,).
        """

    @abstractmethod
    def dataset(self, split: str) -> tuple[FloatArray, IntArray]:
        """Return all patterns of a split, shape (N, n_in), and the right actions, shape (N,).

        Raises:
            TaskError: There is no such split.
        """


class FiniteSource(PatternSource):
    """Patterns of a finite set, drawn at random with replacement.

    Args:
        splits: Patterns (N, n_in) and labels (N,) of each split, kept read-only.
        n_classes: Number of classes over all splits.
        split: Which one is shown.
        shape: Shape for drawing a pattern as text; default one row.
        hit: Reward for the right action.
        miss: Reward for any other.

    Raises:
        TaskError: There is no such split.
    """

    def __init__(
        self,
        splits: Mapping[str, tuple[FloatArray, IntArray]],
        n_classes: int,
        split: str = "train",
        shape: tuple[int, ...] | None = None,
        hit: float = 1.0,
        miss: float = 0.0,
    ) -> None:
        self._splits = dict(splits)
        for patterns, labels in self._splits.values():
            patterns.setflags(write=False)
            labels.setflags(write=False)
        self._patterns, self._labels = self.dataset(split)
        self.n_in = self._patterns.shape[1]
        self.n_classes = n_classes
        self.shape = (self.n_in,) if shape is None else shape
        self.bound = max(1.0, *(float(np.abs(patterns).max()) for patterns, _ in self._splits.values()))
        self.hit = hit
        self.miss = miss

    def draw(self, rng: np.random.Generator, n: int) -> tuple[FloatArray, IntArray]:
        """Draw `n` patterns of the split, each equally likely."""
        chosen = rng.integers(len(self._labels), size=n)
        return self._patterns[chosen], self._labels[chosen]

    def dataset(self, split: str) -> tuple[FloatArray, IntArray]:
        """Return all patterns of a split and their labels."""
        if split not in self._splits:
            raise TaskError(unknown("split", str(split), self._splits))
        return self._splits[split]


class BarsSource(PatternSource):
    """Two parallel bars in a noisy 5×5 image: are they horizontal or vertical, neighbours or not?

    Two different rows, or two different columns, are set to 1 in an image of -1; Gaussian noise is added to
    every pixel (cut at three standard deviations). Rows count round the edge: the first and the last are
    neighbours. The four classes are 2 · vertical + (not neighbours). No single pixel tells anything, and no
    linear readout of the image does: a hidden layer must find the bars, and their conjunctions.

    Args:
        noise: Standard deviation of the noise.

    Raises:
        TaskError: `noise` is negative or not finite.
    """

    side: Final = 5
    _sample_sizes: Final = {"train": 10_000, "test": 2_000}  # of the fixed samples for measuring accuracy

    def __init__(self, noise: float = 0.5) -> None:
        if not 0.0 <= noise < np.inf:
            raise TaskError(f"rnla/Bars-v0: noise = {noise!r}: allowed is a finite number from 0")
        self.noise = float(noise)
        self.shape = (self.side, self.side)
        self.n_in = self.side**2
        self.n_classes = 4
        self.bound = 1.0 + 3.0 * self.noise
        rows = np.kron(np.eye(self.side), np.ones(self.side))  # (5, 25): row i of the image
        columns = np.kron(np.ones(self.side), np.eye(self.side))
        self._bars = np.stack([rows, columns])

    def draw(self, rng: np.random.Generator, n: int) -> tuple[FloatArray, IntArray]:
        """Draw `n` new images."""
        vertical = rng.integers(2, size=n)
        first = rng.integers(self.side, size=n)
        apart = rng.integers(1, self.side, size=n)
        second = (first + apart) % self.side
        image = 2.0 * (self._bars[vertical, first] + self._bars[vertical, second]) - 1.0
        noise = rng.standard_normal((n, self.n_in))
        np.maximum(noise, -3.0, out=noise)
        np.minimum(noise, 3.0, out=noise)
        noise *= self.noise
        noise += image
        distance = np.minimum(apart, self.side - apart)  # 1 or 2, round the edge
        return noise, 2 * vertical + distance - 1

    def dataset(self, split: str) -> tuple[FloatArray, IntArray]:
        """Return a fixed sample of images: 10,000 for ``train``, 2,000 others for ``test``."""
        if split not in self._sample_sizes:
            raise TaskError(unknown("split", str(split), self._sample_sizes))
        stream = list(self._sample_sizes).index(split)
        return self.draw(np.random.default_rng([5325, stream]), self._sample_sizes[split])


def parity(n_bits: int = 4) -> FiniteSource:
    """Return all words of `n_bits` inputs ±1; the right action is 1 if an odd number of them is +1.

    Raises:
        TaskError: `n_bits` is not a whole number from 2 to 16.
    """
    _whole("rnla/Parity-v0", "n_bits", n_bits, 2, _MOST_BITS)
    bits = (np.arange(2**n_bits)[:, None] >> np.arange(n_bits)) & 1
    return _by_heart(2.0 * bits - 1.0, bits.sum(axis=1) % 2, 2)


def random_patterns(
    n_patterns: int = 40, n_inputs: int = 20, n_classes: int = 10, seed: int = 0
) -> FiniteSource:
    """Return random patterns of ±1 with classes of equal size: associations to be learned by heart.

    Args:
        n_patterns: How many.
        n_inputs: Bits of each.
        n_classes: Number of classes.
        seed: Determines the patterns, whatever the seed of the environment.

    Raises:
        TaskError: A number is out of range.
    """
    env = "rnla/Patterns-v0"
    _whole(env, "n_inputs", n_inputs, 1, 10_000)
    _whole(env, "n_patterns", n_patterns, 2, 100_000)
    _whole(env, "n_classes", n_classes, 2, n_patterns)
    _whole(env, "seed", seed, 0, 2**32 - 1)
    # The legacy generator: numpy promises that its numbers never change, and these patterns define a task.
    rng = np.random.RandomState(seed)
    patterns = 2.0 * rng.randint(0, 2, size=(n_patterns, n_inputs)) - 1.0
    return _by_heart(patterns, np.arange(n_patterns) % n_classes, n_classes)


def stratified_test_rows(labels: IntArray, n_test: int, seed: int) -> NDArray[np.bool_]:
    """Choose `n_test` rows in which each class has its share, the same ones for ever.

    Args:
        labels: (N,) classes from 0.
        n_test: How many rows to choose.
        seed: Which choice.

    Returns:
        (N,) True for a chosen row.
    """
    rng = np.random.RandomState(seed)
    counts = np.bincount(labels)
    quota = counts * n_test / len(labels)
    take = np.floor(quota).astype(np.int64)
    rest = np.argsort(take - quota, kind="stable")  # largest remainders first
    take[rest[: n_test - take.sum()]] += 1
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label, number in enumerate(take.tolist()):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:number]] = True
    return chosen


def _by_heart(patterns: NDArray[np.floating[Any]], labels: IntArray, n_classes: int) -> FiniteSource:
    """Make a source whose test set is its training set: nothing can be generalised."""
    both = (patterns.astype(np.float64), labels)
    return FiniteSource({"train": both, "test": both}, n_classes)


def _whole(env: str, name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise TaskError(f"{env}: {name} = {value!r}: allowed is a whole number from {low} to {high}")
