"""The workload on the fused kernel: its text compiled into a library, its call timed block by block.

The clock stands around the kernel's one statement, so what carries blocks to it (a socket, Python) is not in it. The
kernel does more than the rows beside it: where input or weights jump, it lands the voltages by sweeps.

`held` is the kernel as it is. For `moving` its text is changed in three places so that it no longer knows that the
input is held: W1 is read at every step, and each step is a factor of its own in the traces of the first projection.
"""

from __future__ import annotations

import ctypes
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.brian2_programs import State, folder_of
from benchmarks.speed.brian2_workload import BETA, BLOCK, DT, Workload
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.explicit.engine import Block
from rnla_neuro_backends.explicit.kernel import Kernel, kernel_settings

CHANGES = {  # lines of models/rate_nla_ou.toml, see `brian2_workload`
    'T = "50*ms"': 'T = "100*ms"',
    'dt = "2*ms"': 'dt = "1*ms"',
    'ramp = "5*ms"': 'ramp = "0*ms"',
    "r = rbar + phi_prime*(I - u + err) : 1": "r = rbar + tau_m*(rbar - rbar_prev)/dt : 1",
    "gate*(": "(",
}
MOVING = {  # of the generated text
    "== 0 || g.basis_valid[k]) continue;": "== 0) continue;",
    "    if (!g.flags[MOVED]) return;\n": "",
    "        int slot = g.basis_valid[MAX_BASIS + k];\n": "        int slot = -1;\n",
}


def model(work: Workload) -> ModelSpec:
    """Return the model of the workload."""
    shipped = load_model("rate_nla_ou")
    text = "\n".join(line for line in shipped.text.splitlines() if not line.startswith("gate ="))
    text = _changed(text, CHANGES)
    hidden, action, homeostasis = work.eta
    beta_free = parse_model(text, shipped.path)
    credit = NetworkSpec(beta_free, work.sizes, (0,)).credit
    settings = {"eta": action, "lr_hidden": hidden / action, "eta_hom": homeostasis}
    values = {name: repr(value * (1.0 if name == "lr_hidden" else credit)) for name, value in settings.items()}
    return parse_model(text, shipped.path, {**values, "beta": repr(BETA)})


def _changed(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        if old not in text:
            raise SystemExit(
                f"{old!r} is not in the text that this benchmark changes: bring brian2_kernel.py up to date"
            )
        text = text.replace(old, new)
    return text


class KernelLibrary:
    """The kernel of one net, compiled.

    Args:
        root: Folder of all programs.
        work: The workload.
        precision: ``float64`` or ``float32``.
        held: Whether it may use that the input is held for a block.
        agents: Independent copies.
        loops: How often the tables are run through; 1 leaves a state to compare.
    """

    def __init__(self, root: Path, work: Workload, precision: str, held: bool, agents: int = 1, loops: int = 1):
        self.work, self.agents, self.loops = work, agents, loops
        network = NetworkSpec(model(work), work.sizes, tuple(range(agents)), precision)
        self.kernel = Kernel(replace(kernel_settings(network), capacity=128))
        names = ", ".join(f"static_cast<{a.ctype if a.dtype != 'real' else self._real}*>(p[{k}])"
                          for k, a in enumerate(self.kernel.arrays))  # fmt: skip
        space = self.kernel.namespace
        text = self.kernel.source if held else _changed(self.kernel.source, MOVING)
        text += f'\nextern "C" void advance(void** p) {{ {space}::advance({space}::Arrays{{{names}}}); }}\n'
        self.library = self._compile(root, text, f"kernel {work.name} {precision} {'held' if held else 'moving'}")
        self.arrays: dict[str, np.ndarray[Any, Any]] = {
            a.name: np.zeros(a.size, self.kernel.dtype(a)) for a in self.kernel.arrays
        }
        self.pointers = (ctypes.c_void_p * len(self.arrays))(*(a.ctypes.data for a in self.arrays.values()))

    @property
    def _real(self) -> str:
        return "double" if self.kernel.real == np.float64 else "float"

    def _compile(self, root: Path, text: str, name: str) -> ctypes.CDLL:
        folder, built = folder_of(root, name, text, self.kernel.flags)
        if not built:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "kernel.cpp").write_text(text)
            command = ["g++", *self.kernel.flags, "-shared", "-fPIC", "kernel.cpp", "-o", "kernel.so"]
            subprocess.run(command, cwd=folder, check=True)
            (folder / "built.json").write_text("{}")
        return ctypes.CDLL(str(folder / "kernel.so"))

    def _set(self, given: dict[str, Any]) -> None:
        for name, values in given.items():
            self.arrays[name][: values.size] = values

    def blocks(self) -> list[Block]:
        """Return the blocks of the workload; every agent is given the same.

        A reward comes at the end of its block, with the decision; the last one only if the tables are run again.
        """
        work, agents, found = self.work, self.agents, []
        for b in range(work.blocks):
            events = agents if b + 1 < work.blocks or self.loops > 1 else 0
            found.append(
                Block(
                    n_steps=BLOCK,
                    t0=b * BLOCK * DT,
                    trial=0,
                    basis=np.repeat(work.inputs[b][None, None], agents, axis=0),
                    coefficients=np.ones((BLOCK, 1)),
                    noise=np.repeat(work.noise[None, b * BLOCK : (b + 1) * BLOCK], agents, axis=0),
                    noise_row=np.arange(BLOCK),
                    gate=np.ones(BLOCK, np.int64),
                    event_agent=np.arange(events),
                    event_step=np.full(events, BLOCK),
                    event_channel=np.zeros(events, np.int64),
                    event_value=np.full(events, work.rewards[(b + 1) % work.blocks]),
                )
            )
        return found

    def start(self) -> None:
        """Put the network where the workload begins."""
        agents = self.agents
        self._set(self.kernel.initial_arrays())
        weights = np.concatenate([w.ravel() for w in self.work.weights])
        state = {
            "w": np.repeat(weights[None], agents, axis=0),
            "input": np.repeat(self.work.inputs[:1], agents, axis=0),
            "modulators": np.tile(self._modulators(), (agents, 1)),
        }
        self._set(self.kernel.to_arrays(state))

    def _modulators(self) -> list[float]:
        """Return the neuromodulators' initial values; they depend on the number of actions at most."""
        form, n = self.kernel.settings.form.base, self.work.sizes[-1]
        return [float(e.subs(dict.fromkeys(e.free_symbols, n))) for m in form.modulators for e in m.initial]

    def run(self) -> float:
        """Run the workload; seconds of processor time a step and agent."""
        self.start()
        packed, took = [self.kernel.pack(block) for block in self.blocks()], 0.0
        for _ in range(self.loops):
            for given in packed:
                self._set(given)
                begun = time.process_time()
                self.library.advance(self.pointers)
                took += time.process_time() - begun
                if self.arrays["status"].reshape(-1, 2)[:, 0].any():
                    raise SystemExit(f"the kernel of {self.work.name} did not converge")
        return took / self.loops / self.work.steps / self.agents

    def state(self) -> State:
        """Return w, E and u of the first agent."""
        self._set(self.kernel.pack_flush())
        self.library.advance(self.pointers)
        canonical = self.kernel.from_arrays(self.arrays)
        found: State = {"w": [], "E": [], "u": []}
        at = u_at = z_at = 0
        for k, w in enumerate(self.work.weights):
            n_trace = len(self.kernel.settings.traces(k).names)
            found["w"].append(canonical["w"][0, at : at + w.size].reshape(w.shape))
            found["E"].append(canonical["z"][0, z_at : z_at + w.size].reshape(w.shape))
            found["u"].append(canonical["u"][0, u_at : u_at + len(w)])
            at, z_at, u_at = at + w.size, z_at + n_trace * w.size, u_at + len(w)
        return found
