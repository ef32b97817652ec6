"""`rnla reproduce`: check what a publication claims, claim by claim."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError, RunFolderError, unknown

if TYPE_CHECKING:
    from rnla_neuro.reproduce.finding import Finding
    from rnla_neuro.reproduce.publications import Publication

NAMES = ("poster", "pong")
QUICK_SEEDS, QUICK_SCALE = "901-903", 0.1
EXAMPLES = (
    ("every claim of the poster, ten seeds", "rnla reproduce poster"),
    ("a first look: three seeds, a tenth of the trials", "rnla reproduce poster --quick"),
    ("two of the claims", "rnla reproduce poster --only lag,delays --out runs/poster"),
    ("Pong by reward-modulated STDP on NEST, and R-NLA beside it", "rnla reproduce pong"),
)
ARGUMENTS = (
    (
        "PUBLICATION",
        "poster: Kungl et al., 'Deep reinforcement learning in a time-continuous model'; pong: Wunderlich et al. 2019, "
        "Front. Neurosci. 13:260 (needs the extra pynn)",
    ),
)


@click.command(
    "reproduce",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Check every claim of PUBLICATION: experiment, figure, statistic, and a verdict by a criterion that was set "
    "beforehand. Learning runs that are in the folder already are not run again.",
)
@click.argument("publication")
@click.option(
    "--only", cls=Option, metavar="KEY,KEY,…",
    help="only these checks; of the poster: lag, phases, errors, self-teaching, perturbation, three-factors, "
    "homeostasis, parity, delays; of pong: learning, exploration, fixed-pattern, beside",
)  # fmt: skip
@click.option(
    "--seeds", cls=Option, type=values.Text("SEEDS", values.seeds), default=None,
    help="a count, a range or a list; by default 901-910 (poster) or 901-905 (pong), which tuned nothing",
)  # fmt: skip
@click.option("--quick", cls=Option, is_flag=True, help="three seeds and a tenth of the trials: verdicts may differ")
@click.option(
    "--out",
    cls=Option,
    metavar="FOLDER",
    default=None,
    help="where; by default runs/PUBLICATION, or runs/PUBLICATION-quick",
)
@shared.as_json()
def command(
    publication: str, only: str | None, seeds: tuple[int, ...] | None, quick: bool, out: str | None, as_json: bool
) -> None:
    """Reproduce."""
    if publication not in NAMES:
        raise ConfigError(unknown("publication", publication, NAMES))
    from rnla_neuro.cli import screen
    from rnla_neuro.cli.app import Stopped
    from rnla_neuro.reproduce.publications import PUBLICATIONS

    about_it = PUBLICATIONS[publication]
    folder = Path(out or f"runs/{publication}{'-quick' if quick else ''}").absolute()
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"--out {out}: {folder} is a file; a folder is needed, a new one or one to go on with")
    chosen = seeds if seeds is not None else values.seeds(QUICK_SEEDS if quick else about_it.seeds)
    keys = tuple(key.strip() for key in only.split(",") if key.strip()) if only is not None else ()
    with screen.only_json_on_stdout(as_json):
        began = time.monotonic()
        try:
            findings = _findings(about_it, folder, chosen, QUICK_SCALE if quick else 1.0, keys)
        except KeyboardInterrupt as stop:
            raise Stopped(f"stopped: {folder} keeps what is finished; the same command goes on from there") from stop
        from rnla_neuro.reproduce.write import write_findings

        about = {"command": _command(publication, keys, chosen, quick), "seeds": ", ".join(map(str, chosen))}
        about |= {"minutes": f"{(time.monotonic() - began) / 60:.1f}"} | ({"quick": "yes"} if quick else {})
        written = write_findings(findings, folder, about, about_it)
    if as_json:
        screen.print_json({"folder": str(folder), "findings": [one.as_dict() for one in findings]})
        return
    rows = [[one.title, one.verdict, one.reason] for one in findings]
    screen.console().print(screen.table(f"claims of the {publication}", ["claim", "verdict", "in figures"], rows))
    click.echo("\n" + "\n".join(str(path) for path in written if path.suffix in (".md", ".html", ".json")))


def _command(publication: str, keys: tuple[str, ...], seeds: tuple[int, ...], quick: bool) -> str:
    """Return the command line that makes the same."""
    parts = ["rnla reproduce", publication, "--seeds", ",".join(map(str, seeds))]
    parts += ["--only", ",".join(keys)] if keys else []
    return " ".join([*parts, *(["--quick"] if quick else [])])


def _findings(
    publication: Publication, folder: Path, seeds: tuple[int, ...], scale: float, keys: tuple[str, ...]
) -> list[Finding]:
    """Make the checks, with a live line of what is under way."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from rnla_neuro.reproduce.publications import reproduce
    from rnla_neuro.reproduce.runs import Workshop

    checks = publication.checks
    for key in keys:  # before the bar, which leaves an empty line behind
        if key not in checks:
            raise ConfigError(unknown("check", key, checks))
    total = len(keys or checks)
    words = TextColumn("{task.description:32.32}"), BarColumn(), TextColumn("{task.fields[claims]}")
    columns: tuple[Any, ...] = (*words, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=1.0, claims="")
        begun: list[str] = []

        def tell(what: str, part: float) -> None:
            if what in checks and part == 0.0 and what not in begun:
                begun.append(what)
            progress.update(bar, description=what, completed=part, claims=f"claim {len(begun)} of {total}")

        return reproduce(publication, Workshop(folder, seeds, scale, tell), keys)


__all__ = ["command"]
