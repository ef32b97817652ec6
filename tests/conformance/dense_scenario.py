"""One projection with sums on both sides, traces and events: as DenseSynapses, as Synapses, and as loops by hand.

Run as a program, it builds and runs the dense variants with cpp_standalone: ``python dense_scenario.py FOLDER``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2 as b2
from brian2 import NeuronGroup, StateMonitor, Synapses, TimedArray, ms

AGENTS, PRE, POST, STEPS, BUFFER = 2, 13, 7, 2200, 64
#: Off the grid of blocks of 64 steps, one right after another, one for one agent only, one in the last step.
EVENTS = {37: (1.0, -0.5), 300: (0.8, 0.0), 301: (-0.6, 1.0), 1409: (0.0, 0.7), STEPS - 1: (0.5, 0.5)}
SPLIT = 777  # steps of the first run: within a block
RECORD = 10  # steps between two records: within a block
TAU, TAU_E, TAU_F, ETA, DT = 10.0, 20.0, 35.0, 1.4, 1.0  # milliseconds, but for ETA

MODEL = """
w : 1
I_post = w*tanh(u_pre) : 1 (summed)
fb_pre = w*ebar_post : 1 (summed)
dE/dt = (-E + gate_{side}*(u_post - 0.5*ebar_post)*tanh(u_pre))/tau_E : 1 (clock-driven)
dF/dt = (-F + 0.5*(ebar_post + u_pre**2))/tau_F : 1 (clock-driven)
"""
UPDATE = "w += eta*reward_{side}*(E + 0.1*F)"
SOURCE = "du/dt = (-u + x + 0.2*fb)/tau : 1\nfb : 1\nx = pattern(t, i) : 1"
TARGET = "du/dt = (-u + I)/tau : 1\nI : 1\nebar = sin(3*u) : 1"
SIGNALS = "reward = signal(t, i) : 1\ngate = int(timestep(t, dt) % 50 > 20) : 1"

Records = dict[str, np.ndarray]


def namespace() -> dict[str, Any]:
    """Input, held for 130 steps (it changes without an event, too), rewards, and constants."""
    x = np.random.default_rng(2).normal(size=(STEPS // 130 + 1, AGENTS * PRE))
    rewards = np.zeros((STEPS + 1, AGENTS))
    for step, values in EVENTS.items():
        rewards[step] = values
    return {
        "pattern": TimedArray(x, dt=130 * DT * ms),
        "signal": TimedArray(rewards, dt=DT * ms),
        "tau": TAU * ms,
        "tau_E": TAU_E * ms,
        "tau_F": TAU_F * ms,
        "eta": ETA,
    }


def weights() -> np.ndarray:
    return np.random.default_rng(3).normal(size=AGENTS * PRE * POST) / 3


class Net:
    """The projection between its groups, with monitors.

    Args:
        kind: ``dense`` or ``brian2``.
        names: The namespace.
        order: Order of the integration; -1 puts it beside the sums.
        record: Whether values over time are recorded, beside those at the end.
        options: Of DenseSynapses.
    """

    def __init__(
        self, kind: str, names: Mapping[str, Any], order: int = -1, record: bool = True, **options: Any
    ) -> None:
        from rnla_neuro import DenseSynapses

        clock = {"clock": b2.Clock(DT * ms, name="dense_clock*")}
        self.source = NeuronGroup(AGENTS * PRE, SOURCE, method="euler", namespace=names, **clock)
        groups = {"namespace": names, "method": "euler"}
        side = "agent" if kind == "dense" else "post"
        signals = "" if kind == "dense" else "\n" + SIGNALS.replace("(t, i)", f"(t, i // {POST})")
        self.target = NeuronGroup(AGENTS * POST, TARGET + signals, **groups, **clock)
        self.agents = NeuronGroup(AGENTS, SIGNALS, namespace=names, **clock)
        arguments = (self.source, self.target, MODEL.format(side=side))
        if kind == "dense":
            event = {"reward_agent != 0": UPDATE.format(side=side)}
            self.S = DenseSynapses(
                *arguments, event, n_agents=AGENTS, agents=self.agents, order=order, **groups, **options, **clock
            )
        else:
            self.S = Synapses(*arguments, order=order, **groups, **clock)
            self.S.connect(f"i // {PRE} == j // {POST}")
            self.S.run_regularly(UPDATE.format(side=side), when="end")
        self.S.w = weights()
        chosen = list(range(0, AGENTS * PRE * POST, 5))
        every = {"dt": RECORD * DT * ms}
        self.monitors = (
            []
            if not record
            else [
                StateMonitor(self.S, ["E", "F", "w"], record=chosen, **every),
                StateMonitor(self.source, ["fb"], record=True, when="after_groups", **every),
                StateMonitor(self.target, ["I"], record=True, when="after_groups", **every),
            ]
        )
        self.network = b2.Network(self.source, self.target, self.agents, self.S, self.monitors)

    def records(self) -> Records:
        """Everything that is compared: sums, traces and weights over time, and all traces and weights at the end."""
        found: Records = {}
        if self.monitors:
            synapses, source, target = self.monitors
            found = {f"{name} over time": np.array(getattr(synapses, name)) for name in ("E", "F", "w")}
            found |= {"I": np.array(target.I), "fb": np.array(source.fb)}
        return found | {name: np.array(getattr(self.S, name)[:]) for name in ("E", "F", "w")}


def by_hand() -> Records:
    """The same as loops over time in numpy, with the order of events of the schedule."""
    names = namespace()
    x, rewards = names["pattern"].values, names["signal"].values
    w = weights().reshape(AGENTS, PRE, POST)
    E, F = np.zeros_like(w), np.zeros_like(w)
    u, v = np.zeros((AGENTS, PRE)), np.zeros((AGENTS, POST))
    kept: dict[str, list[np.ndarray]] = {name: [] for name in ("E over time", "F over time", "w over time", "I", "fb")}
    for step in range(STEPS):
        if step % RECORD == 0:
            for name, value in (("E", E), ("F", F), ("w", w)):
                kept[f"{name} over time"].append(value.ravel()[::5].copy())
        rate, ebar = np.tanh(u), np.sin(3 * v)
        I = (w * rate[:, :, None]).sum(1)
        fb = (w * ebar[:, None, :]).sum(2)
        gate = float(step % 50 > 20)
        E = E + DT / TAU_E * (-E + gate * (v - 0.5 * ebar)[:, None, :] * rate[:, :, None])
        F = F + DT / TAU_F * (-F + 0.5 * (ebar[:, None, :] + u[:, :, None] ** 2))
        u = u + DT / TAU * (-u + x[step // 130].reshape(AGENTS, PRE) + 0.2 * fb)
        v = v + DT / TAU * (-v + I)
        if step % RECORD == 0:
            kept["I"].append(I.ravel())
            kept["fb"].append(fb.ravel())
        w = w + ETA * rewards[step][:, None, None] * (E + 0.1 * F)
    records = {name: np.array(values).T for name, values in kept.items()}
    return records | {"E": E.ravel(), "F": F.ravel(), "w": w.ravel()}


def run(net: Net, split: bool = True) -> Records:
    """Run it all, the first run ending within a block."""
    if split:
        net.network.run(SPLIT * DT * ms)
        net.network.run((STEPS - SPLIT) * DT * ms)
    else:
        net.network.run(STEPS * DT * ms)
    return net.records()


@contextmanager
def single_precision() -> Iterator[None]:
    """Let Brian2 make its variables in float32."""
    b2.prefs.core.default_float_dtype = np.float32
    try:
        yield
    finally:
        b2.prefs.core.default_float_dtype = np.float64


def program(folder: Path) -> None:
    """Build one C++ program with several variants, run it, and write what they recorded."""
    b2.prefs.devices.cpp_standalone.extra_make_args_unix = ["-j2"]
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", "-O1", "-ftree-vectorize", "-march=native", "-std=c++11"]
    b2.set_device("cpp_standalone", directory=str(folder / "program"), build_on_run=False)
    nets = {
        "at events": Net("dense", namespace(), traces="at_events", buffer_steps=BUFFER),
        "every step": Net("dense", namespace(), record=False),
    }
    nets["at events"].network.run(SPLIT * DT * ms)
    nets["at events"].network.run((STEPS - SPLIT) * DT * ms)
    nets["every step"].network.run(STEPS * DT * ms)
    with single_precision():
        nets["single"] = Net("dense", namespace(), record=False, traces="at_events", buffer_steps=BUFFER)
        nets["single"].network.run(STEPS * DT * ms)
    b2.device.build(directory=str(folder / "program"), compile=True, run=True)
    for name, net in nets.items():
        np.savez(folder / f"{name}.npz", **net.records())
    flags = b2.prefs.codegen.cpp.extra_compile_args_gcc
    assert "-fopenmp-simd" in flags


if __name__ == "__main__":
    program(Path(sys.argv[1]))
