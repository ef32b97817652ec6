"""Teaching events: what a supervised learner gets in place of rewards."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rnla_neuro.bridge import EnvironmentBridge
from rnla_neuro.errors import ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.simulation import FloatArray
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.supervised import CHANNEL, LESSON

_EARLY = 1e-9  # of a lesson: one that ends this close behind the decision still belongs to it


@dataclass
class Teaching:
    """Replaces the rewards of an environment by teaching events, which come at their time whatever was done.

    Attributes:
        n_agents: Number of agents A.
        channel: Index of the channel that teaches.
        every: Seconds between two events, counted from the start of a trial; None: one event at each decision.
        sent: Events sent, all agents together.
    """

    n_agents: int
    channel: int
    every: float | None
    sent: int = field(default=0, init=False)

    @classmethod
    def of(cls, model: ModelSpec, bridge: EnvironmentBridge) -> Teaching:
        """Return the teaching of a model that is told a target.

        Raises:
            ConfigError: The task does not know the right answers, or the time between lessons is not above 0.
        """
        if bridge.labels() is None:
            raise ConfigError(
                f"learner 'supervised' needs the right answer of every trial, and environment {bridge.name} has none; "
                "choose r-nla, node-perturbation or reinforce"
            )
        lesson = model.parameters.get(LESSON)
        if lesson is not None and not 0 < lesson.value <= model.trial.duration:
            raise ConfigError(
                f"model {model.name!r}: {LESSON} = {lesson.text}: allowed is a time above 0 and up to "
                f"T = {model.trial.duration * 1e3:g} ms"
            )
        return cls(bridge.n_agents, bridge.channels.index(CHANNEL), None if lesson is None else lesson.value)

    def times(self, start: float, decision: float) -> FloatArray:
        """Return when the events of a trial come, in biological seconds.

        Args:
            start: When the trial starts.
            decision: When its decision falls.
        """
        if self.every is None:
            return np.array([decision])
        lessons = int((decision - start) / self.every + _EARLY)
        return start + self.every * np.arange(1, lessons + 1, dtype=np.float64)

    def events(self, start: float, decision: float, others: EventBatch) -> EventBatch:
        """Return the events of a trial: the lessons, and what the environment sends on other channels."""
        times = self.times(start, decision)
        n = self.n_agents * len(times)
        lessons = EventBatch(
            np.repeat(np.arange(self.n_agents), len(times)),
            np.tile(times, self.n_agents),
            np.full(n, self.channel, np.int64),
            np.ones(n),
        )
        self.sent += n
        return EventBatch.merge([self.without_rewards(others), lessons])

    def without_rewards(self, events: EventBatch) -> EventBatch:
        """Leave the rewards out."""
        keep = events.channel != self.channel
        if not keep.any():
            return EventBatch.empty()
        return EventBatch(events.agent[keep], events.time[keep], events.channel[keep], events.value[keep])
