"""The populations and projections of a network: the chain from the inputs to the actions, and what stands beside it.

Populations are numbered: the layers of the chain from 0, the inputs, to the actions, then the interneurons beside the
first hidden layer, the second, and so on. Projections: those of the chain, then for each hidden layer those of the file
in its order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rnla_neuro.spec.model import ModelSpec, NeuronSpec, ProjectionSpec, SynapseSpec


@dataclass(frozen=True)
class Population:
    """Neurons of one type.

    Attributes:
        kind: Name of their section, without ``neuron.``.
        name: ``input``, ``hidden1``, …, ``action``, ``interneuron1``, ….
        size: Number of neurons.
        first: Index of the first one among the neurons of all populations.
        spec: Their type.
    """

    kind: str
    name: str
    size: int
    first: int
    spec: NeuronSpec


@dataclass(frozen=True)
class Projection:
    """All-to-all synapses from one population to another, and from the bias unit.

    Attributes:
        name: ``hidden`` or ``action``, for those of the chain by where they go; else the name in [projection.NAME].
        spec: Their type.
        pre: Number of the population before.
        post: Number of the population after.
        n_pre: Neurons before.
        n_post: Neurons after.
        bias: Whether the bias unit projects along.
        sums: What a synapse adds to which variable of the neuron after it.
        feedback: What a synapse adds to which variable of the neuron before it.
    """

    name: str
    spec: SynapseSpec
    pre: int
    post: int
    n_pre: int
    n_post: int
    bias: bool
    sums: Mapping[str, str]
    feedback: Mapping[str, str]

    @property
    def section(self) -> str:
        """Its section in the file."""
        return f"projection.{self.name}" if isinstance(self.spec, ProjectionSpec) else f"synapse.{self.name}"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of its weights: (n_post, n_pre), and a column for the bias, the last one."""
        return self.n_post, self.n_pre + self.bias


def populations(model: ModelSpec, sizes: Sequence[int]) -> tuple[Population, ...]:
    """Return the populations of a network.

    Args:
        model: The model.
        sizes: Neurons per layer of the chain, from the inputs to the actions.
    """
    last = len(sizes) - 1
    kinds = ["input", *["hidden"] * (last - 1), "action"]
    names = ["input", *(f"hidden{k}" for k in range(1, last)), "action"]
    counts = list(sizes)
    if model.interneuron is not None:
        top = "interneuron" if model.interneuron_action is None else "interneuron_action"
        kinds += ["interneuron"] * (last - 2) + [top]
        names += [f"interneuron{k}" for k in range(1, last)]
        counts += list(sizes[2:])
    first = [0, *accumulate(counts)]
    specs = model.neurons
    return tuple(
        Population(kind, name, size, at, specs[kind])
        for kind, name, size, at in zip(kinds, names, counts, first[:-1], strict=True)
    )


def projections(model: ModelSpec, sizes: Sequence[int]) -> tuple[Projection, ...]:
    """Return the projections of a network, in the order of `Simulation.weights`; arguments as `populations`."""
    last = len(sizes) - 1
    post = {key.removesuffix("_post"): text for key, text in model.sums.items() if key.endswith("_post")}
    pre = {key.removesuffix("_pre"): text for key, text in model.sums.items() if key.endswith("_pre")}
    found = []
    for k in range(last):
        name = "action" if k == last - 1 else "hidden"
        spec = model.synapse_action if k == last - 1 else model.synapse_hidden
        back = pre if k > 0 else {}  # nothing reaches back into the input
        found.append(Projection(name, spec, k, k + 1, sizes[k], sizes[k + 1], True, post, back))
    for layer in range(1, last):
        place = {"hidden": layer, "above": layer + 1, "interneuron": last + layer}
        count = {"hidden": sizes[layer], "above": sizes[layer + 1], "interneuron": sizes[layer + 1]}
        for name, extra in model.projections.items():
            sums = {key.removesuffix("_post"): text for key, text in extra.sums.items()}
            ends = place[extra.source], place[extra.target], count[extra.source], count[extra.target]
            found.append(Projection(name, extra, *ends, extra.bias, sums, {}))
    return tuple(found)
