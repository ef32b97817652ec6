"""Refuses expressions that would keep the computer algebra busy for hours: towers of powers, thousands of brackets."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Final

from rnla_neuro.errors import ModelError, shown

DEEPEST: Final = 100
"""Levels of brackets and operators; Python and Brian2 read expressions by recursion."""
LARGEST: Final = 1e300
"""Numbers; exact arithmetic would write out all digits of a larger one."""
LARGEST_EXPONENT: Final = 1000.0
LARGEST_GROWTH: Final = 700.0
"""Arguments of exp and its kin; beyond it a float overflows, and exact arithmetic never ends."""
_GROWING: Final = ("exp", "expm1", "sinh", "cosh")

_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def refuse_excess(tree: ast.expr, text: str, where: str) -> None:
    """Refuse what is not meant to be computed.

    Args:
        tree: The syntax tree of the expression.
        text: The expression.
        where: File, section and key, for messages.

    Raises:
        ModelError: It is nested too deeply, or has a number or an exponent that is too large.
    """
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            break
    else:
        raise ModelError(f"{where}: {shown(text.strip())} is nested more than {DEEPEST} levels deep")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) > LARGEST:
            raise ModelError(f"{where}: in {shown(text.strip())}: a number is above {LARGEST:g}")
        match node:
            case ast.Call(func=ast.Name(id=name), args=[argument]) if name in _GROWING:
                size = _constant(argument)
                if size is not None and not abs(size) <= LARGEST_GROWTH:
                    raise ModelError(
                        f"{where}: in {shown(text.strip())}: the argument of {name} is above {LARGEST_GROWTH:g}"
                    )
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)):
            continue
        exponent = _constant(node.right)
        if exponent is not None and not abs(exponent) <= LARGEST_EXPONENT:
            raise ModelError(
                f"{where}: in {shown(text.strip())}: the exponent {shown(ast.unparse(node.right))} is above "
                f"{LARGEST_EXPONENT:g}"
            )


def _constant(node: ast.expr) -> float | None:
    """Return the value of an expression of numbers in floats; None where it has names or is not a number."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number) if abs(number) <= LARGEST else float("inf")
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in _GROWING:
            size = _constant(argument)
            return None if size is None else math.exp(min(abs(size), LARGEST_GROWTH))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            return _constant(inner)  # only its size matters
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            a, b = _constant(left), _constant(right)
            if a is None or b is None:
                return None
            try:
                value = _OPERATORS[type(op)](a, b)
            except OverflowError:
                return float("inf")
            except ZeroDivisionError:
                return None
            return value if isinstance(value, float) else None
    return None
