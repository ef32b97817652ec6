"""The bridge: observations, rewards as events, ends of episodes, and what it says when something is wrong."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rnla_neuro.bridge import EnvironmentBridge, RewardNeverVariesWarning
from rnla_neuro.codec import Codec
from rnla_neuro.errors import ConfigError, DeliveryError, TaskError
from rnla_neuro.seeding import streams

T, DECISION = 0.03, 0.025
TIMES = {"trial_duration": T, "decision_time": DECISION}


class Walk(gym.Env):
    """A corridor: action `start + 1` goes right, the end is at `length`; cut off after `limit` steps."""

    def __init__(self, length=3, limit=5, start=0, script=None):
        self.observation_space = gym.spaces.Box(-100.0, 100.0, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2, start=start)
        self.length, self.limit, self.script = length, limit, script or {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.time = 0, 0
        if not hasattr(self, "total"):
            self.total = 0
        return self._see(), {}

    def step(self, action):
        assert action in self.action_space
        self.total += 1
        self.at += int(action - self.action_space.start)
        self.time += 1
        if self.total in self.script:
            found = self.script[self.total]
            if isinstance(found, BaseException):
                raise found
            if isinstance(found, dict):
                return self._see(), 0.0, False, False, found
            return self._see(), found, False, False, {}
        done = self.at >= self.length
        return self._see(), 1.0 if done else -0.1, done, not done and self.time >= self.limit, {}

    def _see(self):
        return np.array([self.at, self.time], dtype=np.float32)


def bridge(env, seeds=(1,), **kwargs):
    return EnvironmentBridge(env, len(seeds), seeds, **(TIMES | kwargs))


def test_our_tasks_give_observations_labels_and_rewards():
    with bridge("digits", (1, 2, 3)) as closed:
        assert (closed.n_in, closed.n_actions, closed.name) == (64, 10, "rnla/Digits-v0")
        assert closed.task.name == "digits"
        for k in range(140):
            labels = closed.labels()
            actions = labels.copy()
            actions[0] = (actions[0] + 1) % 10
            before = closed.observation.copy()
            outcome = closed.step(actions, k * T + DECISION)
            np.testing.assert_array_equal(outcome.reward, [0, 1, 1])
            np.testing.assert_array_equal(outcome.episode_return, [0, 1, 1])
            assert outcome.terminated.all()
            assert not outcome.truncated.any()
            assert outcome.final_observation is None
            assert (closed.observation != before).any()
            events = closed.events(k * T + DECISION)
            np.testing.assert_array_equal(events.agent, [0, 1, 2])
            np.testing.assert_array_equal(events.value, outcome.reward)
            np.testing.assert_array_equal(events.time, np.full(3, k * T + DECISION))
        assert (closed.decisions, closed.episodes, closed.rewards_sent) == (420, 420, 420)
        closed.check_delivered(420, decisions=420)


def test_an_agent_sees_the_same_whoever_runs_beside_it():
    def run(seeds, agent):
        closed = bridge("bars", seeds, delay="gamma:2,15ms")
        seen, landed = [closed.observation[agent].copy()], []
        for k in range(40):
            closed.step(np.zeros(len(seeds), dtype=np.int64), k * T + DECISION)
            seen.append(closed.observation[agent].copy())
            events = closed.events((k + 1) * T)
            landed.extend(events.time[events.agent == agent])
        return np.array(seen), np.array(landed)

    for alone, beside in zip(run([5], 0), run([1, 5, 9], 1), strict=True):
        np.testing.assert_array_equal(alone, beside)


def test_the_environment_stream_of_the_seed_is_what_resets_it():
    env = gym.make("CartPole-v1")
    expected, _ = env.reset(seed=streams(4).environment)
    np.testing.assert_allclose(bridge("CartPole-v1", (3, 4)).observation[1], expected)


def test_terminated_and_truncated_are_kept_apart():
    made = iter([Walk(length=3), Walk(length=99, limit=5)])
    closed = bridge(lambda: next(made), (1, 2))
    ended = []
    for k in range(6):
        outcome = closed.step(np.array([1, 1]), k * T)
        ended.append((outcome.terminated.tolist(), outcome.truncated.tolist()))
        if k == 2:
            np.testing.assert_allclose(outcome.episode_return, [0.8, np.nan])
            np.testing.assert_array_equal(closed.observation, [[0, 0], [3, 3]])
            assert outcome.final_observation is None
        elif k == 4:
            np.testing.assert_allclose(outcome.episode_return, [np.nan, -0.5])
            np.testing.assert_array_equal(closed.observation, [[2, 2], [0, 0]])
            np.testing.assert_array_equal(outcome.final_observation, [[2, 2], [5, 5]])
        elif k == 5:
            np.testing.assert_allclose(outcome.episode_return, [0.8, np.nan])  # counted anew
        else:
            assert np.isnan(outcome.episode_return).all()
    assert [k for k, (terminated, _) in enumerate(ended) if terminated[0]] == [2, 5]
    assert [k for k, (_, truncated) in enumerate(ended) if truncated[1]] == [4]
    assert not any(terminated[1] or truncated[0] for terminated, truncated in ended)
    assert closed.episodes == 3
    assert closed.labels() is None


def test_actions_that_do_not_start_at_zero():
    closed = bridge(Walk(start=5))
    closed.step([1], 0.0)
    np.testing.assert_array_equal(closed.observation, [[1, 1]])


@pytest.mark.parametrize("actions", [[2], [-1], [0, 1], [0.0], 0])
def test_actions_are_checked(actions):
    with pytest.raises(ConfigError, match="actions"):
        bridge("xor").step(actions, 0.0)


def test_a_late_reward_lands_in_its_trial_and_none_is_lost():
    closed = bridge("xor", (1, 2), delay="iterations:2")
    sent = [closed.step([0, 1]).reward for _ in range(5)]
    first = closed.events(2 * T + DECISION)
    np.testing.assert_array_equal(first.value[first.agent == 0], [sent[0][0]])
    with pytest.raises(DeliveryError, match="8 of 10 events are still under way"):
        closed.check_delivered(2)
    rest = closed.drain()
    assert len(rest) == 8
    np.testing.assert_array_equal(rest.value[rest.agent == 1], [reward[1] for reward in sent[1:]])
    closed.check_delivered(10)
    with pytest.raises(DeliveryError, match=r"10 events were sent .* applied 9"):
        closed.check_delivered(9)
    with pytest.raises(DeliveryError, match="10 decisions, but the simulation took 8"):
        closed.check_delivered(10, decisions=8)


def test_other_neuromodulators_travel_in_the_info():
    def make():
        script = {2: {"neuromodulators": {"dopamine": 0.5}}, 3: {"neuromodulators": {"serotonin": -1.0}}}
        return Walk(length=99, limit=99, script=script)

    names = ("reward", "serotonin", "dopamine")
    closed = bridge(make, (1, 2), channels=names, delay={"dopamine": "fixed:10ms"})
    assert closed.channels == names
    got = []
    for k in range(4):
        closed.step([0, 0], k * T + DECISION)
        batch = closed.events(k * T + DECISION)
        got += [(event.t, event.channel, event.value) for event in batch.events(names, agent=1)]
    others = [event for event in got if event[1] != "reward"]
    expected = [(T + DECISION + 0.01, "dopamine", 0.5), (2 * T + DECISION, "serotonin", -1.0)]
    assert [(name, value) for _, name, value in others] == [(name, value) for _, name, value in expected]
    np.testing.assert_allclose([t for t, *_ in others], [t for t, *_ in expected])
    closed.check_delivered(2 * 4 + 2 * 2)


class Burst(Walk):
    """Sends one neuromodulator with the step that ends the episode, and one with the reset."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], {"neuromodulators": {"dopamine": 3.0}}

    def step(self, action):
        seen, reward, done, cut, _ = super().step(action)
        return seen, reward, done, cut, {"neuromodulators": {"dopamine": 7.0}} if done else {}


def test_the_last_step_of_an_episode_sends_and_so_does_the_reset():
    closed = bridge(Burst(length=2), channels=("reward", "dopamine"))
    closed.step([1], DECISION)
    closed.step([1], T + DECISION)
    batch = closed.drain()
    dopamine = batch.channel == 1
    np.testing.assert_array_equal(batch.value[dopamine], [3.0, 7.0, 3.0])
    np.testing.assert_array_equal(batch.time[dopamine], [0.0, T + DECISION, T + DECISION])


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"dopamin": 1.0}, r"unknown neuromodulator 'dopamin': did you mean 'dopamine'\?"),
        ({"reward": 1.0}, "returns already"),
        ({"dopamine": "much"}, "must be a number"),
        ({"dopamine": float("nan")}, "nan"),
        (3.0, "dict of name: number"),
    ],
)
def test_wrong_neuromodulators_are_named(info, message):
    closed = bridge(Walk(script={1: {"neuromodulators": info}}), channels=("reward", "dopamine"))
    with pytest.raises(TaskError, match=message) as caught:
        closed.step([0], 0.0)
    assert "Walk" in str(caught.value)


def test_what_an_environment_raises_is_worded():
    made = iter([Walk(), Walk(script={3: RuntimeError("the wheel\ncame off")})])
    closed = bridge(lambda: next(made), (8, 9))
    closed.step([0, 0], 0.0)
    closed.step([0, 0], T)
    message = (
        r"environment Walk, agent 1 \(seed 9\): step\(1\) failed at step 3: RuntimeError: the wheel came off"
    )
    with pytest.raises(TaskError, match=message) as caught:
        closed.step([0, 1], 2 * T)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(("code", "said"), [(3, r"sys\.exit\(3\)"), (None, r"sys\.exit\(\)")])
def test_an_environment_cannot_end_the_program(code, said):
    closed = bridge(Walk(script={2: SystemExit(code)}), (8,))
    closed.step([0], 0.0)
    with pytest.raises(TaskError, match=rf"agent 0 \(seed 8\): step\(0\) failed at step 2: it called {said}"):
        closed.step([0], T)


def test_a_vector_environment_cannot_end_the_program():
    members = [lambda: Walk(script={1: SystemExit("enough")})]
    closed = bridge(SyncVectorEnv(members, autoreset_mode=AutoresetMode.SAME_STEP), (8,))
    with pytest.raises(TaskError, match=r"\(seeds 8\): step failed at step 1: it called sys.exit\('enough'\)"):
        closed.step([0], 0.0)


def test_an_interrupt_is_not_swallowed():
    closed = bridge(Walk(script={1: KeyboardInterrupt()}))
    with pytest.raises(KeyboardInterrupt):
        closed.step([0], 0.0)


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), "much"])
def test_a_reward_must_be_a_finite_number(reward):
    closed = bridge(Walk(script={1: reward}), (6,))
    with pytest.raises(TaskError, match=r"environment Walk \(seeds 6\): step failed at step 1"):
        closed.step([0], 0.0)


def test_an_observation_must_be_finite():
    class Blind(Walk):
        def _see(self):
            return np.array([self.at, np.nan if self.time == 2 else 0.0], dtype=np.float32)

    closed = bridge(Blind(), (6,))
    closed.step([0], 0.0)
    with pytest.raises(TaskError, match=r"agent 0 \(seed 6\): input 1 is nan after step 2"):
        closed.step([0], T)


def test_a_reward_that_never_varies_is_warned_of_once():
    closed = bridge("CartPole-v1", (1, 2))
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(199):
            closed.step(rng.integers(0, 2, 2), k * T)
        assert closed.episodes >= 2
    with pytest.warns(RewardNeverVariesWarning, match="critic"):
        closed.step([0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(300):
            closed.step(rng.integers(0, 2, 2))


def test_a_reward_that_varies_between_agents_or_in_time_is_not_warned_of():
    for task, actions in (("xor", [0, 0]), (lambda: Walk(length=2), [1, 1])):
        closed = bridge(task, (1, 2))
        for _ in range(250):
            closed.step(actions)


def test_ready_environments():
    closed = bridge(gym.make("Acrobot-v1"))
    assert (closed.n_in, closed.n_actions, closed.name) == (6, 3, "Acrobot-v1")
    same = {"autoreset_mode": AutoresetMode.SAME_STEP}
    many = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync", vector_kwargs=same)
    closed = bridge(many, (1, 2, 3))
    closed.step([0, 1, 0])
    closed.close()
    many.reset()  # it is the user's, and still open
    closed = bridge(lambda: SyncVectorEnv([Walk] * 2, autoreset_mode=AutoresetMode.SAME_STEP), (1, 2))
    closed.step([0, 1])
    assert bridge(gym.make_vec("rnla/Digits-v0", num_envs=2), (1, 2)).labels() is not None


def test_memory_that_an_environment_writes_again_is_copied():
    env = SyncVectorEnv([Walk], copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
    closed = bridge(env)
    before = closed.observation
    closed.step([1])
    np.testing.assert_array_equal(before, [[0, 0]])


def test_a_codec_of_ones_own_opens_other_spaces():
    class Told(gym.Env):
        observation_space = gym.spaces.Dict(
            {"cue": gym.spaces.Discrete(3), "time": gym.spaces.Box(0, 9, (1,))}
        )
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return {"cue": 2, "time": np.zeros(1, np.float32)}, {}

        def step(self, action):
            return {"cue": 1, "time": np.full(1, 4, np.float32)}, 0.0, False, True, {}

    class Cue(Codec):
        n_in = 2

        def encode(self, batch):
            return np.stack([batch["cue"], batch["time"][:, 0]], axis=1)

    closed = bridge(Told, (1, 2), codec=Cue())
    np.testing.assert_array_equal(closed.observation, [[2, 0], [2, 0]])
    outcome = closed.step([0, 0])
    np.testing.assert_array_equal(outcome.final_observation, [[1, 4], [1, 4]])
    with pytest.raises(TaskError, match=r"Dict.*Codec"):
        bridge(Told)
    Cue.n_in = 3
    with pytest.raises(TaskError, match="codec Cue made inputs of shape"):
        bridge(Told, (1, 2), codec=Cue())


class Torque(Walk):
    """Has continuous actions."""

    def __init__(self):
        super().__init__()
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,))


class Fated(Walk):
    """Has one action."""

    def __init__(self):
        super().__init__()
        self.action_space = gym.spaces.Discrete(1)


def _no_environment():
    return 3


def _broken():
    raise OSError("no such robot")


def _exits():
    raise SystemExit(4)


ONE = Walk()


@pytest.mark.parametrize(
    ("env", "seeds", "message"),
    [
        (Torque, (1,), "only Discrete"),
        (Fated, (1,), "one action only"),
        (Walk(), (1, 2), "serves one agent"),
        (lambda: ONE, (1, 2), "same environment twice"),
        (_no_environment, (1,), "_no_environment returned int"),
        (_broken, (1,), "_broken that makes the environment failed: OSError: no such robot"),
        (_exits, (1,), r"_exits that makes the environment failed: it called sys\.exit\(4\)"),
        ("CartPole", (1,), "did you mean 'CartPole-v1'"),
        ("FetchReach-v9", (1,), "unknown task"),
    ],
    ids=str,
)
def test_what_cannot_be_bridged_is_named(env, seeds, message):
    with pytest.raises(TaskError, match=message):
        bridge(env, seeds)


def test_a_vector_environment_must_fit():
    with pytest.raises(TaskError, match=r"autoreset mode NEXT_STEP: SAME_STEP is needed.*make_vec"):
        bridge(SyncVectorEnv([Walk]))
    with pytest.raises(TaskError, match="2 members for 1 agents"):
        bridge(SyncVectorEnv([Walk, Walk], autoreset_mode=AutoresetMode.SAME_STEP))


def test_arguments_are_checked():
    with pytest.raises(ConfigError, match="1 seeds for 2 agents"):
        EnvironmentBridge("xor", 2, [1], **TIMES)
    with pytest.raises(ConfigError, match="decision falls at"):
        EnvironmentBridge("xor", trial_duration=0.01, decision_time=0.02)
    with pytest.raises(ConfigError, match="'reward' must be among them"):
        bridge("xor", channels=("dopamine",))
    with pytest.raises(ConfigError, match=r"unknown neuromodulator 'rewards': did you mean 'reward'\?"):
        bridge("xor", delay={"rewards": "none"})
    with pytest.raises(ConfigError, match="reward delay 'gama:2,5ms'"):
        bridge("xor", delay="gama:2,5ms")


def test_arguments_that_a_task_does_not_have():
    from rnla_neuro.tasks import Task

    with pytest.raises(TaskError, match="n_bit"):
        bridge(Task("odd", "rnla/Parity-v0", {"n_bit": 3}))
