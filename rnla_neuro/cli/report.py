"""`rnla report`: report.html of runs that are there already, or of a comparison."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError

EXAMPLES = (
    ("two runs of the same task, side by side", "rnla report runs/rnla runs/reinforce --out compared.html"),
    ("one run", "rnla report runs/demo"),
    ("the report of a comparison, written again", "rnla report comparisons/digits"),
)
ARGUMENTS = (("RUN...", "folders of finished runs of one task, or the folder of one comparison"),)


@click.command(
    "report",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Write report.html of runs that are there already: one page that opens without network, with words, tables, "
    "tests and interactive plots. Nothing is learned again; one trial of each run is recorded, and kept in its "
    "folder.\n\nRuns that differ in their seeds alone are taken together; models are compared on the seeds that all "
    "have.",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out", cls=Option, metavar="FILE",
    help="the page; an existing one is replaced. By default report.html in the folder of a single run or comparison, "
    "and here for several",
)  # fmt: skip
@click.option("--title", cls=Option, metavar="TEXT", default="", help="of the page")
def command(runs: tuple[str, ...], out: str | None, title: str) -> None:
    """Report."""
    path = _path(runs, out)
    from rnla_neuro.comparing.existing import comparison_of
    from rnla_neuro.comparing.folder import check_report

    check_report()
    line = shlex.join(["rnla", *sys.argv[1:]]) if sys.argv[1:2] == ["report"] else ""
    made = comparison_of(
        runs, title=title, command=line, tell=lambda folder: click.echo(f"looking into {folder}", err=True)
    )
    from rnla_neuro.analysis.report import write_report

    click.echo(f"report  {write_report(made, path)}")


def _path(runs: tuple[str, ...], out: str | None) -> Path:
    """Return where the page goes."""
    if out is None:
        return Path(runs[0]) / "report.html" if len(runs) == 1 else Path("report.html")
    path = Path(out)
    if path.is_dir():
        raise ConfigError(f"--out {out} is a folder; give the name of a page, such as {path / 'report.html'}")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: a report is a page; give a name such as {path.stem}.html")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {path.parent}")
    return path
