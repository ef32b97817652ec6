"""Reward-modulated STDP as a published chip and its simulation learned Pong with: traces, baselines, weights.

T. Wunderlich et al. 2019, Front. Neurosci. 13:260; constants of github.com/electronicvisions/model-sw-pong. A synapse
accumulates a trace from its causal nearest-neighbour spike pairs, the trace saturates, and after each decision

    Δw = η · trace · (R - R̄_k),  rounded to a whole number, kept within 0…63,

where R̄_k is a running mean of the reward in the state k that was shown (the "mean expected reward" of that state).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Setting:
    """The published constants.

    Attributes:
        units: State units, and action units.
        duration: Of one decision, ms.
        n_spikes: Input spikes in a decision.
        interval: Between them, ms.
        amplitude: Of one spike pair, in units of the accumulated trace.
        tau: Over which its contribution falls with the distance of the spikes, ms.
        saturation: The largest accumulated trace.
        eta: Learning rate, weight units per unit of trace and reward.
        n_reward: Rewards over which the running mean of a state goes.
        w_max: The largest weight; the smallest is 0.
        w_mean: Mean of the initial weights.
        w_std: Their standard deviation.
    """

    units: int = 32
    duration: float = 200.0
    n_spikes: int = 20
    interval: float = 10.0
    amplitude: float = 36.0
    tau: float = 64.0
    saturation: float = 128.0
    eta: float = 0.125
    n_reward: float = 2.0
    w_max: int = 63
    w_mean: float = 14.0
    w_std: float = 2.0


def causal_traces(pre: FloatArray, neuron: IntArray, times: FloatArray, n_neurons: int, setting: Setting) -> FloatArray:
    """Return the accumulated traces of the synapses from one source to all neurons.

    Only causal nearest neighbours count: of the postsynaptic spikes between two presynaptic ones, the first with the
    presynaptic spike before it.

    Args:
        pre: Spike times of the source, ms, ascending, shape (n_pre,).
        neuron: Which neuron spiked, shape (n_post,).
        times: When, ms, in any order, shape (n_post,).
        n_neurons: How many there are.
        setting: Amplitude, time constant and saturation.

    Returns:
        Traces from 0 to the saturation, shape (n_neurons,).
    """
    if not len(pre):
        return np.zeros(n_neurons)
    pair = np.searchsorted(pre, times, side="left") - 1  # the last presynaptic spike before, strictly
    first = np.full((n_neurons, len(pre)), np.inf)
    causal = pair >= 0
    np.minimum.at(first, (neuron[causal], pair[causal]), times[causal] - pre[pair[causal]])
    total = setting.amplitude * np.exp(-first / setting.tau).sum(axis=1)
    return np.minimum(total, setting.saturation)


class Expectation:
    """The mean expected reward of each state: a running mean of the rewards that it brought.

    Args:
        n_agents: A.
        n_states: How many states there are.
        n_reward: Rewards over which the mean goes; the first reward of a state is its first mean.

    Attributes:
        values: Shape (A, n_states); NaN before the first visit.
        last: The latest rewards, shape (A, n_states); NaN before the first visit.
    """

    def __init__(self, n_agents: int, n_states: int, n_reward: float) -> None:
        self._n = n_reward
        self.values = np.full((n_agents, n_states), np.nan)
        self.last = np.full((n_agents, n_states), np.nan)

    def see(self, states: IntArray, rewards: FloatArray) -> FloatArray:
        """Take in a reward in a state of each agent, (A,); return by how much each was more than expected, (A,)."""
        who = np.arange(len(states))
        before = self.values[who, states]
        before = np.where(np.isnan(before), rewards, before)
        surprise = rewards - before
        self.values[who, states] = before + surprise / self._n
        self.last[who, states] = rewards
        return np.asarray(surprise)

    @property
    def mean(self) -> FloatArray:
        """The mean over the states that were visited, shape (A,)."""
        return np.asarray(np.nanmean(self.values, axis=1))

    @property
    def performance(self) -> FloatArray:
        """The share of the states visited whose latest choice was rewarded at all, shape (A,)."""
        visited = ~np.isnan(self.last)
        return np.asarray((visited & (self.last > 0)).sum(axis=1) / np.maximum(visited.sum(axis=1), 1))


class RewardModulatedStdp:
    """Weights and baselines of A agents that choose among action units by their spike counts.

    Args:
        setting: Constants.
        rngs: One generator an agent, for its initial weights and for ties.

    Attributes:
        weights: Whole numbers, shape (A, n_states, n_actions).
        expectation: Of the reward in each state, the baseline.
    """

    def __init__(self, setting: Setting, rngs: list[np.random.Generator]) -> None:
        self.setting, self._rngs = setting, rngs
        n = setting.units
        drawn = np.stack([rng.normal(setting.w_mean, setting.w_std, (n, n)) for rng in rngs])
        self.weights: FloatArray = np.clip(np.rint(drawn), 0, setting.w_max)
        self.expectation = Expectation(len(rngs), n, setting.n_reward)

    def choose(self, counts: IntArray) -> IntArray:
        """Return the unit with the most spikes, (A, n) to (A,); ties are broken at random."""
        best = [np.flatnonzero(row == row.max()) for row in counts]
        return np.array([rng.choice(ties) for rng, ties in zip(self._rngs, best, strict=True)], dtype=np.int64)

    def learn(self, states: IntArray, traces: FloatArray, rewards: FloatArray) -> BoolArray:
        """Change the weights from the states that were shown, and the states' baselines.

        Args:
            states: Shown, shape (A,).
            traces: Of the synapses from it, shape (A, n_actions).
            rewards: Shape (A,).

        Returns:
            Which weights changed, shape (A, n_actions).
        """
        who = np.arange(len(states))
        surprise = self.expectation.see(states, rewards)
        old = self.weights[who, states]
        new = np.clip(np.rint(old + self.setting.eta * traces * surprise[:, None]), 0, self.setting.w_max)
        self.weights[who, states] = new
        return np.asarray(new != old)
