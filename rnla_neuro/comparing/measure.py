"""From finished runs to a comparison: measures, curves, confusion, weights, energy, tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rnla_neuro.analysis.comparison import (
    Alignment,
    Cell,
    ComparedModel,
    Comparison,
    Curve,
    Energy,
    Failure,
    Measured,
    MeasureSpec,
    Weights,
)
from rnla_neuro.analysis.statistics import mean_and_band, running_mean
from rnla_neuro.comparing.conversions import converted
from rnla_neuro.comparing.energy import Platform
from rnla_neuro.comparing.inference import measured, paired_tests
from rnla_neuro.comparing.inside import look_inside, raster_of
from rnla_neuro.comparing.plan import Planned
from rnla_neuro.results import THRESHOLD, WINDOW, Results
from rnla_neuro.run_config import versions_in_use
from rnla_neuro.tasks import catalogue

MEASURES: Final = (
    MeasureSpec(
        "test_accuracy",
        "test accuracy",
        "",
        "higher",
        "Share of right greedy decisions on the test set, after learning.",
    ),
    MeasureSpec(
        "evaluation_return",
        "return",
        "",
        "higher",
        "Mean return of greedy episodes after learning, without exploration.",
    ),
    MeasureSpec("reward", "reward", "", "higher", "Mean reward of the last 1,000 decisions of learning."),
    MeasureSpec(
        "iterations_to_threshold",
        f"decisions to {THRESHOLD:.0%}",
        "decisions",
        "lower",
        f"Decisions until {THRESHOLD * WINDOW:.0f} of the last {WINDOW} were right; seeds that never got there are "
        "left out of mean and test.",
    ),
    MeasureSpec(
        "area_under_curve",
        "area under the curve",
        "",
        "higher",
        "Mean over all decisions of learning: hit rate, or reward where right decisions are not known.",
    ),
    MeasureSpec(
        "spikes_per_decision",
        "spikes a decision",
        "spikes",
        "lower",
        "Spikes of all neurons in a trial, mean over learning.",
    ),
    MeasureSpec(
        "synaptic_operations_per_decision",
        "synaptic operations a decision",
        "operations",
        "lower",
        "Spikes times their targets; for rates, weights times steps (multiply-accumulates); learning left out.",
    ),
    MeasureSpec(
        "wall_time_per_decision",
        "wall time a decision",
        "s",
        "lower",
        "Seconds of learning on this machine over decisions of all seeds, which run side by side; other runs may have "
        "kept the other cores busy.",
    ),
    MeasureSpec(
        "biological_time_per_decision", "biological time a decision", "s", "none", "Duration of a trial in the model."
    ),
)
TESTED: Final = (
    *("test_accuracy", "evaluation_return", "reward", "iterations_to_threshold", "area_under_curve"),
    "spikes_per_decision",
)
_CHANGED: Final = (
    "its run is not the one that was planned, since the model file or a package has changed meanwhile; the same "
    "command runs it"
)
_POINTS: Final = 120  # of a curve
_MOST_WEIGHTS: Final = 20_000

Places = dict[int, tuple[Results, int]]


def compare(
    title: str,
    plan: Sequence[Planned],
    places: Sequence[Places],
    platforms: Sequence[Platform],
    failures: dict[str, str],
    command: str = "",
) -> Comparison:
    """Put a comparison together.

    Args:
        title: Of the comparison.
        plan: The cells.
        places: For each cell, run and place of every seed; cells that lack one are left out.
        platforms: For the energy estimates.
        failures: Words of the cells that failed, and why.
        command: The command line, for the record.
    """
    whole = [(p, there) for p, there in zip(plan, places, strict=True) if set(there) >= set(p.request.seeds)]
    cells = tuple(_cell(planned, there, platforms) for planned, there in whole)
    present = {key for cell in cells for key in cell.measures}
    models: dict[str, ComparedModel] = {}
    for p in plan:  # the first delay has the model that was named, others may have its late variant
        models.setdefault(p.model, ComparedModel(p.model, p.kind, p.summary, p.backend))
    first = plan[0]
    words = {p.words: p for p in plan}
    there = {planned.words for planned, _ in whole}
    lost = {w: failures.get(w, _CHANGED) for w in words if w not in there}
    return Comparison(
        title=title,
        task=first.config.task,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions_in_use(),
        models=tuple(models.values()),
        delays=tuple(dict.fromkeys(p.delay for p in plan)),
        seeds=first.request.seeds,
        iterations=first.config.iterations,
        measures=tuple(spec for spec in MEASURES if spec.key in present),
        cells=cells,
        tests=paired_tests(cells, [key for key in TESTED if key in present]),
        chance=catalogue.get(first.config.task).chance,
        command=command,
        failures=tuple(Failure(words[w].model, words[w].delay, why) for w, why in lost.items() if w in words),
    )


def _cell(planned: Planned, there: Places, platforms: Sequence[Platform]) -> Cell:
    """Measure one cell."""
    seeds = planned.request.seeds
    runs = [there[seed] for seed in seeds]
    measures = _measures(planned, runs)
    first, place = runs[0]
    inside = look_inside(first)
    return Cell(
        model=planned.model,
        backend=planned.backend,
        delay=planned.delay,
        measures=measures,
        curve=_curve(runs),
        confusion=_confusion(runs),
        raster=raster_of(inside),
        alignment=_alignment(runs),
        weights=_weights(first, place),
        energy=_energy(planned, measures, platforms),
        ran=planned.config.model,
        run=f"runs/{first.path.name}",
        converted=converted(runs),
    )


def _measures(planned: Planned, runs: Sequence[tuple[Results, int]]) -> dict[str, Measured]:
    """Return the measures that apply."""
    found = {}
    for key in (s.key for s in MEASURES):
        if all(key in results.summary for results, _ in runs):
            found[key] = measured(results.summary[key]["values"][place] for results, place in runs)
    learned = _learned(runs)[1]
    found["area_under_curve"] = measured(float(np.nanmean(line)) for line in learned)
    found["wall_time_per_decision"] = measured(results.summary["wall_time"]["per_decision"] for results, _ in runs)
    if planned.kind != "baseline":
        found["biological_time_per_decision"] = measured([planned.network.model.trial.duration] * len(runs))
    return found


def _learned(runs: Sequence[tuple[Results, int]]) -> tuple[str, NDArray[np.float64]]:
    """Return what shows learning, and its values, (n_seeds, iterations)."""
    columns = runs[0][0].columns
    name, words = ("correct", "hit rate") if "correct" in columns else ("reward", "reward")
    if "episode_return" in columns and np.isnan(runs[0][0].array("episode_return")).any():
        name, words = "episode_return", "return"  # episodes of several steps
    arrays = {id(results): results.array(name) for results, _ in runs}
    return words, np.stack([np.asarray(arrays[id(results)][place], dtype=np.float64) for results, place in runs])


def _curve(runs: Sequence[tuple[Results, int]]) -> Curve:
    """Return the running mean, thinned."""
    words, values = _learned(runs)
    n = values.shape[1]
    start = min(WINDOW, n) - 1
    at = np.unique(np.linspace(start, n - 1, min(_POINTS, n - start)).round().astype(int))
    mean, low, high = mean_and_band(running_mean(values, WINDOW)[:, at])
    if words == "hit rate":  # the t interval of a rate near 1 may pass it
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    return Curve(tuple(int(k) + 1 for k in at), _numbers(mean), _numbers(low), _numbers(high), words)


def _confusion(runs: Sequence[tuple[Results, int]]) -> tuple[tuple[int, ...], ...] | None:
    """Add the confusion matrices of all seeds."""
    texts = [results.summary["confusion"][place] for results, place in runs if "confusion" in results.summary]
    if not texts:
        return None
    counts = np.sum([[[int(n) for n in row.split()] for row in text.split(";")] for text in texts], axis=0)
    return tuple(tuple(int(n) for n in row) for row in counts)


def _alignment(runs: Sequence[tuple[Results, int]]) -> Alignment | None:
    """Join the alignments of the seeds that have one."""
    lines: list[list[float]] = []
    moments: list[int] = []
    for results, place in runs:
        found = look_inside(results)["alignment"]
        seed = results.config.seeds[place]
        if found is not None and seed in found["seeds"]:
            moments = found["iteration"]
            lines.append(found["cosine"][found["seeds"].index(seed)])
    if not lines:
        return None
    mean, low, high = mean_and_band(np.array(lines, dtype=np.float64))
    low, high = np.clip(low, -1, 1), np.clip(high, -1, 1)
    return Alignment(tuple(moments), _numbers(mean), _numbers(low), _numbers(high))


def _weights(results: Results, place: int) -> Weights | None:
    """Return the trained weights of one agent, unless they are too many to look at."""
    named = {name: array for name, array in results.weights.items() if name.startswith("projection")}
    arrays = [named[name][place] for name in sorted(named, key=lambda name: int(name[10:]))]
    if sum(array.size for array in arrays) > _MOST_WEIGHTS:
        return None
    return Weights(tuple(tuple(_numbers(row) for row in array) for array in arrays))


def _energy(planned: Planned, measures: dict[str, Measured], platforms: Sequence[Platform]) -> tuple[Energy, ...]:
    """Estimate the energy of a decision where it can be."""

    def mean(key: str) -> float | None:
        return measures[key].mean if key in measures else None

    found = (
        platform.estimate(
            planned.kind,
            mean("synaptic_operations_per_decision"),
            mean("biological_time_per_decision"),
            mean("wall_time_per_decision"),
            sum(planned.network.sizes[1:]),
        )
        for platform in platforms
    )
    return tuple(energy for energy in found if energy is not None)


def _numbers(values: Any) -> tuple[float | None, ...]:
    """Return what a picture shows of an array."""
    return tuple(float(f"{v:.4g}") if np.isfinite(v) else None for v in values)
