"""The speed table of the explicit form: what Brian2, its templates and the fused kernel need for a synapse and step.

    python -m benchmarks.speed.brian2_table --out benchmarks/results

Programs are built first (once: they are kept in the cache folder), then all rows are timed in turn, a round after the
other, on one pinned core, by processor time. Rows of the same scheme are compared with stock Brian2 before.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

AGENTS = 256
#: How often fast rows run through the tables of each net in one measurement.
LOOPS = (10, 5, 2)
#: key, precision, at least so many times the reference, for each net.
AIMS = (
    ("dense", "float64", (3.5, 4.0, 3.5)),
    ("fused", "float64", (12.0, 13.0, 18.0)),
    ("fused", "float32", (50.0, 28.0, 40.0)),
    ("fused held", "float32", (130.0, 250.0, 55.0)),
)
AIM_AGENTS = 25.0  # G synapse-steps a second and core
#: Reference over the float32 roof on the AVX-512 core on which the aims were set (PERFORMANCE).
AIMED_ROOM = (109.0, 40.0, 77.0)
ROOF_AGENTS = 0.0169  # and the float32 roof of the small net there, ns


@dataclass
class Timed:
    """Times of one row and net, ns a synapse and step."""

    row: Any
    runner: Any
    times: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    def __str__(self) -> str:
        return f"{self.median:.3g}"


def pin() -> str:
    """Stay on one core, numpy's threads included."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"core {core}"


def difference(state: Any, reference: Any) -> float:
    """Return the largest relative difference of u, E and w."""
    import numpy as np

    found = 0.0
    for name in ("u", "E", "w"):
        for a, b in zip(state[name], reference[name], strict=True):
            found = max(found, float(np.abs(a - b).max() / np.abs(b).max()))
    return found


def build(root: Path, work: Any) -> list[Timed]:
    """Build all rows of a net."""
    from benchmarks.speed.brian2_rows import rows

    built = []
    for row in rows():
        print(f"building {work.name}: {row.label.strip('*')}, {row.precision}", file=sys.stderr, flush=True)
        built.append(Timed(row, row.make(root, work, row.precision)))
    return built


def compare(timed: list[Timed], synapses: int) -> dict[str, float]:
    """Run rows of the same scheme once; by precision, the largest difference from the reference."""
    reference = next(t.runner for t in timed if t.row.key == "careful")
    reference.run()
    expected, found = reference.state(), {}
    for t in timed:
        if t.row.same and t.runner is not reference:
            seconds = t.runner.run()
            if t.row.once:
                t.times.append(seconds / synapses * 1e9)
            found[t.row.precision] = max(found.get(t.row.precision, 0.0), difference(t.runner.state(), expected))
    return found


def measure(timed: list[Timed], synapses: int, loops: int, rounds: int) -> None:
    """Time all rows in turn."""
    for t in timed:
        if hasattr(t.runner, "loops"):
            t.runner.loops = loops
    for _ in range(rounds):
        for t in timed:
            if not t.row.once:
                t.times.append(t.runner.run() / synapses * 1e9)
                print(f"  {t.row.label}, {t.row.precision}: {t.times[-1]:.4g} ns", file=sys.stderr, flush=True)


def many_agents(root: Path, work: Any, rounds: int) -> dict[str, Timed]:
    """Time 256 agents of the small net, float32, input held."""
    from benchmarks.speed.brian2_hand import HandProgram
    from benchmarks.speed.brian2_kernel import KernelLibrary

    short = replace(work, blocks=10)
    found = {
        "fused kernel": Timed(None, KernelLibrary(root, short, "float32", True, AGENTS, 2)),
        "C++ by hand": Timed(None, HandProgram(root, short, "float32", True, AGENTS, 2)),
    }
    for _ in range(rounds):
        for t in found.values():
            t.times.append(t.runner.run() / short.synapses * 1e9)
    return found


def find(timed: list[Timed], key: str, precision: str) -> Timed:
    """Return a row."""
    return next(t for t in timed if (t.row.key, t.row.precision) == (key, precision))


def room(timed: list[Timed]) -> float:
    """Return how many times the float32 roof the reference takes: as fast a program can be here."""
    return find(timed, "careful", "float64").median / find(timed, "roof", "float32").median


def verdict(found: float, least: float) -> str:
    """Say whether an aim is met."""
    return "met" if found >= least else "**not met**"


def table(nets: list[Any], results: list[list[Timed]]) -> list[str]:
    """Write the main table."""
    names = " | ".join(f"{net.name} ({net.synapses:,})" for net in nets)
    lines = [f"| ns a synapse and step (times faster than the reference) | | {names} |"]
    lines.append("|---|---|" + "---|" * len(nets))
    for k, first in enumerate(results[0]):
        cells = []
        for timed in results:
            reference = find(timed, "careful", "float64").median
            cells.append(f"{timed[k]} ({reference / timed[k].median:.3g}×)")
        lines.append(f"| {first.row.label} | {first.row.precision} | {' | '.join(cells)} |")
    return lines


def aims(nets: list[Any], results: list[list[Timed]], agents: dict[str, Timed]) -> list[str]:
    """Write what the issue asks for, and what was found."""
    lines = ["| aim | precision | " + " | ".join(net.name for net in nets) + " |", "|---|---|" + "---|" * len(nets)]
    labels = {t.row.key: t.row.label for t in results[0]}
    for key, precision, wanted in AIMS:
        cells = []
        for timed, least, there in zip(results, wanted, AIMED_ROOM, strict=False):
            ratio = find(timed, "careful", "float64").median / find(timed, key, precision).median
            scaled = least * room(timed) / there
            cells.append(
                f"≥ {least:g}×: {ratio:.3g}×, {verdict(ratio, least)}; scaled ≥ {scaled:.3g}×, {verdict(ratio, scaled)}"
            )
        lines.append(f"| {labels[key]} | {precision} | {' | '.join(cells)} |")
    for key, by_hand in (("fused", "hand"), ("fused held", "hand held")):
        for precision in ("float64", "float32"):
            cells = []
            for timed in results:
                ratio = find(timed, key, precision).median / find(timed, by_hand, precision).median
                cells.append(f"≤ 2: {ratio:.2f}, {verdict(2.0, ratio)}")
            lines.append(f"| {labels[key]}, time over C++ by hand | {precision} | {' | '.join(cells)} |")
    rate = 1.0 / agents["fused kernel"].median
    rest = " | " * (len(nets) - 1)
    scaled = ROOF_AGENTS * AIM_AGENTS / find(results[0], "roof", "float32").median
    text = f"≥ {AIM_AGENTS:g} G synapse-steps/s: {rate:.3g}, {verdict(rate, AIM_AGENTS)}; "
    text += f"scaled ≥ {scaled:.3g}, {verdict(rate, scaled)} (by hand {1.0 / agents['C++ by hand'].median:.3g})"
    lines.append(f"| {AGENTS} agents, fused kernel, one core | float32 | {text}{rest} |")
    return lines


def roofs(nets: list[Any], results: list[list[Timed]]) -> list[str]:
    """Write how far everything is from the roof: what carries over to another machine."""
    lines = ["| times the roof of its precision | | " + " | ".join(net.name for net in nets) + " |"]
    lines.append("|---|---|" + "---|" * len(nets))
    for k, first in enumerate(results[0]):
        if first.row.key == "roof":
            continue
        cells = [f"{timed[k].median / find(timed, 'roof', first.row.precision).median:.3g}" for timed in results]
        lines.append(f"| {first.row.label} | {first.row.precision} | {' | '.join(cells)} |")
    return lines


def text_of(nets: list[Any], results: list[list[Timed]], agents: dict[str, Timed], how: dict[str, Any]) -> str:
    """Write the page."""
    from benchmarks.speed.brian2_programs import FLAGS, machine
    from benchmarks.speed.brian2_rows import HAS_TORCH

    spread = max(max(t.times) / t.median for timed in results for t in timed if len(t.times) > 1)
    lines = [
        "# Speed of the explicit form",
        "",
        f"`python -m benchmarks.speed.brian2_table`, one pinned core of {machine()}, Python "
        f"{platform.python_version()}; Brian2 compiled with `{' '.join(FLAGS)}`. Processor time inside the main loop, "
        f"start-up excluded, median of {how['rounds']} rounds in which all rows take turns (the slowest round of a row "
        f"is at most {spread:.2f} times its median; the first row is timed once).",
        "",
        "The work: `rate_nla_ou` with dt 1 ms, a trace that integrates at every step, and hidden rates prospective by "
        "their own past; the noise moves at every step, the input is held for 100 steps, and then one reward changes "
        "the weights. Biases are counted as synapses.",
        "",
        *table(nets, results),
        "",
        *([] if HAS_TORCH else ["torch is not installed here: its rows are left out.", ""]),
        "Largest relative difference of u, E and w from the reference, all rows but the kernel's and the roof: "
        + "; ".join(f"{net.name} {', '.join(f'{p} {d:.1g}' for p, d in found.items())}"
                    for net, found in zip(nets, how["differences"], strict=True))
        + ". The kernel lands voltages where input or weights jump, which the others do not; its equality is tested in "
        "`tests/conformance`, and the sweeps are in its time.",
        "",
        "## What was aimed at",
        "",
        *aims(nets, results, agents),
        "",
        "The aims were set on a core with AVX-512, where the reference took "
        + ", ".join(f"{r:g}" for r in AIMED_ROOM[: len(nets)])
        + " times the float32 roof; on this core it takes "
        + ", ".join(f"{room(timed):.3g}" for timed in results)
        + ". That is as much faster as a program can be that reads each weight once a step. *Scaled* is the aim times "
        "the quotient of these figures: as far from the roof as was aimed at.",
        "",
        "## How far from the roof",
        "",
        *roofs(nets, results),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Build, compare, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results", help="folder of the result")
    parser.add_argument("--programs", type=Path, help="folder of the built programs (default: the cache folder)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nets", type=int, default=3, help="only the first so many nets")
    options = parser.parse_args(argv)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ.pop("OPENBLAS_CORETYPE", None)  # a kernel for an older processor would slow numpy
    from benchmarks.speed.brian2_workload import NETS
    from rnla_neuro.resources import cache_dir

    nets, root = list(NETS[: options.nets]), options.programs or cache_dir() / "benchmarks"
    results = [build(root, net) for net in nets]
    where = pin()
    print(f"timing on {where}", file=sys.stderr)
    differences = [compare(timed, net.synapses) for timed, net in zip(results, nets, strict=True)]
    for timed, net, loops in zip(results, nets, LOOPS, strict=False):
        measure(timed, net.synapses, loops, options.rounds)
    agents = many_agents(root, nets[0], options.rounds)
    text = text_of(nets, results, agents, {"rounds": options.rounds, "differences": differences})
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "brian2_speed.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
