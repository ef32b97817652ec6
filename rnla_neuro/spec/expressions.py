"""A small, safe reader of Brian2 expressions: Python's `ast` to sympy, without `eval`.

Numbers become exact rationals, so that two ways to write the same equation compare equal.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p, log10

from rnla_neuro.errors import ModelError, did_you_mean, shown, unknown
from rnla_neuro.spec.excess import refuse_excess

Resolve = Callable[[str], sp.Expr]


def _clip(value: sp.Expr, low: sp.Expr, high: sp.Expr) -> sp.Expr:
    """Write clip as maximum and minimum; an infinite bound disappears."""
    floor = value if low == -sp.oo else sp.Max(value, low)
    return floor if high == sp.oo else sp.Min(floor, high)


def _as_number(condition: sp.Basic) -> sp.Expr:
    if isinstance(condition, sp.Expr):
        raise ModelError("int(…) takes a comparison, for example int(u > 0)")
    return sp.Piecewise((sp.Integer(1), condition), (sp.Integer(0), sp.true))


#: Function -> (number of arguments, how it is written in sympy). All of them are Brian2's own.
FUNCTIONS: dict[str, tuple[int, Callable[..., sp.Expr]]] = {
    "tanh": (1, sp.tanh),
    "sinh": (1, sp.sinh),
    "cosh": (1, sp.cosh),
    "sin": (1, sp.sin),
    "cos": (1, sp.cos),
    "tan": (1, sp.tan),
    "arctan": (1, sp.atan),
    "arcsin": (1, sp.asin),
    "arccos": (1, sp.acos),
    "exp": (1, sp.exp),
    "expm1": (1, expm1),
    "log": (1, sp.log),
    "log1p": (1, log1p),
    "log10": (1, log10),
    "sqrt": (1, sp.sqrt),
    "abs": (1, sp.Abs),
    "sign": (1, sp.sign),
    "floor": (1, sp.floor),
    "clip": (3, _clip),
    "int": (1, _as_number),
}

#: Constants that Brian2 knows without a declaration.
CONSTANTS: dict[str, sp.Expr] = {"pi": sp.pi, "inf": sp.oo}

_COMPARE: dict[type[ast.cmpop], Callable[..., sp.Basic]] = {
    ast.Lt: sp.Lt,
    ast.LtE: sp.Le,
    ast.Gt: sp.Gt,
    ast.GtE: sp.Ge,
    ast.Eq: sp.Eq,
    ast.NotEq: sp.Ne,
}


def parse_tree(text: str, where: str) -> ast.expr:
    """Parse one expression; errors name `where` (file, section and key).

    Raises:
        ModelError: The text is not an expression.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ModelError(f"{where}: {shown(text.strip())} is not an expression ({reason})") from None
    except (RecursionError, MemoryError):  # MemoryError is what Python's parser raises at its own limit
        raise ModelError(f"{where}: {shown(text.strip())} is nested too deeply") from None
    refuse_excess(tree, text, where)
    return tree


def identifiers(text: str, where: str) -> set[str]:
    """Names used in an expression, functions excluded."""
    tree = parse_tree(text, where)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def divisors(text: str, where: str) -> set[str]:
    """Names that an expression divides by: ``tau`` in ``x/tau`` and ``x/(2*tau)``, not in ``x/(1 + tau)``."""
    found: set[str] = set()

    def factors(node: ast.expr) -> None:
        match node:
            case ast.Name(id=name):
                found.add(name)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                factors(left)
                factors(right)
            case ast.BinOp(left=left, op=ast.Div() | ast.Pow()):
                factors(left)

    for node in ast.walk(parse_tree(text, where)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            factors(node.right)
    return found


def calls(text: str, where: str) -> set[str]:
    """Names of the functions that an expression calls."""
    nodes = ast.walk(parse_tree(text, where))
    return {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def split_call(text: str, where: str) -> tuple[str, list[str]] | None:
    """Return (function, arguments as text) where the whole text is one call, otherwise None."""
    tree = parse_tree(text, where)
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.keywords:
        return None
    return tree.func.id, [ast.unparse(argument) for argument in tree.args]


def split_decision(text: str, where: str) -> tuple[str, str | None]:
    """Return what a decision that the loader has checked takes the argmax of, and the time constant of its low-pass.

    >>> split_decision("argmax(u)", ""), split_decision("argmax(lowpass(2*r, tau))", "")
    (('u', None), ('2 * r', 'tau'))
    """
    call = split_call(text, where)
    assert call is not None, "the loader has checked it"
    inner = split_call(call[1][0], where)
    if inner is not None and inner[0] == "lowpass":
        argument, tau = inner[1]
        return argument, tau
    return call[1][0], None


class _Reader:
    """Walks one syntax tree; holds what every error message needs."""

    def __init__(self, text: str, where: str, resolve: Resolve, functions: Mapping[str, Callable[[], sp.Expr]]):
        self.text = " ".join(text.split())
        self.where = where
        self.resolve = resolve
        self.generators = functions

    def fail(self, reason: str) -> ModelError:
        return ModelError(f"{self.where}: in {self.text!r}: {reason}")

    def number(self, node: ast.Constant) -> sp.Expr:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise self.fail(f"{node.value!r} is not a number")
        return sp.Rational(repr(node.value)) if isinstance(node.value, float) else sp.Integer(node.value)

    def binary(self, node: ast.BinOp) -> sp.Expr:
        left, right = self.expr(node.left), self.expr(node.right)
        match node.op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                return left * right
            case ast.Div():
                if right == 0:
                    raise self.fail("division by zero")
                return left / right
            case ast.Pow():
                return left**right
        raise self.fail(f"operator {type(node.op).__name__!r} is not allowed; allowed: + - * / **")

    def call(self, node: ast.Call) -> sp.Expr:
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self.fail("only calls of named functions without keywords are allowed")
        name = node.func.id
        if name in self.generators and not node.args:
            return self.generators[name]()
        if name not in FUNCTIONS:
            raise self.fail(unknown("function", name, [*FUNCTIONS, *self.generators]))
        count, make = FUNCTIONS[name]
        if len(node.args) != count:
            raise self.fail(f"{name} takes {count} argument{'s' * (count > 1)}, {len(node.args)} given")
        arguments = [self.any(argument) for argument in node.args]
        if name != "int" and not all(isinstance(argument, sp.Expr) for argument in arguments):
            raise self.fail(f"{name}(…) takes a number, not a comparison; write int(…) around the comparison")
        try:
            return make(*arguments)
        except ModelError as error:
            raise self.fail(str(error)) from None

    def compare(self, node: ast.Compare) -> sp.Basic:
        if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
            raise self.fail("only one comparison at a time is allowed (<, <=, >, >=, ==, !=)")
        return _COMPARE[type(node.ops[0])](self.expr(node.left), self.expr(node.comparators[0]))

    def logic(self, node: ast.BoolOp) -> sp.Basic:
        parts = [self.any(value) for value in node.values]
        return sp.And(*parts) if isinstance(node.op, ast.And) else sp.Or(*parts)

    def any(self, node: ast.expr) -> sp.Basic:
        """Read a number or a truth value."""
        match node:
            case ast.Compare():
                return self.compare(node)
            case ast.BoolOp():
                return self.logic(node)
            case ast.UnaryOp(op=ast.Not()):
                return sp.Not(self.any(node.operand))
        return self.expr(node)

    def expr(self, node: ast.expr) -> sp.Expr:
        """Read a number."""
        match node:
            case ast.Constant():
                return self.number(node)
            case ast.Name():
                return CONSTANTS[node.id] if node.id in CONSTANTS else self.resolve(node.id)
            case ast.BinOp():
                return self.binary(node)
            case ast.UnaryOp(op=ast.USub()):
                return -self.expr(node.operand)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.expr(node.operand)
            case ast.Call():
                return self.call(node)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise self.fail("a comparison is not a number; write int(…) around it")
        raise self.fail(f"{ast.unparse(node)!r} is not allowed; allowed: numbers, names, + - * / **, functions")


def parse(
    text: str,
    where: str,
    resolve: Resolve | Mapping[str, sp.Expr],
    generators: Mapping[str, Callable[[], sp.Expr]] | None = None,
) -> sp.Expr:
    """Read a Brian2 expression into sympy.

    Args:
        text: The expression, for example ``"(I - u + err)/tau_m"``.
        where: File, section and key, for messages.
        resolve: Symbols by name, or a function that returns the symbol of a name.
        generators: Functions without arguments, such as ``randn``, and what stands for a call.

    Raises:
        ModelError: Not an expression, or a name, function or operator that is not allowed.
    """
    if isinstance(resolve, Mapping):
        table = resolve

        def look_up(name: str) -> sp.Expr:
            if name not in table:
                suggestion = did_you_mean(name, table)
                raise ModelError(f"{where}: in {' '.join(text.split())!r}: unknown name {name!r}:{suggestion}")
            return table[name]

        resolve = look_up
    reader = _Reader(text, where, resolve, generators or {})
    expression = reader.expr(parse_tree(text, where))
    if expression.has(sp.zoo, sp.nan):
        raise reader.fail("it has no value: a division by zero, or 0 to a negative power")
    return expression
