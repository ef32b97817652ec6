"""Weights of an emulated chip: rounding at random, clipping, pairs of synapses, states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.emulation.weights import ContinuousWeights, Fixed, Grid, IntegerWeights, round_at_random

GRID = Grid(0.02, -63, 63)
SHAPE = (2, 4, 6)


def none(shape=SHAPE):
    return Fixed(np.zeros(shape), np.zeros(shape))


def make(weights, fixed=None, grid=GRID, seeds=(1, 2), precision="float64"):
    sources = [np.random.SeedSequence(seed) for seed in seeds]
    return IntegerWeights(grid, [weights], [fixed or none(weights.shape)], sources, precision)


def test_rounding_at_random_has_the_right_mean_and_variance():
    n = 200_000
    values = np.array([0.1, 0.5, 2.75, -1.3, -0.01])
    rng = np.random.default_rng(3)
    drawn = np.stack([round_at_random(np.full(n, v), rng.random(n)) for v in values])
    fraction = values - np.floor(values)
    spread = np.sqrt(fraction * (1 - fraction))  # of a number that is 1 with this probability
    assert np.all(np.abs(drawn.mean(axis=1) - values) < 4 * spread / np.sqrt(n))  # 4 standard errors
    # the standard error of a variance p(1-p) is at most 0.5/sqrt(n)
    assert np.all(np.abs(drawn.var(axis=1) - spread**2) < 4 * 0.5 / np.sqrt(n))


@given(st.integers(-63, 63), st.floats(0, 0.999999))
def test_what_is_on_the_grid_stays(number, uniform):
    for noise in (0.0, 1e-13, -1e-13):
        assert round_at_random(np.array([number + noise]), np.array([uniform])) == number


@settings(max_examples=30)
@given(st.floats(-80, 80), st.floats(0, 0.999999))
def test_rounding_goes_to_a_neighbour(value, uniform):
    (got,) = round_at_random(np.array([value]), np.array([uniform]))
    assert abs(got - value) < 1 + 1e-9


def test_small_changes_add_up_on_average():
    weights = make(np.zeros((1, 50, 80)), seeds=(5,))
    for _ in range(100):
        weights.update([np.full((1, 50, 80), 0.001)], [0])  # a twentieth of a step
    # 100 updates of 0.05 steps: 5 steps, each weight with a variance of at most 100 * 0.05 * 0.95
    error = np.sqrt(100 * 0.05 * 0.95 / 4000)
    assert abs(weights.integers[0].mean() - 5) < 4 * error
    assert weights.counts() == {
        "updates": 100, "rounded": 400_000, "saturated": 0, "cut_when_written": 0, "at_limit": [0.0]
    }  # fmt: skip


def test_clipping_is_counted():
    weights = make(np.full((1, 2, 3), 62 * 0.02), seeds=(1,))
    weights.update([np.array([[[0.1, 0.02, 0.0], [-0.1, 0.0, 0.04]]])], [0])
    assert weights.integers[0].tolist() == [[[63, 63, 62], [57, 62, 63]]]
    counts = weights.counts()
    assert counts["saturated"] == 2  # 67 and 64; the second one fits
    assert counts["at_limit"] == [0.5]
    weights.put([np.full((1, 2, 3), 5.0)])
    assert weights.counts()["cut_when_written"] == 6


def test_each_sign_has_a_synapse_of_its_own():
    fixed = Fixed(np.full((1, 1, 3), 0.5), np.full((1, 1, 3), -0.5))
    weights = make(np.array([[[0.2, -0.2, 0.0]]]), fixed, seeds=(1,))
    np.testing.assert_allclose(weights.effective()[0], [[[0.3, -0.1, 0.0]]], atol=1e-15)
    np.testing.assert_allclose(weights.nominal()[0], [[[0.2, -0.2, 0.0]]], atol=1e-15)


def test_offsets_and_noise_go_to_the_bias():
    weights = make(np.zeros((1, 2, 3)), seeds=(1,))
    got = weights.effective_with([np.array([[0.1, 0.2]])], [np.array([[1.0, 2.0]])])
    np.testing.assert_allclose(got[0][0], [[0, 0, 1.1], [0, 0, 2.2]])


def test_what_is_written_is_what_a_float32_engine_holds():
    weights = make(np.full(SHAPE, 0.1), Fixed(np.full(SHAPE, 0.123456789), np.zeros(SHAPE)), precision="float32")
    written = weights.effective_with([None])[0]
    assert np.array_equal(written, written.astype(np.float32))


def test_an_agent_does_not_see_its_neighbours():
    change = np.random.default_rng(0).normal(size=SHAPE) * 0.05
    both = make(np.zeros(SHAPE))
    alone = make(np.zeros((1, *SHAPE[1:])), seeds=(2,))
    both.update([change], [0, 1])
    both.update([change], [1])
    for _ in range(2):
        alone.update([change[1:]], [0])
    assert np.array_equal(both.integers[0][1], alone.integers[0][0])
    assert both.updates.tolist() == [1, 2]


@pytest.mark.parametrize("grid", [GRID, None])
def test_a_state_goes_on_to_the_bit(grid):
    rng = np.random.default_rng(1)
    first = rng.normal(size=SHAPE)
    changes = [rng.normal(size=SHAPE) * 0.03 for _ in range(6)]

    def fresh():
        return make(first) if grid else ContinuousWeights([first], [none()])

    straight, again = fresh(), fresh()
    for change in changes[:3]:
        straight.update([change], [0, 1])
    state = {name: value.copy() for name, value in straight.state().items()}
    for change in changes[3:]:
        straight.update([change], [1])
    again.restore(state)
    for change in changes[3:]:
        again.update([change], [1])
    assert np.array_equal(straight.nominal()[0], again.nominal()[0])
    assert straight.counts() == again.counts()


def test_a_grid_without_a_step_is_refused():
    for step, low, high in ((0.0, -63, 63), (float("nan"), -63, 63), (0.1, 5, 5)):
        with pytest.raises(ConfigError, match="no such grid"):
            Grid(step, low, high)
