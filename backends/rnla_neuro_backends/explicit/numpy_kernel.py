"""The fused scheme of the explicit form in numpy: all agents side by side, whole layers as matrix products."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine, FloatArray, IntArray
from rnla_neuro_backends.explicit.form import explicit_form
from rnla_neuro_backends.explicit.numpy_fields import (
    ALL,
    Agents,
    Fields,
    Real,
    by_step,
    failure,
    product,
    spread,
)
from rnla_neuro_backends.explicit.numpy_relations import Relations
from rnla_neuro_backends.explicit.numpy_traces import Modulators, Plasticity, ProjectionTraces


class NumpyEngine(Engine):
    """A agents of a proven model in numpy; see `Engine`.

    Args:
        network: What to simulate.

    Raises:
        BackendError: The model is not of the proven form.
    """

    STATE = (*Engine.STATE, "moved")
    max_steps = max_events = 2**62

    def __init__(self, network: NetworkSpec) -> None:
        form = explicit_form(network.model)
        base, sizes, a = form.base, network.sizes, len(network.seeds)
        self._form, self._base, self._network, self.sizes, self.n_agents = form, base, network, sizes, a
        self._dtype: np.dtype[Any] = np.dtype(network.precision)
        dt, parameters = network.model.trial.dt, dict(base.parameters)
        real = self._dtype.type
        self._dt, self._pace, self._tau_dt = dt, real(dt / base.tau_m), real(base.tau_m / dt)
        self._eps, self._double = float(np.finfo(self._dtype).eps), self._dtype == np.float64
        self._relations = Relations(base)
        self._modulators = Modulators(base, sizes[-1], a)
        rules = [Plasticity(t, parameters, self._modulators.names, dt) for t in (base.hidden, base.action)]
        shapes = [(a, post, pre + 1) for pre, post in pairwise(sizes)]
        self._traces = [
            ProjectionTraces(rules[k == len(shapes) - 1], shape, self._dtype) for k, shape in enumerate(shapes)
        ]
        updates = [traces.rule.gains for traces, learns in zip(self._traces, network.plastic, strict=True) if learns]
        self._moves = [any(m.channel in gains for gains in updates) for m in base.modulators]
        layers = [np.zeros((a, n), self._dtype) for n in sizes[1:]]
        rates = [np.concatenate([np.zeros((a, n)), np.ones((a, 1))], axis=1).astype(self._dtype) for n in sizes[:-1]]
        self._f = Fields(
            w=[np.zeros(shape, self._dtype) for shape in shapes],
            u=[x.copy() for x in layers],
            drive=[x.copy() for x in layers],
            ebar=[x.copy() for x in layers],
            rate=rates,
            slope=[x.copy() for x in layers[:-1]],
            noise=[layers[-1].copy()],
        )
        self._ebar_prev = [x.copy() for x in layers]
        self._rate_prev = [x.copy() for x in layers]
        self._drive_prev = [x.copy() for x in layers]
        self._current = layers[-1].copy()  # exploration of the last step
        self._lowpass = layers[-1].copy()
        self._moved = np.ones(a, bool)  # weights changed since drives were formed
        self._basis: Real = np.zeros((a, 1, sizes[0] + 1), self._dtype)
        self._basis_drive: Real = np.zeros((a, 1, sizes[1]), self._dtype)
        self._basis_valid: npt.NDArray[np.bool_] = np.zeros((a, 1), bool)
        self._sweeps: IntArray = np.zeros(a, np.int64)

    # ---- blocks -------------------------------------------------------------------------------------
    def advance(self, block: Block) -> BlockResult:
        """See `Engine.advance`."""
        self._sweeps = np.zeros(self.n_agents, np.int64)
        self._take_basis(block)
        noise = block.noise.astype(self._dtype)
        events = by_step(block)
        seen: dict[str, list[FloatArray]] = {name: [] for name in ("u", "ebar", "drive", "noise")}
        for k in range(block.n_steps):
            if not self._jump(block, k, noise[:, block.noise_row[k]], events.get(k, [])):
                self._relations.present(self._f)
            if block.record:
                self._record(seen)
            self._step(block, k, noise[:, block.noise_row[k]])
        self._remember_drive()
        self._relations.present(self._f)
        decision = self._lowpass if self._base.decision.tau is not None else self._relations.argument(self._f)
        result = np.array(decision, dtype=np.float64)
        if last := events.get(block.n_steps, []):
            self._jump(block, block.n_steps, None, last)
        self._check_finite(block)
        recording = {name: np.stack(values, axis=1) for name, values in seen.items() if values}
        return BlockResult(result, len(block.event_step), self._sweeps, recording)

    def _take_basis(self, block: Block) -> None:
        a, k, _ = block.basis.shape
        self._basis = np.concatenate([block.basis, np.ones((a, k, 1))], axis=2).astype(self._dtype)
        self._basis_drive = np.zeros((a, k, self.sizes[1]), self._dtype)
        self._basis_valid = np.zeros((a, k), bool)

    def _record(self, seen: dict[str, list[FloatArray]]) -> None:
        for name in ("u", "ebar", "drive"):
            seen[name].append(np.concatenate(getattr(self._f, name), axis=1, dtype=np.float64))
        seen["noise"].append(self._f.noise[0].astype(np.float64))

    # ---- sums of the present ------------------------------------------------------------------------
    def _remember_drive(self) -> None:
        """Form the drive of the first layer again where weights have changed."""
        if self._moved.any():
            agents = np.flatnonzero(self._moved)
            self._f.drive[0][agents] = product(self._f.w[0][agents], self._f.rate[0][agents])

    # ---- jumps --------------------------------------------------------------------------------------
    def _jump(self, block: Block, k: int, noise: Real | None, events: list[tuple[int, int, float]]) -> bool:
        """Let happen what happens at the start of a step; returns whether the present is formed for all agents."""
        f, start = self._f, block.start if k == 0 else "continue"
        held = noise if self._form.noise in ("jump", "target") else None
        coefficients = block.coefficients[k] if noise is not None else None
        x = self._shown(block, k) if coefficients is not None else None
        everybody = start != "continue" or x is not None
        everybody |= held is not None and not np.array_equal(held, f.noise[0])
        moved = sorted({agent for agent, channel, _ in events if self._moves[channel]})
        if not everybody and not moved:  # a pulse only begins
            self._apply(block, block.t0 + k * self._dt, events)
            self._remember_drive()
            return False
        agents: Agents = ALL if everybody else np.array(moved)
        mismatch: list[Real] = []
        if start == "continue":
            self._remember_drive()
            part = f.take(agents)
            mismatch = self._relations.mismatch(part)
            self._shift(part, agents, -1.0)
        elif start == "equilibrium":
            mismatch = [np.zeros_like(u) for u in f.u]
        self._apply(block, block.t0 + k * self._dt, events)
        if x is not None:
            f.rate[0] = x
        if held is not None:
            f.noise[0][...] = self._current[...] = held
        self._first_drive(coefficients if everybody else None, agents)
        part = f.take(agents)
        if start == "rest":
            self._relations.present(part)
        else:
            sweeps = self._relations.land(part, mismatch, block)
            self._sweeps[agents] = np.maximum(self._sweeps[agents], sweeps)
        f.put(agents, part)
        if start == "continue":
            self._shift(part, agents, 1.0)
        else:
            self._keep(agents)
        return everybody

    def _shift(self, f: Fields, agents: Agents, sign: float) -> None:
        """Let …_prev move with the present: what changed over the last step stays what it was.

        It is called before a jump with -1 and after it with 1.
        """
        for own, now in zip(self._ebar_prev, f.ebar, strict=True):
            own[agents] += sign * now
        for own, now in zip(self._rate_prev[:-1], f.rate[1:], strict=True):
            own[agents] += sign * now[:, :-1]
        if sign > 0:
            self._drive_prev[0][agents] = f.drive[0]
            self._moved[agents] = self._form.rate == "difference"  # drive_prev is not that of rbar_prev

    def _shown(self, block: Block, k: int) -> Real | None:
        """Return the input of a step with the bias unit, (A, n_in + 1), if it differs from the one before."""
        if k > 0 and np.array_equal(block.coefficients[k], block.coefficients[k - 1]):
            return None
        x: Real = np.tensordot(self._basis, block.coefficients[k].astype(self._dtype), axes=(1, 0))
        x[:, -1] = 1.0
        return None if np.array_equal(x, self._f.rate[0]) else x

    def _first_drive(self, coefficients: FloatArray | None, agents: Agents) -> None:
        """Form the drive of the first layer: from the patterns that are shown, each multiplied once."""
        f = self._f
        if coefficients is None:
            f.drive[0][agents] = product(f.w[0][agents], f.rate[0][agents])
            return
        f.drive[0][...] = 0.0
        for k in np.flatnonzero(coefficients):
            missing = np.flatnonzero(~self._basis_valid[:, k])
            if len(missing):
                which: Agents = ALL if len(missing) == self.n_agents else missing
                self._basis_drive[which, k] = product(f.w[0][which], self._basis[which, k])
                self._basis_valid[:, k] = True
            f.drive[0] += self._dtype.type(coefficients[k]) * self._basis_drive[:, k]

    def _apply(self, block: Block, t: float, events: list[tuple[int, int, float]]) -> None:
        s = self._network
        for agent, channel, value in events:
            clock = (value, t, float(block.trial), s.credit, float(self.sizes[-1]))
            values = self._modulators.event(agent, channel, clock)
            name = self._base.modulators[channel].channel
            for w, traces, learns in zip(self._f.w, self._traces, s.plastic, strict=True):
                if learns and traces.change(w, agent, name, (*values, *clock)):
                    self._moved[agent] = True
                    self._basis_valid[agent] = False

    def _keep(self, agents: Agents) -> None:
        """…_prev takes the present values."""
        f = self._f
        pairs = ((self._ebar_prev, f.ebar), (self._drive_prev, f.drive))
        for kept, now in pairs:
            for own, new in zip(kept, now, strict=True):
                own[agents] = new[agents]
        for own, new in zip(self._rate_prev[:-1], f.rate[1:], strict=True):
            own[agents] = new[agents, :-1]
        self._moved[agents] = False

    # ---- one step -----------------------------------------------------------------------------------
    def _step(self, block: Block, k: int, noise: Real) -> None:
        """Traces, noise, input currents and voltages of a step without its jumps."""
        f = self._f
        if self._base.decision.tau is not None:
            rate = self._dtype.type(self._dt / self._base.decision.tau)
            self._lowpass += rate * (self._relations.argument(self._f) - self._lowpass)
        pulsing = self._modulators.pulsing()
        flows = self._flow(block, k, pulsing)
        err = [
            e + self._tau_dt * (e - before) for e, before in zip(f.ebar, self._ebar_prev, strict=True)
        ]
        extra = self._explore(noise)
        currents = self._currents(err, flows)
        self._keep(ALL)
        for u, current, error in zip(f.u, currents, err, strict=True):
            u += self._pace * (current - u + error)
        if extra is not None:
            f.u[-1] += self._pace * extra
        if pulsing:
            self._modulators.decay(self._dt)
            self._moved[...] = True
            self._basis_valid[...] = False

    def _explore(self, row: Real) -> Real | None:
        """Move noise that is a process in time or a current, and return its current into the action layer."""
        f, kind = self._f, self._form.noise
        if kind in ("none", "target"):
            return None
        if kind == "jump":
            return f.noise[0]
        if kind == "process":
            current: Real = row + self._tau_dt * (row - self._current)
            f.noise[0][...] = self._current[...] = row
            return current
        f.noise[0] += self._pace * (row - f.noise[0])
        self._current[...] = row
        return row

    def _flow(self, block: Block, k: int, pulsing: list[str]) -> list[Real] | None:
        """Step the traces; while a pulse lasts also the weights. Returns tau dw/dt rbar of each projection then."""
        f, learns = self._f, self._network.plastic
        is_open = bool(block.gate[k])
        gains: dict[int, Real] = {}
        if pulsing:
            clock = (0.0, block.t0 + k * self._dt, float(block.trial), self._network.credit, float(self.sizes[-1]))
            values = [(*row, *clock) for row in self._modulators.values]
            for p in np.flatnonzero(learns).tolist():
                traces = self._traces[p]
                gains[p] = reduce(np.add, [traces.flow_gains(channel, values) for channel in pulsing])
                f.w[p] += self._dtype.type(self._dt) * np.einsum("at,atij->aij", gains[p], traces.flush())
        n = float(self.sizes[-1])
        for p in np.flatnonzero(learns).tolist():
            noise = f.noise[0] if p == len(f.u) - 1 and self._form.noise != "target" else 0.0
            u, drive, ebar = f.u[p], f.drive[p], f.ebar[p]
            pre = f.rate[p] if p == 0 else f.rate[p].copy()
            self._traces[p].push((u, drive, ebar, noise, u - drive - ebar - noise, n), pre, is_open)
        if not pulsing:
            return None
        flows = [np.zeros_like(u) for u in f.u]
        for p, gain in gains.items():
            moving = np.einsum("at,atij->aij", gain, self._traces[p].flush())
            flows[p] = self._dtype.type(self._base.tau_m) * product(moving, f.rate[p])
        return flows

    def _currents(self, err: list[Real], flows: list[Real] | None) -> list[Real]:
        """Return the input currents W r, from layer to layer, where r is prospective."""
        f = self._f
        direct = flows is not None or bool(self._moved.any())
        currents = [product(f.w[0], f.rate[0]) if direct else f.drive[0]]
        for k in range(len(f.u) - 1):
            if flows is not None:
                currents[k] = currents[k] + flows[k]
            if self._form.rate == "slope":
                more = f.slope[k] * (currents[k] - f.u[k] + err[k])
            else:
                more = self._tau_dt * (f.rate[k + 1][:, :-1] - self._rate_prev[k])
            if direct:
                r = f.rate[k + 1].copy()
                r[:, :-1] += more
                currents.append(product(f.w[k + 1], r))
            else:
                quiet = self._double and np.abs(more).max() <= 4 * self._eps  # beside beta, in float32, it is heard
                drive = f.drive[k + 1]
                currents.append(drive if quiet else drive + np.matmul(f.w[k + 1][:, :, :-1], more[:, :, None])[:, :, 0])
        if flows is not None:
            currents[-1] = currents[-1] + flows[-1]
        return currents

    # ---- state --------------------------------------------------------------------------------------
    def _check_finite(self, block: Block) -> None:
        if not all(np.isfinite(u).all() for u in self._f.u):
            raise failure(2, block)

    def _layers(self) -> dict[str, list[Real]]:
        f = self._f
        return {
            "u": f.u,
            "ebar_prev": self._ebar_prev,
            "rbar_prev": self._rate_prev,
            "drive_prev": self._drive_prev,
            "noise_bar": f.noise,
            "noise": [self._current],
            "lowpass": [self._lowpass],
        }

    def read(self) -> dict[str, npt.NDArray[Any]]:
        """See `Engine.read`."""
        z = [t.flush() for t in self._traces]
        state = {name: np.concatenate(x, axis=1, dtype=np.float64) for name, x in self._layers().items()}
        for name, parts in (("w", self._f.w), ("z", z)):
            flat = [p.reshape(self.n_agents, -1) for p in parts]
            state[name] = np.concatenate(flat, axis=1, dtype=np.float64)
        state["modulators"] = self._modulators.values.copy()
        state["input"] = self._f.rate[0][:, :-1].astype(np.float64)
        state["moved"] = self._moved[:, None].copy()
        return state

    def write(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """See `Engine.write`."""
        for name, layers in self._layers().items():
            if name in state:
                spread(state[name], layers)
        if "w" in state:
            spread(state["w"], self._f.w)
            self._moved[...] = state["moved"][:, 0] if "moved" in state else True
        if "z" in state:
            for t in self._traces:
                t.forget()
            spread(state["z"], [t.z for t in self._traces])
        if "modulators" in state:
            self._modulators.values[...] = state["modulators"]
        if "input" in state:
            x = self._f.rate[0].copy()
            x[:, :-1] = state["input"]
            self._f.rate[0] = x
        if "drive_prev" in state:
            self._f.drive[0][...] = self._drive_prev[0]
