"""Spiking models learn from reward, through the package as a user runs it; by how much is in benchmarks/results/."""

from __future__ import annotations

import numpy as np
import pytest

from rnla_neuro.evaluation import accuracy
from rnla_neuro.session import RunRequest, Session

SEEDS = (501, 502, 503)


def learned(task: str, iterations: int, **how: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the test accuracy of each seed, and the rewards of all decisions."""
    rewards: list[np.ndarray] = []
    with Session(RunRequest(task, seeds=SEEDS, backend="brian2", **how)) as session:  # type: ignore[arg-type]
        session.train(iterations, lambda k, actions, outcome, label: rewards.append(np.array(outcome.reward)))
        session.finish()
        assert session.task is not None
        return accuracy(session.simulation, session.task), np.array(rewards)


@pytest.mark.parametrize(
    "model",
    [
        "spiking_nla",
        pytest.param("spiking_leaky_nla", marks=pytest.mark.slow),
        "spiking_lif_nla",
        pytest.param("spiking_poisson_nla", marks=pytest.mark.slow),
    ],
)
def test_exclusive_or_is_learned(model: str) -> None:
    found, rewards = learned("xor", 2000, model=model)
    assert found.mean() > 0.9  # one of four patterns wrong is 0.75
    assert rewards[-300:].mean() > 0.75  # exploring, where chance is 0.5
    assert rewards[:50].mean() < 0.7


@pytest.mark.slow
def test_late_rewards_are_credited() -> None:
    found, rewards = learned("xor", 4000, model="spiking_nla_late", reward_delay="iterations:1")
    assert found.mean() > 0.9
    assert rewards[-300:].mean() > 0.75  # exploring, where chance is 0.5


@pytest.mark.slow
def test_poisson_input_spikes_are_learned_from() -> None:
    _, rewards = learned("three-digits", 1500, model="spiking_nla", input="poisson")
    assert (rewards[-200:] > 0).mean() > 0.8


@pytest.mark.slow
def test_without_prospective_coding_short_trials_are_learned_more_slowly() -> None:
    prospective = learned("digits", 3000, model="spiking_nla", overrides={"T": "30*ms"})[0]
    leaky = learned("digits", 3000, model="spiking_leaky_nla", overrides={"T": "30*ms"})[0]
    assert prospective.mean() > leaky.mean() + 0.1
