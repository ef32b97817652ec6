"""Means over seeds with their 95 % confidence interval, running means, and trials to a threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnla_neuro.errors import ConfigError


def t_half_width(deviation: ArrayLike, n: ArrayLike, level: float = 0.95) -> NDArray[np.float64]:
    """Return half the width of the confidence interval of a mean (Student's t distribution).

    Args:
        deviation: Sample standard deviation (with n - 1), any shape.
        n: Number of values behind each, same shape.
        level: Probability with which the interval holds the true mean, for normal values.

    Returns:
        Half-widths; NaN where n < 2, since one value says nothing of the spread.
    """
    from scipy.special import stdtrit

    number = np.asarray(n, dtype=np.float64)
    degrees = np.where(number > 1, number - 1, np.nan)
    quantile = stdtrit(degrees, 0.5 + level / 2)
    return np.asarray(quantile * np.asarray(deviation) / np.sqrt(np.where(number > 1, number, np.nan)))


def summary(values: Iterable[float | None]) -> dict[str, Any]:
    """Return mean, 95 % interval and the values themselves, one value a seed, ready for JSON.

    Args:
        values: One number a seed; NaN, infinite or None where a seed has none (it never reached a threshold).

    Returns:
        ``{"mean": float | None, "ci95": [low, high] | None, "values": [...]}``, with None for a missing
        value, and, where some are missing, also ``"missing"`` and ``"n"``, their number and the number of the
        rest: mean and interval are of the rest alone. The interval is None for fewer than two numbers.

    >>> summary([0.5, 0.75, 1.0])["mean"]
    0.75
    >>> summary([2000.0, float("nan")])
    {'mean': 2000.0, 'ci95': None, 'values': [2000.0, None], 'missing': 1, 'n': 1}
    """
    listed = [None if value is None or not math.isfinite(value) else float(value) for value in values]
    known = np.array([value for value in listed if value is not None])
    report: dict[str, Any] = {"mean": None, "ci95": None, "values": listed}
    if len(known):
        mean = math.fsum(known) / len(known)
        report["mean"] = mean
        if len(known) > 1:
            half = float(t_half_width(known.std(ddof=1), len(known)))
            report["ci95"] = [mean - half, mean + half]
    if len(known) < len(listed):
        report["missing"] = len(listed) - len(known)
        report["n"] = len(known)
    return report


def mean_and_band(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and 95 % band over the first axis (seeds), ignoring NaN.

    Args:
        values: (n_seeds, n) array.

    Returns:
        mean, low and high, each (n,); NaN where no seed has a value, and low = high = NaN where only one has.
    """
    array = np.asarray(values, dtype=np.float64)
    known = np.isfinite(array)
    n = known.sum(axis=0)
    some = np.maximum(n, 1)
    mean = np.where(n > 0, np.where(known, array, 0.0).sum(axis=0) / some, np.nan)
    squares = np.where(known, (np.where(known, array, 0.0) - mean) ** 2, 0.0).sum(axis=0)
    half = t_half_width(np.sqrt(squares / np.maximum(n - 1, 1)), n)
    return mean, mean - half, mean + half


def running_mean(x: ArrayLike, n: int = 100) -> NDArray[np.float64]:
    """Return the mean of the last `n` values at each place: a sliding window, not an exponential average.

    A window forgets completely after `n` trials, so that "80 % of the last 100 decisions were right" is a
    count which a reader can check; an exponential average would never forget the first, poor trials.

    Args:
        x: (..., iterations) values; NaN (no value in this trial) is left out of the mean.
        n: Length of the window in trials.

    Returns:
        Array of the shape of `x`: entry k is the mean over the trials k - n + 1 to k. The first n - 1 entries
        average over the trials so far; an entry with no value in its window is NaN.

    Raises:
        ConfigError: `n` is below 1.

    >>> running_mean([1.0, 0.0, 1.0, 1.0], 2)
    array([1. , 0.5, 0.5, 1. ])
    """
    if n < 1:
        raise ConfigError(f"a running mean over {n} trials: at least 1 is needed")
    array = np.asarray(x, dtype=np.float64)
    known = np.isfinite(array)
    total = _window_sum(np.where(known, array, 0.0), n)
    count = _window_sum(known.astype(np.float64), n)
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def iterations_to_threshold(
    correct: ArrayLike, threshold: float = 0.8, window: int = 100
) -> NDArray[np.float64]:
    """Return the number of trials until the running hit rate first reaches `threshold`.

    Args:
        correct: (..., iterations) of 1 for a right decision and 0 for a wrong one.
        threshold: Hit rate to be reached.
        window: Trials of the sliding window; the first `window` - 1 trials cannot count, since a window that
            is not full yet reaches any threshold by luck.

    Returns:
        (...,) numbers of trials, the one included at whose end it was reached; NaN where it never was.
    """
    rate = running_mean(correct, window)
    # a hit rate of 80/100 is exactly 0.8 up to the rounding of one division
    reached = (rate >= threshold - 1e-12) & (np.arange(rate.shape[-1]) >= window - 1)
    if rate.shape[-1] == 0:
        return np.full(rate.shape[:-1], np.nan)
    first = reached.argmax(axis=-1)
    return np.where(reached.any(axis=-1), first + 1.0, np.nan)


def _window_sum(x: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Sum the last `n` entries at each place along the last axis."""
    total = np.cumsum(x, axis=-1)
    windowed = total.copy()
    windowed[..., n:] -= total[..., :-n]
    return windowed
