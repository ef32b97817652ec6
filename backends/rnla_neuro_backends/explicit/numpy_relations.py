"""What holds between the variables of a network at one instant, in numpy; and where its voltages rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.numeric import ActionLayer, rate_and_slope
from rnla_neuro_backends.explicit.engine import Block, IntArray
from rnla_neuro_backends.explicit.numpy_fields import MAX_SWEEPS, Fields, Real, failure, product


class Relations:
    """The algebraic equations of a proven model."""

    def __init__(self, form: EquilibriumForm) -> None:
        self._hidden, self._action = rate_and_slope(form), ActionLayer(form)
        self._explores = not form.taught  # else the noise holds the target, which is no part of the voltage

    def present(self, f: Fields) -> None:
        """Form rates, drives, nudging, errors from layer to layer; the drive of the first layer is there."""
        for k in range(len(f.u) - 1):
            f.rate[k + 1][:, :-1], f.slope[k][...] = self._hidden(f.u[k])
            f.drive[k + 1][...] = product(f.w[k + 1], f.rate[k + 1])
        self._pass_errors(f)

    def _pass_errors(self, f: Fields) -> None:
        f.ebar[-1][...] = self._action.nudging(f.u[-1], f.drive[-1], f.noise[0])
        for k in range(len(f.u) - 2, -1, -1):
            back = np.matmul(f.ebar[k + 1][:, None, :], f.w[k + 1][:, :, :-1])[:, 0]
            np.multiply(f.slope[k], back, out=f.ebar[k])

    def argument(self, f: Fields) -> Real:
        """Return what the decision reads, shape (A, n_out)."""
        return self._action.decision(f.u[-1], f.drive[-1], f.noise[0])

    def mismatch(self, f: Fields) -> list[Real]:
        """Form the present; return what the voltages are off from where their equations pull them."""
        self.present(f)
        off = [u - d - e for u, d, e in zip(f.u, f.drive, f.ebar, strict=True)]
        if self._explores:
            off[-1] = off[-1] - f.noise[0]
        return off

    def land(self, f: Fields, mismatch: Sequence[Real], block: Block) -> IntArray:
        """Sweep forward, nudging, backward, until the voltages are off by `mismatch`, to rounding.

        Each agent stops when it has landed, whatever the others do.

        Returns:
            Sweeps, shape (A,).

        Raises:
            ConvergenceError: Some agent has not landed.
        """
        last, n = len(f.u) - 1, len(f.u[0])
        eps = float(np.finfo(f.u[0].dtype).eps)
        before, sweeps = np.full(n, np.inf), np.zeros(n, np.int64)
        todo = np.ones(n, bool)
        for sweep in range(1, MAX_SWEEPS + 1):
            change, scale = np.zeros(n), np.zeros(n)
            for k in range(last + 1):
                if k > 0:
                    f.drive[k][...] = product(f.w[k], f.rate[k])
                new = f.drive[k] + f.ebar[k] + mismatch[k]
                if k == last and self._explores:
                    new += f.noise[0]
                change = np.maximum(change, np.abs(new - f.u[k]).max(axis=1))
                scale = np.maximum(scale, np.abs(new).max(axis=1))
                np.copyto(f.u[k], new, where=todo[:, None])
                if k < last:
                    f.rate[k + 1][:, :-1], f.slope[k][...] = self._hidden(f.u[k])
            self._pass_errors(f)
            sweeps[todo] = sweep
            rounding = eps * (1.0 + scale)
            settled = (change <= 4 * rounding) | ((change <= 512 * rounding) & (change >= before))
            todo &= ~settled if sweep > 1 else True
            if not todo.any():
                self.present(f)
                return sweeps
            if not np.isfinite(change[todo]).all():
                raise failure(2, block)
            before = change
        raise failure(1, block)
