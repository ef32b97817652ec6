"""BrainScaleS-2 by pynn_brainscales, written against its public API as tests/hw/CONTRACT.md has it, rule by rule.

- Time on the chip is 1000 times shorter: PyNN's ms are hardware ms, time constants are µs, voltages LSB.
- No delays. A signed weight is an excitatory and an inhibitory synapse with whole numbers from 0 to 63.
- No current sources: biases and noise come as spikes; noise is drawn by the chip's own generators.
- Calibrated cells (`CalibHXNeuronCuba`) are calibrated when the network is prepared, which takes minutes.
- The strength of the synaptic input is measured first, on one neuron, and then set (`i_synin_gm`).
- A decision is one hardware run: set weights, run, read, reset. Decisions with the same weights (greedy evaluation) are
  snippets of one run. Plasticity is the host's.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any, ClassVar

import numpy as np

from rnla_neuro.errors import BackendError, MissingExtraError
from rnla_neuro.hardware.reading import load_hardware
from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro_backends.pynn_adapter.brainscales2_units import (
    DAC_BIAS,
    DEFAULT_GM,
    Units,
    check_neurons,
    choose_units,
    times,
)
from rnla_neuro_backends.pynn_adapter.plan import Cells, FloatArray, IntArray, Link, Plan, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.simulator import Simulator

MODULE = "pynn_brainscales.brainscales2"
SNIPPETS = 100  # of one hardware run
SEED = 1234  # of the first noise generator


class ClippedWeightsWarning(UserWarning):
    """Weights beyond what the chip's synapses give were clipped."""


class Brainscales2Simulator(Simulator):
    """See the module.

    Attributes:
        hardware: The platform file.
        units: The translation, once the chip has been measured.
        populations: PyNN's populations by name, all agents in one.
        projections: PyNN's projections by link, agent and receptor; several where a weight takes several synapses.
        runs: Hardware runs so far.
        clipped: Weights beyond what the synapses of a link can be that were given so far.
    """

    name: ClassVar[str] = "brainscales2"
    title: ClassVar[str] = "BrainScaleS-2"
    extra: ClassVar[str] = ""
    currents: ClassVar[bool] = False
    signed: ClassVar[bool] = False
    _owner: ClassVar[Brainscales2Simulator | None] = None  # whose network the package holds

    plan: Plan
    units: Units
    populations: dict[str, Any]
    projections: dict[tuple[str, int, str], list[Any]]

    def __init__(self, hardware: HardwareSpec | None = None) -> None:
        self.hardware = load_hardware("brainscales2") if hardware is None else hardware
        self.runs = self.clipped = 0
        self._numbers: dict[tuple[str, int], IntArray] = {}
        self._fired = False
        self._told: set[str] = set()

    @classmethod
    def on(cls, hardware: HardwareSpec | None) -> Simulator:
        """Make one that is driven by a platform file; see `Simulator.on`."""
        return cls(hardware)

    def missing(self) -> str:
        """Look for the package without importing it; see `Simulator.missing`."""
        if importlib.util.find_spec("pynn_brainscales") is None:
            return (
                "pynn_brainscales is not installed, and no package index has it: it comes with its authors' container "
                "and with EBRAINS, beside access to a chip (docs/chips.md)"
            )
        return ""

    def open(self, plan: Plan) -> None:
        """Measure the synaptic input, then build the network; see `Simulator.open`."""
        if missing := self.missing():
            raise MissingExtraError(f"backend 'pynn', simulator {self.name!r}: {missing}")
        self.sim = importlib.import_module(MODULE)
        self.plan = plan
        self._cells = {cells.name: cells for cells in plan.cells}
        self._links = {link.name: link for link in plan.links}
        check_neurons(plan, self.hardware)  # refused before minutes of measuring and calibration
        for cells in plan.cells:
            times(cells, self.hardware)
        self.units = choose_units(plan, self.hardware, self.measure_gain())
        fixed = {
            link.name: self.units.whole(link, self._cells[link.post], link.fixed)
            for link in plan.links
            if link.fixed is not None
        }
        self._numbers = {
            (link.name, agent): np.zeros((plan.size(link.post), plan.size(link.pre)), dtype=np.int64)
            for link in plan.links
            if link.fixed is None
            for agent in range(plan.n_agents)
        }
        self._build(fixed)

    # -- measuring -----------------------------------------------------------------------------------------

    def measure_gain(self) -> tuple[float, float]:
        """Measure what a spike of weight 1 does to a calibrated neuron at the default biases.

        A regular input of known rate deflects the membrane by weight × rate × synaptic time constant × gain, which the
        MADC reads on one neuron whose threshold is out of reach. Other neurons differ by what calibration leaves.

        Returns:
            LSB for the excitatory and for the inhibitory input.

        Raises:
            BackendError: There is no deflection to measure.
        """
        sim, tau_us, weight, step_ms = self.sim, 10.0, 10, 0.0025
        sim.setup()
        self._owns()
        biases = {"i_synin_gm_E": DEFAULT_GM, "i_synin_gm_I": DEFAULT_GM, "synapse_dac_bias": DAC_BIAS}
        neuron = sim.Population(
            1, sim.cells.CalibHXNeuronCuba(v_rest=120.0, v_reset=120.0, v_thresh=220.0, tau_m=tau_us, **biases)
        )
        neuron.record("v")
        regular = np.arange(0.05, 0.45, step_ms)
        source = sim.Population(1, sim.cells.SpikeSourceArray(spike_times=[regular]))
        gains = []
        pair = {kind: self._project(source, neuron, kind) for kind in ("excitatory", "inhibitory")}
        for kind, sign in (("excitatory", 1), ("inhibitory", -1)):
            for other, projection in pair.items():
                projection.set(weight=sign * weight if other == kind else 0)
            sim.run(0.45)
            signal = neuron.get_data("v", clear=True).segments[-1].irregularlysampledsignals[0]
            sim.reset()
            at, volts = np.asarray(signal.times.rescale("ms").magnitude), np.asarray(signal.magnitude).ravel()
            deflection = sign * (volts[at > 0.2].mean() - volts[at < 0.045].mean())
            gains.append(float(deflection / (weight * tau_us * 1e-3 / step_ms)))
            self.runs += 1
        sim.end()
        if min(gains) < 1e-3:
            raise BackendError(
                f"simulator 'brainscales2': spikes of weight {weight} moved the measured neuron by no more than "
                f"{min(gains):.2g} LSB each: is the chip connected and calibrated?"
            )
        return gains[0], gains[1]

    # -- building ------------------------------------------------------------------------------------------

    def _owns(self) -> None:
        type(self)._owner = self
        self._fired = False

    def _build(self, fixed: dict[str, IntArray]) -> None:
        plan, sim = self.plan, self.sim
        sim.setup()
        self._owns()
        self.populations = {}
        for cells in plan.cells:
            parameters = self.units.parameters(cells, self.hardware)
            population = sim.Population(cells.size * plan.n_agents, sim.cells.CalibHXNeuronCuba(**parameters))
            population.record("spikes")
            self.populations[cells.name] = population
        for k, source in enumerate(plan.sources):
            size = source.size * plan.n_agents
            if source.rate:
                kind = sim.cells.SpikeSourcePoissonOnChip(rate=source.rate * self.units.speed_up, seed=SEED + k)
            else:
                kind = sim.cells.SpikeSourceArray(spike_times=[])
            self.populations[source.name] = sim.Population(size, kind)
        self.projections = {}
        for link in plan.links:
            for agent in range(plan.n_agents):
                self._connect(link, agent, fixed.get(link.name))
        self._write_all()
        sim.run(None, sim.RunCommand.PREPARE)  # place, route, calibrate: now, and not within the first decision

    def _part(self, name: str, agent: int) -> Any:
        n = self.plan.size(name)
        return self.populations[name][agent * n : (agent + 1) * n]

    def _connect(self, link: Link, agent: int, numbers: IntArray | None) -> None:
        pre, post = self._part(link.pre, agent), self._part(link.post, agent)
        for kind, sign in (("excitatory", 1), ("inhibitory", -1)):
            if numbers is None:
                parts = range(self.units.parts[link.name])
                self.projections[link.name, agent, kind] = [self._project(pre, post, kind) for _ in parts]
                continue
            to, of = np.nonzero(np.sign(numbers) == sign)
            if len(to):
                rows = [(int(i), int(j), float(numbers[j, i]), 0.0) for i, j in zip(of, to, strict=True)]
                connector = self.sim.FromListConnector(rows, column_names=["weight", "delay"])
                self.projections[link.name, agent, kind] = [self._project(pre, post, kind, connector)]

    def _project(self, pre: Any, post: Any, kind: str, connector: Any = None) -> Any:
        sim = self.sim
        synapse = sim.standardmodels.synapses.StaticSynapse(weight=0, delay=0)
        return sim.Projection(pre, post, connector or sim.AllToAllConnector(), synapse, receptor_type=kind)

    def _own(self) -> None:
        """Build again if the package holds another network by now."""
        if type(self)._owner is not self:
            numbers = dict(self._numbers)
            self.open(self.plan)
            self._numbers = numbers
            self._write_all()

    # -- weights -------------------------------------------------------------------------------------------

    def write(self, link: str, agent: int, weights: FloatArray, changed: FloatArray | None = None) -> None:
        """Set weights as whole numbers; see `Simulator.write`. Those beyond the largest are clipped and counted."""
        self._own()
        one, limit = self._links[link], self.units.limit(link)
        wanted = self.units.whole(one, self._cells[one.post], weights)
        beyond = int(np.sum(np.abs(wanted) > limit))
        if beyond and link not in self._told:
            self._told.add(link)
            most = limit * self.units.unit / self.units.deflection(self._cells[one.post], one.scale)
            warnings.warn(
                f"simulator 'brainscales2': {beyond} weights of {link} are beyond {most:.3g}, the most that "
                f"{self.units.parts[link]} synapses of either sign give; the chip has that much, the host means more",
                ClippedWeightsWarning,
                stacklevel=2,
            )
        self.clipped += beyond
        numbers = np.clip(wanted, -limit, limit)
        before, self._numbers[link, agent] = self._numbers[link, agent], numbers
        self._set(link, agent, numbers, before)

    def _set(self, link: str, agent: int, numbers: IntArray, before: IntArray | None) -> None:
        for kind, limited in (("excitatory", np.maximum), ("inhibitory", np.minimum)):
            shares = self.units.shares(link, limited(numbers, 0))
            old = [None] * len(shares) if before is None else self.units.shares(link, limited(before, 0))
            for projection, share, was in zip(self.projections[link, agent, kind], shares, old, strict=True):
                if was is None or not np.array_equal(share, was):
                    projection.set(weight=share.T.astype(float))

    def _write_all(self) -> None:
        for (link, agent), numbers in self._numbers.items():
            self._set(link, agent, numbers, None)

    # -- running -------------------------------------------------------------------------------------------

    def run(self, trial: Trial) -> dict[str, Spikes]:
        """One decision is one hardware run; see `Simulator.run`."""
        return self.run_all([trial])[0]

    def run_all(self, trials: list[Trial]) -> list[dict[str, Spikes]]:
        """Run trials with the same weights as snippets of few hardware runs; see `Simulator.run_all`.

        Between two snippets the chip rests until its neurons have forgotten; its own noise goes on meanwhile.

        Raises:
            BackendError: More input spikes than the chip takes, or constant currents, which it does not have.
        """
        self._own()
        results = []
        for first in range(0, len(trials), SNIPPETS):
            results += self._execute(trials[first : first + SNIPPETS])
        return results

    def _execute(self, trials: list[Trial]) -> list[dict[str, Spikes]]:
        sim, duration = self.sim, float(self.units.time(self.plan.duration))
        longest = max(max(cells.tau_m, cells.tau_syn) + cells.t_ref for cells in self.plan.cells)
        period = duration + (float(self.units.time(10 * longest)) if len(trials) > 1 else 0.0)
        if self._fired:
            sim.reset()
        self._give(trials, duration, period)
        for _ in trials[1:]:
            sim.run(period, sim.RunCommand.APPEND)
        sim.run(period, sim.RunCommand.EXECUTE)
        self._fired = True
        self.runs += 1
        read = {cells.name: self._read(cells, len(trials), duration, period) for cells in self.plan.cells}
        return [{name: one[k] for name, one in read.items()} for k in range(len(trials))]

    def _give(self, trials: list[Trial], duration: float, period: float) -> None:
        """Set the spikes of the sources for a whole run, times counted from its start."""
        count = 0
        for source in self.plan.sources:
            if source.rate:
                continue
            given = [trial.spikes.get(source.name, Spikes.none()) for trial in trials]
            count += max(len(one.time) for one in given)
            index = np.concatenate([one.index for one in given])
            time = np.concatenate([self.units.time(one.time) + k * period for k, one in enumerate(given)])
            parts = Spikes(index, time).by_cell(source.size * self.plan.n_agents)
            self.populations[source.name].set(spike_times=parts)
        rate = self.hardware.inputs.rate
        if rate is not None and count > rate.number * duration * 1e-3:
            raise BackendError(
                f"simulator 'brainscales2': {count} input spikes in a trial of {duration * 1e3:g} µs; the chip takes "
                f"{rate.number:.3g} a second, all sources together: fewer agents, or lower input rates"
            )
        for trial in trials:
            for name, currents in trial.currents.items():
                if np.any(currents):
                    raise BackendError(f"simulator 'brainscales2': no constant currents on this chip ({name!r})")

    def _read(self, cells: Cells, n: int, duration: float, period: float) -> list[Spikes]:
        """Return the spikes of each trial in biological ms, and forget them."""
        data = self.populations[cells.name].get_data("spikes", clear=True).segments[-1]
        trains = data.spiketrains
        unit = float(trains[0].units.rescale("ms").magnitude) if len(trains) else 1.0  # once: it takes 1 ms a train
        found = [np.asarray(train.magnitude, dtype=np.float64) * unit for train in trains]
        owner = [int(train.annotations["source_index"]) for train in trains]
        index = np.repeat(np.asarray(owner, dtype=np.int64), [len(one) for one in found])
        time = np.concatenate(found) if found else np.empty(0)
        snippet = np.clip(np.floor(time / period + 1e-9).astype(np.int64), 0, n - 1)
        since = time - snippet * period
        inside = since <= duration
        return [
            Spikes(index[chosen], since[chosen] * self.units.speed_up)
            for chosen in (inside & (snippet == k) for k in range(n))
        ]

    def close(self) -> None:
        """End the experiment if it is still ours; see `Simulator.close`."""
        if type(self)._owner is self:
            type(self)._owner = None
            self.sim.end()


def plasticity_rule(
    sim: Any, kernel: str, *, start: float, period: float, count: int, observables: dict[str, Any] | None = None
) -> Any:
    """Wrap the C++ text of a kernel in a `PlasticityRule`, for `PlasticSynapse(plasticity_rule=…)`.

    Args:
        sim: The module ``pynn_brainscales.brainscales2``, set up.
        kernel: Text that defines ``PLASTICITY_RULE_KERNEL``.
        start: Hardware ms of its first call.
        period: Hardware ms between calls.
        count: Number of calls.
        observables: What it records, by name.
    """

    class FromText(sim.PlasticityRule):  # type: ignore[misc]
        """A rule whose kernel is a text."""

        def generate_kernel(self) -> str:
            return kernel

    timer = sim.Timer(start=start, period=period, num_periods=count)
    return FromText(timer, observables=observables)


SIMULATOR = Brainscales2Simulator
