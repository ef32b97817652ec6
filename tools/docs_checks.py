"""Puts what `rnla check --hardware` prints below its command lines in docs/hardware_check.md.

``python -m tools.docs_checks`` writes the page anew, and its picture; a test says when that is due.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Final
from unittest import mock

from rnla_neuro.cli.app import execute

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "hardware_check.md"
PICTURE: Final = "placement.png"
_SHOWN: Final = re.compile(r"```console\n\$ (rnla check [^\n]*)\n```\n\n```text\n.*?\n```", re.DOTALL)
_PLAIN: Final = {"COLUMNS": "150", "NO_COLOR": "1"}


def printed(line: str) -> list[str]:
    """Return the lines that a command prints; of a table that comes without a picture, what is to be changed."""
    out = io.StringIO()
    with mock.patch.dict(os.environ, _PLAIN), contextlib.redirect_stdout(out):
        code = execute(shlex.split(line)[1:])
    if code > 1:
        raise RuntimeError(f"{line}: exit code {code}")
    lines = [one.rstrip() for one in out.getvalue().replace(f"{ROOT}/", "").splitlines()]
    if PICTURE in line:
        return lines
    first = next(k for k, one in enumerate(lines) if "what to change" in one)
    return [lines[1], "…", *(one for one in lines[first:] if one and not one.startswith("*"))]


def updated(text: str) -> str:
    """Return the page as it should be; pictures are drawn into the working folder."""

    def fill(found: re.Match[str]) -> str:
        shown = "\n".join(printed(found[1])).strip("\n")
        return f"```console\n$ {found[1]}\n```\n\n```text\n{shown}\n```"

    return _SHOWN.sub(fill, text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        shutil.copy(PICTURE, ROOT / "docs" / "images" / PICTURE)
