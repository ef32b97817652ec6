"""The page of a comparison of models: `write_report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rnla_neuro.analysis.comparison import Comparison
from rnla_neuro.analysis.report import conversions, details, energies, tables, words
from rnla_neuro.analysis.report.blocks import Absent, Block, Filter, Page, Points, Section, Text
from rnla_neuro.analysis.report.writing import write_page

Part = Callable[[Comparison], Block | tuple[Block, ...]]

_PARTS: tuple[tuple[str, Part], ...] = (
    ("Learning curves", details.learning_curves),
    ("Measures", details.measure_dots),
    ("Accuracy against spikes and operations", details.accuracy_against_spikes),
    ("All numbers", tables.measures_table),
    ("Paired tests", tables.tests_tables),
    ("One trial, before and after learning", details.recorded_trials),
    ("Conversion between twins", conversions.conversions_table),
    ("Alignment with the policy gradient", details.alignment_curves),
    ("Confusion matrix", details.confusion_matrices),
    ("Weights", details.weight_matrices),
    ("Energy", energies.energy),
)


def write_report(comparison: Comparison, path: str | Path) -> Path:
    """Write the report of a comparison: one HTML file that opens without network; an existing one is replaced.

    Args:
        comparison: What `rnla compare` came to.
        path: Where, such as ``report.html``.

    Returns:
        The path.

    Raises:
        MissingExtraError: plotly is not installed.
        RunFolderError: The page cannot be written.
    """
    return write_page(comparison_page(comparison), path)


def comparison_page(comparison: Comparison) -> Page:
    """Return the page of a comparison. A part without data is left out, and a sentence at the end says why."""
    sections = [Section("Summary", _summary(comparison)), Section("What was compared", tables.compared(comparison))]
    left_out = [
        f"`{one.model}`, {words.delay_words(one.delay)}: its run failed. {one.reason}" for one in comparison.failures
    ]
    for title, part in _PARTS:
        made = part(comparison)
        blocks = made if isinstance(made, tuple) else (made,)
        reasons = [block.reason for block in blocks if isinstance(block, Absent)]
        if len(reasons) == len(blocks):
            left_out += [f"{title}: {reason}" for reason in reasons]
        else:
            sections.append(Section(title, blocks))
    if left_out:
        sections.append(Section("Left out", (Points(tuple(left_out)),)))
    sections.append(Section("How it was made", tables.provenance(comparison)))
    names = tuple(model.name for model in comparison.models)
    return Page(
        title=comparison.title or f"Comparison on {comparison.task}",
        lead=f"Made by `rnla compare` on {comparison.created.replace('T', ' ').removesuffix('+00:00')} (UTC).",
        sections=tuple(sections),
        filters=(
            Filter("model", "Models", names, swatches={name: number for number, name in enumerate(names)}),
            Filter(
                "delay",
                "Reward delays",
                comparison.delays,
                names={delay: words.delay_words(delay) for delay in comparison.delays},
            ),
        ),
        footer="This page is one file and loads nothing from a network. The same numbers are in `comparison.json` and "
        "the CSV files beside it. Plots are drawn by plotly.js (MIT licence).",
    )


def _summary(comparison: Comparison) -> tuple[Block, ...]:
    """Say what came out, with intervals, and what it does not show."""
    blocks: list[Block] = [Text(words.what_was_compared(comparison))]
    present = {key for cell in comparison.cells for key, one in cell.measures.items() if one.mean is not None}
    main = next((one for one in comparison.measures if one.key in present and one.better != "none"), None)
    if main is None:
        blocks.append(Absent("No cell has a measure: there is nothing to compare."))
    else:
        blocks.append(Text(f"{words.label_of(main)} ({_lowered(main.help)}), mean and 95 % interval:"))
        blocks.append(Points(tuple(words.ranking(comparison, main))))
        for sentence, items in words.differences(comparison, main):
            blocks += [Text(sentence), Points(tuple(items))]
        blocks.append(Text("What to keep in mind:"))
    blocks.append(Points(tuple(words.caveats(comparison))))
    return tuple(blocks)


def _lowered(sentence: str) -> str:
    """Make a sentence fit for brackets."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")
