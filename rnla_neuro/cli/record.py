"""`rnla record`: what the neurons of a run do in chosen trials, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option

if TYPE_CHECKING:
    from rnla_neuro.recording import Recording

EXAMPLES = (
    ("five trials of the trained network", "rnla record runs/demo"),
    ("three trials before it learned anything", "rnla record runs/demo --trials 3 --at start --out before.npz"),
    ("for Neo and Elephant: NIX or NWB (extra 'neo')", "rnla record runs/demo --out demo.nix"),
    ("step by step with Brian2, two seeds", "rnla record runs/demo --backend brian2 --seeds 1,2"),
)
ARGUMENTS = (("RUN", "a run folder; of a learner with a course in time, not of a baseline"),)


@click.command(
    "record",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Take up a run at a moment of its learning and record voltages, rates, errors, noise, spikes (if the model "
    "has them), gate and neuromodulators of some trials into one file, with units and names of the axes.\n\n"
    "The network goes on learning meanwhile, with fresh exploration; from --at start the trials are those of the run.",
)
@click.argument("run")
@click.option(
    "--trials", cls=Option, type=values.Text("TRIALS", values.trials), default="5",
    help="a count (5), or which ones from that moment on (0,10,20; '3,' is trial 3 alone)",
)  # fmt: skip
@click.option(
    "--at", cls=Option, metavar="MOMENT", default="end",
    help="when in learning: end, start, or the number of decisions of a checkpoint",
)  # fmt: skip
@click.option(
    "--seeds", cls=Option, type=values.Text("SEEDS", values.seeds),
    help="which seeds of the run: a list (1,4), a range (1-3); by default its first one",
)  # fmt: skip
@click.option("--backend", cls=Option, metavar="NAME", help="another backend than that of the run")
@click.option(
    "--out", cls=Option, metavar="FILE",
    help="ends in .npz, or with the extra 'neo' in .nix or .nwb; by default RUN/recording.npz. "
    "An existing file is replaced",
)  # fmt: skip
@shared.as_json()
def command(
    run: str,
    trials: int | tuple[int, ...],
    at: str,
    seeds: tuple[int, ...] | None,
    backend: str | None,
    out: str | None,
    as_json: bool,
) -> None:
    """Record."""
    from rnla_neuro.cli import screen

    with screen.only_json_on_stdout(as_json):
        from rnla_neuro.backend import get_backend
        from rnla_neuro.recording import check_ending, record_run

        if backend is not None:
            get_backend(backend)  # a wrong name is told at once
        target = Path(run) / "recording.npz" if out is None else check_ending(out)
        recording = record_run(run, trials, at, seeds, backend)
        recording.save(target)
    if as_json:
        screen.print_json(_about(recording) | {"file": str(target)})
        return
    screen.console().print(_table(recording))
    click.echo(f"\nrecording  {target}")


def _about(recording: Recording) -> dict[str, Any]:
    """Say what was recorded."""
    trials = [
        {
            "number": trial.number,
            "action": trial.action.tolist(),
            "label": None if trial.label is None else trial.label.tolist(),
            "reward": trial.reward.tolist(),
            "spikes": None if trial.spikes is None else int(trial.spikes.sum()),
        }
        for trial in recording.trials
    ]
    names = ("task", "model", "backend", "at", "seeds", "sizes", "dt")
    about = {name: getattr(recording, name) for name in names}
    return about | {"signals": sorted(recording.signals), "trials": trials}


def _table(recording: Recording) -> Any:
    """Make the table: a row a trial and seed."""
    from rnla_neuro.cli.screen import table

    rows = []
    for trial in recording.trials:
        for a, seed in enumerate(recording.seeds):
            label = "–" if trial.label is None else str(trial.label[a])
            spikes = [] if trial.spikes is None else [f"{int(trial.spikes[a].sum()):,}"]
            outcome = [str(trial.action[a]), label, f"{trial.reward[a]:g}"]
            rows.append([f"{trial.number:,}", str(seed), *outcome, str(len(trial.time)), *spikes])
    columns = ["trial", "seed", "action", "right", "reward", "steps"]
    columns += ["spikes"] if recording.trials[0].spikes is not None else []
    title = f"{recording.task}, {recording.model}, at {recording.at}, by {recording.backend}"
    return table(title, columns, rows, numbers=len(columns) - 1)
