"""The one-line door: make an agent, let it learn, ask it, keep it. In the habits of Stable-Baselines3."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rnla_neuro.codec import Codec
from rnla_neuro.errors import ConfigError, RunFolderError
from rnla_neuro.evaluation import accuracy, at_decision, episode_returns
from rnla_neuro.hardware.emulation.request import hardware_text
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.session import RunRequest, Session
from rnla_neuro.simulation import FloatArray, IntArray
from rnla_neuro.spec.inputs import parse_input
from rnla_neuro.tasks.catalogue import Task
from rnla_neuro.vectorize import EnvironmentLike

FORMAT = 1
Callback = Callable[["Agent", "TrialReport"], bool | None]


class TrialReport(dict[str, Any]):
    """What happened in one trial, arrays of shape (A,).

    Keys: ``iteration``, ``action``, ``reward``, ``terminated``, ``truncated``, ``episode_return``, and
    ``correct`` where the task knows it.
    """


class Agent:
    """A network that learns from reward in an environment; or several, one a seed, side by side.

    Args:
        model: Name or path of a model file; ``auto`` takes what fits the task and the delay.
        env: Name of a task, Gymnasium id, path of a table, environment, vector environment, or a function
            that makes an environment.
        backend: Name of a backend.
        seed: The seed; or give `seeds` for several agents at once.
        seeds: Seeds of several agents.
        learner: ``r-nla``, ``node-perturbation``, ``supervised``, ``reinforce`` or ``backprop``.
        hidden: Sizes of the hidden layers; None: the task's.
        reward_delay: ``none``, ``iterations:1``, ``gamma:2,15ms``, ``fixed:20ms``.
        freeze_hidden: Only the action layer learns.
        precision: ``float64`` or ``float32``.
        core: What computes, where a backend has several: ``native`` or ``numpy`` for ``equilibrium``, ``cython`` or
            ``numpy`` for ``brian2``; ``auto`` takes the fastest that there is.
        road: How a Brian2 backend integrates: ``fused``, ``plain`` or ``auto``.
        input: How input values become what input neurons send: ``analog``, ``poisson``, ``regular`` or ``latency``,
            ``population:8``, or ``population:8,poisson``; empty: as the model says.
        hardware: Name or path of a platform file whose chip is emulated.
        chip_seed: Which chip; or several, one an agent.
        calibrated: Whether the chip has been calibrated.
        chip_off: Effects of the platform to leave out, such as ``("readout",)``.
        codec: How observations become inputs; None: by the observation space.
        **overrides: Parameters of the model, such as ``eta=0.05`` or ``T="50*ms"``.

    Raises:
        RnlaError: A value is not allowed, or the environment or the model cannot be used.

    >>> agent = Agent("rate_nla", "xor", seed=1)
    >>> agent.learn(3000).evaluate()["test_accuracy"]
    1.0
    """

    def __init__(
        self,
        model: str | Path = "auto",
        env: EnvironmentLike | str = "digits",
        backend: str = "equilibrium",
        *,
        seed: int = 1,
        seeds: Sequence[int] | None = None,
        learner: str = "r-nla",
        hidden: Sequence[int] | None = None,
        reward_delay: str = "none",
        freeze_hidden: bool = False,
        precision: str = "float64",
        core: str = "auto",
        road: str = "auto",
        input: str = "",
        hardware: str | Path = "",
        chip_seed: int | Sequence[int] = (),
        calibrated: bool = True,
        chip_off: Sequence[str] = (),
        codec: Codec | None = None,
        **overrides: Any,
    ) -> None:
        named = isinstance(env, str | Task)
        request = RunRequest(
            task=env if isinstance(env, str | Task) else "environment",
            model=str(model),
            learner=learner,
            backend=backend,
            seeds=_whole((seed,) if seeds is None else seeds, "seed"),
            hidden=None if hidden is None else _whole(hidden, "size of a hidden layer"),
            reward_delay=reward_delay,
            freeze_hidden=freeze_hidden,
            precision=precision,
            core=core,
            road=road,
            input=input,
            hardware=str(hardware),
            chip_seed=_whole((chip_seed,) if isinstance(chip_seed, int | np.integer) else chip_seed, "chip seed"),
            calibrated=calibrated,
            chip_off=tuple(chip_off.split(",") if isinstance(chip_off, str) else chip_off),
            overrides={name: str(value) for name, value in overrides.items()},
        )
        self._env = None if named else env
        self._codec = codec
        self._session = Session(request, self._env, codec)
        self.iterations = 0

    @property
    def request(self) -> RunRequest:
        """What the agent was made from."""
        return self._session.request

    @property
    def session(self) -> Session:
        """Simulation, bridge and network, for those who want to look inside."""
        return self._session

    @property
    def n_agents(self) -> int:
        """Number of seeds."""
        return self._session.simulation.n_agents

    def learn(self, iterations: int, callback: Callback | None = None, progress: bool = False) -> Self:
        """Make decisions and learn from their rewards.

        Args:
            iterations: Decisions of each agent.
            callback: Called after each decision with the agent and a `TrialReport`; returning False ends.
            progress: Show a progress bar.

        Returns:
            The agent itself. Rewards that are under way land in the next `learn`, or at `finish` or `save`.

        Raises:
            ConfigError: `iterations` is not a positive whole number.
        """
        if isinstance(iterations, bool) or not isinstance(iterations, int | np.integer) or iterations < 1:
            raise ConfigError(f"learn({iterations!r}): a whole number of at least 1 is needed")
        report = _Reporter(self, callback)
        if not progress:
            _train(self._session, int(iterations), report)
            return self
        from rich.progress import track

        for _ in track(range(int(iterations)), description="learning"):
            if report.ended:
                break
            _train(self._session, 1, report)
        return self

    def predict(self, observation: npt.ArrayLike) -> Any:
        """Return the greedy action for an observation as the environment gives it; learns nothing.

        Args:
            observation: One observation of the environment's space, or, for arrays, a batch of B with one more
                axis.

        Returns:
            With one seed: an int, or an array (B,) for a batch. With several: (A,) or (A, B).

        Raises:
            ConfigError: The shape does not fit the observation space.
        """
        bridge = self._session.bridge
        shape = bridge.observation_space.shape
        if shape is None:  # a structure, for a codec of the user's own
            inputs = at_decision(bridge.encode_one(observation), self._session.simulation)
            actions = self._session.simulation.predict(inputs)[:, 0] + bridge.action_start
            return int(actions[0]) if self.n_agents == 1 else actions
        array = np.asarray(observation)
        one = array.shape == shape
        if not one and (array.ndim == 0 or array.shape[1:] != shape):
            raise ConfigError(
                f"observation of shape {array.shape}: expected {shape}, or a batch "
                f"({', '.join(map(str, ('B', *shape)))})"
            )
        inputs = bridge.codec.encode(array[None] if one else array)
        if not np.isfinite(inputs).all():
            raise ConfigError("predict: an observation holds NaN or infinity; it must be finite")
        inputs = at_decision(inputs, self._session.simulation)
        actions = self._session.simulation.predict(inputs) + bridge.action_start
        if one:
            actions = actions[:, 0]
        if self.n_agents == 1:
            return int(actions[0]) if one else actions[0]
        return actions

    def evaluate(self, env: EnvironmentLike | str | None = None, episodes: int = 100) -> dict[str, Any]:
        """Measure greedy decisions: on the test set if the task has one, else by the return of episodes.

        Args:
            env: Where; None: the task that the agent learns (a ready environment must be given again).
            episodes: Episodes an agent, for environments without a test set.

        Returns:
            ``test_accuracy`` or ``evaluation_return``: a number, or an array (A,) for several seeds.

        Raises:
            ConfigError: There is no task to evaluate on.
        """
        from rnla_neuro.tasks import catalogue

        target: Any = (
            catalogue.get(env) if isinstance(env, str) else (env if env is not None else self._session.task)
        )
        if target is None:
            raise ConfigError("this agent was made with a ready environment: give evaluate() one to play in")
        simulation = self._session.simulation
        if isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 1:
            raise ConfigError(f"episodes = {episodes!r}: a whole number of at least 1 is needed")
        if isinstance(target, Task) and target.is_dataset:
            values, name = accuracy(simulation, target), "test_accuracy"
        else:
            population = parse_input(self.request.input).population
            returns = episode_returns(simulation, target, self.request.seeds, episodes, self._codec, population)
            values, name = returns.mean(axis=1), "evaluation_return"
        return {name: float(values[0]) if self.n_agents == 1 else values}

    def finish(self) -> Self:
        """Deliver rewards that are under way; raises DeliveryError if any was lost."""
        self._session.finish()
        return self

    def save(self, path: str | Path) -> Path:
        """Write the agent (request, model text, weights and learning state) to one ``.zip`` file.

        Rewards under way are delivered first. An existing file is replaced, whole or not at all.
        """
        self.finish()
        target = _archive(path)
        simulation = self._session.simulation
        task = self.request.task
        about = asdict(replace(self.request, task=task if isinstance(task, str) else task.name))
        about["hardware_text"] = hardware_text(self.request)
        about |= {"format": FORMAT, "iterations": self.iterations, "sizes": self._session.network.sizes}
        arrays = simulation.named_weights()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_or_nothing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                archive.writestr("agent.json", json.dumps(about, indent=2))
                archive.writestr("model.toml", self._session.network.model.text)
                for name, content in (("weights", arrays), ("state", simulation.state())):
                    with archive.open(f"{name}.npz", "w") as file:
                        np.savez(file, allow_pickle=False, **content)
        except OSError as error:
            raise RunFolderError(f"cannot write {target}: {error.strerror or error}") from error
        return target

    @classmethod
    def load(
        cls,
        path: str | Path,
        backend: str | None = None,
        env: EnvironmentLike | str | None = None,
        codec: Codec | None = None,
        *,
        core: str | None = None,
        road: str | None = None,
    ) -> Agent:
        """Read an agent that `save` wrote.

        Args:
            path: The file.
            backend: Another backend to move to; it takes the weights, and its own core and road. On the same one
                the learning state (traces, mean reward, exploration) goes on where it was.
            env: Environment; needed if the agent was made with a ready one.
            codec: As for the agent that was saved.
            core: Core to run on; None is the saved one, or ``auto`` on another backend.
            road: Road to take; likewise.

        Raises:
            RunFolderError: Not such a file, or a newer format.
            ConfigError: The environment has other sizes.
        """
        about, text, arrays, state = _read(_archive(path))
        iterations, sizes = about.pop("iterations"), tuple(about.pop("sizes"))
        moved = backend is not None and backend != about["backend"]
        if moved:
            about |= {"backend": backend, "core": "auto", "road": "auto"}
        about |= {name: value for name, value in (("core", core), ("road", road)) if value is not None}
        request = RunRequest(**about)
        agent = cls.__new__(cls)
        ready = None if env is None or isinstance(env, str | Task) else env
        if isinstance(env, str | Task):
            request = replace(request, task=env)
        if request.task == "environment" and ready is None:
            raise ConfigError(f"{path} was made with a ready environment: give load() one with env=")
        agent._env, agent._codec, agent.iterations = ready, codec, iterations
        agent._session = Session(request, ready, codec, model_text=text)
        found = agent._session.network.sizes
        if found != sizes:
            agent._session.close()
            raise ConfigError(f"{path} has layers of {sizes} neurons, and the environment asks for {found}")
        agent._session.simulation.set_weights([arrays[f"projection{k}"] for k in range(len(arrays))])
        if not moved:
            agent._session.simulation.restore(state)
        agent._session.count_from_here()
        agent._session.bridge.resume(iterations)
        return agent

    def close(self) -> None:
        """Close the environment and the simulation."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Ended(Exception):
    """The callback asked to end."""


class _Reporter:
    def __init__(self, agent: Agent, callback: Callback | None) -> None:
        self._agent, self._callback = agent, callback
        self.ended = False

    def __call__(self, k: int, actions: IntArray, outcome: Any, label: IntArray | None) -> None:
        self._agent.iterations += 1
        if self._callback is None:
            return
        report = TrialReport(
            iteration=self._agent.iterations,
            action=actions,
            reward=outcome.reward,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            episode_return=outcome.episode_return,
        )
        if label is not None:
            report["correct"] = actions == label
        if self._callback(self._agent, report) is False:
            self.ended = True
            raise _Ended


def _train(session: Session, iterations: int, report: _Reporter) -> None:
    try:
        session.train(iterations, report)
    except _Ended:
        return


def _whole(values: Sequence[int], what: str) -> tuple[int, ...]:
    """Read whole numbers; 1.5 is refused rather than cut off."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"{what}: whole numbers are needed, such as (40, 20), and not {values!r}")
    listed = list(values)
    for value in listed:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ConfigError(f"{what} {value!r}: a whole number is needed")
    return tuple(int(value) for value in listed)


def _archive(path: str | Path) -> Path:
    return Path(path) if str(path).endswith(".zip") else Path(f"{path}.zip")


def _read(path: Path) -> tuple[dict[str, Any], str, dict[str, FloatArray], dict[str, npt.NDArray[Any]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("agent.json"))
            text = archive.read("model.toml").decode()
            tables = []
            for name in ("weights.npz", "state.npz"):
                with archive.open(name) as file, np.load(file, allow_pickle=False) as stored:
                    tables.append({key: stored[key] for key in stored.files})
    except FileNotFoundError:
        raise RunFolderError(f"there is no saved agent {path}") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RunFolderError(f"{path} is not a saved agent, or damaged: {error}") from error
    if about.pop("format", 0) != FORMAT:
        raise RunFolderError(f"{path} was saved by a newer version of rnla_neuro: update it")
    for name in ("seeds", "hidden", "chip_seed", "chip_off"):
        about[name] = None if about.get(name, ()) is None else tuple(about.get(name, ()))
    return about, text, tables[0], tables[1]
