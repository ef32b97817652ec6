"""Between a network and its environment: observations in, actions out, rewards as neuromodulatory events."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import ArrayLike, NDArray

from rnla_neuro.channels import MODULATORS, REWARD, Channels
from rnla_neuro.codec import Codec, PopulationCodec, SignalCodec
from rnla_neuro.errors import ConfigError, DeliveryError, RnlaError, TaskError
from rnla_neuro.events import EventBatch
from rnla_neuro.rewards import RewardDelay
from rnla_neuro.seeding import streams
from rnla_neuro.vectorize import EnvironmentLike, FailedEnvironmentError, describe, open_environment

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_PATIENCE: Final = 200  # decisions of each agent before a reward that never varied is worth a warning


class RewardNeverVariesWarning(UserWarning):
    """All rewards were equal: R - ⟨R⟩ is zero and teaches nothing."""


class StepOutcome(NamedTuple):
    """What came of one decision of each agent.

    Attributes:
        reward: (A,) rewards.
        terminated: (A,) the episode reached an end of its own.
        truncated: (A,) the episode was cut off (a time limit), and its value goes on.
        episode_return: (A,) sum of the rewards of the episode that ended; NaN where none did.
        final_observation: (A, n_in) the encoded observation that ended an episode, in the rows where one
            ended (other rows: the present observation); None unless some episode was truncated.
    """

    reward: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    episode_return: FloatArray
    final_observation: FloatArray | None


class EnvironmentBridge:
    """Keeps A environments in closed loop with A agents.

    Args:
        env: A task, its name, a Gymnasium id, the path of a table, an environment (one agent), a vector
            environment (``AutoresetMode.SAME_STEP``), or a function that makes an environment.
        n_agents: A.
        seeds: One seed an agent; determines its environment and its reward delays.
        codec: How observations become inputs; None: by the observation space.
        delay: Law of the reward's delay, or one law a channel: ``{"reward": "gamma:2,15ms"}`` (others: none).
        trial_duration: T in seconds.
        decision_time: When in a trial the decision falls, in seconds.
        channels: Neuromodulators of the simulation, in its order. An environment sends others than the reward
            as ``info["neuromodulators"] = {name: value}``.
        watch: Warn of rewards that never vary.
        population: Neurons that represent each input value (`PopulationCodec`); None: the value itself.

    Raises:
        TaskError: The environment cannot be bridged.
        ConfigError: Wrong seeds, delay, channels or times.

    Attributes:
        observation: (A, n_in) inputs for the next decision, or (A, S, n_in) samples of them where they vary in time.
        n_in: Number of inputs.
        n_actions: Number of actions.
        decisions: Decisions taken, all agents together.
        episodes: Episodes ended, all agents together.
        name: What messages call the environment.
        task: The task, if the environment came from one.
    """

    observation: FloatArray

    def __init__(
        self,
        env: EnvironmentLike,
        n_agents: int = 1,
        seeds: Sequence[int] = (0,),
        codec: Codec | None = None,
        delay: str | RewardDelay | Mapping[str, str | RewardDelay] = "none",
        *,
        trial_duration: float,
        decision_time: float,
        channels: Sequence[str] = (REWARD,),
        watch: bool = True,
        population: int | None = None,
    ) -> None:
        if len(seeds) != n_agents:
            raise ConfigError(f"{len(seeds)} seeds for {n_agents} agents: give each its own")
        if not 0.0 <= decision_time <= trial_duration:
            raise ConfigError(
                f"the decision falls at {decision_time} s: allowed is 0 to {trial_duration} s (one trial)"
            )
        chances = [streams(seed) for seed in seeds]
        self._channels = Channels(channels, delay, n_agents, trial_duration, [c.delays for c in chances])
        opened = open_environment(env, seeds)
        self.name, self.task = opened.name, opened.task
        self._opened = opened
        self._env = opened.env
        self._seeds = tuple(int(seed) for seed in seeds)
        self.n_agents = n_agents
        self.n_actions = int(opened.env.single_action_space.n)  # type: ignore[attr-defined]  # Discrete: checked
        self._start = int(opened.env.single_action_space.start)  # type: ignore[attr-defined]
        self.trial_duration, self.decision_time = float(trial_duration), float(decision_time)
        try:
            self.codec = Codec.for_space(opened.env.single_observation_space) if codec is None else codec
        except TaskError as error:
            raise TaskError(f"environment {self.name}: {error}") from None
        # our observations are inputs as they are
        self._plain = codec is None and opened.trusted and population is None
        self._signals = isinstance(self.codec, SignalCodec)  # samples in time
        if population is not None:
            self.codec = PopulationCodec(self.codec, population)
        self.n_in = self.codec.n_in
        self.decisions = self.episodes = 0
        self._steps = 0
        self._returns = np.zeros(n_agents)
        self._no_return = np.full(n_agents, np.nan)
        self._no_return.setflags(write=False)  # handed out at every step without an end
        self._first_reward = np.nan
        self._watching = watch
        self._env_seeds = [chance.environment for chance in chances]
        self._reset(self._env_seeds)

    @property
    def rewards_sent(self) -> int:
        """Events sent so far, all channels and agents together."""
        return self._channels.sent

    @property
    def sent_as_reward(self) -> int:
        """Rewards among the events sent so far, all agents together."""
        return self._channels.reward.sent

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the neuromodulator channels, in the simulation's order."""
        return self._channels.names

    @property
    def observation_space(self) -> gym.Space[Any]:
        """Observation space of one environment."""
        return self._env.single_observation_space

    @property
    def action_start(self) -> int:
        """The environment's first action; networks count from 0."""
        return self._start

    def resume(self, decisions: int) -> None:
        """Go on where an earlier bridge with the same seeds ended, after so many decisions of each agent.

        Our own tasks and the delays of the reward go on exactly. Another environment cannot be wound forward:
        it starts new episodes, with a seed that follows from the agent's seed and the number of decisions.
        """
        self._channels.reward.skip(decisions)
        if not self._opened.trusted:
            fresh = [np.random.SeedSequence([seed, decisions]) for seed in self._env_seeds]
            self._reset([int(one.generate_state(1)[0]) >> 1 for one in fresh])
            return
        nothing = np.full(self.n_agents, self._start)
        for _ in range(decisions):
            raw, _reward, _terminated, _truncated, info = self._env.step(nothing)
        if decisions:
            self.observation, self._label = self._encoded(raw), self._read_label(info)
            self._target = self._read_target(info)

    def encode_one(self, observation: Any) -> FloatArray:
        """Return the inputs, shape (1, n_in), for one observation as the environment gives it."""
        space = self.observation_space
        batch = concatenate(space, [observation], create_empty_array(space, 1))  # type: ignore[arg-type]
        return self.codec.encode(batch)

    def labels(self) -> IntArray | None:
        """Return the right action of each agent for the present observation, (A,), if the task knows it."""
        return self._label

    def targets(self) -> FloatArray | None:
        """Return what the action layer ought to do in this trial, (A, S, n_actions), where that varies in time."""
        return self._target

    def step(self, actions: ArrayLike, t: float | None = None) -> StepOutcome:
        """Take one action an agent, and send what it is rewarded with.

        Args:
            actions: (A,) whole numbers from 0 to n_actions - 1.
            t: Biological time of the decision in seconds; None: that of the next trial.

        Raises:
            TaskError: The environment failed, or gave a reward or an observation that is not finite.
            ConfigError: `actions` are not one valid action an agent.
        """
        chosen = self._checked_actions(actions)
        if t is None:
            t = self._steps * self.trial_duration + self.decision_time
        self._steps += 1
        try:
            raw, reward, terminated, truncated, info = self._env.step(chosen)
        except FailedEnvironmentError:  # worded already, with the agent and its seed
            raise
        except (Exception, SystemExit) as error:  # whatever a user's environment raises
            raise self._failed("step", error) from error
        self.decisions += self.n_agents
        rewards = np.asarray(reward, dtype=np.float64)
        try:
            self._channels.reward.send(None, t, rewards)
            if MODULATORS in info or MODULATORS in info.get("final_info", ()):
                self._channels.send_info(info, t)
        except RnlaError as error:
            raise self._failed("step", error) from error
        self.observation = self._encoded(raw)
        self._label = self._read_label(info)
        self._target = self._read_target(info)
        final = None
        if self._opened.trusted:  # ours: every step is an episode, and ends of its own
            self.episodes += self.n_agents
            episode_return = rewards
        else:
            ended = terminated | truncated
            episode_return = self._count_episodes(rewards, ended)
            if truncated.any():
                final = self._final_observation(info, ended)
        if self._watching:
            self._watch_rewards(rewards)
        return StepOutcome(rewards, terminated, truncated, episode_return, final)

    def events(self, until: float) -> EventBatch:
        """Hand out all events that arrive up to the biological time `until` (seconds), each once."""
        return self._channels.due(until)

    def drain(self) -> EventBatch:
        """Hand out all events that are still under way, after the last trial."""
        return self._channels.drain()

    def check_delivered(self, delivered: int, decisions: int | None = None) -> None:
        """Compare what was sent with what arrived.

        Args:
            delivered: Events that the simulation applied, all agents together.
            decisions: Decisions that it took, all agents together; None: not compared.

        Raises:
            DeliveryError: They differ.
        """
        try:
            self._channels.check_delivered(delivered)
        except DeliveryError as error:
            raise DeliveryError(f"environment {self.name}: {error}") from None
        if decisions is not None and decisions != self.decisions:
            raise DeliveryError(
                f"environment {self.name}: it was given {self.decisions} decisions, "
                f"but the simulation took {decisions}"
            )

    def close(self) -> None:
        """Close the environment, if the bridge made it."""
        if self._opened.owned:
            self._env.close()

    def __enter__(self) -> EnvironmentBridge:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _reset(self, seeds: list[int]) -> None:
        """Start the first episodes; what their infos send arrives at the start of biological time."""
        try:
            # A vector environment of another make takes one number for all its members.
            raw, info = self._env.reset(seed=seeds if self._opened.seeds_each else seeds[0])  # type: ignore[arg-type]
        except FailedEnvironmentError:
            raise
        except (Exception, SystemExit) as error:  # whatever a user's environment raises
            raise self._failed("reset", error) from error
        self.observation = self._encoded(raw)
        self._label = self._read_label(info)
        self._target = self._read_target(info)
        if MODULATORS in info:
            try:
                self._channels.send_info(info, 0.0)
            except RnlaError as error:
                raise self._failed("reset", error) from error

    def _checked_actions(self, actions: ArrayLike) -> IntArray:
        chosen = np.asarray(actions)
        if chosen.shape != (self.n_agents,) or chosen.dtype.kind not in "iu":
            raise ConfigError(
                f"actions of shape {chosen.shape} and type {chosen.dtype}: "
                f"give one whole number to each of {self.n_agents} agents"
            )
        chosen = chosen.astype(np.int64, copy=False)
        if chosen.view(np.uint64).max() >= self.n_actions:  # negative ones are huge as unsigned numbers
            raise ConfigError(f"actions {chosen.tolist()}: allowed are 0 to {self.n_actions - 1}")
        return chosen + self._start if self._start else chosen

    def _encoded(self, raw: Any) -> FloatArray:
        """Encode observations, and refuse what no network can take."""
        if self._plain:
            return raw  # type: ignore[no-any-return]  # (A, n_in) float64, finite, never written again
        # A copy: an environment may write the next observation into the same memory.
        inputs = np.array(self.codec.encode(raw), dtype=np.float64)
        signal = self._signals and inputs.ndim == 3
        if (inputs[:, 0] if signal else inputs).shape != (self.n_agents, self.n_in):
            raise TaskError(
                f"environment {self.name}: the codec {type(self.codec).__name__} made inputs of shape "
                f"{inputs.shape}; needed is ({self.n_agents}, {self.n_in})"
            )
        wrong = np.argwhere(~np.isfinite(inputs))
        if len(wrong):
            agent, *_, k = wrong[0].tolist()
            raise TaskError(
                f"environment {self.name}, agent {agent} (seed {self._seeds[agent]}): input {k} "
                f"is {inputs[tuple(wrong[0])]} after step {self._steps}; it must be a finite number"
            )
        return inputs

    def _read_label(self, info: Mapping[str, Any]) -> IntArray | None:
        label = info.get("label")
        if label is None:
            return None
        if self._opened.trusted:
            return label  # type: ignore[no-any-return]  # ours: (A,) int64, all agents
        known = info.get("_label")
        values = np.asarray(label)
        if values.shape != (self.n_agents,) or values.dtype.kind not in "iu":
            return None  # a word of the environment's own, not a right action
        if known is not None and not np.all(known):
            return None
        values = values.astype(np.int64) - self._start
        return values if ((values >= 0) & (values < self.n_actions)).all() else None

    def _read_target(self, info: Mapping[str, Any]) -> FloatArray | None:
        """Return the targets of our own tasks that vary in time."""
        return info.get("target") if self._opened.trusted else None

    def _count_episodes(self, rewards: FloatArray, ended: BoolArray) -> FloatArray:
        """Add up rewards, and return the sums of the episodes that ended, NaN where none did."""
        returns = self._returns
        returns += rewards
        n_ended = int(np.count_nonzero(ended))
        if n_ended == 0:
            return self._no_return
        self.episodes += n_ended
        self._returns = np.where(ended, 0.0, returns)
        return np.where(ended, returns, np.nan) if n_ended < self.n_agents else returns

    def _final_observation(self, info: Mapping[str, Any], ended: BoolArray) -> FloatArray:
        """Encode the observations that ended episodes, which the reset has replaced."""
        final = self.observation.copy()
        space = self._env.single_observation_space
        for agent in np.flatnonzero(ended).tolist():
            room: Any = create_empty_array(space, 1)
            one = concatenate(space, [info["final_obs"][agent]], room)
            final[agent] = self.codec.encode(one)[0]
        return final

    def _watch_rewards(self, rewards: FloatArray) -> None:
        """Warn, once, of rewards that were all equal for a good while."""
        if self._steps == 1:
            self._first_reward = float(rewards[0])
        if (rewards != self._first_reward).any():
            self._watching = False
        elif self._steps >= (_PATIENCE if self.episodes >= 2 else 5 * _PATIENCE):
            self._watching = False
            warnings.warn(
                f"environment {self.name}: all {self.decisions} rewards so far were {self._first_reward:g}. "
                "A reward that never varies cannot teach through R - <R>, which is then zero: what is needed "
                "is a critic, or a reward that says which decision was good",
                RewardNeverVariesWarning,
                stacklevel=3,
            )

    def _failed(self, call: str, error: BaseException) -> TaskError:
        """Name the environment, the step and the seeds."""
        seeds = ", ".join(str(seed) for seed in self._seeds)
        text = str(error) if isinstance(error, RnlaError) else describe(error)
        return TaskError(
            f"environment {self.name} (seeds {seeds}): {call} failed at step {self._steps}: {text}"
        )


__all__ = ["EnvironmentBridge", "RewardNeverVariesWarning", "StepOutcome"]
