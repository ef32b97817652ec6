"""How the fused kernel lays out what it keeps: padded rows, offsets, working memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rnla_neuro_backends.explicit.settings import KernelSettings

_VECTOR = 32  # bytes of a row's unit: one AVX register, half a cache line


@dataclass(frozen=True)
class ProjectionLayout:
    """Where a projection's parts are; offsets count elements of one agent.

    Attributes:
        k: Index of the projection.
        kind: ``hidden`` or ``action``.
        pre: Presynaptic neurons, the bias unit not counted.
        row: Length of a row of weights: presynaptic neurons, bias unit, padding.
        post: Postsynaptic neurons.
        plastic: Whether it learns.
        n_trace: Number of traces.
    """

    k: int
    kind: str
    pre: int
    row: int
    post: int
    plastic: bool
    n_trace: int
    at: int
    w_at: int
    z_at: int
    pend_a_at: int
    pend_pre_at: int
    rate_at: int


class Layout:
    """Sizes and offsets of a kernel's arrays.

    Args:
        settings: What the kernel is generated for.
    """

    def __init__(self, settings: KernelSettings) -> None:
        self.settings = settings
        unit = _VECTOR // np.dtype(settings.precision).itemsize
        sizes, last = settings.sizes, len(settings.sizes) - 2
        self.projections: list[ProjectionLayout] = []
        at = w = z = a = pre = rate = 0
        for k, (n_pre, n_post) in enumerate(pairwise(sizes)):
            row, traces = -(-(n_pre + 1) // unit) * unit, len(settings.traces(k).names)
            kind = "action" if k == last else "hidden"
            plastic = settings.plastic[k]
            p = ProjectionLayout(k, kind, n_pre, row, n_post, plastic, traces, at, w, z, a, pre, rate)
            self.projections.append(p)
            at, w, z = at + n_post, w + n_post * row, z + traces * n_post * row
            a, pre = a + settings.capacity * traces * n_post, pre + settings.capacity * row
            rate += row if k > 0 else 0
        self.n_neuron, self.w_size, self.z_size = at, w, z
        self.pend_a_size, self.pend_pre_size = a, pre
        self._work(rate)
        self._matrices()

    def _work(self, rate_size: int) -> None:
        """Lay out the working memory of an agent's block, in units of `real`."""
        s, widest = self.settings, max(p.row for p in self.projections)
        traces = max(1, *(len(s.traces(k).names) for k in range(len(self.projections))))
        layer = max(*s.sizes[1:], widest)
        parts = {
            "rate": rate_size,
            "slope": self.n_neuron,
            "ebar": self.n_neuron,
            "drive": self.n_neuron,
            "mismatch": self.n_neuron,
            "pull": traces * layer,
            "scratch": max(layer, (len(s.form.base.groups) + 1) * s.sizes[-1]),
            "basis_drive": s.max_basis * s.sizes[1],
            "rate_in": layer,
        }
        self.work: list[tuple[str, int]] = []
        at = 0
        for name, size in parts.items():
            self.work.append((name, at))
            at += -(-size // 16) * 16
        self.work_size, self.valid_size = at, 2 * s.max_basis

    def _matrices(self) -> None:
        self.matrices: dict[str, tuple[int, int]] = {}
        at = 0
        for name, traces in (("hidden", self.settings.form.base.hidden), ("action", self.settings.form.base.action)):
            self.matrices[name] = (at, at + traces.A.size)
            at += traces.A.size + traces.B.size

    def _counts(self, name: str) -> list[int]:
        return [p.n_trace if name == "z" else 1 for p in self.projections]

    def pad(self, name: str, flat: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Give canonical weights or traces, shape (A, total), the kernel's rows."""
        parts, at = [], 0
        for p, matrices in zip(self.projections, self._counts(name), strict=True):
            size = matrices * p.post * (p.pre + 1)
            rows = np.zeros((len(flat), matrices * p.post, p.row), dtype)
            rows[:, :, : p.pre + 1] = flat[:, at : at + size].reshape(len(flat), matrices * p.post, p.pre + 1)
            parts.append(rows.reshape(len(flat), -1))
            at += size
        return np.concatenate(parts, axis=1)

    def strip(self, name: str, padded: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the canonical weights or traces, shape (A, total), of the kernel's."""
        agents = self.settings.n_agents
        rows, parts, at = padded.reshape(agents, -1), [], 0
        for p, matrices in zip(self.projections, self._counts(name), strict=True):
            size = matrices * p.post * p.row
            part = rows[:, at : at + size].reshape(agents, matrices * p.post, p.row)[:, :, : p.pre + 1]
            parts.append(part.reshape(agents, -1).astype(np.float64))
            at += size
        return np.concatenate(parts, axis=1)
