"""An engine whose program holds a model's plain Brian2 groups: any model that loads, in a compiled program."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnla_neuro_backends.brian2_model.state import divide, join
from rnla_neuro_backends.brian2_program.build import Program, find_or_build
from rnla_neuro_backends.brian2_program.plain_kernel import COUNTS, PlainKernel
from rnla_neuro_backends.brian2_program.plain_project import write_plain_project
from rnla_neuro_backends.brian2_program.standalone import start_program
from rnla_neuro_backends.explicit.block import Course, Planner, quiet_block
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine, FloatArray
from rnla_neuro_backends.explicit.kernel import Arrays


class PlainProgramEngine(Engine):
    """Plays blocks into `NeuronGroup` and `Synapses`, compiled as they stand; see `PlainEngine`.

    Beside the canonical state it keeps ``own``, as `PlainEngine` does: all variables of the groups of neurons.

    Args:
        kernel: The groups.
        results: Folder into which the program writes Brian2's result files at the end; None: nowhere.
        timeout: Seconds without an answer after which the program is given up.

    Raises:
        BackendError: The program cannot be built or started.
    """

    STATE = (*Engine.STATE, "own")  # and ``spikes``, of a spiking model
    INPUT = "value"

    def __init__(self, kernel: PlainKernel, results: Path | None = None, timeout: float = 600.0) -> None:
        self.kernel, self._results = kernel, results
        self.max_steps, self.max_events = kernel.settings.max_steps, kernel.settings.max_events
        self.program: Program = find_or_build(kernel, write_plain_project, "plain")
        outputs = {array.name: array.size for array in kernel.arrays if array.role == "output"}
        self._outputs = {True: outputs, False: {k: n for k, n in outputs.items() if not k.startswith("rec_")}}
        self._planner = Planner(kernel.network.model.trial)
        self._state = {array.name: array.size for array in kernel.state}
        self._counts = {array.name: array.size for array in kernel.arrays if array.name == COUNTS}
        if self._counts:
            self.STATE = (*self.STATE, "spikes")
        self.link = start_program(self.program, kernel, results, timeout)
        nothing = self._quiet(Planner.idle(0), np.zeros(kernel.settings.sizes[0]))
        self.link.advance(kernel.pack(nothing), {})  # so that all agents' values are there before any is read
        if kernel.constants:
            self.link.exchange(kernel.constants, {})

    def advance(self, block: Block) -> BlockResult:
        """Advance all agents by a block; see `Engine.advance`."""
        return self.kernel.unpack(self.link.advance(self.kernel.pack(block), self._outputs[block.record]), block)

    def silent(self, observation: FloatArray, names: list[str]) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Run one trial for each observation from rest, without noise and learning; the agents do not notice.

        Args:
            observation: Input values, shape (B, n_in).
            names: Variables of the action layer that are wanted, as they are at the decision.

        Returns:
            The decision's argument and the variables, each of shape (A, B, n_out).
        """
        kernel, agents = self.kernel, self.kernel.settings.n_agents
        own = kernel.state[: kernel.n_own]
        before = self.link.exchange({}, {array.name: array.size for array in own})
        fresh = {array.name: np.tile(value.ravel(), agents) for array, value in zip(own, kernel.at_start, strict=False)}
        found: dict[str, list[FloatArray]] = {name: [] for name in ("decision", *(f"at_{name}" for name in names))}
        for x in observation:
            self.link.exchange(fresh, {})
            block = self._quiet(self._planner.course(0), x)
            outputs = self.link.advance(kernel.pack(block, learns=False), self._outputs[False])
            kernel.unpack(outputs, block)  # raises
            for name, values in found.items():
                values.append(outputs[name].reshape(agents, -1))
        self.link.exchange(before, {})
        stacked = {name: np.stack(values, axis=1) for name, values in found.items()}
        return stacked["decision"], {name: stacked[f"at_{name}"] for name in names}

    def _quiet(self, course: Course, x: FloatArray) -> Block:
        settings = self.kernel.settings
        return quiet_block(course, self._planner.dt, x, settings.n_agents, settings.sizes[-1])

    def read(self) -> Arrays:
        """Return copies of the state by its canonical names."""
        kernel, agents = self.kernel, self.kernel.settings.n_agents
        values = self.link.exchange({}, self._state)
        read = []
        with kernel.translating():
            for agent in range(agents):
                self._load(values, agent)
                read.append(kernel.names.read() | {"own": join(kernel.variables[: kernel.n_own])})
        state = {name: np.stack([one[name] for one in read]) for name in read[0]}
        if self._counts:
            counts = self.link.exchange({}, self._counts)[COUNTS]
            state["spikes"] = counts.reshape(agents, -1).astype(np.int64)
        return state

    def write(self, state: Arrays) -> None:
        """Replace the parts of the state that are given. Voltages do not move by it."""
        kernel = self.kernel
        if self._counts and "spikes" in state:
            self.link.exchange({COUNTS: np.asarray(state["spikes"], np.float64).ravel()}, {})
        state = {name: array for name, array in state.items() if name != "spikes"}
        values = {name: array.copy() for name, array in self.link.exchange({}, self._state).items()}
        with kernel.translating():
            for agent in range(kernel.settings.n_agents):
                self._load(values, agent)
                mine = {name: array[agent] for name, array in state.items()}
                if "own" in mine:
                    divide(mine["own"], kernel.variables[: kernel.n_own])
                kernel.names.write(mine, whole="own" in mine)
                for variable, array in zip(kernel.variables, kernel.state, strict=True):
                    values[array.name].reshape(-1, array.stride)[agent] = variable.get_value().ravel()
        self.link.exchange(values, {})

    def _load(self, values: Arrays, agent: int) -> None:
        """Put an agent's values into the groups of this process."""
        for variable, array in zip(self.kernel.variables, self.kernel.state, strict=True):
            variable.get_value()[:] = values[array.name].reshape(-1, array.stride)[agent]

    def close(self) -> None:
        """End the program; more than once does no harm."""
        self.link.close(keep_results=self._results is not None)
