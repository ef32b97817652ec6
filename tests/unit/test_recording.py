"""Recordings of a run: what is recorded is what the network did; files keep it to the bit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.cli.app import execute
from rnla_neuro.errors import ConfigError, RunFolderError
from rnla_neuro.experiment import RunRequest, run
from rnla_neuro.recording import Recording, record_run, record_session
from rnla_neuro.results import Results
from rnla_neuro.session import Session
from rnla_neuro.spec.loader import load_model
from rnla_neuro.spec.modulation import Modulation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "run"
    request = RunRequest("xor", seeds=(4, 9), iterations=60, hidden=(5, 3), core="numpy", checkpoints=(0, 20))
    run(request, path)
    return path


@pytest.fixture(scope="module")
def results(folder):
    return Results.load(folder)


@pytest.fixture(scope="module")
def recording(results):
    return record_run(results, trials=6, at="start", seeds=(4, 9))


def test_from_the_start_the_trials_are_those_of_the_run(results, recording):
    rewards = np.stack([trial.reward for trial in recording.trials], axis=1)
    np.testing.assert_array_equal(rewards, results.array("reward")[:, :6])
    assert [trial.number for trial in recording.trials] == list(range(6))
    right = np.stack([trial.action == trial.label for trial in recording.trials], axis=1)
    np.testing.assert_array_equal(right, results.array("correct")[:, :6])


def test_one_seed_alone_does_what_it_does_beside_others(results, recording):
    alone = record_run(results, trials=6, at="start", seeds=(9,))
    for one, both in zip(alone.trials, recording.trials, strict=True):
        np.testing.assert_allclose(one.signals["voltage"][0], both.signals["voltage"][1], rtol=1e-12)
        assert one.action[0] == both.action[1]


def test_signals_fit_each_other(recording):
    trial = recording.trials[3]
    rate, voltage = trial.signals["rate"], trial.signals["voltage"]
    hidden, action = recording.layers["hidden1"], recording.layers["action"]
    assert recording.layers == {"hidden1": slice(0, 5), "hidden2": slice(5, 8), "action": slice(8, 10)}
    assert voltage.shape == (2, len(trial.time), 10)
    assert trial.signals["noise"].shape == (2, len(trial.time), 2)
    np.testing.assert_allclose(rate[..., hidden], np.tanh(voltage[..., hidden]))
    np.testing.assert_allclose(rate[..., action].sum(axis=2), 1.0)
    np.testing.assert_array_equal(voltage[:, -1, action].argmax(axis=1), trial.action)
    assert trial.onset <= trial.time[0]
    assert trial.time[-1] < trial.decision_time
    gate = trial.signals["gate"]  # the last 5 of 30 ms
    np.testing.assert_array_equal(gate, [0.0] * 25 + [1.0] * 5)
    assert set(recording.signals) >= {*trial.signals, *(f"modulator.{name}" for name in trial.modulators)}


def test_modulators_follow_the_rewards(recording):
    mean = np.full(2, 0.5)  # 1/n
    for before, trial in zip(recording.trials, recording.trials[1:], strict=False):
        delta = before.reward - mean
        mean = mean + delta / 300
        for k in (0, -1):
            np.testing.assert_allclose(trial.modulators["reward.delta"][:, k], delta)
            np.testing.assert_allclose(trial.modulators["reward.R_mean"][:, k], mean)
    assert recording.trials[1].events[:, 0].tolist() == [0, 1]


def test_a_checkpoint_has_its_weights_mean_reward_and_place_in_time(results):
    found = record_run(results, trials=(0, 2), at=20, seeds=(9,))
    assert (found.at, [trial.number for trial in found.trials]) == ("20", [20, 22])
    assert found.trials[0].onset == pytest.approx(20 * 0.03)
    with np.load(results.path / "checkpoints" / "weights-20.npz") as kept:
        weights, mean = kept["projection0"][1], kept["R_mean"][1]
    first = found.trials[0]
    drive = weights[:, :-1] @ first.input[0] + weights[:, -1]
    np.testing.assert_allclose(first.signals["drive"][0, 0, :5], drive)
    np.testing.assert_allclose(first.modulators["reward.R_mean"][0], mean)


def test_the_end_has_the_last_weights(results):
    first = record_run(results, trials=1).trials[0]
    weights = results.weights["projection0"][0]
    np.testing.assert_allclose(first.signals["drive"][0, 0, :5], weights[:, :-1] @ first.input[0] + weights[:, -1])
    assert first.number == 60


def test_a_pulse_decays_between_rewards():
    modulation = Modulation(load_model("rate_nla_pulse"), 2)
    tau = load_model("rate_nla_pulse").parameters["tau_D"].value
    start = {"reward.R_mean": 0.5, "reward.D": 0.0}
    time = np.arange(30) * 1e-3
    course = modulation.course(start, [(0.0105, 0, 1.0)], 0.0, time, 0)
    after = time[11:]
    np.testing.assert_array_equal(course["reward.D"][:11], 0.0)
    np.testing.assert_allclose(course["reward.D"][11:], 0.5 / tau * np.exp(-(after - 0.0105) / tau))


def same(one: Recording, other: Recording) -> None:
    for a, b in zip(one.trials, other.trials, strict=True):
        for name in ("time", "input", "action", "reward", "label", "events"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        for arrays in ("signals", "modulators"):
            assert getattr(a, arrays).keys() == getattr(b, arrays).keys()
            for name, values in getattr(a, arrays).items():
                np.testing.assert_array_equal(values, getattr(b, arrays)[name])
        assert (a.spikes is None) == (b.spikes is None)
        if a.spikes is not None:
            np.testing.assert_array_equal(a.spikes, b.spikes)
    bare = [dataclasses.replace(recording, trials=()) for recording in (one, other)]
    assert bare[0] == bare[1]


def test_a_file_keeps_it_to_the_bit(recording, tmp_path):
    same(recording, Recording.load(recording.save(tmp_path / "x.npz")))


def test_a_file_keeps_spikes(recording, tmp_path):
    first = recording.trials[0]
    spikes = np.random.default_rng(0).random((2, len(first.time), 12)) < 0.1
    spiking = dataclasses.replace(recording, trials=(dataclasses.replace(first, spikes=spikes),))
    same(spiking, Recording.load(spiking.save(tmp_path / "x.npz")))


def test_wrong_files_are_named(tmp_path, recording):
    with pytest.raises(RunFolderError, match="there is no recording"):
        Recording.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(RunFolderError, match="not a recording"):
        Recording.load(tmp_path / "text.npz")
    np.savez(tmp_path / "newer.npz", about=np.array(json.dumps({"format": 99})))
    with pytest.raises(RunFolderError, match="format 99"):
        Recording.load(tmp_path / "newer.npz")
    with pytest.raises(ConfigError, match=r"'\.nxi'.* did you mean '\.nix'"):
        recording.save(tmp_path / "x.nxi")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": 21}, "kept weights at start, end, 0, 20"),
        ({"at": "begin"}, "kept weights at start"),
        ({"seeds": (5,)}, "seed 5: the run .* has the seeds 4, 9"),
        ({"trials": ()}, "a number from 1"),
    ],
)
def test_what_there_is_not_is_named(results, arguments, message):
    with pytest.raises(ConfigError, match=message):
        record_run(results, **arguments)


def test_a_baseline_has_no_course_in_time(tmp_path):
    run(RunRequest("xor", learner="reinforce", iterations=10, hidden=(4,)), tmp_path / "run")
    with pytest.raises(ConfigError, match="'reinforce', which computes its decisions at once"):
        record_run(tmp_path / "run")


@pytest.mark.backend("brian2:numpy")
def test_another_backend_records_the_same_network(results, recording):
    found = record_run(results, trials=2, at="start", seeds=(4, 9), backend="brian2")
    one, other = found.trials[1].signals, recording.trials[1].signals
    np.testing.assert_allclose(one["voltage"][:, -1], other["voltage"][:, -1], atol=2e-3)
    np.testing.assert_array_equal(one["gate"], other["gate"])


def test_the_command(folder, capsys, tmp_path):
    assert execute(["record", str(folder), "--trials", "2,3", "--at", "start", "--seeds", "4,9", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["file"] == str(folder / "recording.npz")
    assert [trial["number"] for trial in about["trials"]] == [2, 3]
    kept = Recording.load(folder / "recording.npz")
    assert kept.trials[1].action.tolist() == about["trials"][1]["action"]
    assert execute(["record", str(folder), "--trials", "1", "--out", str(tmp_path / "a.npz")]) == 0
    assert str(tmp_path / "a.npz") in capsys.readouterr().out
    assert execute(["record", str(folder), "--trials", "x"]) == 2
    assert "--trials x: allowed: a count (5)" in capsys.readouterr().err


@pytest.mark.backend("brian2:numpy")
def test_spikes_of_a_spiking_model_are_recorded(tmp_path):
    """On Brian2's own groups; what the engine counts is what the recording has, and s jumps at each spike."""
    path = Path(__file__).parents[1] / "models" / "spiking_small.toml"
    request = RunRequest(
        "xor", str(path), backend="brian2", seeds=(3,), hidden=(6,), core="numpy", road="plain", iterations=1
    )
    with Session(request) as session:
        recording = record_session(session, (0, 1))
        counts = session.simulation.spike_counts()
    spikes = np.concatenate([trial.spikes[0] for trial in recording.trials])
    assert spikes.shape == (48, 10)
    layers = (slice(0, 2), slice(2, 8), slice(8, 10))
    assert [spikes[:, layer].sum() for layer in layers] == counts[0].tolist()
    assert counts[0, 1] > 5
    trial = recording.trials[1]
    rate, fired = trial.signals["rate"][0][:, :6], trial.spikes[0][:, 2:8]
    tau, jump = 4e-3, 2 / (400 * 4e-3)  # of rbar = 2*s - 1
    expected = (rate[:-1] + 1) * (1 - recording.dt / tau) - 1 + jump * fired[:-1]
    np.testing.assert_allclose(rate[1:], expected)
    assert recording.signals["spikes"].axes == ("seed", "time", "unit")
