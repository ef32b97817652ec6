"""`rnla align`: does self-nudging follow the policy gradient, at the moments whose weights a run has kept."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.cli import values
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError, RunFolderError

if TYPE_CHECKING:
    from rnla_neuro.analysis.alignment import AlignmentRow
    from rnla_neuro.results import Results
    from rnla_neuro.simulation import FloatArray

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
@click.option("--json", "as_json", cls=Option, is_flag=True, help="one JSON object on standard output")
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
        from rnla_neuro.results import Results

        results = Results.load(run)
        if results.config.learner != "r-nla":
            raise ConfigError(
                f"{run} was learned by {results.config.learner!r}: only r-nla has a self-nudging to compare"
            )
        moments = _moments(results, trials)
        agents = _agents(results, seeds)
        try:
            rows = _rows(results, moments, agents, n_inputs, samples=samples, method=method)
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
        report |= {"seeds": list(agents), "alignment": _summary(rows)}
        _write(results.path, rows, report)
    if as_json:
        screen.print_json(report | {"pictures": [str(path) for path in pictures]})
        return
    screen.console().print(_table(title, report["alignment"]))
    click.echo("\n" + "\n".join(f"picture  {path}" for path in pictures))
    click.echo(f"table    {results.path / 'alignment.csv'}")


def _moments(results: Results, trials: tuple[int, ...] | None) -> dict[int, Path]:
    """Return the weights to look at by moment.

    Raises:
        RunFolderError: The run has kept no weights.
        ConfigError: None were kept at a moment that was asked for.
    """
    kept = {
        int(match[1]): path
        for path in (results.path / "checkpoints").glob("weights-*.npz")
        if (match := re.fullmatch(r"weights-(\d+)\.npz", path.name))
    }
    if not kept:
        raise RunFolderError(f"{results.path} has kept no weights (checkpoints/weights-N.npz)")
    for trial in trials or ():
        if trial not in kept:
            known = ", ".join(map(str, sorted(kept)))
            raise ConfigError(f"--trials {trial}: {results.path} has kept no weights there; it has {known}")
    return {trial: kept[trial] for trial in sorted(trials or kept)}


def _agents(results: Results, seeds: tuple[int, ...] | None) -> dict[int, int]:
    """Return the place of each seed that was asked for."""
    places = {seed: place for place, seed in enumerate(results.config.seeds)}
    for seed in seeds or ():
        if seed not in places:
            known = ", ".join(map(str, places))
            raise ConfigError(f"--seeds: the run has no seed {seed}; it has {known}")
    return {seed: places[seed] for seed in seeds or places}


def _rows(
    results: Results,
    moments: dict[int, Path],
    agents: dict[int, int],
    n_inputs: int,
    *,
    samples: int,
    method: str,
) -> list[tuple[int, AlignmentRow]]:
    """Compare at each moment, for each seed."""
    from rnla_neuro.analysis.alignment import align

    form, inputs, rewards = _problem(results, n_inputs)
    rows: list[tuple[int, AlignmentRow]] = []
    jobs = [(trial, path, seed, agent) for trial, path in moments.items() for seed, agent in agents.items()]
    with _tracked(len(jobs)) as advance:
        for trial, path, seed, agent in jobs:
            weights, mean_reward = _load(path, agent)
            found = align(
                form,
                weights,
                inputs,
                rewards,
                mean_reward,
                trial=trial,
                samples=samples,
                seed=seed,
                method=method,
            )
            rows += [(seed, row) for row in found]
            advance()
    return rows


def _problem(results: Results, n_inputs: int) -> tuple[Any, FloatArray, FloatArray]:
    """Return the model's form, inputs (N, n_in), and the reward of each action (N, n_out).

    The inputs are up to `n_inputs` of those that were learned, always the same ones.
    """
    import numpy as np

    from rnla_neuro.analysis.alignment import label_rewards
    from rnla_neuro.spec.derive import derive_form
    from rnla_neuro.spec.loader import parse_model
    from rnla_neuro.tasks.catalogue import get

    config = results.config
    model = parse_model(config.model_text, results.path / "model.toml", dict(config.overrides))
    task = get(config.task)
    _same_table(task.kwargs.get("path"), config.data_sha256)
    source = task.source()
    inputs, labels = source.dataset("train")
    some = np.sort(np.random.default_rng(0).permutation(len(inputs))[:n_inputs])
    inputs, labels = inputs[some], labels[some]
    return derive_form(model), inputs, label_rewards(labels, source.n_classes, source.hit, source.miss)


def _same_table(path: str | None, sha256: str) -> None:
    """Refuse a table that is not the one of the run any more."""
    if path is None:
        return
    import hashlib

    if hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha256:
        raise RunFolderError(f"{path} has changed since the run: its data are not those that were learned")


def _load(path: Path, agent: int) -> tuple[list[FloatArray], float]:
    """Return one agent's weights, and the model's mean reward."""
    import numpy as np

    try:
        # opened here: np.load leaves the file of a damaged archive open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = sorted(
                (n for n in archive.files if n.startswith("projection")), key=lambda n: int(n[10:])
            )
            weights = [archive[name][agent] for name in names]
            mean = float(archive["R_mean"][agent])
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(f"the weights {path} are corrupted or incomplete: {error}") from error
    return weights, mean


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


def _summary(rows: list[tuple[int, AlignmentRow]]) -> list[dict[str, Any]]:
    """Average over seeds: a row a moment, layer and baseline."""
    from rnla_neuro.analysis.statistics import summary

    groups: dict[tuple[int, str, str], list[AlignmentRow]] = {}
    for _, row in rows:
        groups.setdefault((row.trial, row.layer, row.baseline), []).append(row)
    return [
        {
            "trial": trial,
            "layer": layer,
            "baseline": baseline,
            "cosine": summary(row.cosine for row in group),
            "standard_error": summary(row.standard_error for row in group),
            "norm_ratio": summary(row.norm_ratio for row in group),
        }
        for (trial, layer, baseline), group in groups.items()
    ]


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
