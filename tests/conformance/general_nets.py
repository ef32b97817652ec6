"""The general kernel on a CPU against stock Brian2: models of many kinds, lives with events at awkward times."""

from __future__ import annotations

import ctypes
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.brian2_program.base import KernelEngine
from rnla_neuro_backends.explicit.block import Planner, make_block
from rnla_neuro_backends.explicit.engine import Block, Engine
from rnla_neuro_backends.explicit.kernel import Arrays, Kernel
from tests.conformance.cuda.emulation import compile_program, pointers
from tests.conformance.nets import events

MODELS = Path(__file__).parent.parent / "models"
TWO_STAGES = {
    r"dE/dt = \(-E \+ gate\*ebar_post\*rbar_pre\)/tau_elig : 1": (
        "dE1/dt = (-E1 + gate*ebar_post*rbar_pre)/tau_elig : 1\ndE/dt = (E1 - E)/tau_elig : 1"
    )
}
#: Input that is held, and spikes nowhere.
ANALOG_INPUT = {
    r'(?s)\[neuron.input\]\nequations = """.*?reset = .*?\n': '[neuron.input]\nequations = "rbar = x : 1"\n',
    r"late = .*\n": "",
}


def altered(
    name: str, changes: Mapping[str, str] | None = None, overrides: Mapping[str, str] | None = None
) -> ModelSpec:
    """Read a model of the tests with parts replaced (regular expressions, each of which must match)."""
    text = (MODELS / f"{name}.toml").read_text(encoding="utf-8")
    for pattern, new in (changes or {}).items():
        text, hits = re.subn(pattern, lambda _, new=new: new, text)
        assert hits, f"{name}.toml has nothing like {pattern!r}"
    return parse_model(text, Path(f"{name}_altered.toml"), overrides)


class CompiledEngine(KernelEngine):
    """A kernel in this process, compiled without optimisation: it takes a second."""

    def __init__(self, kernel: Kernel, flags: tuple[str, ...] = ("-O0",)) -> None:
        super().__init__(kernel)
        with tempfile.TemporaryDirectory() as name:
            source, library = Path(name) / "kernel.cpp", Path(name) / "kernel.so"
            run = f'extern "C" void run(void** p) {{\n{pointers(kernel)}\n    {kernel.call}\n}}\n'
            source.write_text(f"{kernel.source}\n{run}")
            wanted = ("-std=c++17", "-Wall", "-Wno-unknown-pragmas", "-Wno-psabi", "-fPIC", "-shared", *flags)
            compile_program(source, library, wanted)
            self._run = ctypes.CDLL(str(library)).run
        self.arrays: Arrays = {a.name: np.zeros(a.size, kernel.dtype(a)) for a in kernel.arrays}
        self._pointers = (ctypes.c_void_p * len(kernel.arrays))(*(a.ctypes.data for a in self.arrays.values()))
        self._move(kernel.initial_arrays(), {})

    def _like_this(self, kernel: Kernel) -> KernelEngine:
        return CompiledEngine(kernel)

    def run_block(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        self._move(given, {})
        self._run(self._pointers)
        return self._move({}, wanted)

    def _move(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        for name, values in given.items():
            self.arrays[name][: values.size] = values
        return {name: self.arrays[name][:size].copy() for name, size in wanted.items()}


def blocks(network: NetworkSpec, trials: int, record: bool = True) -> list[Block]:
    """A life: inputs, noise, and events off the grid, two in a step, at the decision, in an idle time, or none."""
    rng, trial, agents = np.random.default_rng(4), network.model.trial, len(network.seeds)
    planner, n_out = Planner(trial), network.sizes[-1]
    clock, last = 0.0, np.zeros((agents, network.sizes[0]))
    moving = network.model.exploration.law == "ornstein-uhlenbeck"
    found = []
    for k in range(trials):
        idle = k == 2
        course = planner.idle(7) if idle else planner.course(0 if k in (0, 3) else None)
        steps = np.arange(course.n_steps)
        rows = steps if moving else (steps >= (0 if course.switch is None else course.switch)).astype(np.int64)
        noise = 0.3 * rng.standard_normal((agents, course.n_steps if moving else 2, n_out))
        x = last if idle else rng.uniform(-1, 1, last.shape)
        end = clock + course.n_steps * trial.dt
        found.append(
            make_block(
                course,
                trial.dt,
                t0=clock,
                trial=k,
                basis=np.stack([last, x], axis=1),
                noise=(noise, rows),
                events=_rewards(rng, clock, end, agents, k, len(network.model.neuromodulators)),
                record=record,
            )
        )
        clock, last = end, x
    return found


def _rewards(rng: np.random.Generator, start: float, end: float, agents: int, k: int, channels: int) -> EventBatch:
    shares = [(0.0,), (0.31, 0.47, 0.4701), (0.6,), (), (0.5, 1.0)][k % 5]
    rows = [
        (agent, start + share * (end - start), float(rng.standard_normal()), channel)
        for agent in range(agents)
        for share in (shares if agent != 1 else shares[:1])
        for channel in range(channels)
    ]
    return events(*rows)


def start(network: NetworkSpec, engine: Engine) -> np.ndarray:
    """Give an engine the network's initial weights, and return them, shape (A, total)."""
    weights = [w.reshape(len(w), -1) for w in network.initial_weights()]
    flat = np.concatenate(weights, axis=1)
    engine.write({"w": flat})
    return flat


def life(network: NetworkSpec, engine: Engine, trials: int = 5) -> dict[str, list[np.ndarray]]:
    """Run a life; return everything that can be seen, block by block."""
    first = start(network, engine)
    seen: dict[str, list[np.ndarray]] = {}
    for block in blocks(network, trials):
        result, state = engine.advance(block), engine.read()
        values = {**result.recording, "decision": result.decision, "z": state["z"], "dw": state["w"] - first}
        values["modulators"] = state["modulators"]
        if "spikes" in state:
            values["counts"] = np.asarray(state["spikes"])
        for name, value in values.items():
            seen.setdefault(name, []).append(np.asarray(value))
    rng = np.random.default_rng(9)
    silent, _ = engine.silent(rng.uniform(-1, 1, (2, network.sizes[0])), [])  # type: ignore[attr-defined]
    return seen | {"silent": [silent]}
