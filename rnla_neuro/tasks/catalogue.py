"""The task catalogue: short names for our tasks, and the door for any Gymnasium id or table file."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rnla_neuro.errors import TaskError, did_you_mean
from rnla_neuro.tasks import ENVIRONMENTS, VARYING, register

if TYPE_CHECKING:
    from rnla_neuro.tasks.sources import FloatArray, IntArray, PatternSource

_TABLE_ENDINGS: Final = (".npz", ".csv")
#: Inputs and actions of environments whose data take long to load.
_SIZES: Final = {"rnla/Digits-v0": (64, 10), "rnla/ThreeDigits-v0": (100, 3)}


@dataclass(frozen=True)
class Task:
    """An environment and the network that fits it.

    Attributes:
        name: Short name, for the command line and the records.
        env_id: Gymnasium id.
        kwargs: Arguments of the environment.
        hidden: Sizes of the hidden layers, from the input on.
        iterations: Number of decisions that suffice to learn it.
        model: Model file to use if none is given.
        summary: One line about it.
        chance: Probability that a random action is right, or None where that means nothing.
        chance_reward: Mean reward of random actions, or None where it is not known.
    """

    name: str
    env_id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[int, ...] = (40,)
    iterations: int = 20_000
    model: str = "rate_nla"
    summary: str = ""
    chance: float | None = None
    chance_reward: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kwargs", MappingProxyType(dict(self.kwargs)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled; tasks travel to other processes.
        values = [getattr(self, name) for name in self.__dataclass_fields__]
        return Task, tuple(dict(value) if isinstance(value, MappingProxyType) else value for value in values)

    @property
    def is_dataset(self) -> bool:
        """Whether the task is a set of patterns with right actions, so that accuracy can be measured."""
        return self.env_id in ENVIRONMENTS

    @property
    def varying(self) -> bool:
        """Whether inputs and targets vary in time during a trial."""
        return self.env_id in VARYING

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Number of inputs and of actions, where that is known without opening the environment."""
        return _SIZES.get(self.env_id)

    def dataset(self, split: str = "test") -> tuple[FloatArray, IntArray]:
        """Return the patterns of a split, shape (N, n_in), and the right actions, shape (N,).

        Args:
            split: ``train`` or ``test``; digits also have ``fit`` and ``validation``, which share out
                ``train`` for tuning.

        Raises:
            TaskError: There is no such split, or the task is not a data set.
        """
        return self.source().dataset(split)

    def source(self) -> PatternSource:
        """Return where the patterns come from.

        Raises:
            TaskError: The task is not a data set.
        """
        if not self.is_dataset:
            raise TaskError(f"task {self.name!r} is not a data set: measure it by episodes")
        module = importlib.import_module(f"rnla_neuro.tasks.{'tracking' if self.varying else 'environments'}")
        make_source = getattr(module, f"{ENVIRONMENTS[self.env_id]}Env").make_source
        source: PatternSource = make_source(**self.kwargs)
        return source

    def tracks(self, split: str = "test") -> tuple[FloatArray, FloatArray]:
        """Return the signals of a split, shape (N, S, n_in), and their targets, shape (N, S, n_out).

        Raises:
            TaskError: There is no such split, or inputs do not vary in time.
        """
        from rnla_neuro.tasks.tracking import SignalSource

        source = self.source()
        if not isinstance(source, SignalSource):
            raise TaskError(f"task {self.name!r} has inputs that are held for a trial, and no targets in time")
        return source.tracks(split)


_TASKS: Final = (
    Task(
        "xor",
        "rnla/Parity-v0",
        {"n_bits": 2},
        hidden=(8,),
        iterations=10_000,
        summary="exclusive or of 2 inputs",
        chance=0.5,
        chance_reward=0.5,
    ),
    Task(
        "parity4",
        "rnla/Parity-v0",
        {"n_bits": 4},
        hidden=(40,),
        iterations=30_000,
        summary="parity of 4 inputs",
        chance=0.5,
        chance_reward=0.5,
    ),
    Task(
        "bars",
        "rnla/Bars-v0",
        hidden=(30,),
        iterations=10_000,
        summary="two parallel bars in a noisy 5×5 image: direction, and neighbours or not (4 classes)",
        chance=0.25,
        chance_reward=0.25,
    ),
    Task(
        "patterns",
        "rnla/Patterns-v0",
        hidden=(40,),
        iterations=20_000,
        summary="40 random patterns of 20 bits in 10 classes, learned by heart",
        chance=0.1,
        chance_reward=0.1,
    ),
    Task(
        "digits",
        "rnla/Digits-v0",
        hidden=(40,),
        iterations=50_000,
        summary="handwritten digits, 8×8 pixels, 10 classes; 1347 to learn from, 450 for the test",
        chance=0.1,
        chance_reward=0.1,
    ),
    Task(
        "three-digits",
        "rnla/ThreeDigits-v0",
        hidden=(100,),
        iterations=3_000,
        model="rate_nla_poster",
        summary="the poster's setting: three 10×10 digits, one image a class, reward +1 or -1",
        chance=1 / 3,
        chance_reward=-1 / 3,
    ),
    Task(
        "tracking",
        "rnla/Tracking-v0",
        hidden=(30,),
        iterations=5_000,
        model="rate_nla_tracking",
        summary="imitate a teacher network while 3 sinusoids run on; learner supervised",
        chance=0.5,
        chance_reward=0.5,
    ),
    Task(
        "tracking-product",
        "rnla/Tracking-v0",
        {"law": "product"},
        hidden=(30,),
        iterations=5_000,
        model="rate_nla_tracking",
        summary="follow products of 2 sinusoids while they run on; learner supervised",
        chance=0.5,
        chance_reward=0.5,
    ),
    Task(
        "tracking-delay",
        "rnla/Tracking-v0",
        {"law": "delay"},
        hidden=(30,),
        iterations=5_000,
        model="rate_nla_tracking",
        summary="say what 2 sinusoids were 20 ms ago, and their product then; learner supervised",
        chance=0.5,
        chance_reward=0.5,
    ),
    Task(
        "pong",
        "rnla/Pong-v0",
        hidden=(32,),
        iterations=20_000,
        summary="say in which of 32 columns the ball is, and the paddle goes there; graded reward",
        chance=1 / 32,
        chance_reward=0.10273,
    ),
)


def available() -> dict[str, Task]:
    """Return our tasks by name."""
    return {task.name: task for task in _TASKS}


def get(name: str | Task | os.PathLike[str]) -> Task:
    """Return the task of a name, of a Gymnasium id, or of a table file.

    Args:
        name: A name of `available`, any id that Gymnasium knows, or the path of a ``.npz`` or ``.csv`` file.

    Raises:
        TaskError: Nothing is known by that name (the message has the nearest), or the table cannot be used.

    >>> get("digits").hidden
    (40,)
    """
    if isinstance(name, Task):
        return name
    if not isinstance(name, str | os.PathLike):
        raise TaskError(f"a task is a name, a Gymnasium id or the path of a table, and not {name!r}")
    text = os.fspath(name)
    if text in available():
        return available()[text]
    if text.lower().endswith(_TABLE_ENDINGS):
        return _of_table(text)
    return _of_gymnasium(text)


def _of_table(path: str) -> Task:
    from rnla_neuro.tasks.table import table

    source = table(path)
    rows = len(source.dataset("train")[1])
    return Task(
        Path(path).stem,
        "rnla/Table-v0",
        {"path": path},
        summary=f"{path}: {rows} rows to learn from, {source.n_in} features, {source.n_classes} classes",
        chance=1 / source.n_classes,
        chance_reward=1 / source.n_classes,
    )


def _import_own(module: str, env_id: str) -> None:
    """Import a user's module; one in the working directory is found too, whichever way rnla was started."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # another's module can raise anything
        reason = "there is no such module" if isinstance(error, ModuleNotFoundError) else repr(error)
        raise TaskError(f"task {env_id!r}: the module {module!r} cannot be imported: {reason}") from error


def _of_gymnasium(env_id: str) -> Task:
    import gymnasium as gym

    register()
    ours = [task for task in _TASKS if task.env_id == env_id]
    if ours:
        return next((task for task in ours if not task.kwargs), ours[-1])  # the environment's own defaults
    if env_id == "rnla/Table-v0":
        raise TaskError("rnla/Table-v0 needs a file: give the path of the .npz or .csv file as the task")
    known = [*available(), *gym.registry]
    if env_id not in gym.registry:
        module, colon, _ = env_id.partition(":")
        if not colon:
            raise TaskError(
                f"unknown task {env_id!r}:{did_you_mean(env_id, known)} allowed: {', '.join(available())}, "
                "an id that Gymnasium knows (such as Acrobot-v1, or module:Env-v0), "
                "or the path of a .npz or .csv file"
            )
        _import_own(module, env_id)
        inner = env_id.partition(":")[2]
        if inner not in gym.registry:
            raise TaskError(
                f"task {env_id!r}: the module {module!r} registers no {inner!r};{did_you_mean(inner, gym.registry)}"
            )
    return Task(env_id, env_id, summary=f"the Gymnasium environment {env_id}")
