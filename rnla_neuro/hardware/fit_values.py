"""Values that a platform rounds: weights, time constants, thresholds, the readout; and its fixed-pattern mismatch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import expm1, log1p
from typing import Final

import numpy as np

from rnla_neuro.hardware.cells import Cell, read_cells
from rnla_neuro.hardware.fit_circuits import neuron_model
from rnla_neuro.hardware.report import Line, Rounding, Verdict, marked, quantity
from rnla_neuro.hardware.spec import Figure, HardwareSpec
from rnla_neuro.network import FloatArray, NetworkSpec

CLIPPED: Final = 0.01
"""Fraction of the weights that may lie beyond the range before a network counts as one that does not fit."""

_QUANTISED: Final = 12**-0.5  # standard deviation of a rounding error, in steps


def value_lines(
    network: NetworkSpec, hardware: HardwareSpec, weights: Sequence[FloatArray]
) -> tuple[list[Line], list[Rounding]]:
    """Return the lines and roundings of weights, time constants, thresholds, readout and mismatch."""
    cells = read_cells(network.model)
    own = {name: cell for name, cell in cells.items() if name != "input"}
    lines, roundings = _weights(network, hardware, weights)
    for found in (_times(network, cells, hardware), _threshold(own, hardware), _readout(network, own, hardware)):
        lines += found[0]
        roundings += found[1]
    return lines, roundings + list(_mismatch(hardware))


def _weights(
    network: NetworkSpec, hardware: HardwareSpec, weights: Sequence[FloatArray]
) -> tuple[list[Line], list[Rounding]]:
    figures, limits, step = hardware.weights, hardware.integer_range, hardware.weight_step
    if limits is None or figures.range is None or step == 0.0:
        return [], []
    unverified = marked(figures.range, figures.maximum, figures.bits)
    integers = [np.abs(np.asarray(w, dtype=np.float64)) / step for w in weights]
    beyond = sum(int((one > limits[1] + 0.5).sum()) for one in integers)
    largest, count = max(float(one.max()) for one in integers) * step, sum(one.size for one in integers)
    note, verdict = f"±{limits[1]} steps of {quantity(step, '1')}", Verdict.FITS
    if beyond:
        verdict = Verdict.ROUNDED if beyond <= CLIPPED * count else Verdict.EXCEEDS
        note += f"; {beyond:,} of {count:,} weights ({beyond / count:.2g}) lie beyond and are clipped"
        if figures.several is not None and figures.several.number:
            more = sum(int((np.ceil(one / limits[1]) - 1).clip(min=0).sum()) for one in integers)
            note += f", or take {more:,} synapses more"
    lines = [
        Line("weight_range", "largest weight", largest, None, figures.range.number, "1", verdict, note, unverified)
    ]
    roundings = []
    finest = (np.inf, "")
    for projection, w in zip(network.projections, weights, strict=True):
        name = f"{network.populations[projection.pre].name} to {network.populations[projection.post].name}"
        own = np.asarray(w[:, :, : projection.n_pre], dtype=np.float64)
        rms = float(np.sqrt((own**2).mean()))
        if rms == 0.0:
            continue
        finest = min(finest, (rms, name))
        kept = np.clip(np.rint(own / step), *limits) * step
        change = kept - own
        size = float(np.sqrt((change**2).mean()))
        zero = float((kept == 0).mean())
        note = f"{zero:.0%} become 0" if zero > 0.01 else ""
        worst = float(np.abs(change).max())
        roundings.append(Rounding(f"weights {name}", f"weights {name}", worst, size, size / rms, "1", note, unverified))
    if roundings:
        note = f"{finest[1]} has the smallest weights (root mean square beside the step)"
        lines.append(Line("weight_step", "weight step", finest[0], step, None, "1", Verdict.ROUNDED, note, unverified))
    return lines, roundings


def _times(
    network: NetworkSpec, cells: Mapping[str, Cell], hardware: HardwareSpec
) -> tuple[list[Line], list[Rounding]]:
    """Return the time constants of membranes and synapses and the refractory time, in seconds of the model."""
    membrane, role = hardware.membrane, network.model.roles["voltage"]
    asked: dict[str, dict[float, list[str]]] = {"tau_m": {}, "tau_syn": {}, "tau_refrac": {}}
    for name, cell in cells.items():
        if name != "input":
            tau = cell.tau if cell.is_lif else None if cell.spikes else cell.voltages.get(role)
            if tau is not None:
                asked["tau_m"].setdefault(tau, []).append(name)
            if cell.spikes:
                asked["tau_refrac"].setdefault(cell.refractory, []).append(name)
        for tau in cell.filters.values():
            asked["tau_syn"].setdefault(tau, []).append(name)
    words = {"tau_m": "membrane time constant", "tau_syn": "synaptic time constant", "tau_refrac": "refractory time"}
    lines, roundings = [], []
    for key, found in asked.items():
        figure: Figure | None = getattr(membrane, key)
        for tau, where in found.items():
            if figure is not None:
                line, rounding = _time(key, words[key], tau, where, figure, network, hardware)
                lines.append(line)
                roundings += rounding
            if key != "tau_refrac":
                roundings += _decay(key, words[key], tau, where, hardware)
            else:
                roundings += _whole_steps(words[key], tau, hardware)
    return lines, roundings + _one_synapse(asked["tau_syn"], hardware)


def _one_synapse(asked: dict[float, list[str]], hardware: HardwareSpec) -> list[Rounding]:
    """Return the rounding of several synaptic time constants to one: such a cell has one for all that reach it."""
    if len(asked) < 2 or neuron_model(hardware) != "lif":
        return []
    kept = max(asked, key=lambda tau: len(asked[tau]))
    worst = max(asked, key=lambda tau: abs(tau - kept))
    note = f"a neuron has one for all its inputs: {quantity(worst, 's')} ({', '.join(asked[worst])}) becomes "
    change = abs(worst - kept)
    what = "synaptic time constants"
    return [Rounding("tau_syn_one", what, change, None, change / worst, "s", note + quantity(kept, "s"))]


def _time(
    key: str, what: str, tau: float, where: list[str], figure: Figure, network: NetworkSpec, hardware: HardwareSpec
) -> tuple[Line, list[Rounding]]:
    """Compare a time with its range after the speed-up."""
    fast = hardware.speed_up
    low = None if figure.low is None else figure.low * fast
    high = None if figure.high is None else figure.high * fast
    note, verdict, roundings = ", ".join(where), Verdict.FITS, []
    if fast != 1.0:
        note += f": {quantity(tau / fast, 's')} on the platform"
    nearest = min(max(tau, low or 0.0), np.inf if high is None else high)
    if not np.isclose(nearest, tau, rtol=1e-9, atol=0.0):
        # a refractory time below a step of the model changes nothing that the model can show
        slight = key == "tau_refrac" and nearest <= network.model.trial.dt
        verdict = Verdict.ROUNDED if slight else Verdict.EXCEEDS
        if slight:
            change = float(nearest - tau)
            relative = change / tau if tau else None
            roundings.append(
                Rounding(key, f"{what} ({', '.join(where)})", change, None, relative, "s", "clipped", figure.unverified)
            )
    return Line(key, what, tau, low, high, "s", verdict, note, figure.unverified), roundings


def _decay(key: str, what: str, tau: float, where: list[str], hardware: HardwareSpec) -> list[Rounding]:
    """Return the rounding of a time constant to a decay factor of some bits a step."""
    bits, dt = hardware.membrane.decay_bits, hardware.time.dt
    if bits is None or dt is None:
        return []
    step, scale = dt.number * hardware.speed_up, 2.0**bits.number
    decay = min(max(round(-scale * expm1(-step / tau)), 1), scale - 1)
    kept = -step / log1p(-decay / scale)
    name = f"{what} ({', '.join(where)})"
    note = f"a decay of {decay:.0f}/{scale:.0f} a step"
    change = abs(kept - tau)
    return [Rounding(f"{key}_decay", name, change, None, change / tau, "s", note, marked(bits, dt))]


def _whole_steps(what: str, time: float, hardware: HardwareSpec) -> list[Rounding]:
    """Return the rounding of a time to whole steps of a digital platform."""
    dt = hardware.time.dt
    if dt is None or time == 0.0:
        return []
    step = dt.number * hardware.speed_up
    change = abs(round(time / step) * step - time)
    if change <= 1e-9 * time:
        return []
    return [Rounding("tau_refrac_step", what, change, None, change / time, "s", "whole steps", marked(dt))]


def _per_unit(hardware: HardwareSpec) -> float | None:
    """Return how many steps of the readout make 1 in the model's voltage; None: it is not known."""
    readout = hardware.readout
    if readout.low is None or readout.high is None or readout.span is None:
        return None
    return (readout.high.number - readout.low.number) / readout.span.number


def _threshold(cells: Mapping[str, Cell], hardware: HardwareSpec) -> tuple[list[Line], list[Rounding]]:
    """Compare threshold less reset with the ranges of both."""
    top, bottom, scale = hardware.membrane.v_threshold, hardware.membrane.v_reset, _per_unit(hardware)
    spans = {
        cell.threshold - cell.reset: cell.state
        for cell in cells.values()
        if cell.is_lif and cell.threshold is not None and cell.reset is not None
    }
    if top is None or bottom is None or scale is None or top.high is None or bottom.low is None or not spans:
        return [], []
    span = max(spans)
    used, high = span * scale, top.high - bottom.low
    verdict = Verdict.EXCEEDS if used > high else Verdict.ROUNDED
    unverified = marked(top, bottom, hardware.readout.low, hardware.readout.high, hardware.readout.span)
    note = f"{spans[span]} from reset to threshold: {quantity(span, '1')}, at {scale:.4g} LSB for 1"
    size, rms = 0.5 / scale, _QUANTISED / scale
    return [Line("threshold", "threshold above reset", used, None, high, "LSB", verdict, note, unverified)], [
        Rounding("threshold", "threshold, reset", size, rms, rms / span, "1", "whole LSB", unverified)
    ]


def _readout(
    network: NetworkSpec, cells: Mapping[str, Cell], hardware: HardwareSpec
) -> tuple[list[Line], list[Rounding]]:
    """Say how voltages are read."""
    readout, scale = hardware.readout, _per_unit(hardware)
    lines: list[Line] = []
    if readout.channels is not None:
        used = sum(one.size for one in network.populations if one.kind != "input")
        high = readout.channels.number * (1 if hardware.neurons.units is None else hardware.neurons.units.number)
        verdict = Verdict.FITS if used <= high else Verdict.EXCEEDS
        bits = "" if readout.bits is None else f", {readout.bits.number:.0f} bit"
        note = f"a channel a neuron{bits}"
        unverified = marked(readout.channels, readout.bits, hardware.neurons.units)
        lines.append(Line("readout", "voltages read", used, None, high, "1", verdict, note, unverified))
    if scale is None or readout.span is None:
        return lines, []
    whole = next(
        (c.threshold - c.reset for c in cells.values() if c.threshold is not None and c.reset is not None), 1.0
    )
    size, rms = 0.5 / scale, _QUANTISED / scale
    note = f"LSB {quantity(1 / scale, '1')}; voltages beyond ±{quantity(readout.span.number / 2, '1')} saturate"
    unverified = marked(readout.low, readout.high, readout.span)
    return lines, [Rounding("readout", "voltages read", size, rms, rms / whole, "1", note, unverified)]


def _mismatch(hardware: HardwareSpec) -> Iterator[Rounding]:
    """Return the fixed-pattern mismatch that calibration leaves."""
    words = {
        "tau_m": "membrane time constants",
        "tau_syn": "synaptic time constants",
        "threshold": "thresholds",
        "reset": "reset potentials",
        "leak": "resting potentials",
        "weight": "weights of synapses",
    }
    for key, what in words.items():
        spread: Figure | None = getattr(hardware.mismatch, key)
        left: Figure | None = getattr(hardware.calibration, key)
        if spread is None or spread.number == 0.0:
            continue
        rest = spread.number * (1.0 if left is None else left.number)
        note = f"mismatch: {spread.number:.0%} before calibration"
        yield Rounding(f"mismatch_{key}", what, None, rest, rest, "1", note, marked(spread, left))
