"""Spikes and synaptic operations of a decision, against numbers counted by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from rnla_neuro.analysis.operations import spikes_per_decision, synaptic_operations
from rnla_neuro.experiment import RunRequest, run
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model


@pytest.fixture(scope="module")
def network() -> NetworkSpec:
    return NetworkSpec(load_model("rate_nla"), (4, 3, 2), (1, 2))  # T = 30 ms, dt = 1 ms


def test_rates_use_every_weight_in_every_step(network):
    forward, backward = 3 * 5 + 2 * 4, 3 * 2
    found = synaptic_operations(network, network.initial_weights(), None, baseline=False)
    assert found.tolist() == [30 * (forward + backward)] * 2
    found = synaptic_operations(network, network.initial_weights(), None, baseline=True)
    assert found.tolist() == [forward + backward] * 2


def test_a_spike_goes_to_each_of_its_targets(network):
    spikes = np.array([[0.0, 5.0, 2.0], [10.0, 5.0, 2.0]])
    found = synaptic_operations(network, network.initial_weights(), spikes, baseline=False)
    # hidden to 2 actions, actions back to 3 hidden neurons; a silent input is a held current: 12 weights, once
    assert found.tolist() == [5 * 2 + 2 * 3 + 12, 10 * 3 + 5 * 2 + 2 * 3]


def test_spikes_are_averaged_over_decisions():
    counting = SimpleNamespace(spike_counts=lambda: np.array([[0, 30, 10]]), decisions=10)
    assert spikes_per_decision(counting).tolist() == [[0.0, 3.0, 1.0]]
    assert spikes_per_decision(SimpleNamespace(spike_counts=lambda: None)) is None


def test_a_run_says_what_it_sent_and_how_long_it_took(tmp_path):
    request = RunRequest("xor", seeds=(1, 2), iterations=200, hidden=(5,), core="numpy")
    found = run(request, tmp_path / "run").summary
    assert found["synaptic_operations_per_decision"]["values"] == [30 * (5 * 3 + 2 * 6 + 5 * 2)] * 2
    assert "spikes_per_decision" not in found  # a rate model has none
    assert found["wall_time"]["per_decision"] == pytest.approx(found["wall_time"]["seconds"] / 400)
    assert found["wall_time"]["seconds"] > 0
    for text, accuracy in zip(found["confusion"], found["test_accuracy"]["values"], strict=True):
        counts = np.array([[int(n) for n in row.split()] for row in text.split(";")])
        assert counts.sum(axis=1).tolist() == [2, 2]  # exclusive or: two patterns of each class
        assert np.trace(counts) / counts.sum() == accuracy
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == found
