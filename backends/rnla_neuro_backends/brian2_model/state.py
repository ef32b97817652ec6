"""The canonical state of an engine by the names of a model's variables in Brian2."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.core.variables import ArrayVariable

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.brian2_model.groups import Brian2Network
from rnla_neuro_backends.explicit.names import modulator_names, trace_names

FloatArray = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]


#: Variables that Brian2 forms anew in each step: which neurons spiked, and which may.
_FORMED = ("_spikespace", "not_refractory")


class StateNames:
    """Reads and writes the canonical state of the agent that the groups hold.

    Attributes:
        neurons: All groups that are not synapses.
        synapses: All projections.
        traces: Names of the traces of each projection.
    """

    def __init__(self, net: Brian2Network) -> None:
        self.net, model = net, net.model
        self.neurons = (net.signals, *net.modulators.values(), net.bias, net.input, *net.layers, *net.beside)
        self.synapses = (*net.synapses, *(group for group in net.bias_synapses if group is not None))
        self.traces = [trace_names(link.spec, model.roles["weight"]) for link in net.projections]
        self.modulators = [
            net.modulators[channel].variables[name] for channel, name in modulator_names(model)
        ]
        self._low_passed = isinstance(net.layers[-1].variables["rnla_decision"], ArrayVariable)

    def read(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state of the agent that is loaded."""
        net, roles = self.net, self.net.model.roles
        zeros = np.zeros(net.sizes[-1])
        noise_bar = _get(net.layers[-1], roles["noise"]) if "noise" in roles else zeros
        weight = net.synaptic(roles["weight"])
        values: Arrays = {
            "w": np.concatenate([w.ravel() for w in weight]),
            "z": self._read_traces(),
            "modulators": np.array([float(v.get_value()[0]) for v in self.modulators] or [0.0]),
            "lowpass": _get(net.layers[-1], "rnla_decision") if self._low_passed else zeros,
            "u": self._layers(roles["voltage"]),
            "ebar_prev": self._layers(roles["error"], past=True),
            "rbar_prev": self._layers(roles["rate"], past=True),
            "drive_prev": self._layers(roles.get("drive", roles["current"])),
            "noise_bar": noise_bar,
            "noise": zeros if net.process is None else _get(net.layers[-1], net.process),
            "input": _get(net.input, roles["rate"]),
        }
        return {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}

    def _read_traces(self) -> FloatArray:
        parts = [self._synaptic(k, name).ravel() for k, names in enumerate(self.traces) for name in names]
        return np.concatenate([np.zeros(0), *parts])

    def _synaptic(self, k: int, name: str) -> FloatArray:
        """Return a variable of one projection, shape (n_post, n_pre + 1), or (n_post, n_pre) without a bias."""
        link, bias = self.net.projections[k], self.net.bias_synapses[k]
        weights = self.net.synapses[k].variables[name].get_value().reshape(link.n_pre, -1).T
        return np.column_stack([weights, *([] if bias is None else [bias.variables[name].get_value()])])

    def _layers(self, name: str, past: bool = False) -> FloatArray:
        """Return a variable of all layers, one after the other; its past value where that is kept."""
        values = []
        for group in self.net.layers:
            kept = past and f"{name}_prev" in group.variables
            values.append(_get(group, f"{name}_prev" if kept else name))
        return np.concatenate(values)

    def write(self, state: Arrays, whole: bool) -> None:
        """Write the parts of the state that are given; with `whole`, past values and inputs are in place already."""
        net, roles = self.net, self.net.model.roles
        if "w" in state:
            self._write_synaptic(roles["weight"], state["w"])
        if "z" in state:
            self._write_traces(state["z"])
        for name, role in (("u", "voltage"), ("ebar_prev", "error"), ("rbar_prev", "rate")):
            if name in state:
                self._write_layers(roles[role] + "_prev" * (name != "u"), state[name])
        top = net.layers[-1]
        if "modulators" in state:
            for variable, value in zip(self.modulators, state["modulators"], strict=False):
                variable.get_value()[:] = value
        if "lowpass" in state and self._low_passed:
            top.variables["rnla_decision"].get_value()[:] = state["lowpass"]
        if "noise_bar" in state and "noise" in roles:
            for name in [roles["noise"]] + [f"{roles['noise']}_prev"] * (not whole):
                _set(top, name, state["noise_bar"])
        if "noise" in state and net.process is not None:
            _set(top, net.process, state["noise"])
        if "input" in state and not whole:
            self._write_input(state["input"])

    def _write_synaptic(self, name: str, flat: FloatArray) -> None:
        shapes = [link.shape for link in self.net.projections]
        ends = accumulate(post * pre for post, pre in shapes)
        for k, part in enumerate(np.split(flat, list(ends)[:-1])):
            self._set_synaptic(k, name, part.reshape(shapes[k]))

    def _set_synaptic(self, k: int, name: str, values: FloatArray) -> None:
        n_pre, bias = self.net.projections[k].n_pre, self.net.bias_synapses[k]
        self.net.synapses[k].variables[name].get_value()[:] = values[:, :n_pre].T.ravel()
        if bias is not None:
            bias.variables[name].get_value()[:] = values[:, -1]

    def _write_traces(self, flat: FloatArray) -> None:
        at = 0
        for k, link in enumerate(self.net.projections):
            for name in self.traces[k]:
                size = link.shape[0] * link.shape[1]
                self._set_synaptic(k, name, flat[at : at + size].reshape(link.shape))
                at += size

    def _write_layers(self, name: str, flat: FloatArray) -> None:
        ends = list(accumulate(self.net.sizes[1:]))[:-1]
        for group, part in zip(self.net.layers, np.split(flat, ends), strict=True):
            _set(group, name, part)

    def _write_input(self, rate: FloatArray) -> None:
        """Set the input values that have this rate, which is only known where the rate is the value."""
        x = self.net.input.variables["x"].get_value()
        x[:] = rate
        found = _get(self.net.input, self.net.model.roles["rate"])
        if not np.allclose(found, rate, rtol=1e-6):
            raise BackendError(
                f"model {self.net.model.name!r}: the input cannot be set by its rate, which is not rbar = x"
            )
        _set(self.net.input, f"{self.net.model.roles['rate']}_prev", rate)


def _get(group: Any, name: str) -> npt.NDArray[Any]:
    variable = group.variables[name]
    if isinstance(variable, ArrayVariable):
        return np.array(variable.get_value())
    return np.array(getattr(group, f"{name}_")[:])


def _set(group: Any, name: str, values: npt.NDArray[Any]) -> None:
    variable = group.variables.get(name)
    if isinstance(variable, ArrayVariable):
        variable.get_value()[:] = values


def changing(group: Any) -> list[Any]:
    """Return the variables of a group that change while it runs."""
    return [
        v
        for v in group.variables.values()
        if isinstance(v, ArrayVariable) and v.owner.name == group.name and not (v.read_only or v.constant)
        and v.name not in _FORMED
    ]


def join(variables: Sequence[Any]) -> FloatArray:
    """Return the values of variables one after the other."""
    return np.concatenate([np.asarray(v.get_value(), float).ravel() for v in variables])


def divide(values: FloatArray, variables: Sequence[Any]) -> None:
    """Give variables the values that `join` returned."""
    at = 0
    for variable in variables:
        value = variable.get_value()
        value[...] = values[at : at + value.size].reshape(value.shape)
        at += value.size
