"""Sets what the engine supplies to neurons anew at every step: ``chance`` and ``t_trial``."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnla_neuro.spec.chance import SILENT, chance
from rnla_neuro_backends.brian2_model.build import Builder


class Supplied:
    """Writes into the groups of a network.

    Attributes:
        needed: Whether any equation uses what it writes.
    """

    def __init__(self, parts: Builder) -> None:
        self._clock, self._duration = parts.groups[0].clock, parts.model.trial.duration
        self._chances: list[tuple[Any, Any]] = []
        for population, strings, group in zip(parts.populations, parts.strings, parts.groups, strict=True):
            if strings.draws:
                neurons = population.first + np.arange(population.size)
                self._chances.append((group.variables["chance"].get_value(), neurons))
        self._time = parts.signals.variables["t_trial"].get_value()
        self.needed = bool(self._chances) or any(strings.timed for strings in parts.strings)

    def set(self, key: int, counter: int, in_trial: int | None = None) -> None:
        """Set what a step has.

        Args:
            key: `chance_key` of the agent's seed.
            counter: Number of the step since the start, from `SILENT` on in silent trials.
            in_trial: Number of the step since the trial began; None: trials follow each other from the start on.
        """
        for values, neurons in self._chances:
            values[:] = chance(key, neurons, counter)
        dt = self._clock.dt_
        if in_trial is None:
            in_trial = counter % SILENT % round(self._duration / dt)
        self._time[:] = in_trial * dt
