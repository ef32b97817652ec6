"""The workload as a hand-written C++ program (`brian2_hand.cpp`): what generated code is measured against."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.speed.brian2_programs import HERE, State, folder_of
from benchmarks.speed.brian2_workload import Workload

SOURCE = HERE / "brian2_hand.cpp"


def write_tables(folder: Path, work: Workload) -> None:
    """Write what a program of ours reads: raw float64."""
    folder.mkdir(parents=True, exist_ok=True)
    for l, w in enumerate(work.weights, start=1):
        w.tofile(folder / f"w{l}")
    gains = [work.gains(1)[0], *work.gains(len(work.sizes) - 1)]
    for name, table in (("inputs", work.inputs), ("noise", work.noise), ("deltas", work.deltas), ("gains", gains)):
        np.asarray(table, np.float64).tofile(folder / name)


class HandProgram:
    """A hand-written program for one net.

    Args:
        root: Folder of all programs.
        work: The workload.
        precision: ``float64`` or ``float32``.
        held: Whether it may use that the input is held for a block.
        agents: Independent copies, one after the other in each block.
        loops: How often the tables are run through; 1 leaves a state to compare.
    """

    def __init__(self, root: Path, work: Workload, precision: str, held: bool, agents: int = 1, loops: int = 1):
        self.work, self.agents, self.loops = work, agents, loops
        name = f"hand {work.name} {precision} {'held' if held else 'moving'}"
        self.folder, built = folder_of(root, name, SOURCE.read_text(), work)
        if built:
            return
        write_tables(self.folder, work)
        command = ["g++", "-O3", "-march=native", "-ffast-math", "-std=c++17", f"-DHELD={int(held)}"]
        command += [
            f"-DREAL={'double' if precision == 'float64' else 'float'}",
            f"-DSIZES={','.join(map(str, work.sizes))}",
        ]
        subprocess.run([*command, str(SOURCE), "-o", str(self.folder / "main")], check=True)
        (self.folder / "built.json").write_text("{}")

    def run(self) -> float:
        """Run the program; seconds a step and agent."""
        numbers = [str(n) for n in (self.agents, self.work.blocks, self.loops)]
        done = subprocess.run(
            [str(self.folder / "main"), str(self.folder), *numbers], check=True, capture_output=True, text=True
        )
        return float(done.stdout) / self.agents

    def state(self) -> State:
        """Return w, E and u as the last run of one loop left them."""
        shapes = [(post, pre + 1) for pre, post in pairwise(self.work.sizes)]
        found: State = {
            name: [
                np.fromfile(self.folder / f"{name}_end{l}").reshape(shape) for l, shape in enumerate(shapes, start=1)
            ]
            for name in ("w", "E")
        }
        found["u"] = [np.fromfile(self.folder / f"u_end{l}") for l in range(1, len(shapes) + 1)]
        return found
