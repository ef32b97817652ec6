"""Recordings as Neo objects; NIX and NWB files read back with Neo."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

pytest.importorskip("neo")

from rnla_neuro.errors import MissingExtraError, RunFolderError
from rnla_neuro.interchange.neo_files import read, to_neo
from rnla_neuro.recording import Recording, Signal, Trial

SIZES, STEPS, DT = (4, 3, 2), 20, 1e-3


def one_trial(number: int, rng: np.random.Generator) -> Trial:
    onset = number * STEPS * DT
    shape = (2, STEPS, sum(SIZES[1:]))
    return Trial(
        number=number,
        decision_time=onset + STEPS * DT,
        onset=onset,
        time=onset + DT * np.arange(STEPS),
        input=rng.standard_normal((2, SIZES[0])),
        action=np.array([1, 0]),
        reward=np.array([1.0, 0.0]),
        label=np.array([1, 1]),
        signals={
            "voltage": rng.standard_normal(shape),
            "rate": rng.standard_normal(shape),
            "noise": rng.standard_normal((2, STEPS, 2)),
            "gate": np.repeat([0.0, 1.0], [15, 5]),
        },
        spikes=rng.random((2, STEPS, sum(SIZES))) < 0.2,
        modulators={"reward.R_mean": rng.standard_normal((2, STEPS)), "reward.D": rng.standard_normal((2, STEPS))},
        events=np.array([[0.0, onset, 0.0, 0.5], [1.0, onset + 0.002, 0.0, 1.0]]),
    )


@pytest.fixture
def recording():
    rng = np.random.default_rng(0)
    neuron = {n: Signal(n, n[0], "1", ("seed", "time", "neuron"), n) for n in ("voltage", "rate", "noise", "gate")}
    other = {"modulator.reward.R_mean": "1", "modulator.reward.D": "Hz", "input": "1"}
    signals = neuron | {n: Signal(n, n, unit, ("seed", "time"), n) for n, unit in other.items()}
    trials = tuple(one_trial(k, rng) for k in (3, 4))
    return Recording("task", "model", "brian2", "3", (5, 7), SIZES, DT, None, ("reward",), signals, trials, "runs/x")


def test_a_seed_is_a_block_and_a_trial_a_segment(recording):
    blocks = to_neo(recording)
    assert [block.annotations["seed"] for block in blocks] == [5, 7]
    segments = blocks[1].segments
    assert [segment.annotations["trial"] for segment in segments] == [3, 4]
    assert (segments[0].annotations["action"], segments[0].annotations["label"]) == (0, 1)
    signals = {signal.name: signal for signal in segments[0].analogsignals}
    assert set(signals) == {
        *("voltage hidden", "voltage action", "rate hidden", "rate action", "noise action"),
        *("reward.R_mean", "reward.D", "input"),
    }
    hidden = signals["voltage hidden"]
    np.testing.assert_array_equal(hidden.magnitude, recording.trials[0].signals["voltage"][1][:, :3])
    np.testing.assert_allclose(hidden.times.rescale("s").magnitude, recording.trials[0].time)
    assert hidden.dimensionality.string == "dimensionless"
    assert signals["reward.D"].dimensionality.string == "Hz"


def test_spikes_events_and_gate(recording):
    trial = recording.trials[1]
    segment = to_neo(recording)[0].segments[1]
    trains = {train.name: train for train in segment.spiketrains}
    assert len(trains) == sum(SIZES)
    np.testing.assert_allclose(trains["hidden 2"].magnitude, trial.time[trial.spikes[0, :, SIZES[0] + 2]])
    np.testing.assert_allclose(trains["input 0"].magnitude, trial.time[trial.spikes[0, :, 0]])
    assert trains["action 1"].annotations == {"layer": "action", "neuron": 1}
    reward, decision = segment.events
    assert (reward.name, reward.labels.tolist(), float(reward[0])) == ("reward", ["0.5"], pytest.approx(trial.onset))
    assert (decision.name, decision.labels.tolist()) == ("decision", ["1"])
    (gate,) = segment.epochs
    assert float(gate.times[0]) == pytest.approx(trial.time[15])
    assert float(gate.durations[0]) == pytest.approx(0.005)


def test_inputs_that_never_spike_have_no_trains(recording):
    silent = []
    for trial in recording.trials:
        spikes = trial.spikes.copy()
        spikes[:, :, :4] = False
        silent.append(dataclasses.replace(trial, spikes=spikes))
    segment = to_neo(dataclasses.replace(recording, trials=tuple(silent)))[0].segments[0]
    assert {train.annotations["layer"] for train in segment.spiketrains} == {"hidden", "action"}
    rates = tuple(dataclasses.replace(trial, spikes=None) for trial in recording.trials)
    assert not to_neo(dataclasses.replace(recording, trials=rates))[0].segments[0].spiketrains


def seconds(times) -> np.ndarray:
    return times.rescale("s").magnitude


def compare(one, other, *, annotated: bool) -> None:
    """Compare blocks that were written with those that were read."""
    for mine, theirs in zip(one, other, strict=True):
        for a, b in zip(mine.segments, theirs.segments, strict=True):
            assert len(a.analogsignals) == len(b.analogsignals)
            for x in a.analogsignals:
                y = next(y for y in b.analogsignals if x.name in y.name)
                np.testing.assert_array_equal(x.magnitude, y.magnitude)
                assert x.units == y.units
                np.testing.assert_allclose(seconds(x.times), seconds(y.times), rtol=1e-12, atol=1e-12)
                assert not annotated or y.annotations["quantity"] == x.annotations["quantity"]
            assert len(a.spiketrains) == len(b.spiketrains)
            for x, y in zip(a.spiketrains, b.spiketrains, strict=True):
                np.testing.assert_allclose(seconds(x), seconds(y), rtol=1e-12)
                assert float(x.t_stop.rescale("s")) == pytest.approx(float(y.t_stop.rescale("s")))
                assert not annotated or (y.name, y.annotations["layer"]) == (x.name, x.annotations["layer"])
            for x in a.events:
                y = next(y for y in b.events if x.name in y.name)
                np.testing.assert_allclose(seconds(x.times), seconds(y.times))
                assert list(x.labels) == list(y.labels)
            if annotated:
                assert b.annotations["reward"] == a.annotations["reward"]
                assert [e.name for e in b.epochs] == [f"{b.name} gate"]


def test_nix_keeps_everything(recording, tmp_path):
    short = dataclasses.replace(recording, trials=recording.trials[:1])  # NIX takes a while an object
    found = read(short.save(tmp_path / "x.nix"))
    compare(to_neo(short), found, annotated=True)
    assert found[1].annotations["seed"] == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.nix"]


def test_nwb_keeps_signals_spikes_and_events(recording, tmp_path, caplog):
    path = recording.save(tmp_path / "x.nwb")
    found = read(path)
    compare(to_neo(recording), found, annotated=False)
    assert sorted(len(segment.epochs) for block in found for segment in block.segments) == [1, 1, 1, 1]
    assert not caplog.records
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.nwb"]


def test_an_existing_file_of_one_seed_is_replaced(recording, tmp_path):
    first = recording.trials[0]
    cut = {name: values[:1] for name, values in first.signals.items() if name != "gate"} | {
        "gate": first.signals["gate"]
    }
    modulators = {name: values[:1] for name, values in first.modulators.items()}
    alone = dataclasses.replace(first, signals=cut, spikes=first.spikes[:1], modulators=modulators)
    one = dataclasses.replace(recording, seeds=(5,), trials=(alone, dataclasses.replace(alone, number=9)))
    (tmp_path / "x.nwb").write_text("something else")
    (block,) = read(one.save(tmp_path / "x.nwb"))
    assert [segment.name for segment in block.segments] == ["seed 5 trial 3", "seed 5 trial 9"]


def test_what_is_missing_is_named(recording, tmp_path, monkeypatch):
    with pytest.raises(RunFolderError, match=r"ends in \.nix or \.nwb"):
        read(tmp_path / "none.nix")
    (tmp_path / "bad.nix").write_text("text")
    with pytest.raises(RunFolderError, match=r"bad\.nix cannot be read"):
        read(tmp_path / "bad.nix")
    monkeypatch.setitem(sys.modules, "neo", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rnla_neuro\[neo\]'"):
        recording.save(tmp_path / "y.nix")
    assert not (tmp_path / "y.nix").exists()
