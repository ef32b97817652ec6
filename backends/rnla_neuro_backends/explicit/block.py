"""Plans the blocks that an engine of the explicit form is given: what changes at which step.

A block covers the time from the last decision to the next. Time is a grid of [trial] dt, which divides T and
the time of the decision; whatever falls between two grid points happens at the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

import numpy as np

from rnla_neuro.events import EventBatch
from rnla_neuro.spec.chance import SILENT
from rnla_neuro.spec.model import TrialSpec
from rnla_neuro_backends.explicit.engine import Block, FloatArray, IntArray, Start

_EARLY = 1e-9  # of a step: events this close behind a grid point belong to it


@dataclass(frozen=True)
class Course:
    """What is the same for all blocks of one length.

    Attributes:
        n_steps: Number S of steps.
        switch: The step with which the trial starts; None while the network idles.
        gate: 1 where the eligibility gate is open, shape (S,).
        coefficients: Weights of the previous input and of the new one, shape (S, 2).
    """

    n_steps: int
    switch: int | None
    gate: IntArray
    coefficients: FloatArray


class Planner:
    """Divides a model's trials into steps."""

    def __init__(self, trial: TrialSpec) -> None:
        self._trial = trial
        self.dt = trial.dt
        self.period, self.decision = round(trial.duration / trial.dt), round(trial.decision / trial.dt)
        # the nearest grid point; half-way between two, the later one: its noise is nearer to the decision's
        self.open_steps = max(1, ceil(trial.gate / trial.dt - 0.5 - 1e-6)) if trial.gate > 0 else 0
        self._courses: dict[int | None, Course] = {}

    def course(self, gap: int | None) -> Course:
        """Return the course of a block with one decision.

        Args:
            gap: Steps that pass before the trial if the network has idled; None if the block follows a decision.
        """
        if gap not in self._courses:
            after = self.period - self.decision if gap is None else gap
            n_steps = after + self.decision
            step = np.arange(n_steps)
            gate = (step >= n_steps - self.open_steps).astype(np.int64)
            self._courses[gap] = Course(n_steps, after, gate, self._input(step - after))
        return self._courses[gap]

    def _input(self, step: IntArray) -> FloatArray:
        """Weights of the previous and the new input at steps counted from the start of the trial."""
        length = self._trial.ramp / self.dt
        new = (step >= 0).astype(np.float64)
        ramp = (step >= 0) & (step < length - _EARLY)
        new[ramp] = 0.5 * (1.0 - np.cos(np.pi * step[ramp] / length))
        return np.stack([1.0 - new, new], axis=1)

    @staticmethod
    @lru_cache(maxsize=32)
    def idle(n_steps: int) -> Course:
        """Return a course without a trial: the gate is shut, and the input stays."""
        coefficients = np.tile([1.0, 0.0], (n_steps, 1))
        return Course(n_steps, None, np.zeros(n_steps, np.int64), coefficients)

    def steps_until(self, t0: float, t: float) -> int:
        """Return after how many steps from `t0` an event at `t` is applied."""
        return max(0, int(_event_steps(np.array([t]), t0, self.dt)[0]))


_EPS = float(np.finfo(np.float64).eps)


def _event_steps(time: FloatArray, t0: float, dt: float) -> IntArray:
    """First grid points at or behind the times of events; times of different origin differ by rounding."""
    rounding = 4 * _EPS * max(abs(t0), float(np.abs(time).max(initial=0.0)))
    return np.ceil((time - t0 - rounding) / dt - _EARLY).astype(np.int64)


_NO_EVENTS: dict[str, IntArray | FloatArray] = {
    "event_agent": np.zeros(0, np.int64),
    "event_step": np.zeros(0, np.int64),
    "event_channel": np.zeros(0, np.int64),
    "event_value": np.zeros(0),
}


def place_events(events: EventBatch, t0: float, course: Course, dt: float) -> dict[str, IntArray | FloatArray]:
    """Return the event arrays of a block that starts at `t0`; what is due later is applied at its end."""
    if not len(events):
        return _NO_EVENTS
    if course.n_steps == 0:
        step = np.zeros(len(events), np.int64)
    else:
        step = np.minimum(np.maximum(_event_steps(events.time, t0, dt), 0), course.n_steps)
    if not step.any():  # rewards that come at once: all are due now, and sorted by agent already
        return {
            "event_agent": events.agent,
            "event_step": step,
            "event_channel": events.channel,
            "event_value": events.value,
        }
    order = np.lexsort((step, events.agent))  # stable: the order of arrival within a step
    return {
        "event_agent": np.asarray(events.agent[order], np.int64),
        "event_step": step[order],
        "event_channel": np.asarray(events.channel[order], np.int64),
        "event_value": np.asarray(events.value[order], np.float64),
    }


def make_block(
    course: Course,
    dt: float,
    *,
    t0: float,
    trial: int,
    basis: FloatArray,
    noise: tuple[FloatArray, IntArray],
    events: EventBatch,
    start: Start = "continue",
    record: bool = False,
) -> Block:
    """Put a block together; the arguments are those of `Block`, and noise as `Exploration.steps` returns it."""
    return Block(
        n_steps=course.n_steps,
        t0=t0,
        trial=trial,
        basis=basis,
        coefficients=course.coefficients,
        noise=noise[0],
        noise_row=noise[1],
        gate=course.gate,
        **place_events(events, t0, course, dt),  # type: ignore[arg-type]
        start=start,
        record=record,
        counter=round(t0 / dt),
    )


def quiet_block(course: Course, dt: float, x: FloatArray, n_agents: int, n_out: int) -> Block:
    """Return a course in which nothing happens but the input, the same for all agents: no noise, no learning.

    Args:
        course: The steps; its gate stays shut.
        dt: Seconds a step.
        x: Input, shape (n_in,).
        n_agents: Number of agents.
        n_out: Number of actions.
    """
    block = make_block(
        replace(course, gate=np.zeros(course.n_steps, np.int64)),
        dt,
        t0=0.0,
        trial=0,
        basis=np.tile(np.stack([np.zeros_like(x), x]), (n_agents, 1, 1)),
        noise=(np.zeros((n_agents, 1, n_out)), np.zeros(course.n_steps, np.int64)),
        events=EventBatch.empty(),
        start="equilibrium",
    )
    return replace(block, counter=SILENT)


def split(block: Block, dt: float, max_steps: int, max_events: int) -> Iterator[Block]:
    """Cut a block into parts that an engine can take, without changing what happens.

    Events of a cut belong to the step that starts there. Where one step alone has too many of them, the first
    ones are applied in a part without steps.

    Args:
        block: What is to happen.
        dt: Seconds a step.
        max_steps: Most steps of a part.
        max_events: Most events of a part, all agents together.
    """
    if block.n_steps <= max_steps and len(block.event_step) <= max_events:
        yield block
        return
    by_step = np.argsort(block.event_step, kind="stable")
    at, done = 0, 0
    start = block.start
    while True:
        left = block.event_step[by_step[done:]]
        end = min(at + max_steps, block.n_steps)
        if len(left) > max_events:
            end = min(end, int(left[max_events]))
        last = end == block.n_steps and len(left) <= max_events
        taken = len(left) if last else int(np.searchsorted(left, end)) if end > at else max_events
        yield _part(block, at, end, np.sort(by_step[done : done + taken]), dt, start if end > at else "continue")
        at, done, start = end, done + taken, "continue" if end > at else start
        if last:
            return


def _part(block: Block, first: int, end: int, events: IntArray, dt: float, start: Start) -> Block:
    rows, row = np.unique(block.noise_row[first:end], return_inverse=True)
    if not len(rows):
        rows = np.zeros(1, np.int64)
    return replace(
        block,
        n_steps=end - first,
        t0=block.t0 + first * dt,
        coefficients=block.coefficients[first:end],
        noise=block.noise[:, rows],
        noise_row=row.astype(np.int64),
        gate=block.gate[first:end],
        event_agent=block.event_agent[events],
        event_step=block.event_step[events] - first,
        event_channel=block.event_channel[events],
        event_value=block.event_value[events],
        start=start,
        counter=block.counter + first,
    )
