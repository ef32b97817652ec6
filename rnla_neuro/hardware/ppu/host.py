"""The kernel's text, compiled for this machine with a header that stands in for the processor, and run by ctypes."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import BackendError
from rnla_neuro.hardware.ppu.kernel import kernel_text
from rnla_neuro.hardware.ppu.rule import Modulator, PpuRule

#: Headers of the processor's library that the kernel includes: all of them are the one that stands in.
_HEADERS = (
    "grenade/vx/ppu/neuron_view_handle.h",
    "grenade/vx/ppu/synapse_array_view_handle.h",
    "libnux/vx/location.h",
    "libnux/vx/vector_if.h",
    "libnux/vx/vector_row.h",
)
_FLAGS = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def _compiler() -> list[str]:
    chosen = os.environ.get("CXX")
    found = chosen or next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if found is None:
        raise BackendError("no C++ compiler found (tried $CXX, c++, g++, clang++)")
    return shlex.split(found)


def build(rule: PpuRule, folder: Path, seed: int = 1) -> Path:
    """Write the kernel and what stands in for the processor into a folder, and compile it.

    Returns:
        The shared library.

    Raises:
        BackendError: There is no compiler, or it refuses the text.
    """
    import jinja2

    here = resources.files(__package__).joinpath("stand_in")
    (folder / "kernel.cpp").write_text(kernel_text(rule, seed=seed), encoding="utf-8")
    (folder / "vector_unit.h").write_text(here.joinpath("vector_unit.h").read_text(encoding="utf-8"), encoding="utf-8")
    driver = here.joinpath("driver.cpp.j2").read_text(encoding="utf-8")
    (folder / "driver.cpp").write_text(jinja2.Template(driver).render(rule=rule), encoding="utf-8")
    for name in _HEADERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('#include "vector_unit.h"\n', encoding="utf-8")
    library = folder / "kernel.so"
    command = [*_compiler(), *_FLAGS, "-I", str(folder), str(folder / "driver.cpp"), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendError(f"the plasticity kernel does not compile:\n{done.stderr.strip()[:2000]}")
    return library


class PpuOnHost:
    """The compiled kernel; the same calls as `PpuTwin`.

    Args:
        rule: The rule.
        weights: Integers of the signed weights, shape (n_pre, n_post).
        folder: Where it is compiled; it must stay while the object lives.
        seed: Start of the random numbers.
        rows: Rows of the excitatory and of the inhibitory synapses, shape (2, n_pre), ascending; None: alternating.
        columns: Columns of the postsynaptic neurons, shape (n_post,), ascending; None: the first ones.
    """

    def __init__(
        self,
        rule: PpuRule,
        weights: npt.NDArray[np.int64],
        folder: Path,
        seed: int = 1,
        rows: npt.NDArray[np.int64] | None = None,
        columns: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.rule, self.random = rule, seed
        self._library = ctypes.CDLL(str(build(rule, folder, seed)))
        self._library.call.restype = ctypes.c_uint32
        self._library.get_weights.restype = ctypes.c_size_t
        alternating = np.arange(2 * rule.n_pre).reshape(-1, 2).T
        placed = np.ascontiguousarray(alternating if rows is None else rows, dtype=np.int32)
        lanes = np.ascontiguousarray(np.arange(rule.n_post) if columns is None else columns, dtype=np.int32)
        self._library.place(
            *(row.ctypes.data_as(ctypes.c_void_p) for row in placed), lanes.ctypes.data_as(ctypes.c_void_p)
        )
        pair = np.ascontiguousarray([np.maximum(weights, 0), np.maximum(-weights, 0)], dtype=np.uint8)
        self._library.set_weights(pair.ctypes.data_as(ctypes.c_void_p))

    def _call(self, command: int, pre: npt.NDArray[np.int64], post: npt.NDArray[np.int64], by: Modulator) -> None:
        pre_, post_ = (np.ascontiguousarray(x, dtype=np.int8) for x in (pre, post))
        self.random = self._library.call(
            ctypes.c_uint8(command),
            pre_.ctypes.data_as(ctypes.c_void_p),
            post_.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int8(by.mantissa),
            ctypes.c_int8(by.shift),
            ctypes.c_uint32(self.random),
        )

    def accumulate(self, pre: npt.NDArray[np.int64], post: npt.NDArray[np.int64]) -> None:
        """Let the traces decay and take up the product of two factors; see `PpuTwin.accumulate`."""
        self._call(1, pre, post, Modulator(0, 0))

    def update(self, modulator: Modulator) -> None:
        """Change the weights by modulator times trace."""
        nothing = np.zeros(max(self.rule.n_pre, self.rule.n_post), dtype=np.int64)
        self._call(2, nothing, nothing, modulator)

    @property
    def traces(self) -> npt.NDArray[np.int64]:
        """Integers of the traces, shape (n_pre, n_post)."""
        found = np.zeros((self.rule.n_pre, self.rule.n_post), dtype=np.int8)
        self._library.get_traces(found.ctypes.data_as(ctypes.c_void_p))
        return found.astype(np.int64)

    def pairs(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the weights of the synapses: excitatory and inhibitory.

        Raises:
            BackendError: The kernel wrote a weight above 63.
        """
        found = np.zeros((2, self.rule.n_pre, self.rule.n_post), dtype=np.uint8)
        wrong = self._library.get_weights(found.ctypes.data_as(ctypes.c_void_p))
        if wrong:
            raise BackendError(f"the plasticity kernel wrote {wrong} weights above 63")
        return found[0].astype(np.int64), found[1].astype(np.int64)

    @property
    def weights(self) -> npt.NDArray[np.int64]:
        """Integers of the signed weights, shape (n_pre, n_post)."""
        plus, minus = self.pairs()
        return plus - minus
