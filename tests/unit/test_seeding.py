"""Seeds: reading them, and the fixed order of their streams."""

from __future__ import annotations

import numpy as np
import pytest

from rnla_neuro.errors import ConfigError
from rnla_neuro.seeding import parse_seeds, streams


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("1", [1]),
        ("10", list(range(1, 11))),
        ("901-905", [901, 902, 903, 904, 905]),
        ("7-7", [7]),
        ("3,5,8", [3, 5, 8]),
        (" 8, 3 , 10-12", [8, 3, 10, 11, 12]),
        ("0-1", [0, 1]),
        ("5,", None),
        ("", None),
        ("ten", None),
        ("-3", None),
        ("3-", None),
        ("1.5", None),
        ("1-2-3", None),
    ],
)
def test_seeds_are_read_or_refused_with_the_forms(text: str, seeds: list[int] | None) -> None:
    if seeds is not None:
        assert parse_seeds(text) == seeds
    else:
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            parse_seeds(text)
        assert "901-905" in str(caught.value)
        assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "a count from 1"),
        ("100000", "for the one seed 100000 write 100000-100000"),
        ("5-3", "ends before it starts"),
        ("1-99999", "at most 10000 seeds"),
        ("3,4,3", "3 occurs twice"),
        ("1-4,2", "2 occurs twice"),
        ("9223372036854775808-9223372036854775808", "at most 2\\*\\*63 - 1"),
    ],
)
def test_senseless_seeds_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_seeds(text)


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
