"""`rnla animate`: trials of a run as a moving picture."""

from __future__ import annotations

from pathlib import Path

import click

from rnla_neuro.cli import values
from rnla_neuro.cli.help import Command, Option

EXAMPLES = (
    ("three trials of the trained network", "rnla animate runs/demo"),
    ("before it learned anything", "rnla animate runs/demo --at start --out before.gif"),
    ("a recording, as MP4 (needs the program ffmpeg)", "rnla animate before.npz --out before.mp4"),
)
ARGUMENTS = (("RUN", "a run folder, or a recording that 'rnla record' wrote (.npz)"),)


@click.command(
    "animate",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Draw trials step by step: input, hidden activity, action layer, and over time voltages, spikes and "
    "neuromodulators, as GIF or MP4.",
)
@click.argument("run")
@click.option(
    "--trials", cls=Option, type=values.Text("TRIALS", values.trials), default="3",
    help="of a run folder: a count (3), or which ones from that moment on (0,10)",
)  # fmt: skip
@click.option(
    "--at", cls=Option, metavar="MOMENT", default="end",
    help="of a run folder: end, start, or the number of decisions of a checkpoint",
)  # fmt: skip
@click.option(
    "--seed", cls=Option, type=values.Text("SEED", values.whole_from_zero("--seed", "1")),
    help="which seed; by default the first one",
)  # fmt: skip
@click.option(
    "--frames", cls=Option, type=values.Text("N", values.whole_above_zero("--frames", "60")),
    help="frames in all; by default one a step, and at most 240",
)  # fmt: skip
@click.option(
    "--fps", cls=Option, type=values.Text("N", values.whole_above_zero("--fps", "15")), default="15",
    help="frames a second",
)  # fmt: skip
@click.option(
    "--out", cls=Option, metavar="FILE",
    help="ends in .gif, or in .mp4 where ffmpeg is; by default RUN/animation.gif. An existing file is replaced",
)  # fmt: skip
def command(
    run: str,
    trials: int | tuple[int, ...],
    at: str,
    seed: int | None,
    frames: int | None,
    fps: int,
    out: str | None,
) -> None:
    """Animate."""
    from rnla_neuro.analysis.animation import animate, check_ending
    from rnla_neuro.recording import Recording, record_run

    source = Path(run)
    is_file = source.suffix == ".npz"
    usual = source.with_suffix(".gif") if is_file else source / "animation.gif"
    target = usual if out is None else check_ending(out)
    seeds = None if seed is None else (seed,)
    recording = Recording.load(source) if is_file else record_run(source, trials, at, seeds)
    animate(recording, target, seed=seed, fps=fps, frames=frames)
    click.echo(f"animation  {target}")
