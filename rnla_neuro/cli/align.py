"""`rnla align`: does self-nudging follow the policy gradient, at the moments whose weights a run has kept."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError

if TYPE_CHECKING:
    from rnla_neuro.analysis.alignment import AlignmentRow

EXAMPLES = (
    ("at all moments that the run has kept", "rnla align runs/demo"),
    ("at the start and at the end", "rnla align runs/demo --trials 0,20000"),
    (
        "the first two seeds, with more draws of the exploration",
        "rnla align runs/demo --seeds 1,2 --samples 64",
    ),
)
ARGUMENTS = (("RUN", "a run folder of learner r-nla; it may be under way or interrupted"),)


@click.command(
    "align",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Compute the cosine between the direction in which self-nudging learns and the exact policy "
    "gradient, for each layer and for all weights, with the baseline ⟨R⟩ and with V(x).\n\n"
    "Writes alignment.csv, .json, .png and .svg into the run folder; earlier ones are replaced.",
)
@click.argument("run")
@click.option(
    "--trials", cls=Option, type=values.Text("N,N,…", values.moments("--trials")),
    help="moments of training, among those whose weights the run has kept; by default all of them",
)  # fmt: skip
@click.option(
    "--seeds", cls=Option, type=values.Text("SEEDS", values.seeds),
    help="which seeds of the run: a list (1,4), a range (1-3); by default all of them",
)  # fmt: skip
@click.option(
    "--inputs", "n_inputs", cls=Option, type=values.Text("N", values.whole_above_zero("--inputs", "200")),
    default="200", help="how many of the task's inputs gradient and direction are averaged over",
)  # fmt: skip
@click.option(
    "--samples", cls=Option, type=values.Text("N", values.whole_above_zero("--samples", "8")), default="8",
    help="draws of the exploration an input, an even number from 4",
)  # fmt: skip
@click.option(
    "--method", cls=Option, metavar="NAME", default="auto",
    help="exact (a sum over winners, where the model allows it), sampled, or auto",
)  # fmt: skip
@shared.as_json()
def command(
    run: str,
    trials: tuple[int, ...] | None,
    seeds: tuple[int, ...] | None,
    n_inputs: int,
    samples: int,
    method: str,
    as_json: bool,
) -> None:
    """Align."""
    from rnla_neuro.cli import screen
    from rnla_neuro.cli.app import Stopped

    with screen.only_json_on_stdout(as_json):
        from rnla_neuro.analysis.plots import alignment_plot
        from rnla_neuro.analysis.run_alignment import agents_of, align_run, moments_of, summarise
        from rnla_neuro.results import Results

        results = Results.load(run)
        if results.config.learner != "r-nla":
            raise ConfigError(
                f"{run} was learned by {results.config.learner!r}: only r-nla has a self-nudging to compare"
            )
        moments = moments_of(results, trials)
        agents = agents_of(results, seeds)
        try:
            with _tracked(len(moments) * len(agents)) as tell:
                rows = align_run(
                    results, moments, agents, n_inputs, samples=samples, method=method, tell=tell
                )
        except KeyboardInterrupt as stop:
            raise Stopped("stopped: nothing was written") from stop
        config = results.config
        title = f"{config.task}, {config.model}, {len(agents)} seed{'s' * (len(agents) > 1)}"
        pictures = alignment_plot([row for _, row in rows], results.path / "alignment", title=title)
        report: dict[str, Any] = {
            "folder": str(results.path),
            "method": method,
            "inputs": n_inputs,
            "samples": samples,
        }
        report |= {"seeds": list(agents), "alignment": summarise(rows)}
        _write(results.path, rows, report)
    if as_json:
        screen.print_json(report | {"pictures": [str(path) for path in pictures]})
        return
    screen.console().print(_table(title, report["alignment"]))
    click.echo("\n" + "\n".join(f"picture  {path}" for path in pictures))
    click.echo(f"table    {results.path / 'alignment.csv'}")


def _tracked(total: int) -> AbstractContextManager[Callable[[], None]]:
    """Return a context that gives a function to call after each piece of work; a bar on a terminal."""
    if not sys.stderr.isatty():
        return nullcontext(lambda: None)

    @contextmanager
    def bar() -> Iterator[Callable[[], None]]:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(file=sys.stderr), transient=True) as progress:
            task = progress.add_task("comparing", total=total)
            yield lambda: progress.advance(task)

    return bar()


def _write(folder: Path, rows: list[tuple[int, AlignmentRow]], report: dict[str, Any]) -> None:
    """Write alignment.csv (a row a seed, moment, layer, baseline) and alignment.json (means over seeds)."""
    from rnla_neuro.records import whole_or_nothing

    text = io.StringIO()
    lines = [{"seed": seed, **asdict(row)} for seed, row in rows]
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    contents = {
        "alignment.csv": text.getvalue(),
        "alignment.json": json.dumps(report, indent=2, allow_nan=False) + "\n",
    }
    for name, content in contents.items():
        with whole_or_nothing(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _table(title: str, summary: list[dict[str, Any]]) -> Any:
    """Make the table: a row a moment and layer, the two baselines side by side."""
    from rnla_neuro.cli.measures import interval
    from rnla_neuro.cli.screen import number, table

    by_place: dict[tuple[int, str], dict[str, dict[str, Any]]] = {}
    for one in summary:
        cosine = one["cosine"]
        if cosine["ci95"] is None and cosine["mean"] is not None:  # one seed: the interval of its sampling
            half = 1.96 * one["standard_error"]["mean"]
            cosine = {"mean": cosine["mean"], "ci95": [cosine["mean"] - half, cosine["mean"] + half]}
        by_place.setdefault((one["trial"], one["layer"]), {})[one["baseline"]] = cosine
    rows = [
        [f"{trial:,}", layer]
        + [
            text
            for name in ("mean", "value")
            for text in (number(found[name]["mean"]), interval(found[name]))
        ]
        for (trial, layer), found in by_place.items()
    ]
    columns = ["decisions", "layer", "cosine, ⟨R⟩", "95 % interval", "cosine, V(x)", "95 % interval"]
    return table(f"cosine with the policy gradient: {title}", columns, rows, numbers=4)
