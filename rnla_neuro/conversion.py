"""Trained weights from one model to another: a rate network into its spiking twin, and back.

Twins send the same thing in other ways: a hidden neuron of `rate_nla` sends tanh(u), one of `spiking_nla` 2 s - 1, s
the filtered spike train; both lie in [-1, 1]. What each model sends is read from its own strings (`transmission`), and
weights and biases are scaled so that every neuron gets the same current from the same part of the range.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from rnla_neuro.analysis.statistics import summary
from rnla_neuro.errors import BackendError, ConfigError, RunFolderError
from rnla_neuro.evaluation import accuracy
from rnla_neuro.experiment import Progress, default_name, greedy_return, run, run_config
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.results import Results, RunFolder
from rnla_neuro.revisit import Moment, moment_of, request_of, take_up, wind_forward
from rnla_neuro.run_config import plain
from rnla_neuro.session import RunRequest, Session
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.proof import symbol
from rnla_neuro.spec.sections import NotOfThisForm, Section

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Transmission:
    """What a hidden neuron sends: from `low`, when it is silent, to `high`; None: without bound, or not known.

    Attributes:
        low: At rest: the limit of phi at very low voltage, or what is sent without spikes.
        high: The limit of phi at very high voltage, or what is sent at the rate r_max (s = 1).
    """

    low: float
    high: float | None

    def __str__(self) -> str:
        return f"[{self.low:g}, {'∞' if self.high is None else f'{self.high:g}'}]"


@dataclass(frozen=True)
class Conversion:
    """How weights are converted: ``sent_by_source = offset + scale*sent_by_target``.

    Attributes:
        source: What the source's hidden neurons send.
        target: What the target's send.
    """

    source: Transmission
    target: Transmission

    @property
    def scale(self) -> float:
        """How much more of the target's it takes; a range without bound counts unit by unit."""
        if self.source.high is None or self.target.high is None:
            return 1.0
        return (self.source.high - self.source.low) / (self.target.high - self.target.low)

    @property
    def offset(self) -> float:
        """What the source sends where the target sends 0."""
        return self.source.low - self.scale * self.target.low

    def weights(self, weights: Sequence[FloatArray]) -> list[FloatArray]:
        """Return the target's weights, arrays (A, n_post, n_pre + 1) with the bias last; inputs are the same."""
        first, *others = (np.array(w, dtype=np.float64) for w in weights)
        for w in others:
            w[:, :, -1] += self.offset * w[:, :, :-1].sum(axis=2)
            w[:, :, :-1] *= self.scale
        return [first, *others]


def transmission(model: ModelSpec) -> Transmission:
    """Return the range of what a model's hidden neurons send, by its strings.

    Raises:
        BackendError: It has no lower bound, or is nothing that a low-pass of spikes or a rate function says.
    """
    section = Section(model, "hidden", model.hidden)
    if model.hidden.threshold:
        try:
            sent = section.filter(model.roles["rate"])
        except NotOfThisForm as no:
            raise BackendError(f"model {model.name!r}: what its neurons send is not known: {no}") from None
        ends = sorted((sent.offset, sent.offset + sent.gain))
        return Transmission(*ends)
    u = symbol(model.roles["voltage"])
    known = {symbol(n): sp.Float(v, 17) for n, v in section.known.items()}
    phi = parse(model.hidden.phi or "0", "[neuron.hidden] phi", symbol).xreplace(known)
    low, high = (_limit(phi, u, sign) for sign in (-1, 1))
    if low is None:
        raise BackendError(f"model {model.name!r}: phi = {model.hidden.phi!r} has no lower bound to convert from")
    return Transmission(low, high)


def _limit(phi: sp.Expr, u: sp.Symbol, sign: int) -> float | None:
    """Return what a rate function tends to far out, if it tends to something."""
    values = [float(sp.re(phi.xreplace({u: sp.Float(sign * x, 40)}).evalf(30))) for x in (200.0, 400.0)]
    return values[1] if abs(values[1] - values[0]) < 1e-2 * max(1.0, abs(values[0])) else None


def conversion_between(source: ModelSpec, target: ModelSpec) -> Conversion:
    """Return how weights of one model become those of another.

    Raises:
        BackendError: What one of them sends is not known.
    """
    return Conversion(transmission(source), transmission(target))


# ---- runs ----------------------------------------------------------------------------------------------
def convert_run(
    source: Results | str | Path,
    to: str,
    out: str | Path | None = None,
    *,
    at: str | int = "end",
    learn: int = 0,
    backend: str | None = None,
    core: str = "auto",
    road: str = "auto",
    overrides: Mapping[str, str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Results:
    """Load a run's weights into another model, and let it learn on.

    Args:
        source: The run, or its folder.
        to: Name or path of the other model.
        out: The new run folder; None: one in ``runs/``.
        at: Moment of the run's learning, as for `rnla_neuro.recording.record_run`.
        learn: Decisions of each seed in the new model, from the converted weights.
        backend: What runs the new model; None: that of the run if it can, else ``brian2``.
        core: What computes, where the backend has several.
        road: How a Brian2 backend integrates.
        overrides: Parameters of the new model by name.
        on_progress: Called now and then while it learns.

    Returns:
        The new run; ``summary["conversion"]`` has the measure before, by conversion alone, and after learning.

    Raises:
        ConfigError: A value is not allowed.
        BackendError: The models do not fit together, or the backend cannot run the new one.
    """
    if learn < 0:
        raise ConfigError(f"learn {learn}: a number of decisions from 0 is needed")
    results = source if isinstance(source, Results) else Results.load(source)
    changed = dict(overrides or {})
    handover = _handover(results, load_model(to, changed), moment_of(results, at))
    handover.about["learned"] = learn
    request = request_of(
        results,
        model=to,
        overrides=changed,
        learner="r-nla",
        backend=backend or _backend(results.config.backend, handover.model),
        core=core,
        road=road,
        iterations=max(1, learn),
    )
    with take_up(results, handover.moment, request_of(results)) as before:
        assert before.task is not None
        handover.about["measure"] = "test_accuracy" if before.task.is_dataset else "evaluation_return"
        handover.about["before"] = summary(_measure(before))
    target = None if out is None else Path(out)
    if learn:
        made = run(request, target, prepare=handover, on_progress=on_progress)
    else:
        made = _untrained(request, target, handover)
    found, measure = handover.about, handover.about["measure"]
    found["after"] = made.summary.get(measure) if learn else None
    _add_to_summary(made.path, {"conversion": found, **({} if learn else {measure: found["converted"]})})
    return Results.load(made.path)


@dataclass
class _Handover:
    """Gives a session the converted weights, and keeps what is to be said of it."""

    model: ModelSpec
    moment: Moment
    weights: list[FloatArray]
    about: dict[str, Any]

    def __call__(self, session: Session) -> None:
        own = session.simulation.weights()
        found, needed = [w.shape for w in self.weights], [w.shape for w in own[: len(self.weights)]]
        if found != needed:
            raise RunFolderError(f"{self.about['from']}: weights of {found}, needed are {needed}")
        session.simulation.set_weights([*self.weights, *own[len(self.weights) :]])
        if self.moment.mean_reward is not None:
            wind_forward(session.simulation, 0, self.moment.mean_reward)
        self.about["converted"] = summary(_measure(session))


def _handover(results: Results, new: ModelSpec, moment: Moment) -> _Handover:
    """Convert the weights of a moment; those beside the chain of layers stay behind."""
    config = results.config
    if moment.weights is None:
        raise ConfigError("at 'start' there is nothing to convert: take 'end', or a checkpoint")
    old = parse_model(config.model_text, results.path / "model.toml", dict(config.overrides))
    how = conversion_between(old, new)
    about: dict[str, Any] = {"from": str(results.path), "at": moment.name}
    about |= {"from_model": old.name, "to_model": new.name, "sends": f"{how.source} -> {how.target}"}
    about |= {"scale": how.scale, "offset": how.offset}
    return _Handover(new, moment, how.weights(moment.weights[: len(config.hidden) + 1]), about)


def _backend(before: str, model: ModelSpec) -> str:
    """Return the run's own backend where it can run the model."""
    if before.startswith("brian2"):
        return before
    try:
        derive_form(model)
    except BackendError:
        return "brian2"
    return "equilibrium" if before == "none" else before


def _measure(session: Session) -> FloatArray:
    """Return the accuracy on the test set, or the mean greedy return, one a seed."""
    task = session.task
    assert task is not None
    if task.is_dataset:
        return accuracy(session.simulation, task)
    return greedy_return(session, session.request.evaluation_episodes)


def _untrained(request: RunRequest, out: Path | None, begin: Callable[[Session], None]) -> Results:
    """Make a run folder of no decisions: model, configuration and weights."""
    with Session(request) as session:
        begin(session)
        config = replace(run_config(session, 0), iterations=0)
        name = default_name(request)
        made = RunFolder.create_beside("runs", name, config) if out is None else RunFolder.create(out, config)
        with made as folder:
            folder.write_weights(session.simulation.named_weights())
            folder.finish({})
    return Results.load(made.path)


def _add_to_summary(folder: Path, more: Mapping[str, Any]) -> None:
    path = folder / "summary.json"
    about = json.loads(path.read_text(encoding="utf-8")) | plain(more)
    with whole_or_nothing(path) as temporary:
        temporary.write_text(json.dumps(about, indent=2, allow_nan=False) + "\n", encoding="utf-8")
