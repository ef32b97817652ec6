"""Calibration as on the real system: measure each circuit through the chip's own readout, and correct its setting.

A time constant is read off the decay of a voltage, sampled by the converter; a threshold, reset or rest is a voltage
that is read; the strength of a synapse is the height of its effect. Each reading is a whole number with noise, and
readings are averaged, twice as many each time, until what the correction leaves is no more than the platform states.
What the platform leaves beyond our measuring (settings come in steps, circuits drift) is added, so that what is left
has the stated spread: a calibrated chip is never better than its platform file says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rnla_neuro.hardware.emulation.effects import RELATIVE, Spread
from rnla_neuro.hardware.emulation.pattern import limited
from rnla_neuro.hardware.spec import HardwareSpec

FloatArray = npt.NDArray[np.float64]

_SAMPLES: Final = 12  # of a decay
_EVERY: Final = 0.25  # nominal time constants between two of them
_MOST: Final = 256  # readings that are averaged


@dataclass(frozen=True)
class Converter:
    """The converter that a chip is calibrated with, in LSB.

    Attributes:
        low: Lowest reading.
        high: Highest reading.
        noise: Standard deviation of a reading before it is rounded.
        swing: Threshold minus rest, the unit of voltages.
    """

    low: float
    high: float
    noise: float
    swing: float

    def read(self, voltage: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return readings of voltages in LSB."""
        noisy = voltage + self.noise * rng.standard_normal(voltage.shape)
        return np.clip(np.rint(noisy), self.low, self.high)


def converter_of(hardware: HardwareSpec) -> Converter | None:
    """Return the converter of a platform; None: it has none, and what is measured is measured exactly."""
    said, membrane = hardware.readout, hardware.membrane
    if said.bits is None:
        return None
    top = 2.0**said.bits.number - 1
    low = 0.0 if said.low is None else said.low.number
    high = top if said.high is None else said.high.number
    swing = 0.25 * (high - low)
    if membrane.v_threshold is not None and membrane.v_rest is not None:
        given = membrane.v_threshold.number - membrane.v_rest.number
        swing = given if given > 0 else swing
    return Converter(low, high, 0.0 if hardware.noise.readout is None else hardware.noise.readout.number, swing)


def measured(
    quantity: str, deviation: FloatArray, converter: Converter | None, repeats: int, rng: np.random.Generator
) -> FloatArray:
    """Measure deviations through the converter.

    Args:
        quantity: What is measured.
        deviation: Relative ones of time constants and strengths, in units of threshold minus rest of voltages, (n,).
        converter: The converter; None: exact.
        repeats: Readings that are averaged.
        rng: Of the readings' noise; circuit after circuit, so that those of the first n do not depend on n.

    Returns:
        The deviations as measured, (n,).
    """
    if converter is None:
        return deviation.copy()
    if quantity in ("tau_m", "tau_syn"):
        factor = limited(1.0 + deviation)
        at = _EVERY * np.arange(_SAMPLES, dtype=np.float64)
        height = 0.8 * (converter.high - converter.low)
        decay = converter.low + height * np.exp(-at / factor[:, None])
        seen = _averaged(decay, converter, repeats, rng) - converter.low
        return _decay_time(at, seen) - 1.0
    if quantity == "weight":
        base = converter.low + converter.swing * limited(1.0 + deviation)
    else:
        base = 0.5 * (converter.low + converter.high) + converter.swing * deviation
    seen = _averaged(base[:, None], converter, repeats, rng)[:, 0]
    if quantity == "weight":
        return (seen - converter.low) / converter.swing - 1.0
    return (seen - 0.5 * (converter.low + converter.high)) / converter.swing


def _averaged(voltage: FloatArray, converter: Converter, repeats: int, rng: np.random.Generator) -> FloatArray:
    """Return means of readings of voltages (n, samples)."""
    readings = converter.read(np.repeat(voltage[:, None, :], repeats, axis=1), rng)
    return np.asarray(readings.mean(axis=1), dtype=np.float64)


def _decay_time(at: FloatArray, seen: FloatArray) -> FloatArray:
    """Fit an exponential to readings above rest: a line through their logarithms, weighted by their squares."""
    positive = np.maximum(seen, 0.5)
    weight, y = positive**2, np.log(positive)
    mean_t = (weight * at).sum(axis=1) / weight.sum(axis=1)
    mean_y = (weight * y).sum(axis=1) / weight.sum(axis=1)
    t = at - mean_t[:, None]
    slope = (weight * t * (y - mean_y[:, None])).sum(axis=1) / (weight * t * t).sum(axis=1)
    return np.asarray(-1.0 / np.minimum(slope, -1e-3), dtype=np.float64)


def corrected(quantity: str, deviation: FloatArray, found: FloatArray) -> FloatArray:
    """Return what is left of deviations when settings are corrected by what was measured."""
    if quantity in RELATIVE:
        return limited(1.0 + deviation) / limited(1.0 + found) - 1.0
    return deviation - found


@dataclass(frozen=True)
class Plan:
    """How a quantity of a chip is calibrated.

    Attributes:
        quantity: Which.
        spread: Spread before, and the fraction that is to be left.
        repeats: Readings that are averaged.
        error: Spread that measuring and correcting alone leave.
        rest: Spread of what is beyond measuring.
    """

    quantity: str
    spread: Spread
    repeats: int
    error: float
    rest: float

    @property
    def target(self) -> float:
        """Spread that is to be left."""
        return self.spread.before * (1.0 if self.spread.left is None else self.spread.left)


def plan(
    quantity: str, spread: Spread, converter: Converter | None, deviation: FloatArray, rng: np.random.Generator
) -> Plan:
    """Find out on the circuits of a chip how many readings are needed.

    Args:
        quantity: Which.
        spread: Its spread, with the fraction that is to be left.
        converter: The converter.
        deviation: Deviations of the circuits, (n,).
        rng: Of the readings' noise.
    """
    assert spread.left is not None
    target = spread.before * spread.left
    repeats = 1
    while True:
        left = corrected(quantity, deviation, measured(quantity, deviation, converter, repeats, rng))
        error = float(np.sqrt(np.mean(left**2)))
        if error <= target or repeats >= _MOST:
            break
        repeats *= 2
    return Plan(quantity, spread, repeats, error, float(np.sqrt(max(0.0, target**2 - error**2))))


def calibrated(
    how: Plan, converter: Converter | None, deviation: FloatArray, noise: np.random.Generator, rest: FloatArray
) -> FloatArray:
    """Calibrate circuits.

    Args:
        how: From `plan`.
        converter: The converter.
        deviation: Deviations before, (n,).
        noise: Of the readings.
        rest: Standard normal numbers for what is beyond measuring, (n,).

    Returns:
        Deviations after, (n,).
    """
    left = corrected(how.quantity, deviation, measured(how.quantity, deviation, converter, how.repeats, noise))
    return left + how.rest * rest
