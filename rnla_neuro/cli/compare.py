"""`rnla compare`: several models on one task, with several reward delays, side by side."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option

if TYPE_CHECKING:
    from rnla_neuro.comparing.folder import Written
    from rnla_neuro.comparing.plan import Planned

EXAMPLES = (
    ("rates against REINFORCE on handwritten digits", "rnla compare digits --models rate_nla,reinforce"),
    (
        "with rewards at once, one trial late, and after a random delay",
        "rnla compare digits --models rate_nla,rate_nla_policy --reward-delays none,iterations:1,gamma:2,15ms",
    ),
    (
        "an engine for each model, ten seeds, four runs at a time",
        "rnla compare xor --models rate_nla,./mine.toml --backends equilibrium,brian2 --seeds 10 --jobs 4",
    ),
    ("go on with a comparison that was stopped", "rnla compare digits --models rate_nla,reinforce --out DIR"),
)
ARGUMENTS = (shared.TASK,)
WHAT, LEARNING, ENGINE, CHIP, OUTPUT = "What is compared", "Learning", "Engine", "Emulated chip", "Output"


@click.command(
    "compare",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Run every model with every reward delay, the same seeds for all, and write what came of it: measures with "
    "95 % bootstrap intervals and paired tests, CSV tables, figures as PNG and SVG, and report.html.\n\n"
    "Runs that are finished in the folder are used; Ctrl-C loses none of them, and the same command goes on.",
)
@click.argument("task")
@click.option(
    "--models", cls=Option, group=WHAT, metavar="A,B,…", required=True,
    help="names of 'rnla list models', paths of model files, or learners (reinforce, backprop, node-perturbation)",
)  # fmt: skip
@click.option(
    "--backends", cls=Option, group=WHAT, metavar="A,B,…", default="auto",
    help="one for all models, or one for each; auto: equilibrium for rate models of the proven form, else brian2",
)  # fmt: skip
@click.option(
    "--reward-delays", cls=Option, group=WHAT, metavar="LAW,LAW,…", default="none",
    help="as in 'rnla run': none, iterations:K, gamma:SHAPE,SCALE, fixed:TIME; a model with a late variant uses it",
)  # fmt: skip
@click.option(
    "--input", cls=Option, group=WHAT, metavar="CODE", default="",
    help="how input values are sent, for all models, as in 'rnla run'; by default as each model says",
)  # fmt: skip
@click.option(
    "--set", "settings", cls=Option, group=WHAT, metavar="NAME=VALUE", multiple=True,
    help="change a parameter of all models, such as T=50ms (can be repeated)",
)  # fmt: skip
@shared.hidden(group=WHAT)
@click.option(
    "--seeds", cls=Option, group=LEARNING, type=values.Text("SEEDS", values.seeds), default="5",
    help="a count (10), a range (901-905) or a list (3,7,20-25); the same for all models",
)  # fmt: skip
@shared.iterations(group=LEARNING)
@shared.evaluation_episodes(group=LEARNING)
@shared.precision(group=ENGINE)
@click.option(
    "--jobs", cls=Option, group=ENGINE, type=values.Text("N", values.whole_above_zero("--jobs", "4")),
    help="runs at the same time; by default one a core",
)  # fmt: skip
@shared.chip(group=CHIP)
@click.option(
    "--out", cls=Option, group=OUTPUT, metavar="FOLDER",
    help="the comparison's folder, a new one or one to go on with; by default comparisons/TASK",
)  # fmt: skip
@click.option(
    "--html/--no-html", "html", cls=Option, group=OUTPUT, default=None,
    help="write report.html (extra 'report'), or leave it out; by default if its packages are installed",
)  # fmt: skip
@click.option("--title", cls=Option, group=OUTPUT, metavar="TEXT", default="", help="of report and tables")
@shared.only_json(group=OUTPUT)
@click.option(
    "--quiet", cls=Option, group=OUTPUT, is_flag=True, help="no progress and no table: only the folder's path"
)
def command(
    task: str,
    models: str,
    backends: str,
    reward_delays: str,
    settings: tuple[str, ...],
    out: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Compare."""
    overrides = values.assignments(settings)
    from rnla_neuro.cli import screen
    from rnla_neuro.comparing import folder as folders
    from rnla_neuro.comparing.plan import plan, read_delays, read_names

    folder = Path(out) if out is not None else Path("comparisons") / Path(task).stem.replace(":", "-")
    jobs, html, title = (options.pop(name) for name in ("jobs", "html", "title"))
    with screen.only_json_on_stdout(as_json or quiet):
        delays, names = read_delays(reward_delays), read_names("--models", models)
        engines = read_names("--backends", backends)
        if html:
            folders.check_report()
        folders.check_folder(folder, task)
        planned = plan(task, names, backends=engines, delays=delays, overrides=overrides, **options)
        written = _run(planned, folder, quiet=quiet, workers=jobs, html=html, title=title)
    _tell(written, folder, as_json=as_json, quiet=quiet)


def _run(planned: tuple[Planned, ...], folder: Path, *, quiet: bool, **options: Any) -> Written:
    """Compare with progress; a signal ends it with what the user should know."""
    from rnla_neuro.cli.app import Stopped
    from rnla_neuro.cli.compare_progress import watch
    from rnla_neuro.comparing.folder import run_comparison

    line = shlex.join(["rnla", *sys.argv[1:]]) if len(sys.argv) > 1 and sys.argv[1] == "compare" else ""
    try:
        with watch(quiet=quiet) as report:
            return run_comparison(planned, folder, report=report, command=line, **options)
    except KeyboardInterrupt as stop:
        raise Stopped(
            f"stopped: the runs that are finished are kept in {folder}, and the same command goes on from there"
        ) from stop


def _tell(written: Written, folder: Path, *, as_json: bool, quiet: bool) -> None:
    """Print what came of the comparison, and where it is; failures are an error at the end."""
    from rnla_neuro.cli import compare_table, screen
    from rnla_neuro.errors import RnlaError

    made = written.comparison
    if as_json:
        screen.print_json(compare_table.about(written, folder))
    elif quiet:
        click.echo(str(folder))
    else:
        screen.console().print(compare_table.measures(made))
        tests = compare_table.tests(made)
        if tests is not None:
            screen.console().print(tests)
        for note in compare_table.notes(made):
            click.echo(note)
        click.echo(f"\ndata     {written.json}\ntables   {folder / 'tables'}\nfigures  {folder / 'figures'}")
        click.echo(f"report   {written.report or 'not written: ' + (written.no_report or '--no-html')}")
    if made.failures:
        each = "; ".join(f"{f.model} with reward delay {f.delay}: {f.reason}" for f in made.failures)
        raise RnlaError(f"{len(made.failures)} of {len(made.failures) + len(made.cells)} cells are missing: {each}")
