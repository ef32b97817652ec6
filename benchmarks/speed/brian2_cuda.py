"""The fused kernel on a GPU against one CPU core: benchmarks/results/brian2_cuda.md.

    python -m benchmarks.speed.brian2_cuda [--gpu 0] [--out benchmarks/results]

Where there is no GPU it says so, measures nothing and writes nothing. The workload is that of the speed table
(`brian2_workload`): blocks of 100 steps, the input held, a fluctuating current, a reward at the end of each. Two times
are taken of the GPU: that of the kernel alone, between two events of its stream, and that of a whole block as an
engine asks for it, with packing, socket and copies. The CPU is one core, by processor time, the kernel alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.speed.brian2_kernel import KernelLibrary, model
from benchmarks.speed.brian2_programs import State, machine
from benchmarks.speed.brian2_table import difference
from benchmarks.speed.brian2_workload import BLOCK, NETS, Workload
from rnla_neuro.errors import RnlaError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import cache_dir
from rnla_neuro_backends.brian2_program.cuda_engine import CudaEngine
from rnla_neuro_backends.brian2_program.cuda_kernel import CudaKernel
from rnla_neuro_backends.brian2_program.cuda_toolkit import Device, find_toolkit, require_brian2cuda, require_device
from rnla_neuro_backends.explicit.kernel import kernel_settings

AIM = 50.0  # times the rate of one CPU core, for 256 agents of 64-100-10
#: Workload, precision, agents, threads an agent (None: the default).
ROWS: tuple[tuple[Workload, str, int, int | None], ...] = (
    (NETS[0], "float32", 256, None),
    (NETS[0], "float32", 256, 128),
    (NETS[0], "float32", 256, 512),
    (NETS[0], "float64", 256, None),
    (NETS[0], "float32", 1, None),
    (NETS[0], "float32", 2048, None),
    (NETS[1], "float32", 256, None),
)


class DeviceProgram(KernelLibrary):
    """The kernel of one net in its CUDA program.

    Args:
        device: Where it runs.
        root: Folder of the CPU's programs.
        work: The workload.
        precision: ``float64`` or ``float32``.
        agents: Independent copies.
        threads: Threads an agent.
    """

    def __init__(
        self, device: Device, root: Path, work: Workload, precision: str, agents: int, threads: int | None
    ) -> None:
        super().__init__(root, work, precision, held=True, agents=agents)
        network = NetworkSpec(model(work), work.sizes, tuple(range(agents)), precision)
        settings = replace(kernel_settings(network), capacity=128)
        os.environ["RNLA_CUDA_TIMES"] = "1"
        kernel = CudaKernel(settings, threads)
        self.threads, self.engine = kernel.threads, CudaEngine(kernel, device)

    def on_device(self) -> tuple[float, float, State]:
        """Run the workload; seconds a step and agent of the kernel alone and of whole blocks, and w, E, u."""
        blocks, found = self.blocks(), []
        wanted = {a.name: a.size for a in self.kernel.arrays if a.role == "state"}
        for _ in range(3):  # the first warms up
            self.start()
            self.engine.link.exchange({name: self.arrays[name] for name in wanted}, {})
            begun = time.perf_counter()
            for block in blocks:
                self.engine.advance(block)
            found.append(time.perf_counter() - begun)
        kernel = [float(ms) for ms in re.findall(r"block ([0-9.]+) ms", (self.engine.link.folder / "log").read_text())]
        self.engine.run_block(self.engine.kernel.pack_flush(), {})
        self._set(self.engine.link.exchange({}, wanted))
        self.engine.close()
        alone = statistics.median(kernel[len(blocks) :]) / 1e3 / BLOCK / self.agents
        return alone, min(found[1:]) / self.work.steps / self.agents, self.state()


def measure(device: Device, root: Path) -> list[str]:
    """Time every row; return the lines of the table."""
    lines = []
    for work, precision, agents, threads in ROWS:
        print(f"{work.name}, {precision}, {agents} agents, {threads or 'default'} threads", file=sys.stderr, flush=True)
        cpu = KernelLibrary(root, work, precision, held=True, agents=agents)
        core = statistics.median(cpu.run() for _ in range(3))
        program = DeviceProgram(device, root, work, precision, agents, threads)
        alone, whole, state = program.on_device()
        off = difference(state, cpu.state())
        rates = [work.synapses / seconds / 1e9 for seconds in (core, alone, whole)]
        aimed = (work, precision, agents, threads) == ROWS[0]
        lines.append(
            f"| {work.name} | {precision} | {agents} | {program.threads} "
            f"| {rates[0]:.3g} | {rates[1]:.4g} | {rates[1] / rates[0]:.3g}{f' (aim {AIM:g})' if aimed else ''} "
            f"| {rates[2]:.3g} | {alone * agents * 1e6:.3g} | {off:.1e} |"
        )
    return lines


def report(device: Device, lines: list[str]) -> str:
    """Write the page."""
    release, capability = (".".join(map(str, pair)) for pair in (find_toolkit().release, device.capability))
    head = (
        "net", "precision", "agents", "threads an agent", "one CPU core", "GPU, kernel alone", "times the core",
        "GPU, whole block", "µs a step, all agents", "off by",
    )  # fmt: skip
    table = "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])
    return f"""# The fused kernel on a GPU

`python -m benchmarks.speed.brian2_cuda`, {device.name} (compute capability {capability}), CUDA {release},
numpy {np.__version__}, Python {platform.python_version()}; CPU: one core of {machine()}.

Rates in G synapse-steps a second, all agents together. "Whole block": with packing in Python, the socket and the
copies. The last column is the largest relative difference of u, E and w from the CPU at the end of the workload.

{table}
"""


def main() -> int:
    """Measure where there is a GPU; else say that there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", type=int, help="number of the device; default: the best")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results", help="folder of the result")
    arguments = parser.parse_args()
    try:
        require_brian2cuda()
        find_toolkit()
        device = require_device(arguments.gpu)
    except RnlaError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 1
    text = report(device, measure(device, cache_dir() / "speed"))
    (arguments.out / "brian2_cuda.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
