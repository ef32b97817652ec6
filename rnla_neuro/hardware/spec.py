"""What a platform file says: frozen data classes, with the rule of each key beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

KINDS: Final = ("analog", "digital", "ideal")
SIMULATORS: Final = ("brainscales2", "spinnaker")
#: Unit -> the largest number, and the smallest beside 0, of a figure whose rule says no other: far beyond any machine,
#: near enough that products of them are numbers.
LARGEST: Final = {
    "1": 1e6, "count": 1e9, "bit": 64.0, "LSB": 2.0**32, "s": 1e6, "Hz": 1e15, "W": 1e9, "J": 1e3, "byte": 1e12
}  # fmt: skip
FINEST: Final = {
    "1": 1e-6, "count": 1.0, "bit": 1.0, "LSB": 1e-6, "s": 1e-12, "Hz": 1e-6, "W": 1e-15, "J": 1e-24, "byte": 1.0
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A number of a platform, in SI units, with its source.

    Attributes:
        value: The number; None where the file gives a range only.
        low: Lower end of its range; None where it has none.
        high: Upper end.
        unit: SI unit: ``1``, ``count``, ``bit``, ``LSB``, ``s``, ``Hz``, ``W``, ``J`` or ``byte``.
        source: Where it is from.
        unverified: Whether the source was not read: from memory, or an assumption.
        note: A remark of the file.
    """

    value: float | None
    low: float | None
    high: float | None
    unit: str
    source: str
    unverified: bool = False
    note: str = ""

    @property
    def number(self) -> float:
        """The value; where there is none, the middle of the range."""
        if self.value is not None:
            return self.value
        return 0.5 * ((self.low or 0.0) + (self.high or 0.0))


@dataclass(frozen=True)
class Rule:
    """What the figure of a key may be.

    Attributes:
        unit: SI unit of its kind (a key of `units.UNITS`).
        meaning: What it is, for the documentation.
        shape: ``value`` (a value, perhaps with its range) or ``range`` (low and high, perhaps with a default value).
        least: Smallest number.
        most: Largest number; None: `LARGEST` of its unit.
    """

    unit: str
    meaning: str
    shape: str = "value"
    least: float = 0.0
    most: float | None = None

    @property
    def largest(self) -> float:
        """Largest number that is allowed."""
        return LARGEST[self.unit] if self.most is None else self.most

    @property
    def finest(self) -> float:
        """Smallest number that is allowed beside 0."""
        return max(self.least, FINEST[self.unit])

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are allowed: counts and bits."""
        return self.unit in ("count", "bit")


@dataclass(frozen=True)
class Choice:
    """What a key that is a text may be."""

    meaning: str
    allowed: tuple[str, ...]


@dataclass(frozen=True)
class Neurons:
    """[neurons.…]: what they are, and how many."""

    circuits: Annotated[Figure | None, Rule("count", "neuron circuits of a unit (a chip, or a core)", least=1)] = None
    units: Annotated[Figure | None, Rule("count", "units of the whole machine", least=1)] = None
    fan_in: Annotated[Figure | None, Rule("count", "synapses of a circuit", least=1)] = None
    signed_fan_in: Annotated[Figure | None, Rule("count", "signed weights of a circuit", least=1)] = None
    model: Annotated[
        str,
        Choice(
            "what a neuron can be: lif (leaky integrate-and-fire with synaptic currents), programmable or any",
            ("lif", "programmable", "any"),
        ),
    ] = ""
    merge_max: Annotated[Figure | None, Rule("count", "circuits that may merge into one neuron; 1: none", least=1)] = (
        None
    )


@dataclass(frozen=True)
class Synapses:
    """[synapses]: how many there are, and where their sign is."""

    total: Annotated[Figure | None, Rule("count", "synapses of a unit", least=1)] = None
    sign: Annotated[
        str,
        Choice(
            "where the sign is: row (of a row or projection: a signed weight takes two synapses) or signed (its own)",
            ("row", "signed"),
        ),
    ] = ""


@dataclass(frozen=True)
class Weights:
    """[weights.…]: the grid of the weights."""

    bits: Annotated[Figure | None, Rule("bit", "bits of the weight of one synapse", least=1, most=32)] = None
    maximum: Annotated[Figure | None, Rule("count", "largest integer of one synapse", least=1, most=2**32 - 1)] = None
    several: Annotated[
        Figure | None, Rule("count", "1: a weight above the maximum may take several synapses; 0: it may not", most=1)
    ] = None
    range: Annotated[
        Figure | None, Rule("1", "weight of the model for which the largest integer stands", least=1e-6)
    ] = None


@dataclass(frozen=True)
class Time:
    """[time.…]: the clock."""

    speed_up: Annotated[Figure | None, Rule("1", "biological over hardware time", least=1e-6, most=1e9)] = None
    dt: Annotated[Figure | None, Rule("s", "time step, in hardware time; absent: continuous", least=1e-12)] = None


@dataclass(frozen=True)
class Membrane:
    """[membrane.…]: ranges of the neurons' parameters, times in hardware time."""

    tau_m: Annotated[Figure | None, Rule("s", "membrane time constant", shape="range")] = None
    tau_syn: Annotated[Figure | None, Rule("s", "synaptic time constant", shape="range")] = None
    tau_refrac: Annotated[Figure | None, Rule("s", "refractory time", shape="range")] = None
    v_rest: Annotated[Figure | None, Rule("LSB", "resting potential", shape="range")] = None
    v_reset: Annotated[Figure | None, Rule("LSB", "reset potential", shape="range")] = None
    v_threshold: Annotated[Figure | None, Rule("LSB", "threshold", shape="range")] = None
    state_bits: Annotated[Figure | None, Rule("bit", "bits of voltage and current", least=1, most=64)] = None
    decay_bits: Annotated[Figure | None, Rule("bit", "bits of a decay factor", least=1, most=32)] = None


@dataclass(frozen=True)
class Delays:
    """[delays.…]: synaptic delays, in hardware time."""

    minimum: Annotated[Figure | None, Rule("s", "shortest delay")] = None
    maximum: Annotated[Figure | None, Rule("s", "longest delay; 0: none is possible")] = None
    step: Annotated[Figure | None, Rule("s", "step of the delays; 0: they cannot be set")] = None


@dataclass(frozen=True)
class Inputs:
    """[inputs.…]: what reaches the platform while it runs."""

    rate: Annotated[
        Figure | None, Rule("Hz", "input spikes per hardware second, all sources together", least=1e-6)
    ] = None
    currents: Annotated[Figure | None, Rule("count", "1: there are current sources; 0: there are none", most=1)] = None


@dataclass(frozen=True)
class Readout:
    """[readout.…]: how the host reads voltages."""

    bits: Annotated[Figure | None, Rule("bit", "bits of the converter", least=1, most=32)] = None
    low: Annotated[Figure | None, Rule("LSB", "lowest reliable reading")] = None
    high: Annotated[Figure | None, Rule("LSB", "highest reliable reading")] = None
    span: Annotated[Figure | None, Rule("1", "voltage of the model from low to high", least=1e-6)] = None
    channels: Annotated[Figure | None, Rule("count", "voltages that are read at once", least=1)] = None
    rate: Annotated[Figure | None, Rule("Hz", "readings per hardware second and channel", least=1e-6)] = None


@dataclass(frozen=True)
class Plasticity:
    """[plasticity.…]: what changes weights."""

    correlation_tau: Annotated[Figure | None, Rule("s", "time constant of the correlation sensors", shape="range")] = (
        None
    )
    processors: Annotated[Figure | None, Rule("count", "plasticity processors of a unit")] = None
    clock: Annotated[Figure | None, Rule("Hz", "their clock", least=1e-6)] = None
    memory: Annotated[Figure | None, Rule("byte", "memory of one of them", least=1)] = None
    lanes: Annotated[Figure | None, Rule("count", "8-bit lanes of its vector unit", least=1)] = None
    slot: Annotated[Figure | None, Rule("s", "time in which a kernel must be done, in hardware time", least=1e-12)] = (
        None
    )
    updates: Annotated[str, Choice("when weights change", ("between runs", "online"))] = ""


@dataclass(frozen=True)
class Mismatch:
    """[mismatch.…]: standard deviations over neurons or synapses before calibration."""

    tau_m: Annotated[Figure | None, Rule("1", "membrane time constant, relative", most=1)] = None
    tau_syn: Annotated[Figure | None, Rule("1", "synaptic time constant, relative", most=1)] = None
    threshold: Annotated[Figure | None, Rule("1", "threshold, in units of threshold minus rest", most=1)] = None
    reset: Annotated[Figure | None, Rule("1", "reset, in units of threshold minus rest", most=1)] = None
    leak: Annotated[Figure | None, Rule("1", "resting potential, in units of threshold minus rest", most=1)] = None
    weight: Annotated[Figure | None, Rule("1", "weight of a synapse, relative", most=1)] = None


@dataclass(frozen=True)
class Calibration:
    """[calibration.…]: the fraction of that spread which is left after calibration."""

    tau_m: Annotated[Figure | None, Rule("1", "membrane time constant", most=1)] = None
    tau_syn: Annotated[Figure | None, Rule("1", "synaptic time constant", most=1)] = None
    threshold: Annotated[Figure | None, Rule("1", "threshold", most=1)] = None
    reset: Annotated[Figure | None, Rule("1", "reset", most=1)] = None
    leak: Annotated[Figure | None, Rule("1", "resting potential", most=1)] = None
    weight: Annotated[Figure | None, Rule("1", "weight of a synapse", most=1)] = None


@dataclass(frozen=True)
class Noise:
    """[noise.…]: what is new in each trial or reading."""

    trial: Annotated[
        Figure | None, Rule("1", "standard deviation of a current that is new in each trial, in model units", most=100)
    ] = None
    readout: Annotated[Figure | None, Rule("LSB", "standard deviation of a reading", most=65536)] = None


@dataclass(frozen=True)
class Loop:
    """[loop]: how the host drives the platform."""

    mode: Annotated[str, Choice("how decisions are run", ("run per decision", "continuous"))] = ""
    reset: Annotated[
        str, Choice("whether the platform is reset between two runs", ("required", "optional", "none"))
    ] = ""


@dataclass(frozen=True)
class Power:
    """[power.…]."""

    unit: Annotated[Figure | None, Rule("W", "power of a unit while it runs", least=1e-15)] = None


@dataclass(frozen=True)
class Energy:
    """[energy.…]."""

    operation: Annotated[Figure | None, Rule("J", "energy of a synaptic operation", least=1e-24)] = None


@dataclass(frozen=True)
class HardwareSpec:
    """A platform, as its file describes it; an absent key is None: the platform has no such limit.

    Attributes:
        name: Its name, as ``--hardware`` takes it.
        title: Its name in texts.
        summary: A line about it.
        kind: ``analog``, ``digital`` or ``ideal``.
        simulator: The PyNN simulator that reaches it; empty: none.
        path: The file.
        text: The text of the file.
    """

    name: str
    title: str
    summary: str
    kind: str
    simulator: str
    path: Path
    text: str
    neurons: Neurons = Neurons()
    synapses: Synapses = Synapses()
    weights: Weights = Weights()
    time: Time = Time()
    membrane: Membrane = Membrane()
    delays: Delays = Delays()
    inputs: Inputs = Inputs()
    readout: Readout = Readout()
    plasticity: Plasticity = Plasticity()
    mismatch: Mismatch = Mismatch()
    calibration: Calibration = Calibration()
    noise: Noise = Noise()
    loop: Loop = Loop()
    power: Power = Power()
    energy: Energy = Energy()

    @property
    def speed_up(self) -> float:
        """Biological over hardware time."""
        return 1.0 if self.time.speed_up is None else self.time.speed_up.number

    @property
    def integer_range(self) -> tuple[int, int] | None:
        """Smallest and largest integer of a signed weight; None: weights are continuous."""
        if self.weights.maximum is None:
            return None
        largest = int(self.weights.maximum.number)
        return -largest, largest

    @property
    def weight_step(self) -> float:
        """Weight of the model for which one integer stands; 0: weights are continuous."""
        if self.weights.maximum is None or self.weights.range is None:
            return 0.0
        return self.weights.range.number / self.weights.maximum.number


#: Section of a file -> its data class.
SECTIONS: Final[dict[str, type[Any]]] = {
    "neurons": Neurons,
    "synapses": Synapses,
    "weights": Weights,
    "time": Time,
    "membrane": Membrane,
    "delays": Delays,
    "inputs": Inputs,
    "readout": Readout,
    "plasticity": Plasticity,
    "mismatch": Mismatch,
    "calibration": Calibration,
    "noise": Noise,
    "loop": Loop,
    "power": Power,
    "energy": Energy,
}


def rules_of(section: type[Any]) -> dict[str, Rule | Choice]:
    """Return the rule of each key of a section's data class."""
    hints = get_type_hints(section, include_extras=True)
    return {key: hint.__metadata__[0] for key, hint in hints.items()}
