"""Values with units in parameter expressions, in SI base units, without importing Brian2."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rnla_neuro.errors import ModelError, unknown
from rnla_neuro.spec.expressions import parse_tree

Dimension = tuple[int, int, int, int]  # kg, m, s, A

NONE: Dimension = (0, 0, 0, 0)
TIME: Dimension = (0, 0, 1, 0)

_BASE: dict[str, Dimension] = {
    "second": TIME,
    "s": TIME,
    "Hz": (0, 0, -1, 0),
    "hertz": (0, 0, -1, 0),
    "V": (1, 2, -3, -1),
    "volt": (1, 2, -3, -1),
    "A": (0, 0, 0, 1),
    "amp": (0, 0, 0, 1),
    "S": (-1, -2, 3, 2),
    "siemens": (-1, -2, 3, 2),
    "ohm": (1, 2, -3, -2),
    "F": (-1, -2, 4, 2),
    "farad": (-1, -2, 4, 2),
    "C": (0, 0, 1, 1),
    "coulomb": (0, 0, 1, 1),
    "metre": (0, 1, 0, 0),
    "meter": (0, 1, 0, 0),
}
_PREFIX = {"": 1.0, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
#: Names as Brian2 writes them: bare "s", "V", "A", … are not Brian2 names except with a prefix.
_BARE_REFUSED = {"s", "V", "A", "S", "F", "C"}


def _units() -> dict[str, tuple[float, Dimension]]:
    table = {
        prefix + base: (scale, dimension)
        for base, dimension in _BASE.items()
        for prefix, scale in _PREFIX.items()
        if not (prefix == "" and base in _BARE_REFUSED)
    }
    table["um"], table["mm"] = (1e-6, (0, 1, 0, 0)), (1e-3, (0, 1, 0, 0))
    return table


#: Unit name (Brian2's) -> (SI value, dimension).
UNITS = _units()

_UNIT_NAMES: dict[Dimension, str] = {
    NONE: "1",
    TIME: "s",
    (0, 0, -1, 0): "Hz",
    (1, 2, -3, -1): "V",
    (0, 0, 0, 1): "A",
    (-1, -2, 3, 2): "S",
    (1, 2, -3, -2): "ohm",
    (-1, -2, 4, 2): "F",
    (0, 0, 1, 1): "C",
    (0, 1, 0, 0): "m",
}

_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "abs": abs,
}

_SHORT = re.compile(r"^\s*([+-]?[\d.]+(?:[eE][+-]?\d+)?)\s*([A-Za-z]+)\s*$")


@dataclass(frozen=True)
class Quantity:
    """A number in SI units with its dimension (exponents of kg, m, s, A)."""

    value: float
    dimension: Dimension = NONE

    @property
    def unit(self) -> str:
        """The SI unit: ``1``, ``s``, ``Hz``, ``V``, … or a product of base units."""
        if self.dimension in _UNIT_NAMES:
            return _UNIT_NAMES[self.dimension]
        parts = zip(("kg", "m", "s", "A"), self.dimension, strict=True)
        return "*".join(name if power == 1 else f"{name}**{power}" for name, power in parts if power)


def normalise(text: str) -> str:
    """Write ``50ms`` and ``0.5T`` as ``50*ms`` and ``0.5*T``; anything else is returned as it is."""
    match = _SHORT.match(text)
    return f"{match[1]}*{match[2]}" if match else text


class _Evaluator:
    def __init__(
        self, text: str, where: str, names: Callable[[str], Quantity | None], known: Mapping[str, object]
    ):
        self.text, self.where, self.names, self.known = text, where, names, known

    def fail(self, reason: str) -> ModelError:
        return ModelError(f"{self.where} = {self.text!r}: {reason}")

    def name(self, name: str) -> Quantity:
        found = self.names(name)
        if found is not None:
            return found
        if name in UNITS:
            return Quantity(*UNITS[name])
        if name == "pi":
            return Quantity(math.pi)
        if name in _BARE_REFUSED:
            full = {"s": "second", "V": "volt", "A": "amp", "S": "siemens", "F": "farad", "C": "coulomb"}[
                name
            ]
            raise self.fail(f"unit {name!r} is written {full!r} in Brian2")
        raise self.fail(unknown("parameter or unit", name, [*self.known, "ms", "second", "mV", "Hz"]))

    def binary(self, node: ast.BinOp) -> Quantity:
        left, right = self.value(node.left), self.value(node.right)
        match node.op:
            case ast.Add() | ast.Sub():
                if left.dimension != right.dimension:
                    raise self.fail(f"cannot add a value in {left.unit} and one in {right.unit}")
                sign = 1.0 if isinstance(node.op, ast.Add) else -1.0
                return Quantity(left.value + sign * right.value, left.dimension)
            case ast.Mult() | ast.Div():
                sign_ = 1 if isinstance(node.op, ast.Mult) else -1
                a, b = left.dimension, right.dimension
                dimension = (
                    a[0] + sign_ * b[0],
                    a[1] + sign_ * b[1],
                    a[2] + sign_ * b[2],
                    a[3] + sign_ * b[3],
                )
                return Quantity(
                    left.value * right.value if sign_ == 1 else left.value / right.value, dimension
                )
            case ast.Pow():
                if right.dimension != NONE:
                    raise self.fail(f"the exponent has the unit {right.unit}")
                power = right.value
                if left.dimension != NONE and power != int(power):
                    raise self.fail("a value with a unit takes whole exponents only")
                a = left.dimension
                p = int(power) if left.dimension != NONE else 0
                return Quantity(left.value**power, (a[0] * p, a[1] * p, a[2] * p, a[3] * p))
        raise self.fail("allowed operators: + - * / **")

    def value(self, node: ast.expr) -> Quantity:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return Quantity(float(number))
            case ast.Name():
                return self.name(node.id)
            case ast.BinOp():
                return self.binary(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                inner = self.value(node.operand)
                return Quantity(
                    -inner.value if isinstance(node.op, ast.USub) else inner.value, inner.dimension
                )
            case ast.Call(func=ast.Name(id=name), args=[argument]) if name in _FUNCTIONS:
                inner = self.value(argument)
                if inner.dimension != NONE and name != "abs":
                    raise self.fail(f"{name}(…) takes a dimensionless value, not one in {inner.unit}")
                return Quantity(_FUNCTIONS[name](inner.value), inner.dimension)
        raise self.fail(
            f"{ast.unparse(node)!r} is not allowed; allowed: numbers, units of Brian2 (ms, mV, Hz, …), other "
            "parameters, + - * / **, sqrt, exp, log, abs"
        )


def evaluate(
    text: str, where: str, names: Callable[[str], Quantity | None], known: Mapping[str, object]
) -> Quantity:
    """Evaluate a parameter expression such as ``"10*ms"`` or ``"0.6*T"``.

    Args:
        text: The expression.
        where: File, section and key, for messages.
        names: Returns the value of another parameter, or None for a name that is not one.
        known: The names to suggest from.

    Raises:
        ModelError: Not an expression, an unknown name, mixed units, or not a finite number.
    """
    evaluator = _Evaluator(text, where, names, known)
    try:
        result = evaluator.value(parse_tree(text, where))
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise evaluator.fail(str(error)) from None
    if isinstance(result.value, complex) or not math.isfinite(result.value):
        raise evaluator.fail("the value is not a finite real number")
    return result
