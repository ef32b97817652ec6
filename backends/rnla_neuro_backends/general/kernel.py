"""The general kernel of a network: C++ and CUDA text generated from the model's strings, and its arrays.

It has the interface of `rnla_neuro_backends.explicit.kernel.Kernel`, so that the same engines run it: in this process
through Cython, in the compiled program, on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.chance import SILENT, chance_key
from rnla_neuro_backends.common.cpp import environment
from rnla_neuro_backends.explicit.block import Planner, quiet_block
from rnla_neuro_backends.explicit.engine import Block, BlockResult, FloatArray
from rnla_neuro_backends.explicit.kernel import Arrays, Kernel, KernelArray, Run
from rnla_neuro_backends.explicit.settings import DType
from rnla_neuro_backends.general.layout import GeneralLayout
from rnla_neuro_backends.general.plan import Plan
from rnla_neuro_backends.general.settings import GeneralSettings, general_settings
from rnla_neuro_backends.general.text import context
from rnla_neuro_backends.general.writer import GeneralWriter
from rnla_neuro_backends.moving_equilibrium.core import initial_modulators


class GeneralKernel(Kernel):
    """A generated kernel for a model that is not of the proven form; see `Kernel`.

    Args:
        settings: What it is generated for.
    """

    #: State arrays that are no part of the canonical state: constants, and what a flush empties or makes void.
    INTERNAL = ("params", "matrices", "keys", "start", "hist", "pre", "stamp", "product", "stream", "flags")
    INPUT = "value"
    RECORDED = ("u", "ebar", "drive", "rate")
    STEPS = "the model's equations"
    PRIMITIVES = ("explicit", "general")

    def __init__(self, settings: GeneralSettings) -> None:
        self.settings = settings  # type: ignore[assignment]
        self.general = settings
        self.plan = Plan(settings.form, settings.places, settings.links, len(settings.sizes) - 1)
        self.places = GeneralLayout(settings, self.plan)
        self.texts = GeneralWriter(self.plan, self.places)
        self.layout, self.writer = self.places, self.texts  # type: ignore[assignment]
        self._set_up()

    def recording(self) -> GeneralKernel:
        """Return the same kernel, which keeps every step."""
        return GeneralKernel(replace(self.general, record=True))

    # ---- text -----------------------------------------------------------------------------------------
    def _render(self, namespace: str, primitives: str, entry: str) -> str:
        template = environment().get_template("general_kernel.hpp.j2")
        about = context(self.general, self.plan, self.places, self.texts)
        return str(
            template.render(namespace=namespace, primitives=primitives, entry=entry, arrays=self.arrays, **about)
        )

    # ---- arrays ---------------------------------------------------------------------------------------
    def _arrays(self) -> list[KernelArray]:
        s, at, agents = self.general, self.places, self.general.n_agents
        n_in, n_out = s.sizes[0], s.sizes[-1]

        def state(name: str, stride: int, dtype: DType = "real") -> KernelArray:
            return KernelArray(name, dtype, max(1, agents * stride), "state", stride)

        arrays = [
            state("w", at.w_size),
            state("z", at.z_size),
            state("own", at.own_size),
            state("product", at.product_size),
            state("stream", max(1, at.stream_size)),
            state("hist", max(1, at.hist_size)),
            state("pre", max(1, at.pre_size)),
            state("mod", max(1, len(self.texts.variables)), "double"),
            state("spikes", len(s.sizes), "double"),
            state("flags", at.n_valid, "int32"),
            state("stamp", max(1, at.stamp_size), "int32"),
            KernelArray("keys", "int32", agents, "state"),
            KernelArray("start", "real", at.own_size, "state"),
            KernelArray("params", "double", len(self._constants()), "state"),
            KernelArray("matrices", "double", len(self._matrices()), "state"),
            *self._exchanged(n_in),
            KernelArray("seen", "real", max(1, agents * len(self.seen_names) * n_out), "output"),
            KernelArray("work", "real", agents * at.work_size, "scratch"),
            KernelArray("valid", "int32", agents * at.valid_size, "scratch"),
        ]
        arrays += self._recorded(at.n_neuron)
        if s.record:
            arrays.append(KernelArray("rec_spikes", "int32", agents * s.max_steps * at.n_all, "output"))
        return arrays

    @property
    def seen_names(self) -> tuple[str, ...]:
        """Variables of the action layer that a silent trial gives back."""
        return self.texts.seen_names

    def _constants(self) -> list[float]:
        s, form = self.general, self.general.form
        pulses = [m.pulse.tau for m in form.modulators if m.pulse is not None]
        return [*(float(v) for v in form.parameters.values()), s.credit, s.dt, *pulses]

    def _matrices(self) -> npt.NDArray[np.float64]:
        plasticity = self.general.form.plasticity.values()
        return np.concatenate([*(traces.A.ravel() for traces in plasticity), [traces.decay for traces in plasticity]])

    def initial_arrays(self) -> Arrays:
        """Return all state arrays as they are before anything is written."""
        arrays = {a.name: np.zeros(a.size, self.dtype(a)) for a in self.arrays if a.role == "state"}
        arrays["params"][:] = self._constants()
        arrays["matrices"][:] = self._matrices()
        keys = np.array([chance_key(seed) for seed in self.general.seeds], np.uint32)
        arrays["keys"][:] = keys.view(np.int32)
        for (level, name), value in self.places.start.items():
            at = self.places.own[level, name]
            arrays["start"][at : at + self.places.sizes[level]] = value
        own = arrays["own"].reshape(self.general.n_agents, -1)
        own[:] = arrays["start"]
        for at, values in self.places.fixed_values().items():
            own[:, at : at + values.shape[1]] = values
        first = initial_modulators(self.general.form, self.general.sizes[-1])  # type: ignore[arg-type]
        arrays["mod"][:] = np.tile(first, self.general.n_agents)
        return arrays

    # ---- blocks ---------------------------------------------------------------------------------------
    def pack(self, block: Block) -> Arrays:
        """See `Kernel.pack`."""
        return self._packed(block, 0) | self._events(block)

    def silent(
        self, run: Run, observation: FloatArray, names: Sequence[str]
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """See `Kernel.silent`."""
        s, course = self.general, Planner(self.general.trial).course(0)
        shape, at = (s.n_agents, len(self.seen_names), s.sizes[-1]), [self.seen_names.index(name) for name in names]
        wanted = {"status": 2 * s.n_agents, "decision": s.n_agents * s.sizes[-1]}
        wanted |= {"seen": int(np.prod(shape))} if names else {}
        decisions, seen = [], []
        block = quiet_block(course, s.dt, np.zeros(s.sizes[0]), s.n_agents, s.sizes[-1])
        given = self._packed(block, 2) | self._no_events
        basis = given["basis"].reshape(s.n_agents, 2, -1)
        for x in observation:
            basis[:, 1] = x
            outputs = run(given, wanted)
            decisions.append(self.unpack(outputs, block).decision)
            if names:
                seen.append(outputs["seen"].reshape(shape)[:, at].astype(np.float64))
        values = {name: np.stack([one[:, k] for one in seen], axis=1) for k, name in enumerate(names)}
        return np.stack(decisions, axis=1), values

    def _packed(self, block: Block, mode: int) -> Arrays:
        period = self.general.period
        head = [block.n_steps, block.basis.shape[1], block.noise.shape[1], 0, mode, 0, 0, period]
        packed = np.array(head, np.int32)
        packed[5] = np.array(block.counter % 2**32, np.uint32).view(np.int32)
        packed[6] = block.counter % SILENT % period
        return {"head": packed, "basis": block.basis.astype(self.real).reshape(-1), **self._course(block)}

    def unpack(self, outputs: Arrays, block: Block) -> BlockResult:
        """See `Kernel.unpack`."""
        result = super().unpack(outputs, block)
        if block.record and self.general.form.spikes:
            values = outputs["rec_spikes"].reshape(self.general.n_agents, self.general.max_steps, -1)
            result.recording["spikes"] = values[:, : block.n_steps] != 0
        return result

    # ---- states ---------------------------------------------------------------------------------------
    def to_arrays(self, state: Arrays) -> Arrays:
        """See `Kernel.to_arrays`."""
        out: Arrays = {}
        agents = self.general.n_agents
        for name, value in state.items():
            if name in ("w", "z"):
                out[name] = self.places.pad(name, np.asarray(value), self.real).ravel()
            elif name == "modulators":
                out["mod"] = np.asarray(value, np.float64).ravel()
            elif name == "spikes":
                out["spikes"] = np.asarray(value, np.float64).ravel()
            elif name == "own":
                out["own"] = np.asarray(value).astype(self.real).ravel()
        if "z" in state:  # what was pending is part of the traces that are replaced
            out["stamp"] = np.zeros(agents * max(1, self.places.stamp_size), np.int32)
        out["flags"] = np.zeros(agents * self.places.n_valid, np.int32)
        return out

    def completed(self, state: Arrays, read: Callable[[], Arrays]) -> Arrays:
        """See `Kernel.completed`; voltages are kept among the groups' own variables, in ``own``."""
        if "u" not in state:
            return state
        own = np.array(state["own"] if "own" in state else read()["own"], np.float64)
        own[:, self._voltages] = state["u"]
        return {**state, "own": own}

    @cached_property
    def _voltages(self) -> npt.NDArray[np.int64]:
        """Where in ``own`` the voltages of the layers after the input are."""
        voltage, sizes = self.general.form.roles["voltage"], self.general.sizes
        starts = [(self.places.own[level, voltage], sizes[level]) for level in range(1, len(sizes))]
        return np.concatenate([np.arange(at, at + size) for at, size in starts])

    def from_arrays(self, arrays: Arrays) -> Arrays:
        """See `Kernel.from_arrays`."""
        agents = self.general.n_agents
        state: Arrays = {name: self.places.strip(name, arrays[name]) for name in ("w", "z")}
        state["modulators"] = arrays["mod"].reshape(agents, -1).copy()
        state["spikes"] = arrays["spikes"].reshape(agents, -1).copy()
        state["own"] = arrays["own"].reshape(agents, -1).astype(np.float64)
        state["u"] = state["own"][:, self._voltages]
        return state


def make_general_kernel(network: NetworkSpec, *, record: bool = False, max_basis: int = 2) -> GeneralKernel:
    """Generate the kernel of a network; see `general_settings`."""
    return GeneralKernel(general_settings(network, record=record, max_basis=max_basis))
