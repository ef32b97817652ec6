"""The energy of a decision on each platform, as figure, table and sources."""

from __future__ import annotations

from typing import Any

from rnla_neuro.analysis.comparison import Comparison
from rnla_neuro.analysis.report import drawing
from rnla_neuro.analysis.report.blocks import (
    Absent,
    Badge,
    Block,
    Cell,
    Choice,
    Column,
    Facts,
    Figure,
    Option,
    Plot,
    Row,
    Table,
    Text,
)
from rnla_neuro.analysis.report.details import broken, colours, legend
from rnla_neuro.analysis.report.formatting import interval
from rnla_neuro.analysis.report.words import delay_words


def energy(comparison: Comparison) -> tuple[Block, ...]:
    """Draw and list the energy of a decision on each platform, with where its figures are from."""
    delays = [d for d in comparison.delays if any(cell.delay == d and cell.energy for cell in comparison.cells)]
    if not delays:
        return (Absent("no platform has figures for the models compared."),)
    options = tuple(
        Option(delay_words(delay), (_figure(comparison, delay), _table(comparison, delay)), {"delay": delay})
        for delay in delays
    )
    text = (
        "Estimates, not measurements: from what a decision takes (operations, spikes, time) and a platform's published "
        "figures, whose sources are below."
    )
    return (
        Text(text),
        *((Choice("Reward delay", options),) if len(options) > 1 else options[0].blocks),
        Facts(_sources(comparison)),
    )


def _table(comparison: Comparison, delay: str) -> Table:
    """List the energies at one delay."""
    columns = (
        Column("Platform"), Column("Model"), Column("Energy of a decision", numeric=True), Column("Figures"),
    )  # fmt: skip
    rows = []
    for cell in comparison.cells:
        for one in cell.energy if cell.delay == delay else ():
            mean, ends = interval(one.joule, one.low, one.high, "J")
            badge = Badge("verified", "good") if one.verified else Badge("not verified", "warn")
            cells = (
                Cell(one.platform),
                Cell(cell.model, swatch=colours(comparison).get(cell.model)),
                Cell(mean, note=ends, value=one.joule),
                Cell("", badge=badge),
            )
            rows.append(Row(cells, {"model": cell.model, "delay": delay}))
    return Table("Energy of one decision; the range is that of the source's figures", columns, tuple(rows))


def _sources(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Return, for each platform, where its figures are from; each text once."""
    pairs = [(one.platform, one.source) for cell in comparison.cells for one in cell.energy]
    return tuple((f"Source: {platform}", source) for platform, source in dict.fromkeys(pairs))


def _figure(comparison: Comparison, delay: str) -> Figure:
    """Draw the energies at one delay, platforms from top to bottom."""
    cells = [cell for cell in comparison.cells if cell.delay == delay and cell.energy]
    platforms = list(dict.fromkeys(one.platform for cell in cells for one in cell.energy))
    n = len(comparison.models)
    traces = []
    for cell in cells:
        colour = colours(comparison).get(cell.model, 0)
        for one in cell.energy:
            if one.joule <= 0:  # has no place on a logarithmic scale
                continue
            y = platforms.index(one.platform) + (colour - (n - 1) / 2) * min(0.18, 0.7 / n)
            mean, ends = interval(one.joule, one.low, one.high, "J")
            who = f"{drawing.plain(cell.model)}, {drawing.plain(one.platform)}"
            hover = f"{who}<br><b>{mean}</b>{f' ({ends})' if ends else ''}"
            traces.append(
                drawing.dots(
                    cell.model, colour, (one.joule, y), x_interval=(one.low, one.high), hover=hover,
                    tags={"model": cell.model, "delay": delay}, symbol="circle" if one.verified else "circle-open",
                )
            )  # fmt: skip
    caption = (
        f"Energy of one decision on each platform, {delay_words(delay)}, on a logarithmic scale. Open circles: figures "
        "that were not verified. Bars: the range of the source's figures."
    )
    plot = Plot((*legend(comparison, [cell.model for cell in cells]), *traces), _layout(comparison, platforms))
    return Figure(plot, caption, f"Energy of a decision, {delay_words(delay)}", height=160 + 80 * len(platforms))


def _ends(comparison: Comparison) -> list[float]:
    """Return all energies, so that all delays have one scale."""
    known = [end for cell in comparison.cells for one in cell.energy for end in (one.joule, one.low, one.high) if end]
    return known or [1e-9, 1.0]


def _layout(comparison: Comparison, platforms: list[str]) -> dict[str, Any]:
    """Return the axes: joules, a label a power of ten, and platforms."""
    return {
        "xaxis": drawing.log_axis(_ends(comparison), "Energy of a decision", "J"),
        "yaxis": {
            "tickvals": list(range(len(platforms))), "ticktext": [broken(drawing.plain(name)) for name in platforms],
            "range": [len(platforms) - 0.5, -0.5], "showgrid": False, "zeroline": False, "ticks": "",
        },
    }  # fmt: skip
