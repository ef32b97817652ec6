"""Neuromodulatory events: what carries a reward from the environment to the synapses.

All times are *biological* seconds since the start of the run. They never share a name with wall time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class NeuromodEvent:
    """One release of a neuromodulator; a reward is one.

    Attributes:
        t: Biological time in seconds.
        channel: Name of the neuromodulator, such as ``"reward"``.
        value: What arrives (for a reward: R, before the running mean is subtracted).
    """

    t: float
    channel: str
    value: float


@dataclass(frozen=True)
class EventBatch:
    """Events of all agents, sorted by agent and, within an agent, by time.

    Attributes:
        agent: (E,) int64, whose event it is.
        time: (E,) float64, biological seconds.
        channel: (E,) int64, index into the simulation's ``channels``.
        value: (E,) float64.
    """

    agent: NDArray[np.int64]
    time: NDArray[np.float64]
    channel: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.time)

    @staticmethod
    def empty() -> EventBatch:
        """Return a batch without events (always the same object: its arrays cannot be written to)."""
        return _EMPTY

    @staticmethod
    def merge(batches: Sequence[EventBatch]) -> EventBatch:
        """Join batches, one a channel, into one that is sorted by agent and time.

        Args:
            batches: Batches in the order in which simultaneous events of one agent are to land.

        Returns:
            One batch with every event of `batches` exactly once.
        """
        full = [batch for batch in batches if len(batch)]
        if not full:
            return _EMPTY
        if len(full) == 1:
            return full[0]
        agent = np.concatenate([batch.agent for batch in full])
        time = np.concatenate([batch.time for batch in full])
        order = np.lexsort((time, agent))
        channel = np.concatenate([batch.channel for batch in full])
        value = np.concatenate([batch.value for batch in full])
        return EventBatch(agent[order], time[order], channel[order], value[order])

    def events(self, channels: Sequence[str], agent: int) -> list[NeuromodEvent]:
        """Return the events of one agent as objects, for backends that take them one by one.

        Args:
            channels: The simulation's channel names, which the indices refer to.
            agent: Whose events.
        """
        return [
            NeuromodEvent(float(self.time[i]), channels[self.channel[i]], float(self.value[i]))
            for i in np.flatnonzero(self.agent == agent)
        ]


def _read_only_empty() -> EventBatch:
    """Build the shared empty batch."""
    integers = np.empty(0, dtype=np.int64)
    reals = np.empty(0, dtype=np.float64)
    integers.setflags(write=False)
    reals.setflags(write=False)
    return EventBatch(integers, reals, integers, reals)


_EMPTY = _read_only_empty()
