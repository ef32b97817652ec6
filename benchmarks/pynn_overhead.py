"""Where the time of a decision goes, 64-40-10 on NEST: the simulator's own calls, setting what it is given, the host.

python benchmarks/pynn_overhead.py           # results/pynn_overhead.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rnla_neuro.session import RunRequest, Session

RESULTS = Path(__file__).resolve().parent / "results"


class Clock:
    """Adds up the processor time that calls take: other programs on the machine do not count."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def watch(self, owner: Any, name: str, label: str) -> None:
        """Time a method from now on."""
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            begun = time.process_time()
            try:
                return inner(*args, **options)
            finally:
                self.spent[label] = self.spent.get(label, 0.0) + time.process_time() - begun

        setattr(owner, name, timed)


def measure(code: str, decisions: int = 150) -> dict[str, Any]:
    """Return milliseconds a decision by what they were spent on."""
    request = RunRequest(
        task="digits",
        model="spiking_lif_nla",
        backend="pynn",
        core="nest",
        seeds=(1,),
        iterations=decisions,
        input=code,
    )
    with Session(request) as session:
        session.train(20)
        simulation, clock = session.simulation, Clock()
        simulator = simulation.simulator
        clock.watch(simulator, "_simulate", "NEST simulates")
        clock.watch(simulator._kernel, "llapi_set_nc_status", "NEST sets cells and sources")
        clock.watch(simulator._kernel, "llapi_set_connection_status", "NEST sets weights")
        for name in ("_follow", "settle", "_decided"):
            clock.watch(simulation, name, "host: filtered spikes, traces, three-factor rule, decision")
        begun = time.process_time()
        session.train(decisions)
        whole = time.process_time() - begun
    spent = {name: 1e3 * seconds / decisions for name, seconds in clock.spent.items()}
    spent["the rest: PyNN adapter, task"] = 1e3 * whole / decisions - sum(spent.values())
    return {
        "input": code or "analog",
        "processor ms a decision": {k: round(v, 3) for k, v in spent.items()},
    }


def main() -> None:
    """Run, print and keep the result."""
    found = [measure(code) for code in sys.argv[1:] or ("", "poisson")]
    result = {"command": "python benchmarks/pynn_overhead.py", "numpy": np.__version__, "results": found}
    (RESULTS / "pynn_overhead.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
