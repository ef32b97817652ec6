"""Learning happens, in the hidden layer too; every packaged model learns; runs repeat to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.evaluation import accuracy
from rnla_neuro.experiment import RunRequest, run
from rnla_neuro.session import Session
from tests.model_lines import proven_models

pytestmark = pytest.mark.backend("equilibrium:native")


def learned(task: str, iterations: int, seeds: tuple[int, ...] = (501, 502, 503), **how: object) -> np.ndarray:
    """Return the test accuracy of each seed."""
    with Session(RunRequest(task, seeds=seeds, **how)) as session:  # type: ignore[arg-type]
        session.train(iterations)
        session.finish()
        assert session.task is not None
        return accuracy(session.simulation, session.task)


# 40 random features nearly suffice for digits (benchmarks/results/learning.md); with 12 the hidden layer must learn
@pytest.mark.parametrize(
    ("task", "hidden", "iterations", "margin"), [("bars", (30,), 5000, 0.15), ("digits", (12,), 3000, 0.1)]
)
def test_a_frozen_hidden_layer_is_worse(
    task: str, hidden: tuple[int, ...], iterations: int, margin: float
) -> None:
    full = learned(task, iterations, hidden=hidden)
    frozen = learned(task, iterations, hidden=hidden, freeze_hidden=True)
    assert full.mean() > frozen.mean() + margin


def test_frozen_hidden_weights_do_not_move() -> None:
    with Session(RunRequest("xor", freeze_hidden=True)) as session:
        before = session.simulation.weights()
        session.train(50)
        session.finish()
        after = session.simulation.weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-3


@pytest.mark.parametrize("model", [name for name in proven_models() if name != "rate_nla_tracking"])
def test_every_packaged_model_learns_three_digits(model: str) -> None:
    # the poster's form is tuned for its own three images; the others learn them within some hundred trials
    delay = "iterations:1" if "late" in model else "none"
    learner = "node-perturbation" if "perturbation" in model else "r-nla"
    with Session(RunRequest("three-digits", model=model, learner=learner, reward_delay=delay)) as session:
        rewards: list[float] = []
        session.train(1500, lambda k, actions, outcome, label: rewards.append(float(outcome.reward[0])))
        session.finish()
    assert np.mean(rewards[-200:]) > 0.8
    assert np.mean(rewards[:15]) < 0.5


def test_late_rewards_are_learned_from() -> None:
    assert learned("three-digits", 2000, model="rate_nla_late", reward_delay="gamma:2,0.5T").mean() == 1.0


def test_the_same_request_gives_the_same_records_and_weights_to_the_bit(tmp_path: Path) -> None:
    request = RunRequest("xor", seeds=(7, 8), iterations=300, reward_delay="gamma:2,0.5T")
    first, second = (run(request, tmp_path / name) for name in ("a", "b"))
    assert first.records.equals(second.records)
    assert first.sha256 == second.sha256
    for name, weights in first.weights.items():
        np.testing.assert_array_equal(weights, second.weights[name])


def test_a_seed_does_not_depend_on_its_neighbours() -> None:
    def weights(seeds: tuple[int, ...]) -> list[np.ndarray]:
        with Session(RunRequest("bars", seeds=seeds, reward_delay="gamma:2,0.5T")) as session:
            session.train(200)
            session.finish()
            return [w[-1] for w in session.simulation.weights()]

    for alone, among in zip(weights((9,)), weights((3, 4, 9)), strict=True):
        np.testing.assert_array_equal(alone, among)
