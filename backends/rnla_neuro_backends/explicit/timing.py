"""How long a decision takes: measured where the kernel is there already, else estimated from its work.

The estimate adds what a decision costs in Python, measured with an engine that does nothing, to the kernel's
work: multiplications, bytes of weights and traces, values of rate functions, each at the speed that numpy reaches on
this machine at this moment. docs/backends.md says how well that fits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine
from rnla_neuro_backends.explicit.kernel import Kernel, make_kernel
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation

_SECONDS = 0.2  # for a run that is measured
_JUMPS, _SWEEPS = 2, 4  # input and reward of a decision, and what a landing takes
_LAST_LEVEL = 4 << 20  # bytes from which on weights come from memory in every step
Ready = Callable[[], ExplicitSimulation | None]


def estimate(
    network: NetworkSpec,
    kernel: Kernel,
    device: Literal["cpu", "numpy", "gpu"],
    ready: Ready,
    ready_is: str,
) -> tuple[float | None, str]:
    """Return seconds a decision, all agents together, and what that rests on."""
    simulation = ready()
    if simulation is not None:
        with closing(simulation):
            seconds, count = decisions(simulation)
        return seconds, f"{count} decisions of {ready_is} with random inputs and rewards, just now"
    if device != "cpu":
        return None, "its program is not built yet; after a first run there is one to measure"
    small = replace(network, sizes=(network.sizes[0], *(1 for _ in network.sizes[1:-1]), network.sizes[-1]))
    idle = ExplicitSimulation(small, _Nothing(make_kernel(small)))
    python, _ = decisions(idle, 0.5 * _SECONDS)
    work = work_of(kernel)
    speed = measure_speed(network.precision, work.resident)
    seconds = network_seconds(work, speed) * len(network.seeds)
    return python + seconds, (
        f"the work of a decision ({work.products * 1e-6:.3g} million products, {work.bytes / 2**20:.3g} MiB an agent), "
        f"at the speed of numpy on one core ({speed.products * 1e-9:.2g} G products/s, "
        f"{speed.bytes * 2**-30:.2g} GiB/s), and {python * 1e6:.0f} µs in Python; the compiled program is not built yet"
    )


def decisions(simulation: ExplicitSimulation, seconds: float = _SECONDS) -> tuple[float, int]:
    """Run decisions with random inputs and rewards; return the median time of one, and how many there were."""
    agents, rng = simulation.n_agents, np.random.default_rng(0)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < seconds:
        observation = rng.standard_normal((agents, simulation.sizes[0]))
        events = EventBatch.empty()
        if simulation.decisions:
            now = np.full(agents, simulation.next_decision)
            events = EventBatch(np.arange(agents), now, np.zeros(agents, np.int64), rng.random(agents))
        right = rng.integers(simulation.sizes[-1], size=agents)  # for a model that is told a target
        start = time.perf_counter()
        simulation.decide(observation, events, right)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:])), len(times)


@dataclass(frozen=True)
class Work:
    """What a kernel does for a decision of one agent.

    Attributes:
        products: Multiplications with weights or traces.
        bytes: Of weights and traces that are read or written, if none stays in the cache.
        values: Rate functions and exponentials.
        resident: Bytes that an agent's weights and traces take.
    """

    products: float
    bytes: float
    values: float
    resident: float


def work_of(kernel: Kernel) -> Work:
    """Count the work of a decision with one reward an agent."""
    s = kernel.settings
    base, steps = s.form.base, s.max_steps
    itemsize = np.dtype(s.precision).itemsize
    synapses = [a * b for a, b in zip(s.sizes[:-1], s.sizes[1:], strict=True)]
    inner = float(sum(synapses[1:]))
    sweeps = _JUMPS * (_SWEEPS + 1)
    moving = s.form.noise in ("process", "current") and s.form.rate == "slope"
    passes = steps + sweeps
    products = 2 * inner * passes + inner * steps * moving + 3.0 * synapses[0]
    read = itemsize * (inner * (passes + sweeps + steps * moving) + 3.0 * synapses[0])
    pulses = any(t.flows for t in (base.hidden, base.action))
    for k, count in enumerate(synapses):
        traces, learns = len(s.traces(k).names), s.plastic[k]
        gated = all(one.gated for one in s.traces(k).sources)
        factors = 1 if k == 0 else min(s.capacity, steps if not gated else max(1, s.capacity // 2))
        times = (2 * steps if pulses else 1) * learns
        products += times * traces * count * (factors + 2)
        read += times * itemsize * count * (2 * traces + 2)
    neurons = sum(s.sizes[1:-1]) + s.sizes[-1] * (1 + len(base.groups))
    resident = itemsize * sum(n * (1 + len(s.traces(k).names)) for k, n in enumerate(synapses))
    return Work(products, read, float(neurons * (steps + sweeps)), float(resident))


@dataclass(frozen=True)
class Speed:
    """How fast this machine is, on one core: a second's products, bytes from memory, and rate functions."""

    products: float
    bytes: float
    values: float


def measure_speed(precision: str, resident: float) -> Speed:
    """Measure with numpy, in about 0.1 s; reads are of as many bytes as are `resident`, 1 to 64 MiB."""
    rng = np.random.default_rng(0)
    small = rng.standard_normal((192, 192)).astype(precision)
    columns = np.clip(resident, 1 << 20, 1 << 26) / 2048 / np.dtype(precision).itemsize
    large = np.ones((2048, int(columns)), precision)
    vector, long = small[0].copy(), large[0].copy()
    many = rng.standard_normal(4096).astype(precision)
    return Speed(
        products=small.size * _rate(lambda: small @ vector, 0.03),
        bytes=large.nbytes * _rate(lambda: large @ long, 0.05),
        values=many.size * _rate(lambda: np.exp(many), 0.02),
    )


def _rate(work: Callable[[], Any], seconds: float) -> float:
    """Return how often a second something can be done: the fastest of several times."""
    work()
    best, began = np.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return 1 / float(best)


def network_seconds(work: Work, speed: Speed) -> float:
    """Return the seconds that a decision's work takes for one agent."""
    from_memory = work.bytes / speed.bytes if work.resident > _LAST_LEVEL else 0.0
    return max(work.products / speed.products, from_memory) + work.values / speed.values


class _Nothing(Engine):
    """Does everything that an engine does in Python, and nothing else."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.max_steps, self.max_events = kernel.settings.max_steps, kernel.settings.max_events
        arrays = kernel.initial_arrays()
        self._state = kernel.from_arrays(arrays)
        self._outputs = {a.name: np.zeros(a.size, kernel.dtype(a)) for a in kernel.arrays if a.role == "output"}

    def advance(self, block: Block) -> BlockResult:
        self._kernel.pack(block)
        return self._kernel.unpack({name: values.copy() for name, values in self._outputs.items()}, block)

    def read(self) -> dict[str, npt.NDArray[Any]]:
        return dict(self._state)

    def write(self, state: dict[str, npt.NDArray[Any]]) -> None:
        self._state |= state
