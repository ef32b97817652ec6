"""Random numbers that every engine draws alike: a hash of the seed, the neuron and the step, no generator's state.

A spiking model's ``chance`` is a new number in [0, 1) for every neuron at every step. Counting instead of drawing
makes it the same in numpy, C++ and CUDA, to the bit, whatever the order in which neurons are visited, and in float32
as in float64: it has 24 bits. The hash is `pcg3d` of M. Jarzynski and M. Olano, "Hash Functions for GPU Rendering",
Journal of Computer Graphics Techniques 9(3), 2020: a bijection of 96 bits, on 32-bit unsigned integers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

UInt32Array = npt.NDArray[np.uint32]

#: Steps of silent trials count from here, so that looking at a network does not change what it draws afterwards.
SILENT: Final = 2**31
_MASK: Final = 2**32 - 1
_SCALE: Final = 2.0**-24

#: The same in C++ and CUDA: `rnla_chance` and `rnla_chance_key` are `chance` and `chance_key`.
CPP: Final = """
#ifndef RNLA_CHANCE
#define RNLA_CHANCE
#include <cstdint>
#if defined(__CUDACC__)
#define RNLA_CHANCE_CALL __host__ __device__ inline
#else
#define RNLA_CHANCE_CALL inline
#endif
// A number in [0, 1) for a neuron at a step, of 24 bits, so that a float holds it as a double does.
RNLA_CHANCE_CALL double rnla_chance(std::uint32_t key, std::uint32_t neuron, std::uint32_t step) {
    std::uint32_t x = step * 1664525u + 1013904223u;
    std::uint32_t y = neuron * 1664525u + 1013904223u;
    std::uint32_t z = key * 1664525u + 1013904223u;
    x += y * z; y += z * x; z += x * y;
    x ^= x >> 16; y ^= y >> 16; z ^= z >> 16;
    x += y * z; y += z * x; z += x * y;
    return double(std::int32_t((z ^ (z >> 16)) >> 8)) * 5.9604644775390625e-8;  // signed: what vectors convert
}
RNLA_CHANCE_CALL std::uint32_t rnla_chance_key(std::uint64_t seed) {
    return std::uint32_t(seed) ^ (std::uint32_t(seed >> 32) * 2654435769u);
}
#endif
"""


def chance_key(seed: int) -> int:
    """Return the 32 bits of a seed (0 to 2**63 - 1) that the hash takes; different seeds below 2**32 differ."""
    return (seed & _MASK) ^ (((seed >> 32) * 2654435769) & _MASK)


def chance(key: npt.ArrayLike, neurons: npt.ArrayLike, steps: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the numbers in [0, 1) of neurons at steps; arrays are broadcast against each other.

    Args:
        key: `chance_key` of the agent's seed.
        neurons: Indices of neurons: inputs first, then layer after layer, then interneurons by hidden layer.
        steps: Number of the step since the start, from `SILENT` on in silent trials.
    """
    with np.errstate(over="ignore"):
        x = _spread(np.asarray(steps))
        y = _spread(np.asarray(neurons))
        z = _spread(np.asarray(key))
        x = x + y * z
        y = y + z * x
        z = z + x * y
        x, y, z = (value ^ (value >> np.uint32(16)) for value in (x, y, z))
        x = x + y * z
        y = y + z * x
        z = z + x * y
        z = z ^ (z >> np.uint32(16))
    return np.asarray((z >> np.uint32(8)) * _SCALE, dtype=np.float64)


def _spread(values: npt.NDArray[np.generic]) -> UInt32Array:
    """Take one step of a linear congruential generator from each value, modulo 2**32."""
    kept: UInt32Array = (values.astype(np.int64) & _MASK).astype(np.uint32)
    return kept * np.uint32(1664525) + np.uint32(1013904223)
