"""Seeds: one whole number determines everything of its agent, whatever other agents run beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from rnla_neuro.errors import ConfigError

_FORMS: Final = "allowed: a count such as 10 (seeds 1 to 10), a range such as 901-905, a list such as 3,5,8"
_MOST_SEEDS: Final = 10_000  # more is a slip of the keyboard: each seed is a network of its own
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


def parse_seeds(text: str) -> list[int]:
    """Read which seeds to run: a count, a range, or a list (which may contain ranges).

    Raises:
        ConfigError: The text has another form, a seed twice, or far too many seeds.

    >>> parse_seeds("3"), parse_seeds("901-903"), parse_seeds("3,5,8")
    ([1, 2, 3], [901, 902, 903], [3, 5, 8])
    """
    stripped = text.strip()
    if re.fullmatch(r"[0-9]+", stripped):
        count = int(stripped)
        if not 1 <= count <= _MOST_SEEDS:
            raise ConfigError(
                f"seeds {text!r}: a count from 1 to {_MOST_SEEDS} is allowed; "
                f"for the one seed {count} write {count}-{count}"
            )
        return list(range(1, count + 1))
    parts = [re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", part) for part in stripped.split(",")]
    seeds: list[int] = []
    for part in parts:
        if part is None:
            raise ConfigError(f"seeds {text!r} cannot be read; {_FORMS}")
        first, last = int(part[1]), int(part[2] or part[1])
        if last < first:
            raise ConfigError(f"seeds {text!r}: the range {part[0].strip()} ends before it starts; {_FORMS}")
        if last > _LARGEST or len(seeds) + last - first >= _MOST_SEEDS:
            raise ConfigError(
                f"seeds {text!r}: at most {_MOST_SEEDS} seeds, each at most 2**63 - 1, are allowed"
            )
        seeds.extend(range(first, last + 1))
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ConfigError(f"seeds {text!r}: {twice} occurs twice, and would count twice in the statistics")
    return seeds
