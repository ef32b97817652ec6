"""Whether Norse, reading a NIR file, gives the spikes of the network that wrote it: benchmarks/results/nir.md.

    python benchmarks/nir_norse.py make FOLDER     # here: the network, its NIR file, its spikes
    python benchmarks/nir_norse.py check FOLDER    # in an environment with norse, torch and nir: loads, runs, compares

A network of tests/models/nir_small.toml, 64-100-10, random weights, one image of digits for 60 ms; Norse's own
`from_nir` reads the graph up to the spikes of the hidden layer. Norse has no low-pass (NIR's LI) to read.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

MODEL = Path(__file__).parents[1] / "tests" / "models" / "nir_small.toml"


def make(folder: Path) -> None:
    """Write the graph, and what our simulation does."""
    import nir

    from rnla_neuro.backend import get_backend
    from rnla_neuro.events import EventBatch
    from rnla_neuro.interchange.nir_files import to_nir
    from rnla_neuro.network import NetworkSpec
    from rnla_neuro.spec.loader import parse_model
    from rnla_neuro.tasks.catalogue import get

    text = MODEL.read_text(encoding="utf-8")  # Norse resets to 0
    model = parse_model(text.replace('V_reset = "-0.2"', 'V_reset = "0"'), MODEL)
    with get_backend("brian2").build(
        NetworkSpec(model, (64, 100, 10), (1,)), road="plain", target="numpy"
    ) as simulation:
        weights = [2.0 * w for w in simulation.weights()]
        simulation.set_weights(weights)
        x = get("digits").dataset("test")[0][:1]
        seen = simulation.decide_recorded(x, EventBatch.empty())[1]
    folder.mkdir(parents=True, exist_ok=True)
    nir.write(folder / "net.nir", to_nir(model, [w[0] for w in weights], readout="spikes").graph)
    np.savez(folder / "ours.npz", x=x, spikes=seen.spikes[0, :, 64:164], dt=model.trial.dt)
    print(f"{folder}: {int(seen.spikes[0, :, 64:164].sum())} spikes in {len(seen.time)} steps")


def check(folder: Path) -> None:
    """Load the graph into Norse, run it, and compare."""
    import importlib

    import nir
    import torch
    import torch.utils._pytree as pytree

    if not hasattr(pytree, "register_pytree_node"):  # torch 1: another name, and autograd functions of another form
        pytree.register_pytree_node = pytree._register_pytree_node
    import norse.torch as norse

    if torch.__version__.startswith("1."):
        step = importlib.import_module("norse.torch.functional.heaviside").heaviside
        importlib.import_module("norse.torch.functional.threshold").superspike_fn = lambda x, alpha: step(x)
    ours = np.load(folder / "ours.npz")
    module = norse.from_nir(nir.read(folder / "net.nir"), dt=float(ours["dt"]), ignore_warnings=True)
    x, state, rows = torch.tensor(ours["x"]).float(), None, []
    for _ in range(len(ours["spikes"])):
        spikes, state = module(x, state)
        rows.append(spikes.detach().numpy()[0] > 0)
    theirs, mine = np.array(rows), ours["spikes"]
    print(f"norse {version('norse')}, torch {torch.__version__}, nir {version('nir')}")
    print(f"{mine.sum()} spikes of ours, {theirs.sum()} of Norse's, {(mine & theirs).sum()} of them at the same step")


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](Path(sys.argv[2]))
