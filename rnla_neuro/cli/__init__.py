"""The command line, `rnla`: one file a command, loaded when the command is used.

Help must come at once, also on a slow machine, so nothing here imports numpy, and rich is loaded only by
commands that print a table. click was measured against typer and rich-click: see docs/cli.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `rnla` with the arguments of the process (or those given), and exit with its code."""
    import sys

    from rnla_neuro.cli.app import execute

    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))
