"""A simplified Pong by smooth pursuit, as a published chip played it: say where the ball is, and the paddle goes there.

Game, reward and constants: T. Wunderlich et al. 2019, "Demonstrating Advantages of Neuromorphic Computation: A Pilot
Study", Front. Neurosci. 13:260, and the settings of its public simulation, github.com/electronicvisions/model-sw-pong.
The code is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym
import numpy as np

from rnla_neuro.errors import TaskError

COLUMNS: Final = 32
#: Reward by the distance between the chosen column and the ball's (their Equation 5); 0 beyond.
REWARDS: Final = (1.0, 0.7, 0.4, 0.1)
_RADIUS: Final = 0.02  # of the ball; all lengths in units of the field's side
_BALL_SPEED: Final = 0.025  # a step, the sum of both components
_PADDLE_SPEED: Final = 0.05  # a step
_PADDLE: Final = 0.07  # length


def graded_reward(chosen: int, ball: int) -> float:
    """Return the reward for choosing a column while the ball is in another.

    >>> [graded_reward(chosen, 10) for chosen in (10, 11, 8, 13, 14)]
    [1.0, 0.7, 0.4, 0.1, 0.0]
    """
    distance = abs(int(chosen) - int(ball))
    return REWARDS[distance] if distance < len(REWARDS) else 0.0


def chance_reward(columns: int = COLUMNS) -> float:
    """Return the mean reward of random choices, if the ball is in each column equally often.

    >>> round(chance_reward(), 5)
    0.10273
    """
    pairs = [columns if d == 0 else 2 * max(columns - d, 0) for d in range(len(REWARDS))]
    return sum(reward * n for reward, n in zip(REWARDS, pairs, strict=True)) / columns**2


@dataclass
class _Game:
    """Where ball and paddle are.

    Attributes:
        x: Position of the ball along the paddle's line, 0 to 1.
        y: Its height above that line.
        vx: Change of x in a step.
        vy: Change of y in a step.
        paddle: Position of the paddle's middle.
    """

    x: float
    y: float
    vx: float
    vy: float
    paddle: float = 0.5

    def move_paddle(self, target: int, columns: int) -> None:
        """Move the paddle towards a column, or not if it is there."""
        here = min(int(self.paddle * columns), columns - 1)
        step = _PADDLE_SPEED * float(np.sign(target - here))
        self.paddle = min(max(self.paddle + step, 0.0), 1.0)

    def move_ball(self) -> None:
        """Move the ball, and reflect it at the walls beside and above."""
        self.x, self.y = self.x + self.vx, self.y + self.vy
        if not _RADIUS < self.x < 1.0 - _RADIUS:
            self.vx = math.copysign(self.vx, 0.5 - self.x)
        if self.y > 1.0 - _RADIUS:
            self.vy = -abs(self.vy)

    def lost(self, paddle_length: float) -> bool:
        """Reflect a ball that has come down to the paddle; return whether the paddle is elsewhere."""
        if self.y >= _RADIUS:
            return False
        self.vy = abs(self.vy)
        return abs(self.x - self.paddle) > paddle_length / 2


class PongEnv(gym.Env[int, int]):
    """``rnla/Pong-v0``: the state is the ball's column, an action is the column to which the paddle is to go.

    Every step is rewarded for what was chosen, by the distance from the ball (`graded_reward`): anticipation is not
    needed. The paddle moves towards the chosen column at constant speed. The ball starts in the middle in a random
    direction; the episode ends when the paddle fails to reflect it, or after 300 steps (ours, so that episodes of a
    perfect player end). The info carries ``label``, the ball's column.

    Args:
        columns: Into how many the field is divided.
        paddle_length: In units of the field's side.
        render_mode: ``"ansi"`` draws the field as text.

    Raises:
        TaskError: A value is not allowed.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 10}  # noqa: RUF012 - as in Gymnasium

    def __init__(self, columns: int = COLUMNS, paddle_length: float = _PADDLE, render_mode: str | None = None) -> None:
        if isinstance(columns, bool) or not isinstance(columns, int | np.integer) or not 2 <= columns <= 1000:
            raise TaskError(f"rnla/Pong-v0: columns = {columns!r}: allowed is a whole number from 2 to 1000")
        if not isinstance(paddle_length, int | float) or not 0 < paddle_length <= 1:
            raise TaskError(f"rnla/Pong-v0: paddle_length = {paddle_length!r}: allowed is a number above 0, to 1")
        if render_mode not in (None, "ansi"):
            raise TaskError(f"render_mode {render_mode!r}: allowed are None and 'ansi'")
        self.render_mode = render_mode
        self.columns, self.paddle_length = int(columns), float(paddle_length)
        self.observation_space = gym.spaces.Discrete(self.columns)  # type: ignore[assignment]  # of int64
        self.action_space = gym.spaces.Discrete(self.columns)  # type: ignore[assignment]
        self._game: _Game | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Put ball and paddle into the middle; the ball's direction is drawn."""
        super().reset(seed=seed)
        along = self.np_random.uniform(0.0, 0.5) * self.np_random.choice((-1.0, 1.0))
        down = (1.0 - abs(along)) * self.np_random.choice((-1.0, 1.0))
        self._game = _Game(0.5, 0.5, _BALL_SPEED * float(along), _BALL_SPEED * float(down))
        return self._column(), self._info()

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Reward the choice, then move paddle and ball.

        Raises:
            TaskError: `action` is no column, or there was no reset.
        """
        if self._game is None:
            raise TaskError("PongEnv: call reset() before step()")
        if not 0 <= action < self.columns:
            raise TaskError(f"PongEnv: action {action!r}: allowed are 0 to {self.columns - 1}")
        reward = graded_reward(action, self._column())
        self._game.move_paddle(int(action), self.columns)
        self._game.move_ball()
        lost = self._game.lost(self.paddle_length)
        return self._column(), reward, lost, False, self._info()

    def render(self) -> str:
        """Draw the field: ``o`` is the ball, ``=`` the paddle."""
        if self._game is None:
            return ""
        rows = self.columns // 2
        field = [[" "] * self.columns for _ in range(rows + 1)]
        field[min(int((1.0 - self._game.y) * rows), rows - 1)][self._column()] = "o"
        for column in range(self.columns):
            if abs((column + 0.5) / self.columns - self._game.paddle) <= self.paddle_length / 2:
                field[rows][column] = "="
        return "\n".join("".join(row) for row in field)

    def _column(self) -> int:
        assert self._game is not None
        return min(max(int(self._game.x * self.columns), 0), self.columns - 1)

    def _info(self) -> dict[str, Any]:
        assert self._game is not None
        where = np.array([self._game.x, self._game.y])
        return {"label": self._column(), "ball": where, "paddle": self._game.paddle}
