"""Tables and lines on the screen, by rich; loaded by commands that print."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 160  # a file or a pipe has no width: tables there are not squeezed


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let `rnla_neuro.cli.app.execute` choose the exit code."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Return a console of standard output, or standard error, as it is now."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    return _Console(file=stream, width=width, highlight=False, emoji=False)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]], numbers: int = 0) -> Table:
    """Make a table.

    Args:
        title: Stands above it.
        columns: Headings.
        rows: Cells; they are text, not markup.
        numbers: How many columns at the right are numbers, aligned to the right.
    """
    names = list(columns)
    made = Table(title=Text(title, style="bold"), title_justify="left", box=None, header_style="bold yellow")
    for place, name in enumerate(names):
        number = place >= len(names) - numbers
        style = "cyan" if place == 0 else None
        made.add_column(
            name, style=style, justify="right" if number else "left", no_wrap=number or place == 0
        )
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def number(value: float | None, digits: int = 4) -> str:
    """Write a number for a table; nothing where there is none."""
    if value is None:
        return "–"
    return (
        f"{value:,.0f}"
        if abs(value) >= 1000
        else f"{value:.{digits}g}"
        if abs(value) < 1e-3
        else f"{value:.{digits}f}"
    )


def print_rows(rows: Iterable[tuple[str, str]], width: int = 22) -> None:
    """Write names and texts, indented, each pair on a line."""
    import click

    for name, text in rows:
        click.echo(f"      {click.style(name.ljust(width), fg='cyan')} {text}")


def print_json(about: Mapping[str, Any]) -> None:
    """Write one JSON object to standard output."""
    import click

    click.echo(json.dumps(about, indent=2, allow_nan=False, ensure_ascii=False))


@contextlib.contextmanager
def only_json_on_stdout(wanted: bool) -> Iterator[None]:
    """Send everything that others print to standard error, also what compilers and libraries write."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    try:
        real = sys.stdout.fileno()
        kept = os.dup(real)
    except (OSError, ValueError):  # standard output is not a file, in a test
        real = kept = -1
    if kept >= 0:
        os.dup2(2, real)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept >= 0:
            os.dup2(kept, real)
            os.close(kept)
