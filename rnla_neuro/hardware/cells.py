"""What a model's strings ask of a neuron circuit: time constants, threshold, refractory time, noise, firing rates.

Nothing is taken by its name: a membrane is a variable that the threshold compares and whose derivative decays with
itself, a filter one that a spike raises and that decays.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import sympy as sp

from rnla_neuro.spec.constants import default_constants
from rnla_neuro.spec.equations import split_equations, split_statements
from rnla_neuro.spec.expressions import identifiers, parse, parse_tree
from rnla_neuro.spec.model import ModelSpec, NeuronSpec
from rnla_neuro.spec.proof import symbol
from rnla_neuro.spec.quantities import NONE, TIME, Quantity, evaluate
from rnla_neuro.spec.sections import NotOfThisForm, Section


@dataclass(frozen=True)
class Cell:
    """One neuron type as a circuit sees it. Times in seconds of the model.

    Attributes:
        name: Name of its section, without ``neuron.``.
        spikes: Whether it has a threshold.
        state: Variable that the threshold compares; None: it has none (Poisson neurons, rate neurons).
        tau: Membrane time constant of `state`; None: it does not leak, or there is none.
        linear: Whether what drives `state` is linear in the summed input.
        threshold: Value of `state` at which it spikes; None where the condition states none.
        reset: Value of `state` after a spike.
        refractory: Refractory time; 0: none.
        chance: Whether spikes come by chance.
        filters: Time constant of each variable that a spike raises.
        voltages: Time constant of every other variable that decays with itself.
    """

    name: str
    spikes: bool
    state: str | None = None
    tau: float | None = None
    linear: bool = True
    threshold: float | None = None
    reset: float | None = None
    refractory: float = 0.0
    chance: bool = False
    filters: Mapping[str, float] = field(default_factory=dict)
    voltages: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_lif(self) -> bool:
        """Whether it is a leaky integrate-and-fire neuron."""
        return self.spikes and self.state is not None and self.tau is not None


@dataclass(frozen=True)
class InputRate:
    """Spikes a second of an input neuron.

    Attributes:
        peak: For an input of 1; 0: it sends no spikes.
        middle: For an input of 0.
        exact: Whether the strings say it; else it is only a bound.
    """

    peak: float
    middle: float
    exact: bool = True


def read_cell(model: ModelSpec, name: str, spec: NeuronSpec) -> Cell:
    """Read a neuron type off its strings.

    Args:
        model: The model.
        name: Name of the section, without ``neuron.``.
        spec: The neuron type.
    """
    section = Section(model, name, spec)
    section.known |= default_constants(model, name)
    decays = _decays(section)
    if spec.threshold is None:
        return Cell(name, spikes=False, voltages=decays)
    resets = split_statements(spec.reset, section.where)
    compared = identifiers(spec.threshold, section.where)
    states = [one.name for one in resets if one.name in compared]
    state = states[0] if states else None
    raised = {one.name for one in resets if one.op == "+=" and one.name != state}
    threshold = None if state is None else _threshold(section, state)
    return Cell(
        name,
        spikes=True,
        state=state,
        tau=None if state is None else decays.get(state),
        linear=state is None or _linear(section, state),
        threshold=threshold,
        reset=None if state is None else _reset(section, state, threshold),
        refractory=refractory_time(model, name, spec),
        chance="chance" in compared,
        filters={one: decays[one] for one in decays if one in raised},
        voltages={one: tau for one, tau in decays.items() if one not in raised and one != state},
    )


def read_cells(model: ModelSpec) -> Mapping[str, Cell]:
    """Read all neuron types, by name of section; the input is one of them."""
    return _read(_Text(model.text, tuple(sorted(model.overrides.items())), model))


@dataclass(frozen=True)
class _Text:
    """A model, known by what determines it."""

    text: str
    overrides: tuple[tuple[str, str], ...]
    model: ModelSpec = field(compare=False)


@lru_cache(maxsize=16)
def _read(text: _Text) -> Mapping[str, Cell]:
    neurons = text.model.neurons.items()
    return MappingProxyType({name: read_cell(text.model, name, spec) for name, spec in neurons})


def _decays(section: Section) -> dict[str, float]:
    """Return the time constant of every variable that decays with itself at a constant rate."""
    found = {}
    for name, equation in section.equations.items():
        if equation.is_ode:
            slope = sp.diff(section.written_out(equation.text), symbol(name))
            if slope.is_number and slope < 0:
                found[name] = float(-1 / slope)
    return found


def _linear(section: Section, state: str) -> bool:
    """Whether the derivative of a state is linear in what it needs, and none of that is a rate or a competition."""
    text = section.written_out(section.equations[state].text)
    curved = {"phi", "phi_prime", *section.spec.group}
    return all(one.name not in curved and sp.diff(text, one).is_number for one in text.free_symbols)


def _constant(section: Section, node: ast.expr) -> float | None:
    try:
        return section.constant(ast.unparse(node), "threshold")
    except NotOfThisForm:
        return None


def _threshold(section: Section, state: str) -> float | None:
    """Return what a condition compares a state with: ``V >= V_th``, or the V_th of ``exp((V - V_th)/width)``."""
    assert section.spec.threshold is not None
    for node in ast.walk(parse_tree(section.spec.threshold, section.where)):
        match node:
            case ast.Compare(left=ast.Name(id=name), comparators=[other]) if name == state:
                value = _constant(section, other)
            case ast.Compare(left=other, comparators=[ast.Name(id=name)]) if name == state:
                value = _constant(section, other)
            case ast.BinOp(left=ast.Name(id=name), op=ast.Sub(), right=other) if name == state:
                value = _constant(section, other)
            case _:
                continue
        if value is not None:
            return value
    return None


def _reset(section: Section, state: str, threshold: float | None) -> float | None:
    """Return the value of a state after a spike that began at the threshold."""
    for one in split_statements(section.spec.reset, section.where):
        if one.name != state:
            continue
        try:
            value = section.constant(one.text, "reset")
        except NotOfThisForm:
            return None
        if one.op == "=":
            return value
        if threshold is not None and one.op in ("+=", "-="):
            return threshold + (value if one.op == "+=" else -value)
    return None


def refractory_time(model: ModelSpec, name: str, spec: NeuronSpec) -> float:
    """Return the refractory time of a neuron type in seconds; 0: there is none."""
    if spec.refractory is None:
        return 0.0
    known = {name: Quantity(one.value, TIME if one.unit == "s" else NONE) for name, one in model.parameters.items()}
    known |= {"T": Quantity(model.trial.duration, TIME), "dt": Quantity(model.trial.dt, TIME)}
    known |= {one: Quantity(value, NONE) for one, value in default_constants(model, name).items()}
    return float(evaluate(spec.refractory, f"[neuron.{name}] refractory", known.get, known).value)


def trace_time(model: ModelSpec) -> float | None:
    """Return the longest time constant of an eligibility trace; None: it does not decay at a constant rate."""
    role, found = model.roles["eligibility"], []
    for name, spec in (("hidden", model.synapse_hidden), ("action", model.synapse_action)):
        where = f"[synapse.{name}] equations"
        equations = split_equations(spec.equations, where)
        if role in equations and equations[role].is_ode:
            slope = sp.diff(parse(equations[role].text, where, symbol), symbol(role))
            values = {symbol(key): sp.Float(one.value) for key, one in model.parameters.items()}
            values |= {symbol("T"): sp.Float(model.trial.duration), symbol("dt"): sp.Float(model.trial.dt)}
            slope = slope.xreplace(values)
            if slope.is_number and slope < 0:
                found.append(float(-1 / slope))
    return max(found, default=None)


def input_rate(model: ModelSpec) -> InputRate:
    """Return how often an input neuron spikes, from the strings of [neuron.input]."""
    spec, dt = model.input, model.trial.dt
    if spec.threshold is None:
        return InputRate(0.0, 0.0)
    section = Section(model, "input", spec)
    names = identifiers(spec.threshold, section.where)
    if "t_trial" in names:
        return InputRate(1 / model.trial.duration, 1 / model.trial.duration)
    ends = []
    for x in (1, 0):
        rate = _rate_at(section, x)
        if rate is None:
            most = 1 / max(refractory_time(model, "input", spec), dt)
            return InputRate(most, most, exact=False)
        ends.append(min(rate, 1 / dt))
    return InputRate(ends[0], ends[1])


def _rate_at(section: Section, x: int) -> float | None:
    """Return the rate at which a neuron spikes that adds up a drive, or that spikes by chance; None: it is neither."""
    assert section.spec.threshold is not None
    tree = parse_tree(section.spec.threshold, section.where)
    if not (isinstance(tree, ast.Compare) and isinstance(tree.left, ast.Name) and len(tree.comparators) == 1):
        return None
    name, at = tree.left.id, {symbol("x"): sp.Integer(x)}
    if name == "chance":
        drive, each = section.written_out(ast.unparse(tree.comparators[0])).xreplace(at), section.known["dt"]
    else:
        jumps = [one for one in split_statements(section.spec.reset, section.where) if one.name == name]
        line = section.equations.get(name)
        if line is None or not line.is_ode or len(jumps) != 1 or jumps[0].op != "-=":
            return None
        drive = section.written_out(line.text).xreplace(at)
        try:
            each = section.constant(jumps[0].text, "reset")
        except NotOfThisForm:
            return None
    return max(float(drive), 0.0) / each if drive.is_number and each > 0 else None


def baseline(model: ModelSpec, spec: NeuronSpec) -> float:
    """Return the constant that a neuron sends between its spikes: -1 for ``2*s - 1``; 0 where there is none."""
    if spec.threshold is None:
        return 0.0
    name = next(name for name, one in model.neurons.items() if one is spec)
    try:
        return Section(model, name, spec).filter(model.roles["rate"]).offset
    except NotOfThisForm:
        return 0.0
