"""Speed of the spiking road: the general kernel against stock Brian2 as a user writes it, in one run on one core.

``python -m benchmarks.speed.spiking_table`` prints the table of benchmarks/results/spiking_speed.md; ``--nets 0 1``
takes some of the nets, ``--rounds`` repeats them. Time is processor time of the main loop alone: of the program
around its loop, of the kernel around its call.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.brian2_programs import FLAGS, HERE, _compile, folder_of, machine
from benchmarks.speed.spiking_stock import STEPS, STYLES, StockSpikes
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model
from rnla_neuro_backends.explicit.block import Planner, make_block
from rnla_neuro_backends.explicit.kernel import Arrays
from rnla_neuro_backends.general.kernel import GeneralKernel
from rnla_neuro_backends.general.settings import general_settings
from tests.conformance.nets import events

NETS = ((64, 100, 10), (784, 500, 10), (784, 2000, 2000, 10))
AIMS = (20, 70, 70)
TRIALS = (40, 4, 1)  # of Brian2's programs
RATE = "40*Hz"  # the highest: hidden neurons then spike at 20 Hz on average


def synapses(sizes: tuple[int, ...]) -> int:
    """Return the number of synapses, those of the bias unit included."""
    return sum((a + 1) * b for a, b in pairwise(sizes))


class Stock:
    """Brian2's program of one net, built once."""

    def __init__(self, root: Path, net: int, style: str) -> None:
        self.sizes, self.trials = NETS[net], TRIALS[net]
        text = (HERE / "spiking_stock.py").read_text()
        name = f"spikes {style} {'-'.join(map(str, self.sizes))}"
        self.folder, built = folder_of(root, name, text, self.trials, FLAGS)
        if not built:
            self._build(style)

    def _build(self, style: str) -> None:
        import rnla_neuro_backends.brian2_model.importing  # noqa: F401

        # isort: split
        import brian2 as b2

        model = load_model("spiking_nla", {"r_max": RATE})
        values: dict[str, Any] = {name: p.value for name, p in model.parameters.items()}
        values |= {name: value * b2.second for name, value in values.items() if name.startswith("tau")}
        values |= {"r_max": values["r_max"] * b2.Hz, "open": model.trial.gate / model.trial.dt}
        shutil.rmtree(self.folder, ignore_errors=True)
        b2.set_device("cpp_standalone", build_on_run=False, directory=str(self.folder))
        b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", *FLAGS, "-include", "objects.h"]
        b2.defaultclock.dt = 1e-3 * b2.second
        try:
            net = StockSpikes(self.sizes, style, values, self.trials)
            b2.device.insert_code("before_network_run", "const std::clock_t _begun = std::clock();")
            b2.device.insert_code(
                "after_network_run", 'std::ofstream("seconds") << double(std::clock() - _begun)/CLOCKS_PER_SEC;'
            )
            net.network.run(self.trials * STEPS * 1e-3 * b2.second, namespace={})
            counts = [Path(b2.device.get_array_filename(m.variables["count"])).name for m in net.spikes]
            b2.device.build(directory=str(self.folder), compile=False, run=False)
        finally:
            b2.device.reinit()
            b2.set_device("runtime")
        _compile(self.folder)
        (self.folder / "built.json").write_text(json.dumps(counts))

    def run(self) -> float:
        """Run the program; return seconds a step."""
        subprocess.run(["./main"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return float((self.folder / "seconds").read_text()) / (self.trials * STEPS)

    def rates(self) -> list[float]:
        """Return the mean rate of each layer in the last run, in Hz."""
        names = json.loads((self.folder / "built.json").read_text())
        counts = [np.fromfile(self.folder / "results" / name, np.int32) for name in names]
        return [float(c.mean()) / (self.trials * STEPS * 1e-3) for c in counts]


class Ours:
    """The general kernel of one net, compiled into a library."""

    def __init__(self, net: int, precision: str) -> None:
        self.sizes = NETS[net]
        self.network = NetworkSpec(load_model("spiking_nla", {"r_max": RATE}), self.sizes, (1,), precision)
        kernel = self.kernel = GeneralKernel(general_settings(self.network))
        real = {"float64": "double", "float32": "float"}[precision]
        names = [(real if a.dtype == "real" else a.ctype, a.name) for a in kernel.arrays]
        lines = "\n".join(f"    {t}* {n} = ({t}*)p[{k}];" for k, (t, n) in enumerate(names))
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
            source.write_text(f'{kernel.source}\nextern "C" void run(void** p) {{\n{lines}\n    {kernel.call}\n}}\n')
            command = ["g++", *kernel.flags, "-w", "-fPIC", "-shared", str(source), "-o", str(library)]
            subprocess.run(command, check=True)
            self._run = ctypes.CDLL(str(library)).run
        self.arrays: Arrays = {a.name: np.zeros(a.size, kernel.dtype(a)) for a in kernel.arrays}
        self._pointers = (ctypes.c_void_p * len(kernel.arrays))(*(a.ctypes.data for a in self.arrays.values()))
        weights = np.concatenate([w.reshape(1, -1) for w in self.network.initial_weights()], axis=1)
        self._give(kernel.initial_arrays() | kernel.to_arrays({"w": weights}))
        self._clock, self._trial, self._last = 0.0, 0, np.zeros((1, self.sizes[0]))

    def _give(self, given: Arrays) -> None:
        for name, values in given.items():
            self.arrays[name][: values.size] = values

    def run(self, trials: int) -> float:
        """Run trials with a reward each; return seconds a step."""
        rng, planner, spent = np.random.default_rng(self._trial), Planner(self.network.model.trial), 0.0
        for _ in range(trials):
            course = planner.course(0 if self._trial == 0 else None)
            x = rng.uniform(0, 1, self._last.shape)
            noise = 0.5 * rng.standard_normal((1, 2, self.sizes[-1]))
            block = make_block(
                course,
                planner.dt,
                t0=self._clock,
                trial=self._trial,
                basis=np.stack([self._last, x], axis=1),
                noise=(noise, np.ones(course.n_steps, np.int64)),
                events=events((0, self._clock, float(rng.standard_normal()))) if self._trial else events(),
            )
            self._give(self.kernel.pack(block))
            begun = time.thread_time()
            self._run(self._pointers)
            spent += time.thread_time() - begun
            self._clock, self._trial, self._last = self._clock + course.n_steps * planner.dt, self._trial + 1, x
        return spent / (trials * STEPS)

    def rates(self) -> list[float]:
        """Return the mean rate of each layer since the start, in Hz."""
        return (self.arrays["spikes"][1:] / np.array(self.sizes[1:]) / self._clock).tolist()


def measure(root: Path, net: int, rounds: int) -> dict[str, Any]:
    """Return the median seconds a step of every row of a net; rows take turns."""
    stock = {f"Brian2 cpp_standalone, {style}": Stock(root, net, style) for style in STYLES}
    ours = {f"general kernel, {precision}": Ours(net, precision) for precision in ("float64", "float32")}
    for one in ours.values():
        one.run(2)
    times: dict[str, list[float]] = {name: [] for name in (*stock, *ours)}
    for _ in range(rounds):
        for name, program in stock.items():
            times[name].append(program.run())
        for name, one in ours.items():
            times[name].append(one.run(3 if net == 2 else 50))
    rates = {name: one.rates() for name, one in (stock | ours).items()}
    return {"seconds": {name: float(np.median(t)) for name, t in times.items()}, "rates": rates}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rnla_spiking_speed")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    found = {net: measure(options.cache, net, options.rounds) for net in options.nets}
    print(f"One pinned core of {machine()}; Brian2 with {' '.join(FLAGS)}; median of {options.rounds} rounds.\n")
    titles = [f"{'-'.join(map(str, NETS[net]))} ({synapses(NETS[net]):,})" for net in options.nets]
    print("| ns a synapse and step (times faster than `events`) | " + " | ".join(titles) + " |")
    print("|---|" + "---|" * len(titles))
    reference = "Brian2 cpp_standalone, events"
    for name in next(iter(found.values()))["seconds"]:
        cells = []
        for net, one in found.items():
            seconds = one["seconds"][name]
            rates = ", ".join(f"{r:.1f}" for r in one["rates"][name])
            ratio = one["seconds"][reference] / seconds
            cells.append(f"{seconds / synapses(NETS[net]) * 1e9:.3g} ({ratio:.3g}×; {rates} Hz)")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("| aim | " + " | ".join(f"≥ {AIMS[net]}×" for net in options.nets) + " |")


if __name__ == "__main__":
    main()
