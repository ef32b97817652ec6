"""What the numpy engine works with: one array a layer, and what is done to such arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConvergenceError
from rnla_neuro_backends.explicit.engine import Block, IntArray

Real = npt.NDArray[Any]
MAX_SWEEPS = 500
Agents = slice | IntArray
ALL = slice(None)


@dataclass
class Fields:
    """What a step works with: one array (A, n) a layer after the input, unless it says otherwise.

    `rate` has the bias unit last and starts with the input; `slope` is of the hidden layers; `noise` (noise_bar) of
    the action layer; `w` has the weights of each projection.
    """

    w: list[Real]
    u: list[Real]
    drive: list[Real]
    ebar: list[Real]
    rate: list[Real]
    slope: list[Real]
    noise: list[Real]

    def take(self, agents: Agents) -> Fields:
        """Return some agents' part: a view of all of them, or a copy of a few."""
        if isinstance(agents, slice):
            return self
        return Fields(*([x[agents] for x in getattr(self, f.name)] for f in fields(self)))

    def put(self, agents: Agents, part: Fields) -> None:
        """Write what `take` returned back; the weights are not written."""
        if isinstance(agents, slice):
            return
        for f in fields(self)[1:]:
            for own, new in zip(getattr(self, f.name), getattr(part, f.name), strict=True):
                own[agents] = new


def by_step(block: Block) -> dict[int, list[tuple[int, int, float]]]:
    """Return (agent, channel, value) of each step's events, in the order in which they arrive."""
    found: dict[int, list[tuple[int, int, float]]] = {}
    for agent, step, channel, value in zip(
        block.event_agent, block.event_step, block.event_channel, block.event_value, strict=True
    ):
        found.setdefault(int(step), []).append((int(agent), int(channel), float(value)))
    return found


def product(w: Real, rate: Real) -> Real:
    """Return W r of each agent, shape (A, n_post)."""
    out: Real = np.matmul(w, rate[:, :, None])[:, :, 0]
    return out


def spread(flat: npt.NDArray[Any], parts: list[Real]) -> None:
    """Write one array (A, total) into arrays of which it is made."""
    at = 0
    for part in parts:
        size = part[0].size
        part[...] = flat[:, at : at + size].reshape(part.shape)
        at += size


def failure(kind: int, block: Block) -> ConvergenceError:
    """Word why a block could not be done: 1, no landing; 2, voltages without bounds."""
    where = f"in the {block.n_steps} steps from t = {block.t0:.4g} s"
    if kind == 1:
        return ConvergenceError(
            f"{MAX_SWEEPS} sweeps did not find the voltages after a jump ({where}): the nudging is too strong for "
            "these weights. Way out: a smaller beta (the learning rate is per unit of error/beta, so nothing is "
            "lost), a smaller gain of the winner-take-all, or smaller weights"
        )
    return ConvergenceError(
        f"voltages are no longer finite ({where}): the weights have diverged, or dt is too large for the explicit "
        "form. Way out: a smaller learning rate (eta), weaker homeostasis, or a smaller dt"
    )
