"""What one looks at inside a finished run: one trial before and after learning, and the alignment. Kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from rnla_neuro.analysis.comparison import Raster, Trial, Voltages, build
from rnla_neuro.errors import BackendError, ConfigError, RnlaError
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.results import Results
from rnla_neuro.run_config import plain

FILE: Final = "inside.json"
FORMAT: Final = 1
_HIDDEN_SHOWN: Final = 4
_ACTIONS_SHOWN: Final = 10
_MOST_SAMPLES: Final = 400
_MOST_SPIKES: Final = 20_000
_SEEDS_ALIGNED: Final = 5
_INPUTS_ALIGNED: Final = 100
_DRAWS: Final = 4
_MILLI: Final = 1e3


def look_inside(results: Results) -> dict[str, Any]:
    """Return what is inside a run, from ``inside.json`` in its folder; it is made, and written, where it is missing.

    Returns:
        ``raster`` (of the first seed), ``alignment`` (moments, and cosines a seed), each None where there is none,
        and ``why``, by name, the reason.

    Raises:
        RunFolderError: The file cannot be written.
    """
    path = results.path / FILE
    known = _known(path)
    if known is not None:
        return known
    why: dict[str, str] = {}
    found: dict[str, Any] = {"format": FORMAT, "raster": None, "alignment": None, "why": why}
    for name, look in (("raster", _raster), ("alignment", _alignment)):
        try:
            found[name] = look(results)
        except RnlaError as error:  # not every model has it: the reason is kept
            why[name] = str(error)
    with whole_or_nothing(path) as temporary:
        temporary.write_text(json.dumps(plain(found), allow_nan=False) + "\n", encoding="utf-8")
    return _known(path) or found


def raster_of(found: dict[str, Any]) -> Raster | None:
    """Return the raster of what `look_inside` found."""
    made: Raster | None = None if found["raster"] is None else build(Raster, found["raster"])
    return made


def _known(path: Path) -> dict[str, Any] | None:
    """Read what is there; None: nothing, or nothing that can be used."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def _raster(results: Results) -> dict[str, Any]:
    """Record the first trial of the first seed, with the weights of the start and of the end."""
    return asdict(Raster(_trial(results, "start"), _trial(results, "end")))


def _trial(results: Results, at: str) -> Trial:
    from rnla_neuro.recording import record_session
    from rnla_neuro.revisit import moment_of, request_of, take_up

    backend = results.config.backend
    if backend == "none":
        raise BackendError(f"learner {results.config.learner!r} decides at once: it has no course in time")
    # a program or a GPU need not start for one trial: the same strings run in this process
    moved = {} if backend == "equilibrium" else {"backend": "brian2", "core": "auto"}
    request = request_of(results, results.config.seeds[:1], **moved)
    # from the beginning both times, so that the same input is shown
    moment = replace(moment_of(results, at), decisions=0)
    with take_up(results, moment, request) as session:
        recording = record_session(session, (0,))
    trial, sizes = recording.trials[0], recording.sizes
    time = (trial.time - trial.onset) * _MILLI
    shown = [*range(min(_HIDDEN_SHOWN, sizes[1]))]
    first = sum(sizes[1:-1])
    names = [f"hidden {k}" for k in shown] + [f"action {k}" for k in range(min(_ACTIONS_SHOWN, sizes[-1]))]
    shown += [first + k for k in range(min(_ACTIONS_SHOWN, sizes[-1]))]
    every = max(1, -(-len(time) // _MOST_SAMPLES))
    voltage = trial.signals["voltage"][0][::every, shown] if "voltage" in trial.signals else np.zeros((0, 0))
    spikes: list[tuple[float, int]] = []
    if trial.spikes is not None:
        steps, neurons = np.nonzero(trial.spikes[0])
        spikes = [(round(float(time[s]), 4), int(n)) for s, n in zip(steps, neurons, strict=True)]
    return Trial(
        time=tuple(round(float(t), 4) for t in time[::every]),
        spikes=tuple(spikes[:_MOST_SPIKES]),
        layers=tuple(sizes),
        voltage=Voltages(
            tuple(names) if voltage.size else (), tuple(tuple(_short(v) for v in line) for line in voltage.T)
        ),
    )


def _alignment(results: Results) -> dict[str, Any]:
    """Return the cosines of all weights, with the running mean of rewards as baseline, a row a seed."""
    from rnla_neuro.analysis.run_alignment import agents_of, align_run, moments_of
    from rnla_neuro.tasks.catalogue import get

    if results.config.learner != "r-nla":
        raise ConfigError(f"learner {results.config.learner!r} has no self-nudging")
    if not get(results.config.task).is_dataset:
        raise ConfigError(f"task {results.config.task!r} has no right actions to form the policy gradient from")
    moments = moments_of(results)
    agents = dict(list(agents_of(results).items())[:_SEEDS_ALIGNED])
    rows = align_run(results, moments, agents, _INPUTS_ALIGNED, samples=_DRAWS)
    chosen = {(seed, row.trial): row.cosine for seed, row in rows if (row.layer, row.baseline) == ("all", "mean")}
    return {
        "iteration": list(moments),
        "seeds": list(agents),
        "cosine": [[chosen[seed, trial] for trial in moments] for seed in agents],
    }


def _short(value: float) -> float:
    """Keep what a picture shows."""
    return float(f"{value:.5g}")
