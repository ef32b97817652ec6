"""Brian2 by PyNN: a reset restores weights too, a spike is stamped at the start of its step, and a run takes long."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rnla_neuro_backends.pynn_adapter.plan import Cells, FloatArray, Link, Spikes
from rnla_neuro_backends.pynn_adapter.standard import StandardSimulator


class Brian2Simulator(StandardSimulator):
    """See the module; currents are the cells' own offsets, since PyNN's current sources are dead after a reset."""

    name: ClassVar[str] = "brian2"
    title: ClassVar[str] = "Brian2"
    module: ClassVar[str] = "pyNN.brian2"
    package: ClassVar[str] = "brian2"

    def load(self) -> Any:
        """Import PyNN's module; numpy runs, since compiling PyNN's objects takes minutes."""
        module = super().load()
        import brian2

        brian2.prefs.codegen.target = "numpy"
        return module

    def parameters(self, cells: Cells) -> dict[str, float]:
        """A refractory time is counted from the start of the step of a spike: it lasts a step longer here."""
        return {**super().parameters(cells), "tau_refrac": cells.t_ref + self.plan.timestep}

    def record(self, population: Any) -> None:
        """Record nothing through PyNN, whose records of runs after a reset begin at the wrong time; see `built`."""

    def built(self) -> None:
        """Record spikes by monitors of our own, and choose how cells are integrated.

        Left to choose, Brian2 takes the exact solution, which divides by 0 where membrane and synapse have one time
        constant. The midpoint rule is as good at these steps.
        """
        from brian2 import SpikeMonitor

        self._state = self.sim.simulator.state
        self._monitors = {}
        for cells in self.plan.cells:
            group = self.populations[cells.name].brian2_group
            group.state_updater.method_choice = "rk2"
            self._monitors[cells.name] = SpikeMonitor(group)
            self._state.network.add(self._monitors[cells.name])

    def connect(self, link: Link, agent: int) -> Any:
        """Connect all synapses of a projection at once; PyNN's connectors take a millisecond for each."""
        from brian2 import ms
        from pyNN.connectors import Connector

        fixed = link.fixed
        shape = (self.plan.size(link.post), self.plan.size(link.pre))
        to, of = np.nonzero(np.ones(shape) if fixed is None else fixed)
        values = np.zeros(len(to)) if fixed is None else fixed[to, of] * (link.scale * 1e-9)
        delay = self.plan.delay * ms

        class AtOnce(Connector):  # type: ignore[misc]
            """Makes the synapses of `link`."""

            def connect(self, projection: Any) -> None:
                synapses = projection._brian2_synapses[0][0]
                i, j = of + agent * shape[1], to + agent * shape[0]
                synapses.connect(i=i, j=j)
                synapses.weight_, synapses.delay = values, delay
                projection._n_connections = len(i)

        kind = "inhibitory" if len(values) and values[0] < 0 else "excitatory"
        pre, post = self.part(link.pre, agent), self.part(link.post, agent)
        synapse = self.sim.StaticSynapse(weight=0.0, delay=self.plan.delay)
        return self.sim.Projection(pre, post, AtOnce(), synapse, receptor_type=kind)

    def set_weights(self, link: Link, agent: int, weights: FloatArray, changed: FloatArray | None) -> None:
        """Set weights by their indices."""
        synapses = self.projections[link.name, agent]._brian2_synapses[0][0]
        pre, post = (np.asarray(one[:]) for one in (synapses.i, synapses.j))
        n_pre, n_post = self.plan.size(link.pre), self.plan.size(link.post)
        synapses.weight_ = (weights * (link.scale * 1e-9))[post - agent * n_post, pre - agent * n_pre]

    def rest(self) -> None:
        """Restore the state before the first run, and then the weights."""
        self._state.reset()
        for (link, agent), weights in self._written.items():
            self.set_weights(self._link(link), agent, weights, None)

    def advance(self) -> None:
        """Run for the plan's duration, without what Brian2 says about it."""
        self._state.run(self.plan.duration)

    def read(self, cells: Cells) -> Spikes:
        """Return what cells fired, stamped at the end of a step as the other simulators do."""
        monitor = self._monitors[cells.name]
        index, seconds = np.array(monitor.i, dtype=np.int64), np.array(monitor.t_, dtype=np.float64)
        return Spikes(index, np.round(seconds * 1e3, 9) + self.plan.timestep)


SIMULATOR = Brian2Simulator
