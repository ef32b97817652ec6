"""Populations, views and assemblies of the double."""

from __future__ import annotations

import numpy as np
import pyNN.common
from pyNN.parameters import ParameterSpace, simplify

from . import simulator
from .recording import Recorder


class Assembly(pyNN.common.Assembly):
    _simulator = simulator


class Population(pyNN.common.Population):
    _simulator = simulator
    _recorder_class = Recorder
    _assembly_class = Assembly
    changed_since_last_run = True

    def _create_cells(self):
        state = simulator.state
        if state is None:
            raise AttributeError("[S1] call setup() before anything else")
        first = state.id_counter
        self.all_cells = np.array([simulator.ID(n) for n in range(first, first + self.size)], dtype=simulator.ID)
        self._mask_local = np.ones(self.size, dtype=bool)
        for cell in self.all_cells:
            cell.parent = self
        if type(self.celltype).__name__ == "SpikeSourcePoissonOnChip":
            state.place_background()
        elif not self.celltype.source:
            state.place(self.size)
        self._evaluate()
        state.id_counter += self.size
        state.populations.append(self)

    def _get_parameters(self, *names):
        return ParameterSpace({name: simplify(self.native(name)) for name in names}, shape=(self.size,))

    def _set_parameters(self, parameter_space):
        self.changed_since_last_run = True
        parameter_space.evaluate(simplify=False)
        for name, value in parameter_space.items():
            self.celltype.parameter_space._parameters[name] = np.array(np.broadcast_to(value, (self.size,)))

    def _evaluate(self):
        space = self.celltype.parameter_space
        space.shape = (self.size,)
        space.evaluate(mask=self._mask_local, simplify=False)

    def native(self, name):
        """Return the values of a parameter, one a cell."""
        value = self.celltype.parameter_space[name]
        return value.evaluate(simplify=False) if hasattr(value, "evaluate") else value

    def _set_initial_value_array(self, variable, value):
        """Initial values are ignored (rule P3)."""

    def _get_view(self, selector, label=None):
        return PopulationView(self, selector, label)

    def record(self, variables, to_file=None, sampling_interval=None, locations=None, *, device="madc"):
        if variables is None:
            self.recorder.reset()
            return
        ids = self.all_cells if self._record_filter is None else self._record_filter
        self.recorder.record(variables, ids, sampling_interval, locations, device=device)

    def inject(self, current_source):
        raise TypeError("[P4] there are no current sources on this simulator")

    @property
    def actual_hwparams(self):
        return self.celltype.actual_hwparams

    @property
    def calib_hwparams(self):
        return self.celltype.calib_hwparams

    @property
    def calib_target(self):
        return self.celltype.calib_target


class PopulationView(pyNN.common.PopulationView):
    _simulator = simulator
    _assembly_class = Assembly
    record = Population.record
    inject = Population.inject

    def _get_parameters(self, *names):
        whole = self.grandparent
        values = {name: simplify(np.asarray(whole.native(name))[self.mask]) for name in names}
        return ParameterSpace(values, shape=(self.size,))

    def _set_parameters(self, parameter_space):
        self.grandparent.changed_since_last_run = True
        parameter_space.evaluate(simplify=False)
        for name, value in parameter_space.items():
            whole = np.array(np.broadcast_to(self.grandparent.native(name), (self.grandparent.size,)))
            whole[self.mask] = value
            self.grandparent.set(**{name: whole})

    def _get_view(self, selector, label=None):
        return PopulationView(self, selector, label)
