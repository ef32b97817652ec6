"""The roof: the time to read all weights once a step, and to form the eligibility at a reward by BLAS.

Nothing else of a step is in it: no neuron, no second pass, no change of the weights.
"""

from __future__ import annotations

import ctypes
import subprocess
import time
from pathlib import Path

import numpy as np

from benchmarks.speed.brian2_programs import folder_of
from benchmarks.speed.brian2_workload import BLOCK, Workload

SOURCE = """
typedef REAL vec __attribute__((vector_size(32), may_alias));
extern "C" double stream(const REAL* x, long n, long times) {   // n is a multiple of 16 vectors
    constexpr long V = 32 / sizeof(REAL);
    vec s[8] = {};
    for (long k = 0; k < times; ++k) {
        for (long i = 0; i < n; i += 8 * V)
            for (long j = 0; j < 8; ++j) s[j] += *reinterpret_cast<const vec*>(x + i + j * V);
        asm volatile("" ::: "memory");                          // read it again each time
    }
    double total = 0;
    for (auto& v : s) for (long i = 0; i < V; ++i) total += v[i];
    return total;
}
"""


class Roof:
    """The roof of a net in one precision."""

    def __init__(self, root: Path, work: Workload, precision: str, seconds: float = 0.1):
        self.work, self.seconds = work, seconds
        real = "double" if precision == "float64" else "float"
        folder, built = folder_of(root, f"roof {precision}", SOURCE)
        if not built:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "roof.cpp").write_text(SOURCE)
            command = ["g++", "-O3", "-march=native", f"-DREAL={real}", "-shared", "-fPIC", "roof.cpp", "-o", "roof.so"]
            subprocess.run(command, cwd=folder, check=True)
            (folder / "built.json").write_text("{}")
        self.stream = ctypes.CDLL(str(folder / "roof.so")).stream
        self.stream.restype = ctypes.c_double
        self.weights = np.zeros(-(-work.synapses // 128) * 128 + 128, precision)
        start = -self.weights.ctypes.data % 64 // self.weights.itemsize
        self.weights = self.weights[start : start + -(-work.synapses // 128) * 128]
        rng = np.random.default_rng(0)
        self.factors = [rng.random((BLOCK, n)).astype(precision) for n in work.sizes[1:]]
        self.rates = [rng.random((BLOCK, n + 1)).astype(precision) for n in work.sizes[:-1]]

    def run(self) -> float:
        """Seconds of processor time a step."""
        pointer, size = ctypes.c_void_p(self.weights.ctypes.data), ctypes.c_long(self.weights.size)
        read = self._measure(lambda times: self.stream(pointer, size, ctypes.c_long(times)))
        return read + self._measure(self._products) / BLOCK

    def _products(self, times: int) -> None:
        for _ in range(times):
            for factor, rate in zip(self.factors, self.rates, strict=True):
                factor.T @ rate

    def _measure(self, call: object) -> float:
        times, took = 1, 0.0
        while took < self.seconds:
            times *= 2
            begun = time.process_time()
            call(times)  # type: ignore[operator]
            took = time.process_time() - begun
        return took / times
