"""Changes each line of a model file in turn: for tests that a model's strings are what runs."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import sympy as sp

from rnla_neuro.resources import models_dir
from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.loader import available_models
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.symbols import OPTIONAL_ROLES

#: Lines that describe a model and have no effect.
_DESCRIPTION = ("name = ", "summary = ", "source = ")
_KEY = re.compile(r'(?P<left>[\w.]+ = ")(?P<value>[^"]*)(?P<right>".*)$')
_EQUATION = re.compile(r"(?P<left>[\w/]+ = )(?P<value>.*)(?P<right> : .*)$")
_STATEMENT = re.compile(r"(?P<left>[\w.]+ [-+]?= )(?P<value>[^\"]*)(?P<right>)$")
_CALL = re.compile(r"(?P<left>softmax\(|sum\(|argmax\(|lowpass\()(?P<value>.*)(?P<right>\))$")
_UNIT = re.compile(r"^0\*(ms|second)$")


def proven_models() -> list[str]:
    """Names of the packaged models of the proven form: those that assign every role that the form needs."""
    found = []
    for name in available_models():
        roles = tomllib.loads((models_dir() / f"{name}.toml").read_text(encoding="utf-8"))["roles"]
        if set(roles) >= OPTIONAL_ROLES:
            found.append(name)
    assert len(found) >= 7
    return found


@dataclass(frozen=True)
class Change:
    """A model text in which one line is another."""

    number: int
    line: str
    changed: str
    text: str


def _variants(value: str) -> Iterator[str]:
    """Other expressions than `value`: each differs from it in effect."""
    call = _CALL.match(value)
    if call:
        for inner in _variants(call["value"]):
            yield call["left"] + inner + call["right"]
        return
    if _UNIT.match(value):
        yield value.replace("0", "1")
        yield value.replace("0", "5")
        return
    if value == "0":
        yield "0.3"
        return
    if value in ("trial", "step", "rate", "gumbel", "gaussian", "ornstein-uhlenbeck"):
        yield {"trial": "step", "step": "trial", "gumbel": "gaussian", "gaussian": "none"}.get(
            value, "gumbel"
        )
        return
    condition = re.fullmatch(r"(?P<left>.* (?:<=|>=|<|>) )(?P<right>[^<>=]*)", value)
    if condition:
        yield f"{condition['left']}0.7*({condition['right']})"
    yield f"2*({value})"
    yield f"-({value})"
    try:
        tree = ast.parse(value, mode="eval").body
    except SyntaxError:
        return
    for node in ast.walk(tree):  # drop a term, or turn its sign
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            whole = ast.unparse(node)
            flipped = "-" if isinstance(node.op, ast.Add) else "+"
            for part in (
                ast.unparse(node.left),
                f"{ast.unparse(node.left)} {flipped} {ast.unparse(node.right)}",
            ):
                yield ast.unparse(tree).replace(whole, part)


def changes(text: str) -> list[Change]:
    """Every line changed in every way, and left out, one at a time; comments and descriptions excluded."""
    lines = text.splitlines()
    result = []
    for number, line in enumerate(lines):
        bare = line.strip()
        if not bare or bare.startswith(("#", "[")) or bare == '"""' or bare.endswith('"""'):
            continue
        if bare.startswith(_DESCRIPTION):
            continue
        match = _KEY.match(line) or _EQUATION.match(line) or _STATEMENT.match(line)
        assert match is not None, f"line {number + 1} is of no known kind: {line!r}"
        new = [match["left"] + value + match["right"] for value in _statement_variants(match["value"])]
        for changed in [*new, ""]:
            changed_text = "\n".join([*lines[:number], changed, *lines[number + 1 :]]) + "\n"
            result.append(Change(number + 1, line, changed, changed_text))
    return result


def _statement_variants(value: str) -> Iterator[str]:
    statement = re.match(r"(\w+ \+?= )(.*)$", value)
    if statement:
        yield from (statement[1] + variant for variant in _variants(statement[2]))
    else:
        yield from _variants(value)


def content(value: Any, parameters: dict[sp.Symbol, sp.Expr]) -> Any:
    """What a solver would compute with: parameters put in as numbers, names of traces left out."""
    if isinstance(value, sp.Basic):
        return sp.srepr(sp.nsimplify(sp.expand(value.xreplace(parameters)), rational=True))
    if isinstance(value, np.ndarray):
        return value.round(9).tolist()
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value) if f.name not in ("parameters", "names")]
        return {name: content(getattr(value, name), parameters) for name in names}
    if isinstance(value, dict):
        return {key: content(item, parameters) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [content(item, parameters) for item in value]
    return value


def fingerprint(model: ModelSpec, form: EquilibriumForm) -> Any:
    """Trial and form as a solver sees them; names of parameters do not count, their values do."""
    values = {sp.Symbol(name, real=True): sp.Rational(repr(value)) for name, value in form.parameters.items()}
    return [content(model.trial, values), content(form, values)]
