"""Builds and runs the compiled programs of the speed table: each once, kept by what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.brian2_workload import DT, FloatArray, Workload

HERE = Path(__file__).parent
#: The same flags for every program of Brian2. -std=c++17 is the compiler's own default.
FLAGS = ("-O3", "-march=native", "-ffast-math")

State = dict[str, list[FloatArray]]


def machine() -> str:
    """Return processor and compiler, as far as they can be found."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    version = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True, check=False)
    return f"{cpu or platform.processor()} ({platform.machine()}), g++ {version.stdout.strip()}"


def folder_of(root: Path, name: str, *made_from: object) -> tuple[Path, bool]:
    """Return the folder of a program, and whether it is there already."""
    key = hashlib.sha256("\0".join([machine(), *map(str, made_from)]).encode()).hexdigest()[:12]
    folder = root / f"{name.replace(' ', '_').replace(',', '')}-{key}"
    return folder, (folder / "built.json").exists()


class Brian2Program:
    """A compiled program of Brian2's standalone device.

    Args:
        folder: Where its project is, or will be.
        work: The workload; its tables are part of the program.
        objects: Returns a Brian2 network, the variables to read by name, and what to do before the build; called
            only if the program is not there yet.
    """

    def __init__(self, folder: Path, work: Workload, objects: Callable[[], tuple[Any, dict[str, Any]]]):
        self.folder, self.work = folder, work
        if not (folder / "built.json").exists():
            _build(folder, work, objects)
        self.files: dict[str, str] = json.loads((folder / "built.json").read_text())

    def run(self) -> float:
        """Run the program; seconds a step in its main loop, by Brian2's own measure."""
        subprocess.run(["./main"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return float((self.folder / "results" / "last_run_info.txt").read_text().split()[0]) / self.work.steps

    def state(self) -> State:
        """Return w and E, (n_post, n_pre + 1) a projection, bias last, and u, as the last run left them."""
        found: State = {"w": [], "E": [], "u": []}
        for l, (n_pre, _) in enumerate(pairwise(self.work.sizes), start=1):
            for name, bias in (("w", "b"), ("E", "Eb")):
                matrix = self._read(f"{name}{l}").reshape(n_pre, -1).T
                found[name].append(np.column_stack([matrix, self._read(f"{bias}{l}")]))
            found["u"].append(self._read(f"u{l}"))
        return found

    def _read(self, name: str) -> FloatArray:
        path = self.folder / "results" / self.files[name]
        return np.fromfile(path, np.float32 if self.files.get("precision") == "float32" else np.float64).astype(float)


def _build(folder: Path, work: Workload, objects: Callable[[], tuple[Any, dict[str, Any]]]) -> None:
    import rnla_neuro_backends.brian2_model.importing  # noqa: F401

    # isort: split
    import brian2 as b2

    shutil.rmtree(folder, ignore_errors=True)
    b2.set_device("cpp_standalone", build_on_run=False, directory=str(folder))
    b2.device.reinit()
    b2.device.activate(build_on_run=False, directory=str(folder))
    b2.start_scope()
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", *FLAGS]
    b2.prefs.devices.cpp_standalone.extra_make_args_unix = [f"-j{os.cpu_count() or 1}"]
    b2.defaultclock.dt = DT * b2.second
    try:
        network, variables = objects()
        network.run(work.steps * DT * b2.second, namespace={})
        b2.device.build(directory=str(folder), compile=True, run=False, with_output=False)
        files = {name: Path(b2.device.get_array_filename(v)).name for name, v in variables.items()}
        files["precision"] = str(np.dtype(b2.prefs.core.default_float_dtype))
        (folder / "built.json").write_text(json.dumps(files))
    finally:
        b2.device.reinit()
        b2.set_device("runtime")
