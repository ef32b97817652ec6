"""What is exchanged with the program of a model's plain groups: its arrays, and how blocks go in and out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

import rnla_neuro_backends.brian2_model as brian2_model
from rnla_neuro.errors import ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec import chance as chance_module
from rnla_neuro.spec.chance import chance_key
from rnla_neuro.spec.expressions import identifiers, split_call
from rnla_neuro_backends.brian2_model.build import Builder
from rnla_neuro_backends.brian2_model.groups import Brian2Network
from rnla_neuro_backends.brian2_model.state import StateNames, changing
from rnla_neuro_backends.brian2_program.isolation import isolated, runtime_device
from rnla_neuro_backends.explicit.engine import Block, BlockResult
from rnla_neuro_backends.explicit.kernel import Arrays, KernelArray

MAX_SWEEPS = 500
_STARTS = {"continue": 0, "equilibrium": 1, "rest": 2}
COUNTS = "spike_counts"
_RECORDED = ("u", "ebar", "drive", "rate")


class PlainSettings:
    """Sizes of a plain program, as `KernelSettings` has them."""

    def __init__(self, network: NetworkSpec) -> None:
        trial = network.model.trial
        self.n_agents, self.sizes, self.precision = len(network.seeds), network.sizes, network.precision
        self.max_steps = max(8, round(trial.duration / trial.dt))
        self.max_events = 4 * self.n_agents * max(1, len(network.model.neuromodulators))
        self.max_basis, self.max_rows = 2, self.max_steps + 2


class PlainKernel:
    """The plain groups of a model as `build` and `ProgramLink` see them: a key, flags and numbered arrays.

    It holds the groups of one agent in this process too, which translate states: the program is given and gives
    the values of all their variables, agent by agent. Unlike the fused kernel's, its program contains the values
    of the model's parameters, since Brian2 writes them into the code.
    """

    def __init__(self, network: NetworkSpec) -> None:
        self.network, self.settings = network, PlainSettings(network)
        self.real = np.dtype(network.precision)
        self.flags: tuple[str, ...] = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno")
        if network.model.spikes:  # a sum that is rounded once instead of twice may reach a threshold a step later
            self.flags = (*self.flags, "-ffp-contract=off")
        self._keys = np.array([chance_key(seed) for seed in network.seeds], np.uint32).view(np.int32)
        self.call = ""
        self.policy_names = _policy_names(network)
        with self.translating():
            parts = build_groups(network, "rnla_shadow")
            self.net = Brian2Network(parts)
            for thing in self.net.network.sorted_objects:
                thing._network = self.net.network.id  # they are never run; Brian2 would warn of it
        self.names = StateNames(self.net)
        groups = (*self.names.neurons, *self.names.synapses)
        self.variables = [v for group in groups for v in changing(group)] + [v for _, v in parts.fixed]
        self.at_start = [v.get_value().copy() for v in self.variables]
        self.n_own = sum(len(changing(group)) for group in self.names.neurons)
        self.state = tuple(self._kept(k, v) for k, v in enumerate(self.variables))
        n_fixed = len(parts.fixed)
        self.constants = {
            array.name: network.constant_values[key].astype(self.real).ravel()
            for (key, _), array in zip(parts.fixed, self.state[len(self.state) - n_fixed :], strict=True)
        }
        self.arrays: tuple[KernelArray, ...] = (*self.state, *self._exchanged())
        self.source = self._identity()
        self.key = hashlib.sha256(self.source.encode()).hexdigest()[:24]

    @staticmethod
    def translating() -> Any:
        """Brian2 as the groups of this process need it."""
        return isolated(runtime_device(), {"codegen.target": "numpy"})

    def _kept(self, k: int, variable: Any) -> KernelArray:
        kinds = {np.dtype(np.float64): "double", np.dtype(np.int32): "int32"}
        dtype = np.dtype(variable.dtype)
        kind: Any = "real" if dtype == self.real else kinds[dtype]
        size = variable.get_value().size
        name = f"v{k}_{variable.owner.name.removeprefix('rnla_shadow_')}_{variable.name}"
        return KernelArray(name, kind, size * self.settings.n_agents, "state", size)

    def _exchanged(self) -> list[KernelArray]:
        s = self.settings
        n_in, n_out, n = s.sizes[0], s.sizes[-1], sum(s.sizes[1:])
        rows = s.n_agents * s.max_steps
        inputs: list[tuple[str, Any, int]] = [
            ("head", "int32", 8),
            ("times", "double", 2),
            ("basis", "double", s.n_agents * s.max_basis * n_in),
            ("coefficients", "double", s.max_steps * s.max_basis),
            ("noise_rows", "double", s.n_agents * s.max_rows * n_out),
            ("noise_row", "int32", s.max_steps),
            ("gate", "int32", s.max_steps),
            ("event_start", "int32", s.n_agents + 1),
            ("event_step", "int32", s.max_events),
            ("event_channel", "int32", s.max_events),
            ("event_value", "double", s.max_events),
            ("keys", "int32", s.n_agents),
        ]
        outputs: list[tuple[str, Any, int]] = [
            ("decision", "double", s.n_agents * n_out),
            ("sweeps", "int32", s.n_agents),
            ("status", "int32", s.n_agents),
            ("delivered", "int32", 1),
            *((f"at_{name}", "double", s.n_agents * n_out) for name in self.policy_names),
            *((f"rec_{name}", "double", rows * n) for name in _RECORDED),
            ("rec_noise", "double", rows * n_out),
        ]
        counts = []
        if self.network.model.spikes:
            outputs.append(("rec_spikes", "int32", rows * (n_in + n)))
            counts = [KernelArray(COUNTS, "double", s.n_agents * len(s.sizes), "state", len(s.sizes))]
        return [KernelArray(*a, "input") for a in inputs] + [KernelArray(*a, "output") for a in outputs] + counts

    def dtype(self, array: KernelArray) -> np.dtype[Any]:
        """Return an array's numpy type."""
        return {"real": self.real, "double": np.dtype(np.float64), "int32": np.dtype(np.int32)}[array.dtype]

    def _identity(self) -> str:
        """Return everything that the sources depend on."""
        network = self.network
        writers = [Path(chance_module.__file__)]
        writers += [*Path(brian2_model.__path__[0]).glob("*.py"), *Path(__file__).parent.glob("plain_*.py")]
        about = {
            "model": network.model.text,
            "parameters": {name: p.value for name, p in network.model.parameters.items()},
            "trial": repr(network.model.trial),
            "settings": vars(self.settings),
            "plastic": network.plastic,
            "credit": network.credit,
            "writers": [path.read_text() for path in sorted(writers)],
        }
        return json.dumps(about)

    # ---- blocks ---------------------------------------------------------------------------------------
    def pack(self, block: Block, learns: bool = True) -> Arrays:
        """Return the input arrays of a block; each may be shorter than the program's."""
        s = self.settings
        counts = np.bincount(block.event_agent, minlength=s.n_agents)
        head = [
            block.n_steps,
            block.basis.shape[1],
            block.noise.shape[1],
            _STARTS[block.start],
            block.record,
            not learns,
            int(np.uint32(block.counter).view(np.int32)),
            0,
        ]
        return {
            "head": np.array(head, np.int32),
            "times": np.array([block.t0, float(block.trial)]),
            "basis": block.basis.ravel(),
            "coefficients": block.coefficients.ravel(),
            "noise_rows": block.noise.ravel(),
            "noise_row": block.noise_row.astype(np.int32),
            "gate": block.gate.astype(np.int32),
            "event_start": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            "event_step": block.event_step.astype(np.int32),
            "event_channel": block.event_channel.astype(np.int32),
            "event_value": np.ascontiguousarray(block.event_value),
            "keys": self._keys,
        }

    def unpack(self, outputs: Arrays, block: Block) -> BlockResult:
        """Return what a block gave back.

        Raises:
            ConvergenceError: A landing did not settle, or voltages are not finite; it names the agent.
        """
        s = self.settings
        failed = np.flatnonzero(outputs["status"])
        if len(failed):
            raise self._failure(int(failed[0]), int(outputs["status"][failed[0]]), block)
        decision = outputs["decision"].reshape(s.n_agents, -1).copy()
        result = BlockResult(decision, int(outputs["delivered"][0]), outputs["sweeps"].astype(np.int64))
        spikes = ("spikes",) if self.network.model.spikes else ()
        for name in (*_RECORDED, "noise", *spikes) if block.record else ():
            values = outputs[f"rec_{name}"].reshape(s.n_agents, s.max_steps, -1)
            result.recording[name] = values[:, : block.n_steps].copy()
        return result

    def _failure(self, agent: int, status: int, block: Block) -> ConvergenceError:
        where = (
            f"model {self.network.model.name!r}, agent {agent}, in the {block.n_steps} steps from t = {block.t0:.4g} s"
        )
        if status == 1:
            return ConvergenceError(
                f"{where}: {MAX_SWEEPS} sweeps did not find the voltages after a jump: the nudging is too strong for "
                "these weights; use a smaller beta"
            )
        return ConvergenceError(
            f"{where}: voltages are no longer finite: the weights have diverged. Way out: a smaller learning rate "
            "(eta), weaker homeostasis, or a smaller dt"
        )


def _policy_names(network: NetworkSpec) -> list[str]:
    """Return the variables of the action layer that the model's policy is an expression of."""
    model = network.model
    where = f"{model.path.name}: [exploration] policy"
    call = split_call(model.exploration.policy, where)
    assert call is not None, "the loader has checked it"
    return sorted(identifiers(call[1][0], where) - {*model.parameters, "T", "dt", "n", "pi"})


def build_groups(network: NetworkSpec, name: str = "rnla") -> Builder:
    """Make the groups of one agent on the active device."""
    from brian2 import Clock, second

    return Builder(
        network.model,
        network.sizes,
        seed=network.seeds[0],
        credit=network.credit,
        name=name,
        clock=Clock(network.model.trial.dt * second, name=f"{name}_steps"),
        dtype=np.dtype(network.precision).type,
        own_noise=False,
    )
