"""Signals to follow: inputs that run on in time, and what the action layer ought to do meanwhile.

A trial is a stretch of an endless signal, so there are no phases: nothing is reset between trials. The targets are
functions of the present input, or of the input some time ago; which one is an argument of the task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from rnla_neuro.errors import TaskError, unknown
from rnla_neuro.tasks.environments import BLOCK, PatternEnv, PatternVectorEnv
from rnla_neuro.tasks.sources import FloatArray, IntArray, PatternSource

LAWS: Final = ("teacher", "product", "delay")
_SAMPLES: Final = 51  # of a trial, both ends included: the last is the first of the next trial
_TEACHER_SEED, _TEACHER_HIDDEN, _TEACHER_OUT = 7, 10, 2
_TEST_SEED: Final = 918
_N_TEST: Final = 40


class Signal(gym.spaces.Box):
    """Samples of a signal over a trial, shape (S, n_in); a network gets them one after the other."""


class SignalSource(PatternSource):
    """Sums of sinusoids with random phases, cut into trials, and the targets that belong to them.

    Args:
        law: ``teacher``: 3 inputs, and the targets are the 2 outputs of a fixed random network with 10 hidden
            neurons. ``product``: 2 inputs, targets are their product and half the difference of their squares.
            ``delay``: 2 sinusoids, of the slowest and the fastest frequency, and their quarter-turns; targets are
            the first one `delay` seconds ago and the product of both at that time.
        duration: Length of a trial in seconds.
        slowest: Lowest frequency of a sinusoid, Hz.
        fastest: Highest.
        delay: For the law ``delay``, seconds.

    Raises:
        TaskError: A value is not allowed.
    """

    def __init__(
        self,
        law: str = "teacher",
        duration: float = 0.1,
        slowest: float = 1.0,
        fastest: float = 5.0,
        delay: float = 0.02,
    ) -> None:
        if law not in LAWS:
            raise TaskError(unknown("law of rnla/Tracking-v0", str(law), LAWS))
        if not (duration > 0 and 0 < slowest <= fastest and delay >= 0):
            raise TaskError(
                f"rnla/Tracking-v0: duration = {duration} s, slowest = {slowest} Hz, fastest = {fastest} Hz, delay = "
                f"{delay} s: allowed are a duration above 0, 0 < slowest <= fastest, and a delay of at least 0"
            )
        self.law, self.duration, self.delay = law, duration, delay
        self._band = (slowest, fastest)
        self._waves = {"teacher": 3, "product": 2, "delay": 2}[law]
        self.n_in = 4 if law == "delay" else self._waves
        self.n_classes, self.bound = _TEACHER_OUT, 1.0
        self.shape = (_SAMPLES, self.n_in)
        self._teacher = _teacher(self.n_in) if law == "teacher" else None

    def signals(self, rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray]:
        """Draw `n` trials that follow each other.

        Returns:
            Inputs, shape (n, S, n_in), between -1 and 1, and targets, shape (n, S, n_out).
        """
        known = self.law == "delay"  # how far a wave moves in that time depends on its frequency
        frequency = np.array(self._band) if known else rng.uniform(*self._band, self._waves)
        phase = rng.uniform(0.0, 2.0 * np.pi, self._waves)
        step = self.duration / (_SAMPLES - 1)
        time = (np.arange(n)[:, None] * (_SAMPLES - 1) + np.arange(_SAMPLES)) * step
        angle = 2.0 * np.pi * frequency * time[..., None] + phase
        x = np.sin(angle)
        if self.law == "delay":
            before = np.sin(angle - 2.0 * np.pi * frequency * self.delay)
            target = np.stack([before[..., 0], before[..., 0] * before[..., 1]], axis=-1)
            return np.concatenate([x, -np.cos(angle)], axis=-1), target
        if self._teacher is not None:
            return x, self._teacher(x)
        return x, np.stack([x[..., 0] * x[..., 1], 0.5 * (x[..., 0] ** 2 - x[..., 1] ** 2)], axis=-1)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[FloatArray, IntArray]:
        """Draw `n` trials, shape (n, S, n_in), and for each the action whose target is the largest at its end, (n,)."""
        signals, targets = self.signals(rng, n)
        return signals, largest(targets)

    def dataset(self, split: str) -> tuple[FloatArray, IntArray]:
        """Return fixed trials of a split, and the right actions."""
        signals, targets = self.tracks(split)
        return signals, largest(targets)

    def tracks(self, split: str) -> tuple[FloatArray, FloatArray]:
        """Return fixed trials of a split, shape (N, S, n_in), and their targets, shape (N, S, n_out).

        Raises:
            TaskError: There is no such split.
        """
        splits = ("train", "test")
        if split not in splits:
            raise TaskError(unknown("split", str(split), splits))
        parts = [
            self.signals(np.random.default_rng([_TEST_SEED, splits.index(split), k]), 1) for k in range(_N_TEST)
        ]
        return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def largest(targets: FloatArray) -> IntArray:
    """Return which target is the largest at the end of each trial: (…, S, n_out) to (…)."""
    actions: IntArray = targets[..., -1, :].argmax(axis=-1)
    return actions


def _teacher(n_in: int) -> Callable[[FloatArray], FloatArray]:
    """Return the network that is to be imitated, the same one for ever."""
    rng = np.random.RandomState(_TEACHER_SEED)  # numpy promises that its numbers never change
    w1, b1 = 1.5 * rng.randn(n_in, _TEACHER_HIDDEN) / np.sqrt(n_in), 0.5 * rng.randn(_TEACHER_HIDDEN)
    w2 = 1.5 * rng.randn(_TEACHER_HIDDEN, _TEACHER_OUT) / np.sqrt(_TEACHER_HIDDEN)

    def answer(x: FloatArray) -> FloatArray:
        out: FloatArray = np.tanh(x @ w1 + b1) @ w2
        return out

    return answer


class TrackingEnv(PatternEnv):
    """``rnla/Tracking-v0``: follow a signal; an action is right if its target is the largest at the trial's end.

    The info of `reset` and `step` carries ``target``, shape (S, n_out), beside ``label``.
    """

    make_source = SignalSource

    def __init__(self, render_mode: str | None = None, **kwargs: Any) -> None:
        super().__init__(render_mode, **kwargs)
        self.observation_space = _space(self.source)
        self._targets: FloatArray | None = None

    def _draw(self) -> tuple[FloatArray, IntArray]:
        assert isinstance(self.source, SignalSource)
        signals, self._targets = self.source.signals(self.np_random, BLOCK)
        return signals, largest(self._targets)

    def _info(self) -> dict[str, Any]:
        assert self._targets is not None
        return {**super()._info(), "target": self._targets[self._next - 1].copy()}


class TrackingVectorEnv(PatternVectorEnv):
    """`TrackingEnv` for many agents; ``info["target"]``, shape (A, S, n_out), is of the trial that comes."""

    make_source = SignalSource

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **kwargs: Any) -> None:
        super().__init__(num_envs, render_mode, **kwargs)
        self.single_observation_space = _space(self.source)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._targets = np.empty((0, num_envs, *_space(self.source).shape))

    def _draw(self) -> None:
        source = self.source
        assert isinstance(source, SignalSource)
        drawn = [source.signals(rng, BLOCK) for rng in self._rngs]
        self._patterns = np.stack([signals for signals, _ in drawn], axis=1)
        self._targets = np.stack([targets for _, targets in drawn], axis=1)
        self._targets.setflags(write=False)
        self._labels = largest(self._targets)

    def _info(self) -> dict[str, Any]:
        return {**super()._info(), "target": self._targets[self._at]}


def _space(source: PatternSource) -> Signal:
    return Signal(-source.bound, source.bound, source.shape, np.float64)
