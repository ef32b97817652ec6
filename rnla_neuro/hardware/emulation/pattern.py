"""The fixed pattern of a chip: how much each circuit and each synapse differs from what it should be.

Every number comes from the chip's seed, the quantity, the population and the neuron's index in it alone. So a chip is
the same again whatever network runs on it: a neuron has the same time constant when another layer grows, on every
backend, and beside other agents.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: A factor of a time constant or a strength is never below this: a circuit that is slower still is a broken one.
SMALLEST: Final = 0.05


def stream(seed: int, *names: object) -> np.random.SeedSequence:
    """Return the source of chance that a seed and some names determine, independent of those of other names."""
    return np.random.SeedSequence([int(seed), *(zlib.crc32(str(name).encode()) for name in names)])


def of_neurons(seed: int, quantity: str, population: str, size: int) -> FloatArray:
    """Return deviations of the neurons of a population, standard normal, shape (size,).

    Args:
        seed: Of the chip.
        quantity: What deviates, such as ``tau_m``.
        population: Name of the population, such as ``hidden1``.
        size: Number of neurons; those of a smaller population are the first ones of these.
    """
    return np.random.default_rng(stream(seed, quantity, population)).standard_normal(size)


def of_synapses(seed: int, projection: str, sign: str, shape: tuple[int, int], bias: bool) -> FloatArray:
    """Return deviations of the synapses of a projection, standard normal, shape (n_post, columns).

    Those of a neuron depend on its index alone, and on no size: a wider layer before it only adds synapses.

    Args:
        seed: Of the chip.
        projection: Its name, such as ``hidden1``, for the population after it.
        sign: ``positive`` or ``negative``, which of a pair.
        shape: Neurons after, and columns: neurons before, and the bias.
        bias: Whether the last column is the bias.
    """
    rows, columns = shape
    found = np.empty(shape)
    for row in range(rows):
        source = np.random.default_rng(stream(seed, "weight", projection, sign, row))
        if bias:
            found[row, -1] = source.standard_normal()
        found[row, : columns - bias] = source.standard_normal(columns - bias)
    return found


def limited(factor: FloatArray) -> FloatArray:
    """Return factors of time constants and strengths, none below `SMALLEST`."""
    return np.maximum(factor, SMALLEST)
