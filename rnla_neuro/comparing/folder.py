"""The folder of a comparison: runs, ``comparison.json``, tables, figures, report."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rnla_neuro.analysis.comparison import FILE, Comparison
from rnla_neuro.comparing.energy import platforms
from rnla_neuro.comparing.measure import compare
from rnla_neuro.comparing.plan import Planned
from rnla_neuro.comparing.runner import RUNS, Report, Shelf, cores, jobs_for, work
from rnla_neuro.errors import MissingExtraError, RnlaError, RunFolderError

_LOCK: Final = ".lock"
REPORT: Final = "report.html"
NEEDS_EXTRA: Final = "pip install 'rnla_neuro[report]'"


@dataclass(frozen=True)
class Written:
    """What there is after a comparison.

    Attributes:
        comparison: The comparison.
        json: Its file.
        tables: CSV files.
        figures: PNG and SVG files.
        report: ``report.html``; None: it was not wanted, or cannot be written.
        no_report: Why there is no report; empty: there is one, or it was not wanted.
    """

    comparison: Comparison
    json: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    report: Path | None
    no_report: str


def check_folder(folder: Path, task: str) -> None:
    """Refuse a folder that holds something else.

    Raises:
        RunFolderError: It is a file, has other things in it, or a comparison of another task.
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file: a comparison needs a folder, a new one or its own")
    if not folder.is_dir():
        return
    if (folder / FILE).is_file():
        before = Comparison.read(folder)
        if before.task != task:
            raise RunFolderError(
                f"{folder} has a comparison of task {before.task!r}, not of {task!r}: choose another folder with --out"
            )
    elif any(folder.iterdir()) and not (folder / RUNS).is_dir():
        raise RunFolderError(
            f"{folder} holds other things, and no comparison: choose a new folder, or that of a comparison, with --out"
        )


def check_report() -> None:
    """Refuse a report that cannot be written.

    Raises:
        MissingExtraError: Its packages are not installed.
    """
    if find_spec("plotly") is None:
        raise MissingExtraError(f"report.html needs packages more: {NEEDS_EXTRA}")


def run_comparison(
    plan: Sequence[Planned],
    folder: Path,
    *,
    title: str = "",
    workers: int | None = None,
    report: Report | None = None,
    html: bool | None = None,
    command: str = "",
) -> Written:
    """Run what is missing, and write the comparison.

    Args:
        plan: The cells, as `rnla_neuro.comparing.plan.plan` makes them.
        folder: Where; an earlier comparison of the same task is continued, and its runs are used.
        title: Of the comparison; by default what is compared.
        workers: Processes at the same time; None: one a core. A script that asks for more than one must be
            importable: guard its start with ``if __name__ == "__main__":``.
        report: Told how far it is.
        html: Whether to write ``report.html``; None: if its packages are installed.
        command: The command line, for the record.

    Raises:
        RunFolderError: The folder cannot be used, or another process compares there.
        RnlaError: Every run failed.
        KeyboardInterrupt: Ctrl-C; finished runs stay, and the next call goes on.
    """
    check_folder(folder, plan[0].config.task)
    if html:
        check_report()
    report = report or Report()
    workers = workers or cores()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    with _ours_alone(folder):
        shelf = Shelf(folder)
        jobs = jobs_for(plan, shelf, workers)
        (folder / RUNS).mkdir(exist_ok=True)
        report.begin(jobs, sum(bool(shelf.places(planned)) for planned in plan))
        work(jobs, workers, report)
        shelf = Shelf(folder)
        places = [shelf.places(planned) for planned in plan]
        made = compare(title or _title(plan), plan, places, platforms(), report.failures, command)
        if not made.cells:
            raise RnlaError("every run failed: " + "; ".join(f"{k}: {why}" for k, why in report.failures.items()))
        return _write(made, folder, html)


def _write(made: Comparison, folder: Path, html: bool | None) -> Written:
    """Write all files."""
    from rnla_neuro.comparing.figures import write_figures
    from rnla_neuro.comparing.tables import write_tables

    path = made.write(folder)
    tables = tuple(write_tables(made, folder / "tables"))
    figures = tuple(write_figures(made, folder / "figures"))
    page, why = None, ""
    if html is not False:
        try:
            check_report()
            from rnla_neuro.analysis.report import write_report

            write_report(made, folder / REPORT)
            page = folder / REPORT
        except (MissingExtraError, ImportError) as error:
            why = str(error) if isinstance(error, MissingExtraError) else f"{error}: {NEEDS_EXTRA}"
    return Written(made, path, tables, figures, page, why)


def _title(plan: Sequence[Planned]) -> str:
    """Say what is compared."""
    models = len(dict.fromkeys(p.model for p in plan))
    delays = len(dict.fromkeys(p.delay for p in plan))
    seeds = len(plan[0].request.seeds)
    counts = ((models, "model"), (delays, "reward delay"), (seeds, "seed"))
    return f"{plan[0].config.task}: " + ", ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in counts)


@contextmanager
def _ours_alone(folder: Path) -> Iterator[None]:
    """Keep others from comparing in the same folder at the same time."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(
                f"another 'rnla compare' is at work in {folder}: wait for it, or choose another folder"
            ) from None
        yield
    finally:
        os.close(lock)
