"""One-step environments: an image comes, an action is taken, a reward says whether it was the right one.

The single environment and the one for many agents draw from the same streams: with the same seed an agent
sees the same sequence in both, whatever other agents run beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rnla_neuro.errors import TaskError
from rnla_neuro.tasks.digits import digits, three_digits
from rnla_neuro.tasks.sources import BarsSource, FloatArray, IntArray, PatternSource, parity, random_patterns
from rnla_neuro.tasks.table import table

BLOCK: Final = 256  # patterns drawn ahead; part of what a seed determines, so never change it
_SHADES: Final = " .:-=+*#%@"


class PatternEnv(gym.Env[Any, Any]):
    """A one-step task: `reset` shows a pattern, `step` ends the episode with the reward.

    The info of both carries ``label``, the right action for the pattern that is shown.

    Args:
        render_mode: ``"ansi"`` draws the pattern as text.
        **kwargs: Arguments of the task.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as in Gymnasium
    make_source: ClassVar[Callable[..., PatternSource]]

    def __init__(self, render_mode: str | None = None, **kwargs: Any) -> None:
        _check_render_mode(render_mode)
        self.render_mode = render_mode
        self.source = type(self).make_source(**kwargs)
        self.observation_space, self.action_space = _spaces(self.source)
        self._block: tuple[FloatArray, IntArray] | None = None
        self._next = 0
        self._pattern: FloatArray | None = None
        self._label = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Show the next pattern; with a seed, the first one of that seed's sequence."""
        super().reset(seed=seed)
        if seed is not None or self._block is None or self._next == BLOCK:
            self._block = self._draw()
            self._next = 0
        patterns, labels = self._block
        self._pattern, self._label = patterns[self._next], int(labels[self._next])
        self._next += 1
        return self._pattern.copy(), self._info()

    def _draw(self) -> tuple[FloatArray, IntArray]:
        """Draw the next patterns and the right actions."""
        return self.source.draw(self.np_random, BLOCK)

    def _info(self) -> dict[str, Any]:
        """Say what is right for the pattern that is shown."""
        return {"label": self._label}

    def step(self, action: int) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Reward the action and end the episode.

        Raises:
            TaskError: `action` is none of the actions, or no pattern is shown yet.
        """
        if self._pattern is None:
            raise TaskError(f"{type(self).__name__}: call reset() before step()")
        if not 0 <= action < self.source.n_classes:
            raise TaskError(
                f"{type(self).__name__}: action {action!r}: allowed are 0 to {self.source.n_classes - 1}"
            )
        reward = self.source.hit if action == self._label else self.source.miss
        return self._pattern.copy(), reward, True, False, self._info()

    def render(self) -> str:
        """Draw the pattern that is shown, dark for small and dense for large inputs."""
        if self._pattern is None:
            return ""
        level = np.clip((self._pattern / self.source.bound + 1.0) / 2.0, 0.0, 1.0)
        shades = np.asarray(list(_SHADES))[np.rint(level * (len(_SHADES) - 1)).astype(np.int64)]
        return "\n".join("".join(row) for row in np.atleast_2d(shades.reshape(self.source.shape)))


class PatternVectorEnv(gym.vector.VectorEnv[Any, Any, NDArray[Any]]):
    """The same one-step task for many agents at once; the next pattern comes with the reward (SAME_STEP).

    Args:
        num_envs: A, the number of agents.
        render_mode: Must be None; draw with the single environment.
        **kwargs: Arguments of the task.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - as in Gymnasium
        "render_modes": [],
        "autoreset_mode": gym.vector.AutoresetMode.SAME_STEP,
    }
    make_source: ClassVar[Callable[..., PatternSource]]

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **kwargs: Any) -> None:
        if num_envs < 1:
            raise TaskError(f"{type(self).__name__}: num_envs = {num_envs}: at least 1 is needed")
        if render_mode is not None:
            raise TaskError(f"{type(self).__name__}: many agents are not drawn; render_mode must be None")
        self.num_envs = num_envs
        self.source = type(self).make_source(**kwargs)
        self.single_observation_space, self.single_action_space = _spaces(self.source)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._patterns = np.empty((0, num_envs, self.source.n_in))
        self._labels = np.empty((0, num_envs), dtype=np.int64)
        self._at = BLOCK
        self._plain_reward = (self.source.hit, self.source.miss) == (1.0, 0.0)
        self._everyone = np.ones(num_envs, dtype=np.bool_)
        self._nobody = np.zeros(num_envs, dtype=np.bool_)
        for shared in (self._everyone, self._nobody):
            shared.setflags(write=False)  # handed out at every step

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Show the next pattern to each agent.

        Args:
            seed: One seed an agent, or the first agent's (the others count on from it), or None: go on.
            options: Not used.

        Raises:
            TaskError: Not one seed an agent, or only some agents are to be reset.
        """
        if options is not None and "reset_mask" in options:
            raise TaskError("reset_mask: these environments reset themselves (AutoresetMode.SAME_STEP)")
        if seed is not None:
            seeds = (
                list(range(seed, seed + self.num_envs)) if isinstance(seed, int | np.integer) else list(seed)
            )
            if len(seeds) != self.num_envs or any(one is None for one in seeds):
                raise TaskError(f"seeds {seeds}: give one whole number to each of {self.num_envs} agents")
            self._rngs = [seeding.np_random(int(one))[0] for one in seeds]
            self._at = BLOCK
        elif not self._rngs:
            self._rngs = [seeding.np_random()[0] for _ in range(self.num_envs)]
        self._advance()
        return self._patterns[self._at], self._info()

    def step(
        self, actions: IntArray
    ) -> tuple[FloatArray, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Reward each agent's action and show it the next pattern.

        ``info["label"]`` is of the new patterns; ``info["final_obs"]`` and ``info["final_info"]`` are of
        those that the actions were for.

        Raises:
            TaskError: `reset` was not called, or there is not one action an agent.
        """
        if not self._rngs:
            raise TaskError(f"{type(self).__name__}: call reset() before step()")
        pattern, label = self._patterns[self._at], self._labels[self._at]
        chosen = np.asarray(actions)
        if chosen.shape != label.shape:
            raise TaskError(f"actions of shape {chosen.shape}: give one to each of {self.num_envs} agents")
        reward = (chosen == label).astype(np.float64)
        if not self._plain_reward:
            reward = self.source.miss + (self.source.hit - self.source.miss) * reward
        self._advance()
        everyone = self._everyone
        info = self._info() | {
            "final_obs": pattern,
            "_final_obs": everyone,
            "final_info": {"label": label, "_label": everyone},
            "_final_info": everyone,
        }
        return self._patterns[self._at], reward, everyone, self._nobody, info

    def _advance(self) -> None:
        """Go to the next pattern; draw a new block where the last one is used up.

        Blocks are new arrays each time and never written again, so that views of them can be handed out.
        """
        self._at += 1
        if self._at < BLOCK:
            return
        self._draw()
        self._patterns.setflags(write=False)
        self._labels.setflags(write=False)
        self._at = 0

    def _draw(self) -> None:
        """Draw a block of patterns for each agent."""
        self._patterns = np.empty((BLOCK, self.num_envs, self.source.n_in))
        self._labels = np.empty((BLOCK, self.num_envs), dtype=np.int64)
        for agent, rng in enumerate(self._rngs):
            self._patterns[:, agent], self._labels[:, agent] = self.source.draw(rng, BLOCK)

    def _info(self) -> dict[str, Any]:
        """Say what is right for the patterns that are shown."""
        return {"label": self._labels[self._at], "_label": self._everyone}


def _spaces(source: PatternSource) -> tuple[gym.spaces.Box, gym.spaces.Discrete]:
    return (
        gym.spaces.Box(-source.bound, source.bound, (source.n_in,), np.float64),
        gym.spaces.Discrete(source.n_classes),
    )


def _check_render_mode(mode: str | None) -> None:
    if mode not in (None, "ansi"):
        raise TaskError(f"render_mode {mode!r}: allowed are None and 'ansi'")


class ParityEnv(PatternEnv):
    """``rnla/Parity-v0``: is the number of +1 among `n_bits` inputs ±1 odd? XOR is ``n_bits=2``."""

    make_source = staticmethod(parity)


class ParityVectorEnv(PatternVectorEnv):
    """`ParityEnv` for many agents."""

    make_source = staticmethod(parity)


class BarsEnv(PatternEnv):
    """``rnla/Bars-v0``: two parallel bars in a noisy 5×5 image (see `BarsSource`)."""

    make_source = BarsSource


class BarsVectorEnv(PatternVectorEnv):
    """`BarsEnv` for many agents."""

    make_source = BarsSource


class PatternsEnv(PatternEnv):
    """``rnla/Patterns-v0``: 40 random patterns in 10 classes (see `random_patterns`)."""

    make_source = staticmethod(random_patterns)


class PatternsVectorEnv(PatternVectorEnv):
    """`PatternsEnv` for many agents."""

    make_source = staticmethod(random_patterns)


class DigitsEnv(PatternEnv):
    """``rnla/Digits-v0``: scikit-learn's handwritten digits (see `digits`)."""

    make_source = staticmethod(digits)


class DigitsVectorEnv(PatternVectorEnv):
    """`DigitsEnv` for many agents."""

    make_source = staticmethod(digits)


class ThreeDigitsEnv(PatternEnv):
    """``rnla/ThreeDigits-v0``: the poster's three images, reward ±1 (see `three_digits`)."""

    make_source = staticmethod(three_digits)


class ThreeDigitsVectorEnv(PatternVectorEnv):
    """`ThreeDigitsEnv` for many agents."""

    make_source = staticmethod(three_digits)


class TableEnv(PatternEnv):
    """``rnla/Table-v0``: classify the rows of a .npz or .csv file (see `table`)."""

    make_source = staticmethod(table)


class TableVectorEnv(PatternVectorEnv):
    """`TableEnv` for many agents."""

    make_source = staticmethod(table)
