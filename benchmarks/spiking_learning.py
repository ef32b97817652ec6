"""Learning figures of the spiking models: every row of benchmarks/results/spiking_learning.md, on fresh seeds.

    python benchmarks/spiking_learning.py                # all rows, half an hour on one core
    python benchmarks/spiking_learning.py LIF parity     # the rows whose names contain a word

Settings were chosen on seeds 1 to 3 and, for digits, on the split ``fit``/``validation``; the test set and seeds
301 to 305 were not used for that.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from learning import Row, cell

from rnla_neuro.analysis.statistics import summary
from rnla_neuro.experiment import RunRequest, run

FRESH = tuple(range(301, 306))
RESULTS = Path(__file__).parent / "results"
SHORT = {"T": "30*ms"}
WORDS = {
    "spiking_nla": "integrate-and-fire, prospective",
    "spiking_leaky_nla": "integrate-and-fire, leaky",
    "spiking_lif_nla": "LIF, escape noise, 200 Hz",
    "spiking_poisson_nla": "Poisson neurons, 500 Hz",
    "rate_nla": "rate twin",
}


@dataclass
class Figure:
    """What a row came to."""

    name: str
    aim: str
    test_accuracy: dict[str, Any]
    iterations_to_threshold: dict[str, Any]
    spikes: list[float]


def _row(task: str, model: str, aim: str = "", more: str = "", **request: Any) -> Row:
    overrides = request.pop("overrides", {})
    iterations = request.pop("iterations", 30_000)
    backend = "equilibrium" if model.startswith("rate") else "brian2"
    name = ", ".join(filter(None, (task, WORDS.get(model, model), more)))
    asked = RunRequest(task, model, backend=backend, seeds=FRESH, iterations=iterations, overrides=overrides, **request)
    return Row(name, asked, aim)


def rows() -> list[Row]:
    """Return the table's rows, in order."""
    fast, slow = "500 Hz", "200 Hz"
    table = [
        _row("digits", "spiking_nla", "≥ 0.94", fast),
        _row("digits", "spiking_nla", "≥ 0.92", slow, overrides={"r_max": "200*Hz"}),
        _row("digits", "spiking_nla", "≥ 0.90", f"{fast}, Poisson input spikes", input="poisson"),
        _row("digits", "spiking_nla", "", f"{fast}, regular input spikes", input="regular"),
        _row("digits", "spiking_lif_nla", "≥ 0.90"),
        _row("digits", "spiking_lif_nla", "", "Poisson input spikes", input="poisson"),
        _row("digits", "spiking_poisson_nla"),
        _row("digits", "spiking_leaky_nla", "", fast),
        _row("digits", "spiking_nla", "", f"{fast}, T 30 ms", overrides=SHORT),
        _row("digits", "spiking_leaky_nla", "worse than the row above", f"{fast}, T 30 ms", overrides=SHORT),
        _row("digits", "spiking_nla", "", f"{fast}, hidden layer frozen", freeze_hidden=True),
        _row("digits", "rate_nla"),
        _row("digits", "rate_nla", "", "REINFORCE, softened", learner="reinforce", overrides=_softened()),
    ]
    for words, delay in (("one iteration late", "iterations:1"), ("Gamma(2, T/2)", "gamma:2,0.5T")):
        table.append(_row("digits", "spiking_nla_late", "", words, reward_delay=delay))
    for model in ("spiking_nla", "spiking_lif_nla", "spiking_poisson_nla"):
        aim = "1.00" if model == "spiking_nla" else ""
        table += [
            _row("parity4", model, aim),
            _row("patterns", model, aim, iterations=20_000),
        ]
    return table


def _softened() -> dict[str, str]:
    """The most accurate preset of the REINFORCE baseline."""
    from rnla_neuro.learners.reinforce import TUNED_SOFT

    return {name: str(value) for name, value in TUNED_SOFT.items()}


def measure(row: Row) -> Figure:
    """Run a row in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(row.request, Path(folder) / "run").summary
    spikes = (found.get("spikes_per_decision") or {}).get("layers") or []
    return Figure(
        row.name,
        row.aim,
        dict(found["test_accuracy"]),
        dict(found["iterations_to_threshold"]),
        [round(float(count), 1) for count in spikes],
    )


def differences(figures: dict[str, Figure]) -> list[str]:
    """Say how much better prospective is than leaky: paired, since a seed has the same first weights in both."""
    lines = []
    for more in ("500 Hz", "500 Hz, T 30 ms"):
        pair = [figures.get(f"digits, {WORDS[m]}, {more}") for m in ("spiking_nla", "spiking_leaky_nla")]
        if pair[0] is None or pair[1] is None:
            continue
        values = [one.test_accuracy["values"] for one in pair if one is not None]
        report = summary(a - b for a, b in zip(*values, strict=True))
        lines.append(f"- Prospective minus leaky, {more}: {cell(report, 4)}.")
    return lines


def markdown(figures: dict[str, Figure]) -> str:
    """Write the page."""
    lines = [
        "# Learning figures of the spiking models",
        "",
        "`python benchmarks/spiking_learning.py`; seeds 301-305, mean [95 % interval, Student's t]; test accuracy at",
        "the end of the run (450 images for digits, 64-40-10), decisions until the hit rate of the last 100 reaches",
        "80 %, and spikes of input, hidden and action layer in one decision while learning. 30,000 decisions, patterns",
        "20,000; `brian2` backend; T 100 ms where nothing else is said.",
        "",
        "What was selected on what: sigma, eta_half, the low-passed decision and the form S of self-nudging (c = 4,",
        "from rate_nla_late) by about 50 settings on seeds 1 to 3, by validation accuracy on digits (`fit` /",
        "`validation`), in a program apart that takes the same steps; one setting for all models. The test set had no",
        "part in it. The rate twin and REINFORCE are those of learning.md.",
        "",
        "| what | test accuracy | trials to 80 % | spikes a decision | aim |",
        "|---|---|---|---|---|",
    ]
    for f in figures.values():
        accuracy, trials = cell(f.test_accuracy, 4), cell(f.iterations_to_threshold, 0)
        spikes = " + ".join(f"{count:.0f}" for count in f.spikes)
        lines.append(f"| {f.name} | {accuracy} | {trials} | {spikes} | {f.aim} |")
    return "\n".join([*lines, "", *differences(figures)]) + "\n"


def main(words: list[str]) -> None:
    """Measure the chosen rows; rows measured before keep their figures. Two of these may run at once."""
    table = rows()
    for row in table:
        if words and not any(word in row.name for word in words):
            continue
        figure = measure(row)
        print(row.name, cell(figure.test_accuracy, 4), flush=True)
        _keep([r.name for r in table], figure)


def _keep(names: list[str], figure: Figure) -> None:
    store = RESULTS / "spiking_learning.json"
    known = {f["name"]: f for f in json.loads(store.read_text())} if store.exists() else {}
    known[figure.name] = asdict(figure)
    figures = [known[name] for name in names if name in known]
    store.write_text(json.dumps(figures, indent=1) + "\n")
    (RESULTS / "spiking_learning.md").write_text(markdown({f["name"]: Figure(**f) for f in figures}))


if __name__ == "__main__":
    main(sys.argv[1:])
