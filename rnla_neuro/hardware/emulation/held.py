"""Events that have arrived during a run and wait for its end."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.events import EventBatch

_COLUMNS = ("agent", "time", "channel", "value")


class Held:
    """Events that wait; see `ChipSimulation`.

    Args:
        moves: Whether what arrived during a run happens at its end, and not at its own time.
    """

    def __init__(self, *, moves: bool) -> None:
        self._moves = moves
        self._events = EventBatch.empty()

    def keep(self, events: EventBatch) -> None:
        """Let events wait, and those before them no longer."""
        self._events = events

    def split(self, events: EventBatch, start: float) -> tuple[EventBatch, EventBatch]:
        """Return what is to be applied before a run that begins at `start`, and what arrives later.

        What was held goes first, at the end of the last run; so does what has arrived since.
        """
        held, self._events = self._events, EventBatch.empty()
        if not len(events):
            return self._at(held, start), events
        early = events.time <= start + 1e-9 * max(start, 1.0)
        return EventBatch.merge([self._at(held, start), self._at(_part(events, early), start)]), _part(events, ~early)

    def _at(self, events: EventBatch, time: float) -> EventBatch:
        """Move events to the end of a run."""
        if not self._moves or not len(events) or (events.time == time).all():
            return events
        return EventBatch(events.agent, np.full(len(events), time), events.channel, events.value)

    def take(self, time: float) -> EventBatch:
        """Return what waits, and let it wait no longer; no event is earlier than `time`."""
        held, self._events = self._events, EventBatch.empty()
        return EventBatch(held.agent, np.maximum(held.time, time), held.channel, held.value) if len(held) else held

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of what waits."""
        return {name: np.array(getattr(self._events, name)) for name in _COLUMNS}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Let wait what `state` returned."""
        self._events = EventBatch(*(np.array(state[name]) for name in _COLUMNS))


def _part(events: EventBatch, chosen: npt.NDArray[np.bool_]) -> EventBatch:
    if chosen.all():
        return events
    return EventBatch(*(getattr(events, name)[chosen] for name in _COLUMNS)) if chosen.any() else EventBatch.empty()
