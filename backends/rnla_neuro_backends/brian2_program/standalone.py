"""An engine whose kernel runs in a compiled program of its own, built with Brian2's cpp_standalone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rnla_neuro_backends.brian2_program.base import KernelEngine
from rnla_neuro_backends.brian2_program.build import Program, find_or_build, programs_dir
from rnla_neuro_backends.brian2_program.link import ProgramLink
from rnla_neuro_backends.explicit.kernel import Arrays, Kernel


def write_project(kernel: Kernel, folder: Path) -> None:
    """Write the project of a kernel's program; imports Brian2."""
    from rnla_neuro_backends.brian2_program import project

    project.write_project(kernel, folder)


class StandaloneEngine(KernelEngine):
    """Starts the program of a kernel, built when it is not yet there, and exchanges blocks with it.

    Args:
        kernel: The generated kernel.
        results: Folder into which the program writes Brian2's result files at the end; None: nowhere.
        timeout: Seconds without an answer after which the program is given up.

    Raises:
        BackendError: The program cannot be built or started.
    """

    def __init__(self, kernel: Kernel, results: Path | None = None, timeout: float = 600.0) -> None:
        super().__init__(kernel)
        self.program: Program = find_or_build(kernel, write_project)
        self._results = results
        folder = "{run}/results/" if results is None else f"{results.resolve()}/"
        self.link = ProgramLink(
            [str(self.program.binary), "--results_dir", folder],
            self.program.folder,
            kernel.key,
            {array.name: kernel.dtype(array) for array in kernel.arrays},
            programs_dir() / "logs",
            timeout,
        )
        self.link.exchange(kernel.initial_arrays(), {})

    def _like_this(self, kernel: Kernel) -> StandaloneEngine:
        return StandaloneEngine(kernel, timeout=self.link.timeout)

    def run_block(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        """See `KernelEngine.run_block`."""
        return self.link.advance(given, wanted)

    def _move(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        return self.link.exchange(given, wanted)

    def close(self) -> None:
        """End the program; more than once does no harm."""
        super().close()
        self.link.close(keep_results=self._results is not None)
