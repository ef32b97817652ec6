"""Digits with the update in the plasticity processor's integers: benchmarks/results/plasticity_processor.md.

``python benchmarks/plasticity_processor.py`` learns with seeds 501 to 505, in about 10 minutes on one core;
``python benchmarks/plasticity_processor.py TASK DECISIONS`` another task;
``python benchmarks/plasticity_processor.py slopes`` compares the mean of many updates with the wanted one, by gain:
benchmarks/results/plasticity_slopes.md, in about 2 minutes.

Three networks see the same data: weights as floats; integers of -63 to 63, the host's update in floats, stochastically
rounded; and the same integers, changed by the processor's rule (`PpuTwin`), which gets the traces as 8-bit integers.
Homeostasis is off in all of them: the rule is eligibility times neuromodulator alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rnla_neuro.backend import get_backend
from rnla_neuro.events import EventBatch
from rnla_neuro.hardware.ppu import PpuRule, PpuTwin
from rnla_neuro.hardware.reading import load_hardware
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model
from rnla_neuro.tasks import get

FloatArray = npt.NDArray[np.float64]
RESULTS = Path(__file__).parent / "results" / "plasticity_processor.md"
SLOPES = RESULTS.with_name("plasticity_slopes.md")
SEEDS = (501, 502, 503, 504, 505)
#: Trace (rate times error, in units of one reward's full credit) that 127*127/128 integers stand for, by layer.
FULL = (0.5, 1.0)


class Floats:
    """Weights as the simulation has them: nothing is done to them."""

    def __init__(self, weights: list[FloatArray], step: float) -> None:
        self.step = step

    def changed(self, before: list[FloatArray], after: list[FloatArray], per_trace: list[float]) -> list[FloatArray]:
        """Return the weights after an update: of one agent, (n_post, n_pre + 1) a layer."""
        return after


class HostIntegers(Floats):
    """Integers on the host, which computes the change in floats and rounds it stochastically."""

    def __init__(self, weights: list[FloatArray], step: float) -> None:
        super().__init__(weights, step)
        self.rng = np.random.default_rng(7)
        self.integers = [np.clip(np.rint(w / step), -63, 63) for w in weights]

    def changed(self, before: list[FloatArray], after: list[FloatArray], per_trace: list[float]) -> list[FloatArray]:
        """Round the change; see `Floats.changed`."""
        for layer, (a, b) in enumerate(zip(before, after, strict=True)):
            wanted = self.integers[layer] + (b - a) / self.step
            self.integers[layer] = np.clip(np.floor(wanted + self.rng.random(wanted.shape)), -63, 63)
        return [w * self.step for w in self.integers]


class Processor(Floats):
    """The processor's integers: traces of 8 bit, the modulator in fixed point, its own rounding."""

    def __init__(self, weights: list[FloatArray], step: float) -> None:
        super().__init__(weights, step)
        self.twins = []
        for layer, w in enumerate(weights):
            rule = PpuRule(w.shape[1], w.shape[0], step, post=FULL[min(layer, len(FULL) - 1)])
            self.twins.append(PpuTwin(rule, np.clip(np.rint(w.T / step), -63, 63).astype(np.int64), seed=layer + 1))

    def changed(self, before: list[FloatArray], after: list[FloatArray], per_trace: list[float]) -> list[FloatArray]:
        """Give the processor the traces that the change was made of; see `Floats.changed`."""
        for twin, a, b, gain in zip(self.twins, before, after, per_trace, strict=True):
            twin.traces = twin.rule.traces((b - a).T / gain)
            twin.update(twin.rule.modulator(gain))
        return [twin.weights.T * self.step for twin in self.twins]


def learn(task_name: str, kind: type[Floats], seeds: tuple[int, ...], decisions: int, step: float) -> FloatArray:
    """Learn, and return the accuracy on the test set of each seed, shape (A,)."""
    task = get(task_name)
    source = task.source()
    model = load_model("rate_nla", {"eta_hom": "0"})
    network = NetworkSpec(model, (source.n_in, *task.hidden, source.n_classes), seeds)
    value = {name: parameter.value for name, parameter in model.parameters.items()}
    simulation = get_backend("equilibrium").build(network)
    held = [kind([w[k] for w in simulation.weights()], step) for k in range(len(seeds))]
    weights = simulation.weights()
    if kind is not Floats:
        weights = [np.clip(np.rint(w / step), -63, 63) * step for w in weights]
        simulation.set_weights(weights)
    rngs = [np.random.default_rng(seed) for seed in seeds]
    mean = np.full(len(seeds), 1 / source.n_classes)
    agents = np.arange(len(seeds))
    for trial in range(decisions):
        drawn = [source.draw(rng, 1) for rng in rngs]
        now = simulation.next_decision
        action = simulation.decide(np.concatenate([x for x, _ in drawn]), EventBatch.empty())
        right = action == np.concatenate([label for _, label in drawn])
        reward = np.where(right, source.hit, source.miss)
        simulation.settle(EventBatch(agents, np.full(len(seeds), now), np.zeros(len(seeds), dtype=np.int64), reward))
        delta = reward - mean
        mean += delta / value["n_R"]
        if kind is Floats:
            continue
        after = simulation.weights()
        rate = value["eta"] / (1 + trial / value["eta_half"])
        for k in agents:
            gains = [
                rate * delta[k] * (value["lr_hidden"] if layer < len(after) - 1 else 1) for layer in range(len(after))
            ]
            if all(gains):
                new = held[k].changed([w[k] for w in weights], [w[k] for w in after], gains)
                for layer, w in enumerate(new):
                    after[layer][k] = w
        weights = after
        simulation.write_weights(weights)
    x, label = source.dataset("test")
    accuracy: FloatArray = (simulation.predict(x) == label).mean(axis=1)
    simulation.close()
    return accuracy


def mean_updates(gain: float, counts: tuple[int, ...]) -> tuple[FloatArray, list[FloatArray]]:
    """Return the wanted update of docs/plasticity_processor.md's example, and means of so many of the processor's."""
    rule = PpuRule(65, 40, step=2 / 63)
    rate, error = np.linspace(-1, 1, 65), np.linspace(-0.5, 0.5, 40)
    twin, total, means = PpuTwin(rule, np.zeros((65, 40), dtype=np.int64), seed=3), np.zeros((65, 40)), []
    for update in range(1, max(counts) + 1):
        twin.weights[:], twin.traces[:] = 0, 0
        twin.accumulate(*rule.factors(rate, error))
        twin.update(rule.modulator(gain))
        total += twin.weights * rule.step
        if update in counts:
            means.append(total / update)
    return gain * np.outer(rate, error), means


def slopes() -> None:
    """Measure, print and write how the mean update follows the wanted one."""
    rows = [
        "# The mean update of the plasticity processor",
        "",
        "`python benchmarks/plasticity_processor.py slopes`: least-squares slope of the mean update against the wanted",
        "one (65 x 40 weights, step 2/63), its standard error from the rounding of the weights, and their correlation.",
        "",
        "| gain | mantissa, shift | modulator / gain | slope, 10,000 updates | correlation, 400 | 10,000 updates |",
        "|---|---|---|---|---|---|",
    ]
    rule = PpuRule(65, 40, step=2 / 63)
    for gain in (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0005):
        wanted, (few, many) = mean_updates(gain, (400, 10_000))
        squares = (wanted**2).sum()
        # a change by one integer with the chance `part`
        part = np.abs(wanted) / rule.step % 1
        error = rule.step * np.sqrt((part * (1 - part) * wanted**2).sum() / 10_000) / squares
        known = [np.corrcoef(mean.ravel(), wanted.ravel())[0, 1] for mean in (few, many)]
        by = rule.modulator(gain)
        rows.append(
            f"| {gain} | {by.mantissa}, {by.shift} | {by.value * rule.step / rule.trace_unit / gain:.4f} "
            f"| {(many * wanted).sum() / squares:.4f} ± {error:.5f} | {known[0]:.4f} | {known[1]:.4f} |"
        )
        print(rows[-1], flush=True)
    SLOPES.write_text("\n".join(rows) + "\n", encoding="utf-8")


def main(task: str = "digits", decisions: str = "20000") -> None:
    """Measure, print and, for digits, write the table."""
    if task == "slopes":
        slopes()
        return
    step = load_hardware("brainscales2").weight_step
    rows = [
        "# The three-factor rule on the plasticity processor",
        "",
        f"`python benchmarks/plasticity_processor.py`: {task}, `rate_nla` without homeostasis, {int(decisions):,}",
        f"decisions, seeds {SEEDS[0]} to {SEEDS[-1]}; integers of -63 to 63 with a step of {step:.4f}.",
        "",
        "| weights | update | test accuracy (mean) | lowest and highest seed |",
        "|---|---|---|---|",
    ]
    for kind, weights, update in (
        (Floats, "float64", "host, float64"),
        (HostIntegers, "integers", "host, float64, rounded stochastically"),
        (Processor, "integers", "processor: 8-bit traces, fixed-point modulator, its own rounding"),
    ):
        found = learn(task, kind, SEEDS, int(decisions), step)
        rows.append(f"| {weights} | {update} | {found.mean():.3f} | {found.min():.3f}, {found.max():.3f} |")
        print(rows[-1], flush=True)
    if task == "digits":
        RESULTS.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
