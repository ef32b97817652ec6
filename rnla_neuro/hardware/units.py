"""The units that a platform file may use: a closed list, each with its factor to SI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_TIME: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_RATE: Final = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}
_POWER: Final = {"W": 1.0, "mW": 1e-3, "uW": 1e-6}
_ENERGY: Final = {"J": 1.0, "uJ": 1e-6, "nJ": 1e-9, "pJ": 1e-12, "fJ": 1e-15}
_MEMORY: Final = {"byte": 1.0, "KiB": 1024.0, "MiB": 1048576.0}

#: SI unit of a kind of figure -> the units in which it may be written, each with its factor.
UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    "1": {"1": 1.0, "%": 0.01},
    "count": {"1": 1.0},
    "bit": {"bit": 1.0},
    "LSB": {"LSB": 1.0},
    "s": _TIME,
    "Hz": _RATE,
    "W": _POWER,
    "J": _ENERGY,
    "byte": _MEMORY,
}
