"""Reads TOML that a user wrote: whatever is wrong with the file is told by name."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rnla_neuro.errors import RnlaError, unknown

LARGEST: Final = 1_000_000
"""Bytes; a larger file is none that a person wrote, and would only be slow to refuse."""


def read_text(path: Path, what: str, error: type[RnlaError]) -> str:
    """Return the text of a file.

    Args:
        path: The file.
        what: What it should be, for messages: ``"model"``, ``"platform"``.
        error: The error to raise.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise error(f"{what} file {str(path)!r} has more than {LARGEST:,} bytes: it is no {what} file")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as reason:
        raise error(
            f"{what} file {str(path)!r} is not a text in UTF-8: {reason.reason} at byte {reason.start}"
        ) from None
    except OSError as reason:
        raise error(f"{what} file {str(path)!r} cannot be read: {reason.strerror or reason}") from None


def parse(text: str, file: str, error: type[RnlaError]) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Args:
        text: The text.
        file: Name of the file, for messages.
        error: The error to raise.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as reason:
        raise error(f"{file}: not valid TOML: {reason}") from None
    except RecursionError:
        raise error(f"{file}: not valid TOML: brackets are nested too deeply") from None
    except ValueError as reason:  # an integer of thousands of digits, a date that does not exist
        raise error(f"{file}: not valid TOML: {reason}") from None


def find(name_or_path: str | Path, what: str, error: type[RnlaError], folder: Path, known: Collection[str]) -> Path:
    """Return the file that a path names (anything with a ``/`` or ending in ``.toml``), or a packaged one by its name.

    Args:
        name_or_path: A path, or one of `known`.
        what: What it should be, for messages.
        error: The error to raise.
        folder: Where the packaged files are.
        known: Their names, without ``.toml``.
    """
    name = str(name_or_path)
    if not (isinstance(name_or_path, Path) or "/" in name or name.endswith(".toml")):
        if name not in known:
            message = unknown(what, name, known)
            raise error(f"{message}; a {what} file of your own is given by its path, for example ./{name}.toml")
        return folder / f"{name}.toml"
    path = Path(name).expanduser()
    if path.is_dir():
        raise error(f"{what} file {name!r} is a folder")
    if not path.is_file():
        raise error(f"{what} file {name!r} does not exist")
    return path


def check_keys(
    table: Mapping[str, Any], known: Collection[str], required: Sequence[str], where: str, error: type[RnlaError]
) -> None:
    """Refuse keys of a table that are not known, and a table without those that are required."""
    for key in table:
        if key not in known:
            raise error(unknown(f"key in {where}", key, known))
    for key in required:
        if key not in table:
            raise error(f"{where}: {key!r} is missing; required: {', '.join(required)}")
