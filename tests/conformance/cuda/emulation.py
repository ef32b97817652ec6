"""Runs a kernel's CUDA text on the CPU, with what an engine on the CPU kernel was given, and compares."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro_backends.brian2_program.cuda_kernel import CudaKernel
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine
from rnla_neuro_backends.explicit.kernel import Kernel
from rnla_neuro_backends.moving_equilibrium.compiler import compile_library, find_compiler

HERE = Path(__file__).parent
Arrays = dict[str, npt.NDArray[Any]]
RACE = 66
"""Exit code of a program in which the thread sanitizer found something."""


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
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.calls = kernel, []
        self.max_steps, self.max_events = kernel.settings.max_steps, kernel.settings.max_events
        self.arrays: Arrays = {a.name: np.zeros(a.size, kernel.dtype(a)) for a in kernel.arrays}
        types = {a.name: {"real": _real(kernel)}.get(a.dtype, a.ctype) for a in kernel.arrays}
        pointers = "\n".join(f"{types[a.name]}* {a.name} = ({types[a.name]}*)p[{k}];" for k, a in enumerate(kernel.arrays))
        library = compile_library(f'{kernel.source}\nextern "C" void run(void** p) {{\n{pointers}\n{kernel.call}\n}}\n')
        self._run = library.run
        self._pointers = (ctypes.c_void_p * len(kernel.arrays))(*(a.ctypes.data for a in self.arrays.values()))
        self._call(kernel.initial_arrays(), block=False)

    def _call(self, given: Arrays, block: bool) -> None:
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
        self._call(self.kernel.pack_flush(), block=True)
        self._call(self.kernel.to_arrays(state), block=False)


def is_kept(array: Any) -> bool:
    """Whether an array is what a kernel must keep or give back."""
    return array.role in ("state", "output")


def _real(kernel: Kernel) -> str:
    return {"float64": "double", "float32": "float"}[kernel.settings.precision]


@dataclass
class Replay:
    """The CUDA text of a kernel as a program for the CPU.

    Args:
        kernel: The CUDA kernel.
        folder: Where it is built and run.
        flags: Further flags for the compiler.
        edit: Changes the kernel's text: what is wrong must be found.
    """

    kernel: CudaKernel
    folder: Path
    flags: tuple[str, ...] = ()
    edit: Any = staticmethod(lambda text: text)
    shared_limit: int = 227 * 1024
    program: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        real = _real(self.kernel.kernel)
        types = [{"real": real}.get(a.dtype, a.ctype) for a in self.kernel.arrays]
        rows = [
            f'    {{"{a.name}", {a.size} * sizeof({t}), {str(is_kept(a)).lower()}}},'
            for a, t in zip(self.kernel.arrays, types, strict=True)
        ]
        pointers = [f"    {t}* {a.name} = ({t}*)p[{k}];" for k, (a, t) in enumerate(zip(self.kernel.arrays, types, strict=True))]
        text = [
            self.edit(self.kernel.source),
            f"constexpr size_t SHARED_LIMIT = {self.shared_limit};",
            "static const struct { const char* name; size_t bytes; bool kept; } table[] = {",
            *rows,
            "};",
            "static cudaError_t run(void** p, size_t chip_limit) {",
            *pointers,
            f"    return {self.kernel.call};",
            "}\n",
        ]
        (self.folder / "kernel.hpp").write_text("\n".join(text))
        self.program = self.folder / "replay"
        compiler = find_compiler()
        assert compiler is not None
        command = [*shlex.split(compiler), "-std=c++17", "-O1", "-g1", "-Wall", "-Wno-unknown-pragmas", *self.flags]
        command += ["-I", str(HERE), "-I", str(self.folder), str(HERE / "replay.cpp"), "-o", str(self.program)]
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stderr[-6000:]
        assert "warning" not in outcome.stderr, outcome.stderr[:6000]

    def run(self, calls: list[Call], order: str = "forward") -> subprocess.CompletedProcess[str]:
        """Give the program what the engine was given."""
        numbers = {a.name: k for k, a in enumerate(self.kernel.arrays)}
        with (self.folder / "calls").open("wb") as file:
            file.write(np.int32(len(calls)).tobytes())
            for call in calls:
                file.write(np.array([call.block, len(call.given)], np.int32).tobytes())
                for name, values in call.given.items():
                    file.write(np.array([numbers[name], values.nbytes], np.int32).tobytes())
                    file.write(values.tobytes())
        environment = {**os.environ, "CUDA_EMULATION_ORDER": order, "TSAN_OPTIONS": f"exitcode={RACE} halt_on_error=0"}
        command = [str(self.program), str(self.folder / "calls"), str(self.folder / "results")]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    def results(self) -> list[Arrays]:
        """Return what the kept arrays held after each call of the last run."""
        raw, found, at = (self.folder / "results").read_bytes(), [], 0
        while at < len(raw):
            after = {}
            for array in self.kernel.arrays:
                if is_kept(array):
                    after[array.name] = np.frombuffer(raw, self.kernel.kernel.dtype(array), array.size, at)
                    at += after[array.name].nbytes
            found.append(after)
        return found
