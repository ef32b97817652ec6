"""How the general kernel lays out what it keeps: variables of neurons, rows of weights by presynaptic neuron, work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from rnla_neuro.spec.numeric import compile_expression
from rnla_neuro_backends.general.plan import STEPS, Mode, Plan, Sent, Train

if TYPE_CHECKING:
    from rnla_neuro_backends.general.settings import GeneralSettings

_VECTOR = 32  # bytes of a row's unit: one AVX register, half a cache line


@dataclass(frozen=True)
class Projection:
    """Where a projection's parts are; offsets count elements of one agent.

    Weights have a row for each presynaptic neuron, the bias unit last: a spike adds one row.

    Attributes:
        k: Number of the projection.
        name: Its name.
        source: Number of the presynaptic population.
        target: Number of the postsynaptic one.
        pre: Presynaptic neurons, the bias unit not counted.
        post: Postsynaptic neurons.
        bias: Whether the bias unit projects along; else its row is 0.
        row: Length of a row: postsynaptic neurons, padding.
        sent: Length of a vector over presynaptic neurons, bias unit and padding.
        learns: Whether its weights change.
        n_trace: Number of traces; 0 if it does not learn.
        n_factor: Number of presynaptic factors of the traces.
        mode: How these change.
        capacity: Steps whose postsynaptic factors wait until an event reads the traces.
        spikes: Spikes that wait, at most.
    """

    k: int
    name: str
    source: int
    target: int
    pre: int
    post: int
    bias: bool
    row: int
    sent: int
    learns: bool
    n_trace: int
    n_factor: int
    mode: Mode
    capacity: int
    spikes: int
    w_at: int
    z_at: int
    hist_at: int
    pre_at: int
    stamp_at: int
    matrix_at: int

    @property
    def hist_size(self) -> int:
        """Elements of the postsynaptic factors that wait."""
        return self.capacity * self.n_factor * self.n_trace * self.row

    @property
    def pre_size(self) -> int:
        """Elements of the presynaptic factors that wait; for spikes, the train at the first waiting step."""
        return self.n_factor * self.sent * (self.capacity if self.mode == "dense" else 1)

    @property
    def stamp_size(self) -> int:
        """Integers: a step for each waiting one, three counts, three numbers a spike."""
        return self.capacity + 3 + 3 * self.spikes


@dataclass(frozen=True)
class Stream:
    """W s of a filtered spike train s: kept, raised by spikes, formed anew when the weights change."""

    link: int
    train: Train
    number: int
    at: int


class GeneralLayout:
    """Sizes and offsets of a kernel's arrays.

    Args:
        settings: What the kernel is generated for.
        plan: The order of a step.
    """

    def __init__(self, settings: GeneralSettings, plan: Plan) -> None:
        self.settings, self.plan = settings, plan
        self.sizes = tuple(place.size for place in plan.places)
        self.unit = _VECTOR // np.dtype(settings.precision).itemsize
        self._neurons()
        self.projections = list(self._projections())
        self._products()
        self._work()

    def _padded(self, size: int) -> int:
        return -(-size // self.unit) * self.unit

    def index_of(self, level: int) -> int:
        """Return the number of a population's first neuron among all, inputs first."""
        return self.plan.places[level].first

    def refractory_steps(self, level: int) -> npt.NDArray[np.int64]:
        """Return the steps of the refractory time of a layer's neurons, as Brian2 counts them.

        Its shape is (), or (A, N) where neurons have refractory times of their own.
        """
        population, dt = self.plan.population(level), self.settings.dt
        time: Any = population.refractory
        if isinstance(time, sp.Expr):
            values = [self.settings.constants[level, name] for name in population.constants]
            time = compile_expression(time, population.constants, self.plan.form.parameters)(*values)
        return np.asarray((time + 1e-3 * dt) / dt).astype(np.int64)

    def fixed_values(self) -> dict[int, npt.NDArray[np.float64]]:
        """Return what each neuron has a value of its own of: offset among the variables -> values, shape (A, N)."""
        found = {self.own[key]: values for key, values in self.settings.constants.items()}
        steps = {at: level for (level, name), at in self.own.items() if name == STEPS}
        return found | {at: self.refractory_steps(level).astype(np.float64) for at, level in steps.items()}

    # ---- neurons --------------------------------------------------------------------------------------
    def _neurons(self) -> None:
        self.own: dict[tuple[int, str], int] = {}
        self.own_size = 0
        self.start: dict[tuple[int, str], float] = {}
        for level, size in enumerate(self.sizes):
            population = self.plan.population(level)
            names = ["x"] * (level == 0) + [name for name, _ in population.odes]
            names += [f"{name}_prev" for name in population.past]
            names += [name for at, name in self.plan.order if at == level]
            names += [population.process] if population.process else []
            names += ["rnla_left"] * population.rests + [*population.constants]
            names += [STEPS] * isinstance(population.refractory, sp.Expr)
            for name in names:
                self.own[level, name] = self.own_size
                self.own_size += size
            n = float(size)
            first = {"softmax": 1 / n, "sum": n, "mean": n / float(self.settings.sizes[-1]), "max": n}
            self.start |= {(level, g.name): first[g.kind] for g in population.groups}
        self.n_neuron, self.n_all = sum(self.settings.sizes[1:]), sum(self.settings.sizes)
        self.spiking = [level for level in range(len(self.sizes)) if self.plan.population(level).spikes]
        ends = list(accumulate(self.sizes[level] for level in self.spiking))
        self.marks = dict(zip(self.spiking, [0, *ends[:-1]], strict=False))
        self.n_spiking = ends[-1] if ends else 0

    def parts(self, name: str) -> list[tuple[int, int]]:
        """Return offset and size of a variable in each layer after the inputs; -1 where a layer lacks it."""
        return [(self.own.get((level, name), -1), size) for level, size in enumerate(self.settings.sizes) if level]

    # ---- projections ----------------------------------------------------------------------------------
    def _projections(self) -> Iterator[Projection]:
        s, plan = self.settings, self.plan
        w = z = hist = pre_at = stamp = 0
        self.matrix_at: dict[str, int] = {}
        matrix = 0
        for name, traces in plan.form.plasticity.items():
            self.matrix_at[name], matrix = matrix, matrix + traces.A.size
        for k, link in enumerate(plan.links):
            traces = plan.plasticity(k)
            row, learns = self._padded(link.n_post), s.plastic[k] and bool(traces.names)
            mode = plan.trace_mode(k)[0] if learns else "held"
            made = Projection(
                k, link.name, link.pre, link.post, link.n_pre, link.n_post, link.bias, row,
                self._padded(link.n_pre + 1), s.plastic[k], len(traces.names) * learns, len(traces.pre) * learns, mode,
                s.capacity if learns else 0, 16 * link.n_pre if mode == "spikes" else 0,
                w, z, hist, pre_at, stamp, self.matrix_at[link.name],
            )  # fmt: skip
            w, z = w + (link.n_pre + 1) * row, z + made.n_trace * (link.n_pre + 1) * row
            hist, pre_at, stamp = hist + made.hist_size, pre_at + made.pre_size, stamp + made.stamp_size
            yield made
        self.w_size, self.z_size, self.hist_size, self.pre_size, self.stamp_size = w, z, hist, pre_at, stamp

    def _products(self) -> None:
        """Give each signal a row for its product with the weights, and each train one for W s."""
        at = 0
        self.product_at: list[int] = []
        for sent in self.plan.sent:
            self.product_at.append(at)
            at += self.projections[sent.link].row
        self.product_size = max(1, at)
        self.streams: list[Stream] = []
        at = 0
        for sent in self.plan.sent:
            known = [(s.link, s.train.name) for s in self.streams]
            if sent.train is not None and (sent.link, sent.train.name) not in known:
                self.streams.append(Stream(sent.link, sent.train, len(self.streams), at))
                at += self.projections[sent.link].row
        self.stream_size = at
        self.n_valid = max(1, len(self.plan.sent) + len(self.streams))

    def stream(self, sent: Sent) -> Stream:
        """Return the product of a spiking signal's train."""
        assert sent.train is not None
        return next(s for s in self.streams if (s.link, s.train.name) == (sent.link, sent.train.name))

    # ---- work -----------------------------------------------------------------------------------------
    def _work(self) -> None:
        """Lay out the working memory of an agent's block: in units of `real`, and in integers."""
        widest = max(max(p.row, p.sent) for p in self.projections)
        learning = [p for p in self.projections if p.n_trace]
        grows = {p.k: len(self.plan.plasticity(p.k).growth) for p in self.projections}
        total = max([p.n_factor * p.n_trace * p.row for p in learning] + [grows[p.k] * p.row for p in self.projections])
        parts = {
            "sent": widest,
            "scratch": widest,
            "drawn": max(self.sizes),
            "fired": max(self.sizes),
            "total": total,
            "given": max(
                [p.n_factor * p.sent for p in learning if p.mode == "held"]
                + [grows[p.k] * p.sent for p in self.projections]
            ),
            "coefficient": max([p.spikes for p in learning], default=0),
            "silent_own": self.own_size,
            "silent_stream": self.stream_size,
        }
        self.work: list[tuple[str, int]] = []
        at = 0
        for name, size in parts.items():
            self.work.append((name, at))
            at += -(-size // 16) * 16
        self.work_size = max(16, at)
        numbers = {
            "marks": self.n_spiking,
            "list": self.n_spiking,
            "counts": len(self.sizes),
            "begins": max([p.pre + 2 for p in learning if p.mode == "spikes"], default=0),
            "sorted": max([p.spikes for p in learning], default=0),
            "silent_flags": max(1, self.n_valid),
        }
        self.numbers: list[tuple[str, int]] = []
        at = 0
        for name, size in numbers.items():
            self.numbers.append((name, at))
            at += -(-size // 8) * 8
        self.valid_size = max(8, at)

    # ---- canonical weights and traces -----------------------------------------------------------------
    def _counts(self, name: str) -> list[int]:
        return [p.n_trace if name == "z" else 1 for p in self.projections]

    def pad(self, name: str, flat: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Give canonical weights or traces, shape (A, total), the kernel's rows."""
        parts, at, agents = [np.zeros((len(flat), 0), dtype)], 0, len(flat)
        for p, given, kept in zip(self.projections, self._given(name), self._counts(name), strict=True):
            size = given * p.post * (p.pre + p.bias)
            values = flat[:, at : at + size].reshape(agents, given, p.post, p.pre + p.bias)
            rows = np.zeros((agents, kept, p.pre + 1, p.row), dtype)
            rows[:, :, : p.pre + p.bias, : p.post] = values[:, :kept].swapaxes(2, 3)
            parts.append(rows.reshape(agents, -1))
            at += size
        return np.concatenate(parts, axis=1)

    def strip(self, name: str, padded: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the canonical weights or traces, shape (A, total), of the kernel's."""
        agents = self.settings.n_agents
        if name == "w":
            weights = padded.reshape(agents, -1).take(self._weight_places, axis=1)
            return np.asarray(weights, np.float64)
        at, parts = 0, [np.zeros((agents, 0))]
        rows = padded.reshape(agents, -1)
        for p, given, kept in zip(self.projections, self._given(name), self._counts(name), strict=True):
            size = kept * (p.pre + 1) * p.row
            values = np.zeros((agents, given, p.post, p.pre + p.bias))
            part = rows[:, at : at + size].reshape(agents, kept, p.pre + 1, p.row)[:, :, : p.pre + p.bias, : p.post]
            values[:, :kept] = part.swapaxes(2, 3)
            parts.append(values.reshape(agents, -1))
            at += size
        return np.concatenate(parts, axis=1)

    @cached_property
    def _weight_places(self) -> npt.NDArray[np.int64]:
        """Where in the kernel's rows each of the canonical weights is."""
        places = [
            p.w_at + np.arange(p.pre + p.bias)[None, :] * p.row + np.arange(p.post)[:, None] for p in self.projections
        ]
        return np.concatenate([place.ravel() for place in places])

    def _given(self, name: str) -> list[int]:
        """Matrices of each projection in the canonical state: traces that do not learn are there, and zero."""
        return [len(self.plan.plasticity(p.k).names) if name == "z" else 1 for p in self.projections]
