"""What became of weights that were converted from a twin: lost by conversion, recovered by learning on."""

from __future__ import annotations

from rnla_neuro.analysis.comparison import Comparison, Converted, Measured
from rnla_neuro.analysis.report.blocks import Block, Cell, Column, Row, Table
from rnla_neuro.analysis.report.formatting import interval, number
from rnla_neuro.analysis.report.words import delay_words


def conversions_table(comparison: Comparison) -> tuple[Block, ...]:
    """List the cells whose weights came from another model; nothing where there are none."""
    cells = [(cell, cell.converted) for cell in comparison.cells if cell.converted is not None]
    if not cells:
        return ()
    colours = {model.name: n for n, model in enumerate(comparison.models)}
    rows = tuple(
        Row(
            (
                Cell(cell.model, swatch=colours.get(cell.model)),
                Cell(about.model, note=delay_words(cell.delay)),
                *(_cell(value, sign) for value, sign in _values(about)),
                Cell(number(about.learned), value=about.learned),
            ),
            {"model": cell.model, "delay": cell.delay},
        )
        for cell, about in cells
    )
    columns = (
        Column("Model"),
        Column("Weights from"),
        Column("Before", help="In the model that had learned them.", numeric=True),
        Column("Converted", help="The same weights in this model, by conversion alone.", numeric=True),
        Column("Lost or gained by that", help="Converted minus before, paired by seed.", numeric=True),
        Column("After learning on", numeric=True),
        Column("Recovered by learning", help="After minus converted, paired by seed.", numeric=True),
        Column("Decisions learned", numeric=True),
    )
    what = " and ".join(sorted({about.measure.replace("_", " ") for _, about in cells}))
    return (Table(f"Weights taken from a twin: {what}, mean and 95 % interval over seeds", columns, rows),)


def _values(about: Converted) -> tuple[tuple[Measured, bool], ...]:
    """Return the figures of a row, and whether each is a difference."""
    return (
        (about.before, False),
        (about.converted, False),
        (about.lost, True),
        (about.after, False),
        (about.gained, True),
    )


def _cell(value: Measured, sign: bool) -> Cell:
    text, note = interval(value.mean, value.low, value.high, sign=sign)
    return Cell(text, note=note, value=value.mean)
