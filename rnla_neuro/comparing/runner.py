"""Runs what a comparison still lacks, on several cores; what was finished before is found and used."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rnla_neuro.comparing.inside import FILE as INSIDE
from rnla_neuro.comparing.inside import look_inside
from rnla_neuro.comparing.plan import Planned
from rnla_neuro.errors import RnlaError, RunFolderError
from rnla_neuro.experiment import Progress, RunRequest, run
from rnla_neuro.results import Results
from rnla_neuro.run_config import key_without_seeds, versions_in_use

RUNS: Final = "runs"
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_PATIENCE: Final = 60.0  # seconds that a stopped run has to write its records


class RunWarning(UserWarning):
    """What a run in another process warned of."""


@dataclass(frozen=True)
class Job:
    """A run that is missing, or one that is there but has not been looked into.

    Attributes:
        words: Which cell it belongs to.
        request: The run, with the seeds that are missing.
        out: Its folder.
        new: Whether it is to be run.
    """

    words: str
    request: RunRequest
    out: Path
    new: bool

    @property
    def decisions(self) -> int:
        """Decisions of all its seeds."""
        return (self.request.iterations or 0) * len(self.request.seeds) if self.new else 0


@dataclass
class Report:
    """What becomes of the jobs, as it happens; the base class keeps it to itself.

    Attributes:
        failures: Words of a job, and why it failed.
    """

    failures: dict[str, str] = field(default_factory=dict)

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """Take note of what is to be done, and of how many runs are there already."""

    def started(self, job: Job) -> None:
        """Take note of a job that has begun."""

    def moved(self, job: Job, progress: Progress) -> None:
        """Take note of how far a job is."""

    def ended(self, job: Job) -> None:
        """Take note of a job that is over."""


class Shelf:
    """Finished runs of a comparison's folder, by what they have in common but for their seeds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / RUNS
        self.versions = versions_in_use()
        self._runs: dict[str, list[Results]] = {}
        for path in sorted(self.folder.glob("*/config.toml")):
            self._take(path.parent)

    def _take(self, path: Path) -> None:
        try:
            found = Results.load(path)
        except RunFolderError:  # cut off while it was made: there is nothing in it
            return
        if found.status == "finished" and "wall_time" in found.summary:  # earlier versions did not measure it
            key = key_without_seeds(found.config, found.versions)
            self._runs.setdefault(key, []).append(found)

    def key(self, planned: Planned) -> str:
        """Return the hash by which runs of a cell are found."""
        return key_without_seeds(planned.config, self.versions)

    def places(self, planned: Planned) -> dict[int, tuple[Results, int]]:
        """Return run and place of each seed of a cell that is there."""
        wanted, found = planned.request.seeds, dict[int, tuple[Results, int]]()
        for results in self._runs.get(self.key(planned), []):
            for place, seed in enumerate(results.config.seeds):
                if seed in wanted:
                    found.setdefault(seed, (results, place))
        return found

    def new_folder(self, planned: Planned, part: int) -> Path:
        """Return the path for a new run; one that was interrupted keeps its own."""
        words = f"{planned.model}-{planned.request.reward_delay}"
        stem = re.sub(r"[^\w.]+", "-", words).strip("-.")[:80] + f"-{self.key(planned)[:8]}"
        number = part
        while (path := self.folder / (stem if number == 0 else f"{stem}-{number + 1}")).exists():
            number += 1
        return path


def jobs_for(plan: Sequence[Planned], shelf: Shelf, workers: int) -> list[Job]:
    """Return what has to be done; few cells are divided by seeds, so that all workers have something."""
    missing = []
    jobs = []
    taken: set[Path] = set()
    for planned in plan:
        there = shelf.places(planned)
        seeds = tuple(seed for seed in planned.request.seeds if seed not in there)
        if seeds:
            missing.append((planned, seeds))
        paths = dict.fromkeys(results.path for results, _ in there.values())
        unseen = [path for path in paths if not (path / INSIDE).is_file()]
        jobs += [Job(planned.words, planned.request, path, new=False) for path in unseen]
    parts = max(1, -(-workers // len(missing))) if missing else 1
    for planned, seeds in missing:
        pieces = [seeds[k::parts] for k in range(min(parts, len(seeds)))]
        for part, piece in enumerate(pieces):
            out = shelf.new_folder(planned, part)
            while out in taken:
                out = out.with_name(out.name + "x")
            taken.add(out)
            jobs.append(Job(planned.words, replace(planned.request, seeds=piece), out, new=True))
    return jobs


def work(jobs: Sequence[Job], workers: int, report: Report) -> None:
    """Do all jobs.

    Args:
        jobs: In this order.
        workers: Processes at the same time; 1: this one.
        report: Told what happens; failures of single jobs are kept there, the others go on.

    Raises:
        KeyboardInterrupt: Ctrl-C; all runs have written what they had.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            report.started(job)
            try:
                perform(job, partial(report.moved, job))
            except RnlaError as error:
                report.failures[job.words] = str(error)
            report.ended(job)
        return
    _in_processes(jobs, workers, report)


def perform(job: Job, tell: Callable[[Progress], None]) -> None:
    """Run a job, and look into what it left."""
    results = run(job.request, job.out, on_progress=tell) if job.new else Results.load(job.out)
    look_inside(results)


# ---- several processes ---------------------------------------------------------------------------------
@dataclass
class _Worker:
    """A process that does one job after another."""

    process: Any
    pipe: Connection
    job: Job


def _in_processes(jobs: Sequence[Job], workers: int, report: Report) -> None:
    waiting = deque(jobs)
    running: list[_Worker] = []
    threads = max(1, cores() // workers)
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_start(waiting.popleft(), threads))
                report.started(running[-1].job)
            for pipe in wait([worker.pipe for worker in running], timeout=1.0):
                worker = next(one for one in running if one.pipe is pipe)
                over, alive = _listen(worker, report)
                if not over:
                    continue
                report.ended(worker.job)
                if alive and waiting:
                    worker.job = waiting.popleft()
                    worker.pipe.send(worker.job)
                    report.started(worker.job)
                else:
                    running.remove(worker)
                    _dismiss(worker)
    finally:
        _stop(running)


def _start(job: Job, threads: int) -> _Worker:
    """Start a process with its first job. It never sees Ctrl-C: we pass it on, once, and wait."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit locks of our threads
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _environment({name: str(threads) for name in _THREADS if name not in os.environ}):
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    ours.send(job)
    return _Worker(process, ours, job)


def _listen(worker: _Worker, report: Report) -> tuple[bool, bool]:
    """Take one message; return whether the job is over, and whether the process can take another."""
    try:
        kind, about = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode
        report.failures[worker.job.words] = f"its process ended without a word (exit code {code}): out of memory?"
        return True, False
    if kind == "progress":
        report.moved(worker.job, about)
        return False, True
    if kind == "warned":
        warnings.warn(f"{worker.job.words}: {about}", RunWarning, stacklevel=2)
        return False, True
    if kind == "failed":
        report.failures[worker.job.words] = about
    return True, True


def _dismiss(worker: _Worker) -> None:
    """Let a process without a job go."""
    with contextlib.suppress(OSError):
        worker.pipe.send(None)
    worker.process.join()
    worker.pipe.close()


def _stop(running: Sequence[_Worker]) -> None:
    """End what still runs, with time to write."""
    for worker in running:
        worker.process.terminate()
    until = time.monotonic() + _PATIENCE
    for worker in running:
        worker.process.join(max(0.1, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def _serve(pipe: Connection) -> None:
    """Do jobs in a process of its own until there are none."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what is recorded is being written now
        raise KeyboardInterrupt

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        pipe.send(("warned", str(message)))

    signal.signal(signal.SIGTERM, stop)
    warnings.showwarning = show
    try:
        while (job := pipe.recv()) is not None:
            pipe.send(_done(job, pipe))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):  # stopped, or whoever started us is gone
        return
    finally:
        pipe.close()


def _done(job: Job, pipe: Connection) -> tuple[str, str]:
    """Do a job, and say what came of it."""
    try:
        perform(job, lambda progress: pipe.send(("progress", progress)))
    except RnlaError as error:
        return "failed", str(error)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - told where it can be seen
        return "failed", f"{error!r}\n{traceback.format_exc()}"
    return "done", ""


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
