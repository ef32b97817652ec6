"""NEURON: its compiler has to be on PATH; weights, spikes and times go through the objects behind PyNN's calls.

PyNN compiles NEURON's mechanisms when it is imported for the first time, by ``nrnivmodl``, which lies beside Python.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rnla_neuro_backends.pynn_adapter.plan import Cells, FloatArray, IntArray, Link, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.standard import StandardSimulator

_COMPILER = "nrnivmodl"


class NeuronSimulator(StandardSimulator):
    """See the module."""

    name: ClassVar[str] = "neuron"
    title: ClassVar[str] = "NEURON"
    module: ClassVar[str] = "pyNN.neuron"
    package: ClassVar[str] = "neuron"

    def missing(self) -> str:
        """Look for the packages, and for NEURON's compiler; see `Simulator.missing`."""
        missing = super().missing()
        if missing or _compiler() is not None:
            return missing
        return (
            f"NEURON's compiler {_COMPILER!r} is neither on PATH nor beside Python ({Path(sys.executable).parent}): "
            "add the folder 'bin' of the environment that NEURON is installed in to PATH"
        )

    def load(self) -> Any:
        """Import PyNN's module, with the compiler on PATH."""
        compiler = _compiler()
        if compiler is not None and shutil.which(_COMPILER) is None:
            os.environ["PATH"] = os.pathsep.join([str(compiler.parent), os.environ.get("PATH", "")])
        return super().load()

    def built(self) -> None:
        """Keep the cells, and pointers to the weights of each projection."""
        from neuron import h

        self._h = h
        h.secondorder = 2  # Crank-Nicolson: the backward Euler steps of the default delay spikes by some 0.1 ms
        self._state = self.sim.simulator.state
        self._cells = {name: [one._cell for one in population] for name, population in self.populations.items()}
        self._pointers: dict[tuple[str, int], tuple[Any, IntArray]] = {}
        self._silent = {source.name: True for source in self.plan.sources}

    def set_weights(self, link: Link, agent: int, weights: FloatArray, changed: FloatArray | None) -> None:
        """Scatter all weights to their connections, in C."""
        key = (link.name, agent)
        if key not in self._pointers:
            connections = list(self.projections[key].connections)
            pointers = self._h.PtrVector(len(connections))
            for k, one in enumerate(connections):
                pointers.pset(k, one.nc._ref_weight[0])
            n_pre = self.plan.size(link.pre)
            order = np.array([one.postsynaptic_index * n_pre + one.presynaptic_index for one in connections])
            self._pointers[key] = (pointers, order)
        pointers, order = self._pointers[key]
        pointers.scatter(self._h.Vector((weights * link.scale).ravel()[order]))

    def rest(self) -> None:
        """Set the clock to 0; NEURON brings everything to rest when the run starts."""
        state = self._state
        state.running, state.t, state.tstop, state.t_start = False, 0, 0, 0

    def give(self, trial: Trial) -> None:
        """Set spikes and currents."""
        for name in self._silent:
            spikes = trial.spikes.get(name)
            if spikes is None and self._silent[name]:
                continue
            self._silent[name] = spikes is None
            sources = self._cells[name]
            for source, times in zip(sources, (spikes or Spikes.none()).by_cell(len(sources)), strict=True):
                source._spike_times = self._h.Vector(times)
                source.play(source._spike_times)
        for name, currents in trial.currents.items():
            for cell, current in zip(self._cells[name], currents.tolist(), strict=True):
                cell.stim.amp = current

    def advance(self) -> None:
        """Run for the plan's duration."""
        self._state.run(self.plan.duration)

    def read(self, cells: Cells) -> Spikes:
        """Return what cells fired in the last run."""
        times = [np.array(cell.spike_times, dtype=np.float64) for cell in self._cells[cells.name]]
        return Spikes(np.repeat(np.arange(len(times)), [len(one) for one in times]), np.concatenate(times))


def _compiler() -> Path | None:
    """Find NEURON's compiler, on PATH or beside Python."""
    found = shutil.which(_COMPILER) or shutil.which(_COMPILER, path=str(Path(sys.executable).parent))
    return None if found is None else Path(found)


SIMULATOR = NeuronSimulator
