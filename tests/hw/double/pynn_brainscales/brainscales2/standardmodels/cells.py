"""Cell types: raw and calibrated neurons, spike sources."""

from __future__ import annotations

import numpy as np
from pyNN.parameters import ArrayParameter
from pyNN.standardmodels import StandardCellType, build_translations, cells

from .. import contract


def _same(*names):
    return build_translations(*((name, name) for name in names))


def _values(population, name):
    return np.broadcast_to(np.asarray(population.native(name)), (population.size,))


class _Cell:
    """What all cell types have."""

    calibrated = False
    source = False
    ranges: dict = {}  # noqa: RUF012

    def can_record(self, variable, location=None):
        return variable in self.recordable

    def check_configuration(self, population, shared):
        for name, (low, high) in self.ranges.items():
            values = _values(population, name)
            if not np.all((values >= low) & (values <= high)):
                raise ValueError(
                    f"[{self.rule}] {name} = {values[(values < low) | (values > high)][0]} of {population.label}: "
                    f"from {low} to {high}"
                )

    def prepared(self, population):
        """Called once it is placed and calibrated."""

    def snapshot(self, population, start, stop):
        return {
            "kind": self.kind,
            "size": population.size,
            "cells": [int(c) for c in population.all_cells],
            "parameters": {name: np.array(_values(population, name), dtype=float) for name in self.ranges},
            "events": self.events(population, start, stop),
        }

    def events(self, population, start, stop):
        return ()


class _Neuron(_Cell):
    recordable = ("spikes", *contract.ANALOG)
    receptor_types = ("excitatory", "inhibitory")
    conductance_based = False
    injectable = False
    units = dict.fromkeys(contract.ANALOG, "dimensionless")


class HXNeuron(_Neuron, StandardCellType):
    kind, rule, ranges = "raw", "C4", contract.HX_RANGES
    default_parameters = dict.fromkeys(contract.HX_RANGES, 0)
    translations = _same(*contract.HX_RANGES)


class CalibHXNeuronCuba(_Neuron, StandardCellType):
    kind, rule, ranges = "calibrated", "C1", contract.CUBA_RANGES
    calibrated = True
    default_parameters = {  # noqa: RUF012
        "v_rest": 80.0,
        "v_reset": 70.0,
        "v_thresh": 125.0,
        "tau_m": 10.0,
        "tau_syn_E": 10.0,
        "tau_syn_I": 10.0,
        "cm": 63,
        "tau_refrac": 2.0,
        "i_synin_gm_E": 500,
        "i_synin_gm_I": 500,
        "synapse_dac_bias": 600,
    }
    translations = _same(*contract.CUBA_RANGES)
    _results = None

    def check_configuration(self, population, shared):
        super().check_configuration(population, shared)
        for name in contract.SHARED:
            for value in np.unique(_values(population, name)):
                if shared.setdefault(name, value) != value:
                    raise AttributeError(f"[C3] {name} requires same value for all neurons")

    def prepared(self, population):
        self._results = {name: np.array(_values(population, name)) for name in self.default_parameters}

    def _result(self, name):
        if self._results is None:
            raise AttributeError(f"[C5] {name} only available after pynn.run(…, PREPARE) or pynn.run() call.")
        return self._results

    actual_hwparams = property(lambda self: self._result("actual_hwparams"))
    calib_hwparams = property(lambda self: self._result("calib_hwparams"))
    calib_target = property(lambda self: self._result("calib_target"))


class CalibHXNeuronCoba(CalibHXNeuronCuba):
    rule = "C2"
    conductance_based = True
    # Only what the source's defaults keep to: they lie outside its own documented range of the reversal potentials.
    default_parameters = {  # noqa: RUF012
        **CalibHXNeuronCuba.default_parameters,
        "v_rest": 110.0,
        "v_reset": 100.0,
        "v_thresh": 160.0,
        "e_rev_E": 300.0,
        "e_rev_I": 30.0,
        "i_synin_gm_E": 180,
        "i_synin_gm_I": 250,
        "synapse_dac_bias": 400,
    }
    translations = _same(*default_parameters)


class _Source(_Cell):
    kind = "source"
    source = True
    recordable = ("spikes",)
    receptor_types = ()
    conductance_based = False
    injectable = False


class SpikeSourceArray(_Source, cells.SpikeSourceArray):
    default_parameters = {"spike_times": ArrayParameter([])}  # noqa: RUF012
    translations = _same("spike_times")
    recordable = ("spikes",)

    def check_configuration(self, population, shared):
        for times in population.native("spike_times"):
            if np.any(np.asarray(times.value) < 0):
                raise ValueError(f"[C6] spike times of {population.label}: not before 0 ms")

    def events(self, population, start, stop):
        wanted = [np.asarray(t.value, dtype=float) for t in population.native("spike_times")]
        return [t[(t >= start) & (t < stop)] - start for t in wanted]


class SpikeSourcePoisson(_Source, cells.SpikeSourcePoisson):
    default_parameters = {"start": 0.0, "rate": 1.0, "duration": 1e9}  # noqa: RUF012
    translations = _same("start", "rate", "duration")
    recordable = ("spikes",)

    def __init__(self, start, rate, duration):
        super().__init__(start=start, rate=rate, duration=duration)
        self._times = None

    def events(self, population, start, stop):
        if self._times is None:  # drawn by the host, from numpy's global stream: there is no seed argument
            begin, rate, duration = (_values(population, name) for name in ("start", "rate", "duration"))
            counts = np.random.poisson(duration * rate / 1e3)  # noqa: NPY002
            self._times = [
                np.sort(b + d * np.random.rand(n))  # noqa: NPY002
                for b, d, n in zip(begin, duration, counts, strict=True)
            ]
        return [t[(t >= start) & (t < stop)] - start for t in self._times]


class SpikeSourcePoissonOnChip(_Source, StandardCellType):
    default_parameters = {"rate": 0.0, "seed": 0}  # noqa: RUF012
    translations = _same("rate", "seed")

    def __init__(self, rate, seed):
        super().__init__(rate=rate, seed=seed)
        self._stream = None

    def check_configuration(self, population, shared):
        rate, seed = _values(population, "rate"), _values(population, "seed")
        if len(np.unique(rate)) > 1 or len(np.unique(seed)) > 1:
            raise AssertionError(f"[C7] rate and seed of {population.label}: uniform in a population")
        if rate[0] * population.size > contract.BACKGROUND_CLOCK_HZ:
            raise RuntimeError(
                f"[C7] rate {rate[0]} Hz of {population.size} neurons: the chosen Poisson rate can not be realized"
            )
        if not 0 < seed[0] < 2**32:
            raise ValueError(f"[C7] seed {seed[0]}: from 1 to 2**32 - 1")

    def events(self, population, start, stop):
        if self._stream is None:  # the generator runs on: a new seed or rate starts it anew
            self._stream = np.random.default_rng(int(_values(population, "seed")[0]))
        rate = float(_values(population, "rate")[0])
        counts = self._stream.poisson(rate * (stop - start) / 1e3, population.size)
        return [np.sort(self._stream.random(n)) * (stop - start) for n in counts]


class OffChipSource(_Source, StandardCellType):
    default_parameters = {"enable_internal_loopback": True, "data_rate_scaler": 1, "label": 0}  # noqa: RUF012
    translations = _same("enable_internal_loopback", "data_rate_scaler", "label")

    def __init__(self, *, enable_internal_loopback=True, data_rate_scaler=1, label=None):
        if label is None or len(label) == 0:
            raise ValueError("[C9] OffChipSource: label must be provided (one per neuron).")
        super().__init__(
            enable_internal_loopback=enable_internal_loopback, data_rate_scaler=data_rate_scaler, label=label
        )

    def check_configuration(self, population, shared):
        labels = _values(population, "label")
        if len(np.unique(labels)) != population.size:
            raise ValueError("[C9] OffChipSource: label must be unique within the population.")

    def events(self, population, start, stop):
        return [np.empty(0) for _ in range(population.size)]
