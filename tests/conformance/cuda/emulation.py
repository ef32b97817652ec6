"""Runs a kernel's CUDA text on the CPU: alone, with what an engine on the CPU kernel was given, or as a program."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnla_neuro_backends.brian2_program.base import KernelEngine
from rnla_neuro_backends.brian2_program.cuda_kernel import CudaKernel
from rnla_neuro_backends.brian2_program.link import ProgramLink
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine
from rnla_neuro_backends.explicit.kernel import Arrays, Kernel, KernelArray
from rnla_neuro_backends.moving_equilibrium.compiler import find_compiler

HERE = Path(__file__).parent
RACE = 66
"""Exit code of a program in which the thread sanitizer found something."""
QUICK = ("-std=c++17", "-O0", "-Wall", "-Wno-unknown-pragmas")


def compile_program(source: Path, program: Path, flags: tuple[str, ...]) -> None:
    """Compile one file; warnings are errors, since the GPU's compiler would not show them to us."""
    compiler = find_compiler()
    assert compiler is not None
    command = [*shlex.split(compiler), *flags, "-I", str(HERE), str(source), "-o", str(program)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr[-6000:]
    assert "warning" not in outcome.stderr, outcome.stderr[:6000]


def ctype(kernel: Kernel, array: KernelArray) -> str:
    """Return the C++ type of an array's elements, outside of the kernel's namespace."""
    real = {"float64": "double", "float32": "float"}[kernel.settings.precision]
    return real if array.dtype == "real" else array.ctype


def is_kept(array: KernelArray) -> bool:
    """Whether an array is what a kernel must keep or give back."""
    return array.role in ("state", "output")


def pointers(kernel: Kernel) -> str:
    """Return C++ that gives the elements of ``void** p`` the names of the kernel's arrays."""
    types = [(ctype(kernel, array), array.name) for array in kernel.arrays]
    return "\n".join(f"    {type_}* {name} = ({type_}*)p[{k}];" for k, (type_, name) in enumerate(types))


@dataclass
class Call:
    """What the kernel was given, whether a block was run, and what its kept arrays held afterwards."""

    given: Arrays
    block: bool
    after: Arrays


class CpuEngine(Engine):
    """The CPU kernel in this process, and a record of every call.

    Args:
        kernel: The kernel.
        folder: Where it is compiled.
    """

    def __init__(self, kernel: Kernel, folder: Path) -> None:
        self.kernel = kernel
        self.calls: list[Call] = []
        self.max_steps, self.max_events = kernel.settings.max_steps, kernel.settings.max_events
        self.arrays: Arrays = {a.name: np.zeros(a.size, kernel.dtype(a)) for a in kernel.arrays}
        source, library = folder / "cpu.cpp", folder / "cpu.so"
        run = f'extern "C" void run(void** p) {{\n{pointers(kernel)}\n    {kernel.call}\n}}\n'
        source.write_text(f"{kernel.source}\n{run}")
        compile_program(source, library, ("-std=c++17", "-O0", "-w", "-fPIC", "-shared"))
        self._run = ctypes.CDLL(str(library)).run
        self._pointers = (ctypes.c_void_p * len(kernel.arrays))(*(a.ctypes.data for a in self.arrays.values()))
        self._call(kernel.initial_arrays(), block=False)

    def _call(self, given: Arrays, *, block: bool) -> None:
        for name, values in given.items():
            self.arrays[name][: values.size] = values
        if block:
            self._run(self._pointers)
        kept = {a.name: self.arrays[a.name].copy() for a in self.kernel.arrays if is_kept(a)}
        self.calls.append(Call({n: v.astype(self.arrays[n].dtype) for n, v in given.items()}, block, kept))

    def advance(self, block: Block) -> BlockResult:
        self._call(self.kernel.pack(block), block=True)
        return self.kernel.unpack({a.name: self.arrays[a.name].copy() for a in self.kernel.arrays}, block)

    def read(self) -> Arrays:
        self._call(self.kernel.pack_flush(), block=True)
        return self.kernel.from_arrays({name: value.copy() for name, value in self.arrays.items()})

    def write(self, state: Arrays) -> None:
        self._call(self.kernel.to_arrays(state), block=False)


class Replay:
    """The CUDA text of a kernel as a program for the CPU; see replay.cpp.

    Args:
        kernel: The CUDA kernel.
        folder: Where it is built and run.
        flags: Flags for the compiler.
        edit: Changes the kernel's text: what is wrong must be found.
        chip_limit: Bytes of shared memory that a block of threads may have.
    """

    def __init__(
        self,
        kernel: CudaKernel,
        folder: Path,
        flags: tuple[str, ...] = QUICK,
        edit: Callable[[str], str] = str,
        chip_limit: int = 227 * 1024,
    ) -> None:
        self.kernel, self.folder, self.program = kernel, folder, folder / "replay"
        rows = [
            f'    {{"{a.name}", {a.size} * sizeof({ctype(kernel, a)}), {str(is_kept(a)).lower()}}},'
            for a in kernel.arrays
        ]
        text = [
            edit(kernel.source),
            f"constexpr size_t CHIP_LIMIT = {chip_limit};",
            "static const struct { const char* name; size_t bytes; bool kept; } table[] = {",
            *rows,
            "};",
            "static cudaError_t run(void** p, size_t chip_limit) {",
            pointers(kernel),
            f"    return {kernel.call};",
            "}\n",
        ]
        (folder / "kernel.hpp").write_text("\n".join(text))
        compile_program(HERE / "replay.cpp", self.program, (*flags, "-I", str(folder)))

    def run(self, calls: list[Call], order: str = "forward") -> subprocess.CompletedProcess[str]:
        """Give the program what the engine was given; threads take turns in an order (see cuda_emulation.hpp)."""
        numbers = {a.name: k for k, a in enumerate(self.kernel.arrays)}
        with (self.folder / "calls").open("wb") as file:
            file.write(np.int32(len(calls)).tobytes())
            for call in calls:
                file.write(np.array([call.block, len(call.given)], np.int32).tobytes())
                for name, values in call.given.items():
                    file.write(np.array([numbers[name], values.nbytes], np.int32).tobytes())
                    file.write(values.tobytes())
        environment = {**os.environ, "CUDA_EMULATION_ORDER": order, "TSAN_OPTIONS": f"exitcode={RACE}"}
        command = [str(self.program), str(self.folder / "calls"), str(self.folder / "results")]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    def results(self) -> list[Arrays]:
        """Return what the kept arrays held after each call of the last run."""
        raw, found, at = (self.folder / "results").read_bytes(), [], 0
        while at < len(raw):
            after: Arrays = {}
            for array in self.kernel.arrays:
                if is_kept(array):
                    after[array.name] = np.frombuffer(raw, self.kernel.dtype(array), array.size, at)
                    at += after[array.name].nbytes
            found.append(after)
        return found


_OBJECTS = """#pragma once
#include <cstdint>
#include <vector>
namespace brian {{
{arrays}
}}
"""
_NETWORK = """#pragma once
struct Network { static inline bool _globally_stopped = false; };
"""
_MAIN = """#include "cuda_emulation.hpp"
#include "objects.h"
#include "code_objects/rnla_link_codeobject.cu"
#include "code_objects/rnla_kernel_codeobject.cu"
int main() {{
{allocate}
    while (!Network::_globally_stopped) {{
        _run_rnla_link_codeobject();
        _run_rnla_kernel_codeobject();
    }}
}}
"""


class EmulatedProgramEngine(KernelEngine):
    """The generated program with brian2cuda's own files replaced by a few lines: no GPU, everything of ours.

    Args:
        kernel: The CUDA kernel.
        project: The generated project; the program is built beside it.
    """

    def __init__(self, kernel: CudaKernel, project: Path) -> None:
        super().__init__(kernel)
        folder = project / "emulated"
        folder.mkdir()
        names = [(ctype(kernel, a), a.name, a.size) for a in kernel.arrays] + [("int32_t", "rnla_block_is_due", 1)]
        declared = [
            f"inline {t} storage_{n}[{size}], *_array_rnla_{n} = storage_{n}, *dev_array_rnla_{n};"
            for t, n, size in names
        ]
        (folder / "objects.h").write_text(_OBJECTS.format(arrays="\n".join(declared)))
        (folder / "network.h").write_text(_NETWORK)
        allocate = [f"    cudaMalloc(&brian::dev_array_rnla_{n}, {size} * sizeof({t}));" for t, n, size in names]
        source, program = folder / "main.cpp", folder / "main"
        source.write_text(_MAIN.format(allocate="\n".join(allocate)))
        compile_program(source, program, (*QUICK, "-I", str(folder), "-I", str(project)))
        dtypes = {array.name: kernel.dtype(array) for array in kernel.arrays}
        self.link = ProgramLink([str(program)], folder, kernel.key, dtypes, folder / "logs")
        self.link.exchange(kernel.initial_arrays(), {})

    def _like_this(self, kernel: Kernel) -> KernelEngine:
        raise NotImplementedError

    def run_block(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        return self.link.advance(given, wanted)

    def _move(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        return self.link.exchange(given, wanted)

    def close(self) -> None:
        self.link.close()
