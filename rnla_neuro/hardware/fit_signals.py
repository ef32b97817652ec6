"""What passes between host and platform: input spikes, delays, steps of time, traces, updates of the weights."""

from __future__ import annotations

import re
from math import prod
from typing import Final

from rnla_neuro.hardware.cells import input_rate, trace_time
from rnla_neuro.hardware.report import Line, Rounding, Verdict, marked, quantity
from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro.network import NetworkSpec

_QUANTISED: Final = 12**-0.5


def signal_lines(network: NetworkSpec, hardware: HardwareSpec) -> tuple[list[Line], list[Rounding]]:
    """Return the lines and roundings of input, delays, time steps, eligibility traces and updates."""
    delays, late = _delays(network, hardware)
    steps, coarse = _steps(network, hardware)
    lines = [*_input(network, hardware), *delays, *steps, *_trace(network, hardware), *_updates(network, hardware)]
    return lines, late + coarse


def _input(network: NetworkSpec, hardware: HardwareSpec) -> list[Line]:
    """Say whether the input reaches the platform."""
    inputs, n, rate = hardware.inputs, network.sizes[0], input_rate(network.model)
    if not rate.peak:
        if inputs.currents is None or inputs.currents.number:
            return [_said("input", "input", Verdict.FITS, f"{n} analog values, as currents")]
        note = "analog input needs current sources: take --input poisson or --input regular"
        return [Line("input", "input", None, None, None, "1", Verdict.EMULATED, note, inputs.currents.unverified)]
    fast = hardware.speed_up
    peak, middle = n * rate.peak * fast, n * rate.middle * fast
    high = None if inputs.rate is None else inputs.rate.number
    verdict = Verdict.FITS
    note = f"{n} inputs of {quantity(rate.peak, 'Hz')} at most, {quantity(rate.middle, 'Hz')} for an input of 0"
    if fast != 1.0:
        note += f", {fast:g} times faster"
    if not rate.exact:
        note += " (a bound: the strings do not say the rate)"
    if high is not None and peak > high:
        verdict = Verdict.EXCEEDS if middle > high else Verdict.ROUNDED
        note += "; spikes beyond the limit are lost"
    return [Line("input", "input spikes", peak, None, high, "Hz", verdict, note, marked(inputs.rate))]


def _said(key: str, what: str, verdict: Verdict, note: str) -> Line:
    return Line(key, what, None, None, None, "1", verdict, note)


def _delays(network: NetworkSpec, hardware: HardwareSpec) -> tuple[list[Line], list[Rounding]]:
    """Compare the model's synapses, which have no delay, with the platform's."""
    delays, fast, dt = hardware.delays, hardware.speed_up, network.model.trial.dt
    if delays.minimum is None and delays.maximum is None:
        return [], []
    least = 0.0 if delays.minimum is None else delays.minimum.number * fast
    most = None if delays.maximum is None else delays.maximum.number * fast
    unverified = marked(delays.minimum, delays.maximum)
    fixed = delays.step is not None and delays.step.number == 0
    late = most if fixed and most is not None else least
    if late <= dt * (1 + 1e-9):
        note = "the model has none" + (", and none is possible" if most == 0 else "")
        return [Line("delays", "synaptic delays", 0.0, least, most, "s", Verdict.FITS, note, unverified)], []
    note = "the model has none" + ("; those of the platform cannot be set" if fixed else "")
    line = Line("delays", "synaptic delays", 0.0, least, most, "s", Verdict.ROUNDED, note, unverified)
    trial = network.model.trial.duration
    note = f"over a trial of {quantity(trial, 's')}"
    return [line], [Rounding("delays", "synaptic delays", late, None, late / trial, "s", note, unverified)]


def _steps(network: NetworkSpec, hardware: HardwareSpec) -> tuple[list[Line], list[Rounding]]:
    """Compare the time step of a digital platform with the model's."""
    figure, dt = hardware.time.dt, network.model.trial.dt
    if figure is None:
        return [], []
    step = figure.number * hardware.speed_up
    same = abs(step - dt) <= 1e-9 * dt
    verdict = Verdict.FITS if same or step < dt else Verdict.ROUNDED
    note = "the model's step beside the platform's"
    line = Line("dt", "time step", dt, step, None, "s", verdict, note, figure.unverified)
    if verdict == Verdict.FITS:
        return [line], []
    rms = step * _QUANTISED
    note = f"whole steps of {quantity(step, 's')}; a neuron spikes at most once in each"
    return [line], [Rounding("dt", "times of spikes", step / 2, rms, step / dt, "s", note, figure.unverified)]


def _trace(network: NetworkSpec, hardware: HardwareSpec) -> list[Line]:
    """Say who keeps the eligibility trace."""
    tau = trace_time(network.model)
    if tau is None or hardware.kind == "ideal":
        return []
    sensor, fast = hardware.plasticity.correlation_tau, hardware.speed_up
    who = _keeper(network, hardware)
    if sensor is None:
        note = f"no correlation sensors: {who} keeps the trace"
        return [Line("trace", "eligibility trace", tau, None, None, "s", Verdict.HOST, note)]
    low = None if sensor.low is None else sensor.low * fast
    high = None if sensor.high is None else sensor.high * fast
    verdict, note = Verdict.FITS, "within the correlation sensors"
    if (high is not None and tau > high) or (low is not None and tau < low):
        way = "longer" if high is not None and tau > high else "shorter"
        verdict, note = Verdict.HOST, f"{way} than the correlation sensors: {who} keeps the trace"
    return [Line("trace", "eligibility trace", tau, low, high, "s", verdict, note, sensor.unverified)]


def _keeper(network: NetworkSpec, hardware: HardwareSpec) -> str:
    """Say who can keep an eligibility trace of 8 bit a weight."""
    processors, memory = hardware.plasticity.processors, hardware.plasticity.memory
    if processors is None or not processors.number:
        return "the host"
    if memory is None:
        return "the host or the plasticity processor"
    used = sum(prod(one.shape) for one in network.projections)
    room = int(processors.number * memory.number)
    if used > room:
        return f"the host (8 bit a weight are {used:,} bytes, and the plasticity processors have {room:,})"
    return f"the host, or the plasticity processors ({used:,} of their {room:,} bytes at 8 bit),"


def _updates(network: NetworkSpec, hardware: HardwareSpec) -> list[Line]:
    """Say when weights change."""
    if hardware.plasticity.updates != "between runs":
        return []
    trial, model, fast = network.model.trial.duration, network.model, hardware.speed_up
    note = f"between runs; a decision of {quantity(trial, 's')} takes {quantity(trial / fast, 's')} on the platform"
    weight = model.roles["weight"]
    synapses = (model.synapse_hidden, model.synapse_action, *model.projections.values())
    flows = any(re.search(rf"^\s*d{weight}\s*/\s*dt", one.equations, re.MULTILINE) for one in synapses)
    if flows:
        note = "weights that change at every step change between runs only; " + note
    return [_said("updates", "changes of weights", Verdict.ROUNDED if flows else Verdict.HOST, note)]
