"""Takes names out of a model's expressions as if they were 0, and leaves the rest as it is written."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from rnla_neuro.errors import BackendError

#: Functions that are 0 where their argument is.
_ODD = frozenset({"abs", "sign", "tanh", "sinh", "sin", "tan", "arctan", "arcsin", "expm1", "log1p", "sqrt"})


class _Fold(ast.NodeTransformer):
    """Returns None for what is 0."""

    def __init__(self, zeros: frozenset[str], given: Mapping[str, str]) -> None:
        self._zeros = zeros
        self._given = {name: ast.parse(text, mode="eval").body for name, text in given.items()}

    def visit_Name(self, node: ast.Name) -> ast.expr | None:
        if node.id in self._zeros:
            return None
        return self._given.get(node.id, node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr | None:
        operand = self.visit(node.operand)
        return None if operand is None else ast.UnaryOp(node.op, operand)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr | None:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            if right is None:
                return left  # type: ignore[no-any-return]
            if left is None:
                return ast.UnaryOp(ast.USub(), right) if isinstance(node.op, ast.Sub) else right
        elif left is None:
            return None
        elif right is None:
            if isinstance(node.op, ast.Mult):
                return None
            raise ValueError(ast.unparse(node))
        return ast.BinOp(left, node.op, right)

    def visit_Call(self, node: ast.Call) -> ast.expr | None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        arguments = [self.visit(argument) for argument in node.args]
        if name in _ODD and arguments[0] is None:
            return None
        if name == "clip" and arguments[0] is None and any(_is_zero(bound) for bound in node.args[1:]):
            return None
        return ast.Call(node.func, [a if a is not None else ast.Constant(0) for a in arguments], [])

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [self.visit(side) or ast.Constant(0) for side in (node.left, *node.comparators)]
        return ast.Compare(sides[0], node.ops, sides[1:])


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def fold(text: str, zeros: frozenset[str], where: str, given: Mapping[str, str] | None = None) -> str | None:
    """Return an expression in which some names are 0; None if nothing of it is left.

    Args:
        text: The expression, as Brian2 writes it.
        zeros: Names that are 0.
        where: Place in the file, for messages.
        given: Expressions that other names are replaced by.

    Raises:
        BackendError: Something is divided by what is 0.

    >>> fold("(I + noise - u + err)/tau", frozenset({"noise"}), "")
    '(I - u + err) / tau'
    """
    try:
        body = _Fold(zeros, given or {}).visit(ast.parse(" ".join(text.split()), mode="eval").body)
    except ValueError as error:
        gone = ", ".join(sorted(zeros))
        raise BackendError(f"{where}: {error} is divided by what is 0 without {gone}") from None
    return None if body is None else ast.unparse(ast.fix_missing_locations(body))
