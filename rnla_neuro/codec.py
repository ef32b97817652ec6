"""From Gymnasium observations to the inputs of a network.

| observation space | inputs |
|---|---|
| Box | flattened; boxes of integers (images) scaled to -1…1, others as they are unless asked for |
| Discrete(n) | n, one-hot |
| MultiBinary | flattened, -1 and +1 |
| MultiDiscrete | one one-hot group a component |

Another space needs a codec of your own: a subclass of `Codec` with `n_in` and `encode`, given to the bridge
or the agent as ``codec=``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnla_neuro.errors import TaskError

if TYPE_CHECKING:
    import gymnasium as gym

FloatArray = NDArray[np.float64]


class Codec(ABC):
    """Turns a batch of observations into inputs.

    Attributes:
        n_in: Number of inputs.
    """

    n_in: int

    @abstractmethod
    def encode(self, batch: Any) -> FloatArray:
        """Encode observations.

        Args:
            batch: A observations, as a Gymnasium vector environment batches them: (A, …) for arrays.

        Returns:
            Inputs, shape (A, n_in). They may share memory with `batch`.
        """

    @staticmethod
    def for_space(space: gym.Space[Any], scale: bool | None = None) -> Codec:
        """Return the codec for the observations of one environment.

        Args:
            space: Observation space of a single environment.
            scale: Whether to scale each input of a Box that is bounded on both sides to -1…1;
                None: only where the Box holds integers.

        Raises:
            TaskError: There is no codec for such a space.
        """
        from gymnasium import spaces

        from rnla_neuro.tasks.tracking import Signal

        if isinstance(space, Signal):
            return SignalCodec(space.shape[1])
        if isinstance(space, spaces.Box):
            return BoxCodec(space.low, space.high, space.dtype.kind in "iub" if scale is None else scale)
        if isinstance(space, spaces.Discrete):
            return OneHotCodec([int(space.n)], [int(space.start)])
        if isinstance(space, spaces.MultiDiscrete):
            return OneHotCodec(space.nvec.ravel(), np.asarray(space.start).ravel())
        if isinstance(space, spaces.MultiBinary):
            return SignCodec(int(np.prod(space.shape)))
        raise TaskError(
            f"no codec for the observation space {space}: allowed are Box, Discrete, MultiBinary and "
            "MultiDiscrete; for another, give codec=, an object of a subclass of rnla_neuro.Codec with n_in "
            "and encode(batch) -> (A, n_in), or wrap the environment (gymnasium.wrappers.FlattenObservation)"
        )


class BoxCodec(Codec):
    """Flattens arrays; with `scale` each input with two finite bounds goes from -1 to 1.

    Args:
        low: Lower bounds, in the shape of one observation.
        high: Upper bounds.
        scale: Whether to scale.
    """

    def __init__(self, low: ArrayLike, high: ArrayLike, scale: bool = False) -> None:
        lows = np.asarray(low, dtype=np.float64).ravel()
        highs = np.asarray(high, dtype=np.float64).ravel()
        self.n_in = lows.size
        if self.n_in == 0:
            raise TaskError("an observation without any number cannot be encoded")
        self._shift: FloatArray | None = None
        if scale:
            bounded = np.isfinite(lows) & np.isfinite(highs) & (highs > lows)
            with np.errstate(invalid="ignore"):  # inf - inf of the inputs that are left alone
                self._shift = np.where(bounded, lows / 2.0 + highs / 2.0, 0.0)
                self._factor = 1.0 / np.where(bounded, highs / 2.0 - lows / 2.0, 1.0)

    def encode(self, batch: Any) -> FloatArray:
        """Flatten (A, …) to (A, n_in)."""
        array = np.asarray(batch)
        if array.ndim != 2:
            array = array.reshape(len(array), -1)
        if array.dtype != np.float64:
            array = array.astype(np.float64)
        return array if self._shift is None else (array - self._shift) * self._factor


class PopulationCodec(Codec):
    """Represents each input by a population of neurons with Gaussian tuning curves (a population code).

    The preferred values are evenly spaced from -1 to 1, and the width of a curve is their distance. A neuron whose
    preferred value is shown gets 1, one far from it -1: `population_code`.

    Args:
        inner: From observations to the values that are represented; they should lie between -1 and 1.
        count: Neurons a value, at least 2.
    """

    def __init__(self, inner: Codec, count: int) -> None:
        self._inner, self._count = inner, count
        self.n_in = inner.n_in * count

    def encode(self, batch: Any) -> FloatArray:
        """Encode observations, inputs of (A, n_in): the neurons of the first value, then those of the second, …."""
        return population_code(self._inner.encode(batch), self._count)


def population_code(values: FloatArray, count: int) -> FloatArray:
    """Return the inputs (…, n*count) of populations that represent values (…, n); see `PopulationCodec`."""
    preferred = np.linspace(-1.0, 1.0, count)
    width = 2.0 / (count - 1)
    curves = 2.0 * np.exp(-0.5 * ((values[..., None] - preferred) / width) ** 2) - 1.0
    return np.asarray(curves.reshape(*values.shape[:-1], values.shape[-1] * count))


class SignalCodec(Codec):
    """Leaves samples of a signal over a trial as they are.

    Args:
        n: Number of inputs.
    """

    def __init__(self, n: int) -> None:
        self.n_in = n

    def encode(self, batch: Any) -> FloatArray:
        """Return (A, S, n_in) samples."""
        return np.asarray(batch, dtype=np.float64)


class OneHotCodec(Codec):
    """Sets one input of each group to 1: the one that stands for the component's value.

    Args:
        sizes: Number of values of each component.
        starts: Smallest value of each.
    """

    def __init__(self, sizes: ArrayLike, starts: ArrayLike) -> None:
        self._sizes = np.asarray(sizes, dtype=np.int64)
        self._starts = np.asarray(starts, dtype=np.int64)
        self._first = np.cumsum(self._sizes) - self._sizes
        self.n_in = int(self._sizes.sum())

    def encode(self, batch: Any) -> FloatArray:
        """Encode (A,) or (A, components) whole numbers.

        Raises:
            TaskError: A value lies outside its range.
        """
        values = np.asarray(batch)
        values = values.reshape(len(values), -1).astype(np.int64) - self._starts
        if ((values < 0) | (values >= self._sizes)).any():
            agent, component = np.argwhere((values < 0) | (values >= self._sizes))[0]
            start, size = self._starts[component], self._sizes[component]
            raise TaskError(
                f"observation {values[agent, component] + start} of agent {agent} (component {component}): "
                f"allowed are {start} to {start + size - 1}"
            )
        inputs = np.zeros((len(values), self.n_in))
        inputs[np.arange(len(values))[:, None], self._first + values] = 1.0
        return inputs


class SignCodec(Codec):
    """Sends a bit as -1 or +1: inputs centred about zero are what a tanh layer learns from.

    Args:
        n: Number of bits.
    """

    def __init__(self, n: int) -> None:
        self.n_in = n

    def encode(self, batch: Any) -> FloatArray:
        """Encode (A, …) bits."""
        bits = np.asarray(batch)
        return 2.0 * bits.reshape(len(bits), -1).astype(np.float64) - 1.0
