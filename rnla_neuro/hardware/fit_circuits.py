"""Which neurons a platform has: kinds of neuron, their noise, competition, feedback and bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

import numpy as np

from rnla_neuro.hardware.cells import Cell, baseline, read_cells
from rnla_neuro.hardware.demand import competes, only_learning_reads
from rnla_neuro.hardware.report import Line, Verdict, marked, quantity
from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro.network import FloatArray, NetworkSpec
from rnla_neuro.spec.populations import Projection

TWIN: Final = "spiking_lif_nla"
"""The model whose neurons are leaky integrate-and-fire in every layer."""

_NEURONS: Final = {"analog": "lif", "digital": "lif", "ideal": "any"}


def neuron_model(hardware: HardwareSpec) -> str:
    """Return which neurons a platform has: ``lif``, ``programmable`` or ``any``."""
    return hardware.neurons.model or _NEURONS[hardware.kind]


def circuit_lines(network: NetworkSpec, hardware: HardwareSpec, weights: Sequence[FloatArray]) -> list[Line]:
    """Return the lines of neurons, noise, exploration, competition, feedback and bias."""
    cells = {name: cell for name, cell in read_cells(network.model).items() if name != "input"}
    lines = [_neurons(network, cells, hardware)]
    if any(cell.chance for cell in cells.values()):
        note = "Poisson background spikes, one generator a neuron, stand for spikes by chance"
        lines.append(_said("noise", "escape noise", Verdict.FITS, note))
    if network.model.exploration.law != "none":
        note = f"{network.model.exploration.law}: drawn by the host, new to the action neurons in each trial"
        lines.append(_said("exploration", "exploration", Verdict.HOST, note))
    n = network.sizes[-1]
    if competes(network):
        note = f"{n * (n - 1)} inhibitory synapses among the {n} action neurons, of fixed weight"
        lines.append(_said("inhibition", "winner-take-all", Verdict.FITS, note))
    lines += _feedback(network, hardware)
    lines += _bias(network, hardware, weights)
    return lines


def _said(key: str, what: str, verdict: Verdict, note: str) -> Line:
    return Line(key, what, None, None, None, "1", verdict, note)


def _neurons(network: NetworkSpec, cells: Mapping[str, Cell], hardware: HardwareSpec) -> Line:
    """Say whether the platform has such neurons."""
    key, what, kind = "neuron", "kind of neuron", neuron_model(hardware)
    if kind == "any":
        return _said(key, what, Verdict.FITS, "any")
    silent = [cell.name for cell in cells.values() if not cell.spikes]
    if silent:
        note = f"rates ({', '.join(silent)}): a platform of spiking neurons runs them only emulated"
        return _said(key, what, Verdict.EMULATED, f"{note}; {TWIN} is the twin that spikes")
    if kind == "programmable":
        return _said(key, what, Verdict.FITS, "programmed from the strings")
    for cell in cells.values():
        if not cell.is_lif:
            why = "spikes by chance alone" if cell.state is None else f"adds up {cell.state} without leak"
            note = f"{cell.name} {why}, and the platform's neurons are leaky integrate-and-fire"
            return _said(key, what, Verdict.EMULATED, f"{note}: take {TWIN}")
    curved = [cell.name for cell in cells.values() if not cell.linear]
    if curved:
        note = f"leaky integrate-and-fire; the current into {', '.join(curved)} is a curve of the summed input, "
        return _said(key, what, Verdict.ROUNDED, note + "for which the circuit's own f-I curve stands")
    return _said(key, what, Verdict.FITS, "leaky integrate-and-fire")


def _feedback(network: NetworkSpec, hardware: HardwareSpec) -> list[Line]:
    """Say what carries the errors down."""
    chain = [one for one in network.projections if one.feedback]
    if not chain:
        return []
    last = max(chain, key=lambda one: one.post)
    verdict = Verdict.FITS
    note = f"spikes of the action layer reach the last hidden layer by {last.n_pre * last.n_post:,} signed weights"
    if only_learning_reads(network):
        verdict, note = Verdict.HOST, _kept_by_the_host(last, hardware)
    lines = [_said("feedback", "feedback of errors", verdict, note)]
    if len(chain) > 1:
        note = "errors of hidden layers are no spikes: the host passes them down further"
        lines.append(_said("deep_feedback", "errors of lower layers", Verdict.HOST, note))
    return lines


def _kept_by_the_host(last: Projection, hardware: HardwareSpec) -> str:
    """Say what the feedback would take on the platform."""
    each = 2 if hardware.synapses.sign == "row" else 1
    note = "only learning reads it: the host computes it from the spikes; on the platform it would take "
    note += f"{last.n_post:,} more sources and {each * last.n_post:,} more synapses a neuron of the last hidden layer, "
    note += f"{each * last.n_pre * last.n_post:,} synapses in all"
    rows = hardware.kind == "analog" and hardware.neurons.fan_in is not None
    return note + (f", and up to {each * last.n_post:,} more rows of a half" if rows else "")


def _bias(network: NetworkSpec, hardware: HardwareSpec, weights: Sequence[FloatArray]) -> list[Line]:
    """Say what carries the bias, and the baseline that centred rates subtract."""
    shifted = 0.0
    for projection, w in zip(network.projections, weights, strict=True):
        if projection.bias:
            offset = baseline(network.model, network.populations[projection.pre].spec)
            constant = w[:, :, -1] + offset * w[:, :, :-1].sum(axis=2)
            shifted = max(shifted, float(np.abs(constant).max()))
    if not any(projection.bias for projection in network.projections):
        return []
    limit = hardware.weights.range
    if hardware.synapses.sign != "row" or limit is None:
        return [Line("bias", "bias", shifted, None, None, "1", Verdict.FITS, "a constant current of the neuron")]
    synapses = max(1, ceil(shifted / limit.number))
    note = "a source that always fires, or the leak potential; it holds the baselines that are subtracted from spikes"
    if synapses > 1:
        note += f"; {synapses} synapses of the largest weight ({quantity(limit.number, '1')})"
    return [Line("bias", "bias", shifted, None, None, "1", Verdict.FITS, note, marked(limit))]
