"""Means, intervals, running means and thresholds, against scipy and by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rnla_neuro.analysis.statistics import iterations_to_threshold, mean_and_band, running_mean, summary
from rnla_neuro.errors import ConfigError


def test_the_interval_is_that_of_students_t() -> None:
    values = [0.91, 0.95, 0.93, 0.97, 0.90]
    report = summary(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert report["mean"] == pytest.approx(0.932)
    assert report["ci95"] == pytest.approx([low, high])
    assert report["values"] == values
    assert set(report) == {"mean", "ci95", "values"}
    json.dumps(report, allow_nan=False)


def test_the_interval_covers_the_true_mean_95_times_in_100() -> None:
    rng = np.random.default_rng(5)
    intervals = [summary(rng.normal(1.0, 2.0, 4))["ci95"] for _ in range(2000)]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert covered == pytest.approx(0.95, abs=0.015)  # 3 standard errors of 2000 draws


def test_one_value_has_no_interval_and_missing_ones_are_counted() -> None:
    assert summary([2.0]) == {"mean": 2.0, "ci95": None, "values": [2.0]}
    assert summary([2.0, math.nan]) == {
        "mean": 2.0,
        "ci95": None,
        "values": [2.0, None],
        "missing": 1,
        "n": 1,
    }
    assert summary([None, math.inf]) == {
        "mean": None,
        "ci95": None,
        "values": [None, None],
        "missing": 2,
        "n": 0,
    }
    assert summary([]) == {"mean": None, "ci95": None, "values": []}
    report = summary([1.0, 3.0, math.nan])
    assert report["mean"] == 2.0
    assert report["ci95"] == summary([1.0, 3.0])["ci95"]


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert summary(np.float32([1, 1, 1]))["ci95"] == [1.0, 1.0]


def test_the_band_is_the_interval_at_each_place() -> None:
    values = np.random.default_rng(1).random((6, 5))
    values[2, 1] = np.nan
    values[1:, 3] = np.nan
    values[:, 4] = np.nan
    mean, low, high = mean_and_band(values)
    for k in range(5):
        report = summary(values[:, k])
        assert mean[k] == pytest.approx(math.nan if report["mean"] is None else report["mean"], nan_ok=True)
        expected = report["ci95"] or [math.nan, math.nan]
        assert [low[k], high[k]] == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.one_of(st.floats(-10, 10), st.just(math.nan)), max_size=40), st.integers(1, 12))
def test_the_running_mean_is_the_mean_of_the_window(x: list[float], n: int) -> None:
    got = running_mean(x, n)
    assert len(got) == len(x)
    for k in range(len(x)):
        window = [value for value in x[max(0, k - n + 1) : k + 1] if not math.isnan(value)]
        expected = np.mean(window) if window else math.nan
        assert got[k] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_the_running_mean_takes_seeds_apart() -> None:
    x = np.random.default_rng(0).random((3, 50))
    assert np.allclose(running_mean(x, 7), [running_mean(row, 7) for row in x])
    with pytest.raises(ConfigError, match="at least 1"):
        running_mean(x, 0)


def test_iterations_to_the_threshold() -> None:
    never = np.zeros(300)
    late = np.r_[np.zeros(150), np.ones(150)]
    early = np.ones(300)
    fives = np.tile([1, 1, 1, 1, 0], 60)  # 80 of every 100, from the first full window on
    got = iterations_to_threshold([never, late, early, fives], 0.8, 100)
    # after 150 wrong trials, 80 right ones make 80 of the last 100
    assert np.array_equal(got, [np.nan, 230, 100, 100], equal_nan=True)


def test_luck_in_the_first_trials_does_not_count() -> None:
    assert math.isnan(iterations_to_threshold(np.r_[np.ones(3), np.zeros(200)], 0.8, 100))
    assert math.isnan(iterations_to_threshold(np.ones(99), 0.8, 100))
    assert math.isnan(iterations_to_threshold([], 0.8, 100))


def test_three_times_a_tenth_counts_as_three_tenths() -> None:
    assert iterations_to_threshold(np.r_[np.zeros(7), np.ones(3)], 0.3, 10) == 10
