"""An environment that changes the working folder does not take the run's files with it."""

from __future__ import annotations

import os
from pathlib import Path

import gymnasium as gym
import numpy as np

from rnla_neuro.agent import Agent
from rnla_neuro.experiment import RunRequest, run
from rnla_neuro.results import Results


class Wanderer(gym.Env[np.ndarray, np.int64]):
    """Rewards one action, and goes to the root folder at its fifth step."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gym.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict[str, object]]:
        return np.ones(2), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        self.steps += 1
        if self.steps == 5:
            os.chdir("/")
        return np.ones(2), float(action), True, False, {}


def test_a_run_is_written_where_it_began(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    gym.register("test/Wanderer-v0", Wanderer)
    try:
        request = RunRequest("test/Wanderer-v0", seeds=(1,), iterations=20, hidden=(3,), core="numpy")
        results = run(request, Path("here"))
    finally:
        gym.registry.pop("test/Wanderer-v0")
    assert Path.cwd() == Path("/")
    assert Results.load(tmp_path / "here").status == "finished"
    assert results.iterations == 20


def test_an_agent_is_loaded_onto_another_core(tmp_path: Path) -> None:
    with Agent("rate_nla", "xor", seed=1, hidden=(4,), core="numpy") as agent:
        agent.learn(5).save(tmp_path / "agent.zip")
        expected = agent.predict(np.array([[1.0, -1.0]]))
    for backend, core in (("equilibrium", "numpy"), ("brian2", "numpy")):
        with Agent.load(tmp_path / "agent.zip", backend=backend, core=core) as found:
            assert np.array_equal(found.predict(np.array([[1.0, -1.0]])), expected)
            assert found._session.request.core == core
            found.learn(3)
