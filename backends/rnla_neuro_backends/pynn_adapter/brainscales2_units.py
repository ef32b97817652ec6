"""From a plan's units (biological ms, mV, nA) to those of BrainScaleS-2: hardware ms and µs, LSB, whole numbers.

The synaptic input of all neurons has one strength: `i_synin_gm` and `synapse_dac_bias` are shared. So one number, the
deflection in LSB that a spike of weight 1 would hold up if its current stayed, turns currents into whole numbers, for
all links alike. It is chosen so that the step of the host's weights is 1 on the chip in the link where a unit of weight
does least, and reached by `i_synin_gm`. Where a unit of weight does more, it takes more than one synapse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from rnla_neuro.errors import BackendError
from rnla_neuro.hardware.spec import Figure, HardwareSpec
from rnla_neuro_backends.pynn_adapter.plan import Cells, FloatArray, IntArray, Link, Plan

DEFAULT_GM = 500.0
GM_RANGE = (30.0, 800.0)
DAC_BIAS = 600.0  # the default; the spikes' amplitude at the synapses
_NARROWEST = 20.0  # LSB between rest and threshold: below it, the grid of voltages is as coarse as the noise
_OF_A_BIAS = 2  # synapses of either sign: it brings exploration as well, which is large at times
_ROWS = 256  # synapses of a neuron circuit, where the platform file does not say


@dataclass(frozen=True)
class Units:
    """The translation.

    Attributes:
        speed_up: Biological over hardware time.
        rest: Resting potential, LSB.
        span: LSB from rest to threshold.
        step: Weight of the model for which 1 stands.
        unit: Deflection of a spike of weight 1 whose current stays, LSB.
        gm: `i_synin_gm` that gives it, excitatory and inhibitory.
        maximum: Largest whole number of one synapse.
        parts: Synapses of either sign for each weight of a link that changes, by its name.
    """

    speed_up: float
    rest: float
    span: float
    step: float
    unit: float
    gm: tuple[int, int]
    maximum: int
    parts: Mapping[str, int]

    def time(self, ms: FloatArray | float) -> FloatArray:
        """Turn biological ms into hardware ms."""
        return np.asarray(ms, dtype=float) / self.speed_up

    def deflection(self, cells: Cells, current: float) -> float:
        """Return the steady deflection of a current in nA, in LSB."""
        return current * cells.tau_m / cells.capacity * self.span / (cells.threshold - cells.rest)

    def whole(self, link: Link, post: Cells, weights: FloatArray) -> IntArray:
        """Turn weights of the model into whole numbers, without a limit.

        Args:
            link: Whose weights.
            post: The cells it ends at.
            weights: Model weights, any shape.
        """
        return np.rint(weights * self.deflection(post, link.scale) / self.unit).astype(np.int64)

    def limit(self, link: str) -> int:
        """Return the largest whole number of a link that changes."""
        return self.maximum * self.parts[link]

    def shares(self, link: str, numbers: IntArray) -> list[IntArray]:
        """Share whole numbers among the synapses of a link, as evenly as they go."""
        n = self.parts[link]
        return [np.sign(numbers) * ((np.abs(numbers) + k) // n) for k in range(n)]

    def parameters(self, cells: Cells, hardware: HardwareSpec) -> dict[str, float]:
        """Return the parameters of `CalibHXNeuronCuba` for cells, or refuse.

        Raises:
            BackendError: A time constant or voltage is not in the chip's range.
        """
        per_mv = self.span / (cells.threshold - cells.rest)
        reset = float(np.rint(self.rest + (cells.reset - cells.rest) * per_mv))
        threshold = float(np.rint(self.rest + self.span))
        membrane = hardware.membrane
        return times(cells, hardware) | {
            "v_rest": _within("rest", cells, self.rest, membrane.v_rest, 1.0, "LSB"),
            "v_reset": _within("reset", cells, reset, membrane.v_reset, 1.0, "LSB"),
            "v_thresh": _within("threshold", cells, threshold, membrane.v_threshold, 1.0, "LSB"),
            "i_synin_gm_E": float(self.gm[0]),
            "i_synin_gm_I": float(self.gm[1]),
            "synapse_dac_bias": DAC_BIAS,
        }


def times(cells: Cells, hardware: HardwareSpec) -> dict[str, float]:
    """Return the time constants of cells in hardware µs, or refuse.

    Raises:
        BackendError: One is not in the chip's range.
    """
    membrane, micro = hardware.membrane, 1e3 / hardware.speed_up
    tau_syn = _within("tau_syn", cells, cells.tau_syn * micro, membrane.tau_syn, 1e6, "µs")
    return {
        "tau_m": _within("tau_m", cells, cells.tau_m * micro, membrane.tau_m, 1e6, "µs"),
        "tau_syn_E": tau_syn,
        "tau_syn_I": tau_syn,
        "tau_refrac": _within("t_ref", cells, cells.t_ref * micro, membrane.tau_refrac, 1e6, "µs"),
    }


def _within(what: str, cells: Cells, value: float, figure: Figure | None, factor: float, unit: str) -> float:
    if figure is None or figure.low is None or figure.high is None:
        return value
    low, high = figure.low * factor, figure.high * factor
    if not low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
        raise BackendError(
            f"simulator 'brainscales2': {what} of {cells.name!r} would be {value:g} {unit} on the chip, which has "
            f"{low:g} to {high:g} (hardware time is 1000 times shorter): change it in the model file; "
            "rnla check --hardware brainscales2 says what else does not fit"
        )
    return value


def choose_units(plan: Plan, hardware: HardwareSpec, gain: tuple[float, float]) -> Units:
    """Choose the translation of a plan.

    Args:
        plan: The network.
        hardware: The platform.
        gain: LSB of a spike of weight 1 (excitatory, inhibitory) at the default `i_synin_gm`, as measured on the chip.

    Raises:
        BackendError: The chip's synaptic input cannot be made as strong, or as weak, as the weights' range asks.
    """
    membrane = hardware.membrane
    rest = 80.0 if membrane.v_rest is None else membrane.v_rest.number
    threshold = 125.0 if membrane.v_threshold is None else membrane.v_threshold.number
    highest = 220.0 if membrane.v_threshold is None or membrane.v_threshold.high is None else membrane.v_threshold.high
    whole = hardware.integer_range or (-63, 63)
    step = hardware.weight_step or 2.0 / whole[1]
    cells = {one.name: one for one in plan.cells}
    effect = {link.name: _effect(link, cells[link.post]) for link in plan.links}
    learned = [link.name for link in plan.links if link.fixed is None and plan.size(link.pre) > 1]  # not the biases
    finest = min((effect[name] for name in learned), default=1.0)
    weakest_gain, strongest_gain = min(gain), max(gain)
    span = threshold - rest
    per_span = finest * step  # LSB of one whole number, for each LSB of span
    largest_span = GM_RANGE[1] / DEFAULT_GM * weakest_gain / per_span
    smallest_span = GM_RANGE[0] / DEFAULT_GM * strongest_gain / per_span
    span = min(max(span, smallest_span), largest_span)
    if not _NARROWEST <= span <= highest - rest:
        raise BackendError(
            f"simulator 'brainscales2': a weight step of {step:.3g} asks for {span:.3g} LSB from rest to threshold, "
            f"with i_synin_gm from {GM_RANGE[0]:g} to {GM_RANGE[1]:g} and {weakest_gain:.3g} LSB measured for a spike "
            f"of weight 1; it may be {_NARROWEST:g} to {highest - rest:g}: change [weights.range] in the platform file"
        )
    unit = per_span * span
    gm = tuple(round(DEFAULT_GM * unit / one) for one in gain)
    parts = {link.name: _OF_A_BIAS for link in plan.links if link.fixed is None}
    parts |= {name: math.ceil(effect[name] / finest - 1e-6) for name in learned}
    chosen = Units(hardware.speed_up, rest, span, step, unit, (gm[0], gm[1]), whole[1], parts)
    return replace(chosen, parts=_fitted(plan, hardware, chosen))


def _effect(link: Link, post: Cells) -> float:
    """Deflection of a unit of model weight, as a fraction of threshold minus rest."""
    return link.scale * post.tau_m / post.capacity / (post.threshold - post.rest)


def check_neurons(plan: Plan, hardware: HardwareSpec) -> None:
    """Refuse more neurons than a chip has circuits.

    Raises:
        BackendError: With the numbers, and what to change.
    """
    neurons = hardware.neurons
    circuits = 512 if neurons.circuits is None else int(neurons.circuits.number)
    each = sum(cells.size for cells in plan.cells)
    if each * plan.n_agents > circuits:
        way = f"no more than {circuits // each} agents" if each <= circuits else "fewer neurons"
        raise BackendError(
            f"simulator 'brainscales2': {each * plan.n_agents} neurons, a chip has {circuits} circuits: {way}"
        )


def _fitted(plan: Plan, hardware: HardwareSpec, units: Units) -> dict[str, int]:
    """Return how many synapses each weight takes where the rows of a circuit are not enough for all that is wanted.

    Raises:
        BackendError: Not even one of either sign finds room.
    """
    fan_in = hardware.neurons.fan_in
    rows = _ROWS if fan_in is None else int(fan_in.number)
    parts = dict(units.parts)
    for cells in plan.cells:
        into = [link for link in plan.links if link.post == cells.name]
        fixed = np.zeros(cells.size, dtype=np.int64)
        for link in into:
            if link.fixed is not None:
                numbers = np.abs(units.whole(link, cells, link.fixed))
                fixed += np.ceil(numbers / units.maximum).astype(np.int64).sum(axis=1)
        changing = [link.name for link in into if link.fixed is None]
        sources = {link.name: plan.size(link.pre) for link in into}
        while (needed := int(fixed.max()) + 2 * sum(parts[name] * sources[name] for name in changing)) > rows:
            most = max(changing, key=lambda name: (parts[name] > 1, parts[name] * sources[name]), default="")
            if not most or parts[most] == 1:
                raise BackendError(
                    f"simulator 'brainscales2': a neuron of {cells.name!r} needs {needed} synapses, two for each "
                    f"signed weight, and a circuit has {rows}; circuits merge only into multi-compartment cells, "
                    "which are not calibrated: way out: fewer sources (see rnla check --hardware brainscales2)"
                )
            parts[most] -= 1
    return parts
