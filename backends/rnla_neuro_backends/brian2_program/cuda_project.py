"""Writes the CUDA project of a kernel with brian2cuda: sources, and a makefile that compiles them at once.

brian2cuda's own makefile compiles each file by itself, and each of them reads the headers of Thrust and curand:
100 seconds of work. Here all of it is one translation unit, which takes 20.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2cuda  # noqa: F401 - registers its preferences and implementations
from brian2 import second
from brian2cuda.codeobject import CUDAStandaloneCodeObject
from brian2cuda.device import CUDAStandaloneDevice

from rnla_neuro_backends.brian2_program.cuda_kernel import CudaKernel
from rnla_neuro_backends.brian2_program.cuda_toolkit import Toolkit
from rnla_neuro_backends.brian2_program.isolation import isolated
from rnla_neuro_backends.brian2_program.objects import KernelGroup, block_clock, program_network
from rnla_neuro_backends.brian2_program.project import LONG, preferences

UNITY = "everything.cu"
_MAKEFILE = """# One translation unit: {unity} includes all the others, so that Thrust's headers are read once.
NVCC = {nvcc}
HOST = $(firstword $(filter-out ccache,$(CXX)))
NVCCFLAGS = -ccbin $(HOST) -std=c++17 -arch=sm_{arch} -rdc=true --expt-relaxed-constexpr -w -Xcompiler "{flags}"
SOURCES = {sources}

main: everything.o
\t$(NVCC) -ccbin $(HOST) -arch=sm_{arch} $< -o $@ {link}

everything.o: {unity} $(SOURCES)
\t$(filter ccache,$(CXX)) $(NVCC) $(NVCCFLAGS) -I.{includes} -dc $< -o $@

.PHONY: clean
clean:
\trm -f everything.o main
"""


def register_templates() -> None:
    """Let brian2cuda find our templates; more than once does no harm."""
    if __package__ not in CUDAStandaloneCodeObject.templater.package_names:
        CUDAStandaloneCodeObject.templater = CUDAStandaloneCodeObject.templater.derive(__package__)


def write_project(kernel: CudaKernel, folder: Path, toolkit: Toolkit, capability: tuple[int, int]) -> None:
    """Write sources and makefile of a kernel's program into a folder.

    Args:
        kernel: The kernel.
        folder: Where to write.
        toolkit: What will compile it.
        capability: Compute capability to compile for.

    Raises:
        OSError: The folder cannot be written.
    """
    register_templates()
    device = CUDAStandaloneDevice()
    with _quiet(), isolated(device, preferences(kernel) | _cuda_preferences(toolkit, capability)):
        network = program_network(KernelGroup(kernel, block_clock()))
        network.run(LONG * second, namespace={})
        device.build(directory=str(folder), compile=False, run=False, with_output=False)
        sources = sorted(device.writer.source_files)
    (folder / UNITY).write_text("".join(f'#include "{name}"\n' for name in sources))
    (folder / "makefile").write_text(_makefile(kernel, sources, toolkit, capability))


def _cuda_preferences(toolkit: Toolkit, capability: tuple[int, int]) -> dict[str, Any]:
    prefix = "devices.cuda_standalone.cuda_backend."
    return {
        f"{prefix}detect_gpus": False,  # devices are chosen when the program is started
        f"{prefix}detect_cuda": False,  # the makefile is ours
        f"{prefix}gpu_id": 0,
        f"{prefix}compute_capability": float(f"{capability[0]}.{capability[1]}"),
        f"{prefix}cuda_path": str(toolkit.nvcc.parent.parent),
        f"{prefix}cuda_runtime_version": float(f"{toolkit.release[0]}.{toolkit.release[1]}"),
        f"{prefix}extra_compile_args_nvcc": ["-w", "-std=c++17"],
    }


def _makefile(kernel: CudaKernel, sources: list[str], toolkit: Toolkit, capability: tuple[int, int]) -> str:
    library = "-lcurand"
    if toolkit.curand is not None:
        library = f'-Xlinker "{toolkit.curand}" -Xlinker -rpath,"{toolkit.curand.parent}"'
    return _MAKEFILE.format(
        unity=UNITY,
        nvcc=toolkit.nvcc,
        arch=f"{capability[0]}{capability[1]}",
        flags=" ".join(flag for flag in kernel.flags if not flag.startswith("-std=")),
        sources=" ".join(sources),
        includes="".join(f' -I"{path}"' for path in toolkit.includes),
        link=library,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep brian2cuda from listing its preferences to the user, and from being warned of files that it leaves open."""
    loggers = [logging.getLogger(f"{name}") for name in ("brian2.brian2cuda", "brian2cuda")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
