"""Pictures of runs: learning curves over seeds, and alignment with the policy gradient, as PNG and SVG.

Matplotlib is loaded when the first picture is made, and used without its global state (no pyplot).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from rnla_neuro.analysis.canvas import COLOURS, MARKERS, save, styled
from rnla_neuro.analysis.statistics import mean_and_band, running_mean
from rnla_neuro.errors import RnlaError, RunFolderError
from rnla_neuro.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS: Final = 1000  # a picture shows no more, and the SVG stays small
_LABELS: Final = {
    "correct": "Running hit rate",
    "reward": "Running reward",
    "episode_return": "Running return of an episode",
}
class AlignmentPoint(Protocol):
    """What `alignment_plot` reads of a row of the alignment table."""

    @property
    def trial(self) -> int:
        """When in training."""

    @property
    def layer(self) -> str:
        """Which layer."""

    @property
    def baseline(self) -> str:
        """Which baseline."""

    @property
    def cosine(self) -> float:
        """Between self-nudging and policy gradient."""

    @property
    def standard_error(self) -> float:
        """Of the cosine."""


def learning_curve(
    runs: Results | Sequence[Results],
    path_stem: str | Path,
    *,
    column: str | None = None,
    chance: float | None = None,
    window: int = 100,
) -> tuple[Path, Path]:
    """Draw the running mean against the number of decisions, with its 95 % band over seeds.

    Args:
        runs: One run, or several for one picture; what differs between them names them in the legend.
        path_stem: Path without ending, such as ``RUN/learning_curve``; existing pictures are replaced.
        column: What to show; by default ``correct`` (the hit rate) if it was recorded, else
            ``episode_return`` if episodes have several steps, else ``reward``.
        chance: What random actions get: a thin line. By default what the task says, if it does.
        window: Decisions of the sliding window of the running mean.

    Returns:
        The paths of the PNG and the SVG picture.

    Raises:
        RunFolderError: A run has no records, or not this column; or the pictures cannot be written.
    """
    several = [runs] if isinstance(runs, Results) else list(runs)
    if not several:
        raise RunFolderError("a learning curve of no run: at least one is needed")
    for run in several:
        if run.iterations == 0:
            raise RunFolderError(f"{run.path} has no records to draw: the run is {run.status}")
    name = column or _column(several[0])
    if chance is None:
        chance = _chance(several[0], name)
    title, labels = _title_and_labels(several)
    with styled(6.8, 4.1 + 0.22 * len(several)) as (figure, ((axes,),)):
        for number, (run, label) in enumerate(zip(several, labels, strict=True)):
            marker = MARKERS[number % len(MARKERS)] if len(several) > 1 else ""
            _curve(axes, run.array(name), window, label, number, marker, unit_interval=name == "correct")
        if chance is not None:
            _chance_line(axes, chance)
        axes.set_title(title, loc="left")
        axes.set_xlabel("Decisions")
        axes.set_ylabel(f"{_LABELS.get(name, name.replace('_', ' '))} (last {window})")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlim(left=0, right=max(run.iterations for run in several))
        if name == "correct":
            axes.set_ylim(0, 1.02)
        # below the picture, where it hides nothing
        figure.legend(loc="outside lower left", ncols=1 + (len(several) == 2), frameon=False)
        return save(figure, path_stem)


def alignment_plot(
    table: Iterable[AlignmentPoint], path_stem: str | Path, *, title: str = ""
) -> tuple[Path, Path]:
    """Draw the cosine between self-nudging and policy gradient over training, a panel for each layer.

    Args:
        table: Rows of `rnla_neuro.analysis.alignment.align`, of one or several moments. Several rows of one
            moment, layer and baseline (several agents) are drawn as their mean and 95 % interval; a single
            one with the 95 % interval of its sampling.
        path_stem: Path without ending; existing pictures are replaced.
        title: Stands above the picture.

    Returns:
        The paths of the PNG and the SVG picture.

    Raises:
        RunFolderError: The table is empty, or the pictures cannot be written.
    """
    rows = list(table)
    if not rows:
        raise RunFolderError("an alignment picture of an empty table: at least one row is needed")
    layers = list(dict.fromkeys(row.layer for row in rows))
    baselines = list(dict.fromkeys(row.baseline for row in rows))
    words = {"mean": "baseline ⟨R⟩", "value": "baseline V(x)"}
    trials = sorted({row.trial for row in rows})
    lowest = min(row.cosine for row in rows)
    from matplotlib.ticker import FixedLocator, MaxNLocator

    n_columns = 2 if len(layers) == 4 else min(3, len(layers))
    n_rows = -(-len(layers) // n_columns)
    with styled(2.9 * n_columns + 0.9, 2.7 * n_rows + 0.9, n_rows, n_columns) as (figure, grid):
        panels = [axes for line in grid for axes in line]
        for axes, layer in zip(panels, layers, strict=False):
            for number, baseline in enumerate(baselines):
                mine = [row for row in rows if row.layer == layer and row.baseline == baseline]
                _cosines(axes, mine, words.get(baseline, baseline), number)
            axes.axhline(0, color="#888888", linewidth=0.9)
            axes.set_title(_layer_words(layer), loc="left")
            axes.set_ylim(-1.05 if lowest < -0.1 else min(-0.05, lowest - 0.05), 1.05)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.xaxis.set_major_locator(FixedLocator(trials) if len(trials) == 1 else MaxNLocator(4))
        for axes in panels[len(layers) :]:
            axes.set_visible(False)
        for line in grid:
            line[0].set_ylabel("Cosine")
        figure.supxlabel("Decisions of training", fontsize=11.5)
        if title:
            figure.suptitle(title, fontsize=12, x=0.02, ha="left")
        handles, texts = panels[0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside upper right", ncols=len(baselines), frameon=False)
        return save(figure, path_stem)


def _curve(
    axes: Axes,
    values: NDArray[Any],
    window: int,
    label: str,
    number: int,
    marker: str,
    *,
    unit_interval: bool,
) -> None:
    """Draw one run: mean line, and the 95 % band if there are several seeds."""
    n_seeds, n = values.shape
    running = running_mean(values, window)
    start = window - 1 if n >= 2 * window else 0  # before, it is a mean over a few trials: noise
    at = np.unique(np.linspace(start, n - 1, min(_MOST_POINTS, n - start)).round().astype(int))
    mean, low, high = mean_and_band(running[:, at])
    if unit_interval:  # the t interval of a rate near 1 may pass it
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    colour = COLOURS[number % len(COLOURS)]
    if n_seeds > 1:
        axes.fill_between(at + 1, low, high, color=colour, alpha=0.22, linewidth=0)
    every = max(1, len(at) // 10)
    markevery = (every * (1 + number % 5) // 6, every)
    axes.plot(
        at + 1,
        mean,
        color=colour,
        linewidth=1.6,
        label=label,
        marker=marker,
        markevery=markevery,
        markersize=5,
    )


def _chance_line(axes: Axes, chance: float) -> None:
    """Draw what random actions get."""
    axes.axhline(chance, color="#555555", linewidth=0.9, linestyle=(0, (2, 2)))
    axes.annotate(
        "chance",
        xy=(1, chance),
        xycoords=("axes fraction", "data"),
        xytext=(-3, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=10,
        color="#555555",
    )


def _cosines(axes: Axes, rows: Sequence[AlignmentPoint], label: str, number: int) -> None:
    """Draw one baseline in the panel of one layer."""
    by_trial: dict[int, list[AlignmentPoint]] = {}
    for row in sorted(rows, key=lambda row: row.trial):
        by_trial.setdefault(row.trial, []).append(row)
    means, errors = [], []
    for same in by_trial.values():
        mean, low, _ = (float(x[0]) for x in mean_and_band([[row.cosine] for row in same]))
        means.append(mean)
        half = mean - low if len(same) > 1 else 1.96 * same[0].standard_error
        # a cosine ends at ±1, an interval from two seeds does not
        errors.append((max(0.0, min(half, 1.0 + mean)), max(0.0, min(half, 1.0 - mean))))
    axes.errorbar(
        list(by_trial),
        means,
        yerr=np.transpose(errors),
        label=label,
        color=COLOURS[number % len(COLOURS)],
        linestyle=("-", "--")[number % 2],
        marker=MARKERS[number % len(MARKERS)],
        markersize=4.5,
        linewidth=1.5,
        capsize=2,
        clip_on=False,
    )


def _layer_words(layer: str) -> str:
    """Say the name of a layer as one would."""
    kind, _, number = layer.partition(" ")
    return "All weights" if layer == "all" else f"{kind.capitalize()} layer {number}".strip()


def _column(run: Results) -> str:
    """Choose what shows the learning of a run best."""
    if "correct" in run.columns:
        return "correct"
    if "episode_return" in run.columns:
        returns = run.array("episode_return")
        if np.isnan(returns).any() and np.isfinite(returns).any():  # episodes of several steps
            return "episode_return"
    return "reward"


def _chance(run: Results, column: str) -> float | None:
    """Return what random actions get, as far as the task knows."""
    from rnla_neuro import tasks

    try:
        task = tasks.get(run.config.task)
    except RnlaError:  # an environment or a table of the user's own
        return None
    chances: Mapping[str, float | None] = {"correct": task.chance, "reward": task.chance_reward}
    return chances.get(column)


def _title_and_labels(runs: Sequence[Results]) -> tuple[str, list[str]]:
    """Say in the title what the runs share, and in the legend what tells them apart."""
    described = [_described(run) for run in runs]
    differing = [key for key in described[0] if len({one[key] for one in described}) > 1]
    always = ("task", "model", "learner")
    first = described[0]
    shown = [first[key] for key in first if key not in differing and (key in always or first[key])]
    spreads = [_spread(len(run.config.seeds)) for run in runs]
    if len(runs) == 1:
        return ", ".join(shown), spreads
    labels = [", ".join(one[key] for key in differing if one[key]) or "default" for one in described]
    if len(set(labels)) < len(labels):
        labels = [f"{label}, {run.path.name}" for label, run in zip(labels, runs, strict=True)]
    if len(set(spreads)) == 1:  # said once is enough
        return f"{', '.join(shown)}: {spreads[0]}", labels
    return ", ".join(shown), [f"{label}: {spread}" for label, spread in zip(labels, spreads, strict=True)]


def _spread(n_seeds: int) -> str:
    """Say what line and band are."""
    return f"mean and 95 % interval of {n_seeds} seeds" if n_seeds > 1 else "1 seed"


def _described(run: Results) -> dict[str, str]:
    """Describe a run in words; empty where it does what runs usually do."""
    config = run.config
    learner = config.learner.upper() if config.learner in ("r-nla", "reinforce") else config.learner
    return {
        "task": Path(config.task).stem if config.task.lower().endswith((".npz", ".csv")) else config.task,
        "model": Path(config.model).stem if "/" in config.model else config.model,
        "learner": learner,
        "freeze": "frozen hidden layer" if config.freeze_hidden else "",
        "delay": "" if config.reward_delay == "none" else f"reward delay {config.reward_delay}",
        "overrides": ", ".join(f"{name} = {value}" for name, value in config.overrides.items()),
        "backend": "" if config.backend == "equilibrium" else config.backend,
    }
