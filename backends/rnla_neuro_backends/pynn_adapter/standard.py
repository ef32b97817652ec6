"""How plain PyNN does what `Simulator` asks; a subclass states what its simulator does differently, and faster ways."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, ClassVar

import numpy as np

from rnla_neuro.errors import MissingExtraError
from rnla_neuro_backends.pynn_adapter.plan import Cells, FloatArray, IntArray, Link, Plan, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.quiet import quiet
from rnla_neuro_backends.pynn_adapter.simulator import Simulator


class StandardSimulator(Simulator):
    """A simulator by PyNN's own calls: `Population`, `Projection`, `run`, `reset`, `get_data`.

    PyNN has one network a simulator and process. If another one has been built in between, ours is built again: it
    keeps nothing from run to run but its weights.

    Attributes:
        module: PyNN's module.
        package: The simulator's own package, as Python imports it.
        plan: What was built.
        populations: PyNN's populations by name, all agents in one.
        projections: PyNN's projections by link and agent.
    """

    module: ClassVar[str]
    package: ClassVar[str]
    _owner: ClassVar[dict[str, StandardSimulator]] = {}  # whose network PyNN holds, by module

    plan: Plan
    populations: dict[str, Any]
    projections: dict[tuple[str, int], Any]

    def __init__(self) -> None:
        self._written: dict[tuple[str, int], FloatArray] = {}

    def missing(self) -> str:
        """Look for the packages without importing them; see `Simulator.missing`."""
        for package, name in (("pyNN", "PyNN"), (self.package, self.title)):
            if importlib.util.find_spec(package) is None:
                return f"{name} is not installed: pip install 'rnla_neuro[{self.extra}]'"
        return ""

    def load(self) -> Any:
        """Import PyNN's module of the simulator, without what it prints.

        Raises:
            MissingExtraError: A package is missing; the message names the extra.
        """
        missing = self.missing()
        if missing:
            raise MissingExtraError(f"backend 'pynn', simulator {self.name!r}: {missing}")
        with quiet():
            return importlib.import_module(self.module)

    def setup_options(self) -> dict[str, Any]:
        """Return further arguments of `setup`."""
        return {}

    def open(self, plan: Plan) -> None:
        """Build the network; see `Simulator.open`."""
        self.plan, self.sim = plan, self.load()
        with quiet():
            self._build()
        self._owner[self.module] = self

    def _build(self) -> None:
        plan, sim = self.plan, self.sim
        sim.setup(timestep=plan.timestep, min_delay=plan.delay, max_delay=plan.delay, **self.setup_options())
        self.populations = {}
        for cells in plan.cells:
            population = sim.Population(cells.size * plan.n_agents, sim.IF_curr_exp(**self.parameters(cells)))
            population.initialize(v=cells.rest)
            self.record(population)
            self.populations[cells.name] = population
        for source in plan.sources:
            self.populations[source.name] = sim.Population(source.size * plan.n_agents, sim.SpikeSourceArray())
        self.projections = {}
        for link in plan.links:
            for agent in range(plan.n_agents):
                self.projections[link.name, agent] = self.connect(link, agent)
        self.built()

    def parameters(self, cells: Cells) -> dict[str, float]:
        """Return the parameters of `IF_curr_exp`."""
        return cell_parameters(cells)

    def record(self, population: Any) -> None:
        """Let cells record their spikes."""
        population.record("spikes")

    def built(self) -> None:
        """Prepare what faster ways need, after all is built."""

    def part(self, name: str, agent: int) -> Any:
        """Return the cells or sources of one agent."""
        n = self.plan.size(name)
        return self.populations[name][agent * n : (agent + 1) * n]

    def connect(self, link: Link, agent: int) -> Any:
        """Make a projection; weights that `write` sets start at 0."""
        sim, pre, post = self.sim, self.part(link.pre, agent), self.part(link.post, agent)
        if link.fixed is None:
            synapse = sim.StaticSynapse(weight=0.0, delay=self.plan.delay)
            return sim.Projection(pre, post, sim.AllToAllConnector(), synapse, receptor_type="excitatory")
        to, of = np.nonzero(link.fixed)
        weights = link.fixed[to, of] * link.scale
        rows = [(int(i), int(j), float(w), self.plan.delay) for i, j, w in zip(of, to, weights, strict=True)]
        kind = "inhibitory" if len(weights) and weights[0] < 0 else "excitatory"
        connector = sim.FromListConnector(rows, column_names=["weight", "delay"])
        return sim.Projection(pre, post, connector, sim.StaticSynapse(), receptor_type=kind)

    def own(self) -> None:
        """Build again if PyNN holds another network by now."""
        if self._owner.get(self.module) is not self:
            self.open(self.plan)
            for (link, agent), weights in self._written.items():
                self.set_weights(self._link(link), agent, weights, None)

    def _link(self, name: str) -> Link:
        return next(link for link in self.plan.links if link.name == name)

    def write(self, link: str, agent: int, weights: FloatArray, changed: FloatArray | None = None) -> None:
        """Set weights; see `Simulator.write`."""
        self.own()
        self.set_weights(self._link(link), agent, weights, changed)
        self._written[link, agent] = weights.copy()

    def set_weights(self, link: Link, agent: int, weights: FloatArray, changed: FloatArray | None) -> None:
        """Set weights by `Projection.set`."""
        self.projections[link.name, agent].set(weight=weights.T * link.scale)

    def run(self, trial: Trial) -> dict[str, Spikes]:
        """Run from rest; see `Simulator.run`."""
        self.own()
        self.rest()
        self.give(trial)
        self.advance()
        return {cells.name: self.read(cells) for cells in self.plan.cells}

    def rest(self) -> None:
        """Bring all cells to rest, the clock to 0."""
        self.sim.reset()

    def give(self, trial: Trial) -> None:
        """Set spikes of sources and currents of cells."""
        from pyNN.parameters import Sequence

        for source in self.plan.sources:
            spikes = trial.spikes.get(source.name, Spikes.none())
            parts = spikes.by_cell(source.size * self.plan.n_agents)
            self.populations[source.name].set(spike_times=[Sequence(times) for times in parts])
        for name, current in trial.currents.items():
            self.populations[name].set(i_offset=current)

    def advance(self) -> None:
        """Run for the plan's duration."""
        self.sim.run(self.plan.duration)

    def read(self, cells: Cells) -> Spikes:
        """Return what cells fired in the last run, and forget it."""
        data = self.populations[cells.name].get_data("spikes", clear=True).segments[-1]
        times = [np.asarray(train.rescale("ms").magnitude, dtype=np.float64) for train in data.spiketrains]
        index: IntArray = np.repeat(np.arange(len(times)), [len(one) for one in times])
        return Spikes(index, np.concatenate(times) if times else np.empty(0))

    def close(self) -> None:
        """End the simulation if it is still ours."""
        if self._owner.get(self.module) is self:
            del self._owner[self.module]
            with quiet():
                self.sim.end()


def cell_parameters(cells: Cells) -> dict[str, float]:
    """Return the parameters of `IF_curr_exp`; its constant current, 0 by default, is set with each trial."""
    return {
        "cm": cells.capacity,
        "tau_m": cells.tau_m,
        "tau_syn_E": cells.tau_syn,
        "tau_syn_I": cells.tau_syn,
        "tau_refrac": cells.t_ref,
        "v_rest": cells.rest,
        "v_reset": cells.reset,
        "v_thresh": cells.threshold,
    }
