"""Recordings as Neo objects, and as NIX and NWB files through Neo; needs the extra ``neo``.

A seed is a Block (a network of its own), a trial a Segment with

* an AnalogSignal for each signal and layer, ``voltage hidden`` and so on, one channel a neuron; for each variable of a
  neuromodulator; and for the input, from its onset on;
* a SpikeTrain for each unit of a layer that spikes;
* Events for what neuromodulators brought and for the decision, an Epoch for the open gate.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rnla_neuro.errors import MissingExtraError, RunFolderError
from rnla_neuro.recording import Recording, Trial
from rnla_neuro.records import whole_or_nothing

_DESCRIPTION = "recorded by rnla_neuro"
_NEEDS = {".nix": ("NIX", "nixio"), ".nwb": ("NWB", "pynwb")}


def to_neo(recording: Recording) -> list[Any]:
    """Return a recording as Neo objects, one `neo.Block` a seed with one `neo.Segment` a trial.

    Spikes are at the beginning of the step in which the unit crossed its threshold, as Brian2 dates them. Voltages,
    rates and errors are dimensionless in our models, and so are their signals.

    Raises:
        MissingExtraError: Neo is not installed.
    """
    neo = _neo()
    names = ("task", "model", "backend", "at", "dt", "source")
    about = {name: getattr(recording, name) for name in names}
    about |= {"sizes": list(recording.sizes), "layers": ["input", *recording.layers]}
    blocks = []
    for place, seed in enumerate(recording.seeds):
        block = neo.Block(
            name=f"{recording.task} seed {seed}", description="recorded by rnla_neuro", seed=seed, **about
        )
        for trial in recording.trials:
            segment = _segment(neo, recording, trial, place)
            segment.block = block
            block.segments.append(segment)
        blocks.append(block)
    return blocks


def _neo() -> ModuleType:
    try:
        import neo
    except ImportError:
        raise MissingExtraError(
            "Neo objects, NIX and NWB files need packages more: pip install 'rnla_neuro[neo]'"
        ) from None
    return neo  # type: ignore[no-any-return]


def _segment(neo: ModuleType, recording: Recording, trial: Trial, place: int) -> Any:
    """Make the segment of one trial and seed."""
    about: dict[str, Any] = {"trial": trial.number, "action": int(trial.action[place])}
    about |= {"reward": float(trial.reward[place]), "onset_s": trial.onset, "decision_s": trial.decision_time}
    if trial.label is not None:
        about["label"] = int(trial.label[place])
    segment = neo.Segment(name=f"seed {recording.seeds[place]} trial {trial.number}", index=trial.number, **about)
    for signal in _signals(neo, recording, trial, place):
        signal.segment = segment
        segment.analogsignals.append(signal)
    for train in _spike_trains(neo, recording, trial, place):
        train.segment = segment
        segment.spiketrains.append(train)
    for event in _events(neo, recording, trial, place):
        event.segment = segment
        segment.events.append(event)
    gate = trial.signals.get("gate")
    if gate is not None and gate.any():
        length, name = gate.sum() * recording.dt, f"{segment.name} gate"  # Neo takes epochs of one name together
        epoch = neo.Epoch([trial.decision_time - length], [length], labels=np.array(["gate"]), units="s", name=name)
        epoch.segment = segment
        segment.epochs.append(epoch)
    return segment


def _signals(neo: ModuleType, recording: Recording, trial: Trial, place: int) -> Iterator[Any]:
    """Make the analog signals: by layer, neuromodulators, input."""
    from quantities import Quantity

    def signal(values: Any, name: str, unit: str, start: float, **about: Any) -> Any:
        channels = values if values.ndim == 2 else values[:, None]
        number = {"neuron": np.arange(channels.shape[1])}
        return neo.AnalogSignal(
            channels,
            units="dimensionless" if unit == "1" else unit,
            sampling_period=Quantity(recording.dt, "s"),
            t_start=Quantity(start, "s"),
            name=name,
            array_annotations=number,
            **about,
        )

    for name, values in trial.signals.items():
        about = recording.signals[name]
        if name == "gate":
            continue
        layers = {"action": slice(None)} if name == "noise" else recording.layers
        for layer, where in layers.items():
            yield signal(
                values[place][:, where], f"{name} {layer}", about.unit, trial.time[0],
                layer=layer, quantity=name, symbol=about.symbol, description=about.text,
            )  # fmt: skip
    for name, values in trial.modulators.items():
        about = recording.signals[f"modulator.{name}"]
        yield signal(values[place], name, about.unit, trial.time[0], quantity="modulator", description=about.text)
    steps = round((trial.decision_time - trial.onset) / recording.dt)
    held = np.tile(trial.input[place], (steps, 1))
    text = recording.signals["input"].text
    yield signal(held, "input", "1", trial.onset, quantity="input", nwb_group="stimulus", description=text)


def _spike_trains(neo: ModuleType, recording: Recording, trial: Trial, place: int) -> Iterator[Any]:
    """Make a spike train for each unit of the layers that spike."""
    if trial.spikes is None:
        return
    n_in = recording.sizes[0]
    layers = {name: slice(n_in + where.start, n_in + where.stop) for name, where in recording.layers.items()}
    if any(other.spikes is not None and other.spikes[:, :, :n_in].any() for other in recording.trials):
        layers = {"input": slice(0, n_in)} | layers
    for layer, where in layers.items():
        for index, fired in enumerate(trial.spikes[place, :, where].T):
            yield neo.SpikeTrain(
                trial.time[fired],
                units="s",
                t_start=min(trial.time[0], trial.onset),
                t_stop=trial.decision_time,
                name=f"{layer} {index}",
                layer=layer,
                neuron=index,
            )


def _events(neo: ModuleType, recording: Recording, trial: Trial, place: int) -> Iterator[Any]:
    """Make an event object a channel, and one for the decision."""
    mine = trial.events[trial.events[:, 0] == place]
    for number, channel in enumerate(recording.channels):
        rows = mine[mine[:, 2] == number]
        if len(rows):
            labels = np.array([f"{value:g}" for value in rows[:, 3]])
            yield neo.Event(rows[:, 1], labels=labels, units="s", name=channel, array_annotations={"value": rows[:, 3]})
    labels = np.array([str(trial.action[place])])
    yield neo.Event([trial.decision_time], labels=labels, units="s", name="decision")


# ---- files ---------------------------------------------------------------------------------------------
def write(recording: Recording, path: Path) -> Path:
    """Write a recording to a ``.nix`` or ``.nwb`` file, whole or not at all.

    NWB through Neo keeps signals, spike times, events and epochs, their units and names, and not the annotations.

    Raises:
        MissingExtraError: Neo, or its support for the format, is not installed.
        RunFolderError: The file cannot be written.
    """
    _complete(path)
    from neo.io import NWBIO, NixIO

    blocks = to_neo(recording)
    with whole_or_nothing(path) as temporary, _quiet():
        target = str(temporary.with_name(temporary.name + path.suffix))  # they look at the ending
        try:
            if path.suffix == ".nix":
                with NixIO(target, mode="ow") as file:
                    file.write_all_blocks(blocks)
            else:
                now = datetime.now(UTC)
                text = f"{recording.model} on {recording.task}, recorded by rnla_neuro at {recording.at}"
                needed = {"session_start_time": now, "session_description": text, "identifier": f"{text}, {now}"}
                for block in blocks:
                    block.annotate(**needed)
                NWBIO(target, mode="w").write_all_blocks(blocks, validate=False)
            Path(target).replace(temporary)
        finally:
            Path(target).unlink(missing_ok=True)
    return path


def read(path: str | Path) -> list[Any]:
    """Read the blocks of a ``.nix`` or ``.nwb`` file with Neo.

    Raises:
        MissingExtraError: Neo, or its support for the format, is not installed.
        RunFolderError: There is no such file, or Neo cannot read it.
    """
    source = Path(path)
    if source.suffix not in _NEEDS or not source.is_file():
        raise RunFolderError(f"{source}: a file that ends in .nix or .nwb is needed, and there is none")
    _complete(source)
    from neo.io import NWBIO, NixIO

    with _quiet():
        try:
            if source.suffix == ".nix":
                with NixIO(str(source), mode="ro") as file:
                    return file.read_all_blocks()  # type: ignore[no-any-return]
            return NWBIO(str(source), mode="r").read_all_blocks()  # type: ignore[no-any-return]
        except (OSError, KeyError, ValueError) as error:
            raise RunFolderError(f"{source} cannot be read: {error}") from error


def _complete(path: Path) -> None:
    """Refuse a format whose package is missing."""
    import importlib.util

    _neo()
    format_, package = _NEEDS[path.suffix]
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(f"{format_} files need {package}: pip install 'rnla_neuro[neo]'")


class _Renaming(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Drop what Neo says of names that it makes longer."""
        text = record.getMessage()
        return "name exists. New name" not in text and "unit 'dimensionles'" not in text


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Neo's NWB writer says to itself away from the user."""
    loggers, renaming = (logging.getLogger(), logging.getLogger("Neo")), _Renaming()
    for one in loggers:
        one.addFilter(renaming)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "AnnotationSeries is deprecated")
            yield
    finally:
        for one in loggers:
            one.removeFilter(renaming)
