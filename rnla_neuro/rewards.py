"""When a reward arrives: at once, iterations later, after a fixed or a random (Gamma) delay.

A reward is an event of biological time. Several may be under way at once, also across trials; each lands at
its own time, on the eligibility of that time (the plasticity rule of the model decides what it does there).
A neuromodulator that decays after its release (a pulse with tau_D) is not a delay: it stands in the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnla_neuro.errors import ConfigError, TaskError, did_you_mean
from rnla_neuro.events import EventBatch, NeuromodEvent

__all__ = ["Duration", "EventBatch", "NeuromodEvent", "RewardChannel", "RewardDelay"]

Kind = Literal["none", "iterations", "gamma", "fixed"]

_KINDS: Final = ("none", "iterations", "gamma", "fixed")
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_TIME: Final = re.compile(r"([-+]?[\d.,]+(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf))\s*([a-zA-Z]*)")
_FORMS: Final = (
    "allowed: 'none' (at once), 'iterations:K' (K trials later, such as iterations:1), "
    "'gamma:SHAPE,SCALE' (random, such as gamma:2,15ms or gamma:2,0.5T), "
    "'fixed:TIME' (such as fixed:20ms); a time ends in us, ms, s or T (T is one trial)"
)
_BLOCK: Final = 256  # random delays drawn at a time: one generator call costs as much as some hundred draws


@dataclass(frozen=True)
class Duration:
    """A biological time, absolute (``15ms``) or in trials (``0.5T``).

    Attributes:
        amount: The number before the unit.
        unit: ``"us"``, ``"ms"``, ``"s"`` or ``"T"`` (one trial).
    """

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read a time such as ``15ms``, ``0.2s`` or ``0.5T``.

        Raises:
            ConfigError: It is not a positive, finite number followed by a known unit.

        >>> Duration.parse("15 ms")
        Duration(amount=15.0, unit='ms')
        """
        match = _TIME.fullmatch(text.strip())
        if match is None:
            raise ConfigError(f"{text!r} is not a time: a number and a unit, such as 15ms, 0.2s or 0.5T")
        number, unit = match.groups()
        if unit not in _UNITS and unit != "T":
            fault = "has no unit" if not unit else f"has the unknown unit {unit!r}"
            raise ConfigError(f"the time {text!r} {fault}: us, ms, s or T (one trial), such as 15ms or 0.5T")
        return cls(_positive(number, f"the time {text!r}"), unit)

    def seconds(self, trial_duration: float) -> float:
        """Return the time in seconds, for trials of `trial_duration` seconds."""
        return self.amount * (trial_duration if self.unit == "T" else _UNITS[self.unit])

    def __str__(self) -> str:
        """Return the text that `parse` reads back exactly."""
        return f"{_number(self.amount)}{self.unit}"


@dataclass(frozen=True)
class RewardDelay:
    """The law of the time between a decision and the arrival of its reward; made by `parse`.

    Attributes:
        kind: ``"none"``, ``"iterations"``, ``"gamma"`` or ``"fixed"``.
        iterations: Whole trials, for ``"iterations"``.
        shape: Shape of the Gamma law, dimensionless.
        time: Scale of the Gamma law, or the fixed delay.
    """

    kind: Kind = "none"
    iterations: int = 0
    shape: float = 0.0
    time: Duration = Duration(0.0, "s")

    @classmethod
    def parse(cls, value: str | RewardDelay) -> RewardDelay:
        """Read ``none``, ``iterations:K``, ``gamma:SHAPE,SCALE`` or ``fixed:TIME``.

        Raises:
            ConfigError: The text has another form or a number out of range.

        >>> RewardDelay.parse("gamma:2,0.5T").mean(trial_duration=0.05)
        0.05
        >>> str(RewardDelay.parse("iterations:1"))
        'iterations:1'
        """
        if isinstance(value, RewardDelay):
            return value
        if not isinstance(value, str):
            raise ConfigError(f"reward delay {value!r} is not a text; {_FORMS}")
        kind, colon, rest = value.strip().partition(":")
        try:
            if kind == "none" and not colon:
                return cls()
            if kind == "iterations" and colon:
                return cls(kind="iterations", iterations=_whole(rest))
            if kind == "gamma" and rest.count(",") == 1:
                shape, scale = rest.split(",")
                return cls(kind="gamma", shape=_positive(shape, "the shape"), time=Duration.parse(scale))
            if kind == "fixed" and colon:
                return cls(kind="fixed", time=Duration.parse(rest))
        except ConfigError as error:
            raise ConfigError(f"reward delay {value!r}: {error}; {_FORMS}") from None
        guess = "" if kind in _KINDS else did_you_mean(kind, _KINDS)
        fault = "lacks its arguments or has too many" if kind in _KINDS else "is unknown"
        raise ConfigError(f"reward delay {value!r} {fault};{guess} {_FORMS}")

    @property
    def is_random(self) -> bool:
        """Whether two rewards can have different delays."""
        return self.kind == "gamma"

    def sample(self, rng: np.random.Generator | None, n: int, trial_duration: float) -> NDArray[np.float64]:
        """Draw `n` delays.

        Args:
            rng: Source of chance; only a random law uses it.
            n: How many.
            trial_duration: T in seconds.

        Returns:
            (n,) delays in seconds.

        Raises:
            ConfigError: The law is random and `rng` is None.
        """
        if not self.is_random:
            return np.full(n, self.mean(trial_duration))
        if rng is None:
            raise ConfigError(f"the reward delay '{self}' is random and needs a random generator")
        return rng.gamma(self.shape, self.time.seconds(trial_duration), size=n)

    def mean(self, trial_duration: float) -> float:
        """Return the mean delay in seconds, for trials of `trial_duration` seconds."""
        if self.kind == "iterations":
            return self.iterations * trial_duration
        if self.kind == "gamma":
            return self.shape * self.time.seconds(trial_duration)
        return self.time.seconds(trial_duration)

    def __str__(self) -> str:
        """Return the text that `parse` reads back exactly."""
        arguments = {
            "none": "",
            "iterations": f":{self.iterations}",
            "gamma": f":{_number(self.shape)},{self.time}",
            "fixed": f":{self.time}",
        }
        return self.kind + arguments[self.kind]


class _Sent(NamedTuple):
    """Rewards of one call of `send`; `at` is their one time if they go to all agents, and NaN otherwise."""

    at: float
    agent: NDArray[np.int64]
    time: NDArray[np.float64]
    value: NDArray[np.float64]


class RewardChannel:
    """Keeps the rewards that are under way, and hands each out once, at its biological time.

    Args:
        delay: The law of the delay, or its text.
        n_agents: A, the number of agents.
        trial_duration: T in seconds.
        rngs: One generator an agent; needed by a random law. An agent's delays depend on its own generator
            only, whatever other agents run beside it.
        name: The neuromodulator.
        index: Index of this channel in the simulation's ``channels``, for `EventBatch.channel`.

    Raises:
        ConfigError: Wrong delay, number of agents, trial duration or number of generators.

    >>> channel = RewardChannel("iterations:1", n_agents=2, trial_duration=0.05)
    >>> channel.send(None, 0.04, [1.0, 0.0])
    >>> len(channel.due(0.08)), channel.under_way
    (0, 2)
    >>> channel.due(0.09).value
    array([1., 0.])
    """

    def __init__(
        self,
        delay: str | RewardDelay,
        n_agents: int,
        trial_duration: float,
        rngs: Sequence[np.random.Generator] = (),
        name: str = "reward",
        index: int = 0,
    ) -> None:
        self.delay = RewardDelay.parse(delay)
        self.name = name
        if n_agents < 1:
            raise ConfigError(f"a reward channel for {n_agents} agents: at least 1 is needed")
        if not (math.isfinite(trial_duration) and trial_duration > 0):
            raise ConfigError(f"a trial duration of {trial_duration} s: it must be positive and finite")
        if self.delay.is_random and len(rngs) != n_agents:
            raise ConfigError(
                f"the reward delay '{self.delay}' is random: it needs one random generator for each of the "
                f"{n_agents} agents, and got {len(rngs)}"
            )
        self.n_agents = n_agents
        self.trial_duration = float(trial_duration)
        self.sent = 0
        self.delivered_out = 0
        self._all = np.arange(n_agents, dtype=np.int64)
        self._channel = np.full(n_agents, index, dtype=np.int64)
        for shared in (self._all, self._channel):
            shared.setflags(write=False)  # they are handed out again and again
        self._index = index
        self._rounding = 1e-9 * self.trial_duration
        self._random = self.delay.is_random
        self._lag = self.delay.mean(self.trial_duration)
        self._zeros = np.zeros(n_agents)
        self._waiting: list[_Sent] = []
        self._rngs = list(rngs)
        self._delays = np.empty((n_agents, _BLOCK if self.delay.is_random else 0))
        self._used = np.full(n_agents, _BLOCK, dtype=np.int64)  # all used up: drawn at the first need

    @property
    def under_way(self) -> int:
        """Rewards that were sent and not handed out yet."""
        return self.sent - self.delivered_out

    def send(self, agents: ArrayLike | None, t: float, values: ArrayLike) -> None:
        """Send rewards at time `t`; each arrives after its own delay.

        Args:
            agents: (n,) indices of the agents that are rewarded (one may occur twice), or None for all.
            t: Biological time in seconds at which they are sent, as a rule that of the decision.
            values: (n,) rewards, or one for all of `agents`.

        Raises:
            ConfigError: Shapes or indices do not fit, or `t` is negative or not finite.
            TaskError: A reward is not finite.
        """
        who = self._all if agents is None else self._indices(agents)
        value = np.array(values, dtype=np.float64)
        if value.shape != who.shape:
            if value.ndim:
                raise ConfigError(f"rewards of shape {value.shape} for {len(who)} agents: give one an agent")
            value = np.full(who.shape, value)
        if not 0.0 <= t < math.inf:
            raise ConfigError(f"rewards sent at t = {t} s: the time must be finite and not negative")
        if not math.isfinite(sum(value.tolist())):  # for few agents cheaper than looking at each in numpy
            self._refuse_not_finite(who, t, value)
        if self._random:
            self._waiting.append(_Sent(math.nan, who, t + self._draw(agents is None, who), value))
        elif agents is None:
            at = float(t + self._lag)
            self._waiting.append(_Sent(at, who, self._zeros + at, value))
        else:
            self._waiting.append(_Sent(math.nan, who, np.full(len(who), t + self._lag), value))
        self.sent += len(value)

    def due(self, until: float) -> EventBatch:
        """Hand out what arrives up to the time `until`, that instant included.

        A time that lies beyond `until` by no more than rounding (a billionth of a trial) counts as `until`:
        k T + decision + K T and (k + K) T + decision are one instant, though not one floating-point number.

        Args:
            until: Biological time in seconds.

        Returns:
            Events with their exact times, sorted by agent, time, and the order in which they were sent.
        """
        if not self._waiting:
            return EventBatch.empty()
        if math.isnan(until):
            raise ConfigError("rewards due until t = nan: the time must be a number")
        limit = until + self._rounding + 1e-15 * abs(until)
        if len(self._waiting) == 1:
            at, agent, time, value = self._waiting[0]
            if at <= limit:  # the way of every trial when rewards come at once: nothing to sort or to split
                self._waiting = []
                if at > until:
                    time = self._zeros + until
                self.delivered_out += self.n_agents
                return EventBatch(agent, time, self._channel, value)
        return self._due_of_many(until, limit)

    def skip(self, n: int) -> None:
        """Pass over `n` random delays of each agent, as if so many rewards had been sent to all."""
        for agent in range(self.n_agents if self._random else 0):
            left = n
            while left:
                if self._used[agent] == _BLOCK:
                    self._refill(agent)
                step = min(left, _BLOCK - int(self._used[agent]))
                self._used[agent] += step
                left -= step

    def drain(self) -> EventBatch:
        """Hand out all that is still under way (after the last trial), each with its own time."""
        return self.due(math.inf)

    def _due_of_many(self, until: float, limit: float) -> EventBatch:
        """Take what is due out of several calls of `send`, and keep the rest in the order sent."""
        _, agents, times, values = zip(*self._waiting, strict=True)
        agent, time, value = np.concatenate(agents), np.concatenate(times), np.concatenate(values)
        now = time <= limit
        n_now = int(np.count_nonzero(now))
        if n_now == 0:
            return EventBatch.empty()
        self._waiting = []
        if n_now < len(now):
            later = ~now
            self._waiting.append(_Sent(math.nan, agent[later], time[later], value[later]))
            agent, time, value = agent[now], time[now], value[now]
        time = np.minimum(time, until)
        order = np.lexsort((time, agent))  # stable: equal times stay in the order sent
        self.delivered_out += n_now
        channel = np.full(n_now, self._index, dtype=np.int64)
        return EventBatch(agent[order], time[order], channel, value[order])

    def _draw(self, everyone: bool, who: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the next random delay of each of `who`, from the agents' own generators."""
        if everyone:
            if self._used.max() == _BLOCK:
                for agent in np.flatnonzero(self._used == _BLOCK).tolist():
                    self._refill(agent)
            delays = self._delays[self._all, self._used]
            self._used += 1
            return delays
        drawn = np.empty(len(who))
        for i, agent in enumerate(who.tolist()):
            if self._used[agent] == _BLOCK:
                self._refill(agent)
            drawn[i] = self._delays[agent, self._used[agent]]
            self._used[agent] += 1
        return drawn

    def _refill(self, agent: int) -> None:
        """Draw the next block of delays of one agent."""
        self._delays[agent] = self.delay.sample(self._rngs[agent], _BLOCK, self.trial_duration)
        self._used[agent] = 0

    def _indices(self, agents: ArrayLike) -> NDArray[np.int64]:
        """Check indices of agents."""
        who = np.atleast_1d(np.asarray(agents))
        if who.size == 0:
            return np.empty(0, dtype=np.int64)
        if who.ndim != 1 or who.dtype.kind not in "iu" or who.min() < 0 or who.max() >= self.n_agents:
            raise ConfigError(f"agents {agents!r}: allowed are whole numbers from 0 to {self.n_agents - 1}")
        return who.astype(np.int64)

    def _refuse_not_finite(self, who: NDArray[np.int64], t: float, value: NDArray[np.float64]) -> None:
        """Raise if a reward is NaN or infinite (and not merely large)."""
        wrong = np.flatnonzero(~np.isfinite(value))
        if len(wrong):
            first = wrong[0]
            raise TaskError(
                f"{self.name} {value[first]} for agent {who[first]} at t = {t:g} s: it must be finite"
            )


def _number(value: float) -> str:
    """Write a number in the shortest form that reads back as the same number."""
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _positive(text: str, what: str) -> float:
    """Read a positive, finite number."""
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"{what} needs a number, and {text.strip()!r} is none") from None
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{what} must be positive and finite, and is {text.strip()}")
    return value


def _whole(text: str) -> int:
    """Read a number of iterations."""
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(
            f"the number of iterations must be a whole number, and is {text.strip()!r}"
        ) from None
    if not 1 <= value <= 10**9:
        raise ConfigError(f"the number of iterations must be at least 1 and at most 1e9, and is {value}")
    return value
