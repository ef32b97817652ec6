"""Projections of the double: integer weights of one sign, no delays."""

from __future__ import annotations

import math

import numpy as np
import pyNN.common
import pyNN.errors
from pyNN.common import Assembly, PopulationView
from pyNN.space import Space

from . import contract, simulator
from .plasticity_rules import PlasticityRuleHandle
from .standardmodels.synapses import StaticSynapse


class Connection(pyNN.common.Connection):
    def __init__(self, projection, pre_index, post_index, **parameters):
        self.projection = projection
        self.presynaptic_index, self.postsynaptic_index = pre_index, post_index
        self.weight = parameters["weight"]
        self.delay = parameters["delay"]

    def _set_weight(self, value):
        self.projection.check_sign(value)
        self._weight = round(value)

    def _set_delay(self, value):
        if value != 0:
            raise ValueError(f"[J1] Setting the delay unequal 0 is not supported: {value}")
        self._delay = value

    weight = property(lambda self: self._weight, _set_weight)
    delay = property(lambda self: self._delay, _set_delay)

    @property
    def synapses(self):
        """How many synapses of the chip the weight takes."""
        return max(1, math.ceil(abs(self._weight) / contract.WEIGHT_MAX))

    def as_tuple(self, *names):
        return tuple(getattr(self, name) for name in names)


class Projection(pyNN.common.Projection):
    _simulator = simulator
    _static_synapse_class = StaticSynapse

    def __init__(
        self,
        presynaptic_neurons,
        postsynaptic_neurons,
        connector,
        synapse_type=None,
        source=None,
        receptor_type=None,
        space=None,
        label=None,
    ):
        super().__init__(
            presynaptic_neurons,
            postsynaptic_neurons,
            connector,
            synapse_type,
            source,
            receptor_type,
            space or Space(),
            label,
        )
        if not hasattr(connector, "source_location_selector"):
            raise AttributeError(f"[J4] {type(connector).__name__}: use the connectors of this simulator")
        self.connections = []
        connector.connect(self)
        self.connections.sort(key=lambda c: (c.presynaptic_index, c.postsynaptic_index))
        rule = getattr(self.synapse_type, "plasticity_rule", None)
        if rule is not None:
            rule.projections.append(self)
        simulator.state.projections.append(self)

    def check_sign(self, weight):
        inhibitory = self.receptor_type == "inhibitory" and not self.post.conductance_based
        if (weight < 0 and not inhibitory) or (weight > 0 and self.receptor_type != "excitatory"):
            raise pyNN.errors.ConnectionError(
                f"[J2] weight {weight} of a projection to receptor {self.receptor_type!r}: weights must be positive "
                "for conductance-based and/or excitatory synapses and negative for inhibitory synapses"
            )

    def check_route(self):
        if isinstance(self.pre, Assembly) or isinstance(self.post, Assembly):
            raise NotImplementedError("[J5] Assemblies are not supported yet")

    def __len__(self):
        return len(self.connections)

    def __getitem__(self, i):
        return self.connections[i]

    def _set_attributes(self, parameter_space):
        parameter_space.evaluate(mask=(slice(None), self.post._mask_local))
        for name, value in parameter_space.items():
            for c in self.connections:
                setattr(c, name, float(value[c.presynaptic_index][c.postsynaptic_index]))

    def _set_initial_value_array(self, variable, initial_value):
        raise NotImplementedError

    def _convergent_connect(self, presynaptic_indices, postsynaptic_index, location_selector=None, **parameters):
        for k, pre in enumerate(presynaptic_indices):
            own = {name: value if np.isscalar(value) else value[k] for name, value in parameters.items()}
            self.connections.append(Connection(self, int(pre), int(postsynaptic_index), **own))

    def get_data(self, observable):
        rule = getattr(self.synapse_type, "plasticity_rule", None)
        if not isinstance(self.synapse_type, PlasticityRuleHandle) or rule is None:
            raise RuntimeError("[L4] Synapse type can't have observables: it holds no plasticity rule")
        if observable not in rule.observables:
            raise RuntimeError("[L4] Synapse type doesn't have requested observable.")
        if not simulator.state.hardware_runs:
            raise RuntimeError("[L4] Plasticity rule observables only available after execution.")
        return [None for _ in simulator.state.snippets]

    def post_cell(self, connection):
        return int(self.post.all_cells[connection.postsynaptic_index])

    def snapshot(self):
        pre = getattr(self.pre, "grandparent", self.pre)
        post = getattr(self.post, "grandparent", self.post)
        weights = np.zeros((pre.size, post.size))
        rows = self._indices(self.pre)
        columns = self._indices(self.post)
        for c in self.connections:
            weights[rows[c.presynaptic_index], columns[c.postsynaptic_index]] += c.weight
        populations = simulator.state.populations
        return {
            "pre": populations.index(pre),
            "post": populations.index(post),
            "sign": 1 if self.receptor_type == "excitatory" else -1,
            "weights": weights,
        }

    @staticmethod
    def _indices(population):
        if isinstance(population, PopulationView):
            return population.index_in_grandparent(np.arange(population.size))
        return np.arange(population.size)
