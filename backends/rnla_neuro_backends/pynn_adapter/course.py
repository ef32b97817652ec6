"""What the host knows of a trial after a run: all variables but membranes, at every dt, from the recorded spikes.

Every expression is one of the model's strings; it is evaluated for all times of the trial at once. A state that decays
at a constant rate is a filter of what drives it and of the neuron's spikes, with the Euler steps that every engine
takes; at the start of a trial it is 0, since a run begins at rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from scipy.signal import lfilter

from rnla_neuro.errors import BackendError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.numeric import REDUCTIONS
from rnla_neuro.spec.proof import symbol
from rnla_neuro_backends.general.form import GeneralForm, Population
from rnla_neuro_backends.pynn_adapter.plan import FloatArray


class Function:
    """An expression in numpy, and the names that it reads; parameters enter by value."""

    def __init__(self, expr: sp.Expr, constants: Mapping[str, float]) -> None:
        values = {symbol(name): sp.Float(value, 17) for name, value in constants.items()}
        self.body = body = sp.sympify(expr).xreplace(values)
        self.names = tuple(sorted(s.name for s in body.free_symbols))
        self._call = sp.lambdify([symbol(name) for name in self.names], body, modules=["numpy"], cse=True)

    def __call__(self, values: Callable[[str], Any]) -> Any:
        """Evaluate, with `values` giving the value of a name."""
        return self._call(*(values(name) for name in self.names))


class Neurons:
    """The equations of one neuron type, compiled when first asked for."""

    def __init__(self, form: GeneralForm, population: Population, constants: Mapping[str, float]) -> None:
        self.population, self._constants = population, constants
        self._file = form.name
        self._algebraic, self._odes = dict(population.algebraic), dict(population.odes)
        self._groups = {group.name: group for group in population.groups}
        self._functions: dict[str, Function] = {}
        self._filters: dict[str, tuple[float, float, Function]] = {}

    def kind_of(self, name: str) -> str:
        """Return ``algebraic``, ``ode``, ``group`` or an empty text for what comes from elsewhere."""
        tables = {"algebraic": self._algebraic, "ode": self._odes, "group": self._groups}
        return next((kind for kind, table in tables.items() if name in table), "")

    def function(self, name: str) -> Function:
        """Return an algebraic variable, or the argument of a reduction."""
        if name not in self._functions:
            expr = self._groups[name].argument if name in self._groups else self._algebraic[name]
            self._functions[name] = Function(expr, self._constants)
        return self._functions[name]

    def reduction(self, name: str) -> Callable[[FloatArray], FloatArray]:
        """Return how a group variable is reduced."""
        return REDUCTIONS[self._groups[name].kind]

    def filter(self, name: str) -> tuple[float, float, Function]:
        """Return by what a state is multiplied in a step, what a spike adds, and what drives it (times dt).

        Raises:
            BackendError: It is not linear in itself with a constant rate, or a spike does more than add a constant.
        """
        if name not in self._filters:
            own = symbol(name)
            values = {symbol(n): sp.Float(v, 17) for n, v in self._constants.items()}
            right = sp.expand(self._odes[name].xreplace(values))
            rate = sp.diff(right, own)
            resets = dict(self.population.resets)
            jump = sp.expand(resets.get(name, own).xreplace(values) - own)
            if not rate.is_number or not jump.is_number or name in self.population.resting:
                raise BackendError(
                    f"backend 'pynn' cannot run {self._file}: [neuron.{self.population.kind}] d{name}/dt: the host "
                    f"needs {name!r} to learn, and computes it from spikes as a filter; expected a constant rate of "
                    "decay and a constant that a spike adds"
                )
            step = self._constants["dt"]
            drive = Function(sp.expand((right - rate * own) * step), self._constants)
            self._filters[name] = (1.0 + step * float(rate), float(jump), drive)
        return self._filters[name]


class Host:
    """The equations of a network; see the module.

    Args:
        network: The network of the model that cells play.
        form: Its strings as expressions.
    """

    def __init__(self, network: NetworkSpec, form: GeneralForm) -> None:
        self.network, self.form = network, form
        self.constants: dict[str, float] = {**form.parameters, "n": float(network.sizes[-1])}
        self.neurons = {kind: Neurons(form, one, self.constants) for kind, one in form.populations.items()}
        self.kinds = ["input", *["hidden"] * (len(network.sizes) - 2), "action"]
        self.n_steps = round(network.model.trial.decision / network.model.trial.dt)
        self.signals: dict[tuple[str, str, str], Function] = {}

    def signal(self, part: str, side: str, variable: str) -> Function:
        """Return what is sent along a projection (``sums``) or back along it (``feedback``)."""
        key = (part, side, variable)
        if key not in self.signals:
            found = self.form.sums if side == "sums" else self.form.feedback
            self.signals[key] = Function(found[part][variable].expr, self.constants)
        return self.signals[key]

    @cached_property
    def biases(self) -> dict[tuple[str, str], float]:
        """What the bias unit sends, by projection and summed variable."""
        sums = self.form.sums
        return {(part, name): float(sp.sympify(one.bias)) for part in sums for name, one in sums[part].items()}

    def part(self, level: int) -> str:
        """Return the name of the projection into a level."""
        return "action" if level == len(self.kinds) - 1 else "hidden"

    def spike_gain(self, level: int, function: Function) -> tuple[float, float, float]:
        """Return what a signal is of a spike train: offset, what a spike adds, and the time constant, s.

        Raises:
            BackendError: It is no constant plus low-passed spikes.
        """
        neurons, population = self.neurons[self.kinds[level]], self.form.populations[self.kinds[level]]
        where = f"backend 'pynn' cannot run {self.form.name}: [neuron.{self.kinds[level]}]"
        expr = self.written_out(level, function.body)
        states = sorted(s.name for s in expr.free_symbols)
        if len(states) != 1 or neurons.kind_of(states[0]) != "ode" or not population.spikes:
            raise BackendError(f"{where}: what it sends, {expr}, is not a constant plus low-passed spikes")
        state = symbol(states[0])
        gain, offset = sp.diff(expr, state), expr.xreplace({state: sp.Integer(0)})
        kept, jump, drive = neurons.filter(states[0])
        if not gain.is_number or drive.names or kept >= 1.0 or drive(lambda name: 0.0) != 0.0:
            raise BackendError(f"{where}: what it sends, {expr}, is not a constant plus low-passed spikes")
        return float(offset), float(gain) * jump, self.constants["dt"] / (1.0 - kept)

    def written_out(self, level: int, expr: sp.Expr) -> sp.Expr:
        """Write algebraic variables of a neuron out, and parameters by value."""
        values = {symbol(n): sp.Float(v, 17) for n, v in self.constants.items()}
        algebraic = {symbol(n): e for n, e in self.form.populations[self.kinds[level]].algebraic}
        for _ in range(len(algebraic) + 1):
            expr = sp.sympify(expr).xreplace(algebraic)
        return sp.expand(expr.xreplace(values))


class Course:
    """One trial: variables by level and name, (A, steps, neurons), each computed when it is asked for."""

    def __init__(
        self,
        host: Host,
        weights: Sequence[FloatArray],
        counts: Sequence[FloatArray],
        x: FloatArray,
        process: FloatArray | None,
        start: float,
    ) -> None:
        """Take what is known.

        Args:
            host: The equations.
            weights: (A, n_post, n_pre + 1) a projection, as the synapses had them.
            counts: Spikes of each level in each step, (A, steps, neurons); inputs first.
            x: Input values, (A, n_in).
            process: Exploration, (A, n_out), or None.
            start: Biological time at which the trial started, s.
        """
        self.host, self.weights, self.counts = host, weights, counts
        self._x, self._process = x[:, None, :], None if process is None else process[:, None, :]
        self._time = np.arange(host.n_steps, dtype=np.float64)[None, :, None] * host.constants["dt"]
        self._start = start
        self._known: dict[tuple[int, str], FloatArray] = {}

    def get(self, level: int, name: str) -> FloatArray:
        """Return a variable of a level."""
        key = (level, name)
        if key not in self._known:
            with np.errstate(over="ignore", invalid="ignore"):
                self._known[key] = self._find(level, name)
        return self._known[key]

    def shaped(self, level: int, value: Any) -> FloatArray:
        """Broadcast to (A, steps, neurons)."""
        array, shape = np.asarray(value, dtype=np.float64), self.counts[level].shape
        return array if array.shape == shape else np.broadcast_to(array, shape)

    def _find(self, level: int, name: str) -> FloatArray:
        neurons = self.host.neurons[self.host.kinds[level]]
        kind = neurons.kind_of(name)
        if kind == "algebraic":
            return self.shaped(level, neurons.function(name)(lambda n: self.get(level, n)))
        if kind == "group":
            argument = self.shaped(level, neurons.function(name)(lambda n: self.get(level, n)))
            return self.shaped(level, neurons.reduction(name)(argument))
        if kind == "ode":
            return self._filtered(level, name, neurons)
        return self._given(level, name)

    def _filtered(self, level: int, name: str, neurons: Neurons) -> FloatArray:
        kept, jump, drive = neurons.filter(name)
        moved = np.zeros(self.counts[level].shape) + drive(lambda n: self.get(level, n))
        if jump:
            moved = moved + jump * self.counts[level]
        return np.asarray(lfilter([0.0, 1.0], [1.0, -kept], moved, axis=1), dtype=np.float64)

    def _given(self, level: int, name: str) -> FloatArray:
        host = self.host
        part, population = host.part(level), host.form.populations[host.kinds[level]]
        if name == population.process and self._process is not None:
            return self._process
        if level > 0 and name in host.form.sums[part]:
            sent = self.sent(level - 1, host.signal(part, "sums", name))
            w = self.weights[level - 1]
            bias = host.biases[part, name] * w[:, None, :, -1]
            return np.asarray(sent @ w[:, :, :-1].transpose(0, 2, 1) + bias)
        above = host.part(level + 1)
        if 0 < level < len(host.kinds) - 1 and name in host.form.feedback[above]:
            errors = self.sent(level + 1, host.signal(above, "feedback", name))
            return np.asarray(errors @ self.weights[level][:, :, :-1])
        times = {"t": self._time + self._start, "t_trial": self._time, "x": self._x}
        if name in times:
            return np.asarray(times[name])
        raise BackendError(
            f"backend 'pynn' cannot run {host.form.name}: [neuron.{host.kinds[level]}] {name!r}: the host, which "
            "learns from spikes, does not know it"
        )

    def sent(self, level: int, function: Function) -> FloatArray:
        """Evaluate an expression of a level's own names."""
        return self.shaped(level, function(lambda name: self.get(level, name)))
