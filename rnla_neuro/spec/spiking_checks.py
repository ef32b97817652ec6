"""Checks of what makes a neuron spike: threshold, reset, refractory time."""

from __future__ import annotations

import ast

from rnla_neuro.errors import ModelError, unknown
from rnla_neuro.spec.equations import split_statements
from rnla_neuro.spec.expressions import identifiers, parse_tree
from rnla_neuro.spec.model import NeuronSpec
from rnla_neuro.spec.names import Names
from rnla_neuro.spec.quantities import UNITS


def check_spiking(names: Names, section: str, spec: NeuronSpec, allowed: set[str]) -> None:
    """Check when a neuron spikes, and what happens then.

    Args:
        names: All names of the model; what is read is noted there.
        section: The neuron's section, ``neuron.hidden``.
        spec: The neuron.
        allowed: Names that its equations may use.

    Raises:
        ModelError: It names the key, what is allowed there, and the nearest known name.
    """
    for equation in names.equations[section].values():
        if equation.pauses and spec.refractory is None:
            where = names.where(section, f"equations, {equation.left}")
            raise ModelError(f"{where}: '(unless refractory)' needs the key refractory in [{section}]")
    if spec.threshold is None:
        return
    where = names.where(section, "threshold")
    if not _is_condition(parse_tree(spec.threshold, where)):
        raise ModelError(f"{where} = {spec.threshold!r} is not a condition; expected one such as 'q >= 1'")
    names.check(spec.threshold, where, allowed, section)
    where = names.where(section, "reset")
    states = [name for name, equation in names.equations[section].items() if equation.is_ode]
    statements = split_statements(spec.reset, where)
    for statement in statements:
        if statement.name not in states:
            what = f"variable with an ODE in [{section}]"
            raise ModelError(f"{where}: {str(statement)!r}: {unknown(what, statement.name, states)}")
        names.check(statement.text, where, allowed, section)
    if spec.refractory is not None:
        where = names.where(section, "refractory")
        units = identifiers(spec.refractory, where) & set(UNITS)
        names.check(spec.refractory, where, {"T", "dt", *spec.constants, *units}, section)


def _is_condition(node: ast.expr) -> bool:
    """Whether an expression is true or false."""
    match node:
        case ast.Compare():
            return True
        case ast.BoolOp(values=values):
            return all(map(_is_condition, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _is_condition(operand)
    return False
