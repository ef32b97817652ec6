"""A model's strings with a chip's imperfections in them: what any backend that runs strings then emulates.

What is a time constant, a threshold or a reset is read off the equations, never off a name:

- *time constant*: a parameter with the unit of a time by which the derivative of a hidden or action neuron's state is
  divided; that of a spike train that is filtered (a reset adds to it, no threshold looks at it) is synaptic, every
  other is a membrane's;
- *membrane*: the state that the threshold looks at and the reset sets back. Comparing ``V - k`` in its place moves the
  threshold by k, ``V - k`` in its own derivative moves its resting potential;
- *what the host reads*: errors and reductions that no state, spike or rate depends on, and traces; there the voltage is
  what a converter of some bits makes of it.

Neurons without a membrane of that kind (rates, Poisson spikes) have their threshold in their rate function: moving it
is moving their bias, which `Emulated.at_bias` leaves to whoever writes weights.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from rnla_neuro.hardware.emulation.effects import OF_NEURONS, Effects
from rnla_neuro.hardware.emulation.expressions import slowed
from rnla_neuro.hardware.emulation.loss import lossy_input
from rnla_neuro.hardware.emulation.membranes import find_membrane, rewritten_membrane
from rnla_neuro.hardware.emulation.reading import Reader
from rnla_neuro.spec.equations import Equation, split_equations, split_statements
from rnla_neuro.spec.expressions import divisors
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec, NeuronSpec
from rnla_neuro.spec.units import check_units_cached

#: Kinds of neurons that stand on the chip; inputs come from the host.
ON_CHIP = ("hidden", "action", "interneuron", "interneuron_action")


@dataclass(frozen=True)
class Deviation:
    """A constant of the neurons of one section, new in the strings.

    Attributes:
        quantity: What it is of, such as ``tau_m``.
        scale: By what the deviation of the platform is multiplied; 1 for factors.
    """

    quantity: str
    scale: float = 1.0

    @property
    def is_factor(self) -> bool:
        """Whether it is a factor around 1, and not an amount around 0."""
        return self.quantity in ("tau_m", "tau_syn")


@dataclass(frozen=True)
class Emulated:
    """A model with a chip's imperfections in its strings.

    Attributes:
        model: The model; the one that was given where the strings need no change.
        constants: Kind of neuron -> name of a constant -> what it is.
        at_bias: Kind of neuron -> quantities that move its bias, since it has no membrane of its own for them.
        input_limit: Whether input spikes may be lost.
        reads: Whether the host reads voltages through a converter.
    """

    model: ModelSpec
    constants: Mapping[str, Mapping[str, Deviation]] = field(default_factory=dict)
    at_bias: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    input_limit: bool = False
    reads: bool = False


def emulated(model: ModelSpec, effects: Effects, n_inputs: int) -> Emulated:
    """Put what a platform does into the strings of a model.

    Args:
        model: The checked model.
        effects: What to emulate.
        n_inputs: Number of input neurons, which share what reaches the chip.

    Raises:
        ConfigError: The model cannot be emulated; the message names the section, the key and the way out.
    """
    data = tomllib.loads(model.text)
    for kind, spec in model.neurons.items():
        data["neuron"][kind]["equations"] = spec.equations  # without the constants that the file itself declares
    constants: dict[str, dict[str, Deviation]] = {}
    at_bias: dict[str, tuple[str, ...]] = {}
    for kind in ON_CHIP:
        if kind not in model.neurons:
            continue
        found, left = _neuron(model, kind, effects, data["neuron"][kind])
        if found:
            constants[kind] = found
        if left:
            at_bias[kind] = left
    reads = effects.readout is not None and _readings(model, effects, data)
    lossy = lossy_input(model, effects, n_inputs, data)
    if not (constants or reads or lossy):
        return Emulated(model, at_bias=at_bias)
    for kind, spec in model.neurons.items():
        _declare(constants.get(kind, {}), spec, data["neuron"][kind])
    text = tomli_w.dumps(data, multiline_strings=True)
    made = parse_model(text, Path(model.path.name), model.overrides)
    check_units_cached(made)
    return Emulated(made, constants, at_bias, lossy, reads)


def _neuron(
    model: ModelSpec, kind: str, effects: Effects, table: dict[str, Any]
) -> tuple[dict[str, Deviation], tuple[str, ...]]:
    """Change the section of a neuron; return its new constants, and what is left to its bias."""
    spec = model.neurons[kind]
    where = f"{model.path.name}: [neuron.{kind}]"
    equations = split_equations(spec.equations, where)
    found: dict[str, Deviation] = {}
    texts = _slow(model, spec, equations, effects, found, where)
    wanted = tuple(name for name in ("threshold", "reset", "leak") if name in effects.spreads)
    left: tuple[str, ...] = ()
    membrane = find_membrane(model, spec, equations, where) if wanted else None
    if membrane is None:
        left = tuple(name for name in wanted if name != "reset")  # nothing is reset
    else:
        moved = rewritten_membrane(membrane, {name: f"k_{name}" for name in wanted}, texts, where)
        table |= moved.keys
        texts |= moved.texts
        found |= {f"k_{name}": Deviation(name, membrane.scale) for name in moved.moved}
    if found:
        table["equations"] = "\n".join(_line(one, texts[one.name]) for one in equations.values()) + "\n"
    return found, left


def _declare(constants: Mapping[str, Deviation], spec: NeuronSpec, table: dict[str, Any]) -> None:
    """Declare the constants of a neuron: the file's own, and ours, each with the value that changes nothing."""
    lines = [f"{name} : 1 (constant)" for name in (*spec.constants, *constants)]
    if lines:
        table["equations"] = table["equations"].rstrip() + "\n" + "\n".join(lines) + "\n"
    if constants:
        initial = {name: "1" if one.is_factor else "0" for name, one in constants.items()}
        table["initial"] = {**table.get("initial", {}), **initial}


def _line(equation: Equation, text: str) -> str:
    flag = " (unless refractory)" if equation.pauses else ""
    return f"{equation.left} = {text} : {equation.unit}{flag}"


def _slow(
    model: ModelSpec,
    spec: NeuronSpec,
    equations: Mapping[str, Equation],
    effects: Effects,
    found: dict[str, Deviation],
    where: str,
) -> dict[str, str]:
    """Multiply time constants; return the right sides of the section's equations."""
    filters = _spike_filters(spec, equations, where)
    texts = {}
    for equation in equations.values():
        text = equation.text
        if equation.is_ode or equation.unit in ("Hz", "1/second", "second**-1", "1/s"):
            quantity = "tau_syn" if equation.name in filters else "tau_m"
            times = {n for n in divisors(text, where) if n in model.parameters and model.parameters[n].unit == "s"}
            if times and quantity in effects.spreads:
                factors = {name: f"k_{name}" for name in sorted(times)}
                text = slowed(text, factors, where)
                found |= {factor: Deviation(quantity) for factor in factors.values()}
        texts[equation.name] = text
    return texts


def _spike_filters(spec: NeuronSpec, equations: Mapping[str, Equation], where: str) -> set[str]:
    """Return states that a spike adds to and no threshold looks at: what a synapse filters."""
    if spec.threshold is None:
        return set()
    membrane = {one.name for one in split_statements(spec.reset, where) if one.op in ("=", "-=")}
    added = {one.name for one in split_statements(spec.reset, where) if one.op == "+="}
    return (added - membrane) & set(equations)


def _readings(model: ModelSpec, effects: Effects, data: dict[str, Any]) -> bool:
    """Let the host read voltages through a converter; return whether it reads any."""
    assert effects.readout is not None
    reader = Reader(model, effects.readout)
    changed = False
    for kind in ON_CHIP:
        if kind in model.neurons:
            changed |= reader.errors(kind, data["neuron"][kind])
    for name in ("hidden", "action"):
        changed |= reader.traces(data["synapse"][name], name)
    for name in model.projections:
        changed |= reader.traces(data["projection"][name], name)
    for kind in reader.read:
        reader.define(kind, data["neuron"][kind])
    return changed


def affected(emulated_model: Emulated) -> tuple[str, ...]:
    """Return the quantities of neurons for which the strings have constants."""
    found = {one.quantity for constants in emulated_model.constants.values() for one in constants.values()}
    return tuple(name for name in OF_NEURONS if name in found)
