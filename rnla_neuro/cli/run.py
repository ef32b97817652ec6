"""`rnla run`: learn a task and keep what came of it in a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError

if TYPE_CHECKING:
    from rnla_neuro.experiment import RunRequest
    from rnla_neuro.results import Results

EXAMPLES = (
    ("handwritten digits, from reward alone", "rnla run digits"),
    ("ten seeds side by side, a shorter run", "rnla run digits --seeds 10 --iterations 20000"),
    (
        "rewards that come after a random delay, trials of 50 ms",
        "rnla run digits --reward-delay gamma:2,0.5T --set T=50ms",
    ),
    ("two hidden layers, another learning rate", "rnla run bars --hidden 30,20 --set eta=0.04"),
    ("your own model file", "rnla run xor --model ./mine.toml"),
    ("any Gymnasium environment, or a table of features and labels", "rnla run data.csv"),
    ("the same network with REINFORCE, to compare", "rnla run digits --learner reinforce --seeds 10"),
    ("for scripts: one JSON object on standard output", "rnla run xor --json"),
)
ARGUMENTS = (shared.TASK,)
WHAT, LEARNING, CHIP, OUTPUT = "Network and learning rule", "Learning", "Emulated chip", "Output"


@click.command(
    "run",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Learn TASK and keep configuration, records, weights, summary and pictures in a new run folder.",
)
@click.argument("task")
@click.option(
    "--model", cls=Option, group=WHAT, metavar="NAME|FILE", default="auto",
    help="a name of 'rnla list models', or the path of a model file; auto: what fits the task",
)  # fmt: skip
@click.option(
    "--learner", cls=Option, group=WHAT, metavar="NAME", default="r-nla",
    help="r-nla, node-perturbation, supervised, or a baseline on the same network: reinforce, backprop",
)  # fmt: skip
@shared.hidden(group=WHAT)
@click.option(
    "--input", cls=Option, group=WHAT, metavar="CODE", default="",
    help="how input values are sent: analog, poisson, regular, latency, or a population code, alone or with "
    "one of them, such as population:8,poisson; by default as the model says",
)  # fmt: skip
@click.option(
    "--set", "settings", cls=Option, group=WHAT, metavar="NAME=VALUE", multiple=True,
    help="change a parameter of the model, such as eta=0.05 or T=50ms (can be repeated)",
)  # fmt: skip
@click.option(
    "--freeze-hidden", cls=Option, group=WHAT, is_flag=True,
    help="only the action layer learns: the floor that deep learning must beat",
)  # fmt: skip
@click.option(
    "--seeds", cls=Option, group=LEARNING, type=values.Text("SEEDS", values.seeds), default="1",
    help="a count (10), a range (901-905) or a list (3,7,20-25); they learn side by side",
)  # fmt: skip
@shared.iterations(group=LEARNING)
@click.option(
    "--reward-delay", cls=Option, group=LEARNING, metavar="LAW", default="none",
    help="none, iterations:K, gamma:SHAPE,SCALE or fixed:TIME, such as iterations:1, gamma:2,15ms",
)  # fmt: skip
@shared.evaluation_episodes(group=LEARNING)
@click.option(
    "--checkpoints", cls=Option, group=LEARNING, default=None,
    type=values.Text("N,N,…", values.moments("--checkpoints")),
    help="trials after which the weights are kept for 'rnla align'; by default 0, 1, 3, 10, 30 and 100 %",
)  # fmt: skip
@click.option(
    "--backend", cls=Option, group="Engine", metavar="NAME", default="equilibrium",
    help="a name of 'rnla list backends'",
)  # fmt: skip
@shared.precision(group="Engine")
@click.option(
    "--core", cls=Option, group="Engine", metavar="NAME", default="auto",
    help="what computes: auto; with equilibrium native (C++ made from the model) or numpy; with brian2 "
    "cython or numpy",
)  # fmt: skip
@click.option(
    "--road", cls=Option, group="Engine", metavar="NAME", default="auto",
    help="with Brian2 backends: fused (one kernel a step), plain (Brian2's own Synapses), or auto: fused "
    "where the model allows it",
)  # fmt: skip
@shared.chip(group=CHIP)
@click.option(
    "--out", cls=Option, group=OUTPUT, metavar="FOLDER",
    help="the run folder, a new one; by default runs/TASK-MODEL-LEARNER-TIME",
)  # fmt: skip
@shared.only_json(group=OUTPUT)
@click.option(
    "--quiet", cls=Option, group=OUTPUT, is_flag=True,
    help="no progress and no table: only the run folder's path (with --json, the object)",
)  # fmt: skip
@click.option(
    "--tensorboard", cls=Option, group=OUTPUT, is_flag=True,
    help="also write scalars for TensorBoard into the run folder (extra 'tensorboard')",
)  # fmt: skip
def command(
    task: str,
    settings: tuple[str, ...],
    out: str | None,
    as_json: bool,
    quiet: bool,
    tensorboard: bool,
    **options: Any,
) -> None:
    """Run."""
    overrides = values.assignments(settings)
    _refuse_engine_of_baseline(options["learner"])
    home = Path.cwd()  # an environment may leave it
    if out is not None:
        values.new_folder(Path(out))
    if tensorboard:
        _require_tensorboard()
    from rnla_neuro.cli.screen import only_json_on_stdout

    with only_json_on_stdout(as_json or quiet):
        from rnla_neuro.experiment import RunRequest

        request = RunRequest(task=task, overrides=overrides, **options)
        results = _run(request, None if out is None else Path(out), quiet=quiet)
        if tensorboard:
            from rnla_neuro.analysis.tensorboard import export

            export(results, results.path / "tensorboard")
    shown = Path(out) if out is not None else results.path.relative_to(home)
    _tell(replace(results, path=shown), as_json=as_json, quiet=quiet, tensorboard=tensorboard)


def _run(request: RunRequest, out: Path | None, *, quiet: bool) -> Results:
    """Run with progress; a signal ends it with what the user should know."""
    from rnla_neuro.cli.app import Stopped
    from rnla_neuro.cli.progress import watch
    from rnla_neuro.experiment import run

    made: list[Path] = []
    try:
        with watch(str(request.task), len(request.seeds), quiet=quiet) as progress:
            return run(request, out, on_start=made.append, on_progress=progress)
    except KeyboardInterrupt as stop:
        raise Stopped(_what_is_left(made)) from stop


def _what_is_left(made: list[Path]) -> str:
    """Say what there is of a run that was stopped."""
    folder = made[0] if made else None
    if folder is None or not (folder / "config.toml").is_file():
        return "stopped before anything was recorded: there is no run folder"
    from rnla_neuro.results import Results

    iterations = Results.load(folder).iterations
    return (
        f"stopped after {iterations:,} decisions: what was recorded is in {folder} and can be read (rnla show {folder})"
    )


def _tell(results: Results, *, as_json: bool, quiet: bool, tensorboard: bool) -> None:
    """Print what came of the run, and where it is."""
    from rnla_neuro.cli import measures, screen

    folder = results.path
    picture = folder / "learning_curve.png"
    logs = folder / "tensorboard"
    if as_json:
        places = {"picture": str(picture)} | ({"tensorboard": str(logs)} if tensorboard else {})
        screen.print_json(measures.about(results) | places)
    elif quiet:
        click.echo(str(folder))
    else:
        screen.console().print(measures.one_run(results))
        click.echo(f"\npicture     {picture}\nrun folder  {folder}")
        if tensorboard:
            click.echo(f"scalars     tensorboard --logdir {logs}")


def _refuse_engine_of_baseline(learner: str) -> None:
    """Refuse options that a baseline would ignore."""
    from rnla_neuro.learners import LEARNERS

    given = click.get_current_context().get_parameter_source
    for option in ("backend", "core", "road"):
        if learner in LEARNERS and given(option) is click.core.ParameterSource.COMMANDLINE:
            raise ConfigError(
                f"--{option}: learner {learner!r} is no neural model and runs on no backend; leave it out"
            )


def _require_tensorboard() -> None:
    """Refuse before the run, not after it."""
    from importlib.util import find_spec

    from rnla_neuro.errors import MissingExtraError

    if find_spec("tensorboardX") is None:
        raise MissingExtraError("--tensorboard needs a package more: pip install 'rnla_neuro[tensorboard]'")
