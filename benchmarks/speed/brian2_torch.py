"""The workload in torch, eager: `brian2_numpy` with torch's calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.speed.brian2_numpy import NumpyNet
from benchmarks.speed.brian2_programs import State
from benchmarks.speed.brian2_workload import BETA, U_TRG, Workload


class TorchNet(NumpyNet):
    """One network of a workload, its arrays as tensors that share their memory."""

    def __init__(self, work: Workload, precision: str):
        import torch

        torch.set_num_threads(1)
        self.torch: Any = None
        super().__init__(work, precision)
        self.torch = torch
        for name, value in list(vars(self).items()):
            if isinstance(value, np.ndarray):
                setattr(self, name, torch.from_numpy(value))
            elif isinstance(value, list) and isinstance(value[0], np.ndarray):
                setattr(self, name, [torch.from_numpy(array) for array in value])

    def remember(self) -> None:
        """Form W rbar of the last step; see `NumpyNet.remember`."""
        if self.torch is None:
            return super().remember()
        for w, rows, at in zip(self.w, self.rates, self.layers, strict=True):
            self.torch.mv(w, rows[-1], out=self.kept[at])
        self.past = self.kept + self.ebar
        return None

    def fold(self) -> None:
        """Form the eligibility of the block that has passed."""
        self.factors *= self.decay
        self.hom *= self.decay
        carry = float(self.carry)
        for E, rows, at in zip(self.E, self.rates, self.layers, strict=True):
            E.addmm_(self.factors[:, at].T, rows, beta=carry)
        self.E_hom.addmm_(self.hom.T, self.rates[-1], beta=carry)

    def reward(self, delta: float) -> None:
        """Change the weights."""
        for l, (w, E) in enumerate(zip(self.w, self.E, strict=True), start=1):
            gain, homeostasis = self.work.gains(l)
            w.add_(E, alpha=gain * delta)
            if homeostasis:
                w.add_(self.E_hom, alpha=homeostasis * abs(delta))
        self.remember()

    def step(self, k: int, current: Any) -> None:
        """Advance by dt; `k` counts within the block."""
        torch, u, drive, ebar, last = self.torch, self.u, self.drive, self.ebar, self.layers[-1]
        rates = [rows[k] for rows in self.rates]
        for rate, at in zip(rates[1:], self.layers, strict=False):
            torch.tanh(u[at], out=rate[:-1])
        for w, rate, at in zip(self.w, rates, self.layers, strict=True):
            torch.mv(w, rate, out=drive[at])
        both = torch.softmax(self.scale * u[last], dim=1)
        torch.sub(both[0], both[1], out=ebar[last]).mul_(BETA)
        for l in range(len(self.w) - 1, 0, -1):
            rate, below = rates[l][:-1], ebar[self.layers[l - 1]]
            torch.mv(self.w[l][:, :-1].T, ebar[self.layers[l]], out=below)
            below.mul_(1 - rate * rate)
        factor = self.factors[k]
        torch.sub(u, drive, out=factor)
        factor[last] -= self.noise_bar
        self.hom[k] = U_TRG - u[last]
        both = drive + ebar
        right = both - self.past
        right.mul_(float(self.pro)).add_(both).sub_(u)
        right[last] += current
        u.add_(right, alpha=float(self.pace))
        self.noise_bar.add_(current - self.noise_bar, alpha=float(self.pace))
        self.past = both

    def state(self) -> State:
        """Return w, E and u."""
        return {
            "w": [w.numpy().astype(float) for w in self.w],
            "E": [E.numpy().astype(float) for E in self.E],
            "u": [self.u[at].numpy().astype(float) for at in self.layers],
        }
