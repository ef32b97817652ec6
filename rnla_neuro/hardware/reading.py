"""Reads a platform file: TOML, known keys, units, ranges, and what a kind of platform must say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from rnla_neuro import toml_files
from rnla_neuro.errors import ConfigError, shown, unknown
from rnla_neuro.hardware.consistent import check
from rnla_neuro.hardware.spec import KINDS, SECTIONS, SIMULATORS, Choice, Figure, HardwareSpec, Rule, rules_of
from rnla_neuro.hardware.units import UNITS

Table = dict[str, Any]

_NOT_PLATFORMS: Final = ("energy",)
_FIGURE_KEYS: Final = ("value", "low", "high", "unit", "source", "unverified", "note")
_HEAD: Final = ("name", "title", "summary", "kind", "simulator")
#: What a file must say beside [platform].
_REQUIRED: Final = {
    "ideal": (("time", "speed_up"),),
    "real": (
        ("neurons", "circuits"),
        ("neurons", "model"),
        ("synapses", "sign"),
        ("weights", "bits"),
        ("weights", "maximum"),
        ("weights", "range"),
        ("time", "speed_up"),
        ("plasticity", "updates"),
        ("loop", "mode"),
    ),
}


def available_hardware() -> tuple[str, ...]:
    """Names of the packaged platforms, sorted."""
    from rnla_neuro import resources

    return tuple(sorted(p.stem for p in resources.hardware_dir().glob("*.toml") if p.stem not in _NOT_PLATFORMS))


def load_hardware(name_or_path: str | Path) -> HardwareSpec:
    """Load and check a platform file.

    Args:
        name_or_path: Name of a packaged platform (``"brainscales2"``), or the path of a file (anything with a
            ``/`` or ending in ``.toml``).

    Raises:
        ConfigError: No such platform, the file cannot be read, or something in it is missing, unknown or wrong.
    """
    path = _find(name_or_path)
    return parse_hardware(toml_files.read_text(path, "platform", ConfigError), path)


def parse_hardware(text: str, path: Path) -> HardwareSpec:
    """Read a platform from its text.

    Args:
        text: The TOML text.
        path: Where it comes from, for messages.

    Raises:
        ConfigError: Something in it is missing, unknown or wrong.
    """
    file = path.name
    root = toml_files.parse(text, file, ConfigError)
    for key in root:
        if key not in ("platform", *SECTIONS):
            raise ConfigError(unknown(f"section in {file}", key, ("platform", *SECTIONS)))
    about: dict[str, Any] = _head(root, file)
    made: dict[str, Any] = {name: _section(root.get(name, {}), name, kind, file) for name, kind in SECTIONS.items()}
    spec = HardwareSpec(**about, path=path, text=text, **made)
    _complete(spec, file)
    check(spec, file)
    return spec


def _find(name_or_path: str | Path) -> Path:
    from rnla_neuro import resources

    return toml_files.find(name_or_path, "platform", ConfigError, resources.hardware_dir(), available_hardware())


def _table(table: Any, where: str) -> Table:
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is {shown(table)}, not a section with keys")
    return table


def _head(root: Table, file: str) -> dict[str, str]:
    if "platform" not in root:
        raise ConfigError(f"{file}: [platform] is missing; required: {', '.join(_HEAD)}")
    where = f"{file}: [platform]"
    table = _table(root["platform"], where)
    toml_files.check_keys(table, _HEAD, _HEAD, where, ConfigError)
    for key in _HEAD:
        if not isinstance(table[key], str) or (not table[key].strip() and key != "simulator"):
            raise ConfigError(f"{where} {key} = {shown(table[key])} is not a text")
    if table["kind"] not in KINDS:
        raise ConfigError(unknown(f"kind in {where}", table["kind"], KINDS))
    if table["simulator"] not in ("", *SIMULATORS):
        raise ConfigError(unknown(f"simulator in {where}", table["simulator"], SIMULATORS))
    return {key: table[key] for key in _HEAD}


def _section(table: Any, name: str, kind: type[Any], file: str) -> Any:
    where = f"{file}: [{name}]"
    rules = rules_of(kind)
    made: dict[str, Any] = {}
    for key, entry in _table(table, where).items():
        if key not in rules:
            raise ConfigError(unknown(f"key in {where}", key, rules))
        rule = rules[key]
        if isinstance(rule, Choice):
            if not isinstance(entry, str):
                raise ConfigError(f"{where} {key} = {shown(entry)} is not a text")
            if entry not in rule.allowed:
                raise ConfigError(unknown(f"{key} in {where}", entry, rule.allowed))
            made[key] = entry
        else:
            made[key] = _figure(entry, rule, f"{file}: [{name}.{key}]")
    return kind(**made)


def _figure(entry: Any, rule: Rule, where: str) -> Figure:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} is {shown(entry)}: write a section with value, unit and source")
    needed = ("value",) if rule.shape == "value" else ("low", "high")
    toml_files.check_keys(entry, _FIGURE_KEYS, (*needed, "unit", "source"), where, ConfigError)
    units = UNITS[rule.unit]
    for key in ("unit", "source", "note"):
        if key in entry and (not isinstance(entry[key], str) or not entry[key].strip()):
            raise ConfigError(f"{where} {key} = {shown(entry[key])} is not a text")
    if entry["unit"] not in units:
        raise ConfigError(unknown(f"unit in {where}", entry["unit"], units))
    if not isinstance(entry.get("unverified", False), bool):
        raise ConfigError(f"{where} unverified = {shown(entry['unverified'])}: allowed are true and false")
    factor = units[entry["unit"]]
    value, low, high = (_number(entry, key, factor, rule, where) for key in ("value", "low", "high"))
    if (low is None) != (high is None):
        raise ConfigError(f"{where}: a range needs both low and high")
    if low is not None and high is not None:
        if low > high:
            raise ConfigError(f"{where}: low = {shown(entry['low'])} is above high = {shown(entry['high'])}")
        if value is not None and not low <= value <= high:
            raise ConfigError(f"{where}: value = {shown(entry['value'])} is not between low and high")
    return Figure(value, low, high, rule.unit, entry["source"], entry.get("unverified", False), entry.get("note", ""))


def _number(entry: Table, key: str, factor: float, rule: Rule, where: str) -> float | None:
    if key not in entry:
        return None
    number = entry[key]
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ConfigError(f"{where} {key} = {shown(number)} is not a number")
    try:
        # dividing keeps 10 us at 1e-5: 10 * 1e-6 is another float
        scaled = float(number) / round(1 / factor) if factor < 1 else float(number) * factor
    except OverflowError:
        scaled = math.inf
    if isinstance(number, float) and not math.isfinite(number):
        raise ConfigError(f"{where} {key} = {shown(number)} is not a finite number")
    said = allowed(rule, entry["unit"])
    if rule.is_whole and math.isfinite(scaled) and scaled != int(scaled):
        raise ConfigError(f"{where} {key} = {shown(number)} is not a whole number: allowed is {said}")
    if not (rule.finest <= scaled <= rule.largest or scaled == rule.least):
        raise ConfigError(f"{where} {key} = {shown(number)}: allowed is {said}")
    return scaled


def allowed(rule: Rule, unit: str = "") -> str:
    """Say which numbers a figure may have, in a unit of its kind; by default the SI unit."""
    unit = unit or next(iter(UNITS[rule.unit]))
    lowest = rule.least if rule.is_whole else rule.finest
    ends = [f"{one / UNITS[rule.unit][unit]:.10g}" + f" {unit}" * (unit != "1") for one in (lowest, rule.largest)]
    return ("0, or " if rule.least < lowest else "") + " to ".join(ends)


def _complete(spec: HardwareSpec, file: str) -> None:
    """Refuse a file that lacks what its kind of platform must say."""
    for section, key in _REQUIRED["ideal" if spec.kind == "ideal" else "real"]:
        if not getattr(getattr(spec, section), key):
            raise ConfigError(f"{file}: [{section}] {key} is missing; a platform of kind {spec.kind!r} needs it")
