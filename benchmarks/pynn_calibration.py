"""The f-I curve of the hidden cells of spiking_lif_nla on NEST, beside [pynn.hidden] phi; and phi fitted anew.

python benchmarks/pynn_calibration.py        # results/pynn_calibration.json
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from rnla_neuro import load_model
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.cells import as_cells
from rnla_neuro_backends.general.form import general_form
from rnla_neuro_backends.pynn import get_simulator
from rnla_neuro_backends.pynn_adapter.building import Blueprint
from rnla_neuro_backends.pynn_adapter.course import Function, Host
from rnla_neuro_backends.pynn_adapter.plan import Spikes, Trial
from rnla_neuro_backends.pynn_adapter.stimulus import Stimulus, as_spikes

RESULTS = Path(__file__).resolve().parent / "results"
COPIES, RUNS, SETTLE = 10, 20, 30.0  # copies of a cell, runs of a trial each, ms of a run that are left out


def measure() -> dict[str, object]:
    """Run cells with held inputs; return rates (2 s - 1 on average), phi, and a fit."""
    model, held = load_model("spiking_lif_nla"), np.linspace(-3.0, 3.0, 61)
    cells = replace(as_cells(model), cells=model.cells)
    network = NetworkSpec(cells, (1, COPIES * len(held), 2), (1,))
    simulator, host = get_simulator("nest"), Host(network, general_form(cells))
    blueprint = Blueprint(host, simulator)
    stimulus, drive = Stimulus(host, blueprint.drives), blueprint.drives[0]
    simulator.open(blueprint.plan)
    current = (drive.constant + drive.gain * np.repeat(held, COPIES)) * blueprint.amperes(1)
    counts = np.zeros(len(held))
    for run in range(RUNS):
        background = stimulus.background(1, run * host.n_steps)
        assert background is not None, "the cells have a background"
        given: dict[str, Spikes] = {blueprint.background(1): as_spikes(background, blueprint.plan.delay)}
        spikes = simulator.run(Trial(given, {"hidden1": current}))["hidden1"]
        late = spikes.index[spikes.time > SETTLE] // COPIES
        counts += np.bincount(late, minlength=len(held))
    simulator.close()
    seconds = COPIES * RUNS * (blueprint.plan.duration - SETTLE) * 1e-3
    mean = 2.0 * counts / seconds / host.constants["r_max"] - 1.0
    phi = Function(dict(host.form.populations["hidden"].algebraic)["phi"], host.constants)
    stated = np.asarray(phi(lambda name: held))

    def curve(p: np.ndarray) -> np.ndarray:
        soft = [np.logaddexp(0.0, p[1] * (held - p[2])), np.logaddexp(0.0, p[4] * (held - p[5]))]
        return np.asarray(p[0] * soft[0] - p[3] * soft[1] - 1.0)

    first = [host.constants[f"f{k}"] for k in range(6)]
    fitted = least_squares(lambda p: curve(p) - mean, first, max_nfev=3000)
    return {
        "command": "python benchmarks/pynn_calibration.py",
        "largest distance to phi": round(float(np.abs(mean - stated).max()), 4),
        "of a new fit": round(float(np.abs(fitted.fun).max()), 4),
        "fit": {f"f{k}": round(float(v), 4) for k, v in enumerate(fitted.x)},
        "I": held.round(3).tolist(),
        "mean of rbar": mean.round(4).tolist(),
    }


if __name__ == "__main__":
    result = measure()
    (RESULTS / "pynn_calibration.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
