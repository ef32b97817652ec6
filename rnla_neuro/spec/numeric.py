"""Expressions and forms of a model as numpy functions: for the reference core, the baselines and analyses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from rnla_neuro.spec.form import EquilibriumForm, GroupReduction

FloatArray = npt.NDArray[Any]
_EXTREMES = {"maximum_": np.maximum, "minimum_": np.minimum}


def _extremes_as_functions(expr: sp.Expr) -> sp.Expr:
    """Write Max and Min as two-argument functions, which broadcast in numpy."""
    for kind, name in ((sp.Max, "maximum_"), (sp.Min, "minimum_")):
        function = sp.Function(name)
        expr = expr.replace(kind, lambda *args, f=function: reduce(f, args))
    return expr


def compile_expression(
    expr: sp.Expr, names: tuple[str, ...], parameters: Mapping[str, float]
) -> Callable[..., FloatArray]:
    """Return a numpy function of the named symbols; parameters enter by value.

    Raises:
        KeyError: The expression holds a symbol that is neither named nor a parameter.
    """
    free = {s.name for s in expr.free_symbols} - set(names)
    values = {sp.Symbol(p, real=True): sp.Float(parameters[p], 17) for p in free}
    symbols = [sp.Symbol(name, real=True) for name in names]
    body = _extremes_as_functions(expr).subs(values)
    return sp.lambdify(symbols, body, modules=[_EXTREMES, "numpy"], cse=True)  # type: ignore[no-any-return]


def input_rate(form: EquilibriumForm) -> Callable[[FloatArray], FloatArray]:
    """Return the input neurons' rate as a function of the input values, of their shape even where it is constant."""
    rate = compile_expression(form.input_rate, ("x",), form.parameters)
    return lambda x: np.array(np.broadcast_to(rate(x), np.shape(x)), dtype=np.float64)


def softmax(x: FloatArray, axis: int = -1) -> FloatArray:
    """Return the softmax with the maximum subtracted."""
    shifted = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=axis, keepdims=True))


#: What a group variable is reduced by, over the last axis.
REDUCTIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "softmax": softmax,
    "sum": lambda x: x.sum(axis=-1, keepdims=True),
    "mean": lambda x: x.mean(axis=-1, keepdims=True),
    "max": lambda x: x.max(axis=-1, keepdims=True),
}


class ActionLayer:
    """Numpy functions of the action layer: arguments (…, n_out), the last axis is the group."""

    NAMES = ("u", "drive", "noise_bar", "n")

    def __init__(self, form: EquilibriumForm) -> None:
        self._form = form
        rates = {sp.Symbol("rbar", real=True): form.action_rate}
        names: tuple[str, ...] = self.NAMES
        self._groups: list[tuple[GroupReduction, Callable[..., FloatArray]]] = []
        for group in form.groups:
            argument = compile_expression(group.argument.subs(rates), names, form.parameters)
            self._groups.append((group, argument))
            names = (*names, group.name)
        self._rate = compile_expression(form.action_rate, names, form.parameters)
        told = {sp.Symbol("target", real=True): sp.Symbol("noise_bar", real=True)}  # see `EquilibriumForm.taught`
        self._nudging = compile_expression(form.nudging.subs(rates).subs(told), names, form.parameters)
        self._decision = compile_expression(form.decision.argument.subs(rates), names, form.parameters)
        self._policy = compile_expression(form.policy.argument.subs(rates), names, form.parameters)

    def _values(self, u: FloatArray, drive: FloatArray, noise_bar: FloatArray) -> list[Any]:
        values: list[Any] = [u, drive, noise_bar, float(np.shape(u)[-1])]
        for group, argument in self._groups:
            values.append(_reduce(group, np.broadcast_to(argument(*values), np.shape(u))))
        return values

    def rate(self, u: FloatArray, drive: FloatArray, noise_bar: FloatArray) -> FloatArray:
        """Return the rate rbar of the action layer."""
        return np.broadcast_to(self._rate(*self._values(u, drive, noise_bar)), np.shape(u))

    def nudging(self, u: FloatArray, drive: FloatArray, noise_bar: FloatArray) -> FloatArray:
        """Return the error ebar of the action layer; where a model is told a target, it is `noise_bar`."""
        return np.broadcast_to(self._nudging(*self._values(u, drive, noise_bar)), np.shape(u))

    def decision(self, u: FloatArray, drive: FloatArray, noise_bar: FloatArray) -> FloatArray:
        """Return what the decision takes the argmax of."""
        return np.broadcast_to(self._decision(*self._values(u, drive, noise_bar)), np.shape(u))

    def policy(self, drive: FloatArray) -> FloatArray:
        """Return the probabilities of the exploring policy for a drive."""
        silent = np.zeros_like(drive)
        values = self._values(drive, drive, silent)
        return _reduce(self._form.policy, np.broadcast_to(self._policy(*values), np.shape(drive)))


def _reduce(group: GroupReduction, argument: FloatArray) -> FloatArray:
    return REDUCTIONS[group.kind](argument)


def rate_and_slope(form: EquilibriumForm) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """Return u -> (phi(u), phi'(u)) of the hidden layers; what the two share is computed once."""
    pair = compile_expression(sp.Tuple(form.phi, form.phi_prime), ("u",), form.parameters)

    def rate(u: FloatArray) -> tuple[FloatArray, FloatArray]:
        value, slope = pair(u)
        return value, np.broadcast_to(slope, np.shape(u))

    return rate
