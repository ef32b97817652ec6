"""The CUDA text of a generated kernel: the same kernel as on a CPU, around it the primitives of a GPU and a launch."""

from __future__ import annotations

from functools import cached_property

from rnla_neuro.errors import ConfigError
from rnla_neuro_backends.explicit.kernel import Kernel, KernelSettings
from rnla_neuro_backends.general.kernel import GeneralKernel
from rnla_neuro_backends.general.settings import GeneralSettings

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
        const auto size = cudaFuncAttributeMaxDynamicSharedMemorySize;
        const cudaError_t error = cudaFuncSetAttribute(advance_agent, size, int(shared));
        if (error != cudaSuccess) return error;
    }
    RNLA_LAUNCH(advance_agent, [[N_AGENT]], RNLA_THREADS, shared, all, int(on_chip));
    return cudaGetLastError();
}"""


class CudaKernel(Kernel):
    """A kernel whose text is for a CUDA device; otherwise the same as `Kernel`.

    Its `call` is an expression of type ``cudaError_t``: it needs device pointers called like the arrays, and
    ``chip_limit``, the bytes of shared memory that the device gives to a block of threads.

    Args:
        settings: What it is generated for.
        threads: Threads an agent, a multiple of 32; None: as many as suit the widest layer.

    Raises:
        ConfigError: So many threads cannot be.
    """

    def __init__(self, settings: KernelSettings, threads: int | None = None) -> None:
        super().__init__(settings)
        self.threads = threads_for(settings.sizes) if threads is None else threads
        if self.threads % WARP or not WARP <= self.threads <= 1024:
            raise ConfigError(f"threads = {threads}: a multiple of {WARP} from {WARP} to 1024 is needed")
        self.flags = ("-O1", "-std=c++17")  # of the host's part, which only copies

    @cached_property
    def _primitives(self) -> str:
        text = self._primitives_for("cuda")
        return f"#undef RNLA_THREADS\n#define RNLA_THREADS {self.threads}\n{text}"

    @property
    def _entry(self) -> str:
        values = {"WORK": self.layout.work_size, "VALID": self.layout.valid_size, "N_AGENT": self.settings.n_agents}
        entry = _ENTRY
        for name, value in values.items():
            entry = entry.replace(f"[[{name}]]", str(value))
        return entry

    @property
    def call(self) -> str:
        """An expression of type ``cudaError_t`` that runs a block."""
        names = ", ".join(array.name for array in self.arrays)
        return f"{self.namespace}::advance({self.namespace}::Arrays{{{names}}}, chip_limit)"


class GeneralCudaKernel(CudaKernel, GeneralKernel):
    """A general kernel whose text is for a CUDA device; see `CudaKernel`."""


def cuda_kernel(settings: KernelSettings | GeneralSettings, threads: int | None = None) -> CudaKernel:
    """Return the CUDA kernel of settings, the general one where they are general; arguments as `CudaKernel`."""
    if isinstance(settings, GeneralSettings):
        return GeneralCudaKernel(settings, threads)  # type: ignore[arg-type]
    return CudaKernel(settings, threads)


def threads_for(sizes: tuple[int, ...]) -> int:
    """Return threads an agent: two for each neuron of the widest layer, since products have more work than neurons."""
    wanted = 2 * max(sizes[1:])
    return min(MOST_THREADS, max(2 * WARP, -(-wanted // (2 * WARP)) * 2 * WARP))
