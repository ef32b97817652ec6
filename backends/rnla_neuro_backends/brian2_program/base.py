"""What the engines around a generated kernel have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine, FloatArray
from rnla_neuro_backends.explicit.kernel import Arrays, Kernel


class KernelEngine(Engine):
    """An engine whose state lives in the arrays of a kernel, wherever these are.

    A kernel that keeps every step is another kernel, compiled when it is first asked for: its engine takes the
    state over for the block that is recorded.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.INPUT = kernel, kernel.INPUT
        self.max_steps, self.max_events = kernel.settings.max_steps, kernel.settings.max_events
        outputs = (array for array in kernel.arrays if array.role == "output")
        self.outputs = {array.name: array.size for array in outputs if array.name != "seen"}  # of silent trials
        state = [array for array in kernel.arrays if array.role == "state" and array.name not in kernel.INTERNAL]
        self._weights = {array.name: array.size for array in state if array.name == "w"}
        self._state, self._nothing = {array.name: array.size for array in state}, dict[str, int]()
        self._recorder: KernelEngine | None = None

    @abstractmethod
    def run_block(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        """Set arrays, run a block, and return copies of the first elements of others."""

    @abstractmethod
    def _move(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        """Set arrays, and return copies of the first elements of others, without running a block."""

    @abstractmethod
    def _like_this(self, kernel: Kernel) -> KernelEngine:
        """Return an engine of the same kind for another kernel."""

    def advance(self, block: Block) -> BlockResult:
        """Advance all agents by a block; see `Engine.advance`."""
        if block.record and not self.kernel.settings.record:
            return self._advance_recorded(block)
        return self.kernel.unpack(self.run_block(self.kernel.pack(block), self.outputs), block)

    def _advance_recorded(self, block: Block) -> BlockResult:
        if self._recorder is None:
            self._recorder = self._like_this(self.kernel.recording())
        self._recorder.write(self.read())
        result = self._recorder.advance(block)
        self.write(self._recorder.read())
        return result

    def silent(self, observation: FloatArray, names: list[str]) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Run trials of copies of the agents, without noise and learning; see `Kernel.silent`."""
        return self.kernel.silent(self.run_block, observation, names)

    def read(self) -> Arrays:
        """Return copies of the state by its canonical names."""
        self.run_block(self.kernel.pack_flush(), self._nothing)
        return self.kernel.from_arrays(self._move({}, self._state))

    def read_weights(self) -> FloatArray:
        """Return a copy of the weights; no trace has to be brought up to date for them."""
        return self.kernel.weights_of(self._move({}, self._weights)["w"])

    def write(self, state: Arrays) -> None:
        """Replace the parts of the state that are given. Voltages do not move by it."""
        self._move(self.kernel.to_arrays(self.kernel.completed(state, self.read)), self._nothing)

    def close(self) -> None:
        """Give back what the engine holds outside Python; more than once does no harm."""
        if self._recorder is not None:
            self._recorder.close()
