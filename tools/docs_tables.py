"""Tables of docs/models.md that are made from the code, so that the page cannot fall behind it.

``python -m tools.docs_tables`` writes them into the page, between ``<!-- table: NAME -->`` and ``<!-- end -->``;
tests/unit/test_docs_tables.py fails where the page is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rnla_neuro.spec.expressions import CONSTANTS, FUNCTIONS
from rnla_neuro.spec.loader import available_models, load_model
from rnla_neuro.spec.symbols import ENGINE_SYMBOLS, HOLDS, LAWS, REDUCTIONS, ROLES

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
_TABLE = re.compile(r"(<!-- table: (?P<name>[a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ANGLE = re.compile(r"(<\w+>)")  # Markdown would take it for HTML
_PLACES = {
    "group": "group reductions",
    "read": "`policy`, `decision`",
    "on_event": "`on_event` of a synapse",
    "neuromodulator": "`[neuromodulator.*]`",
    "synapse": "synapse equations",
    "initial": "`initial`, `initial_bias`",
    "parameters": "`[parameters]`, `[trial]`",
}


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def engine_symbols() -> str:
    """Return the names that an engine supplies, their units, meanings and places."""
    rows = [
        (
            f"`{symbol.name}`",
            symbol.unit,
            _ANGLE.sub(r"`\1`", symbol.meaning),
            ", ".join(_PLACES.get(place, f"`[{place}]`") for place in symbol.where),
        )
        for symbol in ENGINE_SYMBOLS
    ]
    return _markdown(("name", "unit", "what it is", "where it may be used"), rows)


def roles() -> str:
    """Return the roles and what each is, with the name that the default model gives it."""
    default = load_model("rate_nla").roles
    rows = [(f"`{role}`", meaning, f"`{default[role]}`") for role, meaning in ROLES.items()]
    return _markdown(("role", "what it is", "in `rate_nla`"), rows)


def _held(law: str) -> str:
    return "" if law == "none" else f' (`hold = "{HOLDS[law]}"`)'


def functions() -> str:
    """Return the functions, constants and reductions that expressions may use."""
    calls = [f"`{name}({', '.join('xyz'[:count])})`" for name, (count, _) in FUNCTIONS.items()]
    rows = [
        ("functions", ", ".join(calls)),
        ("constants", ", ".join(f"`{name}`" for name in CONSTANTS)),
        ("group reductions", ", ".join(f"`{name}(…)`" for name in REDUCTIONS)),
        ("exploration laws", ", ".join(f"`{law}`{_held(law)}" for law in LAWS)),
    ]
    return _markdown(("what", "which"), rows)


def models() -> str:
    """Return the packaged models."""
    rows = [(f"[`{name}`](../models/{name}.toml)", load_model(name).summary) for name in available_models()]
    return _markdown(("model", "summary"), rows)


TABLES = {"engine_symbols": engine_symbols, "roles": roles, "functions": functions, "models": models}


def updated(text: str) -> str:
    """Return a page with its tables as they should be."""
    return _TABLE.sub(lambda found: found[1] + TABLES[found["name"]]() + found[3], text)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
