"""Eligibility traces that are formed only when somebody looks at them.

An integration step of ``dE/dt = (-E + F*G)/tau``, with F of the postsynaptic and G of the presynaptic neuron, is
``E = a*E + F*G``. Instead of doing this at every synapse in every step, F and G are kept in buffers, and E is
formed by one matrix product when an event needs it, the buffer is full, a monitor or a user reads it, or the run
ends. It is exact up to rounding. `recognise` proves that an equation has this form, or says why it has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.core.functions import Function
from brian2.core.variables import Subexpression
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str

from rnla_neuro.spec.equations import assigned
from rnla_neuro_backends.dense.factors import identifiers, statements
from rnla_neuro_backends.dense.variables import depends_on

MAX_RANK = 4  # products of factors a step; beyond, the explicit step is the cheaper one


@dataclass(frozen=True)
class Trace:
    """A trace with the step ``name = decay*name + sum of post*pre``.

    Attributes:
        name: The variable.
        decay: Its factor in a step, the same for all synapses of an agent.
        terms: Expressions of the postsynaptic and of the presynaptic neuron.
    """

    name: str
    decay: str
    terms: tuple[tuple[str, str], ...]


class Refused(Exception):
    """A trace cannot be formed at events; the message says why."""


class _Splitter:
    """Writes an expression as a sum of products of a postsynaptic and a presynaptic factor."""

    def __init__(self, synapses: Any, resolved: Mapping[str, Any]) -> None:
        self.variables, self.resolved = synapses.variables, resolved

    def depends(self, expression: Any) -> set[str]:
        found: set[str] = set()
        for symbol in expression.free_symbols:
            found |= depends_on(self.variables, symbol.name) if symbol.name in self.variables else set()
        for call in expression.atoms(sp.Function):
            function = self.resolved.get(str(call.func))
            unknown = function is None and isinstance(call, AppliedUndef)
            if unknown or (isinstance(function, Function) and not function.stateless):
                raise Refused(f"'{sympy_to_str(call)}' is different every time")
        return found

    def split(self, expression: Any) -> list[tuple[Any, Any]]:
        depends = self.depends(expression)
        if "syn" in depends:
            raise Refused(f"'{sympy_to_str(expression)}' differs from synapse to synapse")
        if depends <= {"post", "agent"}:
            return [(expression, sp.Integer(1))]
        if depends <= {"pre", "agent"}:
            return [(sp.Integer(1), expression)]
        if isinstance(expression, sp.Add):
            return self._join([pair for part in expression.args for pair in self.split(part)])
        if isinstance(expression, sp.Mul):
            return self._product([self.split(part) for part in expression.args])
        if isinstance(expression, sp.Pow) and expression.exp.is_Integer:
            pairs = self.split(expression.base)
            if len(pairs) == 1:
                return [(pairs[0][0] ** expression.exp, pairs[0][1] ** expression.exp)]
            if expression.exp > 0:
                return self._product([pairs] * min(int(expression.exp), 2 * MAX_RANK))
        raise Refused(f"'{sympy_to_str(expression)}' is no product of a pre- and a postsynaptic factor")

    def _product(self, sums: list[list[tuple[Any, Any]]]) -> list[tuple[Any, Any]]:
        found = [(sp.Integer(1), sp.Integer(1))]
        for pairs in sums:
            found = self._join([(f * a, g * b) for f, g in found for a, b in pairs])
        return found

    @staticmethod
    def _join(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        by_pre: dict[Any, Any] = {}
        for post, pre in pairs:
            by_pre[pre] = by_pre.get(pre, 0) + post
        by_post: dict[Any, Any] = {}
        for pre, post in by_pre.items():
            by_post[post] = by_post.get(post, 0) + pre
        return list(by_post.items())


def step_of(name: str, step: str, synapses: Any, resolved: Mapping[str, Any]) -> Any:
    """Return the value of a variable after an integration step, as an expression of the values before it."""
    values: dict[Any, Any] = {}
    mixed = {
        sp.Symbol(known, real=True): variable.expr
        for known, variable in synapses.variables.items()
        if isinstance(variable, Subexpression) and len(depends_on(synapses.variables, known) - {"agent"}) > 1
    }
    result = None
    for variable, operator, expression in statements(step):
        value = str_to_sympy(expression, dict(resolved))
        while value.free_symbols & set(mixed):  # written out: it may still be a product
            value = value.subs({s: str_to_sympy(mixed[s], dict(resolved)) for s in value.free_symbols & set(mixed)})
        value = value.xreplace(values)
        symbol = sp.Symbol(variable, real=True)
        old = values.get(symbol, symbol)
        value = assigned(operator, old, value)
        if variable == name:
            result = value
        else:
            values[symbol] = value
    if result is None:
        raise Refused("its integration step does not set it")
    return result


def recognise(name: str, step: str, synapses: Any, resolved: Mapping[str, Any]) -> Trace:
    """Find the factors of a trace.

    Args:
        name: The variable.
        step: The integration step of all equations, as Brian2 writes it.
        synapses: The projection.
        resolved: What the names in the step mean.

    Raises:
        Refused: The trace is read in every step, or its step is not of the form.
    """
    _only_at_events(name, synapses)
    value = step_of(name, step, synapses, resolved)
    trace = sp.Symbol(name, real=True)
    splitter = _Splitter(synapses, resolved)
    decay = sp.diff(value, trace)
    if trace in decay.free_symbols:
        raise Refused(f"its equation is not linear in {name}")
    if splitter.depends(decay) - {"agent"}:
        raise Refused(f"its decay '{sympy_to_str(decay)}' is not the same for all synapses")
    terms = splitter.split(value.subs(trace, 0))
    if len(terms) > MAX_RANK:
        raise Refused(f"{len(terms)} products a step are more than {MAX_RANK}")
    written = tuple((sympy_to_str(post), sympy_to_str(pre)) for post, pre in terms)
    return Trace(name, sympy_to_str(decay), written)


def _only_at_events(name: str, synapses: Any) -> None:
    variables = synapses.variables
    for target, runner in synapses.summed_updaters.items():
        if name in identifiers(runner.expression.code, variables):
            raise Refused(f"the sum {target!r} reads it in every step")
    for other in synapses.equations.diff_eq_names:
        if other != name and name in identifiers(str(synapses.equations[other].expr), variables):
            raise Refused(f"the equation of {other!r} reads it in every step")


def without(names: set[str], step: str, kept: set[str]) -> str:
    """Return the part of an integration step that the variables in `kept` need; nothing for those in `names`."""
    needed, lines = set(kept), []
    for variable, operator, expression in reversed(statements(step)):
        if variable in needed and variable not in names:
            needed |= identifiers(expression, {})
            lines.append(f"{variable} {operator} {expression}")
    return "\n".join(reversed(lines))


def flush_period(synapses: Any, names: set[str], objects: list[Any]) -> int:
    """Return after how many steps somebody else reads traces; 0: nobody does.

    Whoever reads them in step k finds them up to date if they are formed at the end of steps k - 1 and k.
    """
    periods: set[int] = set()
    arrays = {id(synapses.variables[name]) for name in names}
    for obj in objects:
        group = getattr(obj, "group", obj)
        if not obj.active or getattr(group, "id", None) == synapses.id:
            continue
        recorded = getattr(obj, "record_variables", None) if _source(obj) == synapses.id else None
        reads = (
            bool(identifiers(recorded, synapses.variables) & names)
            if recorded is not None
            else any(id(variable) in arrays for variable in getattr(group, "variables", {}).values())
        )
        if reads:
            periods.add(_steps(obj.clock, synapses.clock))
    if not periods:
        return 0
    return periods.pop() if len(periods) == 1 else 1


def _source(obj: Any) -> Any:
    return getattr(getattr(obj, "source", None), "id", None)


def _steps(clock: Any, own: Any) -> int:
    ratio = float(getattr(clock, "dt_", 0.0)) / float(own.dt_)
    return round(ratio) if ratio >= 1 and abs(ratio - round(ratio)) < 1e-6 else 1
