"""When rewards arrive: each delay form against its law, and nothing lost, doubled or out of order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rnla_neuro.errors import ConfigError, TaskError
from rnla_neuro.events import EventBatch, NeuromodEvent
from rnla_neuro.rewards import Duration, RewardChannel, RewardDelay

T = 0.05
DECISION = 0.04


def rngs(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def channel(delay: str, n_agents: int = 2) -> RewardChannel:
    return RewardChannel(delay, n_agents, T, rngs(*range(n_agents)))


# --- reading delays ------------------------------------


@pytest.mark.parametrize(
    ("text", "mean"),
    [
        ("none", 0.0),
        ("iterations:3", 3 * T),
        ("gamma:2,15ms", 0.03),
        ("gamma:2,0.5T", T),
        ("gamma:1.5,0.2s", 0.3),
        ("fixed:20ms", 0.02),
        ("fixed:250us", 250e-6),
        ("fixed:1e-3s", 1e-3),
    ],
)
def test_a_delay_has_its_mean_and_reads_back(text: str, mean: float) -> None:
    delay = RewardDelay.parse(text)
    assert delay.mean(T) == pytest.approx(mean, rel=1e-12)
    assert RewardDelay.parse(str(delay)) == delay
    assert RewardDelay.parse(delay) is delay


@given(
    st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.sampled_from(["us", "ms", "s", "T"]), st.integers(1, 10**9)
)
def test_every_delay_reads_back_exactly(shape: float, amount: float, unit: str, k: int) -> None:
    for delay in (
        RewardDelay("gamma", shape=shape, time=Duration(amount, unit)),
        RewardDelay("fixed", time=Duration(amount, unit)),
        RewardDelay("iterations", iterations=k),
    ):
        assert RewardDelay.parse(str(delay)) == delay


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unknown"),
        ("gama:2,15ms", "did you mean 'gamma'?"),
        ("iterations", "lacks its arguments"),
        ("iterations:0", "at least 1"),
        ("iterations:-1", "at least 1"),
        ("iterations:1.5", "whole number"),
        ("gamma:2", "lacks its arguments"),
        ("gamma:0,15ms", "the shape must be positive"),
        ("gamma:nan,15ms", "the shape must be positive and finite"),
        ("gamma:x,15ms", "'x'"),
        ("gamma:2,15", "has no unit"),
        ("gamma:2,-15ms", "positive"),
        ("gamma:2,15m", "unknown unit 'm'"),
        ("fixed:0ms", "positive"),
        ("fixed:infs", "finite"),
        ("fixed:nans", "finite"),
        ("fixed:", "not a time"),
        ("fixed:1.2.3s", "1.2.3"),
        ("none:1", "too many"),
    ],
)
def test_a_wrong_delay_is_refused_with_value_forms_and_examples(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RewardDelay.parse(text)
    message = str(caught.value)
    assert said in message
    assert repr(text) in message
    for example in ("none", "iterations:1", "gamma:2,15ms", "gamma:2,0.5T", "fixed:20ms"):
        assert example in message


def test_a_delay_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="3 is not a text"):
        RewardDelay.parse(3)  # type: ignore[arg-type]


def test_sampling_the_same_for_all_and_the_gamma_law() -> None:
    assert np.array_equal(RewardDelay.parse("fixed:20ms").sample(None, 3, T), [0.02] * 3)
    with pytest.raises(ConfigError, match="needs a random generator"):
        RewardDelay.parse("gamma:2,1ms").sample(None, 3, T)


# --- at once, iterations, fixed ------------------------------------


def test_at_once_arrives_at_the_decision_itself() -> None:
    one = channel("none")
    one.send(None, DECISION, [1.0, 0.5])
    assert len(one.due(np.nextafter(DECISION - 1e-6, 0))) == 0
    batch = one.due(DECISION)
    assert batch.agent.tolist() == [0, 1]
    assert batch.time.tolist() == [DECISION, DECISION]
    assert batch.value.tolist() == [1.0, 0.5]
    assert batch.channel.tolist() == [0, 0]
    assert (one.sent, one.delivered_out, one.under_way) == (2, 2, 0)
    assert len(one.due(1e9)) == 0


@pytest.mark.parametrize("k", [1, 2, 7])
def test_iterations_arrive_at_the_decision_k_trials_later(k: int) -> None:
    """Also where (j + k) T + decision and j T + decision + k T are different floating-point numbers."""
    one = channel(f"iterations:{k}")
    got: dict[int, float] = {}
    for j in range(2000):
        now = j * T + DECISION
        batch = one.due(now)
        assert batch.agent.tolist() == ([0, 1] if j >= k else [])
        if j >= k:
            assert batch.value.tolist() == [j - k, -(j - k)]
            assert batch.time[0] <= now
            assert batch.time[0] == pytest.approx((j - k) * T + DECISION + k * T, abs=1e-10 * T + 1e-12)
            got[j - k] = batch.time[0]
        one.send(None, now, np.array([j, -j]))
    assert len(got) == 2000 - k
    assert one.under_way == 2 * k
    assert one.drain().value.tolist() == [*range(2000 - k, 2000), *[-j for j in range(2000 - k, 2000)]]


def test_a_fixed_delay_between_two_decisions_keeps_its_exact_time() -> None:
    one = channel("fixed:12.5ms")
    one.send(None, DECISION, 1.0)
    batch = one.due(DECISION + T)
    assert np.array_equal(batch.time, [DECISION + 0.0125] * 2)


def test_two_rewards_in_one_step_of_one_agent() -> None:
    one = channel("fixed:10ms")
    one.send([1, 1], 0.01, [3.0, 4.0])
    one.send([1], 0.005, [2.0])
    one.send([0, 1], 0.01, [7.0, 5.0])
    batch = one.due(0.1)
    assert batch.agent.tolist() == [0, 1, 1, 1, 1]
    assert batch.value.tolist() == [7.0, 2.0, 3.0, 4.0, 5.0]
    assert batch.time == pytest.approx([0.02, 0.015, 0.02, 0.02, 0.02])


def test_a_reward_after_the_last_trial_comes_with_drain() -> None:
    one = channel("iterations:3")
    one.send(None, DECISION, [1.0, 0.0])
    assert one.under_way == 2
    batch = one.drain()
    assert np.allclose(batch.time, DECISION + 3 * T)
    assert (one.sent, one.delivered_out, one.under_way) == (2, 2, 0)
    assert len(one.drain()) == 0


def test_what_is_sent_is_copied() -> None:
    one = channel("none")
    rewards = np.array([1.0, 0.0])
    one.send(None, 0.0, rewards)
    rewards[:] = 9
    assert one.due(0.0).value.tolist() == [1.0, 0.0]


# --- random delays ------------------------------------


def delays_of(seed: int, n: int) -> np.ndarray:
    one = RewardChannel("gamma:2,0.5T", 1, T, rngs(seed))
    for k in range(n):
        one.send(None, k * T, float(k))
    batch = one.drain()
    by_sent = np.argsort(batch.value)
    return batch.time[by_sent] - np.arange(n) * T


def test_gamma_delays_follow_the_gamma_law() -> None:
    delays = delays_of(901, 5000)
    law = stats.gamma(2, scale=T / 2)
    # 5000 draws: standard error of the mean 1.0 %, of the variance 3.5 %. Fixed seed; 3 errors
    assert delays.mean() == pytest.approx(law.mean(), rel=0.03)
    assert delays.var() == pytest.approx(law.var(), rel=0.1)
    assert stats.kstest(delays, law.cdf).pvalue > 0.01
    assert stats.kstest(delays, stats.gamma(2.2, scale=T / 2.2).cdf).pvalue < 0.01  # the test can tell


def test_delays_of_one_agent_do_not_hang_together() -> None:
    delays = delays_of(3, 3000)
    assert abs(np.corrcoef(delays[1:], delays[:-1])[0, 1]) < 3 / math.sqrt(3000)


def test_delays_depend_only_on_the_agents_own_generator() -> None:
    """Alone, or beside others; sent for all at once, or one by one."""
    many = RewardChannel("gamma:2,0.5T", 3, T, rngs(7, 8, 9))
    mixed = RewardChannel("gamma:2,0.5T", 2, T, rngs(9, 1))
    for k in range(600):  # beyond the block that is drawn at a time
        many.send(None, k * T, float(k))
        mixed.send([1, 0] if k % 2 else [0], k * T, float(k))
    alone = delays_of(9, 600)
    for batch, agent in ((many.drain(), 2), (mixed.drain(), 0)):
        mine = batch.agent == agent
        order = np.argsort(batch.value[mine])
        assert np.allclose(batch.time[mine][order] - np.arange(600) * T, alone, rtol=0, atol=1e-12)


# --- everything sent comes out once and in order ------------------------------------

sends = st.lists(
    st.tuples(
        st.one_of(st.none(), st.lists(st.integers(0, 2), max_size=4)),
        st.floats(0, 3 * T),  # time since the last one
        st.booleans(),  # ask for what is due
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(sends, st.sampled_from(["none", "iterations:2", "fixed:33ms", "gamma:2,0.7T"]), st.integers(0, 99))
def test_everything_comes_out_once_and_in_order(
    script: list[tuple[list[int] | None, float, bool]], delay: str, seed: int
) -> None:
    one = RewardChannel(delay, 3, T, rngs(seed, seed + 1, seed + 2))
    now, number, sent, got = 0.0, 0, [], []
    last = -math.inf

    def take(batch: EventBatch, after: float, until: float) -> None:
        keys = list(zip(batch.agent, batch.time, strict=True))
        assert keys == sorted(keys)
        assert np.all(batch.time <= until)
        assert np.all(batch.time > after - 1e-9 * T - 1e-12)
        for agent in range(3):
            mine = batch.agent == agent
            for t in np.unique(batch.time[mine]):  # simultaneous: in the order sent
                assert np.all(np.diff(batch.value[mine & (batch.time == t)]) > 0)
        got.extend(zip(batch.agent.tolist(), batch.value.tolist(), strict=True))

    for agents, dt, ask in script:
        now += dt
        who = [0, 1, 2] if agents is None else agents
        values = np.arange(number, number + len(who), dtype=float)
        number += len(who)
        one.send(agents, now, values)
        sent.extend(zip(who, values.tolist(), strict=True))
        if ask:
            take(one.due(now), last, now)
            last = now
        assert one.sent == len(sent)
        assert one.delivered_out == len(got)
        assert one.under_way == len(sent) - len(got)
    take(one.drain(), last, math.inf)
    assert sorted(got) == sorted(sent)
    assert one.under_way == 0


# --- what is refused ------------------------------------


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_is_refused_and_not_counted(wrong: float) -> None:
    one = channel("none")
    with pytest.raises(TaskError, match=r"reward (nan|inf|-inf) for agent 1 at t = 0.04 s"):
        one.send(None, 0.04, [0.0, wrong])
    assert one.sent == 0
    one.send(None, 0.04, [1e200, 0.0])  # large, and finite


def test_wrong_agents_shapes_and_times_are_refused() -> None:
    one = channel("none")
    for agents in ([2], [-1], [0.5], [[0], [1]]):
        with pytest.raises(ConfigError, match="whole numbers from 0 to 1"):
            one.send(agents, 0.0, 1.0)
    with pytest.raises(ConfigError, match=r"shape \(3,\) for 2 agents"):
        one.send(None, 0.0, [1, 2, 3])
    for t in (-1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="finite and not negative"):
            one.send(None, t, 1.0)
    one.send(None, 0.0, 1.0)
    with pytest.raises(ConfigError, match="nan"):
        one.due(math.nan)


def test_a_channel_checks_its_own_settings() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        RewardChannel("none", 0, T)
    for duration in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="positive and finite"):
            RewardChannel("none", 1, duration)
    with pytest.raises(ConfigError, match="one random generator for each of the 2 agents, and got 1"):
        RewardChannel("gamma:2,1ms", 2, T, rngs(1))


# --- events ------------------------------------


def test_batches_of_several_channels_merge_in_order() -> None:
    reward = RewardChannel("fixed:1ms", 2, T, index=0)
    novelty = RewardChannel("none", 2, T, name="novelty", index=1)
    reward.send(None, 0.01, [1.0, 2.0])
    novelty.send(None, 0.02, [3.0, 4.0])
    novelty.send([1], 0.005, [5.0])
    batch = EventBatch.merge([reward.due(1.0), novelty.due(1.0), EventBatch.empty()])
    assert batch.agent.tolist() == [0, 0, 1, 1, 1]
    assert batch.value.tolist() == [1.0, 3.0, 5.0, 2.0, 4.0]
    assert batch.channel.tolist() == [0, 1, 1, 0, 1]
    assert batch.events(("reward", "novelty"), 0) == [
        NeuromodEvent(0.011, "reward", 1.0),
        NeuromodEvent(0.02, "novelty", 3.0),
    ]
    assert len(EventBatch.merge([])) == 0


def test_the_empty_batch_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        EventBatch.empty().value[:] = 1
