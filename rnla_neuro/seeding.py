"""Seeds: one whole number determines everything of its agent, whatever other agents run beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rnla_neuro.errors import ConfigError

_LARGEST: Final = 2**63 - 1  # seeds are stored as int64


@dataclass(frozen=True)
class Streams:
    """The independent sources of chance of one agent.

    Attributes:
        weights: Initial weights.
        exploration: Noise of the action layer.
        delays: Random delays of rewards.
        environment: For ``env.reset(seed=...)``; below 2**31, as some environments demand.
    """

    weights: np.random.Generator
    exploration: np.random.Generator
    delays: np.random.Generator
    environment: int


def streams(seed: int) -> Streams:
    """Return the streams that `seed` determines, each independent of the others.

    The order in which they are spawned is fixed: weights, exploration, delays, environment. A new stream may
    only be added at the end, since all results change otherwise.

    Raises:
        ConfigError: `seed` is not a whole number from 0 to 2**63 - 1.
    """
    given: object = seed
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 0 <= seed <= _LARGEST:
        raise ConfigError(f"seed {seed!r}: allowed is a whole number from 0 to 2**63 - 1")
    weights, exploration, delays, environment = np.random.SeedSequence(int(seed)).spawn(4)
    return Streams(
        weights=np.random.default_rng(weights),
        exploration=np.random.default_rng(exploration),
        delays=np.random.default_rng(delays),
        environment=int(environment.generate_state(1, dtype=np.uint32)[0]) >> 1,
    )
