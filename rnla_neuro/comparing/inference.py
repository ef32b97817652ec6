"""Intervals and paired tests over seeds, by scipy; Holm's correction for several of them.

What is paired: two models with the same seed share the order of inputs and the stream of their delays, so their
difference is taken seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rnla_neuro.analysis.comparison import Cell, Measured, PairedTest

RESAMPLES: Final = 9999
TEST: Final = "permutation test of the mean paired difference (sign flips), two-sided"
CORRECTION: Final = "Holm, over all tests of a measure"
_SEED: Final = 0  # the same values give the same interval


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval (BCa) of a mean; None for fewer than two different values.

    Bias-corrected and accelerated (Efron 1987), from 9,999 resamples.

    >>> interval([0.5]), interval([0.5, 0.5, 0.5])
    (None, None)
    """
    from scipy.stats import bootstrap

    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2 or np.ptp(array) <= 1e-12 * np.abs(array).max():
        return None
    rng = np.random.default_rng(_SEED)
    found = bootstrap((array,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=rng).confidence_interval
    return float(found.low), float(found.high)


def measured(values: Iterable[float | None]) -> Measured:
    """Return mean and interval of one value a seed; None where a seed has none.

    >>> measured([1.0, None, 1.0]).mean
    1.0
    """
    listed = tuple(None if v is None or not math.isfinite(v) else float(v) for v in values)
    known = [v for v in listed if v is not None]
    if not known:
        return Measured(listed, None, None, None)
    found = interval(known)
    low, high = (None, None) if found is None else found
    return Measured(listed, math.fsum(known) / len(known), low, high)


def paired_p(difference: NDArray[np.float64]) -> float | None:
    """Return the two-sided p value of paired differences having mean 0; None for fewer than two pairs.

    Under the hypothesis each difference could as well have the other sign. All 2^n sign patterns are counted up to
    13 pairs, 9,999 random ones beyond. With n pairs no p is below 2/2^n: five seeds cannot show p < 0.05.
    """
    from scipy.stats import permutation_test

    n = len(difference)
    if n < 2:
        return None

    def mean(a: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.mean(a, axis=axis)

    def mean_difference(a: NDArray[np.float64], b: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return mean(a, axis) - mean(b, axis)

    found = permutation_test(
        (difference, np.zeros(n)),
        mean_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(_SEED),
    )
    return float(min(1.0, found.pvalue))


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected for all of them together (Holm 1979), in the order given.

    The k-th smallest of m is multiplied by m - k + 1 (k from 1), and none is below one that was smaller.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    array = np.asarray(p, dtype=np.float64)
    order = np.argsort(array, kind="stable")
    factors = len(array) - np.arange(len(array))
    corrected = np.empty(len(array))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(array[order] * factors))
    return [float(value) for value in corrected.round(12)]


def paired_tests(cells: Sequence[Cell], measures: Iterable[str]) -> tuple[PairedTest, ...]:
    """Test every pair of models at each delay, for each of `measures` that both have.

    Args:
        cells: Cells whose values follow the same seeds.
        measures: Keys of measures that differ from seed to seed.
    """
    found: list[PairedTest] = []
    for key in measures:
        tests = [
            _pair(key, a, b)
            for delay in dict.fromkeys(cell.delay for cell in cells)
            for a, b in combinations([cell for cell in cells if cell.delay == delay], 2)
            if key in a.measures and key in b.measures
        ]
        known = [test.p for test in tests if test.p is not None]
        corrected = iter(holm(known))
        for test in tests:
            p_corrected = None if test.p is None else next(corrected)
            found.append(PairedTest(**{**vars(test), "p_corrected": p_corrected}))
    return tuple(found)


def _pair(key: str, a: Cell, b: Cell) -> PairedTest:
    """Compare two cells; the correction comes later."""
    pairs = zip(a.measures[key].values, b.measures[key].values, strict=True)
    difference = np.array([x - y for x, y in pairs if x is not None and y is not None], dtype=np.float64)
    found = interval(difference.tolist()) if len(difference) else None
    low, high = (None, None) if found is None else found
    return PairedTest(
        measure=key,
        delay=a.delay,
        a=a.model,
        b=b.model,
        n=len(difference),
        difference=float(difference.mean()) if len(difference) else None,
        low=low,
        high=high,
        p=paired_p(difference),
        p_corrected=None,
        test=TEST,
        correction=CORRECTION,
    )
