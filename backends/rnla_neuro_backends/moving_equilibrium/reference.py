"""The numpy core: the same calls as the compiled one, organised the other way round.

Between two weight changes the columns of a trial are independent, so they are solved together as matrix
products, and the traces are formed by one product a trace. It runs without a compiler, and it is what the
compiled core is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm

from rnla_neuro.spec.form import Modulator, Traces
from rnla_neuro.spec.numeric import ActionLayer, compile_expression, rate_and_slope
from rnla_neuro_backends.moving_equilibrium.core import (
    Call,
    Core,
    CoreSettings,
    CoreState,
    Outcome,
    modulator_state,
    no_convergence,
    rounding_slack,
)

FloatArray = npt.NDArray[Any]
_SOURCE = ("u", "drive", "ebar", "noise_bar", "mismatch")
_CLOCK = ("R", "t", "trial", "credit", "n")
_PULSE_END = 1e-7


@dataclass(frozen=True)
class _Piece:
    """A stretch of one column without an event inside: `column`, `duration` d, end time `until`."""

    column: int
    duration: float
    until: float


@dataclass
class _Solved:
    """Voltages and errors of a block of columns, one array (n_l, C) a layer, inputs first."""

    rate: list[FloatArray]
    u: list[FloatArray]
    drive: list[FloatArray]
    ebar: list[FloatArray]
    mismatch: list[FloatArray]
    noise: FloatArray


class _Plasticity:
    """Propagators and update rules of one kind of projection."""

    def __init__(self, traces: Traces, settings: CoreSettings, names: tuple[str, ...]) -> None:
        parameters = settings.form.parameters
        self.traces = traces
        self.n_trace, self.n_source = len(traces.names), len(traces.sources)
        self.sources = [compile_expression(s.factor, (*_SOURCE, "n"), parameters) for s in traces.sources]
        self.gains, self.flows = (
            {
                channel: [compile_expression(g, (*names, *_CLOCK), parameters) for g in update.gains]
                for channel, update in updates.items()
            }
            for updates in (traces.updates, traces.flows)
        )
        self._cache: dict[float, tuple[FloatArray, FloatArray]] = {}

    def propagate(self, d: float) -> tuple[FloatArray, FloatArray]:
        """Return exp(A d) and its integral applied to B."""
        if d not in self._cache:
            n, s = self.n_trace, self.n_source
            block = np.zeros((n + s, n + s))
            block[:n, :n], block[:n, n:] = self.traces.A, self.traces.B
            step = expm(block * d)
            self._cache[d] = (step[:n, :n], step[:n, n:])
        return self._cache[d]


class ReferenceCore(Core):
    """See `Core`."""

    def __init__(self, settings: CoreSettings) -> None:
        self.settings = settings
        form = settings.form
        self.state = CoreState(settings)
        self._rate = rate_and_slope(form)
        self._action = ActionLayer(form)
        self._names = tuple(v for _, v in modulator_state(form))
        self._kinds = {
            True: _Plasticity(form.action, settings, self._names),
            False: _Plasticity(form.hidden, settings, self._names),
        }
        self._statements: dict[str, list[tuple[int, Callable[..., Any]]]] = {
            m.channel: [
                (self._names.index(v), compile_expression(x, (*self._names, *_CLOCK), form.parameters))
                for v, x in m.statements
            ]
            for m in form.modulators
        }

    def advance(self, call: Call) -> Outcome:
        """See `Core.advance`."""
        a, n = self.settings.n_agents, self.settings.sizes[-1]
        outcome = Outcome(np.zeros((a, n)), np.zeros(a, np.int64), 0)
        if call.record:
            shape = (a, len(call.columns), sum(self.settings.sizes[1:]))
            outcome.recording = {name: np.zeros(shape) for name in ("u", "ebar", "drive")}
        for agent in range(a):
            _AgentCall(self, call, agent, outcome).run()
        return outcome


class _AgentCall:
    """One agent during one call."""

    def __init__(self, core: ReferenceCore, call: Call, agent: int, outcome: Outcome) -> None:
        self.core, self.call, self.agent, self.outcome = core, call, agent, outcome
        self.settings = core.settings
        mine = call.events.agent == agent
        self.events = list(
            zip(call.events.time[mine], call.events.channel[mine], call.events.value[mine], strict=True)
        )
        self.weights = [w[agent] for w in core.state.weights]
        self.traces = [z[agent] for z in core.state.traces]
        self.modulators = core.state.modulators[agent]
        self.early = 1e-9 * self.settings.dt
        self.recorded: set[int] = set()

    def run(self) -> None:
        t = self.call.t0
        self._events_until(t)
        block: list[_Piece] = []
        for piece in self._pieces():
            block.append(piece)
            last = piece.column == len(self.call.columns) - 1 and self._ends_column(piece)
            if self._event_at(piece.until) or self._pulsing() or last:
                self._process(block, decide=last)
                block = []
                self._events_until(piece.until)
            t = piece.until
        for time, channel, value in list(self.events):
            t = self._idle(t, time)
            self._event(int(channel), float(value), t)
        self.events = []
        while len(self.call.columns) == 0 and self._pulsing():
            t = self._idle(t, t + self.settings.dt)

    # ---- time ---------------------------------------------------------------------------------------
    def _pieces(self) -> Any:
        """Yield stretches; looks at events and pulses as they are when it is asked for the next one."""
        start = self.call.t0
        for c, duration in enumerate(self.call.columns.duration):
            end, t = start + duration, start
            while t < end - self.early:
                until = end
                if self.events and self.events[0][0] < end - self.early:
                    until = self.events[0][0]
                if self._pulsing():
                    until = min(until, t + self.settings.dt)
                d = duration if (until == end and t == start) else until - t
                yield _Piece(c, float(d), float(until))
                t = until
            start = end

    def _ends_column(self, piece: _Piece) -> bool:
        end = self.call.t0 + float(self.call.columns.duration[: piece.column + 1].sum())
        return piece.until >= end - self.early

    def _event_at(self, t: float) -> bool:
        return bool(self.events) and self.events[0][0] <= t + self.early

    def _events_until(self, t: float) -> None:
        while self._event_at(t):
            _, channel, value = self.events.pop(0)
            self._event(int(channel), float(value), t)

    def _idle(self, t: float, until: float) -> float:
        while t < until - self.early:
            pulsing = self._pulsing()
            d = min(self.settings.dt, until - t) if pulsing else until - t
            self._integrate([_Piece(-1, d, t + d)], None)
            t += d
        return t

    # ---- dynamics -----------------------------------------------------------------------------------
    def _process(self, block: list[_Piece], decide: bool) -> None:
        columns = self.call.columns
        mismatch = self._decay_mismatch(block)
        needed = [k for k, p in enumerate(block) if columns.solve[p.column]]
        solved = self._solve([block[k] for k in needed], [m[:, needed] for m in mismatch]) if needed else None
        self._integrate(block, solved)
        if decide and solved is not None:
            low = self.core.state.lowpass[self.agent]
            at_once = self.settings.form.decision.tau is None
            self.outcome.decision[self.agent] = self._decision(solved)[-1] if at_once else low

    def _decay_mismatch(self, block: list[_Piece]) -> list[FloatArray]:
        """Return the mismatch at the middle of each piece, and let it decay until the end of the block."""
        m = self.core.state.mismatch[self.agent]
        tau, middles = self.settings.form.tau_m, []
        for piece in block:
            middles.append(m * np.exp(-0.5 * piece.duration / tau))
            m *= np.exp(-piece.duration / tau)
        ends = np.cumsum(self.settings.sizes[1:])[:-1]
        return np.split(np.array(middles).T, ends)

    def _solve(self, block: list[_Piece], mismatch: list[FloatArray]) -> _Solved:
        call, sizes, a = self.call, self.settings.sizes, self.agent
        chosen = [p.column for p in block]
        dtype = self.core.state.w.dtype
        rate = [(call.coefficients[chosen] @ call.basis[a]).T.astype(dtype)]
        noise = call.noise[a, chosen].T.astype(dtype)
        shape = [(n, len(chosen)) for n in sizes]
        s = _Solved(
            rate=rate + [np.zeros(x, dtype) for x in shape[1:]],
            u=[np.zeros(x, dtype) for x in shape],
            drive=[np.zeros(x, dtype) for x in shape],
            ebar=[np.zeros(x, dtype) for x in shape],
            mismatch=[np.zeros(shape[0], dtype), *(m.astype(dtype) for m in mismatch)],
            noise=noise,
        )
        self._sweep(s)
        self._record(block, s)
        return s

    def _sweep(self, s: _Solved) -> None:
        settings, w = self.settings, self.weights
        last, residual, worst = len(settings.sizes) - 1, 0.0, last_layer(settings)
        taught = settings.form.taught  # then the noise holds the target, which is no part of the voltage
        slope: list[FloatArray] = [np.zeros(0)] * (last + 1)
        for sweep in range(1, settings.max_sweeps + 1):
            for k in range(1, last + 1):
                if k > 1 or sweep == 1:
                    s.drive[k] = w[k - 1][:, :-1] @ s.rate[k - 1] + w[k - 1][:, -1:]
                s.u[k] = s.drive[k] + s.ebar[k] + s.mismatch[k] + (s.noise if k == last and not taught else 0)
                if k < last:
                    s.rate[k], slope[k] = self.core._rate(s.u[k])
            fresh = {last: self.core._action.nudging(s.u[last].T, s.drive[last].T, s.noise.T).T}
            for k in range(last - 1, 0, -1):
                fresh[k] = slope[k] * (w[k][:, :-1].T @ fresh[k + 1])
            before = residual
            changes = {k: float(np.max(np.abs(e - s.ebar[k]))) for k, e in fresh.items()}
            size = max(float(np.max(np.abs(e))) for e in fresh.values())
            for k, e in fresh.items():
                s.ebar[k] = e
            worst = max(changes, key=lambda k: changes[k])
            residual = changes[worst]
            if not np.isfinite(residual):
                break
            rounding = rounding_slack(sweep) * settings.rounding * float(np.max(np.abs(s.u[last])))
            if residual <= max(settings.rtol * size, rounding):
                self.outcome.sweeps[self.agent] = max(self.outcome.sweeps[self.agent], sweep)
                return
        growth = residual / before if before > 0 else 0.0
        ratio = growth if np.isfinite(residual) else residual
        raise no_convergence(settings, self.agent, worst, ratio, self.call.t0)

    def _record(self, block: list[_Piece], s: _Solved) -> None:
        if not self.call.record:
            return
        for k, piece in enumerate(block):
            if piece.column in self.recorded:
                continue
            self.recorded.add(piece.column)
            for name, arrays in (("u", s.u), ("ebar", s.ebar), ("drive", s.drive)):
                values = np.concatenate([x[:, k] for x in arrays[1:]])
                self.outcome.recording[name][self.agent, piece.column] = values

    def _decision(self, s: _Solved) -> FloatArray:
        return self.core._action.decision(s.u[-1].T, s.drive[-1].T, s.noise.T)

    # ---- plasticity ---------------------------------------------------------------------------------
    def _integrate(self, block: list[_Piece], solved: _Solved | None) -> None:
        """Bring traces (and a decaying neuromodulator) to the end of the block."""
        if not self._pulsing():
            self._integrate_traces(block, solved)
            return
        for piece in block:  # with a pulse a block has one piece
            half = [_Piece(piece.column, 0.5 * piece.duration, piece.until)]
            self._integrate_traces(half, solved)
            self._pulse(piece.duration, piece.until - 0.5 * piece.duration)
            self._integrate_traces(half, solved)

    def _integrate_traces(self, block: list[_Piece], solved: _Solved | None) -> None:
        last = len(self.weights) - 1
        for k, z in enumerate(self.traces):
            if self.settings.plastic[k]:
                self._integrate_projection(k, self.core._kinds[k == last], z, block, solved)
        tau = self.settings.form.decision.tau
        if tau is not None and solved is not None:
            low, values = self.core.state.lowpass[self.agent], self._decision(solved)
            for piece, value in zip(self._solved_pieces(block), values, strict=True):
                low += -np.expm1(-piece.duration / tau) * (value - low)

    def _solved_pieces(self, block: list[_Piece]) -> list[_Piece]:
        return [p for p in block if p.column >= 0 and self.call.columns.solve[p.column]]

    def _integrate_projection(
        self, k: int, rule: _Plasticity, z: FloatArray, block: list[_Piece], solved: _Solved | None
    ) -> None:
        carry = np.eye(rule.n_trace)
        contributions: list[FloatArray] = []
        for piece in block:
            step, source = rule.propagate(piece.duration)
            carry = step @ carry
            contributions = [step @ q for q in contributions]
            if solved is not None and piece.column >= 0 and self.call.columns.solve[piece.column]:
                is_open = bool(self.call.columns.gate[piece.column])
                opened = [float(is_open or not s.gated) for s in rule.traces.sources]
                contributions.append(source * np.array(opened))
        z[...] = np.tensordot(carry, z, axes=1)
        if not contributions or solved is None:
            return
        ones = np.ones((1, len(contributions)))
        pre = np.concatenate([solved.rate[k], ones])
        weight = np.array(contributions)  # (C, n_trace, n_source)
        n = float(self.settings.sizes[-1])
        noise = solved.noise if k == len(self.weights) - 1 else np.zeros(1)
        fields = (solved.u[k + 1], solved.drive[k + 1], solved.ebar[k + 1], noise, solved.mismatch[k + 1], n)
        for s, factor in enumerate(rule.sources):
            post = np.broadcast_to(factor(*fields), solved.u[k + 1].shape)
            for trace in range(rule.n_trace):
                if weight[:, trace, s].any():
                    z[trace] += (post * weight[:, trace, s]) @ pre.T

    def _event(self, channel: int, value: float, t: float) -> None:
        modulator = self.settings.form.modulators[channel]
        self.outcome.delivered += 1
        clock = self._clock(value, t)
        for index, statement in self.core._statements[modulator.channel]:
            self.modulators[index] = statement(*self.modulators, *clock)
        self._change_weights(modulator, clock, pulse=False)

    def _clock(self, value: float, t: float) -> tuple[float, ...]:
        s = self.settings
        return value, t, float(self.call.trial), s.credit, float(s.sizes[-1])

    def _change_weights(self, modulator: Modulator, clock: tuple[float, ...], pulse: bool) -> None:
        last = len(self.weights) - 1
        for k, (w, z) in enumerate(zip(self.weights, self.traces, strict=True)):
            rule = self.core._kinds[k == last]
            gains = rule.flows if pulse else rule.gains
            if not self.settings.plastic[k] or modulator.channel not in gains:
                continue
            for trace, gain in enumerate(gains[modulator.channel]):
                w += gain(*self.modulators, *clock) * z[trace]
            rules = rule.traces.flows if pulse else rule.traces.updates
            for trace, reset in enumerate(rules[modulator.channel].resets):
                if reset:
                    z[trace] = 0.0

    def _pulsing(self) -> bool:
        return any(self._level(m) != 0 for m in self.settings.form.modulators if m.pulse)

    def _level(self, modulator: Modulator) -> float:
        assert modulator.pulse is not None
        return float(self.modulators[self.core._names.index(modulator.pulse.variable)])

    def _pulse(self, d: float, t: float) -> None:
        for modulator in self.settings.form.modulators:
            if modulator.pulse is None or self._level(modulator) == 0:
                continue
            at, tau = self.core._names.index(modulator.pulse.variable), modulator.pulse.tau
            level = self._level(modulator)
            left = level * np.exp(-d / tau)
            ends = abs(left) * tau < _PULSE_END
            self.modulators[at] = level * tau if ends else (level - left) * tau
            self._change_weights(modulator, self._clock(0.0, t), pulse=True)
            self.modulators[at] = 0.0 if ends else left


def last_layer(settings: CoreSettings) -> int:
    """Return the index of the action layer."""
    return len(settings.sizes) - 1
