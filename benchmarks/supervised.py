"""Figures of supervised learning: benchmarks/results/supervised.md, on seeds 301 to 305, which tuned nothing.

``python benchmarks/supervised.py`` measures all tables, in about 15 minutes on one core; with names of tables
(static, models, stepped, backends, tracking, lag) those alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.analysis.statistics import summary
from rnla_neuro.experiment import RunRequest, run
from rnla_neuro.session import Session
from rnla_neuro.tasks import get
from rnla_neuro.tasks.tracking import SignalSource

FloatArray = npt.NDArray[np.float64]
Rows = list[list[str]]
SEEDS = (301, 302, 303, 304, 305)
RESULTS = Path(__file__).parent / "results" / "supervised.md"
KEPT = RESULTS.with_suffix(".json")
STATIC = (("xor", 3_000), ("parity4", 10_000), ("patterns", 10_000), ("bars", 10_000), ("digits", 50_000))
MODELS = ("rate_nla", "rate_nla_late", "rate_nla_ou", "rate_nla_ou_late", "rate_nla_perturbation", "rate_nla_policy",
          "rate_nla_poster", "rate_nla_pulse")  # fmt: skip
STEPPED = ("rate_leaky", "rate_predictive_coding", "rate_microcircuit", "rate_microcircuit_learned")
BACKENDS = (("equilibrium", "native"), ("equilibrium", "numpy"), ("brian2", "cython"), ("brian2_cpp", "auto"))
TRACKING, TRIALS = ("tracking", "tracking-product", "tracking-delay"), 5_000


def measured(request: RunRequest) -> dict[str, Any]:
    """Run a request in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(run(request, Path(folder) / "run").summary)


def number(found: dict[str, Any], digits: int = 3) -> str:
    """Write a mean with half its 95 % interval over seeds."""
    if found["mean"] is None:
        return "–"
    text = f"{found['mean']:.{digits}f}"
    if found.get("ci95"):
        text += f" ± {(found['ci95'][1] - found['ci95'][0]) / 2:.{digits}f}"
    return text


def static() -> Rows:
    """Labels as targets, beside the learner backprop."""
    rows = []
    for task, iterations in STATIC:
        row = [task, f"{iterations:,}"]
        for learner in ("supervised", "backprop"):
            found = measured(RunRequest(task, seeds=SEEDS, iterations=iterations, learner=learner))
            row += [number(found["test_accuracy"]), number(found["iterations_to_threshold"], 0)]
        rows.append(row)
    return rows


def models() -> Rows:
    """Every packaged model, rewritten."""
    rows = []
    for model in MODELS:
        found = measured(RunRequest("digits", model=model, seeds=SEEDS, iterations=10_000, learner="supervised"))
        rows.append([f"`{model}`", number(found["test_accuracy"]), number(found["iterations_to_threshold"], 0)])
    return rows


def stepped() -> Rows:
    """Rate models that have no moving equilibrium, integrated by Brian2."""
    rows = []
    for model in STEPPED:
        request = RunRequest("xor", model=model, seeds=SEEDS, iterations=2_000, learner="supervised", backend="brian2")
        found = measured(request)
        rows.append([f"`{model}`", number(found["test_accuracy"]), number(found["iterations_to_threshold"], 0)])
    return rows


def backends() -> Rows:
    """The same on engines that integrate step by step."""
    rows = []
    for backend, core in BACKENDS:
        request = RunRequest("digits", backend=backend, core=core, seeds=SEEDS, iterations=5_000, learner="supervised")
        name = f"`{backend}`" + ("" if core == "auto" else f", `{core}`")
        rows.append([name, number(measured(request)["test_accuracy"])])
    return rows


def tracking() -> Rows:
    """Targets that vary in time."""
    rows = []
    for task in TRACKING:
        request = RunRequest(task, seeds=SEEDS, iterations=TRIALS, learner="supervised")
        found = measured(request)
        frozen = measured(RunRequest(task, seeds=SEEDS, iterations=TRIALS, learner="supervised", freeze_hidden=True))
        errors = (found["test_error_before"], found["test_error"], frozen["test_error"])
        rows.append([f"`{task}`", *(number(error, 5) for error in errors)])
    return rows


class Lagging:
    """The network of rate_nla_tracking without prospective coding: rates and errors are sent as they are.

    Its eligibility takes ē itself. The voltage minus the drive, which is the error in a prospective network, is mostly
    lag here, and teaches nothing.
    """

    def __init__(self, weights: Sequence[FloatArray], parameters: dict[str, float], dt: float) -> None:
        self.w = [w.copy() for w in weights]
        self.p, self.dt = parameters, dt
        self.u = [np.zeros(w.shape[:2]) for w in self.w]
        self.E = [np.zeros_like(w) for w in self.w]
        self.now = self.trials = 0

    def step(self, x: FloatArray, target: FloatArray | None) -> FloatArray:
        """Go on by dt with inputs (A, n_in); learn if there is a target (A, n_out). Return the output before."""
        p, out = self.p, self.u[-1].copy()
        rates = [x, *(np.tanh(u) for u in self.u[:-1])]
        pre = [np.concatenate([r, np.ones((len(r), 1))], axis=1) for r in rates]
        errors = [np.zeros_like(u) for u in self.u]
        if target is not None:
            errors[-1] = p["beta"] * (target - self.u[-1])
            for k in range(len(self.w) - 1, 0, -1):
                back = np.einsum("aij,ai->aj", self.w[k][:, :, :-1], errors[k])
                errors[k - 1] = (1 - rates[k] ** 2) * back
        for k, w in enumerate(self.w):
            drive = np.einsum("aij,aj->ai", w, pre[k])
            self.u[k] += self.dt / p["tau_m"] * (drive - self.u[k] + errors[k])
            self.E[k] += self.dt / p["tau_elig"] * (errors[k][:, :, None] * pre[k][:, None] - self.E[k])
        self.now += 1
        if target is not None and self.now % round(p["lesson"] / self.dt) == 0:
            for k, w in enumerate(self.w):
                rate = p["eta"] / (1 + self.trials / p["eta_half"]) * (p["lr_hidden"] if k < len(self.w) - 1 else 1.0)
                w += rate / p["beta"] * p["lesson"] / p["T"] * self.E[k]
        return out


def stream(source: SignalSource, rng: np.random.Generator, trials: int) -> tuple[FloatArray, FloatArray]:
    """Samples of an endless signal every 2 ms, (n, n_in), and the targets, (n, n_out)."""
    signals, targets = source.signals(rng, trials)
    return signals[:, :-1].reshape(-1, signals.shape[-1]), targets[:, :-1].reshape(-1, targets.shape[-1])


def followed(network: Lagging, source: SignalSource) -> list[float]:
    """Mean squared error on a few endless signals, without learning, (A,)."""
    off = []
    for seed in range(10):
        x, y = stream(source, np.random.default_rng(7000 + seed), 6)
        for k in range(len(x)):
            out = network.step(np.broadcast_to(x[k], (len(SEEDS), x.shape[1])), None)
            if k >= 100:  # what was before is forgotten
                off.append(((out - y[k]) ** 2).mean(axis=1))
    return [float(v) for v in np.mean(off, axis=0)]


def without_lag(weights: Sequence[FloatArray], source: SignalSource) -> list[float]:
    """The same for prospective neurons, whose output is that of the present input."""
    off = []
    for seed in range(10):
        x, y = stream(source, np.random.default_rng(7000 + seed), 6)
        rate = np.broadcast_to(x, (len(SEEDS), *x.shape))
        for k, w in enumerate(weights):
            u = np.einsum("aij,asj->asi", w[:, :, :-1], rate) + w[:, None, :, -1]
            rate = np.tanh(u) if k < len(weights) - 1 else u
        off.append(((rate - y) ** 2)[:, 100:].mean(axis=(1, 2)))
    return [float(v) for v in np.mean(off, axis=0)]


def lag() -> Rows:
    """Prospective neurons against the same network without prospective coding."""
    rows, trials, dt = [], 2_000, 0.002
    for task in TRACKING:
        source = get(task).source()
        assert isinstance(source, SignalSource)
        with Session(RunRequest(task, seeds=SEEDS, learner="supervised")) as session:
            form = session.network.form
            start = session.network.initial_weights()
            session.train(trials)
            learned = session.simulation.weights()
        slow = Lagging(start, dict(form.parameters), dt)
        rngs = [np.random.default_rng([seed, 1]) for seed in SEEDS]
        per_block = 100
        for block in range(trials // per_block):
            drawn = [stream(source, rng, per_block) for rng in rngs]
            x, y = np.stack([d[0] for d in drawn], axis=1), np.stack([d[1] for d in drawn], axis=1)
            for k in range(len(x)):
                slow.trials = block * per_block + k // 50
                slow.step(x[k], y[k])
        moved = Lagging(learned, dict(form.parameters), dt)
        errors = [without_lag(start, source), without_lag(learned, source)]
        errors += [followed(moved, source), followed(slow, source)]
        rows.append([f"`{task}`", *(number(summary(error), 4) for error in errors)])
    return rows


TABLES: dict[str, tuple[str, str, Sequence[str], Callable[[], Rows]]] = {
    "static": (
        "Labels as targets",
        "Test accuracy, and decisions until 80 % of the last 100 were right.",
        ("task", "decisions", "supervised", "to 80 %", "backprop", "to 80 %"),
        static,
    ),
    "models": ("Every model", "digits, 10,000 decisions.", ("model", "test accuracy", "to 80 %"), models),
    "stepped": (
        "Models that are integrated step by step",
        "xor, 2,000 decisions, backend `brian2`.",
        ("model", "test accuracy", "to 80 %"),
        stepped,
    ),
    "backends": ("Every backend", "digits, 5,000 decisions.", ("backend", "test accuracy"), backends),
    "tracking": (
        "Targets that vary in time",
        f"Mean squared error on 40 test signals, before and after {TRIALS:,} trials of 100 ms; `frozen`: only the "
        "action layer learns.",
        ("task", "before", "after", "frozen hidden layer"),
        tracking,
    ),
    "lag": (
        "Prospective or not",
        "Mean squared error on endless signals, after 2,000 trials. `lag`: neurons that send their rates and errors as "
        "they are, so that each layer trails by tau_m = 10 ms.",
        ("task", "before", "prospective", "its weights, run with lag", "learned and run with lag"),
        lag,
    ),
}


def main(wanted: Sequence[str]) -> None:
    """Measure the tables that are wanted, keep them, and write the page of all that are known."""
    kept: dict[str, Rows] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in wanted or TABLES:
        kept[name] = TABLES[name][3]()
        print(name, *kept[name], sep="\n", flush=True)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    lines = [
        "# Supervised learning",
        "",
        "Made by `python benchmarks/supervised.py`; seeds 301 to 305; mean ± half of the 95 % interval over seeds.",
        "Settings are those of the model files; nothing was tuned for these seeds.",
    ]
    for name, (title, about, columns, _) in TABLES.items():
        if name in kept:
            lines += ["", f"## {title}", "", about, "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
            lines += ["| " + " | ".join(row) + " |" for row in kept[name]]
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
