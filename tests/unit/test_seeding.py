"""Seeds: reading them, and the fixed order of their streams."""

from __future__ import annotations

import numpy as np
import pytest

from rnla_neuro.errors import ConfigError
from rnla_neuro.seeding import streams


def test_the_order_of_the_streams_is_fixed() -> None:
    """All results depend on it: a change here changes every run that was ever made."""
    mine = streams(42)
    spawned = np.random.SeedSequence(42).spawn(4)
    for generator, sequence in zip((mine.weights, mine.exploration, mine.delays), spawned, strict=False):
        assert generator.random() == np.random.default_rng(sequence).random()
    assert mine.environment == streams(42).environment
    assert 0 <= mine.environment < 2**31
    assert len({streams(seed).environment for seed in range(100)}) == 100


def test_streams_differ_from_each_other_and_between_seeds() -> None:
    drawn = [
        generator.random()
        for seed in range(5)
        for generator in (streams(seed).weights, streams(seed).exploration, streams(seed).delays)
    ]
    assert len(set(drawn)) == 15


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**63, None, "1"])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ConfigError, match="whole number from 0"):
        streams(seed)  # type: ignore[arg-type]


def test_numpy_integers_are_seeds() -> None:
    assert streams(np.int64(3)).environment == streams(3).environment
