"""Opens an environment for many agents at once, whatever it was given as."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from rnla_neuro.errors import TaskError
from rnla_neuro.tasks import ENVIRONMENTS, register
from rnla_neuro.tasks.catalogue import Task, get
from rnla_neuro.tasks.environments import PatternVectorEnv

AnyEnv = gym.Env[Any, Any]
AnyVectorEnv = VectorEnv[Any, Any, Any]
EnvironmentLike = str | os.PathLike[str] | Task | AnyEnv | AnyVectorEnv | Callable[[], Any]

_MAKE = (
    "gymnasium.make_vec(id, num_envs={n}, vectorization_mode='sync', "
    "vector_kwargs={{'autoreset_mode': gymnasium.vector.AutoresetMode.SAME_STEP}})"
)


@dataclass(frozen=True)
class OpenEnvironment:
    """A vector environment that resets its members in the step that ends their episode.

    Attributes:
        env: The vector environment.
        name: What messages call it.
        task: The task it was made from, if any.
        owned: Whether we made it, and so close it.
        seeds_each: Whether it takes one seed an agent.
        trusted: Whether it is one of ours, whose observations need no check.
    """

    env: AnyVectorEnv
    name: str
    task: Task | None
    owned: bool
    seeds_each: bool
    trusted: bool


class FailedEnvironmentError(TaskError):
    """The environment of one agent raised something; the message says which, when and what."""


class GuardedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Words what an environment raises: which one, at which step, with which seed.

    Args:
        env: The environment of one agent.
        name: What messages call it.
        agent: Index of the agent.
        seed: Seed of the agent.
    """

    def __init__(self, env: AnyEnv, name: str, agent: int, seed: int) -> None:
        super().__init__(env)
        self._label = f"environment {name}, agent {agent} (seed {seed})"
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        try:
            return self.env.reset(seed=seed, options=options)
        except (Exception, SystemExit) as error:  # whatever a user's environment raises
            raise self._worded(error, f"reset(seed={seed})") from error

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment."""
        self._steps += 1
        try:
            return self.env.step(action)
        except (Exception, SystemExit) as error:  # whatever a user's environment raises
            raise self._worded(error, f"step({action})") from error

    def _worded(self, error: BaseException, call: str) -> FailedEnvironmentError:
        return FailedEnvironmentError(
            f"{self._label}: {call} failed at step {self._steps}: {describe(error)}"
        )


def describe(error: BaseException) -> str:
    """Word an exception in one line; an exit, which would end this program without a word, is named as one."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def open_environment(env: EnvironmentLike, seeds: Sequence[int]) -> OpenEnvironment:
    """Open an environment for one agent a seed.

    Args:
        env: A task, its name, a Gymnasium id, the path of a table, an environment (for one agent), a vector
            environment (``AutoresetMode.SAME_STEP``), or a function that makes an environment.
        seeds: Seeds of the agents; their number is A.

    Raises:
        TaskError: It cannot be made, or does not serve A agents.
    """
    if isinstance(env, VectorEnv):
        return _checked(_ready_vector(env, env_name(env), owned=False), len(seeds))
    if isinstance(env, gym.Env):
        if len(seeds) != 1:
            raise TaskError(
                f"environment {env_name(env)}: one environment serves one agent, not {len(seeds)}; "
                "give its id, a function that makes one, or a vector environment"
            )
        return _checked(_sync([lambda: env], env_name(env), seeds, None, owned=False), 1)
    if callable(env) and not isinstance(env, Task):
        return _checked(_from_factory(env, seeds), len(seeds))
    return _checked(_from_task(get(env), seeds), len(seeds))


def env_name(env: AnyEnv | AnyVectorEnv) -> str:
    """Return the id of an environment, or the name of its class."""
    spec = getattr(env, "spec", None)
    return spec.id if spec is not None else type(env.unwrapped).__name__


def _from_task(task: Task, seeds: Sequence[int]) -> OpenEnvironment:
    register()
    if task.env_id in ENVIRONMENTS:
        try:
            vector = gym.make_vec(task.env_id, num_envs=len(seeds), **task.kwargs)
        except TypeError as error:  # an argument that the task does not have
            raise TaskError(f"task {task.name!r}: {error}") from error
        return OpenEnvironment(vector, task.env_id, task, owned=True, seeds_each=True, trusted=True)

    def make() -> AnyEnv:
        try:
            made: AnyEnv = gym.make(task.env_id, **task.kwargs)
        except (Exception, SystemExit) as error:  # importing another's module can raise anything
            raise TaskError(f"environment {task.env_id} cannot be made: {describe(error)}") from error
        return made

    return _sync([make] * len(seeds), task.env_id, seeds, task, owned=True)


def _from_factory(factory: Callable[[], Any], seeds: Sequence[int]) -> OpenEnvironment:
    label = getattr(factory, "__name__", type(factory).__name__)

    def make() -> Any:
        try:
            return factory()
        except (Exception, SystemExit) as error:  # whatever a user's function raises
            raise TaskError(
                f"the function {label} that makes the environment failed: {describe(error)}"
            ) from error

    first = make()
    if isinstance(first, VectorEnv):
        return _ready_vector(first, env_name(first), owned=True)
    made = [first] + [make() for _ in seeds[1:]]
    for one in made:
        if not isinstance(one, gym.Env):
            raise TaskError(f"the function {label} returned {type(one).__name__}, not a gymnasium.Env")
    if len({id(one) for one in made}) < len(made):
        raise TaskError(f"the function {label} returned the same environment twice; each agent needs its own")
    return _sync([_returning(one) for one in made], env_name(first), seeds, None, owned=True)


def _returning(env: AnyEnv) -> Callable[[], AnyEnv]:
    return lambda: env


def _sync(
    makers: Sequence[Callable[[], AnyEnv]], name: str, seeds: Sequence[int], task: Task | None, *, owned: bool
) -> OpenEnvironment:
    """Put guarded environments into one that steps them in turn."""
    guarded = [GuardedEnv(make(), name, agent, seeds[agent]) for agent, make in enumerate(makers)]
    try:
        vector = SyncVectorEnv([_returning(one) for one in guarded], autoreset_mode=AutoresetMode.SAME_STEP)
    except Exception as error:  # spaces that differ or cannot be batched
        raise TaskError(
            f"environment {name}: it cannot serve {len(seeds)} agents: {describe(error)}"
        ) from error
    return OpenEnvironment(vector, name, task, owned=owned, seeds_each=True, trusted=False)


def _ready_vector(env: AnyVectorEnv, name: str, *, owned: bool) -> OpenEnvironment:
    base = env.unwrapped
    each = isinstance(base, SyncVectorEnv | AsyncVectorEnv | PatternVectorEnv)
    trusted = isinstance(env, PatternVectorEnv)
    return OpenEnvironment(env, name, None, owned=owned, seeds_each=each, trusted=trusted)


def _checked(opened: OpenEnvironment, n_agents: int) -> OpenEnvironment:
    """Refuse what cannot be bridged, by name."""
    env, name = opened.env, opened.name
    if env.num_envs != n_agents:
        raise TaskError(f"environment {name}: it has {env.num_envs} members for {n_agents} agents")
    mode = (env.metadata or {}).get("autoreset_mode")
    if mode != AutoresetMode.SAME_STEP:
        found = mode.name if isinstance(mode, AutoresetMode) else repr(mode)
        raise TaskError(
            f"environment {name}: autoreset mode {found}: SAME_STEP is needed, since a step that only "
            f"resets is no decision; make it with {_MAKE.format(n=n_agents)}, or give its id"
        )
    actions = env.single_action_space
    if not isinstance(actions, gym.spaces.Discrete):
        raise TaskError(
            f"environment {name}: action space {actions}: only Discrete is supported; wrap the environment "
            "so that an action is one of a few choices (gymnasium.wrappers.TransformAction)"
        )
    if actions.n < 2:
        raise TaskError(f"environment {name}: it has one action only, and nothing can be decided")
    return opened
