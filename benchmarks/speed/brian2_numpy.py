"""The workload in numpy: matrix-vector products by BLAS, the eligibility as one matrix product at a reward.

Also in torch, eager, where it is installed. The same scheme step by step as the programs of Brian2; it may be read as
their definition.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.speed.brian2_programs import State
from benchmarks.speed.brian2_workload import BETA, BLOCK, DT, SIGMA, TAU_ELIG, TAU_M, U_TRG, C, G, Workload


class NumpyNet:
    """One network of a workload, in numpy."""

    def __init__(self, work: Workload, precision: str):
        self.work, self.precision, dtype = work, precision, np.dtype(precision)
        self.w = [w.astype(dtype) for w in work.weights]
        self.E = [np.zeros_like(w) for w in self.w]
        self.E_hom = np.zeros_like(self.w[-1])
        self.u = [np.zeros(n, dtype) for n in work.sizes[1:]]
        self.noise_bar = np.zeros(work.sizes[-1], dtype)
        self.inputs, self.noise = work.inputs.astype(dtype), work.noise.astype(dtype)
        self.deltas = work.deltas.astype(dtype)
        # rates with the bias unit last, one row a step of the block; factors likewise
        self.rates = [np.ones((BLOCK, n + 1), dtype) for n in work.sizes[:-1]]
        self.factors = [np.zeros((BLOCK, n), dtype) for n in work.sizes[1:]]
        self.hom = np.zeros((BLOCK, work.sizes[-1]), dtype)
        self.rate_prev = [np.concatenate([r, [1.0]]).astype(dtype)
                          for r in (work.inputs[0], *(np.zeros(n) for n in work.sizes[1:-1]))]  # fmt: skip
        self.ebar_prev = [np.zeros(n, dtype) for n in work.sizes[1:]]
        keep = 1.0 - DT / TAU_ELIG
        self.kept = dtype.type(keep**BLOCK)
        self.decay = (DT / TAU_ELIG * keep ** np.arange(BLOCK - 1, -1, -1.0)).astype(dtype)[:, None]
        self.drive_prev = [w @ r for w, r in zip(self.w, self.rate_prev, strict=True)]

    def fold(self) -> None:
        """Form the eligibility of the block that has passed."""
        for E, factor, rate in zip(self.E, self.factors, self.rates, strict=True):
            E *= self.kept
            E += (self.decay * factor).T @ rate
        self.E_hom *= self.kept
        self.E_hom += (self.decay * self.hom).T @ self.rates[-1]

    def reward(self, delta: Any) -> None:
        """Change the weights, and with them what is kept of the step before."""
        last = len(self.w)
        for l, (w, E) in enumerate(zip(self.w, self.E, strict=True), start=1):
            gain, homeostasis = self.work.gains(l)
            w += w.dtype.type(gain * delta) * E
            if l == last:
                w += w.dtype.type(homeostasis * abs(delta)) * self.E_hom
        self.drive_prev = [w @ r for w, r in zip(self.w, self.rate_prev, strict=True)]

    def step(self, k: int, x: Any, current: Any) -> None:
        """Advance by dt; `k` counts within the block."""
        a, pro, u = DT / TAU_M, TAU_M / DT, self.u
        rates = [rows[k] for rows in self.rates]
        rates[0][:-1] = x
        for rate, v in zip(rates[1:], u, strict=False):
            np.tanh(v, out=rate[:-1])
        drive = [w @ rate for w, rate in zip(self.w, rates, strict=True)]
        ebar = [np.empty(0)] * len(u)
        ebar[-1] = BETA * (softmax(G * u[-1]) - softmax(u[-1] / (C * SIGMA)))
        for l in range(len(u) - 2, -1, -1):
            ebar[l] = (1 - rates[l + 1][:-1] ** 2) * (ebar[l + 1] @ self.w[l + 1][:, :-1])
        for l, v in enumerate(u):
            self.factors[l][k] = v - drive[l]
            if l == len(u) - 1:
                self.factors[l][k] -= self.noise_bar
                self.hom[k] = U_TRG - v
            right = drive[l] + pro * (drive[l] - self.drive_prev[l])
            right += ebar[l] + pro * (ebar[l] - self.ebar_prev[l]) - v
            if l == len(u) - 1:
                right += current
            v += a * right
        self.noise_bar += a * (current - self.noise_bar)
        self.drive_prev, self.ebar_prev, self.rate_prev = drive, ebar, rates

    def run(self) -> float:
        """Run the whole workload; seconds a step."""
        begun = time.perf_counter()
        for b in range(self.work.blocks):
            if b:
                self.rate_prev = [rate.copy() for rate in self.rate_prev]
                self.fold()
            self.reward(self.deltas[b])
            for k in range(BLOCK):
                self.step(k, self.inputs[b], self.noise[b * BLOCK + k])
        self.fold()
        return (time.perf_counter() - begun) / self.work.steps

    def state(self) -> State:
        """Return w, E and u."""
        return {
            "w": [w.astype(float) for w in self.w],
            "E": [E.astype(float) for E in self.E],
            "u": [u.astype(float) for u in self.u],
        }


def softmax(x: Any) -> Any:
    """Return exp(x) over its sum, the maximum subtracted."""
    x = np.exp(x - x.max())
    return x / x.sum()
