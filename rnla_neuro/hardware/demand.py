"""What the populations of a network ask of neuron circuits: sources of each neuron, their signs, circuits, synapses."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from rnla_neuro.hardware.cells import read_cells
from rnla_neuro.hardware.emulation.expressions import needed
from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.equations import split_equations, split_statements
from rnla_neuro.spec.expressions import identifiers


@dataclass(frozen=True)
class Sources:
    """Neurons (or generators) that reach every neuron of a population.

    Attributes:
        name: ``input``, ``hidden1``, …, ``bias``, ``feedback``, ``inhibition`` or ``noise``.
        count: How many reach one neuron.
        signed: Whether their weights may have both signs; else they inhibit.
    """

    name: str
    count: int
    signed: bool = True


@dataclass(frozen=True)
class PopulationDemand:
    """What one population asks.

    Attributes:
        name: Of the population.
        size: Neurons.
        sources: What reaches each of them.
        circuits: Circuits that merge into one neuron, so that its synapses find room.
        pairs: Whether a signed weight takes two synapses, one of each sign.
    """

    name: str
    size: int
    sources: tuple[Sources, ...]
    circuits: int
    pairs: bool

    @property
    def fan_in(self) -> int:
        """Sources of a neuron."""
        return sum(one.count for one in self.sources)

    @property
    def excitatory(self) -> int:
        """Excitatory synapses of a neuron; where synapses have signs of their own, all of them."""
        return sum(one.count for one in self.sources if one.signed or not self.pairs)

    @property
    def inhibitory(self) -> int:
        """Inhibitory synapses of a neuron."""
        return self.fan_in if self.pairs else 0

    @property
    def synapses(self) -> int:
        """Synapses of a neuron."""
        return self.excitatory + self.inhibitory

    @property
    def rows(self) -> tuple[int, int]:
        """Excitatory and inhibitory rows that its circuits need: merged circuits share the sources out."""
        return ceil(self.excitatory / self.circuits), ceil(self.inhibitory / self.circuits)


def demands(network: NetworkSpec, hardware: HardwareSpec) -> tuple[PopulationDemand, ...]:
    """Return what each population but the input asks.

    Sources of a neuron are those of its projections; the bias unit; for the last hidden layer the action neurons whose
    spikes are fed back, where errors move its neurons (the host computes what only learning reads, as backend pynn
    does); for an action layer that competes (a softmax over it) the other
    action neurons, which inhibit; and one generator of noise for neurons that spike by chance or explore.

    Args:
        network: The network.
        hardware: The platform.
    """
    populations, last = network.populations, len(network.sizes) - 1
    sources: dict[int, list[Sources]] = {number: [] for number in range(1, len(populations))}
    bias = set()
    for projection in network.projections:
        sources[projection.post].append(Sources(populations[projection.pre].name, projection.n_pre))
        bias |= {projection.post} if projection.bias else set()
        if projection.feedback and projection.post == last and not only_learning_reads(network):
            sources[projection.pre].append(Sources("feedback", projection.n_post))
    cells = read_cells(network.model)
    for number, found in sources.items():
        population = populations[number]
        if number in bias:
            found.append(Sources("bias", 1))
        if number == last and competes(network):
            found.append(Sources("inhibition", population.size - 1, signed=False))
        if cells[population.kind].chance or (number == last and network.model.exploration.law != "none"):
            found.append(Sources("noise", 1))
    return tuple(_demand(populations[n].name, populations[n].size, tuple(s), hardware) for n, s in sources.items())


def only_learning_reads(network: NetworkSpec) -> bool:
    """Whether nothing that a hidden neuron is or sends depends on the errors that are fed back to it."""
    spec, where = network.model.hidden, "[neuron.hidden]"
    equations = split_equations(spec.equations, f"{where} equations")
    reads = {name: identifiers(one.text, where) for name, one in equations.items()}
    reads |= {name: identifiers(text, where) for name, text in spec.group.items()}
    roles = network.model.roles
    start = {name for one in equations.values() if one.is_ode for name in reads[one.name]}
    start |= {roles[role] for role in ("rate", "prospective_rate") if role in roles}
    if spec.threshold is not None:
        start |= identifiers(spec.threshold, where)
        for statement in split_statements(spec.reset, where):
            start |= identifiers(statement.text, where)
    return roles.get("feedback") not in needed(start, reads)


def competes(network: NetworkSpec) -> bool:
    """Whether the action layer is a winner-take-all: it has a softmax over its neurons."""
    return any("softmax" in text for text in network.model.action.group.values())


def _demand(name: str, size: int, sources: tuple[Sources, ...], hardware: HardwareSpec) -> PopulationDemand:
    pairs = hardware.synapses.sign == "row"
    single = PopulationDemand(name, size, sources, 1, pairs)
    room, signed = hardware.neurons.fan_in, hardware.neurons.signed_fan_in
    circuits = 1
    if room is not None:
        circuits = max(circuits, ceil(single.synapses / room.number))
    if signed is not None:
        circuits = max(circuits, ceil(sum(s.count for s in sources if s.signed) / signed.number))
    return PopulationDemand(name, size, sources, circuits, pairs)
