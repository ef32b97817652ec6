"""What a comparison came to, on the screen and for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rnla_neuro.cli.screen import number
from rnla_neuro.run_config import plain

if TYPE_CHECKING:
    from rich.table import Table

    from rnla_neuro.analysis.comparison import Comparison, Measured
    from rnla_neuro.comparing.folder import Written

_SHOWN: Final = (
    ("test_accuracy", "test accuracy", 1.0, 3),
    ("evaluation_return", "return", 1.0, 2),
    ("reward", "reward", 1.0, 3),
    ("iterations_to_threshold", "decisions to 80 %", 1.0, 0),
    ("spikes_per_decision", "spikes", 1.0, 0),
    ("synaptic_operations_per_decision", "syn. operations", 1.0, 0),
    ("wall_time_per_decision", "wall µs", 1e6, 0),
    ("biological_time_per_decision", "biological ms", 1e3, 0),
)
_TESTED: Final = ("test_accuracy", "evaluation_return")


def measures(made: Comparison) -> Table:
    """Make the table: a row a cell."""
    from rnla_neuro.cli.screen import table

    keys = {spec.key for spec in made.measures}
    shown = [one for one in _SHOWN if one[0] in keys]
    rows = []
    for cell in made.cells:
        cells = [cell.model, cell.backend, cell.delay]
        cells += [_with_interval(cell.measures.get(key), factor, digits) for key, _, factor, digits in shown]
        rows.append(cells)
    return table(
        made.title, ["model", "backend", "delay", *(words for _, words, _, _ in shown)], rows, len(shown)
    )


def tests(made: Comparison) -> Table | None:
    """Make the table of the paired tests of the first measure; None: there are none."""
    from rnla_neuro.cli.screen import table

    key = next((key for key in _TESTED if any(test.measure == key for test in made.tests)), None)
    found = [test for test in made.tests if test.measure == key and test.n > 1]
    if not found or key is None:
        return None
    rows = []
    for test in found:
        ends = "–" if test.low is None else f"{number(test.low)} – {number(test.high)}"
        each = [f"{test.a} - {test.b}", test.delay, str(test.n), number(test.difference), ends]
        rows.append([*each, number(test.p), number(test.p_corrected)])
    title = f"\n{key.replace('_', ' ')}: paired differences, by seed"
    return table(title, ["models", "reward delay", "pairs", "difference", "95 % interval", "p", "p corrected"], rows, 5)


def notes(made: Comparison) -> Iterable[str]:
    """Say what a reader of the tables must know."""
    if made.tests:
        first, n = made.tests[0], max(test.n for test in made.tests)
        yield f"\n± is half of the 95 % bootstrap interval (BCa). Test: {first.test}; correction: {first.correction}."
        if n < 6:
            yield f"With {n} pairs no p can be below {2 / 2**n:.2g}: take six seeds or more to show p < 0.05."


def about(written: Written, folder: Path) -> dict[str, Any]:
    """Return the comparison's tables for JSON; curves and pictures are in its files."""
    made = written.comparison
    cells = [
        {"model": c.model, "ran": c.ran, "backend": c.backend, "delay": c.delay, "run": c.run}
        | {"measures": {key: asdict(m) for key, m in c.measures.items()}, "energy": [asdict(e) for e in c.energy]}
        for c in made.cells
    ]
    found: dict[str, Any] = plain(
        {
            "folder": str(folder),
            "comparison": str(written.json),
            "report": None if written.report is None else str(written.report),
            "title": made.title,
            "task": made.task,
            "seeds": made.seeds,
            "iterations": made.iterations,
            "cells": cells,
            "tests": [asdict(test) for test in made.tests],
            "failures": [asdict(failure) for failure in made.failures],
        }
    )
    return found


def _with_interval(found: Measured | None, factor: float, digits: int) -> str:
    """Write mean ± half of the interval, and how many seeds have no value."""
    if found is None or found.mean is None:
        return "–"
    text = number(found.mean * factor, digits)
    if found.low is not None and found.high is not None:
        text += f" ± {number((found.high - found.low) / 2 * factor, digits)}"
    missing = sum(value is None for value in found.values)
    return f"{text} ({missing} of {len(found.values)} never)" if missing else text
