"""Shows how far a run is, on standard error: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from rnla_neuro.experiment import Progress

_LINE_SECONDS = 30.0  # a line at the latest after these …
_LINE_PART = 0.1  # … or when this part of the run has been done, but
_LINE_AT_LEAST = 2.0  # not sooner than these seconds after the last line


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def __call__(self, progress: Progress) -> None:
        """Take note of how far the run is."""


class Lines(Silent):
    """Writes a line now and then: for log files and batch systems.

    Args:
        title: What runs.
        agents: How many learn side by side; a trial of each counts.
    """

    def __init__(self, title: str, agents: int) -> None:
        self._title, self._agents = title, agents
        self._began = self._last = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._shown = 0

    def __call__(self, progress: Progress) -> None:
        """Write a line if it is time for one."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, progress.iteration)
        since = now - self._last
        step = progress.iteration - self._shown
        due = since > _LINE_SECONDS or (step >= _LINE_PART * progress.iterations and since > _LINE_AT_LEAST)
        if not due and progress.iteration < progress.iterations:
            return
        self._last, self._shown = now, progress.iteration
        at, done = self._first
        speed = (progress.iteration - done) / (now - at) if now > at else 0.0
        text = (
            f"{self._title}: {progress.iteration:,}/{progress.iterations:,} decisions, {measured(progress)}"
        )
        if speed > 0:
            left = (progress.iterations - progress.iteration) / speed
            text += f", {speed * self._agents:,.0f} trials/s, {clock(left)} left"
        click.echo(text, err=True)


class Bar(Silent):
    """A live bar: decisions, trials a second over all seeds, running measure, time left."""

    def __init__(self, title: str, agents: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._agents = agents
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}"),
            TextColumn("[green]{task.fields[measured]}"),
            TextColumn("[dim]{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr, highlight=False),
            expand=True,
        )
        self._task = self._bar.add_task(title, total=None, count="setting up", measured="", speed="")
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Move the bar."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, progress.iteration)
            self._bar.reset(self._task)  # what came before was setting up: it says nothing of the time left
        at, done = self._first
        speed = (progress.iteration - done) / (now - at) if now > at else 0.0
        self._bar.update(
            self._task,
            total=progress.iterations,
            completed=progress.iteration,
            count=f"{progress.iteration:,}/{progress.iterations:,}",
            measured=measured(progress),
            speed=f"{speed * self._agents:,.0f} trials/s" if speed > 0 else "",
        )


def watch(title: str, agents: int, *, quiet: bool) -> Silent:
    """Return what fits standard error."""
    if quiet:
        return Silent()
    return Bar(title, agents) if sys.stderr.isatty() else Lines(title, agents)


def measured(progress: Progress) -> str:
    """Say the running measure in words."""
    if not math.isfinite(progress.value):
        return f"{progress.measure} –"
    return f"{progress.measure} {progress.value:.3f}"


def clock(seconds: float) -> str:
    """Write a time as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
