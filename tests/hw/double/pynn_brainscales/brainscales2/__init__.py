"""The public names of pynn_brainscales.brainscales2, each call checked against tests/hw/CONTRACT.md."""

from __future__ import annotations

from enum import Enum, auto

from pyNN import common, errors
from pyNN.common.control import DEFAULT_MAX_DELAY, DEFAULT_MIN_DELAY

from . import contract, helper, simulator, standardmodels
from .connectors import (
    AllToAllConnector,
    ArrayConnector,
    CloneConnector,
    DisplacementDependentProbabilityConnector,
    DistanceDependentProbabilityConnector,
    FixedNumberPostConnector,
    FixedNumberPreConnector,
    FixedProbabilityConnector,
    FixedTotalNumberConnector,
    FromFileConnector,
    FromListConnector,
    IndexBasedProbabilityConnector,
    MapConnector,
    OneToOneConnector,
    SmallWorldConnector,
)
from .plasticity_rules import PlasticityRule, Timer
from .populations import Assembly, Population, PopulationView
from .projections import Projection
from .standardmodels import cells, synapses

__all__ = [
    "AllToAllConnector",
    "ArrayConnector",
    "Assembly",
    "CloneConnector",
    "DisplacementDependentProbabilityConnector",
    "DistanceDependentProbabilityConnector",
    "FixedNumberPostConnector",
    "FixedNumberPreConnector",
    "FixedProbabilityConnector",
    "FixedTotalNumberConnector",
    "FromFileConnector",
    "FromListConnector",
    "IndexBasedProbabilityConnector",
    "MapConnector",
    "OneToOneConnector",
    "PlasticityRule",
    "Population",
    "PopulationView",
    "Projection",
    "RunCommand",
    "SmallWorldConnector",
    "Timer",
    "cells",
    "end",
    "errors",
    "get_current_time",
    "helper",
    "initialize",
    "list_standard_models",
    "reset",
    "run",
    "setup",
    "standardmodels",
    "synapses",
]


class RunCommand(Enum):
    PREPARE = auto()
    APPEND = auto()
    EXECUTE = auto()


def list_standard_models():
    return [cells.HXNeuron, cells.CalibHXNeuronCuba, cells.CalibHXNeuronCoba]


def setup(timestep=contract.MADC_STEP_MS, min_delay=DEFAULT_MIN_DELAY, **extra_params):
    simulator.state = simulator.State()
    common.setup(timestep, min_delay, **extra_params)
    max_delay = extra_params.pop("max_delay", DEFAULT_MAX_DELAY)
    simulator.state.min_delay = 0 if min_delay == "auto" else min_delay
    simulator.state.max_delay = 0 if max_delay == "auto" else max_delay
    _check_permutation(extra_params.pop("neuronPermutation", None), contract.CIRCUITS, "neuronPermutation")
    background = extra_params.pop("backgroundPermutation", None)
    _check_permutation(background, contract.BACKGROUND_GENERATORS, "backgroundPermutation")
    simulator.state.bypass = extra_params.pop("enable_neuron_bypass", False)
    simulator.state.initial_config = extra_params.pop("initial_config", None)
    unknown = set(extra_params) - contract.SETUP_ARGUMENTS
    if unknown:
        raise KeyError(f"[S2] unhandled extra_params in call to pynn.setup(...): {sorted(unknown)}")


def _check_permutation(values, size, name):
    if values is None:
        return
    values = list(values)
    if len(values) > size or len(set(values)) < len(values) or any(not 0 <= v < size for v in values):
        raise ValueError(f"[S3] {name}: different numbers from 0 to {size - 1}")


def end():
    simulator.state = None


def run(runtime, command=RunCommand.EXECUTE):
    state = simulator.state
    if state is None:
        raise AttributeError("[S1] call setup() before anything else")
    if command == RunCommand.PREPARE:
        state.prepare()
    elif command == RunCommand.APPEND:
        if runtime is None:
            raise ValueError("[R2] Appending a configuration that is executed for no time is forbidden.")
        state.add(runtime)
    elif command == RunCommand.EXECUTE:
        if runtime is not None:
            state.add(runtime)
        elif not state.runtimes:
            raise ValueError("[R3] No experiment scheduled for execution yet.")
        state.execute()
    else:
        raise ValueError("[R1] Passed command is invalid.")


def reset(annotations=None):
    for recorder in simulator.state.recorders:
        recorder.store_to_cache(annotations)
    simulator.state.reset()


def get_current_time():
    return simulator.state.t


initialize = common.initialize
create = common.build_create(Population)
