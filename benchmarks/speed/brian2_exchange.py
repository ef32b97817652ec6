"""What the exchange with a compiled program costs: benchmarks/results/brian2_exchange.md.

    python -m benchmarks.speed.brian2_exchange

A tiny network (2-5-2, one agent, blocks of 30 steps), so that hardly anything is computed. The rows are timed in
turn, in many short blocks, once with all processes on one core and once with a core each.
"""

from __future__ import annotations

import os
import platform
import socket
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model
from rnla_neuro_backends.brian2_program.base import KernelEngine
from rnla_neuro_backends.brian2_program.runtime import RuntimeEngine
from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine
from rnla_neuro_backends.explicit.engine import Block
from rnla_neuro_backends.explicit.kernel import make_kernel

SIZES, STEPS, REPEATS, ROUNDS = (2, 5, 2), 30, 200, 40
RESULT = Path(__file__).parents[1] / "results" / "brian2_exchange.md"

ECHO, NOTHING, GIVEN, ALONE, DECISION = (
    "two Python processes over a Unix socket, 1 kB there and 64 bytes back",
    "program: exchange without a block",
    "program: exchange and block",
    "same block in this process (Cython)",
    "program: decision as a simulation asks for it (block packed, exchanged, unpacked)",
)


def block() -> Block:
    """A trial of 30 steps with an open gate in its last 5 and one event."""
    rng, gate = np.random.default_rng(1), np.zeros(STEPS, np.int64)
    gate[-5:] = 1
    event = {"event_agent": 0, "event_step": 3, "event_channel": 0}
    return Block(
        n_steps=STEPS,
        t0=0.0,
        trial=1,
        basis=rng.normal(size=(1, 2, SIZES[0])),
        coefficients=np.tile([0.0, 1.0], (STEPS, 1)),
        noise=rng.normal(size=(1, 2, SIZES[-1])),
        noise_row=np.ones(STEPS, np.int64),
        gate=gate,
        event_value=np.ones(1),
        **{name: np.array([value]) for name, value in event.items()},
    )


def echo() -> Callable[[], object]:
    """Start a process that answers whatever it hears."""
    mine, other = socket.socketpair()
    if os.fork() == 0:
        mine.close()
        while other.recv(65536):
            other.send(bytes(64))
        os._exit(0)
    other.close()

    def ask() -> None:
        mine.send(bytes(1024))
        mine.recv(65536)

    return ask


def rows() -> tuple[dict[str, Callable[[], object]], list[KernelEngine]]:
    """Return what is timed, and what is to be closed afterwards."""
    asked = echo()  # before threads and sockets of others are there
    network = NetworkSpec(load_model("rate_nla"), SIZES, (1,))
    kernel = make_kernel(network)
    program, runtime, trial = StandaloneEngine(kernel), RuntimeEngine(kernel), block()
    weights = np.concatenate([w.reshape(1, -1) for w in network.initial_weights()], axis=1)
    for engine in (program, runtime):
        engine.write({"w": weights})
    packed, outputs = kernel.pack(trial), program.outputs
    return {
        ECHO: asked,
        NOTHING: lambda: program.link.exchange({}, outputs),
        GIVEN: lambda: program.link.advance(packed, outputs),
        ALONE: lambda: runtime.run_block(packed, outputs),
        DECISION: lambda: program.advance(trial),
    }, [program, runtime]


def measure() -> dict[str, list[float]]:
    """Time all rows in turn; microseconds a call, a block of calls each."""
    what, engines = rows()
    times: dict[str, list[float]] = {name: [] for name in what}
    for k in range(ROUNDS + 1):
        for name, call in what.items():
            begun = time.perf_counter()
            for _ in range(REPEATS):
                call()
            if k > 0:  # the first warms up
                times[name].append((time.perf_counter() - begun) / REPEATS * 1e6)
    for engine in engines:
        engine.close()
    return times


def table(measured: dict[str, dict[str, list[float]]]) -> str:
    """Write the table."""
    lines = [f"| {' | '.join(['µs a call', *measured])} |", "|---" * (len(measured) + 1) + "|"]
    for name in next(iter(measured.values())):
        cells = []
        for times in measured.values():
            low, _, high = statistics.quantiles(times[name], n=4)
            cells.append(f"{statistics.median(times[name]):.1f} [{low:.1f}, {high:.1f}], least {min(times[name]):.1f}")
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure on one core and on all, and write the result."""
    cores = os.sched_getaffinity(0)
    load = os.getloadavg()[0]
    measured = {}
    for name, mask in (("on one core", {max(cores)}), (f"on {len(cores)} cores", cores)):
        os.sched_setaffinity(0, mask)
        measured[name] = measure()
    costs = {name: statistics.median(t[GIVEN]) - statistics.median(t[ALONE]) for name, t in measured.items()}
    text = f"""# Exchange with a compiled program

`python -m benchmarks.speed.brian2_exchange`, {platform.machine()}, {len(cores)} cores, Python
{platform.python_version()}; load of the machine when it began: {load:.1f}.

A network 2-5-2, one agent, blocks of {STEPS} steps: median [quartiles] and least of {ROUNDS} alternating blocks of
{REPEATS} calls.

{table(measured)}

The exchange alone, that is exchange and block less the same block in this process: """
    text += ", ".join(f"{cost:.1f} µs {name}" for name, cost in costs.items())
    text += " (aim: at most 50 µs a decision).\n"
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
