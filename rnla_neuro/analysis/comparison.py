"""What a comparison of models came to, as frozen data: ``comparison.json`` of ``rnla compare``.

A *cell* is one model on one backend with one reward delay, all seeds together. Whoever draws or prints a
comparison needs this file alone: tables, curves, one recorded trial, energy and tests are all in it.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self, Union, get_args, get_origin, get_type_hints

from rnla_neuro.errors import RunFolderError
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.run_config import plain

FORMAT: Final = 1
FILE: Final = "comparison.json"


@dataclass(frozen=True)
class ComparedModel:
    """A model of the comparison.

    Attributes:
        name: As it stands in tables and cells.
        kind: ``rate``, ``spiking``, or ``baseline`` for a learner that is no neural model.
        summary: One line about it.
        backend: Which engine ran it; ``none`` for baselines.
    """

    name: str
    kind: str
    summary: str
    backend: str


@dataclass(frozen=True)
class MeasureSpec:
    """What a measure is.

    Attributes:
        key: Name in the cells.
        label: Words for tables and axes.
        unit: Unit, or empty.
        better: Which direction is better.
        help: One sentence that says how it is formed.
    """

    key: str
    label: str
    unit: str
    better: Literal["higher", "lower", "none"]
    help: str


@dataclass(frozen=True)
class Measured:
    """A measure of one cell.

    Attributes:
        values: One a seed, in the order of the comparison's seeds; None where a seed has none.
        mean: Over the seeds that have one; None: no seed has.
        low: Lower end of the 95 % bootstrap interval of the mean; None: fewer than two different values.
        high: Its upper end.
    """

    values: tuple[float | None, ...]
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Curve:
    """A learning curve: running mean over the last decisions, mean and 95 % band over seeds.

    Attributes:
        iteration: Decisions made, an agent.
        mean: Mean over seeds at each of them; None where no seed has a value.
        low: Lower end of the band; None with a single seed.
        high: Its upper end.
        measure: ``hit rate``, ``reward`` or ``return``.
    """

    iteration: tuple[int, ...]
    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    measure: str


@dataclass(frozen=True)
class Alignment:
    """Cosine between the direction of learning and the exact policy gradient, all weights, baseline <R>.

    Attributes:
        iteration: Moments of training.
        mean: Over seeds.
        low: Lower end of the 95 % interval; None with a single seed.
        high: Its upper end.
    """

    iteration: tuple[int, ...]
    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class Voltages:
    """Membrane voltages of some neurons.

    Attributes:
        names: Of the neurons, such as ``hidden 3`` or ``action 0``.
        values: One series a neuron, as long as the trial's `time`.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Trial:
    """One recorded trial of the first seed.

    Attributes:
        time: Milliseconds from the start of the trial.
        spikes: Pairs of time in ms and number of the neuron, counted over all layers, inputs first; empty for
            rate models.
        layers: Neurons of each layer, inputs included.
        voltage: Of some hidden neurons and of the action neurons.
    """

    time: tuple[float, ...]
    spikes: tuple[tuple[float, int], ...]
    layers: tuple[int, ...]
    voltage: Voltages


@dataclass(frozen=True)
class Raster:
    """The same input before and after learning."""

    before: Trial
    after: Trial


@dataclass(frozen=True)
class Weights:
    """Trained weights of the first seed.

    Attributes:
        layers: One matrix a projection, rows are postsynaptic neurons; the last column is the bias.
    """

    layers: tuple[tuple[tuple[float | None, ...], ...], ...]


@dataclass(frozen=True)
class Energy:
    """An estimate of the energy of one decision on a platform.

    Attributes:
        platform: Name of the platform.
        joule: Energy of a decision.
        source: Where the platform's figures are from, and which of them are not verified.
        low: With the lower figures, where the source gives a range; None: it gives none.
        high: With the higher ones.
        verified: Whether every figure that entered was read from its source.
    """

    platform: str
    joule: float
    source: str
    low: float | None = None
    high: float | None = None
    verified: bool = True


@dataclass(frozen=True)
class Converted:
    """Where the weights of a cell came from, if `rnla convert` made them, and what that did to the main measure.

    Attributes:
        model: The model that had learned them.
        measure: ``test_accuracy`` or ``evaluation_return``.
        learned: Decisions of each seed after the conversion.
        before: The measure in the model that they came from.
        converted: By conversion alone.
        lost: Paired difference, converted - before.
        after: After learning on.
        gained: Paired difference, after - converted.
    """

    model: str
    measure: str
    learned: int
    before: Measured
    converted: Measured
    lost: Measured
    after: Measured
    gained: Measured


@dataclass(frozen=True)
class Cell:
    """One model on its backend with one reward delay.

    Attributes:
        model: Name of the compared model.
        backend: Engine that ran it.
        delay: Reward delay, as `RewardDelay.parse` reads it.
        measures: By key of the measure; one that does not apply is left out.
        curve: Learning curve.
        confusion: Test decisions of all seeds, (right action, action decided); None: the task has no test set.
        raster: One trial before and after learning; None: the backend cannot record.
        alignment: None: the model has no self-nudging of the proven form.
        weights: None: the run kept none.
        energy: An estimate for each platform.
        ran: Name of the model that ran (`rate_nla_late` for `rate_nla` with late rewards); empty: the same.
        run: Folder of the run, relative to the comparison's.
        converted: None: its weights were not converted from another model's.
    """

    model: str
    backend: str
    delay: str
    measures: Mapping[str, Measured]
    curve: Curve
    confusion: tuple[tuple[int, ...], ...] | None = None
    raster: Raster | None = None
    alignment: Alignment | None = None
    weights: Weights | None = None
    energy: tuple[Energy, ...] = ()
    ran: str = ""
    run: str = ""
    converted: Converted | None = None


@dataclass(frozen=True)
class PairedTest:
    """A test of the difference between two models, paired by seed.

    Attributes:
        measure: Key of the measure.
        delay: Reward delay at which the two are compared.
        a: First model.
        b: Second model.
        n: Pairs: seeds for which both have a value.
        difference: Mean of a - b over pairs; None without pairs.
        low: Lower end of its 95 % bootstrap interval.
        high: Its upper end.
        p: Two-sided p value; None: too few pairs.
        p_corrected: After correction for all tests of the same measure.
        test: Name of the test.
        correction: Name of the correction.
    """

    measure: str
    delay: str
    a: str
    b: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    test: str
    correction: str


@dataclass(frozen=True)
class Failure:
    """A cell that is missing.

    Attributes:
        model: Name of the compared model.
        delay: Its reward delay.
        reason: Why its run failed.
    """

    model: str
    delay: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """A whole comparison.

    Attributes:
        title: What is compared.
        task: Name of the task.
        created: When, ISO 8601 in UTC.
        versions: Of Python and the packages.
        models: In the order asked for.
        delays: In the order asked for.
        seeds: In the order asked for; the values of measures follow it.
        iterations: Decisions of each seed.
        measures: What was measured, in the order of the tables.
        cells: By model, then by delay.
        tests: Every pair of models, by measure and delay.
        chance: Probability that a random action is right; None: it is not known.
        command: The command line that made it; empty: it was made from Python.
        failures: Cells that are missing, and why.
        format: Of the file.
    """

    title: str
    task: str
    created: str
    versions: Mapping[str, str]
    models: tuple[ComparedModel, ...]
    delays: tuple[str, ...]
    seeds: tuple[int, ...]
    iterations: int
    measures: tuple[MeasureSpec, ...]
    cells: tuple[Cell, ...]
    tests: tuple[PairedTest, ...] = ()
    chance: float | None = None
    command: str = ""
    failures: tuple[Failure, ...] = ()
    format: int = field(default=FORMAT)

    def cell(self, model: str, delay: str) -> Cell | None:
        """Return a cell, or None."""
        return next((one for one in self.cells if (one.model, one.delay) == (model, delay)), None)

    def write(self, folder: str | Path) -> Path:
        """Write ``comparison.json`` into a folder, whole or not at all; an earlier one is replaced.

        Raises:
            RunFolderError: It cannot be written.
        """
        path = Path(folder) / FILE
        text = json.dumps(plain(asdict(self)), allow_nan=False, ensure_ascii=False)
        with whole_or_nothing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read ``comparison.json``, or the one in a folder.

        Raises:
            RunFolderError: There is none, it is of a newer format, incomplete or corrupted.
        """
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunFolderError(f"{file} is missing: 'rnla compare' writes it") from None
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{file} is corrupted: {error}") from error
        version = about.get("format", FORMAT) if isinstance(about, dict) else None
        if not isinstance(version, int) or version > FORMAT:
            raise RunFolderError(
                f"{file} has the format {version}, and this version of rnla_neuro reads up to {FORMAT}: "
                "update rnla_neuro"
            )
        try:
            made: Self = build(cls, about)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise RunFolderError(f"{file} is not a comparison, or incomplete: {error!r}") from error
        return made


def build(kind: Any, value: Any) -> Any:
    """Make a value of an annotated type from what JSON holds."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else build(next(one for one in arguments if one is not type(None)), value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        known = {one.name for one in fields(kind)}
        return kind(**{name: build(hints[name], item) for name, item in value.items() if name in known})
    if origin is tuple and arguments[-1] is ...:
        return tuple(build(arguments[0], item) for item in value)
    if origin is tuple:
        return tuple(build(one, item) for one, item in zip(arguments, value, strict=True))
    if origin is Mapping:
        return {str(name): build(arguments[1], item) for name, item in value.items()}
    if kind in (int, float, str):
        return kind(value)
    return value
