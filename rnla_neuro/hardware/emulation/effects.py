"""What a platform does to a network, as numbers of the emulation; each effect can be switched off by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from rnla_neuro.errors import ConfigError, unknown
from rnla_neuro.hardware.emulation.weights import Grid
from rnla_neuro.hardware.spec import Figure, HardwareSpec

#: Quantities that differ from circuit to circuit, in the order of a platform file's [mismatch].
QUANTITIES: Final = ("tau_m", "tau_syn", "threshold", "reset", "leak", "weight")
#: Those of neurons; the weight is one of synapses.
OF_NEURONS: Final = QUANTITIES[:-1]
#: Times and strengths are wrong by a factor, voltages by an amount.
RELATIVE: Final = ("tau_m", "tau_syn", "weight")

#: What can be switched off -> what it is.
EFFECTS: Final[dict[str, str]] = {
    "quantisation": "whole-number weights, rounded at random and clipped at the largest",
    "mismatch": "all that differs from circuit to circuit",
    **{name: f"what differs from circuit to circuit in {name}" for name in QUANTITIES},
    "trial": "a current that is new in each trial",
    "readout": "the host reads voltages in whole numbers of a converter, with noise, within its range",
    "inputs": "input spikes above the limit are lost",
    "between_runs": "weights change between runs only",
}


@dataclass(frozen=True)
class Readout:
    """How the host reads voltages of the model.

    Attributes:
        step: Voltage of one LSB.
        low: Lowest voltage that is read.
        high: Highest one.
        noise: Standard deviation of a reading.
    """

    step: float
    low: float
    high: float
    noise: float


@dataclass(frozen=True)
class Spread:
    """How much a quantity differs from circuit to circuit.

    Attributes:
        before: Standard deviation before calibration.
        left: Fraction of it that calibration leaves; None: nothing is calibrated.
    """

    before: float
    left: float | None


@dataclass(frozen=True)
class Effects:
    """What is emulated; what is None, or not in `spreads`, is ideal.

    Attributes:
        name: Name of the platform.
        grid: Weights that there are.
        signs: Whether a signed weight is a pair of synapses.
        spreads: Quantity -> how much it differs.
        trial: Standard deviation of a current that is new in each trial; 0: there is none.
        readout: How the host reads voltages.
        input_rate: Input spikes per biological second that reach the chip, all sources together.
        between_runs: Whether weights change between runs only.
        calibrated: Whether the chip has been calibrated.
        off: Names of the effects that were switched off.
    """

    name: str
    grid: Grid | None = None
    signs: bool = False
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    trial: float = 0.0
    readout: Readout | None = None
    input_rate: float | None = None
    between_runs: bool = False
    calibrated: bool = True
    off: tuple[str, ...] = ()

    @property
    def at_bias(self) -> bool:
        """Whether a bias of a neuron is not what the host wrote."""
        return self.trial > 0 or any(name in self.spreads for name in ("threshold", "leak"))


def parse_off(names: Iterable[str]) -> tuple[str, ...]:
    """Check names of effects that are to be switched off.

    Raises:
        ConfigError: There is no such effect; the nearest known name is given.
    """
    found = tuple(dict.fromkeys(name.strip() for name in names))
    for name in found:
        if name not in EFFECTS:
            raise ConfigError(f"--chip-off: {unknown('effect', name, EFFECTS)}")
    return found


def effects_of(hardware: HardwareSpec, *, calibrated: bool = True, off: Iterable[str] = ()) -> Effects:
    """Return what emulating a platform takes.

    Args:
        hardware: The platform.
        calibrated: Whether its chips have been calibrated.
        off: Names of `EFFECTS` to leave out.

    Raises:
        ConfigError: An unknown effect, or a file that says half of what an effect needs.
    """
    without = parse_off(off)
    return Effects(
        name=hardware.name,
        grid=None if "quantisation" in without else _grid(hardware),
        signs=hardware.synapses.sign == "row",
        spreads={} if "mismatch" in without else _spreads(hardware, without),
        trial=0.0 if "trial" in without else _number(hardware.noise.trial),
        readout=None if "readout" in without else _readout(hardware),
        input_rate=None
        if hardware.inputs.rate is None or "inputs" in without
        else hardware.inputs.rate.number / hardware.speed_up,
        between_runs=hardware.plasticity.updates == "between runs" and "between_runs" not in without,
        calibrated=calibrated,
        off=without,
    )


def _number(figure: Figure | None) -> float:
    return 0.0 if figure is None else figure.number


def _grid(hardware: HardwareSpec) -> Grid | None:
    integers = hardware.integer_range
    if integers is None:
        return None
    if not hardware.weight_step:
        raise ConfigError(
            f"{hardware.path.name}: [weights.range] is missing: [weights.maximum] says how many integers there are, "
            "and range which weight of the model the largest stands for, for example value = 1.5"
        )
    return Grid(hardware.weight_step, *integers)


def _spreads(hardware: HardwareSpec, without: tuple[str, ...]) -> dict[str, Spread]:
    found = {}
    for name in QUANTITIES:
        spread: Figure | None = getattr(hardware.mismatch, name)
        if spread is None or spread.number == 0 or name in without:
            continue
        left: Figure | None = getattr(hardware.calibration, name)
        found[name] = Spread(spread.number, None if left is None else left.number)
    return found


def _readout(hardware: HardwareSpec) -> Readout | None:
    """Let the readable range be the model's voltages around its resting potential, 0."""
    said = hardware.readout
    if said.bits is None:
        return None
    top = 2.0**said.bits.number - 1
    low, high = (default if one is None else one.number for one, default in ((said.low, 0.0), (said.high, top)))
    if said.span is None or not low < high <= top:
        raise ConfigError(
            f"{hardware.path.name}: [readout] needs span, the voltage of the model from low to high, and low < high <= "
            f"{top:g} at {said.bits.number:g} bits"
        )
    step = said.span.number / (high - low)
    return Readout(step, -0.5 * said.span.number, 0.5 * said.span.number, _number(hardware.noise.readout) * step)


def describe(effects: Effects, acting: Collection[str] | None = None) -> dict[str, object]:
    """Return what is emulated as plain data, for summaries.

    Args:
        effects: What is emulated.
        acting: Quantities, and ``readout`` and ``inputs``, that change something in the network; the others are not
            told. None: all of them.
    """
    acts = set(EFFECTS) if acting is None else acting
    told: dict[str, object] = {
        "platform": effects.name,
        "calibrated": effects.calibrated,
        "off": list(effects.off),
        "trial_noise": effects.trial,
        "updates": "between runs" if effects.between_runs else "online",
    }
    if effects.grid is not None:
        told["weight_step"], told["weight_range"] = effects.grid.step, [effects.grid.low, effects.grid.high]
    if effects.readout is not None and "readout" in acts:
        told["readout_step"] = effects.readout.step
    if effects.input_rate is not None and "inputs" in acts:
        told["input_rate"] = effects.input_rate
    spreads = {name: spread for name, spread in effects.spreads.items() if name in acts}
    told["spread"] = {name: {f.name: getattr(s, f.name) for f in fields(s)} for name, s in spreads.items()}
    return told
