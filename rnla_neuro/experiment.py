"""A run: several seeds of one request side by side, into a run folder."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rnla_neuro.analysis.operations import spikes_per_decision, synaptic_operations
from rnla_neuro.analysis.statistics import summary
from rnla_neuro.bridge import StepOutcome
from rnla_neuro.errors import TaskError
from rnla_neuro.evaluation import decisions, episode_returns, tracking_error
from rnla_neuro.hardware.emulation.request import hardware_text
from rnla_neuro.network import NetworkSpec
from rnla_neuro.results import WINDOW, Results, RunFolder
from rnla_neuro.run_config import RunConfig
from rnla_neuro.session import LEARNERS, RunRequest, Session
from rnla_neuro.simulation import FloatArray, IntArray
from rnla_neuro.spec.inputs import parse_input
from rnla_neuro.tasks import catalogue
from rnla_neuro.tasks.catalogue import Task

__all__ = ["LEARNERS", "Progress", "RunRequest", "default_name", "run"]

_BATCH = 100  # trials recorded at a time
_CHECKPOINTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # parts of the run at which the weights are kept


class EvaluationWarning(UserWarning):
    """A finished run could not be evaluated in its environment."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: trials done of all, and the running measure, averaged over seeds.

    Attributes:
        iteration: Trials done, an agent.
        iterations: Trials in all.
        measure: What is averaged: ``hit rate``, ``reward`` or ``return``.
        value: Mean over the last `WINDOW` trials (or episodes) and all seeds; NaN before there is one.
    """

    iteration: int
    iterations: int
    measure: str
    value: float


def default_name(request: RunRequest) -> str:
    """Name a run by task, model, learner and time."""
    task = request.task if isinstance(request.task, str) else request.task.name
    stem = Path(task).stem if task.lower().endswith((".npz", ".csv")) else task.replace("/", "-").replace(":", "-")
    model = Path(request.model_name(catalogue.get(request.task))).stem
    return f"{stem}-{model}-{request.learner}-{datetime.now():%Y%m%d-%H%M%S}"


class _Recorder:
    """Collects the trials of a session and writes them to the run folder in batches."""

    def __init__(
        self, folder: RunFolder, session: Session, iterations: int, tell: Callable[[Progress], None] | None
    ) -> None:
        self._folder, self._session, self._iterations, self._tell = folder, session, iterations, tell
        self._rows: dict[str, list[npt.NDArray[Any]]] = {}
        self._recent: list[float] = []
        chosen = session.request.checkpoints
        self._at = set(chosen or ()) if chosen is not None else {round(x * iterations) for x in _CHECKPOINTS}
        self.measure = "reward"
        if 0 in self._at:
            self.checkpoint(0)

    def __call__(self, k: int, actions: IntArray, outcome: StepOutcome, label: IntArray | None) -> None:
        row: dict[str, npt.NDArray[Any]] = {"reward": outcome.reward}
        if label is not None:
            row["correct"] = (actions == label).astype(np.int32)
        else:
            row |= {
                "episode_return": outcome.episode_return.copy(),
                "terminated": outcome.terminated.astype(np.int32),
                "truncated": outcome.truncated.astype(np.int32),
            }
        for name, values in row.items():
            self._rows.setdefault(name, []).append(values)
        if len(self._rows["reward"]) >= _BATCH or k + 1 in self._at:
            self.flush()
        if k + 1 in self._at:
            self.checkpoint(k + 1)

    def flush(self) -> None:
        """Write what has been collected, and tell how far the run is."""
        if not self._rows or not all(self._rows.values()):
            return
        whole = min(map(len, self._rows.values()))  # a signal may have come in the middle of a trial
        batch = {name: np.stack(values[:whole], axis=1) for name, values in self._rows.items()}
        if "correct" in batch:
            self.measure, values = "hit rate", batch["correct"].mean(axis=0)
        elif "episode_return" in batch and np.isfinite(batch["episode_return"]).any():
            returns = batch["episode_return"]
            self.measure, values = "return", returns[np.isfinite(returns)]
        else:
            values = np.zeros(0) if self.measure == "return" else batch["reward"].mean(axis=0)
        self._rows = {}
        self._folder.append(batch)
        self._recent = (self._recent + values.tolist())[-WINDOW:]
        if self._tell is not None:
            value = float(np.mean(self._recent)) if self._recent else float("nan")
            self._tell(Progress(self._folder.iterations, self._iterations, self.measure, value))

    def checkpoint(self, iteration: int) -> None:
        """Keep the weights, and the mean reward at this moment, for `rnla align`."""
        simulation = self._session.simulation
        arrays = simulation.named_weights()
        means = {k: v for k, v in simulation.diagnostics().items() if k.endswith("R_mean")}
        if means:
            arrays["R_mean"] = next(iter(means.values()))
        self._folder.write_weights(arrays, f"checkpoints/weights-{iteration}.npz")


def run(
    request: RunRequest,
    out: Path | None = None,
    *,
    prepare: Callable[[Session], None] | None = None,
    on_start: Callable[[Path], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Results:
    """Run a request into a new folder.

    Args:
        request: What to run.
        out: The folder to make; it must not exist. None: a new one in ``runs/``, named by `default_name`.
        prepare: Called with the session before it learns, to give it other weights, say.
        on_start: Called with the folder when it has been made.
        on_progress: Called every hundred trials.

    Returns:
        The finished run, read back from its folder.

    Raises:
        RnlaError: The request cannot be run, or the folder exists; nothing is left behind.
        KeyboardInterrupt: Ctrl-C; the folder is marked as interrupted and can be read.
    """
    with Session(request) as session:
        assert session.task is not None
        if prepare is not None:
            prepare(session)
        session.simulation.check_ready()
        iterations = request.iterations or session.task.iterations
        config = run_config(session, iterations)
        made = (
            RunFolder.create_beside("runs", default_name(request), config)
            if out is None
            else RunFolder.create(out, config)
        )
        with made as folder:
            if on_start is not None:
                on_start(folder.path)
            seconds = _learn(session, folder, iterations, on_progress)
            session.finish()
            folder.write_weights(session.simulation.named_weights())
            report = summarise(session, Results.load(folder.path), request.evaluation_episodes)
            made_here = iterations * len(request.seeds)
            folder.finish(report | {"wall_time": {"seconds": seconds, "per_decision": seconds / made_here}})
    results = Results.load(folder.path)
    draw(results)
    return results


def _learn(session: Session, folder: RunFolder, iterations: int, tell: Callable[[Progress], None] | None) -> float:
    """Learn into a run folder; return the seconds that it took. What was recorded is kept, whatever happens."""
    recorder = _Recorder(folder, session, iterations, tell)
    began = time.perf_counter()
    try:
        session.train(iterations, recorder)
    except BaseException:
        recorder.flush()
        folder.write_weights(session.simulation.named_weights())
        raise
    recorder.flush()
    return time.perf_counter() - began


def draw(results: Results) -> list[Path]:
    """Draw the learning curve of a run into its folder, as PNG and SVG."""
    from rnla_neuro.analysis.plots import learning_curve

    return list(learning_curve(results, results.path / "learning_curve"))


class Prepared(Protocol):
    """What `run_config` reads: a `Session`, or one that has not been built."""

    @property
    def request(self) -> RunRequest:
        """What was asked for."""

    @property
    def task(self) -> Task | None:
        """The task."""

    @property
    def network(self) -> NetworkSpec:
        """The network."""


def run_config(session: Prepared, iterations: int) -> RunConfig:
    """Return what determines the result of a session, as the run folder keeps it."""
    request, task, model = session.request, session.task, session.network.model
    assert task is not None
    path = Path(task.kwargs.get("path", "")) if "path" in task.kwargs else None
    return RunConfig(
        task=request.task if isinstance(request.task, str) else request.task.name,
        model=model.name,
        learner=request.learner,
        backend="none" if request.is_baseline else request.backend,
        seeds=request.seeds,
        iterations=iterations,
        hidden=session.network.sizes[1:-1],
        reward_delay=request.reward_delay,
        freeze_hidden=request.freeze_hidden,
        precision=request.precision,
        core="auto" if request.is_baseline else request.core,
        road="auto" if request.is_baseline else request.road,
        input=request.input,
        overrides=dict(request.overrides),
        task_options={k: v for k, v in task.kwargs.items() if k != "path"},
        data_sha256=hashlib.sha256(path.read_bytes()).hexdigest() if path else "",
        hardware=request.hardware,
        chip_seed=(request.chip_seed or (1,)) if request.hardware else (),
        calibrated=request.calibrated,
        chip_off=request.chip_off,
        model_text=model.text,
        hardware_text=hardware_text(request),
    )


def greedy_return(session: Session, episodes: int) -> FloatArray:
    """Return the mean return of greedy episodes in the session's task, shape (A,).

    Raises:
        TaskError: An episode does not end.
    """
    assert session.task is not None
    asked, population = session.request, parse_input(session.request.input).population
    returns = episode_returns(session.simulation, session.task, asked.seeds, episodes, population=population)
    return np.asarray(returns.mean(axis=1), dtype=np.float64)


def _evaluation(session: Session, episodes: int) -> dict[str, Any]:
    """Return the greedy return a seed; a run that cannot be evaluated keeps the rest of its summary."""
    if session.bridge.episodes == 0:
        reason = "no episode ended in training, so there is no return to evaluate"
    else:
        try:
            return summary(greedy_return(session, episodes))
        except TaskError as error:
            reason = str(error)
    warnings.warn(f"evaluation_return is missing: {reason}", EvaluationWarning, stacklevel=2)
    return {**summary([None] * len(session.request.seeds)), "reason": reason}


def _tracking(session: Session, weights: list[FloatArray]) -> dict[str, Any]:
    """Return the mean squared error of following the test signals with some weights."""
    assert session.task is not None
    return summary(tracking_error(weights, session.network.form, session.task))


def _confusion(labels: IntArray, decided: IntArray, n_actions: int) -> list[str]:
    """Return the decisions on the test set, a text a seed: rows are right actions, columns what was decided.

    Rows are separated by a semicolon: a matrix with a line for every number would hide the rest of the summary.
    """
    texts = []
    for one in decided:
        counts = np.zeros((n_actions, n_actions), dtype=np.int64)
        np.add.at(counts, (labels, one), 1)
        texts.append("; ".join(" ".join(map(str, row)) for row in counts))
    return texts


def summarise(session: Session, results: Results, episodes: int) -> dict[str, Any]:
    """Return what a run came to, with mean, 95 % interval and values a seed."""
    assert session.task is not None
    report: dict[str, Any] = {}
    simulation = session.simulation
    spikes = spikes_per_decision(simulation)  # before the test, whose spikes are not those of learning
    if session.task.is_dataset:
        labels, decided = decisions(simulation, session.task)
        report["test_accuracy"] = summary((decided == labels).mean(axis=1))
        if session.task.varying and session.network.form.taught:
            report["test_error"] = _tracking(session, simulation.weights())
            report["test_error_before"] = _tracking(session, session.network.initial_weights())
        report["confusion"] = _confusion(labels, decided, session.network.sizes[-1])
    else:
        report["evaluation_return"] = _evaluation(session, episodes)
    report |= results.learning()
    if spikes is not None:
        report["spikes_per_decision"] = {**summary(spikes.sum(axis=1)), "layers": spikes.mean(axis=0).tolist()}
    baseline = session.request.is_baseline
    operations = synaptic_operations(session.network, simulation.weights(), spikes, baseline=baseline)
    report["synaptic_operations_per_decision"] = summary(operations)
    on_chip = simulation.hardware()
    if on_chip is not None:
        report["hardware"] = on_chip
    report["delivery"] = {
        "decisions": simulation.decisions * simulation.n_agents,
        "events_sent": session.events_sent,
        "events_delivered": simulation.delivered,
    }
    return report
