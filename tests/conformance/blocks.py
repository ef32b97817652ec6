"""Random courses of blocks for the engines of the explicit form, and how their results are compared."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.explicit.block import Planner
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine
from rnla_neuro_backends.explicit.form import noise_kind
from rnla_neuro_backends.explicit.kernel import Kernel
from rnla_neuro_backends.moving_equilibrium.compiler import compile_library
from rnla_neuro_backends.moving_equilibrium.core import initial_modulators


class LibraryEngine(Engine):
    """The kernel's text in a shared library, called directly: what it does, without Brian2 around it."""

    INPUT = "rate"

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.max_steps, self.max_events = kernel.settings.max_steps, kernel.settings.max_events
        names = {"real": f"{kernel.namespace}::real", "double": "double", "int32": "int32_t"}
        arguments = ", ".join(f"{names[a.dtype]}* {a.name}" for a in kernel.arrays)
        entry = f'\nextern "C" void block({arguments}) {{ {kernel.call} }}\n'
        self._library = compile_library(kernel.source + entry)
        given = kernel.initial_arrays()
        self.arrays = {a.name: given.get(a.name, np.zeros(a.size, kernel.dtype(a))) for a in kernel.arrays}
        self._pointers = [ctypes.c_void_p(self.arrays[a.name].ctypes.data) for a in kernel.arrays]

    def _call(self, given: dict[str, np.ndarray]) -> None:
        for name, values in given.items():
            self.arrays[name][: values.size] = values
        self._library.block(*self._pointers)

    def advance(self, block: Block) -> BlockResult:
        self._call(self.kernel.pack(block))
        return self.kernel.unpack(self.arrays, block)

    def read(self) -> dict[str, np.ndarray]:
        self._call(self.kernel.pack_flush())
        return self.kernel.from_arrays(self.arrays)

    def write(self, state: dict[str, np.ndarray]) -> None:
        for name, values in self.kernel.to_arrays(state).items():
            self.arrays[name][...] = values


def course(
    network: NetworkSpec, trials: int, seed: int = 0, events: Sequence[Sequence[tuple[int, float]]] | None = None
) -> list[Block]:
    """Return the blocks of some trials: random inputs and noise, the model's ramps and gates.

    Args:
        network: Agents all get inputs and noise of their own.
        trials: How many.
        seed: Of inputs, noise and rewards.
        events: For each trial (step, value) of the events, the same for all agents; None is a reward at the
            start of each trial but the first.
    """
    rng = np.random.default_rng(seed)
    planner, agents, n_out = Planner(network.model.trial), len(network.seeds), network.sizes[-1]
    kind = noise_kind(network.form)
    old = np.zeros((agents, network.sizes[0]))
    blocks, t = [], 0.0
    for k in range(trials):
        plan = planner.course(0 if k == 0 else None)
        new = rng.normal(size=old.shape)
        rows = plan.n_steps if network.form.noise_tau is not None else 1
        noise = (0.0 if kind == "none" else 0.3) * rng.normal(size=(agents, rows, n_out))
        row = np.arange(plan.n_steps) if rows > 1 else np.zeros(plan.n_steps, np.int64)
        given = events[k] if events is not None else ([(0, float(rng.integers(2)))] if k else [])
        step, value = (np.array([e[i] for e in given] * agents) for i in (0, 1))
        blocks.append(
            Block(
                n_steps=plan.n_steps,
                t0=t,
                trial=k,
                basis=np.stack([old, new], axis=1),
                coefficients=plan.coefficients,
                noise=noise,
                noise_row=row,
                gate=plan.gate,
                event_agent=np.repeat(np.arange(agents), len(given)),
                event_step=step.astype(np.int64),
                event_channel=np.zeros(len(step), np.int64),
                event_value=value.astype(np.float64),
                start="equilibrium" if k == 0 else "continue",
                record=True,
            )
        )
        old, t = new, t + plan.n_steps * network.model.trial.dt
    return blocks


def cut(block: Block, at: int, dt: float) -> Iterator[Block]:
    """Divide a block in two: a run that is split inside a trial."""
    for first, last in ((0, at), (at, block.n_steps)):
        end = block.n_steps if last == block.n_steps else last - 1  # events of step `at` belong to the second part
        mine = (block.event_step >= first) & (block.event_step <= end)
        yield replace(
            block,
            n_steps=last - first,
            t0=block.t0 + first * dt,
            coefficients=block.coefficients[first:last],
            noise_row=block.noise_row[first:last],
            gate=block.gate[first:last],
            event_agent=block.event_agent[mine],
            event_step=block.event_step[mine] - first,
            event_channel=block.event_channel[mine],
            event_value=block.event_value[mine],
            start=block.start if first == 0 else "continue",
        )


def follow(engine: Engine, network: NetworkSpec, blocks: Sequence[Block], every: int = 1) -> dict[str, np.ndarray]:
    """Run blocks from the initial weights; return voltages, errors, traces and weight changes.

    Args:
        engine: The engine.
        network: Its network.
        blocks: What to run.
        every: Read traces and weights after every so many blocks.

    Returns:
        ``u``, ``ebar`` (A, steps, neurons), ``decision`` (A, blocks, n_out), ``z`` and ``dw`` (reads, …),
        ``modulators``.
    """
    agents = len(network.seeds)
    start = np.concatenate([w.reshape(agents, -1) for w in _strong(network)], axis=1)
    first = initial_modulators(network.form, network.sizes[-1])
    engine.write({"w": start, "modulators": np.tile(first, (agents, 1))})
    u, ebar, decision, z, dw = [], [], [], [], []
    for k, block in enumerate(blocks):
        result = engine.advance(block)
        assert result.delivered == len(block.event_agent)
        u.append(result.recording["u"])
        ebar.append(result.recording["ebar"])
        decision.append(result.decision)
        if (k + 1) % every == 0 or k == len(blocks) - 1:
            state = engine.read()
            z.append(state["z"])
            dw.append(state["w"] - start)
    out: dict[str, Any] = {"u": np.concatenate(u, axis=1), "ebar": np.concatenate(ebar, axis=1)}
    out |= {"decision": np.stack(decision, axis=1), "z": np.stack(z), "dw": np.stack(dw), "w": start}
    return out | {"modulators": engine.read()["modulators"]}


def _strong(network: NetworkSpec) -> list[np.ndarray]:
    """The initial weights, the action layer's larger, so that errors matter to the hidden layers."""
    *hidden, action = network.initial_weights()
    return [*hidden, 4 * action]


def errors(found: dict[str, np.ndarray], golden: dict[str, np.ndarray], network: NetworkSpec) -> dict[str, float]:
    """Return the largest differences, each relative to the largest value of its own kind (trace by trace)."""
    out = {name: _relative(found[name], golden[name]) for name in ("u", "ebar", "decision", "dw", "modulators")}
    at = 0
    for k, (n_pre, n_post) in enumerate(zip(network.sizes[:-1], network.sizes[1:], strict=True)):
        traces = network.form.action if k == len(network.sizes) - 2 else network.form.hidden
        for name in traces.names:
            end = at + n_post * (n_pre + 1)
            out[f"{name} of layer {k + 1}"] = _relative(found["z"][..., at:end], golden["z"][..., at:end])
            at = end
    return out


def _relative(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    scale = np.abs(other).max(initial=0.0)
    return float(np.abs(one - other).max(initial=0.0) / (scale if scale > 0 else 1.0))
