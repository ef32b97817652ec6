"""Shows how far a comparison is, on standard error: bars on a terminal, a line for each run elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.cli.progress import clock, measured
from rnla_neuro.comparing.runner import Job, Report

if TYPE_CHECKING:
    from rnla_neuro.experiment import Progress

_LINE_SECONDS = 60.0  # a line at the latest after these


class Lines(Report):
    """Writes a line when a run begins or ends, and now and then: for log files."""

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """Say what is to be done."""
        self._began = self._last = time.monotonic()
        self._total, self._done = len(jobs), 0
        cells = f"{reused} cell{'s' * (reused != 1)} used from before"
        click.echo(f"{len(jobs)} run{'s' * (len(jobs) != 1)} to do, {cells}", err=True)

    def started(self, job: Job) -> None:
        """Say that a run has begun."""
        click.echo(f"begun: {job.words}", err=True)

    def moved(self, job: Job, progress: Progress) -> None:
        """Say how far a run is, if it is time for that."""
        if time.monotonic() - self._last > _LINE_SECONDS:
            self._last = time.monotonic()
            text = f"{job.words}: {progress.iteration:,}/{progress.iterations:,} decisions, {measured(progress)}"
            click.echo(text, err=True)

    def ended(self, job: Job) -> None:
        """Say that a run is over."""
        self._done += 1
        what = "failed" if job.words in self.failures else "done"
        click.echo(
            f"{what} ({self._done}/{self._total}, {clock(time.monotonic() - self._began)}): {job.words}", err=True
        )


class Bars(Report):
    """One live bar for everything, and one for each run under way."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bars = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}"),
            TextColumn("[green]{task.fields[measured]}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr, highlight=False),
            expand=True,
        )
        self._tasks: dict[Any, Any] = {}
        self._made: dict[Any, int] = {}

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """Make the bar of everything."""
        self._runs, self._over = len(jobs), 0
        self._whole = self.bars.add_task(
            "comparison", total=sum(job.decisions for job in jobs) or None, count="", measured=f"{reused} used"
        )
        self._count()

    def started(self, job: Job) -> None:
        """Add a bar."""
        total = job.request.iterations if job.new else None
        self._tasks[job.out] = self.bars.add_task(job.words, total=total, count="setting up", measured="")

    def moved(self, job: Job, progress: Progress) -> None:
        """Move a bar, and that of everything."""
        count = f"{progress.iteration:,}/{progress.iterations:,}"
        self.bars.update(self._tasks[job.out], completed=progress.iteration, count=count, measured=measured(progress))
        now = progress.iteration * len(job.request.seeds)
        self.bars.advance(self._whole, now - self._made.get(job.out, 0))
        self._made[job.out] = now

    def ended(self, job: Job) -> None:
        """Take a bar away."""
        self.bars.remove_task(self._tasks.pop(job.out))
        self._over += 1
        self._count()

    def _count(self) -> None:
        self.bars.update(self._whole, count=f"{self._over}/{self._runs} runs")


@contextmanager
def watch(*, quiet: bool) -> Iterator[Report]:
    """Give what fits standard error."""
    if quiet:
        yield Report()
    elif sys.stderr.isatty():
        shown = Bars()
        with shown.bars:
            yield shown
    else:
        yield Lines()
