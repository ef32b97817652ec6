"""The three-factor rule in the plasticity processor's integers: numpy twin, generated kernel, the host's update."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.ppu import Modulator, PpuRule, PpuTwin, kernel_text
from rnla_neuro.hardware.ppu.host import PpuOnHost
from rnla_neuro.hardware.ppu.rule import SHIFTS
from rnla_neuro.hardware.ppu.twin import Xorshift, lanes_random, scaled, shift_steps


def _factors(rng, n):
    """Integers with the ends of their range and zeros among them."""
    return np.where(rng.random(n) < 0.2, rng.choice([0, 1, -1, 127, -127], n), rng.integers(-127, 128, n))


@pytest.mark.parametrize(("n_pre", "n_post", "keep"), [(3, 5, 127), (65, 40, 100), (41, 10, 0), (2, 256, 64)])
def test_the_compiled_kernel_has_the_twins_integers(tmp_path, n_pre, n_post, keep):
    rng = np.random.default_rng(n_pre)
    rule = PpuRule(n_pre, n_post, step=0.03, keep=keep)
    weights = rng.integers(-63, 64, (n_pre, n_post))
    where = rng.permutation(256)[: 2 * n_pre].reshape(2, n_pre)
    columns = np.sort(rng.permutation(256)[:n_post])
    twin = PpuTwin(rule, weights, seed=7)
    host = PpuOnHost(rule, weights, tmp_path, 7, np.sort(where, axis=1), columns)
    for call in range(60):
        pre, post = _factors(rng, n_pre), _factors(rng, n_post)
        twin.accumulate(pre, post)
        host.accumulate(pre, post)
        assert np.array_equal(twin.traces, host.traces), call
        modulator = Modulator(int(rng.integers(-127, 128)), SHIFTS[call % len(SHIFTS)])
        twin.update(modulator)
        host.update(modulator)
        for ours, theirs in zip(twin.pairs(), host.pairs(), strict=True):
            assert np.array_equal(ours, theirs), call
    assert twin.saturated > 0  # both ends of the weights were met
    assert np.abs(twin.traces).max() == 127 or keep == 0


@pytest.mark.parametrize("shift", [s for s in SHIFTS if s <= 5])
def test_a_product_is_rounded_up_as_often_as_its_fraction_says(shift):
    """Over all the random bits that a shift uses, the sum of the results is the product itself."""
    size, factor = (x.ravel()[:, None] for x in np.meshgrid([0, 1, 2, 77, 126, 127], [0, 1, 3, 82, 127]))
    used = np.arange(2 ** (8 + max(shift, 0)))
    # the bits of a shift are the highest of its byte
    lost = [used >> 8 << (8 - by) for by in shift_steps(shift)]
    assert np.array_equal(
        scaled(size, factor, shift, [*lost, used & 255]).sum(axis=1, keepdims=True),
        size * factor * (2 if shift < 0 else 1),
    )


def test_two_bytes_of_a_shift_are_one_random_number():
    """A shift above 7 takes two bytes; with the last one they are 8 + shift bits, of which nothing is lost."""
    rng = np.random.default_rng(1)
    size, factor, first, second, last = rng.integers(0, (128, 128, 256, 256, 256), (200_000, 5)).T
    # near the threshold the bits that are moved out decide
    last, second = np.where(rng.random(200_000) < 0.5, 255, last), np.where(rng.random(200_000) < 0.5, 254, second)
    for shift in range(8, SHIFTS.stop):
        left = shift - 7
        number = (last << shift) + (second >> (8 - left) << 7) + (first >> 1)
        expected = (size * factor + number) >> (8 + shift)
        assert np.array_equal(scaled(size, factor, shift, [first, second, last]), expected)
        assert expected.any()


def test_rounding_is_unbiased_and_lanes_are_independent():
    generator = Xorshift(1)
    draws = np.array([lanes_random(generator.draw(), np.arange(40)) for _ in range(8_000)])
    # mean 127.5 and standard deviation 73.9 of a uniform byte; 5 standard errors
    assert np.abs(draws.mean(axis=0) - 127.5).max() < 5 * 73.9 / np.sqrt(8_000)
    assert np.abs(draws.std(axis=0) - 73.9).max() < 2.0
    later = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    across = np.abs(np.corrcoef(draws.T) - np.eye(40)).max()
    assert abs(later) < 0.06
    assert across < 0.2  # a permutation over 256 lanes: neighbours know a little of each other


def test_update_follows_the_float_update():
    """The integers' change, over many calls, is the host's; one call differs by the rounding of weight and trace."""
    rng = np.random.default_rng(3)
    rule = PpuRule(65, 40, step=2 / 63)
    rate, error = rng.uniform(-1, 1, 65), 0.5 * rng.standard_normal(40)
    trace = np.outer(rate, error)
    gains = 0.3 * rng.standard_normal(120)
    total, wanted, apart = np.zeros((65, 40)), np.zeros((65, 40)), []
    for call, gain in enumerate(gains):
        twin = PpuTwin(rule, np.zeros((65, 40), dtype=int), seed=call + 1)
        twin.accumulate(*rule.factors(rate, error))
        twin.update(rule.modulator(gain))
        change = twin.weights * rule.step
        apart.append(change - gain * trace)
        total += change * np.sign(gain)
        wanted += abs(gain) * trace
    clipped = np.abs(error) > 1  # beyond what 127 stands for
    apart = np.array(apart)[:, :, ~clipped]
    total, wanted = total[:, ~clipped], wanted[:, ~clipped]
    # stochastic rounding of a weight: at most half a step (rms) for the update, less for a trace times the gain
    assert np.sqrt((apart**2).mean()) < 0.6 * rule.step
    assert np.corrcoef(total.ravel(), wanted.ravel())[0, 1] > 0.98
    slope = (total * wanted).sum() / (wanted**2).sum()
    assert slope == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("gain", "updates"), [(0.3, 40), (0.01, 1200), (0.001, 4000)])
def test_small_gains_lose_nothing(gain, updates):
    """Mean update against wanted update, at the sizes of docs/plasticity_processor.md: the slope is 1 for any gain.

    With the bits that a shift moves out dropped it is 0.974 for gain 0.01 and 0.734 for 0.001.
    """
    rule = PpuRule(65, 40, step=2 / 63)
    trace = rule.traces(np.outer(np.linspace(-1, 1, 65), np.linspace(-0.5, 0.5, 40)))
    twin, modulator = PpuTwin(rule, np.zeros_like(trace), seed=9), rule.modulator(gain)
    twin.traces = trace
    total = np.zeros_like(trace)
    for _ in range(updates):
        twin.weights[:] = 0
        twin.update(modulator)
        total += twin.weights
    wanted = updates * modulator.value * trace
    slope = (total * wanted).sum() / (wanted**2).sum()
    # a sum of Bernoulli numbers: its standard error, far below what dropped bits would take
    error = np.sqrt((np.abs(wanted) * wanted**2).sum()) / (wanted**2).sum()
    assert error < 0.006
    assert slope == pytest.approx(1, abs=4 * error)
    assert modulator.value * rule.step / rule.trace_unit == pytest.approx(gain, rel=0.008)  # 7 bits of the mantissa


def test_a_trace_of_one_moves_a_weight_at_the_right_rate():
    """Gain 0.01, traces of 1 and -1: a weight changes by an integer in 1 of 400 updates, in the trace's direction."""
    rule = PpuRule(65, 40, step=2 / 63)
    twin, modulator = PpuTwin(rule, np.zeros((65, 40), dtype=int), seed=4), rule.modulator(0.01)
    twin.traces = np.where(np.arange(65 * 40).reshape(65, 40) % 3, 1, -1)
    for _ in range(1_500):
        twin.update(modulator)
    moved, wanted = twin.weights * twin.traces, 1_500 * modulator.value
    assert wanted == pytest.approx(3.8, abs=0.1)
    # 2,600 weights: the standard error of the mean is 0.04, and the variance of a count of rare events is its mean
    assert moved.mean() == pytest.approx(wanted, abs=0.16)
    assert moved.var() == pytest.approx(wanted, rel=0.15)


def test_a_trace_decays_as_it_says():
    rule = PpuRule(1, 256, step=1.0, keep=115)
    twin = PpuTwin(rule, np.zeros((1, 256), dtype=int), seed=5)
    twin.accumulate(np.array([127]), np.full(256, 127))
    first = twin.traces.mean()
    for _ in range(10):
        twin.accumulate(np.array([0]), np.zeros(256, dtype=int))
    # 256 lanes, stochastic rounding of each call: the mean follows 115/128 a call within a unit
    assert twin.traces.mean() == pytest.approx(first * (115 / 128) ** 10, abs=1.0)


def test_modulator_is_the_nearest_there_is():
    rule = PpuRule(4, 4, step=0.05)
    for wanted in (1e-4, 1e-3, 0.0123, 0.5, 3.0, -0.2):
        got = rule.modulator(wanted)
        per_trace = got.value * rule.step / rule.trace_unit
        assert per_trace == pytest.approx(wanted, rel=0.01)  # 7 bits
    assert rule.modulator(1e9) == Modulator(127, -1)
    assert rule.modulator(-1e9) == Modulator(-127, -1)


def test_the_text_is_what_the_chip_takes():
    rule = PpuRule(65, 40, step=0.03, name="hidden")
    text = kernel_text(rule, seed=9)
    assert text.count("PLASTICITY_RULE_KERNEL") == 1  # its first occurrence is replaced by a name
    assert not re.search(r"\b(float|double)\b|\d\.\d", text)
    assert "rnla_pre_hidden[65]" in text
    assert 'section("ext.data.keep")' in text  # 65 rows of 256 bytes do not fit beside the program
    assert "section" not in kernel_text(PpuRule(20, 10, step=0.03))
    assert kernel_text(rule, seed=9) == text


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PpuRule(129, 4, step=1), "n_pre = 129: allowed are 1 to 128"),
        (lambda: PpuRule(4, 257, step=1), "n_post = 257"),
        (lambda: PpuRule(4, 4, step=0), "step = 0: it must be above 0"),
        (lambda: PpuRule(4, 4, step=1, post=float("nan")), "post = nan"),
        (lambda: PpuRule(4, 4, step=1, keep=128), "keep = 128"),
        (lambda: PpuRule(4, 4, step=1, name="a b"), "'a b': it becomes part of a C\\+\\+ name"),
        (lambda: Modulator(128, 0), "mantissa 128"),
        (lambda: Modulator(1, 15), "shift 15: allowed are -1 to 14"),
        (lambda: PpuRule(4, 4, step=1).modulator(float("inf")), "must be a finite number"),
        (lambda: kernel_text(PpuRule(4, 4, step=1), seed=0), "seed 0"),
        (lambda: PpuTwin(PpuRule(4, 4, step=1), np.zeros((4, 4), dtype=int), seed=2**32), "seed 4294967296"),
        (lambda: PpuTwin(PpuRule(4, 4, step=1), np.zeros((4, 3), dtype=int)), "shape \\(4, 3\\)"),
        (lambda: PpuTwin(PpuRule(1, 1, step=1), np.array([[64]])), "beyond -63 to 63"),
    ],
)  # fmt: skip
def test_what_is_not_possible_is_told(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


@pytest.mark.slow
def test_a_task_is_learned_with_the_processors_integers():
    """The benchmark's loop on the poster's three images: in-loop learning with 8-bit traces and 6-bit weights."""
    path = Path(__file__).parents[2] / "benchmarks" / "plasticity_processor.py"
    spec = importlib.util.spec_from_file_location("plasticity_processor", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    accuracy = benchmark.learn("three-digits", benchmark.Processor, (1, 2), 600, 2 / 63)
    assert accuracy.tolist() == [1.0, 1.0]
    assert benchmark.learn("three-digits", benchmark.Processor, (1, 2), 1, 2 / 63).mean() < 0.7  # not before
