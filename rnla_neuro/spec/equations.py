"""Splits the multi-line strings of a model file into equations and statements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rnla_neuro.errors import ModelError

_ODE = re.compile(r"d(?P<name>[A-Za-z_]\w*)\s*/\s*dt$")
_NAME = re.compile(r"[A-Za-z_]\w*$")
_PAUSES = re.compile(r"\(\s*unless\s+refractory\s*\)\s*$")
_CONSTANT = re.compile(r"(?P<name>[A-Za-z_]\w*)\s*:(?P<unit>[^=()]*)\(\s*constant\s*\)$")
#: A line that starts like this is an equation of its own, whatever bracket is open before it.
_BEGINNING = re.compile(r"(d[A-Za-z_]\w*\s*/\s*dt|[A-Za-z_]\w*)\s*[-+*/]?=(?!=)")
_STATEMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)\s*(?P<op>\+=|-=|\*=|/=|=)(?!=)\s*(?P<text>.+)$", re.DOTALL)


@dataclass(frozen=True)
class Equation:
    """One line of Brian2 equations: ``dX/dt = text : unit`` (is_ode) or ``X = text : unit``.

    `pauses`: the line ends in ``(unless refractory)``, so that the variable stays as it is after a spike.
    """

    name: str
    text: str
    unit: str
    is_ode: bool
    pauses: bool = False

    @property
    def left(self) -> str:
        """The left side as written."""
        return f"d{self.name}/dt" if self.is_ode else self.name


@dataclass(frozen=True)
class Statement:
    """One assignment of an event: ``name op text`` with op one of ``=``, ``+=``, ``-=``, ``*=``, ``/=``."""

    name: str
    op: str
    text: str

    def __str__(self) -> str:
        """Return the statement as written."""
        return f"{self.name} {self.op} {self.text}"


def assigned(op: str, old: Any, value: Any) -> Any:
    """Return what a variable is after an assignment; numbers, arrays and sympy expressions alike.

    >>> assigned("+=", 1, 2), assigned("=", 1, 2)
    (3, 2)
    """
    match op:
        case "+=":
            return old + value
        case "-=":
            return old - value
        case "*=":
            return old * value
        case "/=":
            return old / value
    return value


def _lines(text: str, where: str) -> list[str]:
    """Logical lines: comments removed, lines with an open bracket joined, ``;`` separates.

    Raises:
        ModelError: A bracket is not closed where the next equation begins, or closed and never opened.
    """
    lines: list[str] = []
    for raw in text.splitlines():
        for part in raw.split("#", 1)[0].split(";"):
            line = part.strip()
            if not line:
                continue
            if lines and _open_brackets(lines[-1], where) and not _BEGINNING.match(line):
                lines[-1] += " " + line
            else:
                lines.append(line)
    for line in lines:
        if _open_brackets(line, where):
            raise ModelError(f"{where}: {line!r}: a bracket '(' is not closed")
    return lines


def _open_brackets(line: str, where: str) -> int:
    """Count the brackets that are still open at the end."""
    depth = 0
    for character in line:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            raise ModelError(f"{where}: {line!r}: a bracket ')' was never opened")
    return depth


def split_equations(text: str, where: str) -> dict[str, Equation]:
    """Split Brian2 equations; the result keeps the order of the file.

    Raises:
        ModelError: A line is not ``dX/dt = … : unit`` or ``X = … : unit``, or a name appears twice.
    """
    result: dict[str, Equation] = {}
    for line in _lines(text, where):
        body, colon, unit = line.rpartition(":")
        left, equals, right = body.partition("=")
        ode = _ODE.match(left.strip())
        name = ode["name"] if ode else left.strip()
        if not colon or not equals or not right.strip() or not _NAME.match(name):
            raise ModelError(
                f"{where}: {line!r} is not an equation; expected 'dX/dt = expression : unit' or "
                "'X = expression : unit' (unit 1 if dimensionless)"
            )
        if name in result:
            raise ModelError(f"{where}: {name!r} is defined twice")
        pauses = _PAUSES.search(unit)
        if pauses and ode:
            unit = unit[: pauses.start()]
        if "(" in unit:
            raise ModelError(
                f"{where}: {line!r}: flags such as {unit[unit.index('(') :].strip()!r} are not allowed"
            )
        result[name] = Equation(name, right.strip(), unit.strip(), bool(ode), bool(pauses))
    return result


def split_constants(text: str, where: str) -> tuple[tuple[str, ...], str]:
    """Part what each neuron has a value of its own of, ``k : 1 (constant)``, from equations.

    Returns:
        The names, and the equations without these lines.

    Raises:
        ModelError: A name appears twice, or has a unit.
    """
    found: list[str] = []
    rest: list[str] = []
    for line in _lines(text, where):
        match = _CONSTANT.match(line)
        if match is None:
            rest.append(line)
            continue
        name, unit = match["name"], match["unit"].strip()
        if unit != "1":
            raise ModelError(
                f"{where}: {line!r}: a constant has the unit 1, not {unit!r}; let it multiply a parameter (tau_m*k)"
            )
        if name in found:
            raise ModelError(f"{where}: {name!r} is defined twice")
        found.append(name)
    return tuple(found), "\n".join(rest) if found else text


def split_statements(text: str, where: str) -> list[Statement]:
    """Split the statements of an event, in order.

    Raises:
        ModelError: A line is not an assignment.
    """
    result = []
    for line in _lines(text, where):
        match = _STATEMENT.match(line)
        if not match:
            raise ModelError(
                f"{where}: {line!r} is not a statement; expected 'x = …', or one of +=, -=, *=, /= in place of ="
            )
        result.append(Statement(match["name"], match["op"], match["text"].strip()))
    return result
