"""Engines whose kernel runs in a compiled program of its own, and the one built with Brian2's cpp_standalone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rnla_neuro_backends.brian2_program.base import KernelEngine
from rnla_neuro_backends.brian2_program.build import Program, find_or_build, programs_dir
from rnla_neuro_backends.brian2_program.link import ProgramLink
from rnla_neuro_backends.explicit.kernel import Arrays, Kernel

if TYPE_CHECKING:
    from rnla_neuro_backends.brian2_program.plain_kernel import PlainKernel


def write_project(kernel: Kernel, folder: Path) -> None:
    """Write the project of a kernel's program; imports Brian2."""
    from rnla_neuro_backends.brian2_program import project

    project.write_project(kernel, folder)


def start_program(
    program: Program,
    kernel: Kernel | PlainKernel,
    results: Path | None,
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> ProgramLink:
    """Start a built program.

    Args:
        program: The program.
        kernel: What it was built from.
        results: Folder into which it writes Brian2's result files at the end; None: nowhere.
        timeout: Seconds without an answer after which it is given up.
        environment: Variables for the program, beside this process's own.

    Raises:
        BackendError: It cannot be started.
    """
    folder = "{run}/results/" if results is None else f"{results.resolve()}/"
    return ProgramLink(
        [str(program.binary), "--results_dir", folder],
        program.folder,
        kernel.key,
        {array.name: kernel.dtype(array) for array in kernel.arrays},
        programs_dir() / "logs",
        timeout,
        environment,
    )


class ProgramEngine(KernelEngine):
    """Starts a kernel's built program, and exchanges blocks with it.

    Args:
        kernel: The generated kernel.
        program: Its program.
        results: Folder into which the program writes Brian2's result files at the end; None: nowhere.
        timeout: Seconds without an answer after which the program is given up.
        environment: Variables for the program, beside this process's own.

    Raises:
        BackendError: The program cannot be started.
    """

    def __init__(
        self,
        kernel: Kernel,
        program: Program,
        results: Path | None,
        timeout: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kernel)
        self.program, self._results = program, results
        self.link = start_program(program, kernel, results, timeout, environment)
        self.link.exchange(kernel.initial_arrays(), {})

    def run_block(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        """See `KernelEngine.run_block`."""
        return self.link.advance(given, wanted)

    def _move(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        return self.link.exchange(given, wanted)

    def close(self) -> None:
        """End the program; more than once does no harm."""
        super().close()
        self.link.close(keep_results=self._results is not None)


class StandaloneEngine(ProgramEngine):
    """Runs the program of a kernel on a CPU, built when it is not yet there.

    Args:
        kernel: The generated kernel.
        results: Folder into which the program writes Brian2's result files at the end; None: nowhere.
        timeout: Seconds without an answer after which the program is given up.

    Raises:
        BackendError: The program cannot be built or started.
    """

    def __init__(self, kernel: Kernel, results: Path | None = None, timeout: float = 600.0) -> None:
        super().__init__(kernel, find_or_build(kernel, write_project), results, timeout)

    def _like_this(self, kernel: Kernel) -> StandaloneEngine:
        return StandaloneEngine(kernel, timeout=self.link.timeout)
