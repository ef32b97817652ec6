"""Reads TOML that a user wrote: whatever is wrong with the file is told by name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from rnla_neuro.errors import RnlaError

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


def find(name_or_path: str | Path, what: str, error: type[RnlaError]) -> Path | None:
    """Return the file that a path names (anything with a ``/`` or ending in ``.toml``); None for a plain name."""
    name = str(name_or_path)
    if not (isinstance(name_or_path, Path) or "/" in name or name.endswith(".toml")):
        return None
    path = Path(name).expanduser()
    if path.is_dir():
        raise error(f"{what} file {name!r} is a folder")
    if not path.is_file():
        raise error(f"{what} file {name!r} does not exist")
    return path
