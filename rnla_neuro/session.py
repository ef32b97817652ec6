"""From a request (task, model, learner, backend, …) to a simulation in closed loop with its environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rnla_neuro.backend import Backend, get_backend
from rnla_neuro.bridge import EnvironmentBridge, StepOutcome
from rnla_neuro.channels import REWARD, parse_delays
from rnla_neuro.codec import Codec
from rnla_neuro.errors import BackendError, ConfigError, unknown
from rnla_neuro.events import EventBatch
from rnla_neuro.hardware.emulation.request import check_chip, simulate
from rnla_neuro.learners import LEARNERS as BASELINES
from rnla_neuro.learners import make_learner
from rnla_neuro.network import NetworkSpec
from rnla_neuro.seeding import streams
from rnla_neuro.simulation import IntArray, Label, Simulation
from rnla_neuro.spec.inputs import parse_input, with_input
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.parameters import TRIAL_KEYS
from rnla_neuro.spec.perturbation import as_node_perturbation
from rnla_neuro.spec.supervised import LESSON, as_supervised
from rnla_neuro.tasks import catalogue
from rnla_neuro.tasks.catalogue import Task
from rnla_neuro.teaching import Teaching
from rnla_neuro.vectorize import EnvironmentLike

SUPERVISED = "supervised"
LEARNERS: tuple[str, ...] = ("r-nla", "node-perturbation", SUPERVISED, *sorted(BASELINES, reverse=True))
DEFAULT_MODEL, LATE_MODEL, PERTURBATION_MODEL = "rate_nla", "rate_nla_late", "rate_nla_perturbation"
ROADS = ("auto", "fused", "plain")
_CORE_OPTIONS = ("core", "target", "simulator")  # how backends call what RunRequest calls core

OnTrial = Callable[[int, IntArray, StepOutcome, "IntArray | None"], None]


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for; None and ``auto`` are filled in from the task.

    Attributes:
        task: Name in the catalogue, Gymnasium id, or path of a table.
        model: Name or path of a model file. ``auto``: the task's, and `LATE_MODEL` in place of
            `DEFAULT_MODEL` when rewards are late, since one low-pass cannot credit the trial before. With node
            perturbation it is `PERTURBATION_MODEL`; any other model is turned into node perturbation. The learner
            ``supervised`` nudges any model towards the task's targets (`as_supervised`).
        learner: One of `LEARNERS`.
        backend: Name of a backend; the baselines need none and ignore it.
        seeds: One an agent; all learn side by side.
        iterations: Decisions an agent.
        hidden: Sizes of the hidden layers.
        reward_delay: As `RewardDelay.parse` reads it; other channels after a semicolon (`parse_delays`).
        overrides: Parameters of the model (or of a baseline) by name.
        freeze_hidden: Only the action layer learns.
        precision: ``float64`` or ``float32``.
        core: What computes, where a backend has several: ``auto``; ``native`` or ``numpy`` for `equilibrium`,
            ``numpy`` or ``cython`` for `brian2`; the simulator for `pynn`, such as ``nest``.
        road: How a Brian2 backend integrates: ``fused`` (one kernel for the whole step, for models of the proven
            form), ``plain`` (Brian2's own `Synapses`), ``auto``: fused where it can.
        input: How input values become what input neurons send, `parse_input`: ``poisson``, ``population:8``,
            ``population:8,regular``; empty: as the model says.
        hardware: Name or path of a platform file whose chip is emulated; empty: none.
        chip_seed: Which chip all agents are on, or one an agent; empty: chip 1.
        calibrated: Whether the chips have been calibrated.
        chip_off: Effects of the platform that are left out, names of `EFFECTS`.
        hardware_text: Text of the platform file, where it is not to be read again.
        evaluation_episodes: Greedy episodes an agent at the end, for tasks without a test set.
        checkpoints: Trials after which a run keeps the weights (for `rnla align`); None: 0, 1, 3, 10, 30 and
            100 % of the run.
    """

    task: str | Task
    model: str = "auto"
    learner: str = "r-nla"
    backend: str = "equilibrium"
    seeds: tuple[int, ...] = (1,)
    iterations: int | None = None
    hidden: tuple[int, ...] | None = None
    reward_delay: str = "none"
    overrides: Mapping[str, str] = field(default_factory=dict)
    freeze_hidden: bool = False
    precision: str = "float64"
    core: str = "auto"
    road: str = "auto"
    input: str = ""
    hardware: str = ""
    chip_seed: tuple[int, ...] = ()
    calibrated: bool = True
    chip_off: tuple[str, ...] = ()
    hardware_text: str = field(default="", repr=False)
    evaluation_episodes: int = 100
    checkpoints: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.learner not in LEARNERS:
            raise ConfigError(unknown("learner", self.learner, LEARNERS))
        if self.iterations is not None and self.iterations < 1:
            raise ConfigError(f"iterations = {self.iterations}: at least 1 is needed")
        if self.hidden is not None and (not self.hidden or min(self.hidden) < 1):
            raise ConfigError(
                f"hidden layers {self.hidden}: at least one layer with at least one neuron is needed"
            )
        if self.evaluation_episodes < 1:
            raise ConfigError(f"evaluation_episodes = {self.evaluation_episodes}: at least 1 is needed")
        if self.checkpoints is not None and min(self.checkpoints, default=0) < 0:
            raise ConfigError(f"checkpoints {self.checkpoints}: numbers of trials of at least 0 are needed")
        parse_input(self.input)
        if self.road not in ROADS:
            raise ConfigError(unknown("road", self.road, ROADS))
        check_chip(self)
        delays = parse_delays(self.reward_delay)
        if self.learner == SUPERVISED and delays[REWARD].kind != "none":
            raise ConfigError(
                f"reward delay {self.reward_delay!r}: learner 'supervised' learns from targets, which come with their "
                "input, and not from rewards; allowed is none"
            )

    @property
    def is_baseline(self) -> bool:
        """Whether the learner is one of the baselines rather than a neural model on a backend."""
        return self.learner in BASELINES

    def model_name(self, task: Task) -> str:
        """Return the model to load."""
        if self.model != "auto":
            return self.model
        if self.learner == "node-perturbation" and task.model == DEFAULT_MODEL:
            return PERTURBATION_MODEL
        late = parse_delays(self.reward_delay)[REWARD].kind != "none" and not self.is_baseline
        return LATE_MODEL if late and task.model == DEFAULT_MODEL else task.model

    def load(self, task: Task, text: str | None = None) -> ModelSpec:
        """Load the model, or read it from its text, with the overrides that concern it."""
        overrides = dict(self.overrides)
        if self.is_baseline:
            overrides = {name: value for name, value in overrides.items() if name in TRIAL_KEYS}
        name, code = self.model_name(task), parse_input(self.input).code
        if code is not None and text is None:
            coded = with_input(load_model(name), code)
            name, text = str(coded.path), coded.text
        if self.learner == SUPERVISED:
            return _taught(name, text, overrides, task.varying)
        model = load_model(name, overrides) if text is None else parse_model(text, Path(name), overrides)
        perturb = self.learner == "node-perturbation" and model.name != PERTURBATION_MODEL
        return as_node_perturbation(model) if perturb else model


def _taught(name: str, text: str | None, overrides: dict[str, str], varying: bool) -> ModelSpec:
    """Load a model and nudge it towards targets; what the rewritten text alone has is set in it."""
    if text is not None:
        return as_supervised(parse_model(text, Path(name), overrides), varying)
    model = load_model(name)
    if model.takes_target:
        return load_model(name, overrides)
    if LESSON in model.parameters or not varying:
        return as_supervised(load_model(name, overrides), varying)
    first = as_supervised(load_model(name, {k: v for k, v in overrides.items() if k != LESSON}), varying)
    return parse_model(first.text, first.path, overrides)


class Session:
    """A simulation and its environment, in closed loop; a context manager.

    Attributes:
        request: What was asked for.
        task: The task, or None for a ready environment.
        network: The network, initial weights included.
        simulation: The simulation of all agents.
        bridge: The environments of all agents.
        teaching: What comes in place of rewards, for a supervised learner; None for others.
    """

    def __init__(
        self,
        request: RunRequest,
        env: EnvironmentLike | None = None,
        codec: Codec | None = None,
        model_text: str | None = None,
    ) -> None:
        self.request = request
        self.bridge, self.network = connect(request, env, codec, model_text)
        try:
            self.task = self.bridge.task
            taught = request.learner == SUPERVISED
            self.teaching = Teaching.of(self.network.model, self.bridge) if taught else None
            self.simulation = _simulate(request, self.network, tuple(self.network.model.neuromodulators))
            self._before = (0, 0)
        except BaseException:
            self.bridge.close()
            raise

    def train(self, iterations: int, on_trial: OnTrial | None = None) -> None:
        """Run `iterations` decisions of each agent; rewards that are under way at the end stay under way.

        Args:
            iterations: How many.
            on_trial: Called after each with its number, the actions, what came of them, and the right
                actions if the task knows them (both shape (A,)).
        """
        simulation, bridge = self.simulation, self.bridge
        for k in range(iterations):
            t, label = simulation.next_decision, bridge.labels()
            actions = simulation.decide(bridge.observation, self.events(t), self.told())
            outcome = bridge.step(actions, t)
            if on_trial is not None:
                on_trial(k, actions, outcome, label)

    def finish(self) -> None:
        """Deliver the rewards that are under way, and compare what was sent with what arrived.

        Raises:
            DeliveryError: They differ.
        """
        left = self.bridge.drain()
        self.simulation.finish(left if self.teaching is None else self.teaching.without_rewards(left))
        delivered, decisions = self._before
        made = (self.simulation.decisions - decisions) * self.simulation.n_agents
        self.bridge.check_delivered(self.simulation.delivered - delivered - self._lessons, made)

    def events(self, t: float) -> EventBatch:
        """Return the events up to the decision at `t`; a supervised learner gets lessons in place of rewards."""
        events = self.bridge.events(t)
        if self.teaching is None:
            return events
        return self.teaching.events(t - self.simulation.decision_time, t, events)

    def told(self) -> Label:
        """Return what the simulation is told beside its input: the right actions, or targets that vary in time."""
        target = None if self.teaching is None else self.bridge.targets()
        return self.bridge.labels() if target is None else target

    @property
    def _lessons(self) -> int:
        """Lessons sent, less the rewards, in whose place they come."""
        return 0 if self.teaching is None else self.teaching.sent - self.bridge.sent_as_reward

    @property
    def events_sent(self) -> int:
        """Events sent to the network so far, all channels and agents together."""
        return self.bridge.rewards_sent + self._lessons

    def count_from_here(self) -> None:
        """Compare only what comes from now on: the simulation's state came from an earlier session."""
        self._before = (self.simulation.delivered, self.simulation.decisions)

    def close(self) -> None:
        """Close the environment and the simulation."""
        self.bridge.close()
        self.simulation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def connect(
    request: RunRequest,
    env: EnvironmentLike | None = None,
    codec: Codec | None = None,
    model_text: str | None = None,
) -> tuple[EnvironmentBridge, NetworkSpec]:
    """Return the environments of a request and the network that fits them, which nothing simulates yet.

    Args:
        request: What was asked for.
        env: A ready environment in place of the request's task.
        codec: How observations become inputs; None: by the observation space.
        model_text: Text of the model file, where it is not to be read again.

    Raises:
        RnlaError: The task, the model or the delay cannot be used.
    """
    task = Task("environment", "environment") if env is not None else catalogue.get(request.task)
    model = request.load(task, model_text)
    _refuse_unfit(request, task, model)
    hidden = request.hidden if request.hidden is not None else task.hidden
    delays = parse_delays(request.reward_delay)
    bridge = EnvironmentBridge(
        env if env is not None else task,
        len(request.seeds),
        request.seeds,
        codec,
        delays,
        trial_duration=model.trial.duration,
        decision_time=model.trial.decision,
        channels=tuple(model.neuromodulators),
        watch=request.learner != SUPERVISED,  # it does not learn from rewards
        population=parse_input(request.input).population,
    )
    try:
        network = NetworkSpec(
            model=model,
            sizes=(bridge.n_in, *hidden, bridge.n_actions),
            seeds=request.seeds,
            precision=request.precision,
            freeze_hidden=request.freeze_hidden,
            delay=delays[REWARD],
        )
    except BaseException:
        bridge.close()
        raise
    return bridge, network


def _refuse_unfit(request: RunRequest, task: Task, model: ModelSpec) -> None:
    """Refuse a learner that cannot learn the task, or not with this model.

    Raises:
        ConfigError: It names the learner, the model or the task, and what is allowed.
    """
    if task.varying and request.is_baseline:
        raise ConfigError(
            f"learner {request.learner!r} takes inputs that are held for a trial, and those of task {task.name!r} vary "
            "in time: choose supervised, r-nla or node-perturbation"
        )
    if model.takes_target and request.learner != SUPERVISED:
        raise ConfigError(
            f"model {model.name!r} is told a target, and learner {request.learner!r} has none to tell: choose "
            "learner supervised, or another model (such as rate_nla)"
        )


def engine_options(request: RunRequest, backend: Backend) -> dict[str, Any]:
    """Return the options that a request gives its backend.

    Raises:
        ConfigError: The backend has no choice of core or road, and the request makes one.
    """
    has = backend.capabilities.options
    core = next((name for name in _CORE_OPTIONS if name in has), None)
    options: dict[str, Any] = {}
    for what, asked, name in (("core", request.core, core), ("road", request.road, "road")):
        if name is not None and name in has:
            options[name] = asked
        elif asked != "auto":
            raise ConfigError(
                f"{what} {asked!r}: backend {request.backend!r} has only one {what}; allowed is auto"
            )
    return options


def _simulate(request: RunRequest, network: NetworkSpec, channels: tuple[str, ...]) -> Simulation:
    if not request.hardware:
        return _plain(request, network, channels)
    return simulate(
        request,
        network,
        None if request.is_baseline else get_backend(request.backend),
        lambda backend: engine_options(request, backend),
        lambda changed: _plain(request, changed, channels),
    )


def _plain(request: RunRequest, network: NetworkSpec, channels: tuple[str, ...]) -> Simulation:
    if not request.is_baseline:
        backend = get_backend(request.backend)
        if request.input and network.model.kind not in backend.capabilities.kinds:
            raise BackendError(
                f"backend {request.backend!r} cannot run --input {request.input}: it makes a model of kind "
                f"{network.model.kind!r}, and runs those of kind {', '.join(backend.capabilities.kinds)}; take "
                "--backend brian2 or another of Brian2's"
            )
        return backend.build(network, **engine_options(request, backend))
    overrides: dict[str, object] = {k: v for k, v in request.overrides.items() if k not in TRIAL_KEYS}
    if request.learner == "reinforce" and network.delay.kind != "none":
        # a fair baseline knows how late rewards are on average
        overrides.setdefault("credit_delay_s", network.delay.mean(network.model.trial.duration))
    return make_learner(
        request.learner,
        network.initial_weights(),
        [streams(seed).exploration for seed in network.seeds],
        overrides=overrides,
        form=network.form,
        trial_duration=network.model.trial.duration,
        decision_time=network.model.trial.decision,
        channels=channels,
        freeze_hidden=network.freeze_hidden,
        precision=network.precision,
    )
