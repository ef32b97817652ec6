"""The Agent: learn, predict, evaluate, save, load; environments, codecs and channels of the user's own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rnla_neuro import Agent, Codec
from rnla_neuro.backend import Backend, Capabilities, get_backend
from rnla_neuro.errors import ConfigError, DeliveryError, RnlaError, RunFolderError, TaskError
from rnla_neuro.experiment import EvaluationWarning, RunRequest, run
from rnla_neuro.resources import models_dir

pytestmark = pytest.mark.backend("equilibrium:native")


class Corridor(gym.Env[Any, Any]):
    """Four places; action 1 goes right, where the reward is; action 0 stays. Truncated after 8 steps."""

    observation_space = gym.spaces.Discrete(4)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, info: dict[str, Any] | None = None) -> None:
        self._info = info or {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.time = 0, 0
        return self.place, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.place, self.time = self.place + int(action), self.time + 1
        done = self.place == 3
        reward = 1.0 if action == 1 else 0.0
        return min(self.place, 3), reward, done, self.time == 8, dict(self._info)


class Endless(Corridor):
    """As the corridor, without an end."""

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        return 0, float(action), False, False, {}


class Pair(gym.Env[Any, Any]):
    """A structured observation, for a codec of the user's own."""

    observation_space = gym.spaces.Dict({"a": gym.spaces.Discrete(2), "b": gym.spaces.Box(-1, 1, (2,))})
    action_space = gym.spaces.Discrete(2, start=5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.shown = self.observation_space.sample()
        return self.shown, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.shown, float(action - 5 == self.shown["a"]), True, False, {}


class PairCodec(Codec):
    """Two inputs for the number, two for the box."""

    n_in = 4

    def encode(self, batch: Any) -> np.ndarray:
        return np.concatenate([np.eye(2)[batch["a"]], batch["b"]], axis=1)


def weights(agent: Agent) -> list[np.ndarray]:
    return agent.session.simulation.weights()


def same(a: Agent, b: Agent) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


@pytest.mark.parametrize("delay", ["none", "gamma:2,0.5T"])
@pytest.mark.parametrize("learner", ["r-nla", "reinforce"])
def test_a_saved_agent_goes_on_as_if_it_had_not_been_saved(tmp_path: Path, delay: str, learner: str) -> None:
    agent = Agent("auto", "bars", seed=5, reward_delay=delay, learner=learner).learn(150)
    path = agent.save(tmp_path / "agent")
    loaded = Agent.load(tmp_path / "agent")
    assert path.name == "agent.zip"
    assert (loaded.iterations, same(agent, loaded)) == (150, True)
    agent.learn(150).finish()
    loaded.learn(150).finish()
    assert same(agent, loaded)
    assert loaded.iterations == 300


def test_two_halves_are_one_run() -> None:
    assert same(Agent("rate_nla", "xor", seed=2).learn(120), Agent("rate_nla", "xor", seed=2).learn(70).learn(50))


def test_multi_step_episodes_are_learned_and_evaluated() -> None:
    # every reward varies with the action alone, so R - <R> suffices; the right way is right each time
    agent = Agent("rate_nla", Corridor, seed=1, hidden=(8,)).learn(600)
    assert agent.evaluate(Corridor, episodes=5)["evaluation_return"] == 3.0
    assert agent.predict(0) == 1
    assert agent.predict(np.array([0, 1, 2])).tolist() == [1, 1, 1]


def test_an_environment_without_an_end_keeps_its_run(tmp_path: Path) -> None:
    gym.register("rnla-test/Endless-v0", entry_point=Endless)
    try:
        with pytest.warns(EvaluationWarning, match="no episode ended in training"):
            results = run(RunRequest("rnla-test/Endless-v0", iterations=50), tmp_path / "run")
    finally:
        gym.registry.pop("rnla-test/Endless-v0")
    assert results.status == "finished"
    assert results.summary["evaluation_return"]["mean"] is None
    assert "no episode ended" in results.summary["evaluation_return"]["reason"]


def test_an_environment_in_a_module_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_corridor.py").write_text(
        "import gymnasium as gym\nfrom tests.unit.test_agent import Corridor\n"
        "gym.register('MyCorridor-v0', entry_point=Corridor)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Agent("rate_nla", "my_corridor:MyCorridor-v0").learn(20).iterations == 20
    gym.registry.pop("MyCorridor-v0")
    with pytest.raises(TaskError, match=r"registers no 'MyCoridor-v0'"):
        Agent("rate_nla", "my_corridor:MyCoridor-v0")
    with pytest.raises(TaskError, match="there is no such module"):
        Agent("rate_nla", "no_such_module_here:X-v0")


def test_a_structured_observation_needs_a_codec_and_works_with_one() -> None:
    with pytest.raises(TaskError, match="Codec"):
        Agent("rate_nla", Pair)
    agent = Agent("rate_nla", Pair, codec=PairCodec(), hidden=(8,)).learn(600)
    for value in (0, 1):
        assert agent.predict({"a": value, "b": np.zeros(2, np.float32)}) == 5 + value


def two_channels(tmp_path: Path) -> Path:
    text = (models_dir() / "rate_nla.toml").read_text(encoding="utf-8")
    text += '\n[neuromodulator.novelty]\non_event = "surprise = R"\n'
    old = 'on_event.reward = "w += lr_hidden'
    assert old in text
    text = text.replace(old, 'on_event.novelty = "w += eta_novel*surprise*E/(beta*credit)"\n' + old)
    text = text.replace("[parameters]\n", '[parameters]\neta_novel = "0.1"\n')
    path = tmp_path / "two_channels.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_second_neuromodulator_acts_and_is_counted(tmp_path: Path) -> None:
    model = two_channels(tmp_path)

    def trained(value: float, delay: str = "none") -> Agent:
        env = gym.wrappers.TransformReward(Corridor({"neuromodulators": {"novelty": value}}), lambda r: 0.25 * r)
        return Agent(model, env, seed=3, hidden=(5,), reward_delay=delay).learn(40).finish()

    silent, loud, late = trained(0.0), trained(1.0), trained(1.0, "none; novelty=fixed:45ms")
    assert [a.session.simulation.delivered for a in (silent, loud, late)] == [80, 80, 80]
    assert not same(silent, loud)
    assert not same(loud, late)
    with pytest.raises(RnlaError, match="unknown neuromodulator 'noveltly': did you mean 'novelty'"):
        Agent(model, Corridor({"neuromodulators": {"noveltly": 1.0}})).learn(2)


def test_rewards_that_get_lost_are_noticed() -> None:
    agent = Agent("rate_nla", "xor").learn(5)
    agent.session.bridge.drain()
    with pytest.raises(DeliveryError, match="5 events were sent"):
        agent.finish()


def test_several_seeds_and_vector_environments() -> None:
    agent = Agent("rate_nla", "xor", seeds=[1, 2]).learn(30)
    assert agent.predict(np.array([1.0, -1.0])).shape == (2,)
    assert agent.evaluate()["test_accuracy"].shape == (2,)
    same_step = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    vector = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync", vector_kwargs=same_step)
    reports = []
    Agent("rate_nla", vector, seeds=[1, 2], hidden=(4,)).learn(30, lambda agent, report: reports.append(report))
    assert len(reports) == 30
    assert reports[0]["reward"].shape == (2,)


def test_a_callback_can_end_learning() -> None:
    agent = Agent("rate_nla", "xor").learn(100, lambda agent, report: report["iteration"] < 7)
    assert agent.iterations == 7


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"seed": 1.5}, "seed 1.5: a whole number"),
        ({"hidden": "a"}, "hidden layer"),
        ({"hidden": (0,)}, "at least one neuron"),
        ({"etta": 1}, "setting 'etta'.*did you mean 'eta'"),
        ({"learner": "sarsa"}, "unknown learner 'sarsa'"),
        ({"backend": "equilibrum"}, "did you mean 'equilibrium'"),
        ({"precision": "float16"}, "float64, float32"),
        ({"core": "gpu"}, "auto, native, numpy"),
        ({"road": "fussed"}, "unknown road 'fussed'.*did you mean 'fused'"),
        ({"road": "plain"}, "road 'plain': backend 'equilibrium' has only one road; allowed is auto"),
        ({"reward_delay": "novelty=none"}, "unknown neuromodulator 'novelty'"),
        ({"env": 5}, "and not 5"),
    ],
)
def test_wrong_values_are_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises(RnlaError, match=message):
        Agent("rate_nla", **{"env": "xor", **how})


class Several(Backend):
    """A backend of somebody else that has what `equilibrium` has not; it keeps what it was given."""

    name, summary = "several", "a test"

    def __init__(self, *options: str) -> None:
        self.capabilities = Capabilities(("rate",), ("float64",), options)
        self.given: dict[str, Any] = {}

    def build(self, network: Any, **options: Any) -> Any:
        self.check(network, options)
        self.given = options
        return get_backend("equilibrium").build(network, core="numpy")


@pytest.mark.parametrize(
    ("options", "how", "given"),
    [
        (("target", "road", "start"), {"core": "cython", "road": "plain"}, {"target": "cython", "road": "plain"}),
        (("target", "road"), {}, {"target": "auto", "road": "auto"}),
        (("road", "directory"), {"road": "fused"}, {"road": "fused"}),
        (("core",), {"core": "numpy"}, {"core": "numpy"}),
        ((), {}, {}),
    ],
)
def test_core_and_road_reach_the_backend_that_has_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: tuple[str, ...], how: dict[str, str], given: Any
) -> None:
    backend = Several(*options)
    monkeypatch.setattr("rnla_neuro.session.get_backend", lambda name: backend)
    agent = Agent("rate_nla", "xor", "several", **how)  # type: ignore[arg-type]
    assert backend.given == given
    backend.given = {}
    agent = Agent.load(agent.save(tmp_path / "kept"))  # the file keeps them
    assert backend.given == given
    assert (agent.request.core, agent.request.road) == (how.get("core", "auto"), how.get("road", "auto"))
    Agent("rate_nla", "xor", "several", learner="reinforce", **how)  # type: ignore[arg-type]  # needs no backend


def test_what_a_backend_has_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnla_neuro.session.get_backend", lambda name: Several("road", "directory"))
    with pytest.raises(ConfigError, match="core 'cython': backend 'several' has only one core; allowed is auto"):
        Agent("rate_nla", "xor", "several", core="cython")


def test_an_agent_that_moves_takes_the_other_backends_own_core(tmp_path: Path) -> None:
    saved = Agent("rate_nla", "xor", core="numpy").learn(3).save(tmp_path / "xor")
    assert Agent.load(saved).request.core == "numpy"
    with zipfile.ZipFile(saved) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(parts["agent.json"])
    assert about.pop("road") == "auto"  # files of earlier versions have none
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        for name, content in (parts | {"agent.json": json.dumps(about | {"backend": "elsewhere"})}).items():
            archive.writestr(name, content)
    moved = Agent.load(tmp_path / "old.zip", backend="equilibrium")
    assert (moved.request.backend, moved.request.core, moved.request.road) == ("equilibrium", "auto", "auto")
    assert moved.iterations == 3


def test_wrong_observations_and_counts_are_named(tmp_path: Path) -> None:
    agent = Agent("rate_nla", "xor")
    for call in (lambda: agent.predict(np.zeros(3)), lambda: agent.predict(np.full(2, np.nan))):
        with pytest.raises(ConfigError):
            call()
    with pytest.raises(ConfigError, match="episodes = 0"):
        agent.evaluate(episodes=0)
    with pytest.raises(ConfigError, match="at least 1"):
        agent.learn(0)
    with pytest.raises(RunFolderError, match="no saved agent"):
        Agent.load(tmp_path / "nothing")
    (tmp_path / "broken.zip").write_text("no archive")
    with pytest.raises(RunFolderError, match="not a saved agent"):
        Agent.load(tmp_path / "broken.zip")
    saved = agent.save(tmp_path / "xor")
    with pytest.raises(ConfigError, match=r"layers of \(2, 8, 2\) neurons"):
        Agent.load(saved, env="parity4")
