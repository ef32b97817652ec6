"""Node perturbation on the network of a model: the exploration itself is the error of the action layer."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import sympy as sp
import tomli_w

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.equations import split_equations
from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.proof import derivative, symbol
from rnla_neuro.spec.units import check_units_cached

#: Standard deviation of Gumbel noise of scale 1.
_GUMBEL_STD = "pi/sqrt(6)"


def _strength(model: ModelSpec, form: EquilibriumForm) -> str:
    """Return the parameter that the nudging is proportional to and the learning rate is divided by."""
    gains = [update.gains[form.action.eligibility] for update in form.action.updates.values()]
    gains += [update.gains[form.action.eligibility] for update in form.action.flows.values()]
    found = []
    for name in model.parameters:
        parameter = symbol(name)
        slope = sp.diff(form.nudging, parameter)
        linear = slope != 0 and parameter not in slope.free_symbols
        proportional = linear and sp.expand(form.nudging - parameter * slope) == 0
        if proportional and all(
            parameter not in sp.simplify(gain * parameter).free_symbols for gain in gains
        ):
            found.append(name)
    if len(found) != 1:
        raise BackendError(
            f"node perturbation cannot use {model.path.name}: [neuron.action] equations, "
            f"{model.roles['error']}: expected a nudging proportional to one parameter (such as beta) by "
            f"which the weight change there is divided; found {', '.join(found) or 'none'}"
        )
    return found[0]


def _excludes_noise(model: ModelSpec, form: EquilibriumForm) -> None:
    """Make sure that the eligibility of the action layer holds the error alone, not error plus noise."""
    noise = symbol("noise_bar")
    for source in form.action.sources:
        if noise in source.factor.free_symbols:
            raise BackendError(
                f"node perturbation cannot use {model.path.name}: [synapse.action] equations: the trace "
                f"keeps the exploration ({source.factor}); expected u - drive - noise_bar"
            )


def _deviation(table: dict[str, Any], lowpass: bool, tau: str) -> str:
    """Make the exploration Gaussian; return its standard deviation in the voltage as an expression."""
    law = table["law"]
    scale = table["scale"]
    if law == "gumbel":
        table["law"], table["scale"] = "gaussian", f"{_GUMBEL_STD}*({scale})"
    if law == "ornstein-uhlenbeck" and lowpass:
        return f"({scale})*sqrt({table['tau']}/({table['tau']} + {tau}))"
    return str(table["scale"])


def _words(table: Any) -> set[str]:
    """All identifiers in the strings of a table."""
    if isinstance(table, dict):
        return set().union(*(_words(value) for value in table.values()))
    return set(re.findall(r"[A-Za-z_]\w*", str(table)))


def drop_unread(data: dict[str, Any]) -> None:
    """Remove group reductions and parameters that nothing reads any more."""
    while True:
        group, parameters = data["neuron"]["action"].get("group", {}), data["parameters"]
        rest = _words(
            {key: table for key, table in data.items() if key not in ("model", "parameters", "roles")}
        )
        read = rest | set().union(*(_words(text) for text in parameters.values()))
        unread = [(table, name) for table in (group, parameters) for name in table if name not in read]
        if not unread:
            return
        for table, name in unread:
            del table[name]


def as_node_perturbation(model: ModelSpec) -> ModelSpec:
    """Turn a model into node perturbation: ``ebar = beta*noise_bar/variance`` in the action layer.

    Everything else stays: neurons, traces, modulators, learning rates. Gumbel exploration becomes Gaussian
    with the same standard deviation, since only zero-mean Gaussian noise estimates a gradient (SCIENCE:
    node perturbation); Gaussian and Ornstein-Uhlenbeck exploration stay. The division by the variance makes
    the expected weight change per unit of learning rate that of the policy gradient.

    Raises:
        BackendError: The model has no exploration, is not of the form of the moving equilibrium, or its
            nudging has no strength that the learning rate is divided by.
    """
    if model.exploration.law == "none":
        raise BackendError(f"node perturbation cannot use {model.path.name}: [exploration] law is 'none'")
    form = derive_form(model)
    strength = _strength(model, form)
    _excludes_noise(model, form)
    data = tomllib.loads(model.text)
    action = data["neuron"]["action"]
    equations = split_equations(action["equations"], f"{model.path.name}: [neuron.action] equations")
    rate = _time_constant(model, equations[model.roles["voltage"]].text)
    deviation = _deviation(data["exploration"], form.noise_lowpass, rate)
    error, noise = model.roles["error"], model.roles["noise"]
    lines = [
        f"{error} = {strength}*{noise}/({deviation})**2 : {equation.unit}"
        if name == error
        else f"{equation.left} = {equation.text} : {equation.unit}"
        for name, equation in equations.items()
    ]
    action["equations"] = "\n".join(lines) + "\n"
    data["model"]["name"] = f"{model.name}_node_perturbation"
    data["model"]["summary"] = f"{model.summary}; node perturbation instead of self-nudging"
    drop_unread(data)
    result = parse_model(tomli_w.dumps(data, multiline_strings=True), model.path, model.overrides)
    check_units_cached(result)
    return result


def _time_constant(model: ModelSpec, text: str) -> str:
    """Return the membrane time constant of ``du/dt = text`` as an expression of parameters."""
    from rnla_neuro.spec.expressions import parse

    right = parse(text, f"{model.path.name}: [neuron.action]", symbol)
    return str(-1 / derivative(right, symbol(model.roles["voltage"])))
