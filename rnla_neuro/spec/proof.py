"""Tools of the symbolic proof: symbols, inlining, equality of expressions, messages that name a term."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping

import sympy as sp

from rnla_neuro.errors import BackendError, ModelError
from rnla_neuro.spec.equations import Equation
from rnla_neuro.spec.expressions import parse

_POINTS = 6
_DIGITS = 40


def symbol(name: str) -> sp.Symbol:
    """Return the real symbol of a name; every symbol of a form is made here."""
    return sp.Symbol(name, real=True)


def refuse(file: str, where: str, reason: str) -> BackendError:
    """Word the refusal of a model that the equilibrium backend does not solve."""
    return BackendError(
        f"the equilibrium backend cannot run {file}: {where}: {reason}; Brian2 integrates other forms "
        "step by step (rnla_neuro.to_brian2)"
    )


def without_heaviside(expr: sp.Expr) -> sp.Expr:
    """Write a unit step as (1 + sign)/2, which every code printer knows."""
    return expr.replace(sp.Heaviside, lambda *args: (1 + sp.sign(args[0])) / 2)


def derivative(expr: sp.Expr, variable: sp.Symbol) -> sp.Expr:
    """Differentiate; kinks get the mean of the two sides."""
    return without_heaviside(sp.diff(expr, variable))


def _value(expr: sp.Expr, point: Mapping[sp.Symbol, sp.Float]) -> sp.Expr:
    return expr.xreplace(dict(point)).evalf(_DIGITS)


def equal(left: sp.Expr, right: sp.Expr) -> bool:
    """Return whether two expressions are identical, symbolically.

    Random points rule out most differences cheaply; equality itself is always proven by sympy.
    """
    difference = sp.expand(left - right)
    if difference == 0:
        return True
    rng = random.Random(0)
    names = sorted(difference.free_symbols, key=str)
    for _ in range(_POINTS):
        point = {name: sp.Float(rng.uniform(0.2, 1.8) * rng.choice((-1, 1)), _DIGITS) for name in names}
        value = _value(difference, point)
        if value.is_number and value.is_finite and abs(sp.re(value)) + abs(sp.im(value)) > sp.Float("1e-20"):
            return False
    return bool(sp.simplify(difference) == 0)


def differing_term(actual: sp.Expr, expected: sp.Expr) -> str:
    """Name a term that one expression has and the other has not."""
    have = sp.Add.make_args(sp.expand(actual))
    want = sp.Add.make_args(sp.expand(expected))
    extra = [term for term in have if term not in want and term != 0]
    missing = [term for term in want if term not in have and term != 0]
    if extra:
        return f"term '{min(extra, key=sp.count_ops)}' does not belong to the form"
    return (
        f"term '{min(missing, key=sp.count_ops)}' is missing" if missing else f"'{actual}' has another form"
    )


class Scope:
    """Symbols of one section; algebraic variables that are not named in `keep` are written out.

    Args:
        file: Name of the model file.
        section: Section name, for messages.
        equations: The section's equations.
        keep: Variables that stay symbols.
        given: Names that stand for another expression.

    Attributes:
        shown: How symbols are written in messages, where that differs from their names.
    """

    def __init__(
        self,
        file: str,
        section: str,
        equations: Mapping[str, Equation],
        keep: Iterable[str],
        given: Mapping[str, sp.Expr] | None = None,
    ):
        self.file, self.section, self.equations = file, section, equations
        self.keep, self.given = set(keep), dict(given or {})
        self.pending: list[str] = []
        self.shown: dict[sp.Symbol, sp.Symbol] = {}

    def show(self, expr: sp.Expr) -> str:
        """Write an expression in the file's own names."""
        return str(expr.xreplace(self.shown))

    def where(self, key: str) -> str:
        """Section and key, for messages."""
        return f"[{self.section}] {key}"

    def refuse(self, key: str, reason: str) -> BackendError:
        """Refuse the model because of a key of this section."""
        return refuse(self.file, self.where(key), reason)

    def resolve(self, name: str) -> sp.Expr:
        """Return the expression that stands for a name."""
        if name in self.given:
            return self.given[name]
        equation = self.equations.get(name)
        if equation is None or equation.is_ode or name in self.keep:
            return symbol(name)
        if name in self.pending:
            raise self.refuse(f"equations, {name}", f"{name!r} depends on itself")
        self.pending.append(name)
        try:
            return self.right(name)
        finally:
            self.pending.pop()

    def right(self, name: str) -> sp.Expr:
        """Return the right side of a variable's equation."""
        equation = self.equations[name]
        return self.parse(equation.text, f"equations, {equation.left}")

    def parse(self, text: str, key: str) -> sp.Expr:
        """Read an expression with the names of this section."""
        return parse(text, f"{self.file}: {self.where(key)}", self.resolve)

    def require(self, key: str, actual: sp.Expr, expected: sp.Expr, form: str) -> None:
        """Prove that two expressions are equal.

        Raises:
            BackendError: They are not; the message names a term.
        """
        if not equal(actual, expected):
            raise self.refuse(key, f"{differing_term(actual, expected)}; expected {form}")

    def number(self, key: str, expr: sp.Expr, parameters: Mapping[str, float]) -> float:
        """Evaluate an expression of parameters; see `number`."""
        return number(expr, parameters, f"{self.file}: {self.where(key)}")

    def only(self, key: str, expr: sp.Expr, allowed: Iterable[str], what: str) -> None:
        """Refuse names other than `allowed`.

        Raises:
            BackendError: The message names the term and the name.
        """
        names = set(allowed)
        bad = sorted(str(name) for name in expr.free_symbols if str(name) not in names)
        if bad:
            term = next(t for t in sp.Add.make_args(sp.expand(expr)) if symbol(bad[0]) in t.free_symbols)
            raise self.refuse(key, f"term '{self.show(term)}' uses {bad[0]!r}; {what}")


def number(expr: sp.Expr, parameters: Mapping[str, float], where: str = "") -> float:
    """Evaluate an expression of parameters.

    Args:
        expr: The expression.
        parameters: Values in SI units.
        where: File, section and key, for messages.

    Raises:
        ModelError: Its value is not a finite real number.
    """
    values = {symbol(name): sp.Float(value, 30) for name, value in parameters.items()}
    value = expr.xreplace(values).evalf(25)
    result = float(value) if value.is_number and value.is_real else math.nan
    if not math.isfinite(result):
        read = sorted(str(name) for name in expr.free_symbols)
        given = ", ".join(f"{name} = {parameters[name]:g}" for name in read if name in parameters)
        raise ModelError(
            f"{where}{': ' if where else ''}'{expr}' is {value}, not a finite real number (with {given})"
        )
    return result
