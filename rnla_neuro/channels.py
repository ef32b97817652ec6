"""The neuromodulator channels of a run: the reward, and whatever else an environment sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rnla_neuro.errors import ConfigError, DeliveryError, TaskError, unknown
from rnla_neuro.events import EventBatch
from rnla_neuro.rewards import RewardChannel, RewardDelay

REWARD: Final = "reward"
MODULATORS: Final = "neuromodulators"  # the key of an environment's info


def parse_delays(text: str) -> dict[str, RewardDelay]:
    """Read the law of the reward's delay, and of other channels: ``gamma:2,15ms; novelty=fixed:20ms``.

    Raises:
        ConfigError: A law has no known form, or a channel comes twice.

    >>> {name: str(law) for name, law in parse_delays("iterations:1; novelty=fixed:20ms").items()}
    {'reward': 'iterations:1', 'novelty': 'fixed:20ms'}
    """
    found: dict[str, RewardDelay] = {}
    for part in text.split(";"):
        name, equals, law = part.rpartition("=")
        channel = name.strip() if equals else REWARD
        if channel in found:
            raise ConfigError(f"reward delay {text!r}: the channel {channel!r} comes twice")
        found[channel] = RewardDelay.parse(law.strip())
    return {REWARD: RewardDelay(), **found}


class Channels:
    """One `RewardChannel` a neuromodulator; each draws its delays from a stream of its own.

    Args:
        names: Neuromodulators of the simulation, in its order; ``"reward"`` among them.
        delay: Law of the reward's delay for all, or one law a channel (those left out: none).
        n_agents: A.
        trial_duration: T in seconds.
        rngs: One generator an agent.

    Raises:
        ConfigError: Wrong names or delays.

    Attributes:
        names: Neuromodulators in order.
        reward: The reward's channel.
    """

    def __init__(
        self,
        names: Sequence[str],
        delay: str | RewardDelay | Mapping[str, str | RewardDelay],
        n_agents: int,
        trial_duration: float,
        rngs: Sequence[np.random.Generator],
    ) -> None:
        if REWARD not in names or len(set(names)) < len(names):
            raise ConfigError(f"channels {list(names)}: {REWARD!r} must be among them, and each but once")
        laws = dict(delay) if isinstance(delay, Mapping) else dict.fromkeys(names, delay)
        for name in laws:
            if name not in names:
                raise ConfigError("delay: " + unknown("neuromodulator", name, names))
        self.names = tuple(names)
        self._all: dict[str, RewardChannel] = {}
        for index, name in enumerate(names):
            # Spawning leaves the reward's own stream as it is, whatever other channels there are.
            own = list(rngs) if name == REWARD else [rng.spawn(1)[0] for rng in rngs]
            law = laws.get(name, "none")
            self._all[name] = RewardChannel(law, n_agents, trial_duration, own, name, index)
        self.reward = self._all[REWARD]

    @property
    def sent(self) -> int:
        """Events sent so far."""
        return sum(channel.sent for channel in self._all.values())

    def due(self, until: float) -> EventBatch:
        """Hand out what arrives up to the biological time `until` (seconds), each once."""
        if len(self._all) == 1:
            return self.reward.due(until)
        return EventBatch.merge([channel.due(until) for channel in self._all.values()])

    def drain(self) -> EventBatch:
        """Hand out all that is still under way."""
        return EventBatch.merge([channel.drain() for channel in self._all.values()])

    def check_delivered(self, delivered: int) -> None:
        """Compare the events sent with those that a simulation applied.

        Raises:
            DeliveryError: They differ, or some are still under way.
        """
        for name, channel in self._all.items():
            if channel.under_way:
                raise DeliveryError(
                    f"channel {name!r}: {channel.under_way} of {channel.sent} events are still under way; "
                    "drain() hands them out"
                )
        if delivered != self.sent:
            each = ", ".join(f"{name}: {channel.sent}" for name, channel in self._all.items())
            raise DeliveryError(
                f"{self.sent} events were sent ({each}), but the simulation applied {delivered}"
            )

    def send_info(self, info: Mapping[str, Any], t: float) -> None:
        """Send the neuromodulators in a vector environment's info.

        First those of steps that ended an episode, then the others. An agent whose episode ended has a
        second info, of the reset in the same step; it may send too.

        Args:
            info: Gymnasium's format: values and, under the name with an underscore, who gave one.
            t: Biological time in seconds.

        Raises:
            TaskError: A name is unknown to the model, or a value is not a finite number.
        """
        for source in (info.get("final_info", {}), info):
            sent = source.get(MODULATORS)
            if sent is None:
                continue
            if not isinstance(sent, Mapping):
                raise TaskError(
                    f"info[{MODULATORS!r}] must be a dict of name: number, and is {type(sent).__name__}"
                )
            for name, values in sent.items():
                if f"_{name}" in sent:
                    self._send(name, values, np.asarray(sent[f"_{name}"]), t)

    def _send(self, name: str, values: Any, mask: NDArray[np.bool_], t: float) -> None:
        if name == REWARD:
            raise TaskError(f"info[{MODULATORS!r}] has {REWARD!r}, which step() returns already")
        if name not in self._all:
            raise TaskError(
                f"info[{MODULATORS!r}] has a name that the model lacks: "
                + unknown("neuromodulator", name, self.names)
            )
        agents = np.flatnonzero(mask)
        try:
            numbers = np.asarray(values)[agents].astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TaskError(f"neuromodulator {name!r} must be a number: {error}") from error
        self._all[name].send(agents, t, numbers)
