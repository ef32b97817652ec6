"""Learning with the chip in the loop, on the double: the command a user would give, with the double for the chip."""

from __future__ import annotations

import numpy as np
import pytest

from rnla_neuro import Agent
from rnla_neuro.errors import MissingExtraError
from rnla_neuro.hardware.reading import load_hardware

pytestmark = pytest.mark.backend("pynn:brainscales2-double")


@pytest.fixture
def two_patterns(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("a,b,label\n1,-1,0\n-1,1,1\n")
    return str(path)


def agent(task, **options):
    return Agent("spiking_lif_nla", task, backend="pynn", core="brainscales2", hidden=(6,), input="poisson", **options)


def learn(one, n):
    seen = []

    def keep(_, report):
        seen.append(report["correct"])

    one.learn(n, keep)
    return np.array(seen)


def test_a_run_on_the_chip_decides_spikes_and_changes_weights(chip, two_patterns):
    one = agent(two_patterns, hardware="brainscales2")
    before = [w.copy() for w in one.session.simulation.weights()]
    seen = learn(one, 6)
    assert seen.shape == (6, 1)
    assert chip.simulator.state.hardware_runs >= 6
    assert (one.session.simulation.spike_counts() > 0).all()
    after = one.session.simulation.weights()
    assert any(np.any(a != b) for a, b in zip(after, before, strict=True))
    step = load_hardware("brainscales2").weight_step
    for w in after:  # the host keeps them on the chip's grid
        np.testing.assert_allclose(w / step, np.rint(w / step), atol=1e-9)
    assert set(one.session.simulation.hardware()["off"]) >= {"mismatch", "trial", "readout"}


def test_greedy_decisions_are_snippets_of_one_hardware_run(chip, two_patterns):
    one = agent(two_patterns)
    before = chip.simulator.state.hardware_runs
    actions = one.session.simulation.predict(np.array([[1.0, -1.0], [-1.0, 1.0]] * 5))
    assert actions.shape == (1, 10)
    assert chip.simulator.state.hardware_runs == before + 1


def test_without_the_package_the_run_is_refused_by_name(two_patterns):
    with pytest.raises(MissingExtraError, match=r"brainscales2.*no package index has it"):
        agent(two_patterns, hardware="brainscales2")


@pytest.mark.slow
def test_two_patterns_are_learned_from_reward(chip, two_patterns):
    seen = learn(agent(two_patterns, seeds=(1, 2), hardware="brainscales2"), 150)
    assert seen[:40].mean() < 0.8  # nobody told them
    assert seen[-50:].mean() > 0.85
