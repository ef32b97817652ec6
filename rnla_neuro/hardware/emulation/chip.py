"""One chip: the fixed pattern of its circuits and synapses, as made and after calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.emulation import pattern
from rnla_neuro.hardware.emulation.calibration import Plan, calibrated, converter_of, plan
from rnla_neuro.hardware.emulation.effects import Effects
from rnla_neuro.hardware.emulation.strings import Emulated
from rnla_neuro.hardware.emulation.weights import Fixed
from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.populations import Projection

FloatArray = npt.NDArray[np.float64]

#: Circuits that a platform is calibrated with if its file does not say how many it has.
_CIRCUITS: Final = 512
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True)
class Measured:
    """What calibrating one quantity of a chip came to.

    Attributes:
        plan: How it was calibrated; None: it was not.
        before: Deviations of the chip's circuits before, (n,).
        after: The same after.
    """

    plan: Plan | None
    before: FloatArray
    after: FloatArray


class Chip:
    """A chip of a platform, given by its seed.

    Args:
        hardware: The platform.
        effects: What is emulated of it.
        seed: Which chip.

    Raises:
        ConfigError: The seed is not a whole number of at least 0.
    """

    def __init__(self, hardware: HardwareSpec, effects: Effects, seed: int) -> None:
        given: object = seed
        if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 0 <= given <= _LARGEST:
            raise ConfigError(f"chip seed {seed!r}: allowed is a whole number from 0 to 2**63 - 1")
        self.hardware, self.effects, self.seed = hardware, effects, int(seed)
        self._converter = converter_of(hardware)
        self._plans: dict[str, Plan] = {}

    def _rng(self, *names: object) -> np.random.Generator:
        return np.random.default_rng(pattern.stream(self.seed, *names))

    def made(self, quantity: str, population: str, size: int) -> FloatArray:
        """Return deviations of neurons as the chip was made, (size,); relative, or of threshold minus rest."""
        spread = self.effects.spreads.get(quantity)
        if spread is None:
            return np.zeros(size)
        return spread.before * pattern.of_neurons(self.seed, quantity, population, size)

    def plan(self, quantity: str) -> Plan | None:
        """Return how a quantity is calibrated; None: it is not."""
        spread = self.effects.spreads.get(quantity)
        if spread is None or spread.left is None or not self.effects.calibrated:
            return None
        if quantity not in self._plans:
            deviation = self.made(quantity, "circuits", self.circuits)
            rng = self._rng("calibration", quantity)
            self._plans[quantity] = plan(quantity, spread, self._converter, deviation, rng)
        return self._plans[quantity]

    @property
    def circuits(self) -> int:
        """Number of the chip's circuits."""
        said = self.hardware.neurons.circuits
        return _CIRCUITS if said is None else min(int(said.number), _CIRCUITS)

    def deviations(self, quantity: str, population: str, size: int) -> FloatArray:
        """Return deviations of the neurons of a population, calibrated if the chip is, (size,)."""
        before, how = self.made(quantity, population, size), self.plan(quantity)
        if how is None:
            return before
        noise = self._rng("calibration", quantity, population)
        rest = self._rng("rest", quantity, population).standard_normal(size)
        return calibrated(how, self._converter, before, noise, rest)

    def synapses(self, projection: str, sign: str, shape: tuple[int, int], bias: bool) -> FloatArray:
        """Return relative deviations of synapses, calibrated if the chip is, (n_post, columns)."""
        spread = self.effects.spreads.get("weight")
        if spread is None:
            return np.zeros(shape)
        before = spread.before * pattern.of_synapses(self.seed, projection, sign, shape, bias)
        how = self.plan("weight")
        if how is None:
            return pattern.limited(1.0 + before) - 1.0
        rows = []
        for row, made in enumerate(before):
            names = ("weight", projection, sign, row)
            turned = np.concatenate([made[-1:], made[:-1]]) if bias else made  # the bias first: it is always there
            rest = self._rng("rest", *names).standard_normal(len(made))
            left = calibrated(how, self._converter, turned, self._rng("calibration", *names), rest)
            rows.append(np.concatenate([left[1:], left[:1]]) if bias else left)
        return pattern.limited(1.0 + np.stack(rows)) - 1.0

    def calibration(self) -> dict[str, Measured]:
        """Calibrate the circuits of the chip itself: quantity -> deviations before and after."""
        found = {}
        for quantity in self.effects.spreads:
            before = self.made(quantity, "circuits", self.circuits)
            found[quantity] = Measured(
                self.plan(quantity), before, self.deviations(quantity, "circuits", self.circuits)
            )
        return found


def name_of(network: NetworkSpec, projection: Projection) -> str:
    """Return the name of a projection by which its synapses are drawn."""
    populations = network.populations
    ends = f"{populations[projection.pre].name}-{populations[projection.post].name}"
    return f"{projection.name}:{ends}"


def constants(network: NetworkSpec, made: Emulated, chips: Sequence[Chip]) -> dict[str, dict[str, FloatArray]]:
    """Return the constants of all neurons: population -> constant -> values (A, N).

    Args:
        network: The network.
        made: Its model with the constants.
        chips: One an agent.
    """
    found: dict[str, dict[str, FloatArray]] = {}
    for population in network.populations:
        for name, one in made.constants.get(population.kind, {}).items():
            # two time constants of a neuron are two circuits
            place = population.name if name == f"k_{one.quantity}" else f"{population.name}.{name}"
            drawn = np.stack([chip.deviations(one.quantity, place, population.size) for chip in chips])
            values = pattern.limited(1.0 + drawn) if one.is_factor else one.scale * drawn
            found.setdefault(population.name, {})[name] = values
    return found


def offsets(
    network: NetworkSpec, at_bias: Mapping[str, Sequence[str]], chips: Sequence[Chip]
) -> list[FloatArray | None]:
    """Return what is added to the biases of each projection, (A, n_post), or None where nothing is.

    A threshold that is too high by k is a bias that is too low by k; a rest that is too high is one that is too high.
    """
    found: list[FloatArray | None] = [None] * len(network.projections)
    for number, population in enumerate(network.populations):
        quantities = at_bias.get(population.kind, ())
        if not quantities:
            continue
        total = np.zeros((len(chips), population.size))
        for name in quantities:
            drawn = np.stack([chip.deviations(name, population.name, population.size) for chip in chips])
            total += -drawn if name == "threshold" else drawn
        found[bias_of(network, number, " and ".join(quantities), ",".join(quantities))] = total
    return found


def bias_of(network: NetworkSpec, population: int, what: str, off: str) -> int:
    """Return the number of the projection that brings the bias to a population.

    Raises:
        ConfigError: None does.
    """
    for k, projection in enumerate(network.projections):
        if projection.post == population and projection.bias:
            return k
    name = network.populations[population].name
    raise ConfigError(
        f"model {network.model.name!r} cannot be emulated because {what} of a chip moves the bias of a neuron, and "
        f"nothing brings a bias to population {name!r}; way out: --chip-off {off}"
    )


def fixed(network: NetworkSpec, chips: Sequence[Chip]) -> list[Fixed]:
    """Return the deviations of all synapses, one `Fixed` a projection."""
    found = []
    for projection in network.projections:
        positive = _drawn(network, projection, chips, "positive")
        pairs = chips[0].effects.signs
        found.append(Fixed(positive, _drawn(network, projection, chips, "negative") if pairs else positive))
    return found


def _drawn(network: NetworkSpec, projection: Projection, chips: Sequence[Chip], sign: str) -> FloatArray:
    """Return the deviations of a projection's synapses of one sign, (A, n_post, columns)."""
    name, each = name_of(network, projection), {chip.seed: chip for chip in chips}
    values = {seed: one.synapses(name, sign, projection.shape, projection.bias) for seed, one in each.items()}
    return np.stack([values[chip.seed] for chip in chips])
