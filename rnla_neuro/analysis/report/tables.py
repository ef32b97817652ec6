"""The tables of a comparison: models, all measures, paired tests, and how it was made."""

from __future__ import annotations

from typing import Final

from rnla_neuro.analysis.comparison import Comparison, Measured, MeasureSpec, PairedTest
from rnla_neuro.analysis.report.blocks import (
    Absent,
    Badge,
    Block,
    Cell,
    Choice,
    Code,
    Column,
    Details,
    Facts,
    Option,
    Row,
    Table,
    Text,
)
from rnla_neuro.analysis.report.formatting import MISSING, interval, number, p_value
from rnla_neuro.analysis.report.words import LEVEL, delay_words, is_shown, label_of, several, unit_of

_BETTER: Final = {"higher": "higher is better", "lower": "lower is better"}


def compared(comparison: Comparison) -> tuple[Block, ...]:
    """List the models."""
    columns = (Column("Model"), Column("Kind"), Column("Backend"), Column("What it is"))
    rows = tuple(
        Row(
            (
                Cell(model.name, swatch=n),
                Cell(model.kind),
                Cell(MISSING if model.backend in ("", "none") else model.backend),
                Cell(model.summary),
            ),
            {"model": model.name},
        )
        for n, model in enumerate(comparison.models)
    )
    return (Table("The models, and the colour each has on this page", columns, rows),)


def measures_table(comparison: Comparison) -> Block:
    """List every measure of every cell."""
    specs = [one for one in comparison.measures if any(one.key in cell.measures for cell in comparison.cells)]
    if not specs:
        return Absent("no cell has a measure.")
    colours = {model.name: n for n, model in enumerate(comparison.models)}
    delays = {delay: float(n) for n, delay in enumerate(comparison.delays)}
    columns = (
        Column("Model"),
        Column("Reward delay"),
        *(Column(label_of(one), help=one.help, numeric=True, note=_BETTER.get(one.better, "")) for one in specs),
    )
    rows = tuple(
        Row(
            (
                Cell(cell.model, note=cell.backend if cell.backend != "none" else "", swatch=colours.get(cell.model)),
                Cell(delay_words(cell.delay), value=delays.get(cell.delay)),
                *(_measured(spec, cell.measures.get(spec.key)) for spec in specs),
            ),
            {"model": cell.model, "delay": cell.delay},
        )
        for cell in comparison.cells
    )
    return Table(
        "Mean over seeds, its 95 % interval, and the same drawn on the scale of the column. A click on a header sorts.",
        columns,
        rows,
    )


def tests_tables(comparison: Comparison) -> tuple[Block, ...]:
    """List the paired tests, a table a measure."""
    if not comparison.tests:
        why = "there is one model only" if len(comparison.models) < 2 else "too few seeds or models have a value"
        return (Absent(f"no pair of models was tested: {why}."),)
    options = []
    for spec in comparison.measures:
        tests = [test for test in comparison.tests if test.measure == spec.key]
        if tests:
            options.append(Option(label_of(spec), (_tests_table(spec, tests),)))
    used = sorted({test.test for test in comparison.tests})
    corrections = sorted({test.correction for test in comparison.tests})
    text = (
        f"Models are compared on the same seeds. Test: {', '.join(used)}. Correction for several comparisons: "
        f"{', '.join(corrections)}. A difference counts as shown where the corrected p "
        f"is below {LEVEL:g}."
    )
    return Text(text), Choice("Measure", tuple(options))


def provenance(comparison: Comparison) -> tuple[Block, ...]:
    """Say how the comparison was made."""
    blocks: list[Block] = []
    if comparison.command:
        blocks.append(Code(comparison.command, "Command line"))
    else:
        blocks.append(Text("It was made from Python, not by a command line."))
    blocks.append(
        Facts(
            (
                ("Task", f"`{comparison.task}`"),
                ("Seeds", ", ".join(map(str, comparison.seeds))),
                ("Decisions a seed", number(comparison.iterations)),
                ("Reward delays", ", ".join(f"`{delay}`" for delay in comparison.delays)),
                ("Made", comparison.created),
            )
        )
    )
    if comparison.versions:
        blocks.append(Details("Versions of the packages", (Facts(tuple(comparison.versions.items())),)))
    runs = [cell for cell in comparison.cells if cell.run]
    if runs:
        columns = (Column("Model"), Column("Reward delay"), Column("Model file that ran"), Column("Run folder"))
        rows = tuple(
            Row(
                (
                    Cell(cell.model),
                    Cell(delay_words(cell.delay)),
                    Cell(cell.ran or cell.model),
                    Cell(f"`{cell.run}`"),
                ),
                {"model": cell.model, "delay": cell.delay},
            )
            for cell in runs
        )
        caption = "Where each run is kept, relative to the comparison's folder: config.toml there has every setting"
        blocks.append(Details("Run folders", (Table(caption, columns, rows),)))
    return tuple(blocks)


def _measured(spec: MeasureSpec, measured: Measured | None) -> Cell:
    """Return the cell of a measure."""
    if measured is None:
        return Cell(MISSING, note="does not apply")
    if measured.mean is None:
        return Cell(MISSING, note="no seed has one")
    mean, ends = interval(measured.mean, measured.low, measured.high, unit_of(spec))
    lost = sum(value is None for value in measured.values)
    known = f"{len(measured.values) - lost} of {several(len(measured.values), 'seed')}" if lost else ""
    drawn = None
    if measured.low is not None and measured.high is not None:
        drawn = (measured.low, measured.mean, measured.high)
    return Cell(mean, note="\n".join(filter(None, (ends, known))), value=measured.mean, interval=drawn)


def _tests_table(spec: MeasureSpec, tests: list[PairedTest]) -> Table:
    """Return the tests of one measure."""
    columns = (
        Column("Models"),
        Column("Reward delay"),
        Column("Difference", help="Mean over pairs of seeds, the first model minus the second", numeric=True),
        Column("Pairs", help="Seeds for which both models have a value", numeric=True),
        Column("p", help="Two-sided, of this test alone", numeric=True),
        Column("p, corrected", help=f"Corrected for several comparisons: {tests[0].correction}", numeric=True),
        Column("Difference shown?", help=f"Whether the corrected p is below {LEVEL:g}"),
    )
    rows = tuple(_test_row(spec, test) for test in tests)
    return Table(f"{label_of(spec)}: difference between two models, mean and 95 % interval", columns, rows)


def _test_row(spec: MeasureSpec, test: PairedTest) -> Row:
    """Return one test."""
    mean, ends = interval(test.difference, test.low, test.high, unit_of(spec), sign=True)
    drawn = None
    if test.difference is not None and test.low is not None and test.high is not None:
        drawn = (test.low, test.difference, test.high)
    verdict = Badge("shown", "good") if is_shown(test) else Badge("not shown", "neutral")
    if test.p_corrected is None:
        verdict = Badge("not tested", "neutral")
    return Row(
        (
            Cell(f"{test.a} − {test.b}"),
            Cell(delay_words(test.delay)),
            Cell(mean, note=ends, value=test.difference, interval=drawn),
            Cell(str(test.n), value=float(test.n)),
            Cell(p_value(test.p), value=test.p),
            Cell(p_value(test.p_corrected), value=test.p_corrected),
            Cell("", badge=verdict),
        ),
        {"model": (test.a, test.b), "delay": test.delay},
    )
