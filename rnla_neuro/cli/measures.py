"""What a run came to, as a table: from its summary, or from its records if it has not finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnla_neuro.cli.screen import number
from rnla_neuro.results import Results

if TYPE_CHECKING:
    from rich.table import Table

MEASURES = (
    "test_error",
    "test_error_before",
    "test_accuracy",
    "evaluation_return",
    "reward",
    "iterations_to_threshold",
)


def measures_of(run: Results) -> dict[str, Any]:
    """Return the measures of a run, each with ``mean``, ``ci95`` and ``values``."""
    found = run.summary or run.learning()
    return {name: found[name] for name in MEASURES if name in found}


def about(run: Results) -> dict[str, Any]:
    """Return what a run was, for JSON."""
    config = run.config
    return {
        "folder": str(run.path),
        "status": run.status,
        "task": config.task,
        "model": config.model,
        "learner": config.learner,
        "backend": config.backend,
        "precision": config.precision,
        "core": config.core,
        "road": config.road,
        "seeds": list(config.seeds),
        "iterations": run.iterations,
        "iterations_asked": config.iterations,
        "hidden": list(config.hidden),
        "reward_delay": config.reward_delay,
        "freeze_hidden": config.freeze_hidden,
        **_chip(run),
        "overrides": dict(config.overrides),
        "sha256": run.sha256,
        **measures_of(run),
    }


def _chip(run: Results) -> dict[str, Any]:
    """Return what chip a run was on, and what it did; nothing for a run on none."""
    config = run.config
    if not config.hardware:
        return {}
    about = {"hardware": config.hardware, "chip_seed": list(config.chip_seed), "calibrated": config.calibrated}
    return about | {"chip_off": list(config.chip_off), "chip": run.summary.get("hardware")}


def headline(run: Results) -> str:
    """Say in one line what a run was."""
    config = run.config
    seeds = len(config.seeds)
    parts = [
        config.task,
        config.model,
        config.learner,
        f"{seeds} seed{'s' * (seeds > 1)} × {run.iterations:,} decisions",
    ]
    if config.reward_delay != "none":
        parts.append(f"reward delay {config.reward_delay}")
    if config.hardware:
        chips = ", ".join(map(str, config.chip_seed))
        made = "" if config.calibrated else ", uncalibrated"
        parts.append(f"{Path(config.hardware).stem}, chip{'s' * (len(config.chip_seed) > 1)} {chips}{made}")
    if config.freeze_hidden:
        parts.append("frozen hidden layer")
    if run.status != "finished":
        parts.append(run.status)
    return " · ".join(parts)


def words(name: str, run: Results) -> str:
    """Say what a measure is."""
    if name == "reward":
        tail = run.summary.get("reward_window", min(run.iterations, 1000))
        return f"reward, last {tail:,} decisions"
    if name == "iterations_to_threshold":
        return "decisions to a running hit rate of 80 %"
    known = {
        "test_accuracy": "test accuracy",
        "evaluation_return": "return of an episode, greedy",
        "test_error": "mean squared error, test signals",
        "test_error_before": "the same before learning",
    }
    return known[name]


def one_run(run: Results) -> Table:
    """Make the table of one run: a row a measure, with mean, interval and the range over seeds."""
    from rnla_neuro.cli.screen import table

    rows = []
    for name, found in measures_of(run).items():
        known = [value for value in found["values"] if value is not None]
        digits = 0 if name == "iterations_to_threshold" else 4
        spread = f"{number(min(known), digits)} – {number(max(known), digits)}" if known else "–"
        rows.append(
            [
                words(name, run),
                number(found["mean"], digits),
                interval(found, digits),
                spread,
                _missing(found),
            ]
        )
    columns = ["measure", "mean", "95 % interval", "lowest – highest", ""]
    return table(headline(run), columns, rows, numbers=4)


def many_runs(runs: Sequence[Results]) -> Table:
    """Make the table of several runs: a row a run."""
    from rnla_neuro.cli.screen import table

    found = [measures_of(run) for run in runs]
    names = [name for name in MEASURES if any(name in one for one in found)]
    headings = {
        "test_error": "squared error",
        "test_error_before": "before learning",
        "test_accuracy": "test accuracy",
        "evaluation_return": "return",
        "reward": "reward",
        "iterations_to_threshold": "decisions to 80 %",
    }
    rows = []
    for run, one in zip(runs, found, strict=True):
        config = run.config
        cells = [run.path.name, config.task, config.model, config.learner]
        cells += [run.status, str(len(config.seeds)), f"{run.iterations:,}"]
        cells += [_with_interval(one.get(name), 0 if name == "iterations_to_threshold" else 4) for name in names]
        rows.append(cells)
    columns = ["run", "task", "model", "learner", "status", "seeds", "decisions"]
    columns += [headings[name] for name in names]
    return table("", columns, rows, numbers=2 + len(names))


def interval(found: Mapping[str, Any], digits: int = 4) -> str:
    """Write the 95 % interval over seeds."""
    if found.get("ci95") is None:
        return "–"
    low, high = found["ci95"]
    return f"{number(low, digits)} – {number(high, digits)}"


def _with_interval(found: Mapping[str, Any] | None, digits: int) -> str:
    """Write mean ± half of the 95 % interval."""
    if found is None or found["mean"] is None:
        return "–"
    text = number(found["mean"], digits)
    if found.get("ci95") is not None:
        text += f" ± {number((found['ci95'][1] - found['ci95'][0]) / 2, digits)}"
    missing = _missing(found)
    return f"{text} ({missing})" if missing else text


def _missing(found: Mapping[str, Any]) -> str:
    """Say how many seeds have no value."""
    if not found.get("missing"):
        return ""
    return f"{found['missing']} of {len(found['values'])} never"
