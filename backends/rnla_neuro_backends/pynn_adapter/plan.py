"""What a simulator is asked to build and to run: cells, spike sources and links, in PyNN's units (ms, mV, nA, nF)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """A population of integrate-and-fire cells with exponential synaptic currents, the same for all agents.

    Cell i of agent a is number ``a*size + i``.

    Attributes:
        name: ``hidden1``, ``hidden2``, …, ``action``.
        size: Cells of one agent.
        tau_m: Membrane time constant, ms.
        tau_syn: Time constant of the synaptic currents, excitatory and inhibitory, ms.
        t_ref: Refractory time, ms.
        rest: Resting potential, mV; a run begins there.
        reset: Potential after a spike, mV.
        threshold: Potential of a spike, mV.
        capacity: nF; a constant current of ``(threshold - rest)*capacity/tau_m`` just reaches the threshold.
    """

    name: str
    size: int
    tau_m: float
    tau_syn: float
    t_ref: float
    rest: float = -65.0
    reset: float = -65.0
    threshold: float = -50.0
    capacity: float = 1.0


@dataclass(frozen=True)
class Source:
    """A population of spike sources, whose spikes the host gives before each run; numbered as `Cells` are.

    Attributes:
        name: Unique.
        size: Sources of one agent.
        rate: Hz, of sources that are nothing but Poisson noise: a platform with generators may draw them itself;
            0: the spikes are an input.
    """

    name: str
    size: int
    rate: float = 0.0


@dataclass(frozen=True)
class Link:
    """A projection within each agent.

    Attributes:
        name: Unique.
        pre: Name of cells or of a source.
        post: Name of cells.
        scale: nA that a spike adds to the synaptic current for each unit of the model's weight.
        fixed: Model weights (n_post, n_pre) that never change; None: `Simulator.write` sets them. 0: no synapse.
    """

    name: str
    pre: str
    post: str
    scale: float
    fixed: FloatArray | None = None


@dataclass(frozen=True)
class Plan:
    """All that is built; it holds for the life of a simulation.

    Attributes:
        cells: Populations of cells, which record their spikes.
        sources: Populations of spike sources.
        links: Projections.
        n_agents: Copies of all of it.
        timestep: ms.
        delay: Of all synapses, ms; platforms without delays say so and take theirs.
        duration: Of a run, ms.
    """

    cells: tuple[Cells, ...]
    sources: tuple[Source, ...]
    links: tuple[Link, ...]
    n_agents: int
    timestep: float
    delay: float
    duration: float

    def size(self, name: str) -> int:
        """Number of cells or sources of one agent in the population `name`."""
        sizes = {cells.name: cells.size for cells in self.cells} | {one.name: one.size for one in self.sources}
        return sizes[name]


@dataclass(frozen=True)
class Spikes:
    """Spikes of one population, all agents.

    Attributes:
        index: Which cell, ``a*size + i``, shape (S,).
        time: ms since the start of the run, shape (S,).
    """

    index: IntArray
    time: FloatArray

    @staticmethod
    def none() -> Spikes:
        """No spikes."""
        return Spikes(np.empty(0, np.int64), np.empty(0))

    def by_cell(self, n: int, later: float = 0.0) -> list[list[float]]:
        """Return the sorted times of each of `n` cells, `later` by so many ms."""
        order = np.lexsort((self.time, self.index))
        ends = np.searchsorted(self.index[order], np.arange(n + 1)).tolist()
        times = (self.time[order] + later).tolist()
        return [times[first:last] for first, last in pairwise(ends)]


@dataclass(frozen=True)
class Trial:
    """What one run is given.

    Attributes:
        spikes: Spikes of each source, by its name; a source that is not there is silent.
        currents: Constant currents of each population of cells, nA, shape (A*size,), by its name.
    """

    spikes: Mapping[str, Spikes] = field(default_factory=dict)
    currents: Mapping[str, FloatArray] = field(default_factory=dict)
