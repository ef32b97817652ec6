"""Handwritten digits: all ten classes with a fixed split, and the poster's three images."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rnla_neuro.tasks.sources import FiniteSource, FloatArray, IntArray

_N_TEST = 450
_N_VALIDATION = 270
_SPLIT_SEED = 42


def digits(split: str = "train", split_seed: int = _SPLIT_SEED) -> FiniteSource:
    """Return scikit-learn's 1797 digits, 8×8 pixels: 1347 for training, 450 for the test.

    From each pixel (0…16) its mean over the training set is subtracted, and the rest is divided by 8: tanh
    networks like centred inputs. The split is that of
    ``train_test_split(test_size=450, random_state=split_seed)``; how much the accuracy depends on the split is in
    benchmarks/results/digits_splits.md. Settings are chosen on ``fit`` (1077) and ``validation`` (270), which
    share out ``train``, so that ``test`` stays unseen.

    Args:
        split: ``train``, ``test``, ``fit`` or ``validation``.
        split_seed: Another seed makes another division into training and test.

    Raises:
        TaskError: There is no such split.
    """
    return FiniteSource(_digit_splits(split_seed), n_classes=10, split=split, shape=(8, 8))


def three_digits() -> FiniteSource:
    """Return the poster's setting: a zero, a one and a two, one image of each, 10×10 pixels, reward ±1.

    The images are the first of their class in scikit-learn's digits, enlarged by linear interpolation and
    divided by their largest pixel.
    """
    patterns, labels = _all_digits()
    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(3)]
    images = np.stack([_enlarge(patterns[i].reshape(8, 8), 10).ravel() for i in first])
    images /= images.max(axis=1, keepdims=True)
    both = (images, np.arange(3))
    return FiniteSource({"train": both, "test": both}, n_classes=3, shape=(10, 10), hit=1.0, miss=-1.0)


@lru_cache(maxsize=1)
def _all_digits() -> tuple[FloatArray, IntArray]:
    """Load the raw images (1797, 64), pixels 0…16, and their labels."""
    from sklearn.datasets import load_digits  # takes a second: only when digits are wanted

    bunch = load_digits()
    return np.asarray(bunch.data, dtype=np.float64), np.asarray(bunch.target, dtype=np.int64)


@lru_cache(maxsize=4)
def _digit_splits(seed: int) -> dict[str, tuple[FloatArray, IntArray]]:
    raw, labels = _all_digits()
    test = _held_out(len(labels), _N_TEST, seed)
    patterns = (raw - raw[~test].mean(axis=0)) / 8.0
    train_x, train_y = patterns[~test], labels[~test]
    validation = _held_out(len(train_y), _N_VALIDATION, seed)
    return {
        "train": (train_x, train_y),
        "test": (patterns[test], labels[test]),
        "fit": (train_x[~validation], train_y[~validation]),
        "validation": (train_x[validation], train_y[validation]),
    }


def _held_out(n_rows: int, n_held_out: int, seed: int) -> NDArray[np.bool_]:
    """Mark the rows that scikit-learn's `train_test_split` holds out, shape (n_rows,)."""
    from sklearn.model_selection import train_test_split

    _, rows = train_test_split(np.arange(n_rows), test_size=n_held_out, random_state=seed)
    held_out = np.zeros(n_rows, dtype=np.bool_)
    held_out[rows] = True
    return held_out


def _enlarge(image: FloatArray, side: int) -> FloatArray:
    """Interpolate a square image linearly to `side` × `side` pixels, corners onto corners."""
    old = np.arange(len(image))
    new = np.linspace(0, len(image) - 1, side)
    hat = np.maximum(0.0, 1.0 - np.abs(new[:, None] - old))  # (side, old side) interpolation weights
    return hat @ image @ hat.T
