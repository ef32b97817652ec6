"""The rule's integers in numpy, lane by lane as the kernel computes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.ppu.rule import FACTOR_MAX, SHIFT_BITS, WEIGHT_MAX, Modulator, PpuRule

Int64 = npt.NDArray[np.int64]


class Xorshift:
    """Marsaglia's 32-bit xorshift (2003): the processor draws a number a row, and its lanes make theirs of it."""

    def __init__(self, seed: int) -> None:
        if not 0 < seed < 2**32:
            raise ConfigError(f"seed {seed} of the plasticity processor: allowed are 1 to {2**32 - 1}")
        self.state = seed

    def draw(self) -> int:
        """Return the next number, from 1 to 2**32 - 1."""
        x = self.state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self.state = x
        return x


def lanes_random(key: int | Int64, columns: Int64) -> Int64:
    """Return 8 random bits a lane, made of a 32-bit key by additions, products and shifts of 8-bit lanes.

    A permutation of the 256 values over the 256 lanes, another one for each key.
    """
    k0, k1, k2, k3 = ((key >> shift) & 0xFF for shift in (0, 8, 16, 24))
    x = ((columns + k0) * (k1 | 1)) & 0xFF
    high = x >> 4
    low = x & 15
    x = (high + ((low + high * (k2 | 1)) << 4)) & 0xFF
    return ((x + k3) * (k0 | 1)) & 0xFF


def shift_steps(shift: int) -> list[int]:
    """Return the shifts to the right, 1 to 7 each, that make up a shift: one random byte each."""
    return [min(SHIFT_BITS, shift - done) for done in range(0, shift, SHIFT_BITS)]


def scaled(magnitude: Int64, factor: int | Int64, shift: int, random: Sequence[int | Int64]) -> Int64:
    """Return ``magnitude*factor/2**(8 + shift)``, rounded stochastically without bias; both factors from 0 to 127.

    The kernel does it in 8 bits: the product's high and low byte from nibbles, then each shift to the right after as
    many random bits were added as it moves out. All steps together are ``floor((product + r)/2**(8 + shift))`` with
    r uniform in 0 to 2**(8 + shift) - 1. The largest sum, 2*127*127 + 255, is below 2**16: nothing overflows.

    Args:
        magnitude: One factor, a lane.
        factor: The other one.
        shift: One of `SHIFTS`.
        random: Random bytes, a lane: one for each of `shift_steps`, then one for the last 8 bits.
    """
    product = magnitude * factor
    if shift < 0:
        product = product << 1
    *lost, last = random
    for by, byte in zip(shift_steps(shift), lost, strict=True):
        product = (product + (byte >> (8 - by))) >> by
    return (product + last) >> 8


class PpuTwin:
    """What the processor holds, and its kernel call by call.

    Attributes:
        rule: The rule.
        traces: Integers of the traces, shape (n_pre, n_post).
        weights: Integers of the signed weights, shape (n_pre, n_post).
        saturated: Weights that an update would have moved beyond the largest integer, counted.
    """

    def __init__(self, rule: PpuRule, weights: Int64, seed: int = 1) -> None:
        weights = np.asarray(weights, dtype=np.int64)
        if weights.shape != (rule.n_pre, rule.n_post):
            raise ConfigError(
                f"weights of shape {weights.shape}: the rule has (n_pre, n_post) = {rule.n_pre, rule.n_post}"
            )
        if np.abs(weights).max(initial=0) > WEIGHT_MAX:
            raise ConfigError(f"an integer weight is beyond -{WEIGHT_MAX} to {WEIGHT_MAX}")
        self.rule, self.weights = rule, weights.copy()
        self.traces: Int64 = np.zeros_like(self.weights)
        self.saturated = 0
        self._random = Xorshift(seed)
        self._columns = np.arange(rule.n_post, dtype=np.int64)

    def _lanes(self, draws: int) -> list[Int64]:
        """Return the random bytes of all rows, (n_pre, n_post), for each of the draws that a row makes in turn."""
        keys = np.array([self._random.draw() for _ in range(self.rule.n_pre * draws)], dtype=np.int64)
        return [lanes_random(keys[k::draws, None], self._columns) for k in range(draws)]

    def accumulate(self, pre: Int64, post: Int64) -> None:
        """Let the traces decay and take up the product of two factors, integers from -127 to 127.

        Args:
            pre: Shape (n_pre,).
            post: Shape (n_post,).
        """
        pre_, post_ = np.asarray(pre, dtype=np.int64)[:, None], np.asarray(post, dtype=np.int64)
        decays, products = self._lanes(2)
        kept = np.sign(self.traces) * scaled(np.abs(self.traces), self.rule.keep, -1, [decays])
        gained = np.sign(pre_) * np.sign(post_) * scaled(np.abs(post_), np.abs(pre_), -1, [products])
        self.traces = np.clip(kept + gained, -FACTOR_MAX, FACTOR_MAX)

    def update(self, modulator: Modulator) -> None:
        """Change the weights by modulator times trace."""
        random = self._lanes(len(shift_steps(modulator.shift)) + 1)
        size = scaled(np.abs(self.traces), abs(modulator.mantissa), modulator.shift, random)
        wanted = self.weights + (1 if modulator.mantissa >= 0 else -1) * np.sign(self.traces) * size
        self.saturated += int(np.count_nonzero(np.abs(wanted) > WEIGHT_MAX))
        self.weights = np.clip(wanted, -WEIGHT_MAX, WEIGHT_MAX)

    def pairs(self) -> tuple[Int64, Int64]:
        """Return the weights as the synapses have them: excitatory and inhibitory, each 0 to 63."""
        return np.maximum(self.weights, 0), np.maximum(-self.weights, 0)
