"""Whether the NIR graph of a trained network decides as the network does: benchmarks/results/nir.md.

    rnla run digits --model spiking_nir_nla --backend brian2 --seeds 501-503 --iterations 15000 --out runs/nir
    python benchmarks/nir_digits.py runs/nir

The graph is integrated by a simulator of its own, which knows the equations of NIR and nothing of this package: Euler
steps, a spike is an input of 1 for one step. All test images of the task, without exploration.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from rnla_neuro.evaluation import decisions
from rnla_neuro.interchange.nir_files import to_nir
from rnla_neuro.results import Results
from rnla_neuro.revisit import moment_of, request_of, take_up


def integrate(graph: Any, inputs: np.ndarray, dt: float, steps: int) -> np.ndarray:
    """Return what the output of a chain is at the end, shape (images, n_out)."""
    order, following = ["input"], dict(graph.edges)
    while order[-1] in following:
        order.append(following[order[-1]])
    v: dict[str, Any] = dict.fromkeys(order, 0.0)
    for _ in range(steps):
        x = inputs
        for name in order:
            node = graph.nodes[name]
            match type(node).__name__:
                case "Affine":
                    x = x @ node.weight.T + node.bias
                case "LI" | "LIF" as kind:
                    v[name] = v[name] + dt / node.tau * (node.v_leak - v[name] + node.r * x)
                    x = v[name]
                    if kind == "LIF":
                        x = (v[name] > node.v_threshold).astype(float)
                        v[name] = np.where(x > 0, node.v_reset, v[name])
                case "Delay":  # of one step
                    v[name], x = x, v[name] * np.ones_like(x)
    return x


def main() -> None:
    results = Results.load(sys.argv[1])
    with take_up(results, moment_of(results), request_of(results)) as session:
        assert session.task is not None
        labels, decided = decisions(session.simulation, session.task)
        inputs = session.task.dataset("test")[0]
        model = session.network.model
        steps = round(model.trial.decision / model.trial.dt)
        for agent, seed in enumerate(results.config.seeds):
            weights = [w[agent] for w in session.simulation.weights()]
            for delays in (True, False):
                export = to_nir(model, weights, delays=delays)
                theirs = integrate(export.graph, inputs, export.dt, steps).argmax(axis=1)
                accuracies = f"{(decided[agent] == labels).mean():.4f}, of the graph {(theirs == labels).mean():.4f}"
                same = f"{(theirs == decided[agent]).sum()} of {len(labels)} decisions the same"
                print(f"seed {seed}, {'with' if delays else 'without'} delays: accuracy {accuracies}; {same}")


if __name__ == "__main__":
    main()
