"""Learning curves of a 64-40-10 network of PyNN cells (digits): five fresh seeds side by side on a simulator.

python benchmarks/pynn_learning.py nest 3000            # results/pynn_learning_nest.json
python benchmarks/pynn_learning.py neuron 800
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from rnla_neuro.session import RunRequest, Session

SEEDS = (401, 402, 403, 404, 405)
RESULTS = Path(__file__).resolve().parent / "results"


def learn(simulator: str, iterations: int, input_code: str) -> dict[str, object]:
    """Run one simulation of all seeds; return its hit rates by tenths of the run, an agent a row."""
    request = RunRequest(
        task="digits",
        model="spiking_lif_nla",
        backend="pynn",
        core=simulator,
        seeds=SEEDS,
        iterations=iterations,
        input=input_code,
    )
    hits: list[np.ndarray] = []
    begun = time.perf_counter()
    with Session(request) as session:
        session.train(iterations, lambda k, actions, outcome, label: hits.append(actions == label))
        seconds = time.perf_counter() - begun
        spikes = np.asarray(session.simulation.spike_counts()) / iterations
    tenths = [part.mean(axis=0) for part in np.array_split(np.array(hits, dtype=np.float64), 10)]
    return {
        "command": f"python benchmarks/pynn_learning.py {simulator} {iterations} {input_code}".strip(),
        "simulator": simulator,
        "input": input_code or "analog",
        "iterations": iterations,
        "seeds": SEEDS,
        "hits": np.array(tenths).T.round(4).tolist(),
        "spikes_a_decision": spikes.mean(axis=0).round(1).tolist(),
        "seconds_a_decision": seconds / iterations,
    }


def main() -> None:
    """Run, print and keep the result."""
    simulator, iterations = sys.argv[1], int(sys.argv[2])
    code = sys.argv[3] if len(sys.argv) > 3 else ""
    result = learn(simulator, iterations, code)
    name = f"pynn_learning_{simulator}{'_' + code if code else ''}.json"
    (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
