"""A comparison as CSV files, for spreadsheets and other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from rnla_neuro.analysis.comparison import Cell, Comparison
from rnla_neuro.records import whole_or_nothing

_WHERE: Final = ("model", "backend", "delay")


def write_tables(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``measures.csv``, ``seeds.csv``, ``tests.csv``, ``curves.csv``, ``alignment.csv`` and ``energy.csv``.

    Args:
        comparison: What to write.
        folder: It is made if it is missing; earlier tables are replaced.

    Raises:
        RunFolderError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [_measures(comparison, folder), _seeds(comparison, folder), _tests(comparison, folder)]
    return [*written, *_courses(comparison, folder), _energy(comparison, folder)]


def _measures(comparison: Comparison, folder: Path) -> Path:
    head = (*_WHERE, "measure", "unit", "mean", "low", "high", "n", "seeds")
    units = {spec.key: spec.unit for spec in comparison.measures}
    rows = (
        (*_where(cell), key, units.get(key, ""), m.mean, m.low, m.high, _known(m.values), len(m.values))
        for cell in comparison.cells
        for key, m in cell.measures.items()
    )
    return _write(folder / "measures.csv", head, rows)


def _seeds(comparison: Comparison, folder: Path) -> Path:
    units = {spec.key: spec.unit for spec in comparison.measures}
    rows = (
        (*_where(cell), key, units.get(key, ""), seed, value)
        for cell in comparison.cells
        for key, m in cell.measures.items()
        for seed, value in zip(comparison.seeds, m.values, strict=True)
    )
    return _write(folder / "seeds.csv", (*_WHERE, "measure", "unit", "seed", "value"), rows)


def _tests(comparison: Comparison, folder: Path) -> Path:
    names = ("measure", "delay", "a", "b", "n", "difference", "low", "high", "p", "p_corrected", "test", "correction")
    rows = ([getattr(test, name) for name in names] for test in comparison.tests)
    return _write(folder / "tests.csv", names, rows)


def _courses(comparison: Comparison, folder: Path) -> tuple[Path, Path]:
    """Write what runs over decisions: learning curves, and alignment."""
    curves = (
        (*_where(cell), cell.curve.measure, *point)
        for cell in comparison.cells
        for point in zip(cell.curve.iteration, cell.curve.mean, cell.curve.low, cell.curve.high, strict=True)
    )
    aligned = (
        (*_where(cell), *point)
        for cell in comparison.cells
        if (a := cell.alignment) is not None
        for point in zip(a.iteration, a.mean, a.low, a.high, strict=True)
    )
    return (
        _write(folder / "curves.csv", (*_WHERE, "measure", "iteration", "mean", "low", "high"), curves),
        _write(folder / "alignment.csv", (*_WHERE, "iteration", "cosine", "low", "high"), aligned),
    )


def _energy(comparison: Comparison, folder: Path) -> Path:
    head = (*_WHERE, "platform", "joule a decision", "low", "high", "verified", "source")
    rows = (
        (*_where(cell), e.platform, e.joule, e.low, e.high, "yes" if e.verified else "no", e.source)
        for cell in comparison.cells
        for e in cell.energy
    )
    return _write(folder / "energy.csv", head, rows)


def _where(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.backend, cell.delay


def _known(values: Sequence[float | None]) -> int:
    return sum(value is not None for value in values)


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table; what is not known is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    with whole_or_nothing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return path
