"""A nudged network in numpy for the alignment diagnostic: one agent, many inputs, the form's expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from rnla_neuro.errors import ConfigError, ConvergenceError
from rnla_neuro.learners.common import hidden_rate, input_rate
from rnla_neuro.simulation import FloatArray, IntArray
from rnla_neuro.spec.form import EquilibriumForm, GroupReduction
from rnla_neuro.spec.numeric import softmax

_SWEEPS = 200
_TOLERANCE = 1e-10
Errors = list[FloatArray]


class NudgedLayers:
    """The network of one agent at its moving equilibrium, with exploration held still.

    Attributes:
        weights: (n_post, n_pre + 1) a projection; empty where only the action layer is asked about.
        sizes: Neurons per layer.
        noise: The exploration law's name.
    """

    def __init__(self, form: EquilibriumForm, weights: Sequence[FloatArray] | None) -> None:
        """Compile the expressions of `form`.

        Raises:
            ConfigError: The model has no self-nudging, or its policy is not a softmax of the drive.
        """
        self.form = form
        self.noise = form.noise
        self.weights = [np.asarray(w, dtype=np.float64) for w in weights or ()]
        self.sizes = (self.weights[0].shape[1] - 1, *(len(w) for w in self.weights)) if weights else ()
        self.beta = float(form.parameters.get("beta", 0.0))
        if form.nudging == 0 or self.beta <= 0:
            raise ConfigError(
                "alignment needs self-nudging: the action layer's ebar is 0, or beta is not above 0"
            )
        free = {s.name for s in form.policy.argument.free_symbols} - set(form.parameters) - {"n"}
        if form.policy.kind != "softmax" or free != {"drive"}:
            raise ConfigError(f"alignment needs a policy softmax(f(drive)); this one is {form.policy}")
        if self.weights:
            self._phi = hidden_rate(form)
        self._input_rate = input_rate(form)
        self._sharp = self._sharpest_group()
        self._policy_argument = _compile(form, form.policy.argument)
        drive = next(s for s in form.policy.argument.free_symbols if s.name == "drive")
        self._policy_slope = _compile(form, sp.diff(form.policy.argument, drive))
        self._groups = [(group, _compile(form, group.argument)) for group in form.groups]
        self._rbar = _compile(form, form.action_rate)
        self._ebar = _compile(form, form.nudging)
        self._decision = _compile(form, form.decision.argument)

    def forward(self, inputs: FloatArray) -> tuple[list[FloatArray], list[FloatArray], FloatArray]:
        """Return presynaptic rates with the bias, hidden slopes φ' and the action drive; no nudging."""
        return self._forward(inputs, None)

    def _forward(
        self, inputs: FloatArray, errors: Errors | None
    ) -> tuple[list[FloatArray], list[FloatArray], FloatArray]:
        """Go up through the layers, hidden voltages being drive + error."""
        rate = inputs if self._input_rate is None else self._input_rate(inputs)
        rates, slopes = [], []
        for layer, w in enumerate(self.weights):
            rates.append(np.concatenate([rate, np.ones((len(rate), 1))], axis=1))
            drive = rates[-1] @ w.T
            if layer < len(self.weights) - 1:
                rate, slope = self._phi(drive if errors is None else drive + errors[layer])
                slopes.append(slope)
        return rates, slopes, drive

    def backward(self, error: FloatArray, slopes: Sequence[FloatArray]) -> Errors:
        """Pass the action layer's error (N, n_out) down; return the errors of all layers, lowest first."""
        errors = [error]
        for layer in range(len(self.weights) - 1, 0, -1):
            errors.insert(0, slopes[layer - 1] * (errors[0] @ self.weights[layer][:, :-1]))
        return errors

    def outer(self, rates: Sequence[FloatArray], errors: Sequence[FloatArray]) -> list[FloatArray]:
        """Return the means over inputs of ``error rateᵀ``, one array a projection."""
        return [e.T @ r / len(r) for e, r in zip(errors, rates, strict=True)]

    def policy(self, inputs: FloatArray) -> FloatArray:
        """Return the policy, (N, n_out)."""
        return self.policy_of(self.forward(inputs)[2])

    def policy_of(self, drive: FloatArray) -> FloatArray:
        """Return the policy for a drive, (N, n_out)."""
        return softmax(self._policy_argument({"drive": drive}))

    def policy_errors(self, inputs: FloatArray, rewards: FloatArray) -> tuple[list[FloatArray], Errors]:
        """Return rates and errors whose outer products are the gradient of the expected reward."""
        rates, slopes, drive = self.forward(inputs)
        policy = self.policy_of(drive)
        advantage = rewards - (policy * rewards).sum(axis=1, keepdims=True)
        # Σ_a π_a R_a ∇ log π_a, all actions at once
        error = policy * advantage * self._policy_slope({"drive": drive})
        return rates, self.backward(error, slopes)

    def nudging(
        self, u: FloatArray, drive: FloatArray, noise_bar: FloatArray, winner: IntArray | None = None
    ) -> FloatArray:
        """Return ē/β of the action layer, (N, n).

        With `winner` the sharpest softmax is replaced by its limit, 1 at the winner and 0 elsewhere.
        """
        values: dict[str, Any] = {"u": u, "drive": drive, "noise_bar": noise_bar, "n": u.shape[1]}
        values["mismatch"] = 0.0
        for group, argument in self._groups:
            if winner is not None and self._sharp is not None and group.name == self._sharp.name:
                values[group.name] = np.eye(u.shape[1])[winner]
            else:
                values[group.name] = _reduce(group.kind, np.broadcast_to(argument(values), u.shape))
        values["rbar"] = self._rbar(values)
        return np.broadcast_to(self._ebar(values), u.shape) / self.beta

    def decision(self, u: FloatArray, drive: FloatArray, noise_bar: FloatArray) -> IntArray:
        """Return the actions, (N,), read from the action layer without a low-pass."""
        values: dict[str, Any] = {"u": u, "drive": drive, "noise_bar": noise_bar, "n": u.shape[1]}
        values["ebar"] = values["mismatch"] = np.zeros_like(u)
        for group, argument in self._groups:
            values[group.name] = _reduce(group.kind, np.broadcast_to(argument(values), u.shape))
        values["rbar"] = self._rbar(values)
        action: IntArray = np.broadcast_to(self._decision(values), u.shape).argmax(axis=1)
        return action

    def equilibrium(
        self, inputs: FloatArray, noise_bar: FloatArray
    ) -> tuple[list[FloatArray], Errors, IntArray]:
        """Solve u = W r̄ + ē(u) + noise by sweeps: forward, nudging, errors down.

        Returns:
            Presynaptic rates, errors/β of all layers, actions.

        Raises:
            ConvergenceError: The nudging is too strong for one equilibrium.
        """
        rates, slopes, drive = self._forward(inputs, None)
        u = drive + noise_bar
        for _ in range(_SWEEPS):
            error = self.nudging(u, drive, noise_bar)
            errors = self.backward(error, slopes)
            rates, slopes, drive = self._forward(inputs, [self.beta * e for e in errors])
            new = drive + noise_bar + self.beta * error
            residual = float(np.abs(new - u).max(initial=0.0))
            u = new
            if residual < _TOLERANCE:
                return rates, errors, self.decision(u, drive, noise_bar)
        raise ConvergenceError(
            f"no equilibrium within {_SWEEPS} sweeps (residual {residual:.2g}): the nudging beta = "
            f"{self.beta:g} is too strong for these weights; choose a smaller beta or a smaller gain"
        )

    def draw_noise(self, drive: FloatArray, uniform: FloatArray, winner: int | None) -> FloatArray:
        """Return noise (N, n) made of `uniform`, (N, n + 1): Gumbel given that `winner` wins, or Gaussian."""
        scale = self.form.noise_scale
        if winner is None:
            from scipy.special import ndtri

            return self._standard_deviation() * np.asarray(ndtri(uniform[:, :-1]))
        gumbel = -np.log(-np.log(uniform))
        logits = drive / scale
        # the largest of Gumbel variables does not depend on which one it is; the others are cut off there
        top = logits.max(axis=1) + np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1))
        top = (top + gumbel[:, -1])[:, None]
        voltage = -np.logaddexp(-top, -(logits + gumbel[:, :-1]))
        voltage[:, winner] = top[:, 0]
        noise: FloatArray = scale * (voltage - logits)
        return noise

    def _standard_deviation(self) -> float:
        """Return the standard deviation of Gaussian noise as it stands in the voltage, at any one time."""
        form = self.form
        if form.noise_tau is None or not form.noise_lowpass:
            return form.noise_scale
        # a low-pass of time constant tau_m of Ornstein-Uhlenbeck noise
        return form.noise_scale * float(np.sqrt(form.noise_tau / (form.noise_tau + form.tau_m)))

    def obstacle_to_exact(self) -> str | None:
        """Say why the sum over winners is not exact for this model, or return ``None``."""
        if self.noise != "gumbel":
            return f"exploration is {self.noise}, and only with gumbel noise is the winner's law the policy"
        if self._sharp is None:
            return "the nudging has no softmax of the voltage that becomes a winner-take-all"
        argument = self.form.policy.argument.subs(_values(self.form, self.form.policy.argument))
        drive = next(s for s in argument.free_symbols if s.name == "drive")
        if not np.isclose(float(sp.diff(argument, drive)), 1 / self.form.noise_scale):
            return "the policy is not the winner's law, softmax(drive/scale of the noise)"
        expression = self.form.nudging.subs(
            dict.fromkeys(_named(self.form.nudging, "rbar"), self.form.action_rate)
        )
        others = {g.name: g for g in self.form.groups if g.name != self._sharp.name}
        for symbol in expression.free_symbols:
            depends = _names(others[symbol.name].argument) if symbol.name in others else {symbol.name}
            if depends & {"u", "noise_bar", "mismatch"}:
                return f"the nudging depends on exploration through {symbol.name}, beyond the winner"
        return None

    def _sharpest_group(self) -> GroupReduction | None:
        """Return the softmax of the voltage with the largest gain, or ``None``."""
        best, gain = None, 0.0
        for group in self.form.groups:
            voltage = _named(group.argument, "u")
            if group.kind != "softmax" or not voltage:
                continue
            slope = sp.diff(group.argument, voltage[0]).subs(_values(self.form, group.argument))
            if slope.is_number and float(slope) > gain:
                best, gain = group, float(slope)
        return best


def _named(expression: Any, name: str) -> list[Any]:
    """Return the symbols of that name in an expression."""
    return [s for s in expression.free_symbols if s.name == name]


def _names(expression: Any) -> set[str]:
    """Return the names of the symbols in an expression."""
    return {s.name for s in expression.free_symbols}


def _values(form: EquilibriumForm, expression: Any) -> dict[Any, float]:
    """Return the parameters' values by the symbols that stand in the expression."""
    return {s: form.parameters[s.name] for s in expression.free_symbols if s.name in form.parameters}


def _compile(form: EquilibriumForm, expression: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a function of a dictionary of values by name."""
    expression = sp.sympify(expression)
    names, function = _lambdify(expression.subs(_values(form, expression)))
    return lambda values: function(*(values[name] for name in names))


@lru_cache(maxsize=256)
def _lambdify(expression: sp.Expr) -> tuple[tuple[str, ...], Callable[..., Any]]:
    """Return the names of the symbols and a numpy function of them; kept, since a run asks many times."""
    symbols = sorted(expression.free_symbols, key=lambda s: s.name)
    return tuple(s.name for s in symbols), sp.lambdify(symbols, expression, "numpy")


def _reduce(kind: str, argument: FloatArray) -> FloatArray:
    """Reduce over the action layer; what is one number a layer keeps its axis."""
    if kind == "softmax":
        return softmax(argument)
    reductions: dict[str, Callable[..., FloatArray]] = {"sum": np.sum, "mean": np.mean, "max": np.max}
    return reductions[kind](argument, axis=-1, keepdims=True)
