"""The rule: its scales, how host numbers become its integers, and what it needs of the processor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: Columns of a row of synapses, and so lanes of a row of vectors (two vectors of 128).
COLUMNS: Final = 256
#: Largest integer of a weight, and of a trace or a factor.
WEIGHT_MAX: Final = 63
FACTOR_MAX: Final = 127
#: Bits that one random byte rounds when a product is shifted: lanes of 8 bit are shifted by 1 to 7.
SHIFT_BITS: Final = 7
#: Shifts that the kernel knows: a product is halved so often (two random bytes), or doubled once (-1).
SHIFTS: Final = range(-1, 2 * SHIFT_BITS + 1)


@dataclass(frozen=True)
class Modulator:
    """Learning rate times neuromodulator in fixed point: a weight changes by ``mantissa/2**(8 + shift)`` of its trace.

    Attributes:
        mantissa: From -127 to 127.
        shift: One of `SHIFTS`.
    """

    mantissa: int
    shift: int

    def __post_init__(self) -> None:
        if abs(self.mantissa) > FACTOR_MAX:
            raise ConfigError(f"mantissa {self.mantissa}: allowed are -{FACTOR_MAX} to {FACTOR_MAX}")
        if self.shift not in SHIFTS:
            raise ConfigError(f"shift {self.shift}: allowed are {SHIFTS.start} to {SHIFTS.stop - 1}")

    @property
    def value(self) -> float:
        """Integer weights per integer of the trace."""
        return self.mantissa / 2.0 ** (8 + self.shift)


@dataclass(frozen=True)
class PpuRule:
    """A projection's three-factor rule on the processor.

    A call may let the traces take up a product, change the weights, or both, in this order::

        E <- E - loss(E) + pre*post        E in -127..127, saturating, stochastically rounded
        w <- w + modulator*E               w in -63..63, saturating, stochastically rounded

    Attributes:
        n_pre: Presynaptic neurons with the bias unit, if there is one: pairs of rows.
        n_post: Postsynaptic neurons: columns.
        step: Weight of the model that one integer stands for.
        pre: Presynaptic rate of the model that 127 stands for.
        post: Postsynaptic factor (error) that 127 stands for.
        keep: What a trace keeps at a call that takes something up, in 1/128: 127 is a slow trace, 0 none.
        name: Ends the names of the kernel's variables, so that several rules can be in one program.
    """

    n_pre: int
    n_post: int
    step: float
    pre: float = 1.0
    post: float = 1.0
    keep: int = 127
    name: str = "rule"

    def __post_init__(self) -> None:
        for key, limit in (("n_pre", COLUMNS // 2), ("n_post", COLUMNS)):
            if not 1 <= getattr(self, key) <= limit:
                raise ConfigError(f"PpuRule {key} = {getattr(self, key)}: allowed are 1 to {limit}")
        for key in ("step", "pre", "post"):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) > 0):
                raise ConfigError(f"PpuRule {key} = {getattr(self, key)}: it must be above 0")
        if not 0 <= self.keep <= FACTOR_MAX:
            raise ConfigError(f"PpuRule keep = {self.keep}: allowed are 0 to {FACTOR_MAX}")
        if not (self.name.isidentifier() and self.name.isascii()):
            raise ConfigError(f"PpuRule name = {self.name!r}: it becomes part of a C++ name")

    @property
    def trace_unit(self) -> float:
        """The product of rate and error that one integer of a trace stands for: 127*127/128 integers are pre*post."""
        return self.pre * self.post * 128 / FACTOR_MAX**2

    def modulator(self, change_per_trace: float) -> Modulator:
        """Return the modulator for a weight change (model weight) per trace (rate times error), the nearest there is.

        Args:
            change_per_trace: Learning rate times neuromodulator: ``dw = change_per_trace * E``.

        Raises:
            ConfigError: It is not finite.
        """
        if not math.isfinite(change_per_trace):
            raise ConfigError(f"modulator {change_per_trace}: it must be a finite number")
        wanted = abs(change_per_trace) * self.trace_unit / self.step * 256
        # as many bits of the mantissa as there are: the largest shift with which it is below 128
        shift = next((s for s in reversed(SHIFTS) if round(wanted * 2.0**s) <= FACTOR_MAX), SHIFTS.start)
        mantissa = min(round(wanted * 2.0**shift), FACTOR_MAX)
        return Modulator(int(math.copysign(mantissa, change_per_trace)), shift)

    def factors(self, rate: FloatArray, error: FloatArray) -> tuple[Int64, Int64]:
        """Return a rate (..., n_pre) and an error (..., n_post) as integers from -127 to 127, rounded and saturated."""
        return _integers(rate, self.pre), _integers(error, self.post)

    def traces(self, product: FloatArray) -> Int64:
        """Return traces (rate times error) as integers from -127 to 127, rounded and saturated."""
        return np.clip(np.rint(product / self.trace_unit), -FACTOR_MAX, FACTOR_MAX).astype(np.int64)

    @property
    def memory(self) -> int:
        """Bytes of the traces, a row of 256 lanes a presynaptic neuron, and of what the host writes."""
        return COLUMNS * self.n_pre + self.n_pre + COLUMNS + 16


def _integers(values: FloatArray, full: float) -> Int64:
    return np.clip(np.rint(values * (FACTOR_MAX / full)), -FACTOR_MAX, FACTOR_MAX).astype(np.int64)
