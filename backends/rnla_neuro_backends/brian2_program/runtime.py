"""An engine whose kernel runs in this process, compiled by Brian2's Cython target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import rnla_neuro_backends.brian2_model.importing  # noqa: F401
from rnla_neuro.errors import BackendError
from rnla_neuro.resources import cache_dir
from rnla_neuro_backends.brian2_program.base import KernelEngine
from rnla_neuro_backends.brian2_program.isolation import isolated, runtime_device
from rnla_neuro_backends.brian2_program.objects import DUE, KernelGroup, block_clock
from rnla_neuro_backends.brian2_program.project import preferences
from rnla_neuro_backends.brian2_program.texts import hash_text
from rnla_neuro_backends.explicit.kernel import Arrays, Kernel
from rnla_neuro_backends.moving_equilibrium.compiler import compiler_identity, find_compiler, no_compiler


class RuntimeEngine(KernelEngine):
    """Runs blocks by calling the compiled object directly: a ``Network.run`` per decision would cost 0.1 s.

    The compiled module is kept between processes, in Brian2's Cython cache (in `cache_dir`, with its locks).

    Args:
        kernel: The generated kernel.

    Raises:
        BackendError: No compiler, or it refuses.
    """

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.group = _prepare(kernel)
        variables = self.group.variables
        self._arrays: Arrays = {array.name: variables[array.name].get_value() for array in kernel.arrays}
        code = self.group.runner.codeobj
        self._main, self._namespace = code.compiled_code["run"].main, code.namespace
        self._set(kernel.initial_arrays())

    def _like_this(self, kernel: Kernel) -> RuntimeEngine:
        return RuntimeEngine(kernel)

    def run_block(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        """See `KernelEngine.run_block`."""
        self._set(given)
        self._main(self._namespace)
        return {name: self._arrays[name][:size].copy() for name, size in wanted.items()}

    def _move(self, given: Arrays, wanted: Mapping[str, int]) -> Arrays:
        self._set(given)
        return {name: self._arrays[name][:size].copy() for name, size in wanted.items()}

    def _set(self, given: Arrays) -> None:
        for name, values in given.items():
            self._arrays[name][: values.size] = values


def _prepare(kernel: Kernel) -> KernelGroup:
    """Compile, or load what was compiled before."""
    compiler = find_compiler()
    if compiler is None:
        raise BackendError(f"{no_compiler()}: Cython needs one")
    cache = cache_dir() / "brian2_cython"
    settings = preferences(kernel) | {
        "codegen.target": "cython",
        "codegen.runtime.cython.cache_dir": str(cache),
    }
    # Brian2's key is the code alone: flags, compiler and processor have to be part of it
    stamp = f"{' '.join(kernel.flags)} {hash_text(compiler_identity(compiler))}"
    for attempt in range(2):
        with isolated(runtime_device(), settings):
            group = KernelGroup(kernel, block_clock(), "rnla_block", stamp)
            group._network = group.id  # it runs without a Network; Brian2 would warn that it was never run
            try:
                group.runner.before_run({})
            except ImportError as error:
                if attempt == 0 and error.path is not None:  # a damaged file in the cache
                    Path(error.path).unlink(missing_ok=True)
                    continue
                raise BackendError(f"the compiled module cannot be loaded: {error}") from error
            except Exception as error:
                raise BackendError(
                    f"Brian2's Cython target could not compile the kernel into {cache} ({type(error).__name__}: "
                    f"{error}): is {compiler} a working C++ compiler, and is there space on the disk?"
                ) from error
            group.variables[DUE].get_value()[...] = 1
            return group
    raise AssertionError("unreachable")
