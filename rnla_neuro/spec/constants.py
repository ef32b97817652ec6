"""Constants of single neurons: ``k_tau : 1 (constant)`` in a neuron's equations, with a default for all of them.

Their values come from the host, by population and agent (`rnla_neuro.network.NetworkSpec.constants`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError, unknown
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.populations import Population
from rnla_neuro.spec.proof import number, symbol

FloatArray = npt.NDArray[np.float64]
#: Population -> variable -> values, shape (A, N).
Given = Mapping[str, Mapping[str, npt.NDArray[np.floating]]]


def default_constants(model: ModelSpec, kind: str) -> dict[str, float]:
    """Return the defaults of the constants of a neuron type, by name."""
    known = {name: parameter.value for name, parameter in model.parameters.items()}
    known |= {"T": model.trial.duration, "dt": model.trial.dt}
    found = {}
    for name, text in model.neurons[kind].constants.items():
        where = f"{model.path.name}: [neuron.{kind}] initial.{name}"
        found[name] = number(parse(text, where, symbol), known, where)
    return found


def constant_values(
    model: ModelSpec, places: Sequence[Population], n_agents: int, given: Given
) -> dict[tuple[int, str], FloatArray]:
    """Return the constants of all neurons: number of the population and variable -> values, shape (A, N).

    Args:
        model: The model.
        places: All populations.
        n_agents: Number A of agents.
        given: What takes the place of the defaults.

    Raises:
        ConfigError: There is no such population or constant, or values do not fit, or are not finite.
    """
    found = {
        (number_, name): np.full((n_agents, place.size), value)
        for number_, place in enumerate(places)
        for name, value in default_constants(model, place.kind).items()
    }
    numbers = {place.name: k for k, place in enumerate(places)}
    for population, values in given.items():
        if population not in numbers:
            raise ConfigError(unknown("population in the constants", population, numbers))
        k = numbers[population]
        for name, array in values.items():
            if (k, name) not in found:
                section = f"[neuron.{places[k].kind}]"
                own = places[k].spec.constants
                raise ConfigError(f"{model.path.name}: {unknown(f'constant of {section}', name, own)}")
            if np.shape(array) != found[k, name].shape:
                raise ConfigError(
                    f"constant {name!r} of {population} has shape {np.shape(array)}, expected (agents, neurons) "
                    f"{found[k, name].shape}"
                )
            if not np.isfinite(array).all():
                raise ConfigError(f"constant {name!r} of {population} holds NaN or infinity; it must be finite")
            found[k, name] = np.array(array, np.float64)
    return found
