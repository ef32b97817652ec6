"""What a fit came to: a line for everything that a network asks of a platform, and every rounding with its size."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.demand import PopulationDemand
from rnla_neuro.hardware.placement import Placement
from rnla_neuro.hardware.spec import Figure, HardwareSpec


class Verdict(StrEnum):
    """What a line says."""

    FITS = "fits"
    ROUNDED = "rounded"  # it fits, changed by a rounding
    HOST = "host"  # not on the chip: the host or a processor beside it does it
    EMULATED = "emulated"  # the chip itself has not got it; the emulated chip runs it
    EXCEEDS = "exceeds"  # it does not fit


@dataclass(frozen=True)
class Line:
    """Something that a network asks, beside what the platform has.

    Attributes:
        key: Its name for scripts.
        what: Its name in words.
        used: How much is asked; None: it is no number.
        low: The least that the platform has.
        high: The most that it has; None: no limit.
        unit: ``1`` for counts and model units, ``s``, ``Hz`` or ``LSB``.
        verdict: Whether that fits.
        note: What else is worth knowing.
        unverified: Whether a figure of the platform file was marked so.
    """

    key: str
    what: str
    used: float | None
    low: float | None
    high: float | None
    unit: str
    verdict: Verdict
    note: str = ""
    unverified: bool = False


@dataclass(frozen=True)
class Rounding:
    """A change that the platform makes to a value.

    Attributes:
        key: Its name for scripts.
        what: Its name in words.
        largest: Largest change, in `unit`; None: it has no bound.
        rms: Root of the mean squared change; None for a single value.
        relative: `rms` (of a single value: `largest`) over the size of what is changed; None: it has none.
        unit: As `Line.unit`.
        note: In words.
        unverified: Whether a figure of the platform file was marked so.
    """

    key: str
    what: str
    largest: float | None
    rms: float | None
    relative: float | None
    unit: str
    note: str = ""
    unverified: bool = False


@dataclass(frozen=True)
class FitReport:
    """Whether a network fits a platform.

    Attributes:
        platform: The platform.
        model: Name of the model.
        sizes: Neurons per layer.
        lines: Everything that was looked at.
        roundings: Every rounding, with its size.
        populations: What each population asks.
        placement: Where it would lie; None: the platform counts no circuits.
    """

    platform: HardwareSpec
    model: str
    sizes: tuple[int, ...]
    lines: tuple[Line, ...]
    roundings: tuple[Rounding, ...]
    populations: tuple[PopulationDemand, ...]
    placement: Placement | None

    @property
    def exceeded(self) -> tuple[Line, ...]:
        """The lines that do not fit, neither on the chip nor emulated."""
        return tuple(line for line in self.lines if line.verdict == Verdict.EXCEEDS)

    @property
    def off_chip(self) -> tuple[Line, ...]:
        """The lines that only the emulated chip runs."""
        return tuple(line for line in self.lines if line.verdict == Verdict.EMULATED)

    @property
    def fits_emulated(self) -> bool:
        """Whether the emulated chip takes it."""
        return not self.exceeded

    @property
    def fits(self) -> bool:
        """Whether the chip itself takes it."""
        return not self.exceeded and not self.off_chip

    def line(self, key: str) -> Line | None:
        """Return a line by its key."""
        return next((line for line in self.lines if line.key == key), None)

    def refuse(self, *, emulated: bool = False) -> None:
        """Raise if the network does not fit.

        Args:
            emulated: Only what the emulated chip cannot run counts.

        Raises:
            ConfigError: It names what does not fit, how much is asked and what there is.
        """
        wrong = self.exceeded if emulated else (*self.exceeded, *self.off_chip)
        if not wrong:
            return
        sizes = "-".join(map(str, self.sizes))
        reasons = "; ".join(f"{line.what}: {in_words(line)}" for line in wrong)
        raise ConfigError(
            f"{self.model} {sizes} does not fit {self.platform.title} ({self.platform.path.name}): {reasons}; "
            f"'rnla check {self.model} --hardware {self.platform.name}' says which change is enough"
        )


def in_words(line: Line) -> str:
    """Say a line without its verdict."""
    there = available(line)
    numbers = f"{quantity(line.used, line.unit)} asked, {there} available" if line.used is not None and there else ""
    return ", ".join(part for part in (numbers, line.note) if part)


def available(line: Line) -> str:
    """Say what the platform has; empty: nothing that has a number."""
    if line.low is None and line.high is None:
        return ""
    if line.low is None:
        return quantity(line.high, line.unit)
    if line.high is None:
        return f"from {quantity(line.low, line.unit)}"
    return f"{quantity(line.low, line.unit)} to {quantity(line.high, line.unit)}"


_PREFIXES: Final = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def quantity(value: float | None, unit: str) -> str:
    """Write a number with its unit.

    >>> quantity(512, "1"), quantity(0.0005, "s"), quantity(3.2e7, "Hz"), quantity(None, "s")
    ('512', '0.5 ms', '32 MHz', '')
    """
    if value is None:
        return ""
    if unit == "s" and value:
        factor, prefix = next((one for one in _PREFIXES if abs(value) >= 0.1 * one[0]), _PREFIXES[-1])
        return f"{value / factor:.4g} {prefix}s"
    if unit == "Hz":
        for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= factor:
                return f"{value / factor:.4g} {prefix}Hz"
    number = f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return number if unit == "1" else f"{number} {unit}"


def marked(*figures: Figure | None) -> bool:
    """Whether any of some figures is unverified."""
    return any(figure is not None and figure.unverified for figure in figures)


def number(figure: Figure | None) -> float | None:
    """Return the value of a figure, or None."""
    return None if figure is None else figure.number
