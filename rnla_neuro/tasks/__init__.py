"""Tasks as Gymnasium environments: ``rnla/Parity-v0``, ``rnla/Bars-v0``, ``rnla/Digits-v0`` and others.

Everything here is loaded when it is first used: importing this package loads neither Gymnasium nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rnla_neuro.tasks.catalogue import Task, available, get

__all__ = ["ENVIRONMENTS", "GAMES", "Task", "available", "get", "register"]

# Environment id -> stem of its classes: <stem>Env, and <stem>VectorEnv for many agents. They are in environments.py,
# those of `VARYING` in tracking.py.
ENVIRONMENTS: Final = {
    "rnla/Parity-v0": "Parity",
    "rnla/Bars-v0": "Bars",
    "rnla/Patterns-v0": "Patterns",
    "rnla/Digits-v0": "Digits",
    "rnla/ThreeDigits-v0": "ThreeDigits",
    "rnla/Table-v0": "Table",
    "rnla/Tracking-v0": "Tracking",
}

#: Games of many steps: environment id -> module and class, and the steps after which an episode is cut off.
GAMES: Final = {"rnla/Pong-v0": ("rnla_neuro.tasks.pong:PongEnv", 300)}

#: Those whose inputs and targets vary in time during a trial.
VARYING: Final = frozenset({"rnla/Tracking-v0"})


def register() -> None:
    """Make our environments known to Gymnasium; calling it again changes nothing."""
    from gymnasium.envs.registration import register as gymnasium_register
    from gymnasium.envs.registration import registry

    for env_id, stem in ENVIRONMENTS.items():
        if env_id not in registry:
            module = f"rnla_neuro.tasks.{'tracking' if env_id in VARYING else 'environments'}"
            gymnasium_register(
                id=env_id,
                entry_point=f"{module}:{stem}Env",
                vector_entry_point=f"{module}:{stem}VectorEnv",
            )
    for env_id, (entry_point, steps) in GAMES.items():
        if env_id not in registry:
            gymnasium_register(id=env_id, entry_point=entry_point, max_episode_steps=steps)


def __getattr__(name: str) -> Any:
    if name in ("Task", "available", "get"):
        return getattr(importlib.import_module("rnla_neuro.tasks.catalogue"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
