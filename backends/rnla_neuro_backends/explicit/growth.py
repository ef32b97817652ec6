"""Is a step stable, for models whose form is not known: a perturbation is followed for some steps.

For models of the proven form `stability` knows it from the weights. Here the engine itself is asked what becomes of
a state that is a little off, where the two foremost action neurons tie: what is off is scaled down again after each
step, so that it turns into the mode that grows most (the power iteration, on the step as it is).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.explicit.engine import Block, BlockResult

FloatArray = npt.NDArray[np.float64]
State = dict[str, npt.NDArray[Any]]

_SETTLE, _HOLD, _TURN, _COUNT = 40, 4, 20, 12  # steps: to rest, held at the tie, until one mode is left, counted
_HUGE, _FAR = 1e6, 1.0
_KICK = {"float64": 1e-6, "float32": 2e-3}  # small against 1/g, large against rounding
_MOVING = ("u", "ebar_prev", "rbar_prev", "drive_prev", "noise_bar", "lowpass", "own")


class Stepped(Protocol):
    """What is asked of an engine; see `Engine`."""

    def advance(self, block: Block) -> BlockResult:
        """Advance all agents by a block."""

    def read(self) -> State:
        """Return copies of the state by its canonical names."""

    def write(self, state: State) -> None:
        """Replace the parts of the state that are given."""


def refuse_growing(engine: Stepped, network: NetworkSpec) -> float:
    """Follow a perturbation on an engine, and raise if it grows.

    Returns:
        By what it grew in a step, at most over agents; it is below 1.

    Raises:
        ConvergenceError: It grows, or voltages diverge.
    """
    growth = measured_growth(engine, network)
    worst = int(np.argmax(growth))
    if growth[worst] < 1.0:
        return float(growth[worst])
    how = f"grow by {growth[worst]:.3g} in a step" if np.isfinite(growth[worst]) else "diverge"
    dt = network.model.trial.dt
    raise ConvergenceError(
        f"model {network.model.name!r}: its equations are not stable step by step: perturbations of the voltages {how} "
        f"(agent {worst}, the two foremost action neurons at a tie; measured on Brian2's own groups). "
        f"Way out: a smaller dt (now {dt * 1e3:g} ms), a weaker nudging, smaller weights; errors that are passed from "
        "layer to layer (feedback_pre = 'w*ebar_post') instead of formed from voltages"
    )


def measured_growth(engine: Stepped, network: NetworkSpec) -> FloatArray:
    """Return by what a perturbation grows in a step, shape (A,); the engine's state is what it was.

    Args:
        engine: Any engine, with the weights that are to be looked at.
        network: What it runs.
    """
    before = engine.read()
    random = np.random.default_rng(0).standard_normal(network.sizes[0])
    found = []
    try:
        for x in (np.zeros_like(random), random):
            engine.write(before)
            found.append(_follow(engine, network, x))
    finally:
        engine.write(before)
    return np.asarray(np.max(found, axis=0))


def _follow(engine: Stepped, network: NetworkSpec, x: FloatArray) -> FloatArray:
    agents, rng = len(network.seeds), np.random.default_rng(1)
    run = _Runner(engine, np.repeat(x[None], agents, axis=0), network)
    start, noise, lost = run.tie()
    after = run(start, noise)
    kick = _KICK[network.precision]
    off = {"u": kick * rng.standard_normal(start["u"].shape)}
    logs = []
    for _ in range(_TURN + _COUNT):
        moved = run(start | {name: start[name] + part for name, part in off.items()}, noise)
        lost |= _lost(moved)
        off = {name: _difference(moved[name], after[name]) for name in _MOVING if name in start and name in after}
        size = np.max([np.abs(off[name]).max(axis=1, initial=1e-300) for name in off if name != "own"], axis=0)
        logs.append(np.log(size / kick))
        # `own` also holds sums that are formed anew in each step, such as those of a softmax, of any size
        off = {name: np.clip(part * (kick / size)[:, None], -_FAR, _FAR) for name, part in off.items()}
    growth: FloatArray = np.where(lost, np.inf, np.exp(np.mean(logs[-_COUNT:], axis=0)))
    return growth


def _lost(state: State) -> npt.NDArray[np.bool_]:
    return ~np.asarray((np.abs(state["u"]) < _HUGE).all(axis=1))


def _difference(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> FloatArray:
    """Subtract; what is not finite in both, such as the time of a spike that never was, does not differ."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference: FloatArray = np.nan_to_num(np.clip(one - other, -1e100, 1e100))
    return difference


class _Runner:
    """Runs steps in which nothing happens: a held input, held noise, shut gates, no events."""

    def __init__(self, engine: Stepped, x: FloatArray, network: NetworkSpec) -> None:
        self._engine, self._x, self._network = engine, x, network

    def __call__(self, state: State | None, noise: FloatArray, steps: int = 1) -> State:
        """Return the state some steps after a state; None: the one that the engine is in."""
        if state is not None:
            self._engine.write(state)
        nothing = np.zeros(0, np.int64)
        block = Block(
            n_steps=steps,
            t0=0.0,
            trial=0,
            basis=self._x[:, None, :],
            coefficients=np.ones((steps, 1)),
            noise=noise[:, None, :],
            noise_row=np.zeros(steps, np.int64),
            gate=np.zeros(steps, np.int64),
            event_agent=nothing,
            event_step=nothing,
            event_channel=nothing,
            event_value=np.zeros(0),
        )
        try:
            self._engine.advance(block)
        except ConvergenceError:  # no longer finite, or no landing: seen in the voltages
            state = self._engine.read()
            return {**state, "u": np.full_like(state["u"], np.inf)}
        return self._engine.read()

    def tie(self) -> tuple[State, FloatArray, npt.NDArray[np.bool_]]:
        """Return a state at a tie of the two foremost action neurons, which noise explains, and the noise.

        Beside them, in which agents voltages had diverged before it came to that.
        """
        n_out = self._network.sizes[-1]
        noise = np.zeros((len(self._x), n_out))
        for _ in range(4):
            rest = self(None, noise, _SETTLE // 4)
        lost = _lost(rest)
        target = np.where(lost[:, None], 0.0, rest["u"])
        top = target[:, -n_out:]
        two = top >= np.sort(top, axis=1)[:, -2:-1]
        tied = np.where(two, top.max(axis=1, keepdims=True), top - 1.0)
        if self._network.model.exploration.law != "none":
            noise = tied - top
        target = np.concatenate([target[:, :-n_out], tied], axis=1)
        state = rest
        for _ in range(_HOLD):  # past values follow the voltages that are held
            self._engine.write({"u": target, "noise_bar": noise})
            state = self(None, noise)
        return {**state, "u": target, "noise_bar": noise}, noise, lost
