"""What the figures of a platform must say of each other."""

from __future__ import annotations

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.spec import SECTIONS, Figure, HardwareSpec

#: (section, key, section, key): the first figure is not above the second.
_ORDERED = (
    ("neurons", "signed_fan_in", "neurons", "fan_in"),
    ("neurons", "merge_max", "neurons", "circuits"),
    ("delays", "minimum", "delays", "maximum"),
    ("readout", "low", "readout", "high"),
)


def check(spec: HardwareSpec, file: str) -> None:
    """Refuse figures that contradict each other.

    Raises:
        ConfigError: They do; the message names both.
    """
    for section, key, other_section, other_key in _ORDERED:
        small, large = _get(spec, section, key), _get(spec, other_section, other_key)
        if small is not None and large is not None and small.number > large.number:
            raise ConfigError(
                f"{file}: [{section}.{key}] = {_said(small)} is above [{other_section}.{other_key}] = {_said(large)}"
            )
    _bits(spec, file)
    _together(spec, file)


def _get(spec: HardwareSpec, section: str, key: str) -> Figure | None:
    found: Figure | None = getattr(getattr(spec, section), key)
    return found


def _said(figure: Figure) -> str:
    return f"{figure.number:g}" if figure.unit in ("1", "count") else f"{figure.number:g} {figure.unit}"


def _bits(spec: HardwareSpec, file: str) -> None:
    for section, bits, key in (("weights", "bits", "maximum"), ("readout", "bits", "high")):
        width, largest = _get(spec, section, bits), _get(spec, section, key)
        if width is None or largest is None:
            continue
        room = 2 ** int(width.number) - 1
        if largest.number > room:
            raise ConfigError(
                f"{file}: [{section}.{key}] = {largest.number:g} is above {room}, the largest integer of "
                f"[{section}.{bits}] = {width.number:g}"
            )


def _together(spec: HardwareSpec, file: str) -> None:
    """Refuse half a description: a residual without its spread, an end of the readout without the other."""
    for key in SECTIONS["calibration"].__dataclass_fields__:
        if _get(spec, "calibration", key) is not None and _get(spec, "mismatch", key) is None:
            raise ConfigError(
                f"{file}: [calibration.{key}] is a fraction of [mismatch.{key}], which is missing; add it"
            )
    for section, keys in (("readout", ("bits", "low", "high", "span")), ("delays", ("minimum", "maximum"))):
        there = [key for key in keys if _get(spec, section, key) is not None]
        missing = [key for key in keys if key not in there]
        if there and missing:
            raise ConfigError(f"{file}: [{section}.{missing[0]}] is missing; {there[0]} needs {', '.join(keys)}")
