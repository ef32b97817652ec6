"""One explicit step, linearised where a network rests: what `stability` takes the eigenvalues of.

Write s = a/c with a = 1 + (1 - 1/z)/h and c = 1 + (z - 1)/h, h = dt/tau_m. A prospective error
ebar + tau*(ebar - ebar_prev)/dt is a(z)*ebar, and tau*du/dt + u is c(z)*u, where z is the factor by which a
mode grows in a step. With K = W phi' from layer to layer, and the errors e = B u (nudging, then W^T
backwards), a step is

* u = K u_below + s e      where ``r = rbar + phi_prime*(I - u + err)`` (its prospective part is c(z)*phi'*u),
* u = s (K u_below + e)    where ``r = rbar + tau_m*(rbar - rbar_prev)/dt`` (it is a(z)*phi'*u).

In both cases u = s M u, whatever the number of layers, with M a matrix of the moving equilibrium alone:
(1 - K)^-1 B in the first case, K + B in the second. So each eigenvalue mu of M gives two modes of the step, the
roots of z² - (1 - h + mu (1 + h)) z + mu = 0; all others have z = 1 - h (a mismatch decays) or 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

from rnla_neuro.spec.form import EquilibriumForm, Prospective
from rnla_neuro.spec.numeric import ActionLayer, compile_expression, input_rate, rate_and_slope
from rnla_neuro.spec.proof import derivative, symbol

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

_DENSE = 256  # larger matrices: only their largest eigenvalues, by Arnoldi iteration
_STEP = 1e-6  # of central differences
_SWEEPS = 5


def step_radius(mu: npt.ArrayLike, h: float) -> FloatArray:
    """Return by how much the modes of loop gains `mu` grow in a step of h = dt/tau_m, shape as `mu`."""
    mu = np.asarray(mu, dtype=np.complex128)
    p = 1 - h + mu * (1 + h)
    root = np.sqrt(p * p - 4 * mu)
    return np.asarray(np.maximum(np.abs(p + root), np.abs(p - root)) / 2)


def eigenvalues(matrices: FloatArray) -> ComplexArray:
    """Return the eigenvalues of matrices (P, n, n), shape (P, n); of large ones only a few of the largest."""
    n = matrices.shape[-1]
    if n <= _DENSE:
        return np.linalg.eigvals(matrices).astype(np.complex128)
    return np.array([largest_eigenvalues(lambda v, m=m: m @ v, n, np.ones(n)) for m in matrices])


def largest_eigenvalues(apply: Any, n: int, start: FloatArray, count: int = 4) -> ComplexArray:
    """Return the `count` largest eigenvalues of an operator, to about three digits; 0 for what was not found."""
    found = np.zeros(count, np.complex128)
    operator = LinearOperator((n, n), matvec=apply, dtype=np.float64)
    try:
        values = eigs(operator, k=count, v0=start, tol=1e-3, maxiter=30, return_eigenvectors=False)
    except ArpackNoConvergence as error:
        values = error.eigenvalues
    found[: len(values)] = values[:count]
    return found


@dataclass(frozen=True)
class Chain:
    """The layers of one agent at one input, without errors.

    Attributes:
        u: Voltages of the hidden layers.
        drive: Drive of the action layer, shape (n_out,).
        gains: ``Q_j``, what an error of the action layer does to its own voltages by way of j layers below it:
            the identity, then K K^T, …; shape (layers, n_out, n_out).
    """

    u: list[FloatArray]
    drive: FloatArray
    gains: FloatArray


class Functions:
    """Functions of a model and their derivatives, compiled once for all agents."""

    def __init__(self, form: EquilibriumForm) -> None:
        self.phi = rate_and_slope(form)
        self.encode = input_rate(form)
        bend = derivative(form.phi_prime, symbol("u")).replace(sp.DiracDelta, lambda *_: sp.Integer(0))
        self.bend = compile_expression(bend, ("u",), form.parameters)
        self.nudging = ActionLayer(form).nudging


class Linearised:
    """One agent's network.

    Args:
        functions: Those of its model.
        rate: How the prospective rate of the hidden neurons is written.
        weights: One array (n_post, n_pre + 1) a projection, bias last.
    """

    def __init__(self, functions: Functions, rate: Prospective, weights: list[FloatArray]) -> None:
        self.functions, self.rate, self.weights = functions, rate, weights

    def chain(self, x: FloatArray) -> Chain:
        """Run forward from input rates of shape (n_in,)."""
        u: list[FloatArray] = []
        rate = x
        for w in self.weights[:-1]:
            u.append(w[:, :-1] @ rate + w[:, -1])
            rate = self.functions.phi(u[-1])[0]
        top = self.weights[-1]
        back = np.eye(len(top))
        gains = [back]
        for w, below in zip(self.weights[:0:-1], u[::-1], strict=True):
            back = (back @ w[:, :-1]) * self.functions.phi(below)[1]
            gains.append(back @ back.T)
        return Chain(u, top[:, :-1] @ rate + top[:, -1], np.array(gains))

    def nudging_jacobians(self, u: FloatArray, drive: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return d ebar / d u and d ebar / d drive of the action layer, noise held.

        Args:
            u: Voltages, shape (P, n_out); noise_bar is what makes them rest there.
            drive: Shape (P, n_out).

        Returns:
            Two arrays of shape (P, n_out, n_out).
        """
        n = u.shape[-1]
        noise = self._noise(u, drive)
        move = _STEP * np.eye(n)
        u, drive, noise = u[:, None], drive[:, None], np.broadcast_to(noise[:, None], (len(u), n, n))
        nudging = self.functions.nudging
        by_u = nudging(u + move, drive + 0 * move, noise) - nudging(u - move, drive + 0 * move, noise)
        by_drive = nudging(u + 0 * move, drive + move, noise) - nudging(u + 0 * move, drive - move, noise)
        return tuple(np.swapaxes(x, 1, 2) / (2 * _STEP) for x in (by_u, by_drive))  # type: ignore[return-value]

    def _noise(self, u: FloatArray, drive: FloatArray) -> FloatArray:
        """Return the noise_bar with which the action layer rests at `u`."""
        noise = u - drive
        for _ in range(_SWEEPS):
            noise = u - drive - self.functions.nudging(u, drive, noise)
        return noise

    def action_gains(self, chain: Chain, by_u: FloatArray, by_drive: FloatArray) -> ComplexArray:
        """Return the eigenvalues of M that come from the action layer's errors, at each of P voltages.

        M has no others as long as the slopes of the hidden rates stay what they are: all errors come from
        those of the action layer.

        Args:
            chain: The layers below.
            by_u: Shape (P, n_out, n_out).
            by_drive: The same.

        Returns:
            Shape (P, number of eigenvalues).
        """
        gains = chain.gains
        if self.rate == "slope":
            total = gains.sum(axis=0)
            return eigenvalues(by_u @ total + by_drive @ (total - gains[0]))
        n, last = len(gains[0]), len(gains) - 1
        companion = np.tile(np.eye(n * (last + 1), k=-n), (len(by_u), 1, 1))
        for j in range(last + 1):
            block = by_u @ gains[j] + (by_drive @ gains[j + 1] if j < last else 0.0)
            companion[:, :n, j * n : (j + 1) * n] = block
        return eigenvalues(companion)

    def all_gains(self, chain: Chain, u_top: FloatArray) -> ComplexArray:
        """Return the eigenvalues of M at one voltage of the action layer (of a large network: the largest).

        The hidden layers rest where the errors move them, and their slopes change with their voltages.
        """
        hidden, drive, feedback = self._rest(chain, u_top)
        by_u, by_drive = (x[0] for x in self.nudging_jacobians(u_top[None], drive[None]))
        slopes = [self.functions.phi(u)[1] for u in hidden]
        bends = [np.broadcast_to(self.functions.bend(u), u.shape) * f for u, f in zip(hidden, feedback, strict=True)]
        inner = [w[:, :-1] for w in self.weights[1:]]
        cuts = np.cumsum([len(u) for u in hidden])

        def apply(v: FloatArray) -> FloatArray:
            parts = np.split(v, cuts)
            forward = [w @ (s * part.T).T for w, s, part in zip(inner, slopes, parts, strict=False)]
            errors = [by_u @ parts[-1] + by_drive @ forward[-1]]
            for w, s, d, part in zip(inner[::-1], slopes[::-1], bends[::-1], parts[-2::-1], strict=True):
                errors.insert(0, (s * (w.T @ errors[0]).T + d * part.T).T)
            if self.rate == "difference":
                below = [np.zeros_like(errors[0]), *forward]
                return np.concatenate([k + e for k, e in zip(below, errors, strict=True)])
            voltages = [errors[0]]
            for w, s, e in zip(inner, slopes, errors[1:], strict=True):
                voltages.append(w @ (s * voltages[-1].T).T + e)
            return np.concatenate(voltages)

        n = int(cuts[-1]) + len(u_top)
        if n <= _DENSE:
            values: ComplexArray = eigenvalues(apply(np.eye(n))[None])[0]
            return values
        start = np.concatenate([*(1e-3 * np.ones(len(u)) for u in hidden), u_top - u_top.mean() + 1e-3])
        return largest_eigenvalues(apply, n, start)

    def _rest(self, chain: Chain, u_top: FloatArray) -> tuple[list[FloatArray], FloatArray, list[FloatArray]]:
        """Return hidden voltages, the action layer's drive, and the feedback, where the network rests."""
        hidden, drive = list(chain.u), chain.drive
        feedback = [np.zeros_like(u) for u in hidden]
        for _ in range(_SWEEPS):
            error = self.functions.nudging(u_top, drive, self._noise(u_top, drive))
            errors: list[FloatArray] = []
            for k in range(len(hidden) - 1, -1, -1):
                feedback[k] = self.weights[k + 1][:, :-1].T @ error
                error = self.functions.phi(hidden[k])[1] * feedback[k]
                errors.insert(0, error)
            drive = chain.u[0]
            for k, w in enumerate(self.weights[1:]):
                hidden[k] = drive + errors[k]
                drive = w[:, :-1] @ self.functions.phi(hidden[k])[0] + w[:, -1]
        return hidden, drive, feedback
