"""`rnla/Pong-v0`: Gymnasium's own check, the reward scheme by hand, walls, paddle, and what ends an episode."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from rnla_neuro import tasks
from rnla_neuro.errors import TaskError
from rnla_neuro.tasks.pong import COLUMNS, PongEnv, chance_reward, graded_reward

tasks.register()


def played(choose, steps: int, seed: int = 1, **kwargs):
    """Play on through episodes; return what was seen: columns, rewards, infos and the numbers of lost balls."""
    env = gym.make("rnla/Pong-v0", **kwargs)
    column, info = env.reset(seed=seed)
    columns, rewards, infos, lost = [], [], [], 0
    for _ in range(steps):
        columns.append(column)
        infos.append(info)
        column, reward, terminated, truncated, info = env.step(choose(column))
        rewards.append(reward)
        lost += terminated
        if terminated or truncated:
            column, info = env.reset()
    return np.array(columns), np.array(rewards), infos, lost


def test_gymnasium_finds_nothing_to_say():
    env = gym.make("rnla/Pong-v0")  # warnings are errors
    check_env(env.unwrapped)
    env.close()


def test_the_reward_is_that_of_the_publication():
    table = [[graded_reward(chosen, ball) for chosen in range(9)] for ball in (0, 4)]
    assert table == [[1, 0.7, 0.4, 0.1, 0, 0, 0, 0, 0], [0, 0.1, 0.4, 0.7, 1, 0.7, 0.4, 0.1, 0]]


def test_chance_is_what_random_choices_earn_over_all_pairs():
    pairs = [graded_reward(a, b) for a in range(COLUMNS) for b in range(COLUMNS)]
    assert chance_reward() == pytest.approx(np.mean(pairs))
    assert tasks.get("pong").chance_reward == pytest.approx(chance_reward(), abs=1e-5)


def test_the_reward_is_for_the_column_before_the_step():
    columns, rewards, infos, _ = played(lambda column: max(column - 1, 0), 500)
    np.testing.assert_allclose(rewards, np.where(columns == 0, 1.0, 0.7))
    assert [info["label"] for info in infos] == columns.tolist()


def test_a_perfect_player_hardly_ever_loses_and_one_who_looks_away_always_does():
    columns, rewards, _, lost = played(lambda column: column, 6000)
    assert rewards.min() == 1.0
    assert lost <= 12  # of some 75 balls: the paddle's steps are longer than half the paddle, as published
    assert set(columns) == set(range(COLUMNS))
    _, rewards, _, lost = played(lambda column: (column + 16) % 32, 6000)
    assert rewards.max() == 0.0
    assert lost > 60


def test_the_ball_stays_in_the_field_and_moves_by_its_speed():
    _, _, infos, _ = played(lambda column: column, 3000, seed=5)
    ball = np.array([info["ball"] for info in infos])
    assert ball.min() > -0.01  # at most a step behind the reflecting line
    assert ball.max() < 1.01
    moved = np.abs(np.diff(ball, axis=0)).sum(axis=1)
    in_play = moved < 0.1  # others: the ball was put into the middle again
    np.testing.assert_allclose(moved[in_play], 0.025)
    assert in_play.mean() > 0.99
    flipped = np.sign(np.diff(ball[:, 0])[1:]) != np.sign(np.diff(ball[:, 0])[:-1])
    assert 20 < flipped.sum() < 150  # it does not stick to a wall


def test_the_paddle_goes_where_it_is_sent():
    env = PongEnv()
    env.reset(seed=3)
    for _ in range(11):
        info = env.step(0)[-1]
    assert info["paddle"] < 0.05
    for _ in range(25):
        info = env.step(31)[-1]
    assert info["paddle"] > 0.95


def test_an_episode_is_cut_off_after_300_steps():
    env = gym.make("rnla/Pong-v0", paddle_length=1.0)
    column, _ = env.reset(seed=2)
    for step in range(1, 301):
        column, _, terminated, truncated, _ = env.step(column)
        assert not terminated
        assert truncated == (step == 300)


def test_a_seed_determines_the_game():
    columns = [played(lambda column: 3, 400, seed=seed)[0] for seed in (7, 7, 8)]
    np.testing.assert_array_equal(columns[0], columns[1])
    assert (columns[0] != columns[2]).any()


def test_it_is_drawn_as_text():
    env = gym.make("rnla/Pong-v0", render_mode="ansi")
    env.reset(seed=1)
    lines = env.render().split("\n")
    assert [len(line) for line in lines] == [32] * 17
    assert sum(line.count("o") for line in lines) == 1
    assert "==" in lines[-1]


@pytest.mark.parametrize(
    ("kwargs", "said"), [({"columns": 1}, "columns"), ({"columns": 2.5}, "columns"), ({"paddle_length": 0}, "paddle"),
                         ({"render_mode": "human"}, "ansi")],
)  # fmt: skip
def test_arguments_are_checked(kwargs, said):
    with pytest.raises(TaskError, match=said):
        PongEnv(**kwargs)


def test_misuse_is_worded():
    env = PongEnv()
    with pytest.raises(TaskError, match="reset"):
        env.step(0)
    env.reset()
    with pytest.raises(TaskError, match="action 32: allowed are 0 to 31"):
        env.step(32)
