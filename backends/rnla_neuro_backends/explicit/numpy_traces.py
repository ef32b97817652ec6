"""Plasticity in numpy: neuromodulators, and eligibility traces that are formed when something reads them.

Between two events a step adds a[c] pre[c]^T to the traces (a: what the sources are times their weights in each
trace; pre: the presynaptic rates). Such pairs wait in a list; each decays as the traces do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.spec.form import EquilibriumForm, Traces
from rnla_neuro.spec.numeric import compile_expression
from rnla_neuro_backends.explicit.numpy_fields import Real
from rnla_neuro_backends.moving_equilibrium.core import initial_modulators, modulator_state

FloatArray = npt.NDArray[np.float64]
_FIELDS = ("u", "drive", "ebar", "noise_bar", "mismatch", "n")
_CLOCK = ("R", "t", "trial", "credit", "n")
_CAPACITY = 256  # pairs that wait, at most
_PULSE_END = 1e-14  # a pulse of which less than this is left has ended


class Modulators:
    """The neuromodulators' variables of all agents.

    Attributes:
        values: Shape (A, variables), in the order of `modulator_state`.
        names: Names of the variables.
    """

    def __init__(self, form: EquilibriumForm, n_out: int, n_agents: int) -> None:
        self.names = tuple(v for _, v in modulator_state(form))
        self.values: FloatArray = np.tile(initial_modulators(form, n_out), (n_agents, 1))
        self._pulses = [
            (self.names.index(m.pulse.variable), m.channel, m.pulse.tau) for m in form.modulators if m.pulse
        ]
        self._statements: list[list[tuple[int, Callable[..., Any]]]] = [
            [
                (self.names.index(v), compile_expression(x, (*self.names, *_CLOCK), form.parameters))
                for v, x in m.statements
            ]
            for m in form.modulators
        ]

    def event(self, agent: int, channel: int, clock: tuple[float, ...]) -> FloatArray:
        """Run what a channel does on an event; return the agent's variables."""
        values: FloatArray = self.values[agent]
        for index, statement in self._statements[channel]:
            values[index] = statement(*values, *clock)
        return values

    def pulsing(self) -> list[str]:
        """Return the channels with a pulse that lasts, in some agent."""
        return [channel for index, channel, _ in self._pulses if self.values[:, index].any()]

    def decay(self, dt: float) -> None:
        """Let all pulses decay by an Euler step."""
        for index, _, tau in self._pulses:
            level = self.values[:, index] * (1.0 - dt / tau)
            self.values[:, index] = np.where(np.abs(level) * tau < _PULSE_END, 0.0, level)


class Plasticity:
    """The compiled rules of one kind of projection.

    Args:
        traces: The rules.
        parameters: Values of the model's parameters.
        variables: Names of the neuromodulators' variables.
        dt: Step in seconds.
    """

    def __init__(
        self, traces: Traces, parameters: dict[str, float], variables: tuple[str, ...], dt: float
    ) -> None:
        self.n_trace, self.n_source = len(traces.names), len(traces.sources)
        self.step: FloatArray = np.eye(self.n_trace) + dt * traces.A
        self.weights: FloatArray = dt * traces.B
        self.gated = np.array([s.gated for s in traces.sources], dtype=bool)
        self.sources = [compile_expression(s.factor, _FIELDS, parameters) for s in traces.sources]
        self.gains, self.flows = (
            {
                channel: [compile_expression(g, (*variables, *_CLOCK), parameters) for g in update.gains]
                for channel, update in updates.items()
            }
            for updates in (traces.updates, traces.flows)
        )
        self.resets = {channel: np.flatnonzero(u.resets) for channel, u in traces.updates.items()}
        self._powers: list[FloatArray] = [np.eye(self.n_trace)]

    def power(self, age: int) -> FloatArray:
        """What is left of each trace in each other one after some steps, shape (n_trace, n_trace)."""
        if age > 4 * _CAPACITY:
            return np.linalg.matrix_power(self.step, age)
        while len(self._powers) <= age:
            self._powers.append(self.step @ self._powers[-1])
        return self._powers[age]


class ProjectionTraces:
    """The traces of one projection of all agents.

    Attributes:
        z: As of the last `flush`, shape (A, n_trace, n_post, n_pre + 1).
    """

    def __init__(self, rule: Plasticity, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        agents, n_post, n_pre = shape
        self.rule = rule
        self.z: Real = np.zeros((agents, rule.n_trace, n_post, n_pre), dtype)
        self._a: list[Real] = []
        self._pre: list[Real] = []
        self._tick: list[int] = []
        self._now = self._flushed = 0

    def forget(self) -> None:
        """Drop what waits: the traces are about to be replaced."""
        self._a, self._pre, self._tick, self._flushed = [], [], [], self._now

    def push(self, fields: tuple[Any, ...], pre: Real, is_open: bool) -> None:
        """Take a step: old traces decay, the sources add to them.

        Args:
            fields: Postsynaptic u, drive, ebar, noise_bar, mismatch, each (A, n_post), and n.
            pre: Presynaptic rates, the bias unit last, shape (A, n_pre + 1). The same array as in the step
                before stands for the same rates.
            is_open: Whether the gate is open.
        """
        rule = self.rule
        self._now += 1
        active: list[int] = np.flatnonzero(is_open | ~rule.gated).tolist()
        if not active:
            return
        parts = np.zeros((len(pre), rule.n_trace, self.z.shape[2]), self.z.dtype)
        for s in active:
            value = np.broadcast_to(rule.sources[s](*fields), fields[0].shape)
            for r in np.flatnonzero(rule.weights[:, s]):
                parts[:, r] += self.z.dtype.type(rule.weights[r, s]) * value
        if self._pre and self._pre[-1] is pre:
            carry = rule.power(self._now - self._tick[-1]).astype(self.z.dtype)
            self._a[-1] = np.matmul(carry, self._a[-1]) + parts
            self._tick[-1] = self._now
        else:
            self._a.append(parts)
            self._pre.append(pre)
            self._tick.append(self._now)
        if len(self._a) >= _CAPACITY:
            self.flush()

    def flush(self) -> Real:
        """Bring the traces up to date and return them."""
        rule, z = self.rule, self.z
        if self._now > self._flushed and rule.n_trace:
            carry = rule.power(self._now - self._flushed).astype(z.dtype)
            if rule.n_trace == 1:
                z *= carry[0, 0]
            else:
                z[...] = np.matmul(carry, z.reshape(*z.shape[:2], -1)).reshape(z.shape)
        if self._a:
            agents, n_trace, n_post, _ = z.shape
            aged = [
                np.matmul(rule.power(self._now - t).astype(z.dtype), a)
                for a, t in zip(self._a, self._tick, strict=True)
            ]
            left = np.stack(aged, axis=-1).reshape(agents, n_trace * n_post, -1)
            z += np.matmul(left, np.stack(self._pre, axis=1)).reshape(z.shape)
        self.forget()
        return z

    def change(self, w: Real, agent: int, channel: str, values: tuple[float, ...]) -> bool:
        """Let an event change an agent's weights; returns whether it does."""
        gains: list[Callable[..., Any]] | None = self.rule.gains.get(channel)
        if gains is None:
            return False
        z = self.flush()[agent]
        for trace, gain in enumerate(gains):
            w[agent] += w.dtype.type(gain(*values)) * z[trace]
        z[self.rule.resets[channel]] = 0.0
        return True

    def flow_gains(self, channel: str, values: list[tuple[float, ...]]) -> Real:
        """Return dw/dt per unit of each trace while a pulse lasts, shape (A, n_trace)."""
        gains = self.rule.flows.get(channel)
        if gains is None:
            return np.zeros((len(values), self.rule.n_trace), self.z.dtype)
        return np.array([[float(gain(*v)) for gain in gains] for v in values]).astype(self.z.dtype)
