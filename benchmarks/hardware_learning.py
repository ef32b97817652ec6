"""Learning on an emulated BrainScaleS-2: every row and the picture of benchmarks/results/hardware_learning.md.

    python benchmarks/hardware_learning.py                  # all rows, about 25 minutes on one core
    python benchmarks/hardware_learning.py spiking bits     # the rows whose names contain a word

Settings were chosen on seeds and chips 1 to 4 and the split ``fit``/``validation``; the test set, seeds 301 to 305 and
chips 31 to 35 were not used for that.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from learning import Row, cell, measure_rows

from rnla_neuro.analysis.canvas import COLOURS, MARKERS, save, styled
from rnla_neuro.analysis.statistics import summary
from rnla_neuro.evaluation import accuracy
from rnla_neuro.experiment import RunRequest, run
from rnla_neuro.hardware.reading import load_hardware
from rnla_neuro.learners.reinforce import TUNED_SOFT
from rnla_neuro.revisit import projections
from rnla_neuro.session import Session
from rnla_neuro.simulation import Simulation
from rnla_neuro.spec.loader import load_model
from rnla_neuro.tasks import get

FRESH, CHIPS = tuple(range(301, 306)), tuple(range(31, 36))
RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "hardware_learning"
KEPT = Path(tempfile.gettempdir()) / "rnla_hardware_learning"  # networks trained without a chip
FloatArray = np.ndarray[Any, np.dtype[np.float64]]

PLATFORM = "brainscales2"
GRID_ONLY = ("mismatch", "trial", "readout", "inputs")
PATTERN_ONLY = ("quantisation", "trial", "readout", "inputs")
GRID_AND_PATTERN = ("trial", "readout", "inputs")
NOT_IN_EQUILIBRIUM = ("tau_m", "readout")
SPIKING = {"eta": "0.06", "eta_half": "3000"}
REFINED = ", loaded first, then 3,000 decisions"  # rows that begin with what was trained without a chip
MISMATCH, BITS = (0, 10, 20, 30), (2, 3, 4, 6)  # per cent, and bits without the sign

HEAD = """\
# Learning on an emulated BrainScaleS-2

`python benchmarks/hardware_learning.py`; digits, 64-40-10, seeds 301-305 on chips 31-35, one each; test
accuracy (450 images) at the end, mean [95 % interval, Student's t]. Rates 10,000 decisions, spiking 8,000,
rows of the picture 4,000. *In the loop*: learned on the chip. *Loaded*: the same network trained without a
chip for as many decisions, its weights rounded to the nearest, then tested on the same chips without learning
there. *Difference*: paired by seed and chip. *Loaded first*: the loaded network learns on in the loop.

*All of it*: weights of 6 bits and a sign (63 stands for 2), every update rounded at random; mismatch of time
constants, thresholds, resets, resting potentials and synapses with what calibration leaves of 20 %; a current
that is new in each trial (0.05); voltages read by 8 bits with noise (180 steps for 16); lost input spikes;
weights that change between runs only. For thresholds, resets and resting potentials 20 % are of threshold
minus reset in spiking neurons; rate neurons have no threshold: their bias moves, by 0.2 for the threshold and
by 0.2 for the resting potential, on a scale where tanh(1) = 0.76.

The link carries 125 million spikes a second of hardware time; these inputs are about 16 million, so that none
is lost. The last row of the table has a narrower link.

What was selected on what: `readout.span` 16 and the weights' range 2, g of `rate_in_loop_nla`, eta and
eta_half of the spiking rows, by about 85 settings on seeds and chips 1 to 4, by validation accuracy (`fit` /
`validation`), in a program apart that takes the same steps. Five short trials of the commands, on seeds and
chips 1 to 3, showed test accuracies; nothing was chosen by them. The first row was also run for 20,000 decisions
(0.959 in the loop, 0.976 loaded), before all were shortened to save time. REINFORCE is the softened preset of
learning.md, tuned without a chip; it has no voltages in time, and so neither time constants nor a readout.
"""


@dataclass
class Figure:
    """What a row came to.

    Attributes:
        name: Of the row.
        aim: What it was to reach.
        on_chip: Test accuracy after learning in the loop.
        loaded: Test accuracy on the same chips of the network that was trained without them.
        without: Test accuracy of that network without a chip.
        hardware: Counts of the run.
    """

    name: str
    aim: str
    on_chip: dict[str, Any]
    loaded: dict[str, Any]
    without: dict[str, Any]
    hardware: dict[str, Any]


def platform(
    name: str, *, mismatch: float | None = None, bits: int | None = None, input_mhz: float | None = None
) -> str:
    """Write a platform file that differs from BrainScaleS-2 in one figure, and return its path.

    Args:
        name: Of the file.
        mismatch: Standard deviation of all that differs from circuit to circuit, per cent.
        bits: Of a weight, without the sign; its range stays.
        input_mhz: Input spikes that the link carries, millions a hardware second.
    """
    data = tomllib.loads(load_hardware(PLATFORM).text)
    if mismatch is not None:
        for figure in data["mismatch"].values():
            figure["value"] = mismatch
    if bits is not None:
        data["weights"]["bits"]["value"], data["weights"]["maximum"]["value"] = bits, 2**bits - 1
    if input_mhz is not None:
        data["inputs"]["rate"]["value"] = input_mhz
    KEPT.mkdir(exist_ok=True)
    path = KEPT / f"{name}.toml"
    path.write_text(tomli_w.dumps(data))
    return str(path)


def _row(name: str, aim: str, model: str, iterations: int = 10_000, **more: Any) -> Row:
    backend = more.pop("backend", "equilibrium" if model == "rate_nla" else "brian2")
    request = RunRequest("digits", model, backend=backend, seeds=FRESH, iterations=iterations, chip_seed=CHIPS, **more)
    return Row(name, request, aim)


def rows() -> list[Row]:
    """Return the table's rows, in order; then those of the picture."""
    reinforce = {"learner": "reinforce", "overrides": {name: str(value) for name, value in TUNED_SOFT.items()}}
    rate, loop, lif = "rate, `rate_nla`", "rate, `rate_in_loop_nla`", "spiking, `spiking_lif_nla`"
    chip = {"hardware": PLATFORM}
    grid = chip | {"chip_off": GRID_ONLY}
    in_equilibrium = chip | {"chip_off": NOT_IN_EQUILIBRIUM}
    raw = chip | {"calibrated": False}
    narrow = platform("narrow_input", input_mhz=24)
    short = {"iterations": 8_000, "overrides": SPIKING}
    spikes = short | {"input": "regular"}
    table = [
        _row(f"{rate}: signed 6-bit weights", "≥ 0.93", "rate_nla", **grid),
        _row("rate, REINFORCE: signed 6-bit weights", "", "rate_nla", **grid, **reinforce),
        _row(f"{loop}: 20 % mismatch, uncalibrated", "≥ 0.90", "rate_in_loop_nla", **raw, chip_off=PATTERN_ONLY),
        _row(f"{loop}: both, calibrated", "≥ 0.90", "rate_in_loop_nla", **chip, chip_off=GRID_AND_PATTERN),
        _row(f"{lif}: all of it, input as spikes", "≥ 0.85", "spiking_lif_nla", **chip, **spikes),
        _row(f"{lif}: all of it, input as currents", "≥ 0.85", "spiking_lif_nla", **chip, **short),
        _row(f"{loop}: all of it", "", "rate_in_loop_nla", **chip),
        _row(f"{loop}: all of it, uncalibrated", "", "rate_in_loop_nla", **raw),
        _row(f"{rate}: all but tau_m and readout", "", "rate_nla", **in_equilibrium),
        _row("rate, REINFORCE: all but tau_m and readout", "", "rate_nla", **in_equilibrium, **reinforce),
        _row(f"{loop}: all of it, uncalibrated{REFINED}", "", "rate_in_loop_nla", **raw),
        _row(f"{lif}: all of it, input as spikes, uncalibrated", "", "spiking_lif_nla", **raw, **spikes),
        _row(f"{lif}: all of it, input as spikes{REFINED}", "", "spiking_lif_nla", **chip, **spikes),
        _row(f"{lif}: all of it, link of 24 MHz", "", "spiking_lif_nla", hardware=narrow, **spikes),
    ]
    return table + [row for row, *_ in picture_rows()]


def picture_rows() -> list[tuple[Row, str, int]]:
    """Return the rows of the picture, each with its panel and its place there."""
    found = []
    for percent in MISMATCH:
        file = platform(f"mismatch_{percent}", mismatch=percent)
        more = {"hardware": file, "calibrated": False, "chip_off": PATTERN_ONLY}
        row = _row(f"picture: mismatch {percent} %, uncalibrated", "", "rate_in_loop_nla", 4_000, **more)
        found.append((row, "mismatch", percent))
    for bits in BITS:
        more = {"hardware": platform(f"bits_{bits}", bits=bits), "chip_off": GRID_ONLY}
        found.append((_row(f"picture: weights of {bits} bits and a sign", "", "rate_nla", 4_000, **more), "bits", bits))
    return found


def measure(row: Row) -> Figure:
    """Let a network learn on the chips, and test there one that learned without them."""
    weights, without = trained_without(row.request)
    refined = row.name.endswith(REFINED)
    with Session(row.request) as session:
        simulation = session.simulation
        weights = rounded(weights, simulation.hardware())  # type: ignore[attr-defined]
        if refined:
            simulation.set_weights(weights)
        session.train(3_000 if refined else row.request.iterations or 0)
        session.finish()
        learned, told = tested(simulation), simulation.hardware()  # type: ignore[attr-defined]
        simulation.set_weights(weights)
        taken = tested(simulation)
    counts = {name: told.get(name) for name in ("updates", "saturated", "at_limit", "input_spikes_lost")}
    return Figure(row.name, row.aim, dict(summary(learned)), dict(summary(taken)), without, counts)


def tested(simulation: Simulation) -> list[float]:
    """Return the test accuracy of each agent."""
    return [float(value) for value in accuracy(simulation, get("digits"))]


def rounded(weights: list[FloatArray], chip: Mapping[str, Any]) -> list[FloatArray]:
    """Round weights to the nearest that a chip has, if it has not all."""
    if "weight_step" not in chip:
        return weights
    low, high = chip["weight_range"]
    return [chip["weight_step"] * np.clip(np.rint(w / chip["weight_step"]), low, high) for w in weights]


def trained_without(request: RunRequest) -> tuple[list[FloatArray], dict[str, Any]]:
    """Train the network of a request without a chip; return its weights and test accuracy. Done once a network."""
    plain = replace(request, hardware="", chip_seed=(), calibrated=True, chip_off=())
    name = hashlib.sha256((repr(plain) + load_model(plain.model).text).encode()).hexdigest()[:16]
    file, told = KEPT / f"{name}.npz", KEPT / f"{name}.json"
    if not told.exists():
        KEPT.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            results = run(plain, Path(folder) / "run")
            np.savez(file, **{f"projection{k}": w for k, w in enumerate(projections(results.weights, results.path))})
            told.write_text(json.dumps(dict(results.summary["test_accuracy"])))
    with np.load(file) as arrays:
        return projections(dict(arrays), file), json.loads(told.read_text())


def difference(figure: Figure) -> str:
    """Return what learning in the loop buys, paired by seed and chip."""
    pairs = zip(figure.on_chip["values"], figure.loaded["values"], strict=True)
    return cell(dict(summary(a - b for a, b in pairs)), 3)


def markdown(figures: Mapping[str, Figure]) -> str:
    """Write the page."""
    lines = [
        HEAD,
        "| what | in the loop | loaded | difference | without a chip | aim |",
        "|---|---|---|---|---|---|",
    ]
    for f in figures.values():
        cells = [cell(one, 3) for one in (f.on_chip, f.loaded)]
        lines.append(f"| {f.name} | {cells[0]} | {cells[1]} | {difference(f)} | {cell(f.without, 3)} | {f.aim} |")
    lost = {f.name: f.hardware["input_spikes_lost"] for f in figures.values() if f.hardware.get("input_spikes_lost")}
    lines += [
        "",
        *(
            f"Input spikes lost, {name}: {count:,}, all five seeds together, tests included."
            for name, count in lost.items()
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


def draw(figures: Mapping[str, Figure]) -> None:
    """Draw accuracy against mismatch and against the bits of a weight, in the loop and loaded."""
    words = {
        "mismatch": "mismatch, uncalibrated, % (rate_in_loop_nla)",
        "bits": "bits of a weight and a sign (rate_nla)",
    }
    labels = {"on_chip": "learned in the loop", "loaded": "trained without, loaded"}
    with styled(9.0, 3.8, 1, 2) as (figure, panels):
        for axes, panel in zip(panels[0], words, strict=True):
            known = [(x, figures[row.name]) for row, where, x in picture_rows() if where == panel]
            for k, (key, label) in enumerate(labels.items()):
                seen = [getattr(one, key) for _, one in known]
                mean = np.array([one["mean"] for one in seen])
                low, high = (np.array([one["ci95"][side] for one in seen]) for side in (0, 1))
                off = np.array([mean - low, high - mean])
                places = [x for x, _ in known]
                axes.errorbar(places, mean, off, marker=MARKERS[k], color=COLOURS[k], capsize=3, label=label)
            axes.set_xlabel(words[panel])
        panels[0][0].set_ylabel("test accuracy, 4,000 decisions")
        panels[0][0].legend(loc="lower left")
        save(figure, PICTURE)


def write(figures: Mapping[str, Figure]) -> None:
    """Keep the figures: JSON, the page, a table of every seed, and the picture once it is whole."""
    (RESULTS / "hardware_learning.json").write_text(json.dumps([asdict(f) for f in figures.values()], indent=1) + "\n")
    (RESULTS / "hardware_learning.md").write_text(markdown(figures))
    with (RESULTS / "hardware_learning.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["what", "seed", "chip", "in_the_loop", "loaded", "without_a_chip"])
        for f in figures.values():
            each = zip(FRESH, CHIPS, *(one["values"] for one in (f.on_chip, f.loaded, f.without)), strict=True)
            table.writerows([f.name, seed, chip, *(f"{value:.4f}" for value in values)] for seed, chip, *values in each)
    if all(row.name in figures for row, *_ in picture_rows()):
        draw(figures)


def main(words: list[str]) -> None:
    """Measure the chosen rows; rows measured before keep their figures."""
    store = RESULTS / "hardware_learning.json"
    known = {f["name"]: Figure(**f) for f in json.loads(store.read_text())} if store.exists() else {}

    def say(f: Figure) -> str:
        return f"{cell(f.on_chip, 4)} {cell(f.loaded, 4)}"

    measure_rows(rows(), words, known, measure, say, lambda figures: write({f.name: f for f in figures}))


if __name__ == "__main__":
    main(sys.argv[1:])
