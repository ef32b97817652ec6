"""A run that is over, taken up again: its model, weights and settings as a session that can go on."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError, RunFolderError
from rnla_neuro.results import Results
from rnla_neuro.session import RunRequest, Session
from rnla_neuro.simulation import FloatArray, Simulation

_NOT_FROM_CONFIG = ("iterations", "checkpoints", "evaluation_episodes")


@dataclass(frozen=True)
class Moment:
    """The weights of a run at one moment of its learning.

    Attributes:
        name: ``start``, ``end``, or the number of decisions.
        decisions: Decisions that each agent had made.
        weights: One array (A, n_post, n_pre + 1) a projection; None: those that the seeds draw.
        mean_reward: What the model's running mean of the reward was, shape (A,); None: not kept.
    """

    name: str
    decisions: int
    weights: list[FloatArray] | None
    mean_reward: FloatArray | None = None


def checkpoints(results: Results) -> dict[int, Path]:
    """Return the files of the weights that a run has kept, by its number of decisions."""
    found = {}
    for path in (results.path / "checkpoints").glob("weights-*.npz"):
        match = re.fullmatch(r"weights-(\d+)\.npz", path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def moment_of(results: Results, at: str | int = "end") -> Moment:
    """Return the weights of a run at a moment.

    Args:
        results: The run.
        at: ``end``, ``start``, or the number of decisions of a checkpoint.

    Raises:
        ConfigError: No such moment; the message has those that there are.
        RunFolderError: The weights are missing or corrupted.
    """
    kept, text = checkpoints(results), str(at)
    if text == "start":
        return Moment("start", 0, None)
    if text == "end":
        done = results.iterations
        mean = _read(kept[done])[1] if done in kept else None
        return Moment("end", done, projections(results.weights, results.path / "weights.npz"), mean)
    known = ", ".join(["start", "end", *map(str, kept)])
    if not text.isdecimal() or int(text) not in kept:
        raise ConfigError(f"moment {at!r}: {results.path} has kept weights at {known}")
    weights, mean = _read(kept[int(text)])
    return Moment(text, int(text), weights, mean)


def projections(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> list[FloatArray]:
    """Return the weights of a file, projection by projection.

    Raises:
        RunFolderError: The file has none.
    """
    names = sorted((n for n in arrays if re.fullmatch(r"projection\d+", n)), key=lambda n: int(n[10:]))
    if not names:
        raise RunFolderError(f"the weights {path} are incomplete: no projection0")
    return [np.asarray(arrays[name], dtype=np.float64) for name in names]


def _read(path: Path) -> tuple[list[FloatArray], FloatArray | None]:
    try:
        # opened here: np.load leaves the file of a damaged archive open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(f"the weights {path} are corrupted or incomplete: {error}") from error
    mean = arrays.get("R_mean")
    return projections(arrays, path), None if mean is None else np.asarray(mean, dtype=np.float64)


def request_of(results: Results, seeds: Iterable[int] | None = None, **changes: Any) -> RunRequest:
    """Return the request that made a run.

    Args:
        results: The run.
        seeds: Some of its seeds; None: all.
        **changes: Fields of the request that are to differ, such as ``backend="brian2"``.

    Raises:
        ConfigError: The run has no such seed.
    """
    config = results.config
    shared = {f.name for f in fields(RunRequest)} & {f.name for f in fields(type(config))}
    values = {name: getattr(config, name) for name in shared if name not in _NOT_FROM_CONFIG}
    if config.backend == "none":  # a baseline needs none
        del values["backend"]
    chosen = tuple(config.seeds if seeds is None else seeds)
    for seed in chosen:
        if seed not in config.seeds:
            known = ", ".join(map(str, config.seeds))
            raise ConfigError(f"seed {seed}: the run {results.path} has the seeds {known}")
    if len(config.chip_seed) > 1:  # a chip each
        values["chip_seed"] = tuple(config.chip_seed[config.seeds.index(seed)] for seed in chosen)
    return RunRequest(**(values | {"seeds": chosen} | changes))


def take_up(results: Results, moment: Moment, request: RunRequest) -> Session:
    """Return a session in which a run goes on from a moment.

    The weights, the mean reward where it was kept, the count of decisions (which the learning rate may depend on)
    and the environment are those of the moment. Traces are empty, and exploration draws from the beginning of the
    seeds' streams: from the start it is the run itself, later the same network with other noise.

    Args:
        results: The run.
        moment: From `moment_of`.
        request: From `request_of`; its seeds say which agents.

    Raises:
        RnlaError: The run cannot be taken up: its table has changed, its backend is not here, ….
    """
    _same_table(results)
    session = Session(request, model_text=results.config.model_text or None)
    try:
        rows = [results.config.seeds.index(seed) for seed in request.seeds]
        if moment.weights is not None:
            _fits(moment.weights, session.simulation.weights(), results.path)
            session.simulation.set_weights([w[rows] for w in moment.weights])
        if moment.decisions:
            mean = None if moment.mean_reward is None else moment.mean_reward[rows]
            wind_forward(session.simulation, moment.decisions, mean)
            session.bridge.resume(moment.decisions)
        session.count_from_here()
    except BaseException:
        session.close()
        raise
    return session


def wind_forward(simulation: Simulation, decisions: int, mean_reward: FloatArray | None) -> None:
    """Set a new simulation's count of decisions, its clock, and the running mean of the reward."""
    state = simulation.state()
    clock = np.array(state.get("clock", []))  # decisions, skipped, delivered, waited, time, …
    if len(clock) < 5:  # a baseline has no clock of its own
        simulation.decisions = decisions
        return
    clock[0], clock[4] = decisions, decisions * simulation.trial_duration
    state["clock"] = clock
    key = next((name for name in ("modulators", "engine.modulators") if name in state), None)
    names = [name for name in simulation.diagnostics() if "." in name]
    place = next((k for k, name in enumerate(names) if name.endswith(".R_mean")), None)
    if key is not None and place is not None and mean_reward is not None:
        state[key] = np.array(state[key])
        state[key][:, place] = mean_reward
    simulation.restore(state)


def _fits(weights: list[FloatArray], own: list[FloatArray], path: Path) -> None:
    found, needed = [w.shape[1:] for w in weights], [w.shape[1:] for w in own]
    if found != needed:
        raise RunFolderError(f"{path}: the weights have the shapes {found}, and the network needs {needed}")


def _same_table(results: Results) -> None:
    """Refuse a table that is not the one of the run any more."""
    import hashlib

    config = results.config
    if not config.data_sha256:
        return
    try:
        content = Path(config.task).read_bytes()
    except OSError as error:
        raise RunFolderError(f"{config.task}, which the run learned, cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != config.data_sha256:
        raise RunFolderError(f"{config.task} has changed since the run: its data are not those that were learned")
