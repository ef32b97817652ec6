"""The differential equations of SCIENCE.md 1, integrated on their own: a linear solve for du/dt a step.

Nothing here uses the package: rate functions, nudging and learning rules are written by hand, so that an
error in the model files' derivation, in the equilibrium or in its plasticity shows as a difference.

The equation of layer l, with prospective rates and errors written out by the chain rule, is linear in
v = du/dt::

    tau v_l = W_l (r_{l-1} + tau dr_{l-1}/dt) + tau dW_l/dt r_{l-1} - u_l + ebar_l + tau debar_l/dt [+ noise]

`jump` moves weights, input and noise to other values while no time passes: the same equation for
tau -> infinity, in as many steps as the path needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Tanh:
    """Default model: tanh rates, ebar_N = beta (softmax(g u) - softmax(h u))."""

    beta: float
    g: float
    h: float

    def rate(self, u: Array) -> tuple[Array, Array, Array]:
        """Return phi, phi' and phi''."""
        r = np.tanh(u)
        return r, 1 - r**2, -2 * r * (1 - r**2)

    def nudging(self, u: Array) -> tuple[Array, Array]:
        """Return ebar_N and its Jacobian."""
        p, q = (np.exp(k * (u - u.max())) for k in (self.g, self.h))
        p, q = p / p.sum(), q / q.sum()
        jacobian = self.g * (np.diag(p) - np.outer(p, p)) - self.h * (np.diag(q) - np.outer(q, q))
        return self.beta * (p - q), self.beta * jacobian


@dataclass(frozen=True)
class Softplus:
    """The poster's form: softplus rates, ebar_N = beta M rbar_N."""

    beta: float
    s: float
    soft: float

    def rate(self, u: Array) -> tuple[Array, Array, Array]:
        """Return phi, phi' and phi''."""
        slope = 1 / (1 + np.exp(-u / self.soft))
        return self.soft * np.logaddexp(0, u / self.soft), slope, slope * (1 - slope) / self.soft

    def nudging(self, u: Array) -> tuple[Array, Array]:
        """Return ebar_N and its Jacobian."""
        n = len(u)
        matrix = np.full((n, n), -self.s / (n - 1))
        np.fill_diagonal(matrix, self.s)
        rate, slope, _ = self.rate(u)
        return self.beta * matrix @ rate, self.beta * matrix * slope


@dataclass
class Trace:
    """A trace of all projections: dE/dt = (-leak E + source rbar^T) / tau."""

    source: Callable[[Array, Array, bool], Array]  # (u, u - W rbar - noise_bar, is the gate open?)
    tau: float
    leak: float = 1.0
    value: list[Array] = field(default_factory=list)


class Network:
    """One network: weights with the bias in the last column, voltages, noise_bar, traces."""

    def __init__(self, form: Tanh | Softplus, weights: list[Array], tau: float, x: Array, noise: Array) -> None:
        self.form, self.tau = form, tau
        self.w = [w.copy() for w in weights]
        self.x, self.noise = x.copy(), noise.copy()
        self.traces: list[Trace] = []
        self.sizes = [len(w) for w in weights]
        self.u = self._split(np.zeros(sum(self.sizes)))

    @property
    def u(self) -> list[Array]:
        """Voltages of the layers after the inputs; rate functions are evaluated when they are set."""
        return self._u

    @u.setter
    def u(self, value: list[Array]) -> None:
        self._u, self._phi = value, [self.form.rate(u) for u in value]

    def _split(self, flat: Array) -> list[Array]:
        return list(np.split(flat, np.cumsum(self.sizes)[:-1]))

    # ---- instantaneous quantities -------------------------------------------------------------------
    def rates(self) -> list[Array]:
        """Return rbar of the inputs and of all layers."""
        return [self.x, *(phi[0] for phi in self._phi)]

    def drive(self) -> list[Array]:
        """Return W rbar, bias included."""
        return [w[:, :-1] @ r + w[:, -1] for w, r in zip(self.w, self.rates()[:-1], strict=True)]

    def ebar(self) -> list[Array]:
        """Return the errors, passed directly from layer to layer."""
        errors = [self.form.nudging(self.u[-1])[0]]
        for (_, slope, _), w in zip(self._phi[-2::-1], self.w[:0:-1], strict=True):
            errors.insert(0, slope * (w[:, :-1].T @ errors[0]))
        return errors

    def mismatch(self) -> list[Array]:
        """Return u - W rbar - ebar - noise_bar."""
        noise = [np.zeros(n) for n in self.sizes[:-1]] + [self.noise]
        return [u - d - e - n for u, d, e, n in zip(self.u, self.drive(), self.ebar(), noise, strict=True)]

    # ---- the linear problem -------------------------------------------------------------------------
    def _moving(self, v: list[Array]) -> list[Array]:
        """Return v - d(W rbar)/dt - debar/dt for fixed weights and input, linear in v (columns: cases)."""
        errors, known = [], self.ebar()
        for l in reversed(range(len(v))):
            if l == len(v) - 1:
                errors.insert(0, self.form.nudging(self.u[l])[1] @ v[l])
                continue
            _, slope, bend = self._phi[l]
            back = self.w[l + 1][:, :-1].T
            errors.insert(0, (bend * (back @ known[l + 1]))[:, None] * v[l] + slope[:, None] * (back @ errors[0]))
        out = []
        for l, (own, error) in enumerate(zip(v, errors, strict=True)):
            drive = 0.0 if l == 0 else self.w[l][:, :-1] @ (self._phi[l - 1][1][:, None] * v[l - 1])
            out.append(own - drive - error)
        return out

    def _solve(self, right: list[Array]) -> list[Array]:
        """Return v for which `_moving` gives `right`."""
        cases = self._split(np.eye(sum(self.sizes)))
        return self._split(np.linalg.solve(np.concatenate(self._moving(cases)), np.concatenate(right)))

    def _pushed(self, dw: list[Array], dx: Array, dnoise: Array) -> list[Array]:
        """Return what changing weights, input and noise add to d(W rbar + ebar + noise_bar)."""
        rates, known = self.rates(), self.ebar()
        errors = [np.zeros(self.sizes[-1])]
        for l in reversed(range(len(self.sizes) - 1)):
            slope, w = self._phi[l][1], self.w[l + 1]
            errors.insert(0, slope * (dw[l + 1][:, :-1].T @ known[l + 1] + w[:, :-1].T @ errors[0]))
        out = [d[:, :-1] @ r + d[:, -1] + e for d, r, e in zip(dw, rates[:-1], errors, strict=True)]
        out[0] = out[0] + self.w[0][:, :-1] @ dx
        out[-1] = out[-1] + dnoise
        return out

    # ---- time ---------------------------------------------------------------------------------------
    def settle(self) -> None:
        """Put the voltages on the equilibrium by Newton's method."""
        for _ in range(50):
            change = self._solve([-m for m in self.mismatch()])
            self.u = [u + c for u, c in zip(self.u, change, strict=True)]
            if max(np.abs(c).max() for c in change) < 1e-13:
                return
        raise AssertionError("Newton's method did not converge")

    def step(self, dt: float, x: Array, current: Array | None, gate: bool) -> None:
        """Advance by dt, the input moving to `x`; `current` is the low-passed noise's, None: noise_bar stays."""
        dx = (x - self.x) / dt
        dnoise = np.zeros_like(self.noise) if current is None else (current - self.noise) / self.tau
        still = [np.zeros_like(w) for w in self.w]
        pushed = self._pushed(still, dx, dnoise)
        v = self._solve([p - m / self.tau for p, m in zip(pushed, self.mismatch(), strict=True)])
        rates, drive = self.rates(), self.drive()
        for trace in self.traces:
            for l, e in enumerate(trace.value):
                error = self.u[l] - drive[l] - (self.noise if l == len(drive) - 1 else 0)
                source = np.outer(trace.source(self.u[l], error, gate), np.append(rates[l], 1.0))
                e += dt / trace.tau * (source - trace.leak * e)
        self.u = [u + dt * c for u, c in zip(self.u, v, strict=True)]
        self.x, self.noise = x.copy(), self.noise + dt * dnoise

    def jump(
        self,
        steps: int,
        dw: list[Array] | None = None,
        x: Array | None = None,
        noise: Array | None = None,
        follow: bool = True,
    ) -> None:
        """Change weights, input or noise at once; with `follow` the voltages keep their mismatch."""
        dw = dw or [np.zeros_like(w) for w in self.w]
        dx = np.zeros_like(self.x) if x is None else x - self.x
        dnoise = np.zeros_like(self.noise) if noise is None else noise - self.noise
        for _ in range(steps):
            if follow:
                change = self._solve(self._pushed(dw, dx, dnoise))
                self.u = [u + c / steps for u, c in zip(self.u, change, strict=True)]
            self.w = [w + d / steps for w, d in zip(self.w, dw, strict=True)]
            self.x, self.noise = self.x + dx / steps, self.noise + dnoise / steps

    def add_trace(self, source: Callable[[Array, Array, bool], Array], tau: float, leak: float = 1.0) -> Trace:
        """Add a trace on every projection, starting from zero."""
        trace = Trace(source, tau, leak, [np.zeros_like(w) for w in self.w])
        self.traces.append(trace)
        return trace
