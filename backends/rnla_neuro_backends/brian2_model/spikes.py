"""Counts and records the spikes of a network of Brian2 groups, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro_backends.brian2_model.groups import Brian2Network
from rnla_neuro_backends.explicit.engine import Block

IntArray = npt.NDArray[np.int64]


class SpikeCounts:
    """What spikes in the layers of the chain, the inputs included.

    Attributes:
        model_spikes: Whether any neuron of the model spikes; else nothing is counted.
        counts: Spikes so far, shape (A, layers).
    """

    def __init__(self, net: Brian2Network, n_agents: int) -> None:
        self.model_spikes = net.model.spikes
        self.counts: IntArray = np.zeros((n_agents, len(net.sizes)), np.int64)
        first = np.concatenate([[0], np.cumsum(net.sizes)])
        self._n_neurons = int(first[-1])
        self._spaces = [
            (layer, int(first[layer]), group.variables["_spikespace"].get_value())
            for layer, group in enumerate((net.input, *net.layers))
            if "_spikespace" in group.variables
        ]
        self._row: npt.NDArray[np.bool_] | None = None

    def of(self, agent: int, block: Block) -> Callable[[int], None]:
        """Return what looks at step k of an agent's block, after it."""
        if not self.model_spikes:
            return lambda k: None
        counts = self.counts[agent]
        self._row = np.zeros((block.n_steps, self._n_neurons), np.bool_) if block.record else None

        def look(k: int) -> None:
            for layer, first, space in self._spaces:
                found = space[: space[-1]]
                counts[layer] += len(found)
                if self._row is not None:
                    self._row[k, first + found] = True

        return look

    def seen(self) -> dict[str, Any]:
        """Return the spikes of the last recorded block, steps first."""
        return {} if self._row is None else {"spikes": self._row}

    def read(self) -> dict[str, IntArray]:
        """Return the counts as part of the canonical state."""
        return {"spikes": self.counts.copy()} if self.model_spikes else {}

    def write(self, state: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Take the counts from a state, if they are there, and return the rest of it."""
        if self.model_spikes and "spikes" in state:
            self.counts[...] = state["spikes"]
        return {name: values for name, values in state.items() if name != "spikes"}
