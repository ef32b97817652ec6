"""R-STDP by hand: traces against the analytic sum, baselines, whole-numbered weights; its network on NEST."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from rnla_neuro.cli.app import execute
from rnla_neuro.errors import RunFolderError
from rnla_neuro.reproduce.pong import _reached
from rnla_neuro.reproduce.pong_play import Curves, RstdpPlay, kept, play_learner, play_rstdp
from rnla_neuro.reproduce.rstdp import Expectation, RewardModulatedStdp, Setting, causal_traces
from rnla_neuro.reproduce.runs import Workshop
from rnla_neuro.seeding import streams
from rnla_neuro.session import RunRequest
from rnla_neuro.tasks.pong import chance_reward

SETTING = Setting()
nest = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("pyNN", "nest")), reason="PyNN and NEST are not installed"
)


def traces(pre, post, n=1):
    neuron = np.array([who for who, _ in post], dtype=np.int64)
    times = np.array([when for _, when in post], dtype=np.float64)
    return causal_traces(np.array(pre, dtype=np.float64), neuron, times, n, SETTING)


def test_the_published_constants():
    said = (SETTING.units, SETTING.duration, SETTING.n_spikes, SETTING.interval, SETTING.amplitude, SETTING.tau)
    assert said == (32, 200, 20, 10, 36, 64)
    said = (SETTING.saturation, SETTING.eta, SETTING.n_reward, SETTING.w_max, SETTING.w_mean, SETTING.w_std)
    assert said == (128, 0.125, 2, 63, 14, 2)


def test_a_trace_is_the_sum_over_causal_nearest_pairs():
    found = traces([2, 12, 22], [(0, 5), (0, 13.5), (1, 30)], n=3)
    pairs = 36 * np.exp(-np.array([3, 1.5]) / 64)
    np.testing.assert_allclose(found, [pairs.sum(), 36 * np.exp(-8 / 64), 0])


@pytest.mark.parametrize(
    ("post", "distances"),
    [
        ([(0, 1)], []),  # before any presynaptic spike: acausal
        ([(0, 2)], []),  # at the same time: not causal
        ([(0, 5), (0, 7), (0, 11)], [3]),  # only the first of three is a nearest neighbour
        ([(0, 11), (0, 7)], [5]),  # in whatever order they come
        ([(0, 13), (0, 5)], [3, 1]),
    ],
)
def test_which_pairs_count(post, distances):
    np.testing.assert_allclose(traces([2, 12], post), [36 * np.exp(-np.array(distances) / 64).sum()])


def test_a_trace_saturates_and_is_zero_without_spikes():
    regular = 2 + 10 * np.arange(20)
    assert traces(regular, [(0, t + 1) for t in regular]) == [128.0]  # 20 pairs would be 709
    assert traces([], [(0, 3)], n=2).tolist() == [0, 0]
    assert traces([1.0], [], n=2).tolist() == [0, 0]


def test_the_expected_reward_of_each_state_is_its_own_running_mean():
    expectation = Expectation(2, 3, n_reward=2)
    assert expectation.see(np.array([0, 2]), np.array([0.4, 1.0])).tolist() == [0, 0]  # the first is expected
    assert expectation.see(np.array([0, 1]), np.array([1.0, 0.0])) == pytest.approx([0.6, 0])
    assert expectation.values[0, 0] == pytest.approx(0.7)
    assert expectation.mean == pytest.approx([0.7, 0.5])
    assert expectation.performance == pytest.approx([1.0, 0.5])


def rule(eta=0.125):
    return RewardModulatedStdp(Setting(eta=eta), [np.random.default_rng(k) for k in (1, 2)])


def test_initial_weights_are_those_of_the_publication():
    weights = rule().weights
    assert weights.shape == (2, 32, 32)
    assert (weights == np.rint(weights)).all()
    assert weights.mean() == pytest.approx(14, abs=0.2)
    assert weights.std() == pytest.approx(np.sqrt(4 + 1 / 12), abs=0.1)  # rounding adds the variance of 1/12


def test_a_weight_changes_by_rate_trace_and_surprise_in_whole_numbers_within_the_range():
    one, states = rule(), np.array([4, 9])
    one.weights[:, :, :4] = [10, 60, 3, 20]
    learned = np.zeros((2, 32))
    learned[:, :4] = [[100, 128, 0, 3], [128, 40, 128, 0]]
    assert not one.learn(states, learned, np.array([0.1, 0.7])).any()  # a first reward is no surprise
    changed = one.learn(states, learned, np.array([1.0, 0.0]))
    # 0.125 * 100 * 0.9 = 11.25; 60 + 14.4 is above 63; 0.3375 is rounded away; -11.2, -3.5 (to the even one), -11.2
    np.testing.assert_array_equal(one.weights[0, 4, :4], [21, 63, 3, 20])
    np.testing.assert_array_equal(one.weights[1, 9, :4], [0, 56, 0, 20])
    np.testing.assert_array_equal(changed[:, :4], [[True, True, False, False], [True, True, True, False]])
    assert (one.weights[0, 5, :4] == [10, 60, 3, 20]).all()  # other states keep theirs


def test_the_most_active_neuron_wins_and_ties_are_broken_by_chance():
    one = rule()
    counts = np.zeros((2, 32), dtype=np.int64)
    counts[0, 7], counts[1, [3, 8]] = 5, 4
    chosen = np.array([one.choose(counts) for _ in range(60)])
    assert set(chosen[:, 0]) == {7}
    assert set(chosen[:, 1]) == {3, 8}


def test_curves_are_kept_and_other_settings_refused(tmp_path):
    shop, made = Workshop(tmp_path, seeds=(1, 2)), []

    def make():
        made.append(1)
        return Curves(np.arange(1, 21), np.full((2, 20), 0.5), np.ones((2, 20)), np.zeros((2, 1, 1)), 0.01)

    first = kept(shop, "a", {"noise": 0.1}, make)
    again = kept(shop, "a", {"noise": 0.1}, make)
    assert len(made) == 1
    np.testing.assert_array_equal(first.expected, again.expected)
    assert again.final(again.expected) == [0.5, 0.5]
    assert first.until(7).at.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert first.until(7).expected.shape == (2, 7)
    with pytest.raises(RunFolderError, match="other settings"):
        kept(shop, "a", {"noise": 0.2}, make)
    (tmp_path / "curves" / "a.npz").write_text("nothing")
    with pytest.raises(RunFolderError, match="cannot be read"):
        kept(shop, "a", {"noise": 0.1}, make)


def test_learners_of_this_package_play_and_are_measured_alike():
    curves = play_learner(RunRequest("pong", seeds=(1, 2), overrides={"eta": "0.4"}), 1000)
    assert curves.expected.shape == (2, 200)
    assert curves.at[-1] == 1000
    assert min(curves.final(curves.expected)) > 3 * chance_reward()


@nest
def test_the_network_answers_to_the_shown_state_alone():
    from rnla_neuro_backends.pynn_adapter.pong_rstdp import StateActionNetwork, current

    np.testing.assert_allclose(current(np.array([0, 1, 63])), [0, 33 * 0.4 / 63, 95 * 0.4 / 63])
    weights = np.zeros((2, 3, 4))
    weights[0, 1, 2], weights[1, 2, :] = 63, [0, 20, 40, 63]
    with StateActionNetwork(weights, noise=0.0) as network:
        first = network.decide(np.array([1, 2]))
        np.testing.assert_allclose(first.pre, 2 + 10 * np.arange(20))
        assert set(zip(first.agent, first.neuron, strict=True)) == {(0, 2), (1, 1), (1, 2), (1, 3)}
        assert first.times.min() > first.pre[0]
        assert first.times.max() <= 200
        counts = np.bincount(first.neuron[first.agent == 1], minlength=4)
        assert counts[1] < counts[2] <= counts[3]  # larger weights, more spikes
        again = network.decide(np.array([1, 2]))  # from rest again; e^-5 of the last synaptic current is left
        np.testing.assert_allclose(np.sort(again.times), np.sort(first.times), atol=0.5)
        assert not len(network.decide(np.array([0, 0])).times)
        changed = np.zeros((2, 4), dtype=bool)
        changed[0, 0] = True
        network.write(np.array([0, 0]), np.array([[63, 0, 0, 0], [0, 0, 0, 0]]), changed)
        assert set(network.decide(np.array([0, 0])).neuron) == {0}


@nest
def test_spike_times_are_those_of_the_leaky_neuron():
    from rnla_neuro_backends.pynn_adapter.pong_rstdp import CELL, StateActionNetwork, current

    with StateActionNetwork(np.full((1, 1, 1), 63.0), noise=0.0) as network:
        found = np.sort(network.decide(np.array([0])).times)
    # The same neuron by small Euler steps; a spike arrives 1 ms after it left.
    step, v, i, held, times = 0.01, CELL["v_rest"], 0.0, 0.0, []
    arrivals = set(np.rint((3 + 10 * np.arange(20)) / step).astype(int).tolist())
    for k in range(round(200 / step)):
        if k in arrivals:
            i += 1e3 * float(current(np.array(63.0)))  # pA
        if held > 0:
            held -= step
        else:
            v += step * ((CELL["v_rest"] - v) / CELL["tau_m"] + i / (1e3 * CELL["cm"]))
        i -= step * i / CELL["tau_syn_E"]
        if v >= CELL["v_thresh"]:
            times.append((k + 1) * step)
            v, held = CELL["v_reset"], CELL["tau_refrac"]
    assert len(times) == len(found)
    np.testing.assert_allclose(found, times, atol=0.5)  # 0.1 ms a step of NEST's, and what a late spike passes on


@nest
def test_noise_and_mismatch_make_equal_weights_unequal():
    from rnla_neuro_backends.pynn_adapter.pong_rstdp import StateActionNetwork

    def counts(**more):
        with StateActionNetwork(np.full((1, 1, 40), 14.0), **more) as network:
            answers = [network.decide(np.array([0])).neuron for _ in range(2)]
        return [np.bincount(neuron, minlength=40) for neuron in answers]

    still = counts(noise=0.0)
    assert np.ptp(still) == 0
    noisy = counts(noise=0.1)
    assert (noisy[0] != noisy[1]).any()
    uneven = counts(noise=0.0, mismatch=0.1, chip=3)
    np.testing.assert_array_equal(uneven[0], uneven[1])
    assert np.ptp(uneven[0]) > 0
    np.testing.assert_array_equal(uneven, counts(noise=0.0, mismatch=0.1, chip=3, seed=7))
    assert (np.array(uneven) != counts(noise=0.0, mismatch=0.1, chip=4)).any()


@nest
@pytest.mark.slow
def test_the_command_makes_a_check_and_its_picture(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["reproduce", "pong", "--quick", "--seeds", "1-2", "--only", "exploration", "--out", str(out), "--json"]
    assert execute(command) == 0
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert found["key"] == "exploration"
    rows = {row["label"]: row["mean"] for row in found["rows"]}
    assert rows["with noise, as published"] > rows["without"]
    assert (out / "figures" / "exploration.png").exists()
    assert {path.name for path in (out / "curves").iterdir()} == {"rstdp.npz", "rstdp-no-noise.npz"}


@nest
@pytest.mark.slow
def test_it_learns_to_play():
    curves = play_rstdp(RstdpPlay(), (1, 2), 1200)
    assert min(curves.final(curves.expected)) > 2 * chance_reward()  # 0.3 is common
    weights = curves.weights
    assert np.einsum("akk->a", weights).min() / 32 > weights.mean()
    frozen = play_rstdp(RstdpPlay(eta=0.0), (1, 2), 400)
    assert max(frozen.final(frozen.expected)) < 2 * chance_reward()
    first = RewardModulatedStdp(SETTING, [streams(k).weights for k in (1, 2)])
    np.testing.assert_array_equal(frozen.weights, first.weights)


def test_a_level_is_reached_when_it_is_kept():
    rows = np.array([[0.6, 0.1, 0.5, 0.7], [0.6, 0.1, 0.5, 0.4], [0.5, 0.6, 0.7, 0.8]])
    curves = Curves(np.array([10, 20, 30, 40]), rows, rows, np.zeros(0), 0.0)
    np.testing.assert_array_equal(_reached(curves, 0.5), [30, np.nan, 10])
