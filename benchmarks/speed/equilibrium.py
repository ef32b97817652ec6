"""Speed figures: benchmarks/results/speed.md. Ratios of one run, on one pinned core.

    python benchmarks/speed/equilibrium.py

1. A digits trial of R-NLA (T 30 ms, dt 1 ms, reward, plasticity and environment included) beside a numpy
   REINFORCE step of the same network in the same environment, ten seeds at once, in alternating blocks.
2. Where the time of a trial goes.
3. Ten seeds of 20,000 trials through the command line, as a process of its own: wall time and peak memory.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEEDS = tuple(range(901, 911))
BLOCK, BLOCKS = 500, 11
RESULTS = Path(__file__).parents[1] / "results"


def pin() -> None:
    """Stay on one core, numpy's threads included."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def sessions() -> dict[str, Any]:
    """Open the things to compare."""
    from rnla_neuro.session import RunRequest, Session

    def opened(**how: Any) -> Any:
        return Session(RunRequest("digits", seeds=SEEDS, **how))

    return {
        "r-nla, float64": opened(),
        "r-nla, float32": opened(precision="float32"),
        "REINFORCE, numpy float64": opened(learner="reinforce"),
        "REINFORCE, numpy float32": opened(learner="reinforce", precision="float32"),
    }


def alternate(opened: dict[str, Any]) -> dict[str, list[float]]:
    """Time blocks of trials in turn, after a warm-up; microseconds of processor time a decision of one agent."""
    times: dict[str, list[float]] = {name: [] for name in opened}
    for session in opened.values():
        session.train(BLOCK)
    for _ in range(BLOCKS):
        for name, session in opened.items():
            begun = time.process_time()
            session.train(BLOCK)
            times[name].append((time.process_time() - begun) / BLOCK / len(SEEDS) * 1e6)
    return times


def shares(session: Any, trials: int = 3000) -> dict[str, float]:
    """Measure the parts of a trial with a clock around each; microseconds a decision of one agent."""
    spent: dict[str, float] = {}

    def clocked(owner: Any, name: str, label: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[label] = spent.get(label, 0.0) + time.perf_counter() - begun

        setattr(owner, name, timed)

    simulation, bridge = session.simulation, session.bridge
    clocked(simulation._core, "advance", "core: compiled trial and its call")
    clocked(simulation._exploration, "columns", "exploration noise")
    clocked(bridge, "step", "environment, codec, rewards sent")
    clocked(bridge, "events", "rewards due")
    begun = time.perf_counter()
    session.train(trials)
    total = time.perf_counter() - begun
    spent["rest of the loop"] = total - sum(spent.values())
    return {name: t / trials / len(SEEDS) * 1e6 for name, t in spent.items()}


def command_line() -> dict[str, float]:
    """Run ten seeds of 20,000 trials as a user would."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rnla_neuro.cli", "run", "digits", "--seeds", "901-910"]
        command += ["--iterations", "20000", "--out", str(Path(folder) / "run"), "--json"]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        wall = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    accuracy = json.loads(done.stdout)["test_accuracy"]["mean"]
    return {"wall_s": wall, "peak_MiB": peak, "test_accuracy": accuracy}


def main() -> None:
    """Measure, print and write."""
    pin()
    run = command_line()
    opened = sessions()
    times = alternate(opened)
    medians = {name: statistics.median(t) for name, t in times.items()}
    parts = shares(opened["r-nla, float64"])
    base = medians["REINFORCE, numpy float64"]
    lines = [
        "# Speed figures",
        "",
        "`python benchmarks/speed/equilibrium.py`, "
        f"one core of {platform.machine()}, Python {platform.python_version()}.",
        "",
        "## A digits trial, 64-40-10, ten seeds at once",
        "",
        "Processor time a decision of one agent, environment, reward and plasticity included: median "
        f"[least, most] of {BLOCKS} alternating blocks of {BLOCK} trials.",
        "",
        "| what | µs a decision | times REINFORCE (float64) |",
        "|---|---|---|",
    ]
    for name, t in times.items():
        ratio = medians[name] / base
        lines.append(f"| {name} | {medians[name]:.1f} [{min(t):.1f}, {max(t):.1f}] | {ratio:.2f} |")
    lines += [
        "",
        "## Where the time of an R-NLA trial goes (float64)",
        "",
        "| part | µs a decision |",
        "|---|---|",
    ]
    lines += [f"| {name} | {t:.1f} |" for name, t in parts.items()]
    lines += [
        "",
        "## `rnla run digits --seeds 901-910 --iterations 20000`: 200,000 decisions",
        "",
        f"{run['wall_s']:.1f} s wall from start to exit (imports, evaluation, records and pictures included), "
        f"{run['peak_MiB']:.0f} MiB at most; test accuracy {run['test_accuracy']:.4f}.",
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
