"""Reads the values of options; each error says the option, the value, what is allowed, and an example."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from rnla_neuro.errors import ConfigError, RunFolderError

MOST_SEEDS = 10_000
_SEEDS_FORMS = "allowed: a count (10: seeds 1 to 10), a range (901-905), or a list (3,7,20-25)"
_CHIPS_FORMS = "allowed: a chip (3), a range (1-5), or a list (3,7,20-25)"


class Text(click.ParamType):  # type: ignore[type-arg]  # generic only in late versions of click
    """A value that is read by a function; its errors are ours, not click's."""

    def __init__(self, form: str, read: Callable[[str], Any]) -> None:
        self.name, self._read = form, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        return self._read(value) if isinstance(value, str) else value

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the form as it stands in the help."""
        return self.name


def seeds(text: str) -> tuple[int, ...]:
    """Read a count, a range, or a list of seeds and ranges.

    Raises:
        ConfigError: It is none of them, a seed comes twice, or there are too many.

    >>> seeds("3"), seeds("901-903"), seeds("7,")
    ((1, 2, 3), (901, 902, 903), (7,))
    """
    count = _whole(text)
    if count is not None:
        if not 1 <= count <= MOST_SEEDS:
            raise ConfigError(f"--seeds {text}: a count is 1 to {MOST_SEEDS:,}; {_SEEDS_FORMS}")
        return tuple(range(1, count + 1))
    return _listed("--seeds", text, _SEEDS_FORMS)


def chips(text: str) -> tuple[int, ...]:
    """Read which chips: one, a range, or a list.

    Raises:
        ConfigError: It is none of them, a chip comes twice, or there are too many.

    >>> chips("3"), chips("1-3"), chips("3,7")
    ((3,), (1, 2, 3), (3, 7))
    """
    return _listed("--chip-seed", text, _CHIPS_FORMS)


def names(text: str) -> tuple[str, ...]:
    """Read names, separated by commas; which ones there are is looked at later."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _listed(option: str, text: str, forms: str) -> tuple[int, ...]:
    """Read a list of whole numbers and ranges."""
    what = option.removeprefix("--").replace("-", " ").removesuffix("s")
    found: list[int] = []
    for part in text.rstrip(",").split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        if match is None:
            raise ConfigError(f"{option} {text}: {part!r} is not a {what} or a range; {forms}")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise ConfigError(f"{option} {text}: the range {part.strip()!r} runs backwards; {forms}")
        if last - first >= MOST_SEEDS:
            raise ConfigError(f"{option} {text}: more than {MOST_SEEDS:,} {what}s at once; {forms}")
        found.extend(range(first, last + 1))
    twice = sorted({one for one in found if found.count(one) > 1})
    if twice:
        raise ConfigError(f"{option} {text}: {what} {twice[0]} comes twice; {forms}")
    return tuple(found)


def whole_above_zero(option: str, example: str) -> Callable[[str], int]:
    """Return a reader of whole numbers from 1."""

    def read(text: str) -> int:
        number = _whole(text)
        if number is None or number < 1:
            raise ConfigError(f"{option} {text}: a whole number from 1 is needed, such as {option} {example}")
        return number

    return read


def whole_from_zero(option: str, example: str) -> Callable[[str], int]:
    """Return a reader of whole numbers from 0."""

    def read(text: str) -> int:
        number = _whole(text)
        if number is None or number < 0:
            raise ConfigError(f"{option} {text}: a whole number from 0 is needed, such as {option} {example}")
        return number

    return read


def hidden(text: str) -> tuple[int, ...]:
    """Read sizes of hidden layers, from the input on.

    >>> hidden("40,20")
    (40, 20)
    """
    sizes = [_whole(part) for part in text.split(",")]
    if any(size is None or size < 1 for size in sizes):
        raise ConfigError(
            f"--hidden {text}: sizes of the hidden layers from the input on, each a whole number from 1, "
            "such as --hidden 40 or --hidden 40,20"
        )
    return tuple(size for size in sizes if size is not None)


def moments(option: str) -> Callable[[str], tuple[int, ...]]:
    """Return a reader of moments of training, in decisions."""

    def read(text: str) -> tuple[int, ...]:
        found = [_whole(part) for part in text.split(",")]
        if any(moment is None or moment < 0 for moment in found):
            raise ConfigError(
                f"{option} {text}: moments of training, whole numbers from 0, such as {option} 0,1000,5000"
            )
        return tuple(sorted({moment for moment in found if moment is not None}))

    return read


def trials(text: str) -> int | tuple[int, ...]:
    """Read a count of trials, or which ones.

    >>> trials("5"), trials("0,10"), trials("3,")
    (5, (0, 10), (3,))
    """
    form = "allowed: a count (5), or numbers of trials from 0 (0,10,20; '3,' is trial 3 alone)"
    count = _whole(text)
    if count is not None:
        if count < 1:
            raise ConfigError(f"--trials {text}: a count is at least 1; {form}")
        return count
    found = [_whole(part) for part in text.rstrip(",").split(",")]
    if any(number is None or number < 0 for number in found):
        raise ConfigError(f"--trials {text}: {form}")
    return tuple(sorted({number for number in found if number is not None}))


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """Read ``name=value`` of repeated ``--set``.

    >>> assignments(["eta=0.1", "T=50ms"])
    {'eta': '0.1', 'T': '50ms'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and name.isidentifier() and value):
            raise ConfigError(
                f"--set {text}: name=value is needed, such as --set eta=0.05 or --set tau_m=20ms"
            )
        if name in found:
            raise ConfigError(f"--set {text}: {name} is set twice (before to {found[name]})")
        found[name] = value
    return found


def new_folder(path: Path) -> None:
    """Refuse a folder that exists before any time is spent on it."""
    if path.exists() or path.is_symlink():
        raise RunFolderError(
            f"{path} exists already: a run never writes over another; choose another folder with --out"
        )


def _whole(text: str) -> int | None:
    """Return a whole number (``20_000`` is one too), or None."""
    if re.fullmatch(r"\s*[-+]?\d[\d_]{0,17}\s*", text) is None:
        return None
    try:
        return int(text)
    except ValueError:
        return None
