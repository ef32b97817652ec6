"""Leaky neurons, predictive coding and dendritic microcircuits: the figures of benchmarks/results/rate_variants.md.

    python benchmarks/rate_variants.py                  # all parts, about half an hour on one core
    python benchmarks/rate_variants.py bars errors      # parts by name: bars, lag, errors

Settings were chosen in prototypes on seeds 1 to 4 and, for digits, on the split ``fit``/``validation``. Seeds from 901
on were not used for that.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnla_neuro.analysis.statistics import summary
from rnla_neuro.events import EventBatch
from rnla_neuro.experiment import RunRequest, run
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model
from rnla_neuro.tasks import get

RESULTS = Path(__file__).parent / "results"
FRESH, LAG_SEEDS = tuple(range(901, 911)), tuple(range(901, 906))
TRIALS_MS, DEPTHS = (10, 30, 100), (1, 2, 3)
FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def accuracy(request: RunRequest) -> dict[str, Any]:
    """Run a request in a folder that is thrown away; return its test accuracy and its decisions to 80 %."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(request, Path(folder) / "run").summary
    print(request.task, request.model, request.overrides, request.hidden, found["test_accuracy"]["values"], flush=True)
    return {"accuracy": found["test_accuracy"], "to_80": found["iterations_to_threshold"]}


# ---- bars ------------------------------------------------------------------------------------------------------


def bars(known: dict[str, Any]) -> None:
    """Learn the bars with every model, and with REINFORCE on the same network; and with frozen hidden layers."""
    from rnla_neuro.learners.reinforce import TUNED_SOFT

    soft = {name: str(value) for name, value in TUNED_SOFT.items()}
    rows: dict[str, dict[str, Any]] = {
        "rate_nla": {},
        "REINFORCE": {"learner": "reinforce"},
        "REINFORCE, softened reference": {"learner": "reinforce", "overrides": soft},
    }
    variants = ("rate_leaky", "rate_microcircuit", "rate_predictive_coding")
    rows |= {name: {"model": name, "backend": "brian2_cpp"} for name in variants}
    rows["rate_microcircuit, frozen hidden layer"] = {**rows["rate_microcircuit"], "freeze_hidden": True}
    rows["rate_microcircuit, two hidden layers"] = {**rows["rate_microcircuit"], "hidden": (30, 30)}
    rows["rate_microcircuit_learned"] = {**rows["rate_microcircuit"], "model": "rate_microcircuit_learned"}
    for name, more in rows.items():
        if name not in known:
            known[name] = accuracy(RunRequest("bars", seeds=FRESH, iterations=10_000, **more))
            save(known)


# ---- lag -------------------------------------------------------------------------------------------------------


def lag(known: dict[str, Any]) -> None:
    """Learn digits with prospective and with leaky neurons, for depths and lengths of a trial."""
    for duration in TRIALS_MS:
        for depth in DEPTHS:
            for model, backend in (("rate_nla", "equilibrium"), ("rate_leaky", "brian2_cpp")):
                key = f"{model} {depth} {duration}"
                if key in known:
                    continue
                known[key] = accuracy(
                    RunRequest(
                        "digits",
                        model=model,
                        backend=backend,
                        hidden=(40,) * depth,
                        seeds=LAG_SEEDS,
                        iterations=5_000,
                        overrides={"T": f"{duration}*ms"},
                    )
                )
                save(known)


# ---- errors ----------------------------------------------------------------------------------------------------


class Probe:
    """A network without learning from reward, whose errors are looked at in the last step of each trial.

    Args:
        model: Name of a model.
        sizes: Neurons per layer.
        seeds: One an agent.
        overrides: Parameters that differ from the file.
    """

    def __init__(
        self, model: str, sizes: tuple[int, ...], seeds: tuple[int, ...], overrides: Mapping[str, str] | None = None
    ) -> None:
        from rnla_neuro.backend import get_backend

        still = {"eta": "0", "eta_hom": "0"}
        if model == "rate_microcircuit_learned":
            still["tau_forget"] = "1e9*second"
        self.network = NetworkSpec(load_model(model, still | dict(overrides or {})), sizes, seeds)
        self.simulation = get_backend("brian2").build(self.network)
        self._rng, self._nothing = np.random.default_rng(0), EventBatch.empty()
        self._images = get("digits").dataset("train")[0]

    def images(self) -> FloatArray:
        """Draw an image for each agent."""
        return self._images[self._rng.integers(len(self._images), size=len(self.network.seeds))]

    def live(self, trials: int) -> None:
        """Run trials in which only what needs no reward is learned."""
        for _ in range(trials):
            self.simulation.decide(self.images(), self._nothing)

    def cosines(self, trials: int = 100, *, top_down: bool = False) -> list[float]:
        """Return the mean cosine of each hidden layer's error to the one that the action layer's error defines.

        Args:
            trials: How many trials to look at.
            top_down: Pass the reference by the network's own top-down weights (feedback alignment), and not by the
                transposes of the forward ones (backpropagation).
        """
        sizes, found = self.network.sizes, []
        cuts = np.cumsum(sizes[1:])[:-1]
        for _ in range(trials):
            _, seen = self.simulation.decide_recorded(self.images(), self._nothing)
            u = np.split(seen.u[:, -1], cuts, axis=1)
            ebar = np.split(seen.ebar[:, -1], cuts, axis=1)
            found.append(self._cosine(u, ebar, top_down))
        return [float(value) for value in np.mean(found, axis=(0, 2))]

    def _cosine(self, u: list[FloatArray], ebar: list[FloatArray], top_down: bool) -> list[FloatArray]:
        weights, reference, found = self.simulation.weights(), ebar[-1], []
        layers = len(u) - 1
        each = len(self.network.model.projections)  # the first of them goes down
        down = [weights[layers + 1 + k * each] for k in range(layers)] if top_down else []
        for k in reversed(range(layers)):
            back = down[k] if top_down else weights[k + 1][:, :, :-1].transpose(0, 2, 1)
            reference = (1 - np.tanh(u[k]) ** 2) * np.einsum("aij,aj->ai", back, reference)
            norms = np.linalg.norm(reference, axis=1) * np.linalg.norm(ebar[k], axis=1)
            found.insert(0, (reference * ebar[k]).sum(axis=1) / np.maximum(norms, 1e-300))
        return found

    def mirror(self, scale: float) -> None:
        """Make the top-down weights the transposes of the forward ones, times a number."""
        weights, layers = self.simulation.weights(), len(self.network.sizes) - 2
        for k in range(layers):
            down = layers + 1 + k * len(self.network.model.projections)
            weights[down] = scale * weights[k + 1][:, :, :-1].transpose(0, 2, 1)
        self.simulation.set_weights(weights)


def errors(known: dict[str, Any]) -> None:
    """Compare the errors of microcircuits, before and after self-prediction, and of predictive coding."""
    seeds = LAG_SEEDS
    for hidden in ((40,), (40, 40)):
        for mirrored in (False, True):
            # uncancelled feedback through transposes amplifies itself; a fifth of it, between hidden layers, does not
            scale = 1.0 if len(hidden) == 1 else 0.2
            words = ("transposes" if scale == 1 else "transposes/5") if mirrored else "random"
            key = f"rate_microcircuit {len(hidden)} {words}"
            if key in known:
                continue
            probe = Probe("rate_microcircuit", (64, *hidden, 10), seeds)
            _strengthen(probe)
            if mirrored:
                probe.mirror(scale)
            known[key] = {"before": _both(probe)}
            for trials in (500, 1500, 4000):
                probe.live(trials)
                known[key][f"after {trials}"] = _both(probe)
            print(key, known[key], flush=True)
            save(known)
    for hidden in ((40,), (40, 40)):
        finer = {"dt": "0.05*ms"} if len(hidden) > 1 else None
        probe = Probe("rate_predictive_coding", (64, *hidden, 10), seeds, finer)
        _strengthen(probe)
        probe.live(2)
        known[f"rate_predictive_coding {len(hidden)}"] = probe.cosines()
        print(hidden, known[f"rate_predictive_coding {len(hidden)}"], flush=True)
        save(known)


def _strengthen(probe: Probe) -> None:
    """Make the action layer's weights as large as those of hidden layers: they begin small, and grow by learning."""
    weights, last = probe.simulation.weights(), len(probe.network.sizes) - 2
    weights[last] = 10 * weights[last]
    probe.simulation.set_weights(weights)


def _both(probe: Probe) -> dict[str, list[float]]:
    return {"backpropagation": probe.cosines(), "feedback alignment": probe.cosines(top_down=True)}


# ---- the page --------------------------------------------------------------------------------------------------

PARTS = {"bars": bars, "errors": errors, "lag": lag}
_DONE: dict[str, dict[str, Any]] = {}


def save(_: dict[str, Any]) -> None:
    """Keep what has been measured: a part that is interrupted goes on where it was."""
    for name, known in _DONE.items():
        (RESULTS / f"rate_variants_{name}.json").write_text(json.dumps(known, indent=1) + "\n")
    (RESULTS / "rate_variants.md").write_text(markdown())


def _cell(found: Mapping[str, Any], digits: int = 3) -> str:
    if found["mean"] is None:
        return "never"
    text = f"{found['mean']:.{digits}f}"
    reached = sum(value is not None for value in found.get("values", ()))
    if reached < len(found.get("values", ())):
        return f"{text} ({reached} of {len(found['values'])} seeds)"
    return text + (f" [{found['ci95'][0]:.{digits}f}, {found['ci95'][1]:.{digits}f}]" if found["ci95"] else "")


def _bars_page(known: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Bars",
        "",
        "5×5 bars, 25-30-4, 10,000 decisions, seeds 901-910; REINFORCE on the same network, as tuned on digits.",
        "eta_hom was tuned on bars for the microcircuits (0.001) and predictive coding (0.003); others keep 0.0003.",
        "",
        "| what | test accuracy | decisions to 80 % |",
        "|---|---|---|",
    ]
    return lines + [f"| {name} | {_cell(f['accuracy'])} | {_cell(f['to_80'], 0)} |" for name, f in known.items()]


def _lag_page(known: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Lag",
        "",
        "Digits, hidden layers of 40, 5,000 decisions, seeds 901-905; `rate_nla` is prospective, `rate_leaky` is not,",
        "all else is the same. Difference: paired by seed, mean [95 % interval].",
        "",
        "| hidden layers | T, ms | prospective | leaky | difference |",
        "|---|---|---|---|---|",
    ]
    for depth in DEPTHS:
        for duration in TRIALS_MS:
            pair = [known.get(f"{model} {depth} {duration}") for model in ("rate_nla", "rate_leaky")]
            if pair[0] is None or pair[1] is None:
                continue
            one, other = (found["accuracy"] for found in pair if found)
            gap = summary(a - b for a, b in zip(one["values"], other["values"], strict=True))
            lines.append(f"| {depth} | {duration} | {_cell(one)} | {_cell(other)} | {_cell(gap)} |")
    return lines


def _errors_page(known: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Errors",
        "",
        "Cosine of the hidden errors phi'(u)·apical in the last step of a trial to phi'(u)·B·e from layer to layer, e",
        "the action layer's own error: with B = Wᵀ backpropagation, with B the network's top-down weights feedback",
        "alignment. Digits, 64-40-10 and 64-40-40-10, action weights as large as hidden ones, no learning from reward,",
        "seeds 901-905, 100 images; by layer, from the input.",
        "",
        "| network | top-down weights | trials of self-prediction | to backpropagation | to feedback alignment |",
        "|---|---|---|---|---|",
    ]
    for key, found in known.items():
        words = key.split()
        if words[0] != "rate_microcircuit":
            continue
        trials = 0
        for when, values in found.items():
            trials += int(when.split()[1]) if " " in when else 0
            cells = [", ".join(f"{v:.3f}" for v in values[to]) for to in ("backpropagation", "feedback alignment")]
            lines.append(f"| {words[1]} hidden | {words[2]} | {trials} | {cells[0]} | {cells[1]} |")
    settled = {k.split()[1]: ", ".join(f"{v:.4f}" for v in f) for k, f in known.items() if "predictive" in k}
    if settled:
        words = "; ".join(f"{depth} hidden: {values}" for depth, values in settled.items())
        lines += ["", f"`rate_predictive_coding`, error neurons to backpropagation, by layer: {words}."]
    return lines


def markdown() -> str:
    """Write the page."""
    pages = {"bars": _bars_page, "errors": _errors_page, "lag": _lag_page}
    lines = ["# Leaky neurons, predictive coding, microcircuits", "", "`python benchmarks/rate_variants.py`", ""]
    for name, page in pages.items():
        known = _DONE.get(name) or _read(name)
        if known:
            lines += [*page(known), ""]
    return "\n".join(lines).rstrip() + "\n"


def _read(part: str) -> dict[str, Any]:
    store = RESULTS / f"rate_variants_{part}.json"
    return dict(json.loads(store.read_text())) if store.exists() else {}


def main(words: list[str]) -> None:
    """Measure the chosen parts; what was measured before is kept."""
    RESULTS.mkdir(exist_ok=True)
    for name in words or PARTS:
        _DONE[name] = _read(name)
        PARTS[name](_DONE[name])
    save({})


if __name__ == "__main__":
    main(sys.argv[1:])
