"""Finds the membrane of a spiking neuron in its strings, and moves its threshold, reset and resting potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sympy as sp

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.emulation.expressions import replaced, written_out
from rnla_neuro.spec.equations import Equation, Statement, split_statements
from rnla_neuro.spec.expressions import identifiers, parse
from rnla_neuro.spec.model import ModelSpec, NeuronSpec
from rnla_neuro.spec.proof import symbol


@dataclass(frozen=True)
class Membrane:
    """The voltage that a threshold looks at and a reset sets back.

    Attributes:
        name: The variable.
        threshold: The condition, algebraic variables that depend on the membrane written out.
        reset: All statements of the reset.
        leaks: Whether its derivative depends on it.
        scale: Threshold minus reset, the unit in which deviations of voltages are given.
    """

    name: str
    threshold: str
    reset: tuple[Statement, ...]
    leaks: bool
    scale: float


@dataclass(frozen=True)
class Moved:
    """Strings of a membrane that has been moved.

    Attributes:
        keys: New texts of ``threshold`` and ``reset``.
        texts: New right sides of equations.
        moved: Quantities that are in the strings now.
    """

    keys: Mapping[str, str]
    texts: Mapping[str, str]
    moved: tuple[str, ...]


def find_membrane(model: ModelSpec, spec: NeuronSpec, equations: Mapping[str, Equation], where: str) -> Membrane | None:
    """Return the membrane of a neuron; None: it has none, its spikes come by chance or it does not spike.

    Raises:
        ConfigError: It has several, or its threshold is no number.
    """
    if spec.threshold is None:
        return None
    algebraic = {name: one.text for name, one in equations.items() if not one.is_ode}
    threshold = written_out(spec.threshold, algebraic, f"{where} threshold")
    statements = tuple(split_statements(spec.reset, f"{where} reset"))
    back = {one.name for one in statements if one.op in ("=", "-=")}
    seen = identifiers(threshold, where) & back
    if not seen:
        return None
    if len(seen) > 1:
        raise ConfigError(
            f"{where} threshold: the model cannot be emulated because the threshold looks at {len(seen)} variables "
            f"that the reset sets back ({', '.join(sorted(seen))}); way out: --chip-off threshold,reset,leak"
        )
    name = seen.pop()
    equation = equations[name]
    inlined = threshold if name not in identifiers(spec.threshold, where) else spec.threshold
    leaks = name in identifiers(equation.text, where)
    level = _threshold(model, threshold, name, where)
    step = next(one for one in statements if one.name == name and one.op in ("=", "-="))
    below = _value(model, step.text, where)
    if level is None or below is None:
        raise ConfigError(
            f"{where} threshold = {spec.threshold!r}: the model cannot be emulated because its threshold minus its "
            "reset is no number (needed is a comparison of the membrane with a constant, such as V > V_th); "
            "way out: --chip-off threshold,reset,leak"
        )
    scale = below if step.op == "-=" else level - below
    return Membrane(name, inlined, statements, leaks, abs(scale))


def rewritten_membrane(membrane: Membrane, names: Mapping[str, str], texts: Mapping[str, str], where: str) -> Moved:
    """Move what `names` has a constant for: ``threshold``, ``reset``, ``leak``.

    Args:
        membrane: The membrane.
        names: Quantity -> name of its constant.
        texts: Right sides of the neuron's equations as they are by now.
        where: File and section, for messages.
    """
    keys: dict[str, str] = {}
    sides: dict[str, str] = {}
    moved = []
    name = membrane.name
    if "threshold" in names:
        keys["threshold"] = replaced(membrane.threshold, {name: f"{name} - {names['threshold']}"}, where)
        moved.append("threshold")
    if "reset" in names:
        statements = [
            f"{one.name} {one.op} {one.text} + {names['reset']}"
            if one.name == name and one.op in ("=", "-=")
            else str(one)
            for one in membrane.reset
        ]
        keys["reset"] = "\n".join(statements) + "\n"
        moved.append("reset")
    if "leak" in names and membrane.leaks:
        sides[name] = replaced(texts[name], {name: f"{name} - {names['leak']}"}, where)
        moved.append("leak")
    return Moved(keys, sides, tuple(moved))


def _constants(model: ModelSpec) -> dict[sp.Symbol, sp.Float]:
    known = {name: one.value for name, one in model.parameters.items()}
    known |= {"T": model.trial.duration, "dt": model.trial.dt}
    return {symbol(name): sp.Float(value, 17) for name, value in known.items()}


def _value(model: ModelSpec, text: str, where: str) -> float | None:
    value = parse(text, where, symbol).xreplace(_constants(model))
    return float(value) if value.is_number and value.is_real else None


def _threshold(model: ModelSpec, text: str, name: str, where: str) -> float | None:
    """Return the voltage at which the two sides of a comparison, or of a difference in it, are equal.

    A hazard such as ``exp((V - V_th)/width)`` has its threshold where its exponent is 0.
    """
    condition = parse(f"int({text})", where, symbol)  # numbers come in later: sympy takes them out of an exponent
    membrane = symbol(name)
    inside = [one.args[0] for one in condition.atoms(sp.exp) if one.has(membrane)]
    if not inside:
        inside = [one.lhs - one.rhs for one in condition.atoms(sp.core.relational.Relational) if one.has(membrane)]
    for one in inside:
        expression = one.xreplace(_constants(model))
        slope = sp.diff(expression, membrane)
        if slope.is_number and slope != 0:
            at = expression.xreplace({membrane: sp.Integer(0)}) / -slope
            if at.is_number and np.isfinite(float(at)):
                return float(at)
    return None
