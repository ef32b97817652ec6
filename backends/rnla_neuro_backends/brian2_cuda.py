"""The model's strings as one CUDA program: a block of threads an agent, the environment's exchange on the host.

The program is generated with brian2cuda's CUDA standalone mode, built once per structure (model, sizes,
precision, number of agents) and kept. It can be built where there is no GPU; running it needs one.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rnla_neuro.backend import Backend, Capabilities, Description
from rnla_neuro.errors import BackendError, ConfigError, unknown
from rnla_neuro.network import NetworkSpec

if TYPE_CHECKING:  # Brian2 takes a second to import, and 'rnla list' needs none of it
    from rnla_neuro_backends.brian2_program.cuda_kernel import CudaKernel
    from rnla_neuro_backends.explicit.simulation import ExplicitSimulation

ROADS = ("auto", "fused")


class Brian2CudaBackend(Backend):
    """See the module."""

    name = "brian2_cuda"
    summary = "one CUDA program (brian2cuda), an agent a block of threads; needs a GPU to run, none to be built"
    capabilities = Capabilities(
        kinds=("rate", "spiking"),
        precisions=("float64", "float32"),
        options=("road", "start", "directory", "gpu", "threads"),
    )

    def build(
        self,
        network: NetworkSpec,
        *,
        road: str = "auto",
        start: Literal["equilibrium", "rest"] = "equilibrium",
        directory: str | Path | None = None,
        gpu: int | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> ExplicitSimulation:
        """Build the program, or take the one that was built before, and start it on a GPU.

        Args:
            network: What to simulate.
            road: ``auto`` or ``fused``, which are the same here.
            start: ``equilibrium``, or ``rest``: all voltages start at 0.
            directory: Where the program leaves Brian2's result files at the end; None: nowhere.
            gpu: Number of the device as the driver lists them; None: the one of the highest compute capability.
            threads: Threads an agent, a multiple of 32; None: as many as suit the widest layer.
            options: None; any is refused by name.

        Raises:
            MissingExtraError: brian2cuda is not installed.
            BackendError: There is no GPU, the model is not proven, or the program cannot be built or started.
            ConfigError: An option has a value that is not allowed.
        """
        from rnla_neuro_backends.brian2_program.cuda_engine import CudaEngine
        from rnla_neuro_backends.brian2_program.cuda_toolkit import require_brian2cuda, require_device
        from rnla_neuro_backends.explicit.simulation import ExplicitSimulation

        self.check(network, options)
        kernel = _kernel(network, road, threads)
        require_brian2cuda()
        device = require_device(gpu)
        engine = CudaEngine(kernel, device, None if directory is None else _results(Path(directory)))
        try:
            return ExplicitSimulation(network, engine, start, self.name)
        except BaseException:
            engine.close()
            raise

    def missing(self) -> str:
        """Say what there is not; see `Backend.missing`."""
        from rnla_neuro_backends.brian2_program.cuda_toolkit import USUAL, devices

        absent = [] if importlib.util.find_spec("brian2cuda") else ["brian2cuda (pip install 'rnla_neuro[cuda]')"]
        absent += [] if shutil.which("nvcc") or USUAL.exists() else ["CUDA compiler (nvcc)"]
        absent += [] if devices() else ["CUDA device"]
        return f"no {' and no '.join(absent)}" if absent else ""

    def describe(self, network: NetworkSpec) -> Description:
        """Say how the network would be run; see `Backend.describe`."""
        from rnla_neuro_backends.explicit.report import describe

        _kernel(network, "auto", None)

        def ready() -> ExplicitSimulation | None:
            from rnla_neuro_backends.brian2_program.cuda_engine import built_program
            from rnla_neuro_backends.brian2_program.cuda_toolkit import require_device

            kernel = _kernel(network, "auto", None)
            return None if built_program(kernel, require_device().capability) is None else self.build(network)

        return describe(
            network,
            "as one compiled program (CUDA), by the fused kernel, an agent a block of threads",
            device="gpu",
            ready=ready,
            ready_is="the compiled program from the cache",
            no_time=self.missing(),
        )

    def leave_project(self, network: NetworkSpec, folder: Path) -> tuple[tuple[str, str], ...]:
        """Write the program's project into an empty folder, without compiling it; see `Backend.leave_project`."""
        from rnla_neuro_backends.brian2_program.cuda_engine import write_project
        from rnla_neuro_backends.brian2_program.cuda_toolkit import find_toolkit, target_capability
        from rnla_neuro_backends.brian2_program.readme import leave_project, title

        kernel = _kernel(network, "auto", None)
        toolkit, capability = find_toolkit(), target_capability()

        def write(_: Any, where: Path) -> None:
            write_project(kernel, where, toolkit, capability)

        return leave_project(kernel, network.model.text, folder, write, self.name, title(network))


def _results(directory: Path) -> Path:
    from rnla_neuro_backends.brian2_program.readme import require_empty

    require_empty(directory)
    results = directory / "results"
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackendError(f"the folder {results} cannot be made: {error.strerror}") from error
    return results


def _kernel(network: NetworkSpec, road: str, threads: int | None) -> CudaKernel:
    if road == "plain":
        raise BackendError(
            "backend 'brian2_cuda' has no plain road: its events and inputs come at run time, which stock Brian2 "
            "groups take only from Python. Way out: --backend brian2 --road plain"
        )
    if road not in ROADS:
        raise ConfigError(unknown("road", road, ROADS))
    from rnla_neuro_backends.brian2_program.cuda_kernel import cuda_kernel
    from rnla_neuro_backends.explicit.roads import fused_kernel

    try:
        kernel = fused_kernel(network)
    except BackendError as error:
        raise BackendError(f"{error}. Backend 'brian2_cuda' has no other road; --backend brian2 runs it") from error
    return cuda_kernel(kernel.settings, threads)


BACKEND = Brian2CudaBackend()
__all__ = ["BACKEND", "Brian2CudaBackend"]
