"""The workload in numpy: matrix-vector products by BLAS, the eligibility as one matrix product at a reward.

The same scheme step by step as the programs of Brian2; it may be read as their definition. What is done to neurons is
done to all layers at once, in place: with few neurons the calls are what costs.
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
        self.work, dtype = work, np.dtype(precision)
        self.inputs, self.noise = work.inputs.astype(dtype), work.noise.astype(dtype)
        self.w = [w.astype(dtype) for w in work.weights]
        self.E = [np.zeros_like(w) for w in self.w]
        self.E_hom = np.zeros_like(self.w[-1])
        sizes, n = work.sizes[1:], sum(work.sizes[1:])
        ends = np.cumsum(sizes)
        self.layers = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.u, self.drive, self.ebar, self.kept = (np.zeros(n, dtype) for _ in range(4))
        self.noise_bar = np.zeros(sizes[-1], dtype)
        # one row a step of the block: rates with the bias unit last, and what they are multiplied by in the traces
        self.rates = [np.ones((BLOCK, size + 1), dtype) for size in work.sizes[:-1]]
        self.factors, self.hom = np.zeros((BLOCK, n), dtype), np.zeros((BLOCK, sizes[-1]), dtype)
        keep = 1.0 - DT / TAU_ELIG
        self.carry = dtype.type(keep**BLOCK)
        self.decay = (DT / TAU_ELIG * keep ** np.arange(BLOCK - 1, -1, -1.0)).astype(dtype)[:, None]
        self.pro, self.pace = dtype.type(TAU_M / DT), dtype.type(DT / TAU_M)
        self.scale = np.array([[G], [1.0 / (C * SIGMA)]], dtype)
        first = [work.inputs[0], *(np.zeros(size) for size in work.sizes[1:-1])]
        for row, rate in zip(self.rates, first, strict=True):
            row[-1, :-1] = rate
        self.remember()

    def remember(self) -> None:
        """Form W rbar of the last step, with the weights of now: W r is made from its change."""
        for w, rows, at in zip(self.w, self.rates, self.layers, strict=True):
            np.dot(w, rows[-1], out=self.kept[at])
        self.past = self.kept + self.ebar

    def fold(self) -> None:
        """Form the eligibility of the block that has passed."""
        self.factors *= self.decay
        self.hom *= self.decay
        for E, rows, at in zip(self.E, self.rates, self.layers, strict=True):
            E *= self.carry
            E += self.factors[:, at].T @ rows
        self.E_hom *= self.carry
        self.E_hom += self.hom.T @ self.rates[-1]

    def reward(self, delta: float) -> None:
        """Change the weights."""
        for l, (w, E) in enumerate(zip(self.w, self.E, strict=True), start=1):
            gain, homeostasis = self.work.gains(l)
            w += w.dtype.type(gain * delta) * E
            if homeostasis:
                w += w.dtype.type(homeostasis * abs(delta)) * self.E_hom
        self.remember()

    def step(self, k: int, current: Any) -> None:
        """Advance by dt; `k` counts within the block."""
        u, drive, ebar, last = self.u, self.drive, self.ebar, self.layers[-1]
        rates = [rows[k] for rows in self.rates]
        for rate, at in zip(rates[1:], self.layers, strict=False):
            np.tanh(u[at], out=rate[:-1])
        for w, rate, at in zip(self.w, rates, self.layers, strict=True):
            np.dot(w, rate, out=drive[at])
        both = self.scale * u[last]
        both -= both.max(axis=1, keepdims=True)
        np.exp(both, out=both)
        both *= BETA / both.sum(axis=1, keepdims=True)
        np.subtract(both[0], both[1], out=ebar[last])
        for l in range(len(self.w) - 1, 0, -1):
            rate, below = rates[l][:-1], ebar[self.layers[l - 1]]
            np.dot(ebar[self.layers[l]], self.w[l][:, :-1], out=below)
            below *= 1 - rate * rate
        factor = self.factors[k]
        np.subtract(u, drive, out=factor)
        factor[last] -= self.noise_bar
        np.subtract(U_TRG, u[last], out=self.hom[k])
        # I + err = (drive + ebar) + tau (its change)/dt
        both = drive + ebar
        right = both - self.past
        right *= self.pro
        right += both
        right -= u
        right[last] += current
        right *= self.pace
        u += right
        self.noise_bar += self.pace * (current - self.noise_bar)
        self.past = both

    def run(self) -> float:
        """Run the whole workload; seconds of processor time a step."""
        begun = time.process_time()
        for b in range(self.work.blocks):
            if b:
                self.fold()
                self.reward(float(self.work.deltas[b]))
            self.rates[0][:, :-1] = self.inputs[b]
            for k in range(BLOCK):
                self.step(k, self.noise[b * BLOCK + k])
        self.fold()
        return (time.process_time() - begun) / self.work.steps

    def state(self) -> State:
        """Return w, E and u."""
        return {
            "w": [w.astype(float) for w in self.w],
            "E": [E.astype(float) for E in self.E],
            "u": [self.u[at].astype(float) for at in self.layers],
        }
