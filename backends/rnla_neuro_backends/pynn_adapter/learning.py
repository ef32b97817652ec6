"""The three-factor rule on the host: traces from the spikes of a run, and weights that events change."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.general.form import Plasticity
from rnla_neuro_backends.pynn_adapter.course import Course, Function, Host
from rnla_neuro_backends.pynn_adapter.plan import FloatArray


class Projection:
    """Weights and traces of one projection, all agents.

    Attributes:
        w: Weights, (A, n_post, n_pre + 1).
        z: Traces, (A, traces, n_post, n_pre + 1).
    """

    def __init__(self, host: Host, level: int, weights: FloatArray) -> None:
        self._host, self._level = host, level
        part = host.part(level)
        self.rule: Plasticity = host.form.plasticity[part]
        self._refuse(part)
        self._gated = self.rule.gated
        self.w = weights.copy()
        count = len(self.rule.names)
        self.z = np.zeros((len(weights), count, *weights.shape[1:]))
        step = np.eye(count) + host.constants["dt"] * self.rule.A
        powers = [np.eye(count)]
        for _ in range(host.n_steps):
            powers.append(step @ powers[-1])
        self._powers = np.array(powers)  # (steps + 1, traces, traces)
        constants = host.constants
        self._pre = [Function(factor, constants) for factor in self.rule.pre]
        self._bias = [float(sp.sympify(one).xreplace({})) for one in self.rule.bias]
        self._post = [[None if f == 0 else Function(f, constants) for f in row] for row in self.rule.post]
        self.gains = {c: [Function(g, constants) for g in u.gains] for c, u in self.rule.updates.items()}
        self.keeps = {c: Function(k, constants) for c, k in self.rule.keeps.items()}

    def _refuse(self, part: str) -> None:
        rule, where = self.rule, f"backend 'pynn' cannot run {self._host.form.name}: [synapse.{part}]"
        if rule.flows or rule.grows:
            raise BackendError(f"{where}: weights that flow in time; they change at events only, between two runs")

    def decay(self, steps: int) -> None:
        """Let steps pass in which nothing drives the traces."""
        if steps:
            known = steps < len(self._powers)
            step = self._powers[steps] if known else np.linalg.matrix_power(self._powers[1], steps)
            self.z = np.einsum("rq,aqij->arij", step, self.z)

    def follow(self, course: Course, gate: FloatArray, first: int, last: int) -> None:
        """Let the traces follow steps of a trial, from `first` to before `last`."""
        if last <= first:
            return
        if self._gated:  # before the gate opens there is only decay
            opens = first + int(np.argmax(gate[first:last] > 0)) if gate[first:last].any() else last
            self.decay(opens - first)
            first = opens
            if first == last:
                return
        window = slice(first, last)
        self.decay(last - first)
        powers = self._powers[last - 1 - np.arange(first, last)]  # (steps, traces, traces)
        opened = gate[None, :, None]
        for g, pre in enumerate(self._pre):
            sent = course.sent(self._level - 1, pre)[:, window]
            source = np.concatenate([sent, np.full((*sent.shape[:2], 1), self._bias[g])], axis=2)
            drive = np.zeros((len(self._post), *course.counts[self._level][:, window].shape))
            for r, row in enumerate(self._post):
                factor = row[g]
                if factor is not None:
                    value = factor(lambda name: opened if name == "gate" else course.get(self._level, name))
                    drive[r] = course.shaped(self._level, value)[:, window]
            kernel = np.einsum("krq,qaki->raki", powers, drive) * self._host.constants["dt"]
            for r in range(len(kernel)):
                self.z[:, r] += np.matmul(kernel[r].transpose(0, 2, 1), source)


class Learning:
    """All projections and neuromodulators; see the module.

    Attributes:
        projections: From the inputs upwards.
        modulators: Values of a channel's variables, (A,), by channel and name.
    """

    def __init__(self, host: Host, weights: list[FloatArray]) -> None:
        self._host, self._credit = host, host.network.credit
        self.projections = [Projection(host, level + 1, w) for level, w in enumerate(weights)]
        self._plastic = host.network.plastic
        self.modulators: dict[tuple[str, str], FloatArray] = {}
        self._statements: dict[str, list[tuple[str, Function]]] = {}
        n_agents = len(weights[0])
        for one in host.form.modulators:
            if one.pulse is not None:
                raise BackendError(
                    f"backend 'pynn' cannot run {host.form.name}: [neuromodulator.{one.channel}] equations: a pulse "
                    "that lasts; weights change at events only, between two runs"
                )
            for name, initial in zip(one.variables, one.initial, strict=True):
                value = float(Function(initial, host.constants)(lambda name: np.nan))
                self.modulators[one.channel, name] = np.full(n_agents, value)
            self._statements[one.channel] = [(n, Function(e, host.constants)) for n, e in one.statements]

    def decay(self, steps: int) -> None:
        """Let steps pass in which nothing drives the traces."""
        for projection in self.projections:
            projection.decay(steps)

    def follow(self, course: Course, gate: FloatArray, first: int, last: int) -> None:
        """Let the traces follow steps of a trial."""
        for projection in self.projections:
            projection.follow(course, gate, first, last)

    def event(self, channel: str, agent: int, value: float, time: float, trial: int) -> None:
        """Apply one event: the channel's statements, then the changes of weights.

        Args:
            channel: Its name.
            agent: Whose.
            value: What arrives.
            time: Biological time, s.
            trial: Decisions made before.
        """
        known: dict[str, float] = {"R": value, "t": time, "trial": float(trial), "credit": self._credit}
        known |= {n: float(v[agent]) for (c, n), v in self.modulators.items() if c == channel}
        for name, function in self._statements[channel]:
            known[name] = float(function(known.__getitem__))
        for (c, name), values in self.modulators.items():
            if c == channel:
                values[agent] = known[name]
        for projection, plastic in zip(self.projections, self._plastic, strict=True):
            if plastic and channel in projection.gains:
                self._change(projection, channel, agent, known)

    @staticmethod
    def _change(projection: Projection, channel: str, agent: int, known: dict[str, float]) -> None:
        if channel in projection.keeps:
            projection.w[agent] *= float(projection.keeps[channel](known.__getitem__))
        update = projection.rule.updates[channel]
        for r, gain in enumerate(projection.gains[channel]):
            projection.w[agent] += float(gain(known.__getitem__)) * projection.z[agent, r]
            if update.resets[r]:
                projection.z[agent, r] = 0.0

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes."""
        found: dict[str, npt.NDArray[Any]] = {}
        for k, projection in enumerate(self.projections):
            found |= {f"w{k}": projection.w.copy(), f"z{k}": projection.z.copy()}
        return found | {f"modulator.{c}.{n}": v.copy() for (c, n), v in self.modulators.items()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a copy of the state."""
        for k, projection in enumerate(self.projections):
            projection.w, projection.z = state[f"w{k}"].copy(), state[f"z{k}"].copy()
        for c, n in self.modulators:
            self.modulators[c, n] = state[f"modulator.{c}.{n}"].copy()
