"""Small rewritings of Brian2 expressions, on their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping

import sympy as sp

from rnla_neuro.spec.expressions import identifiers, parse_tree


class _Renamer(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = {name: parse_tree(text, name) for name, text in names.items()}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._names.get(node.id, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(argument) for argument in node.args]  # the function's own name stays
        return node


def replaced(text: str, names: Mapping[str, str], where: str) -> str:
    """Put expressions in the place of names.

    >>> replaced("exp((V - V_th)/width)", {"V": "V - k"}, "")
    'exp((V - k - V_th) / width)'
    """
    if not names.keys() & identifiers(text, where):
        return text
    return ast.unparse(_Renamer(names).visit(parse_tree(text, where)))


class _Divisors(ast.NodeTransformer):
    """Multiplies names by a factor where an expression divides by them."""

    def __init__(self, factors: Mapping[str, str]) -> None:
        self._factors = factors

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        node.left = self.visit(node.left)
        node.right = self._divisor(node.right) if isinstance(node.op, ast.Div) else self.visit(node.right)
        return node

    def _divisor(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.Name(id=name) if name in self._factors:
                return ast.BinOp(node, ast.Mult(), ast.Name(self._factors[name], ast.Load()))
            case ast.BinOp(op=ast.Mult()):
                node.left, node.right = self._divisor(node.left), self._divisor(node.right)
            case ast.BinOp(op=ast.Div() | ast.Pow()):
                node.left = self._divisor(node.left)
        return node


def slowed(text: str, factors: Mapping[str, str], where: str) -> str:
    """Multiply what an expression divides by.

    >>> slowed("(I - u + tau*x)/tau", {"tau": "k"}, "")
    '(I - u + tau * x) / (tau * k)'
    """
    return ast.unparse(_Divisors(factors).visit(parse_tree(text, where)))


def written_out(text: str, algebraic: Mapping[str, str], where: str) -> str:
    """Write algebraic variables out until none is left."""
    for _ in range(len(algebraic) + 1):
        if not algebraic.keys() & identifiers(text, where):
            break
        text = replaced(text, algebraic, where)
    return text


def needed(start: Collection[str], reads: Mapping[str, Collection[str]]) -> set[str]:
    """Return the names that some names need, directly and through others, they themselves included."""
    found: set[str] = set()
    open_ = set(start)
    while open_:
        name = open_.pop()
        found.add(name)
        open_ |= set(reads.get(name, ())) - found
    return found


def as_text(expression: sp.Expr) -> str | None:
    """Write a sympy expression as Brian2 reads it; None where it has no such form."""
    known = (sp.tanh, sp.exp, sp.log, sp.sin, sp.cos, sp.sinh, sp.cosh, sp.sign)
    for function in expression.atoms(sp.Function):
        if not isinstance(function, known):
            return None
    return None if expression.has(sp.Piecewise, sp.Max, sp.Min, sp.Derivative) else str(expression)
