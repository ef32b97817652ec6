"""Tables of docs/models.md and docs/hardware_files.md that are made from the code, so that no page falls behind it.

``python -m tools.docs_tables`` writes them into the pages, between ``<!-- table: NAME -->`` and ``<!-- end -->``;
tests/unit/test_docs_tables.py fails where a page is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rnla_neuro.hardware.reading import allowed, available_hardware, load_hardware
from rnla_neuro.hardware.spec import SECTIONS, Choice, Figure, rules_of
from rnla_neuro.hardware.units import UNITS
from rnla_neuro.spec.expressions import CONSTANTS, FUNCTIONS
from rnla_neuro.spec.loader import available_models, load_model
from rnla_neuro.spec.symbols import ENGINE_SYMBOLS, HOLDS, LAWS, REDUCTIONS, ROLES

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
HARDWARE_PAGE = PAGE.with_name("hardware_files.md")
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


def hardware_keys() -> str:
    """Return every key of a platform file, its units and what it says."""
    rows = []
    for section, kind in SECTIONS.items():
        for key, rule in rules_of(kind).items():
            if isinstance(rule, Choice):
                choices = " or ".join(f'`"{one}"`' for one in rule.allowed)
                rows.append((f"`[{section}]` `{key}`", choices, "", rule.meaning))
                continue
            units = ", ".join(f"`{unit}`" for unit in UNITS[rule.unit])
            shape = "range" if rule.shape == "range" else "value"
            rows.append((f"`[{section}.{key}]`", f"{shape} in {units}", allowed(rule), rule.meaning))
    return _markdown(("key", "what it may be", "allowed, in SI units", "what it says"), rows)


def _said(figure: Figure | None, scale: float = 1.0) -> str:
    if figure is None:
        return "–"
    doubt = " ?" if figure.unverified else ""
    if figure.low is None or figure.high is None or figure.unit != "s":
        return f"{figure.number * scale:,.10g}{doubt}"
    return f"{figure.low * scale:.4g} to {figure.high * scale:,.10g}{doubt}"


def hardware_platforms() -> str:
    """Return the packaged platforms, with what limits a network first."""
    rows = []
    for name in available_hardware():
        spec = load_hardware(name)
        biological = 1e3 * spec.speed_up
        low_high = spec.integer_range
        rows.append(
            (
                f"[`{name}`](../hardware_configs/{name}.toml)",
                _said(spec.neurons.circuits),
                _said(spec.neurons.signed_fan_in or spec.neurons.fan_in),
                "any" if low_high is None else f"{low_high[0]:,} to {low_high[1]:,}",
                _said(spec.time.speed_up),
                _said(spec.membrane.tau_m, biological),
                _said(spec.membrane.tau_syn, biological),
                _said(spec.delays.maximum, biological),
            )
        )
    head = ("platform", "neurons a unit", "fan-in", "weights", "speed-up", "tau_m (ms)", "tau_syn (ms)", "delay (ms)")
    return _markdown(head, rows)


TABLES = {"engine_symbols": engine_symbols, "roles": roles, "functions": functions, "models": models}
HARDWARE_TABLES = {"hardware_keys": hardware_keys, "hardware_platforms": hardware_platforms}
#: Pages with the tables that they have.
PAGES = {PAGE: TABLES, HARDWARE_PAGE: HARDWARE_TABLES}


def updated(text: str) -> str:
    """Return a page with its tables as they should be."""
    made = TABLES | HARDWARE_TABLES
    return _TABLE.sub(lambda found: found[1] + made[found["name"]]() + found[3], text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
