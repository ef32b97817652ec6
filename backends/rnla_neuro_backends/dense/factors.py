"""What can be computed once a neuron is not computed once a synapse.

In ``w*tanh(u_pre)`` the tanh belongs to the presynaptic neuron alone. Such parts of an expression become
*factors*: small arrays of the projection, one element a neuron, that are filled before the pass over the
synapses. The compiler could not do this by itself: it has no vector form of tanh that it may use without
``-ffast-math``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.core.functions import Function
from brian2.core.variables import Subexpression
from brian2.parsing.bast import brian_ast
from brian2.parsing.rendering import NodeRenderer
from brian2.parsing.statements import parse_statement
from brian2.utils.stringtools import get_identifiers

from rnla_neuro_backends.dense.variables import depends_on


@dataclass
class Factors:
    """Expressions of one side each, and the arrays that hold them.

    Attributes:
        prefix: How the arrays are called.
        names: Expression -> array, by side.
    """

    prefix: str
    names: dict[str, dict[str, str]] = field(default_factory=lambda: {"pre": {}, "post": {}})

    def take(self, side: str, expression: str) -> str:
        """Return the array of an expression, a new one if it is new."""
        known = self.names[side]
        return known.setdefault(expression, f"_{self.prefix}_{side}_{len(known)}")

    def code(self, side: str) -> str:
        """Return the statements that fill the arrays of a side."""
        return "\n".join(f"{name} = {expression}" for expression, name in self.names[side].items())

    def declare(self, synapses: Any, index: str = "own", length: int = 1) -> list[str]:
        """Make sure that the arrays exist; return their names.

        Args:
            synapses: The projection.
            index: Kind of the loop index, ``own`` or ``slot``.
            length: How many elements a neuron has.
        """
        layout = synapses.layout
        for side, size in (("pre", layout.n_pre), ("post", layout.n_post)):
            for name in self.names[side].values():
                if name not in synapses.variables:
                    synapses.variables.add_array(
                        name, layout.n_agents * size * length, dtype=synapses.real, index=f"_{side}_{index}"
                    )
        return [name for names in self.names.values() for name in names.values()]


def statements(code: str) -> list[tuple[str, str, str]]:
    """Split abstract code into (variable, operator, expression)."""
    lines = [line.strip() for line in code.replace(";", "\n").splitlines()]
    return [tuple(parse_statement(line)[:3]) for line in lines if line and not line.startswith("#")]


def side_of(depends: set[str]) -> str | None:
    """Return the one side on which something can be computed, ``pre`` or ``post``, or None."""
    if depends <= {"pre", "agent"} and "pre" in depends:
        return "pre"
    if depends <= {"post", "agent"} and depends:
        return "post"
    return None


class _Hoist(ast.NodeTransformer):
    """Replaces the largest parts that depend on one side only."""

    def __init__(self, synapses: Any, resolved: Mapping[str, Any], local: set[str], factors: Factors) -> None:
        self.variables, self.resolved = synapses.variables, resolved
        self.local, self.factors = local, factors

    def depends(self, node: ast.AST) -> set[str]:
        names = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
        if names & self.local:
            return {"syn"}
        found: set[str] = set()
        for name in names:
            if isinstance(self.resolved.get(name), Function):
                found |= set() if self.resolved[name].stateless else {"syn"}
            elif name in self.variables:
                found |= depends_on(self.variables, name)
        return found

    def visit(self, node: ast.AST) -> Any:
        side = side_of(self.depends(node)) if self._worth(node) else None
        if side is None:
            return self.generic_visit(node)
        text = NodeRenderer().render_node(node)
        if brian_ast(text, self.resolved).dtype != "float":
            return self.generic_visit(node)
        return ast.Name(self.factors.take(side, text), ast.Load())

    def _worth(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return isinstance(self.variables.get(node.id), Subexpression)
        return isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call)


def identifiers(code: str | Iterable[str], variables: Mapping[str, Any]) -> set[str]:
    """Return all names that code uses, and those that the subexpressions among them use."""
    found: set[str] = set()
    todo = set(get_identifiers(code)) if isinstance(code, str) else set(code)
    while todo:
        name = todo.pop()
        found.add(name)
        if isinstance(variables.get(name), Subexpression):
            todo |= set(variables[name].identifiers) - found
    return found


def hoist(synapses: Any, code: str, namespace: Mapping[str, Any], factors: Factors) -> str:
    """Move what belongs to one side out of code that runs for every synapse.

    Args:
        synapses: The projection.
        code: Abstract code.
        namespace: Where names are looked up that are not variables.
        factors: Filled with what was moved out.

    Returns:
        The code with the names of factors in it.
    """
    lines = statements(code)
    variables = synapses.variables
    local = {name for name, _, _ in lines}
    if any(name in variables and not depends_on(variables, name) for name in local):
        return code  # it changes a shared variable, which the factors might depend on
    known = {name for name in identifiers(code, variables) if name not in local or name in variables}
    resolved = synapses.resolve_all(sorted(known), run_namespace=namespace, user_identifiers=())
    written = local | {name for name in resolved if identifiers([name], variables) & local}
    done = []
    for name, operator, expression in lines:
        tree = ast.parse(expression, mode="eval")
        body = _Hoist(synapses, resolved, written, factors).visit(tree.body)
        done.append(f"{name} {operator} {NodeRenderer().render_node(body)}")
    return "\n".join(done)


def product(synapses: Any, code: str, factors: Factors) -> tuple[str, str, str] | None:
    """Find the product of one matrix of the synapses, and of factors of either side, in the code of a sum.

    Args:
        synapses: The projection.
        code: Abstract code that assigns ``_summand``, without what was hoisted.
        factors: What was hoisted.

    Returns:
        The matrix, and what multiplies it on the presynaptic and on the postsynaptic side (empty: nothing); None
        if the summand is something else.
    """
    lines = statements(code)
    if len(lines) != 1 or lines[0][0] != "_summand":
        return None
    parts: dict[str, list[str]] = {"syn": [], "pre": [], "post": []}
    for node in _multiplied(ast.parse(lines[0][2], mode="eval").body):
        if not isinstance(node, ast.Name | ast.Constant):
            return None
        name = NodeRenderer().render_node(node)
        hoisted = {side for side, names in factors.names.items() if name in names.values()}
        depends = hoisted or (depends_on(synapses.variables, name) if name in synapses.variables else set())
        side = "syn" if "syn" in depends else side_of(depends) or "post"
        if isinstance(synapses.variables.get(name), Subexpression):
            return None
        parts[side].append(name)
    if len(parts["syn"]) != 1 or synapses.variables[parts["syn"][0]].dtype != synapses.real:
        return None
    return parts["syn"][0], "*".join(parts["pre"]), "*".join(parts["post"])


def _multiplied(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _multiplied(node.left) + _multiplied(node.right)
    return [node]
