"""Numbers as people read them: digits that the interval supports, SI prefixes, a real minus sign."""

from __future__ import annotations

import math
from typing import Final

MISSING: Final = "–"
_THIN: Final = "\u202f"  # a narrow space that is not broken, between thousands and before units
_MINUS: Final = "\u2212"
_PREFIXES: Final = {
    -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T",
}  # fmt: skip
_WITH_PREFIX: Final = ("J", "s", "W", "Hz", "V", "A")
_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, *, decimals: int | None = None, sign: bool = False) -> str:
    """Write a number: 3 significant digits, or as many decimals as are asked for; thousands are spaced.

    >>> number(0.91234), number(-0.5, decimals=2), number(30000), number(4.2e-9)
    ('0.912', '−0.50', '30\u202f000', '4.2×10⁻⁹')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if decimals is None:
        size = abs(value)
        if size and not 1e-3 <= size < 1e7:
            return _power_of_ten(value, sign=sign)
        decimals = 0 if math.isclose(value, round(value), rel_tol=1e-9) else max(0, 2 - _magnitude(size))
    text = f"{value:{'+' if sign else ''},.{max(0, decimals)}f}".replace(",", _THIN)
    if not float(text.replace(_THIN, "")):
        text = text.lstrip("+-")
    return text.replace("-", _MINUS)


def interval(
    mean: float | None, low: float | None, high: float | None, unit: str = "", *, sign: bool = False
) -> tuple[str, str]:
    """Write a mean and its interval with the same digits and unit: as many as the interval supports.

    Args:
        mean: The value; None is missing.
        low: Lower end of its interval; None where there is none (a single seed).
        high: Upper end.
        unit: Unit of all three; those of physics get SI prefixes, a fraction none.
        sign: Write a plus sign, too.

    Returns:
        The mean, and the interval in words; the latter is empty where there is none.

    >>> interval(0.91234, 0.905, 0.9198)
    ('0.912', '0.905 to 0.920')
    >>> interval(3.2e-9, 3.1e-9, 3.3e-9, "J")
    ('3.20 nJ', '3.10 to 3.30 nJ')
    """
    if mean is None or not math.isfinite(mean):
        return MISSING, ""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return quantity(mean, unit, sign=sign), ""
    factor, name = _scale(max(abs(mean), abs(low), abs(high)), unit)
    mean, low, high = mean / factor, low / factor, high / factor
    largest = max(abs(mean), abs(low), abs(high))
    half = (high - low) / 2
    if half <= 0 or largest >= 1e7 or largest < 1e-3:
        texts = [number(value, sign=sign) for value in (mean, low, high)]
    else:
        decimals = min(6, max(0, -_magnitude(half) + (half / 10.0 ** _magnitude(half) < 2.95)))
        texts = [number(value, decimals=decimals, sign=sign) for value in (mean, low, high)]
    suffix = f" {name}" if name else ""
    return texts[0] + suffix, f"{texts[1]} to {texts[2]}{suffix}"


def quantity(value: float | None, unit: str = "", *, sign: bool = False) -> str:
    """Write a number with its unit, and an SI prefix where one is in use.

    >>> quantity(0.0153, "s"), quantity(0.93), quantity(None, "J")
    ('15.3 ms', '0.930', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    factor, name = _scale(abs(value), unit)
    text = number(value / factor, sign=sign)
    return f"{text} {name}" if name else text


def p_value(p: float | None) -> str:
    """Write a p value.

    >>> p_value(0.0123), p_value(1e-9), p_value(None)
    ('0.0123', '< 0.001', '–')
    """
    if p is None or not math.isfinite(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.01 else f"{p:.3g}" if p < 0.1 else f"{p:.2f}"


def round_to(value: float | None, digits: int = 5) -> float | None:
    """Round to significant digits: what a picture shows, at a fraction of the length.

    >>> round_to(0.123456789), round_to(float("nan"))
    (0.12346, None)
    """
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def _magnitude(size: float) -> int:
    """Return the power of ten below a positive number."""
    return math.floor(math.log10(size)) if size > 0 else 0


def _scale(largest: float, unit: str) -> tuple[float, str]:
    """Return what to divide by, and the name of the unit then."""
    if unit in ("", "1", "fraction"):
        return 1.0, ""
    if unit not in _WITH_PREFIX or largest <= 0:
        return 1.0, unit
    power = max(-15, min(12, 3 * math.floor(math.log10(largest) / 3)))
    if unit == "s" and power > 0:  # nobody counts in kiloseconds
        power = 0
    return 10.0**power, _PREFIXES[power] + unit


def _power_of_ten(value: float, *, sign: bool) -> str:
    """Write very small and very large numbers."""
    mantissa, exponent = f"{value:{'+' if sign else ''}.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", _MINUS)
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
