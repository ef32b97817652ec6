"""An engine whose kernel runs on a CUDA device, in a compiled program built with brian2cuda's cuda_standalone."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

from rnla_neuro_backends.brian2_program.build import Program, find_built, find_or_build
from rnla_neuro_backends.brian2_program.cuda_kernel import CudaKernel, cuda_kernel
from rnla_neuro_backends.brian2_program.cuda_toolkit import (
    Device,
    Toolkit,
    find_toolkit,
    require_brian2cuda,
    require_device,
)
from rnla_neuro_backends.brian2_program.standalone import ProgramEngine
from rnla_neuro_backends.explicit.kernel import Kernel


def write_project(kernel: CudaKernel, folder: Path, toolkit: Toolkit, capability: tuple[int, int]) -> None:
    """Write the project of a kernel's program; imports Brian2 and brian2cuda.

    Raises:
        MissingExtraError: brian2cuda is not installed.
        OSError: The folder cannot be written.
    """
    require_brian2cuda()
    from rnla_neuro_backends.brian2_program import cuda_project

    cuda_project.write_project(kernel, folder, toolkit, capability)


def build_program(kernel: CudaKernel, capability: tuple[int, int]) -> Program:
    """Return the program of a kernel, built if no process has built it before; it needs no device.

    Raises:
        MissingExtraError: brian2cuda is not installed.
        BackendError: nvcc, curand, a C++ compiler or make is missing, or the program cannot be compiled.
    """
    require_brian2cuda()
    toolkit = find_toolkit()

    def write(_: Kernel, folder: Path) -> None:
        write_project(kernel, folder, toolkit, capability)

    return find_or_build(kernel, write, _kind(toolkit, capability))


def built_program(kernel: CudaKernel, capability: tuple[int, int]) -> Program | None:
    """Return the program of a kernel if it has been built before; see `build_program`."""
    require_brian2cuda()
    return find_built(kernel, _kind(find_toolkit(), capability))


def _kind(toolkit: Toolkit, capability: tuple[int, int]) -> str:
    parts = ("cuda", capability, toolkit.release, toolkit.nvcc, toolkit.curand, version("brian2cuda"))
    return " ".join(map(str, parts))


class CudaEngine(ProgramEngine):
    """Runs the program of a kernel on a device, built when it is not yet there.

    Args:
        kernel: The generated kernel.
        device: Where it runs; None: the device of the highest compute capability.
        results: Folder into which the program writes Brian2's result files at the end; None: nowhere.
        timeout: Seconds without an answer after which the program is given up.

    Raises:
        MissingExtraError: brian2cuda is not installed.
        BackendError: There is no device, or the program cannot be built or started.
    """

    def __init__(
        self,
        kernel: CudaKernel,
        device: Device | None = None,
        results: Path | None = None,
        timeout: float = 600.0,
    ) -> None:
        self.device = require_device() if device is None else device
        self._threads = kernel.threads
        program = build_program(kernel, self.device.capability)
        super().__init__(kernel, program, results, timeout, {"CUDA_VISIBLE_DEVICES": _visible(self.device)})

    def _like_this(self, kernel: Kernel) -> CudaEngine:
        return CudaEngine(cuda_kernel(kernel.settings, self._threads), self.device, timeout=self.link.timeout)


def _visible(device: Device) -> str:
    """Return what shows the program this device alone: the program uses the first one that it sees."""
    shown = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return shown[device.number] if device.number < len(shown) else str(device.number)
