"""`rnla show`: the table of one or several runs, and a picture of their learning curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnla_neuro.cli import shared
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError

if TYPE_CHECKING:
    from rnla_neuro.results import Results

EXAMPLES = (
    ("the table of a run, its picture drawn again", "rnla show runs/demo"),
    ("several runs in one table and one picture", "rnla show runs/rnla runs/reinforce --out compared.png"),
    ("a run that is still under way, or was stopped", "rnla show runs/long"),
)
ARGUMENTS = (("RUN...", "run folders; they may be under way, interrupted or failed"),)


@click.command(
    "show",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Print what runs came to, and draw their learning curves (mean and 95 % band over seeds) as PNG and "
    "SVG: into the run folder of a single run, or comparison.png and .svg here for several.",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out", cls=Option, metavar="FILE",
    help="where to draw, such as compared.png (the .svg stands beside it); an existing picture is replaced",
)  # fmt: skip
@shared.as_json()
def command(runs: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Show."""
    stem = None if out is None else _stem(out)
    from rnla_neuro.cli import measures, screen
    from rnla_neuro.results import Results

    with screen.only_json_on_stdout(as_json):
        loaded = [Results.load(run) for run in runs]
        drawable = [run for run in loaded if run.iterations]
        pictures: tuple[Path, ...] = ()
        if drawable:
            from rnla_neuro.analysis.plots import learning_curve

            pictures = learning_curve(drawable, stem or _default_stem(loaded))
    for run in loaded:
        if not run.iterations:
            click.echo(f"{run.path}: nothing recorded yet ({run.status})", err=True)
        elif run.message:
            click.echo(f"{run.path}: {run.status}: {run.message}", err=True)
    if as_json:
        about = [measures.about(run) for run in loaded]
        screen.print_json({"runs": about, "pictures": [str(path) for path in pictures]})
        return
    screen.console().print(measures.one_run(loaded[0]) if len(loaded) == 1 else measures.many_runs(loaded))
    for path in pictures:
        click.echo(f"picture  {path}")


def _stem(out: str) -> Path:
    """Return the path without its ending."""
    path = Path(out)
    if path.suffix not in ("", ".png", ".svg"):
        raise ConfigError(f"--out {out}: pictures are PNG and SVG; give a name such as {path.stem}.png")
    if path.is_dir():
        raise ConfigError(
            f"--out {out} is a folder; give the name of a picture, such as {path / 'compared.png'}"
        )
    if not path.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {path.parent}")
    return path.with_suffix("") if path.suffix else path


def _default_stem(runs: list[Results]) -> Path:
    """Return the run's own picture, or a new name here for several runs."""
    if len(runs) == 1:
        return runs[0].path / "learning_curve"
    stem, n = Path("comparison"), 1
    while any(stem.with_name(f"{stem.name}{ending}").exists() for ending in (".png", ".svg")):
        n += 1
        stem = Path(f"comparison-{n}")
    return stem
