"""What a comparison consists of: every model with every reward delay, checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rnla_neuro.backend import get_backend
from rnla_neuro.channels import REWARD, parse_delays
from rnla_neuro.errors import BackendError, ConfigError, RnlaError
from rnla_neuro.experiment import run_config
from rnla_neuro.network import NetworkSpec, uses_credit
from rnla_neuro.resources import models_dir
from rnla_neuro.run_config import RunConfig
from rnla_neuro.session import LEARNERS, RunRequest, Session, connect, engine_options
from rnla_neuro.spec.parameters import TRIAL_KEYS
from rnla_neuro.tasks import catalogue
from rnla_neuro.tasks.catalogue import Task

_LAW: Final = re.compile(r"\s*[A-Za-z]\w*\s*(:|;|=|$)")
AUTO: Final = "auto"


@dataclass(frozen=True)
class Prepared:
    """A request with its task and network, which nothing simulates yet; as `run_config` reads it."""

    request: RunRequest
    task: Task | None
    network: NetworkSpec


@dataclass(frozen=True)
class Planned:
    """One cell of the comparison.

    Attributes:
        model: Name for tables.
        delay: Reward delay as asked for.
        kind: ``rate``, ``spiking`` or ``baseline``.
        summary: One line about the model.
        request: The run, for all seeds.
        config: What its run folders hold, without seeds.
        network: For one seed.
    """

    model: str
    delay: str
    kind: str
    summary: str
    request: RunRequest
    config: RunConfig
    network: NetworkSpec

    @property
    def backend(self) -> str:
        """The engine, ``none`` for baselines."""
        return self.config.backend

    @property
    def words(self) -> str:
        """The cell in words."""
        return f"{self.model}, reward delay {self.delay}"


def read_delays(text: str) -> tuple[str, ...]:
    """Read several laws of the reward delay; a comma within one (``gamma:2,15ms``) does not end it.

    Raises:
        ConfigError: One has no known form, or comes twice.

    >>> read_delays("none,iterations:1,gamma:2,15ms")
    ('none', 'iterations:1', 'gamma:2,15ms')
    """
    laws: list[str] = []
    for piece in text.split(","):
        if laws and not _LAW.match(piece):
            laws[-1] += f",{piece}"
        else:
            laws.append(piece)
    laws = [law.strip() for law in laws]
    seen: list[Mapping[str, object]] = []
    for law in laws:
        try:
            meaning = parse_delays(law)
        except RnlaError as error:
            raise ConfigError(f"--reward-delays {text}: {error}") from error
        if meaning in seen:
            raise ConfigError(f"--reward-delays {text}: {law} comes twice")
        seen.append(meaning)
    return tuple(laws)


def read_names(option: str, text: str) -> tuple[str, ...]:
    """Read names that are separated by commas.

    Raises:
        ConfigError: One is empty.

    >>> read_names("--models", "rate_nla, reinforce")
    ('rate_nla', 'reinforce')
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(f"{option} {text!r}: names separated by commas are needed, such as {option} a,b")
    return names


def plan(
    task: str,
    models: Sequence[str],
    *,
    backends: Sequence[str] = (AUTO,),
    delays: Sequence[str] = ("none",),
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    iterations: int | None = None,
    hidden: tuple[int, ...] | None = None,
    overrides: Mapping[str, str] | None = None,
    precision: str = "float64",
    core: str = AUTO,
    evaluation_episodes: int = 100,
    input: str = "",
    hardware: str = "",
    chip_seed: tuple[int, ...] = (),
    calibrated: bool = True,
    chip_off: tuple[str, ...] = (),
) -> tuple[Planned, ...]:
    """Plan a comparison, by model, then by delay.

    Args:
        task: Name in the catalogue, Gymnasium id, or path of a table.
        models: Names or paths of model files, or learners other than ``r-nla`` (``reinforce``, ``backprop``, …), which
            run on the task's own model.
        backends: One for all models, or one a model; ``auto``: ``equilibrium`` for rate models of the proven form,
            ``brian2`` for others.
        delays: Reward delays. With late rewards a model of ours that has a late variant (``rate_nla_late``) is
            replaced by it.
        seeds: The same for all.
        iterations: Decisions of each seed; None: what the task needs.
        hidden: Sizes of the hidden layers; None: the task's.
        overrides: Parameters for all models; those that a baseline lacks do not concern it.
        precision: ``float64`` or ``float32``.
        core: What computes, where a backend has several.
        evaluation_episodes: Greedy episodes at the end, for tasks without a test set.
        input: How input values are sent, for all models (`RunRequest.input`); empty: as each model says. A baseline has
            no course in time: it sees the values.
        hardware: Platform whose chip is emulated for all models (`RunRequest.hardware`); empty: none.
        chip_seed: Which chip, the same for all seeds: they are divided between workers.
        calibrated: Whether it has been calibrated.
        chip_off: Effects of the platform that are left out.

    Raises:
        ConfigError: A model, backend or delay is unknown or given twice, or one cannot run; the message says which.
    """
    labels = _labels(models)
    if len(backends) not in (1, len(models)):
        raise ConfigError(
            f"{len(backends)} backends for {len(models)} models: one for all is needed, or one for each model"
        )
    if len(chip_seed) > 1:
        raise ConfigError(f"--chip-seed: {len(chip_seed)} chips; a comparison runs all seeds on one: give one")
    each = tuple(backends) * (len(models) if len(backends) == 1 else 1)
    found = catalogue.get(task)
    shared = RunRequest(
        task=task,
        seeds=tuple(seeds),
        iterations=iterations or found.iterations,
        hidden=hidden,
        overrides=dict(overrides or {}),
        precision=precision,
        core=core,
        evaluation_episodes=evaluation_episodes,
        input=input,
        hardware=hardware,
        chip_seed=chip_seed,
        calibrated=calibrated,
        chip_off=chip_off,
    )
    return _plan_all(shared, zip(models, labels, each, strict=True), delays)


def _plan_all(shared: RunRequest, models: Iterable[tuple[str, str, str]], delays: Sequence[str]) -> tuple[Planned, ...]:
    """Plan and check every cell of models, given by name, label and backend."""
    planned, described = [], set[tuple[str, str]]()
    for model, label, backend in models:
        for delay in delays:
            try:
                one = _plan_one(shared, model, label, backend, delay)
                known = (one.config.model_text, one.backend)
                _check(one, quick=known in described)
                described.add(known)
            except RnlaError as error:
                raise ConfigError(f"cannot compare {label} with reward delay {delay}: {error}") from error
            planned.append(one)
    return tuple(planned)


def _labels(models: Sequence[str]) -> list[str]:
    """Return names for tables: of a path the stem, unless two share it.

    Raises:
        ConfigError: A model is given twice.
    """
    for model in models:
        if list(models).count(model) > 1:
            raise ConfigError(f"--models: {model} is given twice")
    stems = [Path(model).stem if _is_path(model) else model for model in models]
    return [stem if stems.count(stem) == 1 else model for stem, model in zip(stems, models, strict=True)]


def _is_path(model: str) -> bool:
    return "/" in model or model.endswith(".toml")


def _plan_one(shared: RunRequest, model: str, label: str, backend: str, delay: str) -> Planned:
    """Plan one cell."""
    as_learner = model in LEARNERS and model != LEARNERS[0]
    request = replace(shared, reward_delay=delay)
    request = replace(request, learner=model) if as_learner else replace(request, model=_late(model, delay))
    if request.is_baseline:
        request = replace(request, overrides=_own(request), core=AUTO)
    prepared = prepare(request)
    proven = _proven(prepared.network)
    if not request.is_baseline:
        chosen = ("equilibrium" if proven else "brian2") if backend == AUTO else backend
        core = request.core if chosen == backend or chosen == "equilibrium" else AUTO
        request = replace(request, backend=chosen, core=core)
        prepared = replace(prepared, request=request)
    network = prepared.network
    return Planned(
        model=label,
        delay=delay,
        kind="baseline" if request.is_baseline else network.model.kind,
        summary=f"{model} on the same network, data, budget and seeds" if as_learner else network.model.summary,
        request=request,
        config=replace(run_config(prepared, request.iterations or 0), seeds=()),
        network=network,
    )


def _late(model: str, delay: str) -> str:
    """Return the late variant of a model of ours, where there is one and rewards are late."""
    late = parse_delays(delay)[REWARD].kind != "none"
    return f"{model}_late" if late and (models_dir() / f"{model}_late.toml").is_file() else model


def _own(request: RunRequest) -> dict[str, str]:
    """Keep the overrides that a baseline has: the time course of a trial."""
    return {name: value for name, value in request.overrides.items() if name in TRIAL_KEYS}


def prepare(request: RunRequest) -> Prepared:
    """Return task and network, for the first seed."""
    one = replace(request, seeds=request.seeds[:1])
    bridge, network = connect(one)
    task = bridge.task
    bridge.close()
    return Prepared(one, task, network)


def _proven(network: NetworkSpec) -> bool:
    """Whether a model is of the proven form."""
    try:
        _ = network.form
    except BackendError:
        return False
    return True


def _check(one: Planned, *, quick: bool) -> None:
    """Refuse what cannot run.

    Args:
        one: The cell.
        quick: Model and backend have been looked at with another delay.

    Raises:
        RnlaError: It cannot.
    """
    request = replace(one.request, seeds=one.request.seeds[:1])
    if request.is_baseline:
        with Session(request) as session:  # cheap, and only a decision shows whether a learner gets its labels
            session.train(1)
        return
    engine = get_backend(request.backend)
    missing = engine.missing()
    if missing:
        raise BackendError(f"backend {request.backend!r} cannot run here: {missing}")
    engine.check(one.network, engine_options(request, engine))
    if uses_credit(one.network.model):
        _ = one.network.credit
    if request.hardware and request.backend == "equilibrium":
        Session(request).close()  # an emulated chip may have what only strings can have
    if request.backend == "equilibrium":
        with Session(request):
            return
    if not quick:
        engine.describe(one.network)
