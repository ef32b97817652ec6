"""What a decision would cost on a platform, from ``hardware_configs/energy.toml``."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rnla_neuro.analysis.comparison import Energy
from rnla_neuro.errors import ConfigError, unknown
from rnla_neuro.resources import hardware_dir
from rnla_neuro.toml_files import check_keys

_UNITS: Final = {
    "operation": {"fJ": 1e-15, "pJ": 1e-12, "nJ": 1e-9, "J": 1.0},
    "power": {"mW": 1e-3, "W": 1.0},
    "speed_up": {"1": 1.0},
    "capacity": {"neurons": 1.0},
}
KINDS: Final = ("rate", "spiking", "baseline")
_TIMES: Final = ("biological", "wall")
_KEYS: Final = ("name", "summary", "runs", "time", *_UNITS)
_FIGURE_KEYS: Final = ("value", "unit", "source", "low", "high", "unverified")


@dataclass(frozen=True)
class Figure:
    """A number of a platform, in SI units.

    Attributes:
        value: The number.
        low: Lower end of its range; the number where it has none.
        high: Upper end.
        source: Where it is from.
        verified: Whether the source was read.
    """

    value: float
    low: float
    high: float
    source: str
    verified: bool


@dataclass(frozen=True)
class Platform:
    """A platform.

    Attributes:
        name: Its name.
        summary: What the estimate covers.
        runs: Kinds of model that it runs.
        time: For which time its power is drawn: ``biological`` or ``wall``.
        figures: By name: ``operation``, ``power``, ``speed_up``, ``capacity``.
    """

    name: str
    summary: str
    runs: tuple[str, ...]
    time: str
    figures: Mapping[str, Figure]

    def estimate(
        self, kind: str, operations: float | None, biological: float | None, wall: float | None, neurons: int
    ) -> Energy | None:
        """Return the energy of a decision; None: the platform does not run this kind, or a number is missing.

        Args:
            kind: ``rate``, ``spiking`` or ``baseline``.
            operations: Synaptic operations of a decision.
            biological: Biological seconds of a decision.
            wall: Seconds of a decision on this machine.
            neurons: Neurons of the network, without the inputs.
        """
        if kind not in self.runs:
            return None
        seconds = wall if self.time == "wall" else biological
        if ("operation" in self.figures and operations is None) or ("power" in self.figures and seconds is None):
            return None

        def joule(end: str) -> float:
            number = {name: float(getattr(figure, end)) for name, figure in self.figures.items()}
            units = math.ceil(neurons / number["capacity"]) if "capacity" in number else 1
            drawn = units * number.get("power", 0.0) * (seconds or 0.0) / number.get("speed_up", 1.0)
            return number.get("operation", 0.0) * (operations or 0.0) + drawn

        ranged = any(figure.low != figure.high for figure in self.figures.values())
        verified = all(figure.verified for figure in self.figures.values())
        doubtful = ", ".join(name for name, figure in self.figures.items() if not figure.verified)
        sources = "; ".join(figure.source for figure in self.figures.values())
        return Energy(
            platform=self.name,
            joule=joule("value"),
            source=f"{self.summary}. {sources}" + ("" if verified else f" (not verified: {doubtful})"),
            low=joule("low") if ranged else None,
            high=joule("high") if ranged else None,
            verified=verified,
        )


def platforms(path: Path | None = None) -> tuple[Platform, ...]:
    """Read the platforms of a file; by default those that come with the package.

    Raises:
        ConfigError: The file cannot be read, or something in it is missing or unknown.
    """
    file = path or hardware_dir() / "energy.toml"
    try:
        about = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    return tuple(
        _platform(table, f"{file.name}: platform {k + 1}") for k, table in enumerate(about.get("platform", []))
    )


def _platform(table: Mapping[str, Any], where: str) -> Platform:
    check_keys(table, _KEYS, ("name", "summary", "runs"), where, ConfigError)
    for kind in table["runs"]:
        if kind not in KINDS:
            raise ConfigError(unknown(f"kind in {where} runs", kind, KINDS))
    figures = {name: _figure(table[name], name, f"{where} {name}") for name in _UNITS if name in table}
    time = str(table.get("time", "biological"))
    if time not in _TIMES:
        raise ConfigError(unknown(f"time in {where}", time, _TIMES))
    if not {"operation", "power"} & set(figures):
        raise ConfigError(f"{where}: neither 'operation' nor 'power': there is nothing to estimate from")
    return Platform(str(table["name"]), str(table["summary"]), tuple(table["runs"]), time, figures)


def _figure(table: Mapping[str, Any], name: str, where: str) -> Figure:
    check_keys(table, _FIGURE_KEYS, ("value", "unit", "source"), where, ConfigError)
    if table["unit"] not in _UNITS[name]:
        raise ConfigError(unknown(f"unit in {where}", str(table["unit"]), _UNITS[name]))
    factor = _UNITS[name][table["unit"]]
    value, low, high = (table.get(key, table["value"]) for key in ("value", "low", "high"))
    for number in (value, low, high):
        if isinstance(number, bool) or not isinstance(number, int | float) or not number > 0:
            raise ConfigError(f"{where}: {number!r} is not a number above 0")
    return Figure(value * factor, low * factor, high * factor, str(table["source"]), not table.get("unverified", False))
