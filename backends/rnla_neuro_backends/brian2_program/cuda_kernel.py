"""The CUDA text of a generated kernel: the same kernel as on a CPU, around it the primitives of a GPU and a launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy.typing as npt

from rnla_neuro.errors import BackendError
from rnla_neuro.resources import template_dir
from rnla_neuro_backends.explicit.engine import Block, BlockResult
from rnla_neuro_backends.explicit.kernel import Kernel, KernelArray, KernelSettings

WARP, MOST_THREADS = 32, 512
_ENTRY = """// An agent is a block of threads; its working memory is on the chip where that is large enough.
constexpr int WORK_SIZE = [[WORK]], VALID_SIZE = [[VALID]];
constexpr size_t SHARED_BYTES = WORK_SIZE * sizeof(real) + VALID_SIZE * sizeof(int32_t);

static __global__ void __launch_bounds__(RNLA_THREADS) advance_agent(Arrays all, int on_chip) {
    RNLA_DYNAMIC_SHARED(memory);
    const int agent = blockIdx.x;
    if (on_chip) {
        all.work = reinterpret_cast<real*>(memory);
        all.valid = reinterpret_cast<int32_t*>(memory + WORK_SIZE * sizeof(real));
    }
    run_agent(all, agent, on_chip ? 0 : agent);
}

// Run a block of all agents; the pointers are the device's. `chip_limit`: bytes of shared memory that a block may have.
inline cudaError_t advance(const Arrays& all, size_t chip_limit) {
    const bool on_chip = SHARED_BYTES <= chip_limit;
    const size_t shared = on_chip ? SHARED_BYTES : 0;
    if (shared > 48 * 1024) {       // more than any device gives without being asked
        const cudaError_t error = cudaFuncSetAttribute(advance_agent, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared));
        if (error != cudaSuccess) return error;
    }
    RNLA_LAUNCH(advance_agent, [[N_AGENT]], RNLA_THREADS, shared, all, int(on_chip));
    return cudaGetLastError();
}"""


@dataclass(frozen=True)
class CudaKernel:
    """A kernel whose text is for a CUDA device; otherwise the same as `Kernel`.

    Attributes:
        kernel: The kernel.
        threads: Threads an agent, a multiple of 32; 0: as many as suit the widest layer.
    """

    kernel: Kernel
    threads: int = 0
    flags: tuple[str, ...] = field(default=("-O3", "-march=native", "-std=c++17"))

    def __post_init__(self) -> None:
        if self.threads == 0:
            object.__setattr__(self, "threads", threads_for(self.kernel.settings.sizes))
        elif self.threads % WARP or not WARP <= self.threads <= 1024:
            raise BackendError(f"threads = {self.threads}: a multiple of {WARP} from {WARP} to 1024 is needed")

    @property
    def settings(self) -> KernelSettings:
        """What the kernel is generated for."""
        return self.kernel.settings

    @property
    def arrays(self) -> Sequence[KernelArray]:
        """Every array that the kernel touches."""
        return self.kernel.arrays

    @property
    def precision(self) -> str:
        """``float64`` or ``float32``."""
        return self.kernel.settings.precision

    @property
    def key(self) -> str:
        """What tells this kernel from others."""
        return f"cuda{self.threads}-{self.kernel.key}"

    @cached_property
    def source(self) -> str:
        """CUDA text at namespace scope."""
        primitives = (template_dir() / "explicit_cuda.hpp").read_text(encoding="utf-8")
        layout = self.kernel.layout
        entry = _ENTRY
        for name, value in (
            ("WORK", layout.work_size),
            ("VALID", layout.valid_size),
            ("N_AGENT", self.settings.n_agents),
        ):
            entry = entry.replace(f"[[{name}]]", str(value))
        return f"#undef RNLA_THREADS\n#define RNLA_THREADS {self.threads}\n" + self.kernel.text(primitives, entry)

    @property
    def call(self) -> str:
        """An expression of type ``cudaError_t`` that runs a block.

        It needs device pointers called like the arrays, and ``chip_limit``, the bytes of shared memory that the
        device gives to a block.
        """
        names = ", ".join(array.name for array in self.arrays)
        space = self.kernel.namespace
        return f"{space}::advance({space}::Arrays{{{names}}}, chip_limit)"

    # ---- what does not depend on the target -----------------------------------------------------------
    def pack(self, block: Block) -> dict[str, npt.NDArray[Any]]:
        """Return the input arrays of a block; see `Kernel.pack`."""
        return self.kernel.pack(block)

    def pack_flush(self) -> dict[str, npt.NDArray[Any]]:
        """Return the input of a call that only brings the traces up to date."""
        return self.kernel.pack_flush()

    def unpack(self, outputs: dict[str, npt.NDArray[Any]], block: Block) -> BlockResult:
        """Return what a block gave back; see `Kernel.unpack`."""
        return self.kernel.unpack(outputs, block)

    def initial_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all state arrays as they are before anything is written."""
        return self.kernel.initial_arrays()

    def to_arrays(self, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return the kernel's arrays for the given parts of a canonical state."""
        return self.kernel.to_arrays(dict(state))

    def from_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return the canonical state from the kernel's arrays."""
        return self.kernel.from_arrays(dict(arrays))


def threads_for(sizes: tuple[int, ...]) -> int:
    """Return threads an agent: two for each neuron of the widest layer, since products have more work than neurons."""
    wanted = 2 * max(sizes[1:])
    return min(MOST_THREADS, max(2 * WARP, -(-wanted // (2 * WARP)) * 2 * WARP))
