"""The fused kernel of a network: C++ and CUDA text generated from the model's strings, and its arrays.

One text serves the runtime (compiled through Cython), the compiled program and the GPU. It depends on the *structure*
alone (the model's strings, the sizes, the precision); values of parameters, weights and seeds are data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import template_dir
from rnla_neuro.spec.form import Traces
from rnla_neuro_backends.common.cpp import environment
from rnla_neuro_backends.explicit.engine import Block, BlockResult, FloatArray
from rnla_neuro_backends.explicit.layout import Layout
from rnla_neuro_backends.explicit.settings import DType, KernelArray, KernelSettings, kernel_settings
from rnla_neuro_backends.explicit.writer import Writer
from rnla_neuro_backends.moving_equilibrium.core import modulator_state

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[Arrays, Mapping[str, int]], Arrays]
MAX_SWEEPS = 500
_KEPT = 24  # converted arrays that are kept, beside the arrays themselves
_STARTS = {"continue": 0, "equilibrium": 1, "rest": 2}
_INCLUDES = "\n".join(f"#include <{name}>" for name in ("cmath", "cstdint", "limits", "type_traits"))
_CPU_ENTRY = """// All agents, one after the other: an agent's weights stay in the cache for a whole block.
inline void advance(const Arrays& all) {
    for (int agent = 0; agent < [[N_AGENT]]; ++agent) run_agent(all, agent, 0);
}"""


class Kernel:
    """A generated kernel: its text, its arrays, and how blocks and states go in and out of them.

    Args:
        settings: What it is generated for.
    """

    #: State arrays that are no part of the canonical state: constants, and what a flush empties.
    INTERNAL: tuple[str, ...] = ("params", "matrices", "pend_a", "pend_pre", "pend_stamp")
    INPUT: Literal["rate", "value"] = "rate"
    #: What is kept of every step, beside the noise, where it is asked for.
    RECORDED: tuple[str, ...] = ("u", "ebar", "drive")
    #: What dt may be too large for, in messages.
    STEPS = "the explicit form"
    PRIMITIVES: tuple[str, ...] = ("explicit",)
    FLAGS: tuple[str, ...] = (
        "-O3",
        "-march=native",
        "-std=c++17",
        "-fopenmp-simd",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=fast",
    )

    def __init__(self, settings: KernelSettings) -> None:
        self.settings = settings
        self.layout = Layout(settings)
        self.writer = Writer(settings.form.base)
        self._set_up()

    def _set_up(self) -> None:
        """Make what follows from settings, layout and writer."""
        self.real = np.dtype(self.settings.precision)
        self.arrays: tuple[KernelArray, ...] = tuple(self._arrays())
        self._rooms: dict[int, npt.NDArray[Any]] = {}
        self._seen: dict[tuple[str, int], tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}
        self._no_events: Arrays = {"event_start": np.zeros(self.settings.n_agents + 1, np.int32)}
        self.flags: tuple[str, ...] = self.FLAGS

    def recording(self) -> Kernel:
        """Return the same kernel, which keeps every step."""
        return Kernel(replace(self.settings, record=True))

    # ---- text -----------------------------------------------------------------------------------------
    @cached_property
    def key(self) -> str:
        """Hash of the text, on which everything compiled depends."""
        return hashlib.sha256(self._render("rnla", self._primitives, self._entry).encode()).hexdigest()[:24]

    @property
    def namespace(self) -> str:
        """C++ namespace of the kernel."""
        return f"rnla_{self.key}"

    @cached_property
    def source(self) -> str:
        """C++17 text at namespace scope for a CPU."""
        return self._render(self.namespace, self._primitives, self._entry)

    @cached_property
    def _primitives(self) -> str:
        return self._primitives_for("cpu")

    def _primitives_for(self, target: str) -> str:
        files = (template_dir() / f"{name}_{target}.hpp" for name in self.PRIMITIVES)
        return "\n".join(file.read_text(encoding="utf-8") for file in files)

    @property
    def _entry(self) -> str:
        return _CPU_ENTRY.replace("[[N_AGENT]]", str(self.settings.n_agents))

    @property
    def call(self) -> str:
        """One C++ statement that runs a block, given pointers that are called like the arrays."""
        names = ", ".join(array.name for array in self.arrays)
        return f"{self.namespace}::advance({self.namespace}::Arrays{{{names}}});"

    def _render(self, namespace: str, primitives: str, entry: str) -> str:
        s, layout, writer = self.settings, self.layout, self.writer
        base, kinds = s.form.base, (("hidden", s.form.base.hidden), ("action", s.form.base.action))
        top = len(s.sizes) - 1
        position = {name: k for k, name in enumerate(modulator_state(base))}
        pulses = [
            {"channel": k, "at": position[m.channel, m.pulse.variable]}
            for k, m in enumerate(base.modulators)
            if m.pulse is not None
        ]
        updates = [t.updates for k, t in kinds if k == "action" or any(s.plastic[:-1])]
        described = {name: self._kind(name, traces, layout.matrices[name]) for name, traces in kinds}
        changes = [any(m.channel in u for u in updates) for m in base.modulators] or [False]
        return str(
            environment()
            .get_template("explicit_kernel.hpp.j2")
            .render(
                namespace=namespace,
                includes=_INCLUDES,
                primitives=primitives,
                entry=entry,
                real={"float64": "double", "float32": "float"}[s.precision],
                sizes=s.sizes,
                top=top,
                hidden_layers=list(range(1, top)),
                n_params=len(writer.parameters),
                n_mod=max(1, len(writer.variables)),
                n_neuron=layout.n_neuron,
                capacity=s.capacity,
                max_steps=s.max_steps,
                max_basis=s.max_basis,
                max_sweeps=MAX_SWEEPS,
                max_trace=max(1, *(len(t.names) for _, t in kinds)),
                max_source=max(1, *(len(t.sources) for _, t in kinds)),
                projections=layout.projections,
                arrays=self.arrays,
                kinds=list(described.values()),
                kind_of=described,
                hidden_rate=writer.hidden_rate(),
                nudge=writer.over_actions(base.nudging, "ebar"),
                decision_argument=writer.over_actions(base.decision.argument, "value"),
                modulate=writer.modulate(),
                changes=", ".join(str(c).lower() for c in changes),
                pulses=pulses,
                rate=s.form.rate,
                noise=s.form.noise,
                lowpass=base.decision.tau is not None,
                record=s.record,
                work=layout.work,
                work_size=layout.work_size,
                valid_size=layout.valid_size,
            )
        )

    def _kind(self, name: str, traces: Traces, at: tuple[int, int]) -> dict[str, Any]:
        writer = self.writer
        return {
            "name": name,
            "n_trace": len(traces.names),
            "n_source": len(traces.sources),
            "sources": writer.sources(traces),
            "gated": ", ".join(str(s.gated).lower() for s in traces.sources) or "false",
            "gains": writer.gains(traces.updates),
            "flows": writer.gains(traces.flows),
            "a_at": at[0],
            "b_at": at[1],
        }

    # ---- arrays ---------------------------------------------------------------------------------------
    def _arrays(self) -> list[KernelArray]:
        s, layout, agents = self.settings, self.layout, self.settings.n_agents
        n_in, n_out = s.sizes[0], s.sizes[-1]

        def state(name: str, stride: int, dtype: DType = "real") -> KernelArray:
            return KernelArray(name, dtype, max(1, agents * stride), "state", stride)

        arrays = [
            state("w", layout.w_size),
            state("z", layout.z_size),
            state("u", layout.n_neuron),
            state("ebar_prev", layout.n_neuron),
            state("rbar_prev", layout.n_neuron),
            state("drive_prev", layout.n_neuron),
            state("noise_bar", n_out),
            state("noise", n_out),
            state("input", n_in),
            state("lowpass", n_out),
            state("pend_a", layout.pend_a_size),
            state("pend_pre", layout.pend_pre_size),
            state("mod", max(1, len(self.writer.variables)), "double"),
            state("pend_stamp", len(layout.projections) * (s.capacity + 2), "int32"),
            state("flags", 4, "int32"),
            KernelArray("params", "double", len(self._constants()), "state"),
            KernelArray("matrices", "double", len(self._matrices()), "state"),
            *self._exchanged(layout.projections[0].row),
            KernelArray("work", "real", agents * layout.work_size, "scratch"),
            KernelArray("valid", "int32", agents * layout.valid_size, "scratch"),
        ]
        return arrays + self._recorded(layout.n_neuron)

    def _exchanged(self, pattern: int) -> list[KernelArray]:
        """Return what goes in for a block, its input patterns of length `pattern`, and what always comes out."""
        s, agents, n_out = self.settings, self.settings.n_agents, self.settings.sizes[-1]
        return [
            KernelArray("head", "int32", 8, "input"),
            KernelArray("clock", "double", 2, "input"),
            KernelArray("basis", "real", agents * s.max_basis * pattern, "input"),
            KernelArray("coefficients", "real", s.max_steps * s.max_basis, "input"),
            KernelArray("noise_rows", "real", agents * s.max_rows * n_out, "input"),
            KernelArray("noise_row", "int32", s.max_steps, "input"),
            KernelArray("gate", "int32", s.max_steps, "input"),
            KernelArray("event_start", "int32", agents + 1, "input"),
            KernelArray("event_step", "int32", s.max_events, "input"),
            KernelArray("event_channel", "int32", s.max_events, "input"),
            KernelArray("event_value", "double", s.max_events, "input"),
            KernelArray("decision", "real", agents * n_out, "output"),
            KernelArray("status", "int32", 2 * agents, "output"),
        ]

    def _recorded(self, n_neuron: int) -> list[KernelArray]:
        """Return what keeps every step, for `n_neuron` neurons after the input, if it is to be kept."""
        s = self.settings
        if not s.record:
            return []
        rows = s.n_agents * s.max_steps
        arrays = [KernelArray(f"rec_{name}", "real", rows * n_neuron, "output") for name in self.RECORDED]
        return [*arrays, KernelArray("rec_noise", "real", rows * s.sizes[-1], "output")]

    def dtype(self, array: KernelArray) -> np.dtype[Any]:
        """Return an array's numpy type."""
        return {"real": self.real, "double": np.dtype(np.float64), "int32": np.dtype(np.int32)}[array.dtype]

    def _constants(self) -> list[float]:
        s, base = self.settings, self.settings.form.base
        pulses = [m.pulse.tau for m in base.modulators if m.pulse is not None]
        own = [float(v) for v in base.parameters.values()]
        return [*own, s.credit, s.dt, base.tau_m, base.decision.tau or 1.0, *pulses]

    def _matrices(self) -> npt.NDArray[np.float64]:
        base = self.settings.form.base
        parts = [m.ravel() for t in (base.hidden, base.action) for m in (t.A, t.B)]
        return np.concatenate([*parts, np.zeros(1)])

    def initial_arrays(self) -> Arrays:
        """Return all state arrays as they are before anything is written: zeros, and the constants."""
        arrays = {a.name: np.zeros(a.size, self.dtype(a)) for a in self.arrays if a.role == "state"}
        arrays["params"][:] = self._constants()
        arrays["matrices"][:] = self._matrices()
        arrays["flags"].reshape(-1, 4)[:, 0] = 1  # drives are to be formed from the weights
        return arrays

    # ---- blocks ---------------------------------------------------------------------------------------
    def pack(self, block: Block) -> Arrays:
        """Return the input arrays of a block; each may be shorter than the kernel's.

        They are to be used before the next call, which may write into them.
        """
        s, basis = self.settings, self._patterns(block.basis.shape[1])
        basis[:, :, : s.sizes[0]] = block.basis
        head = [block.n_steps, basis.shape[1], block.noise.shape[1], _STARTS[block.start], 0, 0, 0, 0]
        return {
            "head": np.array(head, np.int32),
            "basis": basis.reshape(-1),
            **self._course(block),
            **self._events(block),
        }

    def _course(self, block: Block) -> Arrays:
        """Return what a block says of time: its clock, and what each step has of input, noise and gate."""
        return {
            "clock": np.array([block.t0, float(block.trial)]),
            "coefficients": self._converted("coefficients", block.coefficients, self.real),
            "noise_rows": block.noise.astype(self.real).reshape(-1),
            "noise_row": self._converted("noise_row", block.noise_row, np.dtype(np.int32)),
            "gate": self._converted("gate", block.gate, np.dtype(np.int32)),
        }

    def _patterns(self, n_basis: int) -> npt.NDArray[Any]:
        """Return room for the input patterns, the bias unit in place: the coefficients of a step add up to 1."""
        if n_basis not in self._rooms:
            room = np.zeros((self.settings.n_agents, n_basis, self.layout.projections[0].row), self.real)
            room[:, :, self.settings.sizes[0]] = 1.0
            self._rooms[n_basis] = room
        return self._rooms[n_basis]

    def _converted(self, name: str, array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Convert what mostly is the same array as in the block before, or in the one before that."""
        known = self._seen.get((name, id(array)))
        if known is None:
            if len(self._seen) >= _KEPT:
                self._seen.clear()
            known = self._seen[name, id(array)] = (array, array.astype(dtype).reshape(-1))
        return known[1]

    def _events(self, block: Block) -> Arrays:
        if not len(block.event_agent):
            return self._no_events
        ends = np.zeros(self.settings.n_agents + 1, np.int32)
        np.cumsum(np.bincount(block.event_agent, minlength=self.settings.n_agents), out=ends[1:])
        return {
            "event_start": ends,
            "event_step": block.event_step.astype(np.int32),
            "event_channel": block.event_channel.astype(np.int32),
            "event_value": block.event_value,
        }

    def pack_flush(self) -> Arrays:
        """Return the input of a call that only brings the traces in `z` up to date."""
        return {"head": np.array([0, 0, 0, 0, 1, 0, 0, 0], np.int32)}

    def silent(
        self, run: Run, observation: FloatArray, names: Sequence[str]
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Run one trial for each observation from rest, on copies of the agents that do not explore and learn.

        Args:
            run: Sets arrays, runs a block, and returns the first elements of others.
            observation: Input values, shape (B, n_in).
            names: Variables of the action layer that are wanted, as they are at the decision.

        Returns:
            The decision's argument and the variables, each of shape (A, B, n_out).
        """
        raise AssertionError("what a proven model decides follows from its weights")

    def unpack(self, outputs: Arrays, block: Block) -> BlockResult:
        """Return what a block gave back.

        Raises:
            ConvergenceError: A landing did not settle, or voltages are not finite; it names the agent.
        """
        s = self.settings
        status = outputs["status"].reshape(-1, 2)
        if status[:, 0].any():
            failed = np.flatnonzero(status[:, 0])
            raise self._failure(int(failed[0]), int(status[failed[0], 0]), block)
        result = BlockResult(
            decision=outputs["decision"].reshape(s.n_agents, -1).astype(np.float64),
            delivered=len(block.event_agent),
            sweeps=status[:, 1].astype(np.int64),
        )
        if block.record:
            for name in (*self.RECORDED, "noise"):
                values = outputs[f"rec_{name}"].reshape(s.n_agents, s.max_steps, -1)
                result.recording[name] = values[:, : block.n_steps].astype(np.float64)
        return result

    def _failure(self, agent: int, status: int, block: Block) -> ConvergenceError:
        where = f"agent {agent}, in the {block.n_steps} steps from t = {block.t0:.4g} s"
        if status == 1:
            return ConvergenceError(
                f"{MAX_SWEEPS} sweeps did not find the voltages after a jump ({where}): the nudging is too strong for "
                "these weights. Way out: a smaller beta (the learning rate is per unit of error/beta, so nothing is "
                "lost), a smaller gain of the winner-take-all, or smaller weights"
            )
        return ConvergenceError(
            f"voltages are no longer finite ({where}): the weights have diverged, or dt is too large for {self.STEPS}. "
            "Way out: a smaller learning rate (eta), weaker homeostasis, or a smaller dt"
        )

    # ---- states ---------------------------------------------------------------------------------------
    def completed(self, state: Arrays, read: Callable[[], Arrays]) -> Arrays:
        """Add to parts of a canonical state what lies in the same array as they do, as an engine's `read` has it."""
        return state

    def to_arrays(self, state: Arrays) -> Arrays:
        """Return the kernel's arrays for the given parts of a canonical state (see `Engine`)."""
        out: Arrays = {}
        agents = self.settings.n_agents
        for name, value in state.items():
            if name in ("w", "z"):
                out[name] = self.layout.pad(name, np.asarray(value), self.real).ravel()
            elif name == "modulators":
                out["mod"] = np.asarray(value, np.float64).ravel()
            elif name == "moved":
                out["flags"] = np.repeat(np.asarray(value, np.int32).reshape(-1, 1), 4, axis=1).ravel()
            else:
                out[name] = np.asarray(value).astype(self.real).ravel()
        if "z" in state:  # what was pending is part of the traces that are replaced
            out["pend_stamp"] = np.zeros(len(self.layout.projections) * agents * (self.settings.capacity + 2), np.int32)
        if "w" in state and "moved" not in state:
            out["flags"] = np.ones(4 * agents, np.int32)
        return out

    def weights_of(self, w: npt.NDArray[Any]) -> FloatArray:
        """Return canonical weights from the kernel's array of them."""
        return self.layout.strip("w", w)

    def from_arrays(self, arrays: Arrays) -> Arrays:
        """Return the canonical state (see `Engine`) from the kernel's arrays, after a flush."""
        agents = self.settings.n_agents
        state: Arrays = {name: self.layout.strip(name, arrays[name]) for name in ("w", "z")}
        state["modulators"] = arrays["mod"].reshape(agents, -1).copy()
        for name in ("lowpass", "u", "ebar_prev", "rbar_prev", "drive_prev", "noise_bar", "noise", "input"):
            state[name] = arrays[name].reshape(agents, -1).astype(np.float64)
        state["moved"] = arrays["flags"].reshape(agents, 4)[:, :1].copy()
        return state


def make_kernel(network: NetworkSpec, *, record: bool = False, max_basis: int = 2) -> Kernel:
    """Generate the kernel of a network; see `kernel_settings`."""
    return Kernel(kernel_settings(network, record=record, max_basis=max_basis))


__all__ = ["Arrays", "Kernel", "KernelArray", "KernelSettings", "kernel_settings", "make_kernel"]
