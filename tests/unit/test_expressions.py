"""The expression reader: same values as numpy, nothing but arithmetic, exact numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from rnla_neuro.errors import ModelError
from rnla_neuro.spec.equations import split_equations, split_statements
from rnla_neuro.spec.expressions import FUNCTIONS, divisors, identifiers, parse
from rnla_neuro.spec.proof import derivative, differing_term, equal, number, symbol

NUMPY: dict[str, Any] = {
    "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "arctan": np.arctan, "arcsin": np.arcsin, "arccos": np.arccos, "exp": np.exp, "expm1": np.expm1,
    "log": np.log, "log1p": np.log1p, "log10": np.log10, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign,
    "floor": np.floor, "clip": np.clip, "int": np.int_, "inf": np.inf, "pi": np.pi,
}  # fmt: skip

#: Expression -> the same for arrays in numpy, where that is written differently.
CASES = dict.fromkeys([
    "tanh(u)", "sinh(u) - cosh(u)", "sin(u)*cos(u) + tan(u)", "arctan(u)", "arcsin(u/9)", "arccos(u/9)",
    "exp(-abs(u))", "expm1(u)", "log(abs(u) + 1)", "log1p(u**2)", "log10(u**2 + 1)", "sqrt(u**2 + 1)",
    "sign(u)*u", "floor(3*u)", "clip(u, -1, 1)", "clip(u, 0, inf)", "clip(u, -inf, 2)", "int(u > 0)*u", "2*pi*u",
    "-u**2", "+u", "u/3 - 2/(u + 10)", "1e-3*u + 0.1",
]) | {
    "int(u <= 0.5 and u > -1)": "(u <= 0.5) & (u > -1)",
    "int(u > 1 or u < -1)": "(u > 1) | (u < -1)",
    "int(not u < 1)": "u >= 1",
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_values_are_those_of_numpy(text: str) -> None:
    u = np.linspace(-4.05, 4.0, 24)
    expr = parse(text, "here", symbol)
    got = np.broadcast_to(sp.lambdify([symbol("u")], expr, "numpy")(u), u.shape)
    want = eval(CASES[text] or text, {}, NUMPY | {"u": u})
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


def test_every_function_is_in_a_case() -> None:
    assert all(any(f"{name}(" in case for case in CASES) for name in FUNCTIONS)


def test_every_function_is_one_of_brian2() -> None:
    functions = pytest.importorskip("brian2.core.functions").DEFAULT_FUNCTIONS
    assert set(FUNCTIONS) <= set(functions)


def test_numbers_are_exact() -> None:
    assert parse("0.1 + 0.2", "here", symbol) == sp.Rational(3, 10)


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "u.real", "u[0]", "lambda: u", "u if u else 1", "'text'", "tanh(u, u)", "tanh(x=u)",
     "[u]", "u % 2", "u // 2", "u and 1", "u > 0", "True", "foo(u)", "1 < u < 2", "int(u)", "tanh(u > 0)", "",
     "u := 1", "1/0", "~u", "u @ u"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="here"):
        parse(text, "here", symbol)


def test_identifiers_leave_functions_out() -> None:
    assert identifiers("tanh(u) + exp*clip(a, 0, inf)", "here") == {"u", "exp", "a", "inf"}


@settings(deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_the_proof_agrees_with_numbers(a: float, b: float, c: float) -> None:
    x, y = symbol("x"), symbol("y")
    left = sp.Rational(repr(a)) * x + sp.Rational(repr(b)) * y
    right = sp.Rational(repr(c)) * x + sp.Rational(repr(b)) * y
    assert equal(left, right) == (a == c)


def test_the_proof_knows_identities_and_tells_small_differences() -> None:
    u = symbol("u")
    assert equal(1 - sp.tanh(u) ** 2, 1 / sp.cosh(u) ** 2)
    assert equal((u + 1) ** 2 / u, u + 2 + 1 / u)
    assert not equal(sp.tanh(u), sp.tanh(u) * (1 + sp.Rational(1, 10**9)))
    assert not equal(sp.Max(u, 0), u)
    assert not equal(sp.Abs(u), u)


def test_a_differing_term_is_named() -> None:
    a, b, c = symbol("a"), symbol("b"), symbol("c")
    assert differing_term(a + 2 * b, a + b) == "term '2*b' does not belong to the form"
    assert differing_term(a, a - c) == "term '-c' is missing"


def test_kinks_get_the_mean_slope() -> None:
    u = symbol("u")
    slope = derivative(sp.Max(u, 0), u)
    assert [slope.xreplace({u: sp.Integer(value)}) for value in (-2, 0, 3)] == [0, sp.Rational(1, 2), 1]


def test_equations_keep_order_and_joined_lines() -> None:
    found = split_equations("du/dt = (I -\n u)/tau : 1  # comment\n\nr = u : 1", "here")
    assert [(e.left, e.text, e.unit) for e in found.values()] == [
        ("du/dt", "(I - u)/tau", "1"),
        ("r", "u", "1"),
    ]


def test_statements() -> None:
    found = split_statements("delta = R - m; m += delta/n\nw -= 2\nB = 0", "here")
    assert [str(s) for s in found] == ["delta = R - m", "m += delta/n", "w -= 2", "B = 0"]
    with pytest.raises(ModelError, match="not a statement"):
        split_statements("a == b", "here")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x/tau", {"tau"}),
        ("(x - y)/(2*tau*b) + z/c**2", {"tau", "b", "c"}),
        ("x/(a/b)", {"a", "b"}),  # b divides within the divisor
        ("x/(1 + tau)", set()),
        ("exp(-t/tau)*x", {"tau"}),
    ],
)
def test_what_an_expression_divides_by(text: str, names: set[str]) -> None:
    assert divisors(text, "here") == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u = (a + b : 1\nv = u : 1", r"here: 'u = \(a \+ b : 1': a bracket '\(' is not closed"),
        ("u = (a\n + b : 1\ndv/dt = u/tau : 1", r"'u = \(a \+ b : 1': a bracket '\(' is not closed"),
        ("u = (a + b : 1; v = c) : 1", r"'u = \(a \+ b : 1': a bracket '\(' is not closed|never opened"),
        ("u = a) : 1", r"here: 'u = a\) : 1': a bracket '\)' was never opened"),
        ("u = )a( : 1", "never opened"),
    ],
)
def test_brackets_of_each_equation_are_balanced(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        split_equations(text, "here")


def test_an_open_bracket_goes_on_in_the_next_line() -> None:
    found = split_equations("u = (a +\n int(b\n == c)) : 1", "here")
    assert found["u"].text == "(a + int(b == c))"


@pytest.mark.parametrize("text", ["1/a", "sqrt(b)", "log(b)", "c"])
def test_a_number_is_finite_and_real(text: str) -> None:
    expr = parse(text, "here", symbol)
    with pytest.raises(ModelError, match=r"here: .* not a finite real number"):
        number(expr, {"a": 0.0, "b": -2.0}, "here")
