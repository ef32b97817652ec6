"""The figures of a comparison, as PNG and SVG for papers. One file a kind, all models and delays in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rnla_neuro.analysis.canvas import COLOURS, MARKERS, save, styled
from rnla_neuro.analysis.comparison import Cell, Comparison, Curve, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL: Final = (3.6, 3.0)  # width and height in inches
_MOST_TICKS: Final = 12
_DASHES: Final = ("-", "--", ":", "-.")


def write_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw everything that the comparison has something for.

    Args:
        comparison: What to draw.
        folder: It is made if it is missing; earlier figures are replaced.

    Returns:
        The files, PNG and SVG of each.

    Raises:
        RunFolderError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw: tuple[tuple[str, Callable[[Comparison, Path], tuple[Path, Path] | None]], ...] = (
        ("learning_curves", _curves),
        ("accuracy_spikes", _accuracy_against_spikes),
        ("alignment", _alignment),
        ("confusion", _confusion),
        ("weights", _weights),
        ("energy", _energy),
    )
    written: list[Path] = []
    for name, function in draw:
        written += function(comparison, folder / name) or ()
    for cell in comparison.cells:
        if cell.raster is not None and cell.delay == comparison.delays[0]:
            written += _trials(cell, folder / f"trial-{_slug(cell.model)}")
    return written


def _curves(comparison: Comparison, stem: Path) -> tuple[Path, Path]:
    """Draw learning curves with bands, a panel a delay."""
    with _by_delay(comparison) as (figure, panels):
        for axes, delay in zip(panels, comparison.delays, strict=True):
            for number, cell in _of_delay(comparison, delay):
                _band(axes, cell.curve, cell.model, number)
            if comparison.chance is not None and _measure(comparison) == "hit rate":
                axes.axhline(comparison.chance, color="#555555", linewidth=0.9, linestyle=(0, (2, 2)))
            axes.set_title(_delay_words(delay), loc="left")
            axes.set_xlabel("decisions")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        panels[0].set_ylabel(f"{_measure(comparison)} (last 100)")
        _legend(figure, panels)
        return save(figure, stem)


def _accuracy_against_spikes(comparison: Comparison, stem: Path) -> tuple[Path, Path] | None:
    """Draw accuracy against spikes; models without spikes are a horizontal line."""
    key = next((k for k in ("test_accuracy", "evaluation_return", "reward") if _has(comparison, k)), None)
    if key is None or not _has(comparison, "spikes_per_decision"):
        return None
    with _by_delay(comparison) as (figure, panels):
        for axes, delay in zip(panels, comparison.delays, strict=True):
            for number, cell in _of_delay(comparison, delay):
                accuracy, spikes = cell.measures.get(key), cell.measures.get("spikes_per_decision")
                if accuracy is None or accuracy.mean is None:
                    continue
                colour = _colour(number)
                if spikes is None or spikes.mean is None:
                    axes.axhline(accuracy.mean, color=colour, linewidth=1.2, linestyle="--", label=cell.model)
                    continue
                x = [value for value in spikes.values if value is not None]
                y = [value for value in accuracy.values if value is not None]
                if len(x) == len(y):
                    axes.scatter(x, y, s=14, color=colour, alpha=0.4, linewidths=0)
                bars = [np.transpose([_bars(m.mean, m.low, m.high)]) for m in (accuracy, spikes)]
                marker = MARKERS[number % len(MARKERS)]
                axes.errorbar(
                    [spikes.mean], [accuracy.mean], yerr=bars[0], xerr=bars[1],
                    color=colour, marker=marker, capsize=2, label=cell.model,
                )  # fmt: skip
            axes.set_title(_delay_words(delay), loc="left")
            axes.set_xlabel("spikes a decision")
        panels[0].set_ylabel(key.replace("_", " "))
        _legend(figure, panels)
        return save(figure, stem)


def _alignment(comparison: Comparison, stem: Path) -> tuple[Path, Path] | None:
    """Draw the cosine with the policy gradient."""
    if all(cell.alignment is None for cell in comparison.cells):
        return None
    with _by_delay(comparison) as (figure, panels):
        for axes, delay in zip(panels, comparison.delays, strict=True):
            for number, cell in _of_delay(comparison, delay):
                if cell.alignment is not None:
                    a = cell.alignment
                    _band(axes, Curve(a.iteration, a.mean, a.low, a.high, "cosine"), cell.model, number)
            axes.axhline(0, color="#888888", linewidth=0.9)
            axes.set_title(_delay_words(delay), loc="left")
            axes.set_xlabel("decisions")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        panels[0].set_ylabel("cosine with the policy gradient")
        _legend(figure, panels)
        return save(figure, stem)


def _confusion(comparison: Comparison, stem: Path) -> tuple[Path, Path] | None:
    """Draw a matrix for each cell: rows are right actions, shares of each row."""
    cells = [cell for cell in comparison.cells if cell.confusion is not None]
    if not cells:
        return None
    with _grid(comparison, cells) as (figure, placed):
        for axes, cell in placed:
            counts = np.array(cell.confusion, dtype=float)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            axes.grid(False)
            if len(counts) <= _MOST_TICKS:
                axes.set_xticks(range(len(counts)))
                axes.set_yticks(range(len(counts)))
            _title(axes, cell, len(comparison.delays))
            axes.set_xlabel("decided")
            axes.set_ylabel("right action")
        figure.colorbar(image, ax=[axes for axes, _ in placed], shrink=0.7, label="share of the row")
        return save(figure, stem)


def _weights(comparison: Comparison, stem: Path) -> tuple[Path, Path] | None:
    """Draw histograms of the trained weights, a line a projection."""
    cells = [cell for cell in comparison.cells if cell.weights is not None]
    if not cells:
        return None
    with _grid(comparison, cells) as (figure, placed):
        for axes, cell in placed:
            assert cell.weights is not None
            last = len(cell.weights.layers) - 1
            for k, layer in enumerate(cell.weights.layers):
                values = np.array([w for row in layer for w in row if w is not None])
                name = "to the actions" if k == last else f"to hidden layer {k + 1}"
                bins = np.linspace(values.min(), values.max() + 1e-9, 50).tolist()
                axes.hist(values, bins=bins, density=True, histtype="step", color=_colour(k), label=name)
            axes.set_yscale("log")
            _title(axes, cell, len(comparison.delays))
            axes.set_xlabel("weight")
        placed[0][0].set_ylabel("density")
        _legend(figure, [axes for axes, _ in placed])
        return save(figure, stem)


def _energy(comparison: Comparison, stem: Path) -> tuple[Path, Path] | None:
    """Draw the energy estimates at the first delay; open markers rest on figures that are not verified."""
    cells = [cell for _, cell in _of_delay(comparison, comparison.delays[0]) if cell.energy]
    platforms = list(dict.fromkeys(e.platform for cell in cells for e in cell.energy))
    if not platforms:
        return None
    with styled(6.8, 1.6 + 0.42 * len(platforms)) as (figure, ((axes,),)):
        for number, cell in _of_delay(comparison, comparison.delays[0]):
            for one in cell.energy:
                y = platforms.index(one.platform) + 0.12 * (number - 0.5 * (len(cells) - 1))
                face = _colour(number) if one.verified else "none"
                error = np.transpose([_bars(one.joule, one.low, one.high)])
                axes.errorbar(
                    [one.joule], [y], xerr=error, color=_colour(number), markerfacecolor=face,
                    marker=MARKERS[number % len(MARKERS)], linestyle="", capsize=2, label=cell.model,
                )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yticks(range(len(platforms)), platforms)
        axes.invert_yaxis()
        axes.set_xlabel("energy of a decision in J (open: not verified)")
        _legend(figure, [axes])
        return save(figure, stem)


def _trials(cell: Cell, stem: Path) -> tuple[Path, Path]:
    """Draw spikes and voltages of one trial, before learning and after."""
    assert cell.raster is not None
    both = (("before learning", cell.raster.before), ("after learning", cell.raster.after))
    spiking = any(trial.spikes for _, trial in both)
    rows = 3 if spiking else 2
    with styled(8.6, 2.1 * rows + 0.6, rows, 2, sharey="row") as (figure, grid):
        for column, (words, trial) in enumerate(both):
            axes = [line[column] for line in grid]
            axes[0].set_title(f"{cell.model}, {words}", loc="left")
            if spiking:
                _raster(axes[0], trial)
            _voltages(axes[-2], trial, "hidden")
            _voltages(axes[-1], trial, "action")
            axes[-1].set_xlabel("time in ms")
        for line, name in zip(grid[-2:], ("hidden voltages", "action voltages"), strict=True):
            line[0].set_ylabel(name)
        figure.legend(*grid[-1][0].get_legend_handles_labels(), loc="outside right lower", frameon=False, fontsize=8)
        return save(figure, stem)


def _raster(axes: Axes, trial: Trial) -> None:
    """Draw a dot a spike; lines separate the layers."""
    if trial.spikes:
        times, neurons = zip(*trial.spikes, strict=True)
        axes.scatter(times, neurons, s=3, color="#222222", linewidths=0)
    total = sum(trial.layers)
    for edge in np.cumsum(trial.layers)[:-1]:
        axes.axhline(float(edge) - 0.5, color="#999999", linewidth=0.8)
    axes.set_ylim(-0.5, total - 0.5)
    axes.set_ylabel("neuron, inputs first")


def _voltages(axes: Axes, trial: Trial, layer: str) -> None:
    """Draw the voltages of the neurons of one kind."""
    mine = [k for k, name in enumerate(trial.voltage.names) if name.startswith(layer)]
    for number, k in enumerate(mine):
        values = np.array(trial.voltage.values[k], dtype=float)
        dashes = _DASHES[number // len(COLOURS) % len(_DASHES)]
        axes.plot(
            trial.time, values, linewidth=1.2, label=trial.voltage.names[k], color=_colour(number), linestyle=dashes
        )


# ---- parts ---------------------------------------------------------------------------------------------
@contextmanager
def _by_delay(comparison: Comparison) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give a panel a delay, with one vertical axis."""
    n = len(comparison.delays)
    height = _PANEL[1] + 0.9 + 0.2 * (len(comparison.models) // max(1, n))
    with styled(_PANEL[0] * n + 0.6, height, 1, n) as (figure, grid):
        yield figure, grid[0]


@contextmanager
def _grid(comparison: Comparison, cells: Sequence[Cell]) -> Iterator[tuple[Figure, list[tuple[Axes, Cell]]]]:
    """Give a panel a cell: models side by side, delays below each other."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    delays = list(dict.fromkeys(cell.delay for cell in cells))
    with styled(2.7 * len(models) + 0.8, 2.5 * len(delays) + 0.6, len(delays), len(models)) as (figure, grid):
        placed = [(grid[delays.index(cell.delay)][models.index(cell.model)], cell) for cell in cells]
        used = {id(axes) for axes, _ in placed}
        for axes in (axes for line in grid for axes in line if id(axes) not in used):
            axes.set_visible(False)
        yield figure, placed


def _band(axes: Axes, curve: Curve, label: str, number: int) -> None:
    """Draw mean and band."""
    x = np.array(curve.iteration)
    mean, low, high = (np.array(v, dtype=float) for v in (curve.mean, curve.low, curve.high))
    axes.fill_between(x, low, high, color=_colour(number), alpha=0.2, linewidth=0)
    every = max(1, len(x) // 8)
    axes.plot(
        x, mean, color=_colour(number), linewidth=1.5, label=label,
        marker=MARKERS[number % len(MARKERS)], markersize=4, markevery=(number % every, every),
    )  # fmt: skip


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Write each name once, below the panels, where it hides nothing."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    columns = max(1, round(figure.get_figwidth() / 2.6))
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=columns, frameon=False)


def _title(axes: Axes, cell: Cell, delays: int) -> None:
    axes.set_title(cell.model if delays == 1 else f"{cell.model}\n{_delay_words(cell.delay)}", loc="left", fontsize=9)


def _of_delay(comparison: Comparison, delay: str) -> list[tuple[int, Cell]]:
    """Return the cells of a delay, each with the place of its model, which gives its colour."""
    names = [model.name for model in comparison.models]
    return [(names.index(cell.model), cell) for cell in comparison.cells if cell.delay == delay]


def _measure(comparison: Comparison) -> str:
    return comparison.cells[0].curve.measure


def _has(comparison: Comparison, key: str) -> bool:
    return any(key in cell.measures for cell in comparison.cells)


def _bars(mean: float | None, low: float | None, high: float | None) -> tuple[float, float]:
    """Return the two lengths of an error bar; 0 where there is no interval."""
    if mean is None or low is None or high is None:
        return 0.0, 0.0
    return max(0.0, mean - low), max(0.0, high - mean)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _delay_words(delay: str) -> str:
    return "reward at once" if delay == "none" else f"reward delay {delay}"


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.")
