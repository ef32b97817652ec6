"""Random draws for many agents, in blocks: what an agent sees depends on its own generator alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 256  # trials drawn at a time: one call of a generator costs as much as some hundred draws

Draw = Callable[[np.random.Generator, tuple[int, ...]], npt.NDArray[np.float64]]

LAWS: dict[str, Draw] = {
    "gumbel": lambda rng, size: rng.gumbel(size=size),
    "centred gumbel": lambda rng, size: rng.gumbel(size=size) - np.euler_gamma,
    "gaussian": lambda rng, size: rng.standard_normal(size),
}


class NoiseBlocks:
    """Draws of one law and scale 1, one generator an agent; restorable to the bit.

    Args:
        law: A key of `LAWS`.
        generators: One an agent, A of them; they are advanced.
        shape: Shape of one agent's draws in one trial.
        dtype: ``float64`` or ``float32``.
    """

    def __init__(
        self, law: str, generators: Sequence[np.random.Generator], shape: tuple[int, ...], dtype: str = "float64"
    ) -> None:
        self._draw_from, self._generators, self._shape = LAWS[law], list(generators), shape
        self._block = np.empty((BLOCK, len(self._generators), *shape), dtype)
        self._at = BLOCK
        self._before = self._states()

    def next(self) -> npt.NDArray[Any]:
        """Return the next draws, shape (A, *shape); valid until the block has been used up."""
        if self._at == BLOCK:
            self._draw()
        self._at += 1
        drawn: npt.NDArray[Any] = self._block[self._at - 1]
        return drawn

    def _draw(self) -> None:
        self._before = self._states()
        for agent, generator in enumerate(self._generators):
            self._block[:, agent] = self._draw_from(generator, (BLOCK, *self._shape))
        self._at = 0

    def _states(self) -> list[Any]:
        return [generator.bit_generator.state for generator in self._generators]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the generators' states before the block, and how much of it has been used."""
        # a block that is used up need not be drawn again: the generators stand before the next one
        before = self._before if self._at < BLOCK else self._states()
        text = json.dumps(before, default=lambda array: array.tolist())
        return {
            "noise_generators": np.frombuffer(text.encode(), dtype=np.uint8).copy(),
            "noise_position": np.array(self._at),
        }

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Draw the block of `state` again and go to its place in it."""
        before = json.loads(state["noise_generators"].tobytes().decode())
        for generator, saved in zip(self._generators, before, strict=True):
            generator.bit_generator.state = saved
        self._before = before
        position = int(state["noise_position"])
        if position < BLOCK:
            self._draw()
        self._at = position
