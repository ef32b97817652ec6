"""Draws where a network lies on a platform: columns and rows of a chip's synapse arrays, or the cores of a machine."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rnla_neuro.analysis.canvas import COLOURS, save, styled
from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.demand import PopulationDemand
from rnla_neuro.hardware.placement import Block, Placement
from rnla_neuro.hardware.report import FitReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EMPTY: Final = "#f1f1f1"
_EDGE: Final = "#9a9a9a"
_CHIPS: Final = 3  # analog chips that are drawn
_HALVES: Final = 4  # parts of a chip that are drawn
_CORES: Final = 144  # cores that are drawn

Colours = dict[str, str]


def placement_picture(report: FitReport, path_stem: str | Path) -> tuple[Path, Path]:
    """Draw a placement as PNG and SVG.

    Of an analog chip every half is drawn as its synapse array: circuits from left to right, with the population that
    they belong to above, and the rows that these use, coloured by what sends the spikes. Other platforms: a square a
    core.

    Args:
        report: From `rnla_neuro.hardware.fit.fit`.
        path_stem: The files' path without ending.

    Raises:
        ConfigError: The platform counts no circuits, or none is used.
    """
    placement = report.placement
    if placement is None or not placement.blocks:
        why = "counts no circuits" if placement is None else "has no room for any of the neurons"
        raise ConfigError(f"--picture: {report.platform.title} {why}: there is no placement to draw")
    if placement.rows is None:
        return _draw_cores(report, placement, path_stem)
    return _draw_chips(report, placement, path_stem)


def _title(report: FitReport, figure: Figure, shown: str) -> None:
    sizes = "-".join(map(str, report.sizes))
    figure.suptitle(f"{report.model} {sizes} on {report.platform.title}{shown}", fontsize=12.5)


def _colours(names: Sequence[str]) -> Colours:
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(dict.fromkeys(names))}


def _draw_chips(report: FitReport, placement: Placement, path_stem: str | Path) -> tuple[Path, Path]:
    from matplotlib.patches import Patch

    units = sorted({block.unit for block in placement.blocks})[:_CHIPS]
    populations = {one.name: one for one in report.populations}
    found = [source.name for one in report.populations for source in one.sources]
    # the same colours in every picture: layers last, since their number varies
    known = [name for name in ("input", "feedback", "inhibition", "bias", "noise") if name in found]
    sources = _colours([*known, *found])
    halves = min(placement.halves, _HALVES)
    with styled(1.2 + 4.6 * halves, 0.9 + 4.5 * len(units), len(units), halves, sharey="all") as (figure, panels):
        for unit, line in zip(units, panels, strict=True):
            for half, axes in enumerate(line):
                blocks = [one for one in placement.blocks if (one.unit, one.half) == (unit, half)]
                _array(axes, placement, blocks, populations, sources, placement.rows_used(unit, half))
                used = sum(block.columns for block in blocks)
                rows = sum(placement.rows_used(unit, half))
                name = f"chip {unit + 1}, half {half + 1}" if placement.units > 1 else f"half {half + 1}"
                axes.set_title(
                    f"{name}: {used} of {placement.columns} circuits, {rows} of {placement.rows} rows",
                    fontsize=10.5, pad=36,
                )  # fmt: skip
                axes.set_xlabel("neuron circuit (column)")
            line[0].set_ylabel("synapse row")
        handles = [Patch(facecolor=colour, label=name) for name, colour in sources.items()]
        handles += [
            Patch(facecolor="#bbbbbb", label="excitatory row"),
            Patch(facecolor="#bbbbbb", hatch="////", edgecolor="white", label="inhibitory row"),
            Patch(facecolor=_EMPTY, edgecolor=_EDGE, label="free"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), title="spikes from")
        part = _shown(len(units), placement.units, "chips") + _shown(halves, placement.halves, "parts of a chip")
        _title(report, figure, part)
        return save(figure, path_stem)


def _shown(drawn: int, used: int, what: str) -> str:
    return "" if drawn == used else f", the first {drawn} of {used} {what}"


def _array(
    axes: Axes,
    placement: Placement,
    blocks: Sequence[Block],
    populations: dict[str, PopulationDemand],
    sources: Colours,
    rows: tuple[int, int],
) -> None:
    """Draw the synapse array of a half: excitatory rows first, then the inhibitory ones."""
    assert placement.rows is not None
    axes.set_xlim(0, placement.columns)
    axes.set_ylim(placement.rows, 0)
    axes.grid(visible=False)
    axes.set_facecolor(_EMPTY)
    for block in blocks:
        demand = populations[block.population]
        _rows(axes, block, demand, sources, 0, inhibitory=False)
        _rows(axes, block, demand, sources, rows[0], inhibitory=True)
    for k, (name, ((first, last), neurons)) in enumerate(_spans(blocks).items()):
        axes.plot([first + 0.7, last - 0.7], [-4, -4], color="black", linewidth=3, clip_on=False, solid_capstyle="butt")
        axes.text(first, -8 - 11 * (k % 2), f"{name} ({neurons})", ha="left", va="bottom", fontsize=9)
    if rows[1]:
        axes.axhline(rows[0], color="black", linewidth=0.8)
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
        right = placement.columns * 0.99
        axes.text(right, rows[0] - 4, "excitatory above", ha="right", va="bottom", fontsize=8.5, bbox=box)
        axes.text(right, rows[0] + 4, "inhibitory below", ha="right", va="top", fontsize=8.5, bbox=box)


def _spans(blocks: Sequence[Block]) -> dict[str, tuple[tuple[int, int], int]]:
    """Return the first and last column of each population, and its neurons; blocks of one population are neighbours."""
    found: dict[str, tuple[tuple[int, int], int]] = {}
    for block in blocks:
        (first, _), neurons = found.get(block.population, ((block.first, 0), 0))
        found[block.population] = (first, block.first + block.columns), neurons + block.neurons
    return found


def _rows(
    axes: Axes, block: Block, demand: PopulationDemand, sources: Colours, first: int, *, inhibitory: bool
) -> None:
    """Draw the rows of one sign that a block's circuits listen to, source by source."""
    from matplotlib.patches import Rectangle

    sent = [one for one in demand.sources if one.signed or inhibitory or not demand.pairs]
    if inhibitory and not demand.pairs:
        return
    at = 0.0
    for source in sent:
        height = source.count / demand.circuits  # merged circuits share the sources out
        axes.add_patch(
            Rectangle(
                (block.first, first + at), block.columns, height, facecolor=sources[source.name], linewidth=0,
                hatch="////" if inhibitory else None, edgecolor="white",
            )
        )  # fmt: skip
        at += height


def _draw_cores(report: FitReport, placement: Placement, path_stem: str | Path) -> tuple[Path, Path]:
    from matplotlib.patches import Patch, Rectangle

    blocks = placement.blocks[:_CORES]
    colours = _colours([block.population for block in blocks])
    across = max(4, ceil(sqrt(len(blocks))))
    down = ceil(len(blocks) / across)
    with styled(1.0 + 1.15 * across, 1.9 + 1.15 * down) as (figure, panels):
        axes = panels[0][0]
        axes.set_xlim(-0.05, across + 0.05)
        axes.set_ylim(down + 0.05, -0.05)
        axes.set_aspect("equal")
        axes.axis("off")
        for k, block in enumerate(blocks):
            x, y = k % across, k // across
            share = block.columns / placement.columns
            axes.add_patch(Rectangle((x + 0.05, y + 0.05), 0.9, 0.9, facecolor=_EMPTY, edgecolor=_EDGE))
            axes.add_patch(
                Rectangle((x + 0.05, y + 0.95 - 0.9 * share), 0.9, 0.9 * share, facecolor=colours[block.population])
            )
            axes.text(
                x + 0.5, y + 0.4, f"core {block.unit + 1}\n{block.neurons} of\n{placement.columns:,}", ha="center",
                va="center", fontsize=8.5, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
            )  # fmt: skip
        handles = [Patch(facecolor=colour, label=name) for name, colour in colours.items()]
        handles.append(Patch(facecolor=_EMPTY, edgecolor=_EDGE, label="free"))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), title="neurons of")
        used = {block.unit for block in blocks}
        _title(report, figure, _shown(len(used), placement.units, "cores"))
        return save(figure, path_stem)
