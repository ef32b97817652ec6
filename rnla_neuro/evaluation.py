"""How good a trained network is: accuracy on a test set, or the return of greedy episodes."""

from __future__ import annotations

import numpy as np

from rnla_neuro.bridge import EnvironmentBridge
from rnla_neuro.codec import Codec, population_code
from rnla_neuro.errors import TaskError
from rnla_neuro.learners.common import LayeredNetwork, LearnerOptions
from rnla_neuro.seeding import streams
from rnla_neuro.simulation import FloatArray, IntArray, Simulation
from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.numeric import ActionLayer
from rnla_neuro.tasks.catalogue import Task
from rnla_neuro.vectorize import EnvironmentLike

_MOST_STEPS = 100_000  # greedy steps without the end of an episode: it has none


def accuracy(simulation: Simulation, task: Task, split: str = "test") -> FloatArray:
    """Return the share of right greedy decisions on all patterns of a split, shape (A,)."""
    labels, decided = decisions(simulation, task, split)
    return np.asarray((decided == labels).mean(axis=1), dtype=np.float64)


def decisions(simulation: Simulation, task: Task, split: str = "test") -> tuple[IntArray, IntArray]:
    """Return the right actions of all patterns of a split, shape (N,), and the greedy decisions, (A, N)."""
    inputs, labels = task.dataset(split)
    return labels, simulation.predict(represented(at_decision(inputs, simulation), simulation.sizes[0]))


def represented(inputs: FloatArray, n_in: int) -> FloatArray:
    """Return inputs (B, n) as the network gets them, (B, n_in): by populations, if it has several inputs a value."""
    each, rest = divmod(n_in, inputs.shape[1])
    return population_code(inputs, each) if each > 1 and not rest else inputs


def at_decision(inputs: FloatArray, simulation: Simulation) -> FloatArray:
    """Return what is shown when the decision falls: of samples over a trial, (B, S, n_in), the one at that time."""
    if inputs.ndim == 2:
        return inputs
    return inputs[:, round((inputs.shape[1] - 1) * simulation.decision_time / simulation.trial_duration)]


def tracking_error(weights: list[FloatArray], form: EquilibriumForm, task: Task, split: str = "test") -> FloatArray:
    """Return the mean squared distance between the action layer's rates and the targets of a task, shape (A,).

    Rates are those of the moving equilibrium without nudging and noise, at every sample of every trial of a split.

    Args:
        weights: One array (A, n_post, n_pre + 1) a projection.
        form: The model.
        task: A task whose targets vary in time.
        split: ``train`` or ``test``.
    """
    signals, targets = task.tracks(split)
    flat = represented(signals.reshape(-1, signals.shape[-1]), weights[0].shape[2] - 1)
    drive = LayeredNetwork(weights, LearnerOptions(form=form)).drive_of(flat)
    rate = ActionLayer(form).rate(drive, drive, np.zeros_like(drive))
    off = rate - targets.reshape(1, len(flat), -1)
    return np.asarray((off**2).mean(axis=(1, 2)), dtype=np.float64)


def greedy_actions(
    simulation: Simulation, observation: FloatArray
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return each agent's greedy action for its own observation: (A, n_in) to (A,)."""
    return np.diagonal(simulation.predict(observation)).copy()


def episode_returns(
    simulation: Simulation,
    env: EnvironmentLike,
    seeds: tuple[int, ...],
    episodes: int,
    codec: Codec | None = None,
    population: int | None = None,
) -> FloatArray:
    """Play greedy episodes without learning.

    Args:
        simulation: A trained simulation of A agents.
        env: Where to play.
        seeds: One an agent; the environments' seeds differ from those of training.
        episodes: Episodes an agent.
        codec: As in training.
        population: As in training.

    Returns:
        Returns, shape (A, episodes).

    Raises:
        TaskError: An episode does not end.
    """
    n_agents = simulation.n_agents
    returns: list[list[float]] = [[] for _ in range(n_agents)]
    # the stream that training never uses: one more number than the environment's own
    fresh = [streams(seed).environment + 1 for seed in seeds]
    with EnvironmentBridge(
        env,
        n_agents,
        fresh,
        codec,
        trial_duration=simulation.trial_duration,
        decision_time=simulation.decision_time,
        channels=simulation.channels,
        watch=False,  # nothing learns here: a perfect agent earns the same at every step
        population=population,
    ) as bridge:
        waited = 0
        while waited < _MOST_STEPS:
            if min(len(r) for r in returns) >= episodes:
                return np.array([r[:episodes] for r in returns])
            outcome = bridge.step(greedy_actions(simulation, bridge.observation))
            bridge.events(float("inf"))
            waited = 0 if (outcome.terminated | outcome.truncated).any() else waited + 1
            for agent in np.flatnonzero(outcome.terminated | outcome.truncated):
                returns[agent].append(float(outcome.episode_return[agent]))
        raise TaskError(
            f"environment {bridge.name}: no episode ended in {_MOST_STEPS:,} greedy steps; "
            "give it a time limit (gymnasium.wrappers.TimeLimit)"
        )
