"""Intervals and tests of a comparison, against scipy called directly and against numbers counted by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap, wilcoxon

from rnla_neuro.analysis.comparison import Comparison, Measured
from rnla_neuro.comparing.inference import RESAMPLES, holm, interval, measured, paired_p, paired_tests

VALUES = (0.96, 0.95, 0.97, 0.962, 0.955, 0.948)


def test_the_interval_is_that_of_scipy():
    direct = bootstrap(
        (np.array(VALUES),), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert interval(VALUES) == (direct.low, direct.high)
    assert direct.low < np.mean(VALUES) < direct.high
    assert direct.high - direct.low < 0.02  # about four standard errors of 0.003


def test_no_interval_without_two_different_values():
    assert interval([]) is None
    assert interval([0.1 + 0.2, 0.3]) is None  # they differ by rounding alone


def test_seeds_without_a_value_are_left_out():
    found = measured([1.0, None, float("nan"), 3.0])
    assert found.values == (1.0, None, None, 3.0)
    assert found.mean == 2.0
    assert measured([None, None]) == Measured((None, None), None, None, None)


@pytest.mark.parametrize("n", [2, 5, 8])
def test_p_is_the_share_of_sign_patterns_that_are_as_extreme(n):
    difference = np.random.default_rng(n).normal(0.5, 1.0, n)
    means = [abs(np.mean(np.array(signs) * difference)) for signs in product((-1, 1), repeat=n)]
    by_hand = np.mean(np.array(means) >= abs(difference.mean()) - 1e-12)
    assert paired_p(difference) == pytest.approx(by_hand)


def test_five_seeds_of_one_sign_get_the_smallest_p_and_so_say_wilcoxon():
    difference = np.array([0.01, 0.02, 0.03, 0.015, 0.04])
    assert paired_p(difference) == 2 / 2**5 == wilcoxon(difference).pvalue
    assert paired_p(difference[:1]) is None
    assert paired_p(np.zeros(4)) == 1.0


def test_many_seeds_are_sampled_the_same_way_every_time():
    difference = np.random.default_rng(3).normal(1.0, 1.0, 30)
    assert paired_p(difference) == paired_p(difference) < 0.001


def test_holm_by_hand():
    # sorted: 0.005*4 = 0.02; 0.01*3 = 0.03; 0.03*2 = 0.06; 0.04*1 = 0.04, but not below 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_pairs_follow_the_seeds_and_the_correction_all_tests_of_a_measure():
    base = Comparison.read(Path(__file__).parents[1] / "data").cells[0]

    def cell(model: str, delay: str, *values: float | None):
        return replace(base, model=model, delay=delay, measures={"m": measured(values)})

    cells = [
        cell("a", "none", 1.0, 2.0, 3.0, None),
        cell("b", "none", 0.5, 1.0, None, 9.0),
        cell("a", "late", 1.0, 1.0, 1.0, 1.0),
        cell("b", "late", 0.9, 0.8, 0.7, 0.6),
        replace(base, model="c", delay="none", measures={}),
    ]
    first, second = paired_tests(cells, ["m"])
    assert (first.a, first.b, first.delay, first.n, first.difference) == ("a", "b", "none", 2, 0.75)
    assert (second.delay, second.n, second.p) == ("late", 4, 2 / 2**4)
    assert second.difference == pytest.approx(0.25)
    assert (first.p, first.p_corrected, second.p_corrected) == (0.5, 0.5, 0.25)
