"""Deep reinforcement learning in time-continuous networks, written as Brian2 model strings.

The public names are loaded when they are first used, so that ``import rnla_neuro`` stays light:

    from rnla_neuro import Agent
    agent = Agent("rate_nla", "digits", seed=1).learn(20_000)

Importing the package also makes our tasks known to Gymnasium (``gymnasium.make("rnla/Digits-v0")``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rnla_neuro._gymnasium import register_when_gymnasium_is_there

if TYPE_CHECKING:
    from rnla_neuro.agent import Agent
    from rnla_neuro.bridge import EnvironmentBridge
    from rnla_neuro.codec import Codec
    from rnla_neuro.results import Results
    from rnla_neuro.rewards import NeuromodEvent, RewardChannel
    from rnla_neuro.spec.loader import load_model
    from rnla_neuro.spec.model import ModelSpec
    from rnla_neuro_backends.brian2_model.groups import to_brian2
    from rnla_neuro_backends.dense.reduction import GroupReduction
    from rnla_neuro_backends.dense.synapses import DenseSynapses

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Codec",
    "DenseSynapses",
    "EnvironmentBridge",
    "GroupReduction",
    "ModelSpec",
    "NeuromodEvent",
    "Results",
    "RewardChannel",
    "__version__",
    "load_model",
    "to_brian2",
]

_HOME = {
    "Agent": "rnla_neuro.agent",
    "Codec": "rnla_neuro.codec",
    "DenseSynapses": "rnla_neuro_backends.dense.synapses",
    "EnvironmentBridge": "rnla_neuro.bridge",
    "GroupReduction": "rnla_neuro_backends.dense.reduction",
    "ModelSpec": "rnla_neuro.spec.model",
    "NeuromodEvent": "rnla_neuro.rewards",
    "Results": "rnla_neuro.results",
    "RewardChannel": "rnla_neuro.rewards",
    "load_model": "rnla_neuro.spec.loader",
    "to_brian2": "rnla_neuro_backends.brian2_model.groups",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        from rnla_neuro.errors import did_you_mean

        hint = did_you_mean(name, __all__)
        raise AttributeError(f"module 'rnla_neuro' has no attribute {name!r}" + (f":{hint}" if hint else ""))
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # from now on without this detour
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_when_gymnasium_is_there()
