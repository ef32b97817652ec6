"""What the neurons of a run do in chosen trials: voltages, rates, errors, noise, spikes, gate, neuromodulators.

`record_run` takes up a run at a moment of its learning and records some trials; `Recording.save` writes them to one
file: ``.npz`` (numpy alone), or ``.nix`` and ``.nwb`` through Neo (extra ``neo``).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import BackendError, ConfigError, RunFolderError, unknown
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.results import Results
from rnla_neuro.revisit import moment_of, request_of, take_up
from rnla_neuro.session import Session
from rnla_neuro.spec.equations import split_equations
from rnla_neuro.spec.modulation import Modulation

FloatArray = npt.NDArray[np.float64]

FORMAT: Final = 1
ENDINGS: Final = (".npz", ".nix", ".nwb")
_SIGNALS: Final = {
    # our name: (attribute of a backend's recording, role of the model, what it is)
    "voltage": ("u", "voltage", "somatic voltage"),
    "rate": ("rate", "rate", "rate that is transmitted"),
    "error": ("ebar", "error", "error"),
    "drive": ("drive", "drive", "summed input of the present rates"),
    "noise": ("noise", "noise", "exploration as it appears in the voltage of the action layer"),
}


@dataclass(frozen=True)
class Signal:
    """What one array of a trial is.

    Attributes:
        name: Name in the file, such as ``voltage``.
        symbol: The model's own name, such as ``u``.
        unit: SI unit as Brian2 writes it; ``1`` is dimensionless.
        axes: Names of the axes: ``seed``, ``time``, ``neuron`` (hidden layers, then the action layer),
            ``action`` (the action layer alone), ``unit`` (inputs, then all neurons).
        text: What it is, in words.
    """

    name: str
    symbol: str
    unit: str
    axes: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Trial:
    """One recorded trial of A seeds, S moments in time.

    Attributes:
        number: Decisions made before it.
        decision_time: Biological time of the decision, in seconds.
        onset: Biological time at which its input begins, in seconds.
        time: Biological times of the S samples, in seconds.
        input: What was shown, shape (A, n_in).
        action: What was chosen, shape (A,).
        reward: What it earned, shape (A,).
        label: The right action, shape (A,); None where there is none.
        signals: ``voltage``, ``rate``, ``error``, ``drive`` of shape (A, S, neurons after the input), ``noise`` of
            shape (A, S, n_out), ``gate`` of shape (S,); what a model has not is missing.
        spikes: Whether each unit spiked in a step, bool (A, S, n_in + neurons); None for a model without spikes.
        modulators: By ``channel.variable``, shape (A, S).
        events: What arrived: seed's place, time in seconds, channel's place, value; shape (E, 4).
    """

    number: int
    decision_time: float
    onset: float
    time: FloatArray
    input: FloatArray
    action: npt.NDArray[np.int64]
    reward: FloatArray
    label: npt.NDArray[np.int64] | None
    signals: Mapping[str, FloatArray]
    spikes: npt.NDArray[np.bool_] | None
    modulators: Mapping[str, FloatArray]
    events: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))


_FIELDS: Final = ("time", "input", "action", "reward", "label", "spikes", "events")


@dataclass(frozen=True)
class Recording:
    """Recorded trials of a run.

    Attributes:
        task: The task.
        model: Name of the model.
        backend: What ran it.
        at: Which moment of learning: ``start``, ``end``, or a number of decisions.
        seeds: One an agent; the first axis of the arrays.
        sizes: Neurons a layer, inputs first.
        dt: Step in seconds.
        image: Height and width, where the input is an image.
        channels: Neuromodulators, by the numbers in `Trial.events`.
        signals: What each array is.
        trials: The trials.
        source: The run folder, as text.
        versions: Of the packages that recorded it.
    """

    task: str
    model: str
    backend: str
    at: str
    seeds: tuple[int, ...]
    sizes: tuple[int, ...]
    dt: float
    image: tuple[int, int] | None
    channels: tuple[str, ...]
    signals: Mapping[str, Signal]
    trials: tuple[Trial, ...]
    source: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, slice]:
        """The places of each layer on the axis ``neuron``; for ``unit`` they begin behind the inputs."""
        ends = np.cumsum(self.sizes[1:]).tolist()
        names = [f"hidden{k}" for k in range(1, len(ends))] if len(ends) > 2 else ["hidden"]
        return {name: slice(a, b) for name, a, b in zip([*names, "action"], [0, *ends[:-1]], ends, strict=True)}

    def save(self, path: str | Path) -> Path:
        """Write the recording to a file; an existing one is replaced, whole or not at all.

        Args:
            path: Ends in ``.npz``, or, with the extra ``neo``, in ``.nix`` or ``.nwb``.

        Raises:
            ConfigError: Another ending.
            MissingExtraError: The extra is not installed.
            RunFolderError: The file cannot be written.
        """
        target = check_ending(path)
        if target.suffix != ".npz":
            from rnla_neuro.interchange.neo_files import write

            return write(self, target)
        arrays: dict[str, npt.NDArray[Any]] = {"about": np.array(json.dumps(self._about()))}
        for k, trial in enumerate(self.trials):
            given = {name: getattr(trial, name) for name in _FIELDS} | dict(trial.signals)
            given |= {f"modulator.{name}": values for name, values in trial.modulators.items()}
            arrays |= {f"trial{k}/{name}": values for name, values in given.items() if values is not None}
        with whole_or_nothing(target) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return target

    def _about(self) -> dict[str, Any]:
        about = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "trials"}
        about["signals"] = {name: vars(signal) for name, signal in self.signals.items()}
        timing = [{n: getattr(t, n) for n in ("number", "decision_time", "onset")} for t in self.trials]
        return {"format": FORMAT, **about, "versions": dict(self.versions), "trials": timing}

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Read a recording that `save` wrote as ``.npz``.

        Raises:
            RunFolderError: There is no such file, or it is something else, damaged, or of a newer format.
        """
        source = Path(path)
        if not source.is_file():
            raise RunFolderError(f"there is no recording {source}; 'rnla record RUN' makes one")
        try:
            with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            about = json.loads(str(arrays.pop("about")))
            version = about.pop("format")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RunFolderError(f"{source} is not a recording (.npz), or damaged: {error}") from error
        if version > FORMAT:
            raise RunFolderError(
                f"{source} has the recording format {version}, and this version of rnla_neuro reads up to {FORMAT}"
            )
        return cls(**_of_about(about, arrays))


def _of_about(about: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Bring what JSON has made of a recording back into its types."""
    signals = {n: Signal(**(s | {"axes": tuple(s["axes"])})) for n, s in about.pop("signals").items()}
    trials = []
    for k, timing in enumerate(about.pop("trials")):
        prefix = f"trial{k}/"
        mine = {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}
        plain: dict[str, Any] = {name: mine.pop(name, None) for name in _FIELDS}
        modulators = {n.removeprefix("modulator."): mine.pop(n) for n in list(mine) if n.startswith("modulator.")}
        trials.append(Trial(**timing, **plain, signals=mine, modulators=modulators))
    lists = {name: tuple(about.pop(name)) for name in ("seeds", "sizes", "channels")}
    image = about.pop("image")
    return about | lists | {"image": image and tuple(image), "signals": signals, "trials": tuple(trials)}


def check_ending(path: str | Path) -> Path:
    """Return the path of a recording if its ending is known.

    Raises:
        ConfigError: It is not.
    """
    target = Path(path)
    if target.suffix not in ENDINGS:
        raise ConfigError(
            f"{target}: {unknown('ending of a recording', target.suffix, ENDINGS)}; .nix and .nwb need the extra 'neo'"
        )
    return target


# ---- recording -----------------------------------------------------------------------------------------
def record_run(
    run: Results | str | Path,
    trials: int | Sequence[int] = 5,
    at: str | int = "end",
    seeds: Sequence[int] | None = None,
    backend: str | None = None,
) -> Recording:
    """Take up a run at a moment of its learning, and record trials.

    The network goes on learning while it is recorded, from the weights of that moment, on the inputs that come next,
    with fresh exploration. From ``start`` the recorded trials are those of the run itself.

    Args:
        run: The run, or its folder.
        trials: How many, or which ones, counted from the moment: ``(0, 10)``.
        at: ``end``, ``start``, or the number of decisions of a checkpoint.
        seeds: Some of the run's seeds; None: the first one.
        backend: Another one to run it on; None: that of the run.

    Raises:
        ConfigError: There is no such moment or seed, or the learner has no course in time.
        RnlaError: The run cannot be taken up.

    Example:
        ``record_run("runs/demo", trials=3, at="start").save("before.npz")``
    """
    results = run if isinstance(run, Results) else Results.load(run)
    chosen = tuple(range(trials)) if isinstance(trials, int) else tuple(trials)
    if not chosen or min(chosen) < 0:
        raise ConfigError(f"trials {trials!r}: a number from 1, or numbers of trials from 0")
    moved = {} if backend is None else {"backend": backend, "core": "auto", "road": "auto"}
    request = request_of(results, results.config.seeds[:1] if seeds is None else seeds, **moved)
    if request.is_baseline:
        raise ConfigError(
            f"{results.path} was learned by {request.learner!r}, which computes its decisions at once: "
            "there is no course in time to record"
        )
    moment = moment_of(results, at)
    with take_up(results, moment, request) as session:
        return replace(record_session(session, chosen), at=moment.name, source=str(results.path))


def record_session(session: Session, trials: Sequence[int]) -> Recording:
    """Run a session up to the last of `trials` (numbers from 0), and record those.

    Raises:
        BackendError: The session's simulation cannot record.
    """
    from rnla_neuro.run_config import versions_in_use

    simulation, network = session.simulation, session.network
    if not hasattr(simulation, "decide_recorded"):
        raise BackendError(
            f"backend {session.request.backend!r} cannot record: its simulation has no decide_recorded; "
            "equilibrium and the Brian2 backends have one"
        )
    modulation = Modulation(network.model, network.sizes[-1])
    found = []
    for k in range(max(trials) + 1):
        if k in trials:
            found.append(_one_trial(session, modulation))
        else:
            session.train(1)
    shape = session.bridge.observation_space.shape or ()
    task = session.task
    return Recording(
        task="environment" if task is None else task.name,
        model=network.model.name,
        backend=session.request.backend,
        at="start",
        seeds=session.request.seeds,
        sizes=network.sizes,
        dt=network.model.trial.dt,
        image=_image(shape, network.sizes[0]),
        channels=simulation.channels,
        signals=_described(session, found[0]),
        trials=tuple(found),
        versions=versions_in_use(),
    )


def _one_trial(session: Session, modulation: Modulation) -> Trial:
    """Run one trial as `Session.train` does."""
    simulation, bridge, model = session.simulation, session.bridge, session.network.model
    t, label, shown = simulation.next_decision, bridge.labels(), bridge.observation.copy()
    number, before = simulation.decisions, _modulators(simulation.diagnostics())
    events, told = session.events(t), (session.told(),) if model.takes_target else ()
    # record_session has looked for it
    actions, seen = simulation.decide_recorded(shown, events, *told)  # type: ignore[attr-defined]
    outcome = bridge.step(actions, t)
    rows = np.stack([events.agent, events.time, events.channel, events.value], axis=1).astype(np.float64)
    # equilibria stand for the middle of a step, steps begin at their time: the last one ends at the decision
    middle = seen.time + (t - seen.time[-1] - 0.5 * model.trial.dt)
    found: dict[str, Any] = {name: getattr(seen, attribute, None) for name, (attribute, _, _) in _SIGNALS.items()}
    signals: dict[str, FloatArray] = {n: v for n, v in found.items() if v is not None and _SIGNALS[n][1] in model.roles}
    if model.trial.gate > 0:
        signals["gate"] = (middle > t - model.trial.gate).astype(np.float64)
    courses = [
        modulation.course(
            {name: float(values[a]) for name, values in before.items()},
            [(at, int(channel), value) for agent, at, channel, value in rows if agent == a],
            t - simulation.trial_duration,
            seen.time,
            number,
        )
        for a in range(simulation.n_agents)
    ]
    return Trial(
        number=number,
        decision_time=t,
        onset=t - simulation.decision_time,
        time=seen.time,
        input=shown,
        action=actions,
        reward=np.asarray(outcome.reward, dtype=np.float64),
        label=label,
        signals=signals,
        spikes=getattr(seen, "spikes", None),
        modulators={name: np.stack([course[name] for course in courses]) for name in before},
        events=rows,
    )


def _modulators(diagnostics: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return what neuromodulators keep: names with a channel in front."""
    return {name: values for name, values in diagnostics.items() if "." in name}


def _image(shape: tuple[int, ...], n_in: int) -> tuple[int, int] | None:
    """Return the height and width of an input that is one: of two axes, or flattened and square from 5 by 5."""
    if len(shape) == 2:
        return int(shape[0]), int(shape[1])
    side = round(float(np.sqrt(n_in)))
    return (side, side) if len(shape) == 1 and side * side == n_in and side >= 5 else None


def _described(session: Session, trial: Trial) -> dict[str, Signal]:
    roles = session.network.model.roles
    described = {}
    for name in trial.signals:
        if name == "gate":
            text = "1 while the eligibility gate is open"
            described[name] = Signal(name, "gate", "1", ("time",), text)
            continue
        _, role, text = _SIGNALS[name]
        last = "action" if name == "noise" else "neuron"
        described[name] = Signal(name, roles[role], "1", ("seed", "time", last), text)
    described |= {
        "time": Signal("time", "t", "s", ("time",), "biological time since the start of the run"),
        "input": Signal("input", "x", "1", ("seed", "input"), "what was shown"),
        "action": Signal("action", "", "1", ("seed",), "what was chosen"),
        "reward": Signal("reward", "R", "1", ("seed",), "what it earned"),
        "label": Signal("label", "", "1", ("seed",), "the right action"),
        "events": Signal("events", "", "1", ("event", "seed, time in s, channel, value"), "what arrived"),
    }
    if trial.spikes is not None:
        described["spikes"] = Signal("spikes", "", "1", ("seed", "time", "unit"), "whether a unit spiked in a step")
    model = session.network.model
    for name in trial.modulators:
        channel, _, variable = name.partition(".")
        equations = split_equations(model.neuromodulators[channel].equations, channel)
        unit = equations[variable].unit if variable in equations else "1"
        text = f"{variable} of the neuromodulator {channel}"
        described[f"modulator.{name}"] = Signal(f"modulator.{name}", variable, unit, ("seed", "time"), text)
    return described
