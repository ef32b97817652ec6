"""NEST: `reset` does not clear what is under way, and PyNN's setters and readers are slow; both by NEST's own calls.

A run begins at rest. Before it, the network idles for a little more than a refractory time, with the threshold out of
reach and synaptic currents that decay at once, so that neither refractory cells, nor currents, nor spikes on their way
are left of the run before. (NEST lets nobody set a synaptic current.)
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from rnla_neuro_backends.pynn_adapter.plan import Cells, FloatArray, Link, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.standard import StandardSimulator

_FAR = 1e6  # mV, a threshold that nothing reaches
_SHORT = 0.02  # ms, a synaptic time constant after which nothing is left in a pause


class NestSimulator(StandardSimulator):
    """See the module."""

    name: ClassVar[str] = "nest"
    title: ClassVar[str] = "NEST"
    module: ClassVar[str] = "pyNN.nest"
    package: ClassVar[str] = "nest"

    def setup_options(self) -> dict[str, Any]:
        """Spikes on the grid, as the other simulators have them."""
        return {"spike_precision": "on_grid", "verbosity": "error", "threads": 1}

    def record(self, population: Any) -> None:
        """Record nothing through PyNN; `built` connects a recorder of our own."""

    def built(self) -> None:
        """Keep handles of nodes and connections, and record all cells by one recorder of our own."""
        import nest
        from nest import nestkernel_api

        # the same calls as nodes.set(…), which ask the kernel for its whole status first, for milliseconds
        self._nest, self._kernel, plan = nest, nestkernel_api, self.plan
        self.sim.run(plan.delay)  # PyNN connects spike sources at the first run
        self._time = float(nest.biological_time)
        self._nodes = {cells.name: self.populations[cells.name].node_collection for cells in plan.cells}
        self._first = {name: int(nodes[0].global_id) for name, nodes in self._nodes.items()}
        self._recorder = nest.Create("spike_recorder")
        for nodes in self._nodes.values():
            nest.Connect(nodes, self._recorder, syn_spec={"delay": plan.delay})
        self._generators = {s.name: self.populations[s.name].node_collection_source for s in plan.sources}
        self._silent = dict.fromkeys(self._generators, True)
        self._connections: dict[tuple[str, int], Any] = {}
        longest = max(cells.t_ref for cells in plan.cells)
        self._pause = plan.delay * math.ceil(longest / plan.delay + 2)
        self._events: dict[str, Any] = {}
        self._currents = {cells.name: np.zeros(cells.size * plan.n_agents) for cells in plan.cells}
        pause = {"V_th": _FAR, "tau_syn_ex": _SHORT, "tau_syn_in": _SHORT, "I_e": 0.0}
        self._paused = {c.name: pause | {"V_m": c.rest} for c in plan.cells}
        self._awake = {
            c.name: {"V_th": c.threshold, "tau_syn_ex": c.tau_syn, "tau_syn_in": c.tau_syn, "V_m": c.rest}
            for c in plan.cells
        }

    def set_weights(self, link: Link, agent: int, weights: FloatArray, changed: FloatArray | None) -> None:
        """Set the weights that changed, by the handles of their connections."""
        handles, order = self._handles(link, agent)
        values = (weights * (link.scale * 1e3)).ravel()[order]  # NEST's currents are pA
        every = np.ones(len(handles), np.bool_)
        chosen = np.flatnonzero(every if changed is None else np.ravel(changed)[order]).tolist()
        if len(chosen):
            new = [{"weight": values[k]} for k in chosen]
            self._kernel.llapi_set_connection_status([handles[k] for k in chosen], new)

    def _handles(self, link: Link, agent: int) -> tuple[list[Any], Any]:
        """Return the connections of a projection, and the place of each in the flat weights (n_post, n_pre)."""
        if (link.name, agent) not in self._connections:
            found = self._nest.GetConnections(
                self.part(link.pre, agent).node_collection, self.part(link.post, agent).node_collection
            )
            ends = found.get(["source", "target"])
            pre, post = (np.asarray(ends[key]) for key in ("source", "target"))
            order = (post - post.min()) * self.plan.size(link.pre) + (pre - pre.min())
            self._connections[link.name, agent] = (list(found._datum), order)
        handles: tuple[list[Any], Any] = self._connections[link.name, agent]
        return handles

    def rest(self) -> None:
        """Let what is under way fade; `give` ends the pause."""
        for name, nodes in self._nodes.items():
            self._kernel.llapi_set_nc_status(nodes._datum, [self._paused[name]] * len(nodes))

    def give(self, trial: Trial) -> None:
        """Set spikes; after the pause bring the cells to rest and set their currents.

        Sources are generators with parrots behind them, a delay later: they are given spikes that much earlier.
        """
        self._begin = self._time + self._pause
        early = self._begin - self.plan.delay
        for name, generators in self._generators.items():
            spikes = trial.spikes.get(name)
            if spikes is None and self._silent[name]:
                continue
            self._silent[name] = spikes is None
            parts = (spikes or Spikes.none()).by_cell(len(generators), later=early)
            self._kernel.llapi_set_nc_status(generators._datum, [{"spike_times": times} for times in parts])
        self._simulate(self._pause)
        self._kernel.llapi_set_nc_status(self._recorder._datum, [{"n_events": 0}])
        for name, nodes in self._nodes.items():
            current = trial.currents.get(name, self._currents[name])
            self._currents[name] = current
            awake = self._awake[name]
            new = [{**awake, "I_e": value} for value in (current * 1e3).tolist()]
            self._kernel.llapi_set_nc_status(nodes._datum, new)

    def advance(self) -> None:
        """Run for the plan's duration, and a delay in which the recorder receives the last spikes."""
        self._simulate(self.plan.duration)
        self._events = self._recorder.get("events")

    def _simulate(self, duration: float) -> None:
        """Simulate, and keep the time: asking NEST for it takes milliseconds, and longer with every run."""
        self._nest.Simulate(duration)
        self._time = round(self._time + duration, 9)

    def read(self, cells: Cells) -> Spikes:
        """Return what cells fired in the last run."""
        sender = self._events["senders"] - self._first[cells.name]
        ours = (sender >= 0) & (sender < cells.size * self.plan.n_agents)
        return Spikes(sender[ours].astype(np.int64), self._events["times"][ours] - self._begin)


SIMULATOR = NestSimulator
