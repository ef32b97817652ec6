"""Builds and runs the compiled Brian2 programs of the speed table: each built once, kept by what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.speed.brian2_workload import DT, FloatArray, Workload

HERE = Path(__file__).parent
#: Of every program of Brian2: what the issue's reference is compiled with.
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
        root: Folder of all programs.
        work: The workload; its tables are part of the program.
        style: How it is written, see `brian2_stock`.
        precision: ``float64`` or ``float32``.
    """

    def __init__(self, root: Path, work: Workload, style: str, precision: str = "float64"):
        self.work = work
        text = (HERE / "brian2_stock.py").read_text()
        self.folder, built = folder_of(root, f"{style} {work.name} {precision}", text, work, FLAGS, _dense_text(style))
        if not built:
            _build(self.folder, work, style, precision)
        self.files: dict[str, str] = json.loads((self.folder / "built.json").read_text())

    def run(self) -> float:
        """Run the program; seconds of processor time a step, of its main loop alone."""
        subprocess.run(["./main"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return float((self.folder / "seconds").read_text()) / self.work.steps

    def state(self) -> State:
        """Return w and E, (n_post, n_pre + 1) a projection, bias last, and u, as the last run left them."""
        found: State = {"w": [], "E": [], "u": []}
        for l, n_pre in enumerate(self.work.sizes[:-1], start=1):
            for name, bias in (("w", "b"), ("E", "Eb")):
                matrix = self._read(f"{name}{l}").reshape(n_pre, -1).T
                found[name].append(np.column_stack([matrix, self._read(f"{bias}{l}")]))
            found["u"].append(self._read(f"u{l}"))
        return found

    def _read(self, name: str) -> FloatArray:
        path = self.folder / "results" / self.files[name]
        return np.fromfile(path, np.dtype(self.files["precision"])).astype(np.float64)


def _dense_text(style: str) -> str:
    """Return the text of what a program of dense synapses depends on."""
    if not style.startswith("dense"):
        return ""
    from rnla_neuro_backends import dense

    folder = Path(dense.__file__).parent
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return "".join(path.read_text() for path in files)


def _build(folder: Path, work: Workload, style: str, precision: str) -> None:
    import rnla_neuro_backends.brian2_model.importing  # noqa: F401

    # isort: split
    import brian2 as b2

    from benchmarks.speed.brian2_stock import StockNet

    shutil.rmtree(folder, ignore_errors=True)
    options = {"build_on_run": False, "directory": str(folder)}
    b2.set_device("cpp_standalone", **options)
    b2.device.reinit()
    b2.device.activate(**options)
    b2.prefs.core.default_float_dtype = np.dtype(precision).type
    # the headers once for all files (-include, precompiled below): three times quicker to build
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", *FLAGS, "-include", "objects.h"]
    b2.defaultclock.dt = DT * b2.second
    try:
        net = StockNet(work, style, precision)
        # processor time of the main loop: what else the machine does is not in it
        b2.device.insert_code("before_network_run", "const std::clock_t _begun = std::clock();")
        b2.device.insert_code(
            "after_network_run", 'std::ofstream("seconds") << double(std::clock() - _begun)/CLOCKS_PER_SEC;'
        )
        net.network.run(work.steps * DT * b2.second, namespace={})
        files = {name: Path(b2.device.get_array_filename(v)).name for name, v in net.arrays().items()}
        b2.device.build(directory=str(folder), compile=False, run=False)
    finally:
        b2.device.reinit()
        b2.set_device("runtime")
        b2.prefs.core.default_float_dtype = np.float64
    _compile(folder)
    (folder / "built.json").write_text(json.dumps({**files, "precision": precision}))


def _compile(folder: Path) -> None:
    line = next(l for l in (folder / "makefile").read_text().splitlines() if l.startswith("OPTIMISATIONS"))
    flags = shlex.split(line.partition("=")[2].replace("-include objects.h", ""))
    header = ["g++", "-x", "c++-header", "-Wno-write-strings", *flags, "-I.", "objects.h", "-o", "objects.h.gch"]
    for command in (header, ["make", f"-j{len(os.sched_getaffinity(0))}"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{shlex.join(command)} failed in {folder}:\n{done.stderr[-3000:]}")
