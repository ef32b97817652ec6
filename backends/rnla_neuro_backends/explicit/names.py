"""What a model's variables are called, whatever its form."""

from __future__ import annotations

from rnla_neuro.spec.equations import split_equations, split_statements
from rnla_neuro.spec.model import ModelSpec, SynapseSpec


def trace_names(spec: SynapseSpec, weight: str) -> list[str]:
    """Return the names of a projection's traces, in the order of the file."""
    equations = split_equations(spec.equations, "synapse")
    return [name for name, equation in equations.items() if equation.is_ode and name != weight]


def modulator_names(model: ModelSpec) -> list[tuple[str, str]]:
    """Return (channel, variable) of all that neuromodulators keep, in the order of `modulator_state`."""
    out: list[tuple[str, str]] = []
    for channel, spec in model.neuromodulators.items():
        equations = split_equations(spec.equations, channel)
        names = [*spec.initial, *(name for name, eq in equations.items() if eq.is_ode)]
        names += [statement.name for statement in split_statements(spec.on_event, channel)]
        out += [(channel, name) for name in dict.fromkeys(names)]
    return out


def decaying_names(model: ModelSpec) -> list[tuple[str, str]]:
    """Return (channel, variable) of all neuromodulator variables that change by themselves."""
    return [
        (channel, name)
        for channel, spec in model.neuromodulators.items()
        for name, equation in split_equations(spec.equations, channel).items()
        if equation.is_ode
    ]
