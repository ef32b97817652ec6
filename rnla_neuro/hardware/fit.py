"""Does a network fit a platform? Pure functions from a network and a platform file to a report."""

from __future__ import annotations

from collections.abc import Sequence

from rnla_neuro.hardware.demand import PopulationDemand, demands
from rnla_neuro.hardware.fit_circuits import circuit_lines
from rnla_neuro.hardware.fit_signals import signal_lines
from rnla_neuro.hardware.fit_values import value_lines
from rnla_neuro.hardware.placement import Placement, place
from rnla_neuro.hardware.report import FitReport, Line, Verdict, marked, number
from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro.network import FloatArray, NetworkSpec


def fit(network: NetworkSpec, hardware: HardwareSpec, weights: Sequence[FloatArray] | None = None) -> FitReport:
    """Compare what a network asks with what a platform has.

    Args:
        network: The network.
        hardware: The platform.
        weights: Weights of all agents, one array (A, *`Projection.shape`) a projection; None: the initial ones.

    Returns:
        The report; it does not raise for what does not fit (`FitReport.refuse` does).
    """
    if weights is None:
        weights = network.initial_weights()
    populations = demands(network, hardware)
    placement = place(populations, hardware)
    lines = count_lines(populations, placement, hardware)
    lines += circuit_lines(network, hardware, weights)
    more, roundings = value_lines(network, hardware, weights)
    signals, further = signal_lines(network, hardware)
    return FitReport(
        hardware,
        network.model.name,
        network.sizes,
        tuple(lines + more + signals),
        tuple(roundings + further),
        populations,
        placement,
    )


def count_lines(
    populations: tuple[PopulationDemand, ...], placement: Placement | None, hardware: HardwareSpec
) -> list[Line]:
    """Return the lines of what is counted: circuits, merging, sources, synapses, rows, units.

    Args:
        populations: From `demands`.
        placement: From `place`.
        hardware: The platform.
    """
    neurons = hardware.neurons
    lines = [_circuits(populations, hardware)]
    largest = max(populations, key=lambda one: one.circuits)
    if neurons.merge_max is not None or largest.circuits > 1:
        high = number(neurons.merge_max)
        note = "none merge" if largest.circuits == 1 else _merging(largest, hardware)
        verdict = _at_most(largest.circuits, high)
        lines.append(
            Line(
                "merging", "circuits merged into a neuron", largest.circuits, None, high, "1", verdict, note,
                marked(neurons.merge_max),
            )
        )  # fmt: skip
    lines.append(_fan_in(populations, hardware))
    lines.append(_synapses(populations, hardware))
    if placement is None:
        return lines
    if placement.rows is not None:
        excitatory, inhibitory = placement.fullest
        note = f"in the fullest half: {excitatory} excitatory, {inhibitory} inhibitory"
        verdict = Verdict.FITS
        if placement.left_out:
            verdict, note = Verdict.EXCEEDS, f"no room for a neuron of {', '.join(placement.left_out)}"
        used, high = float(excitatory + inhibitory), float(placement.rows)
        lines.append(
            Line("rows", "synapse rows of one sign", used, None, high, "1", verdict, note, marked(neurons.fan_in))
        )
    units = number(neurons.units)
    unit = "chips" if hardware.kind == "analog" else "cores"
    note = "" if placement.units < 2 else f"populations are split over {unit}; their spikes cross from one to another"
    lines.append(
        Line(
            "units", unit, placement.units, None, units, "1", _at_most(placement.units, units), note,
            marked(neurons.units),
        )
    )  # fmt: skip
    return lines


def _at_most(used: float, high: float | None) -> Verdict:
    return Verdict.EXCEEDS if high is not None and used > high else Verdict.FITS


def _circuits(populations: tuple[PopulationDemand, ...], hardware: HardwareSpec) -> Line:
    neurons = hardware.neurons
    used = sum(one.size * one.circuits for one in populations)
    high = None if neurons.circuits is None else neurons.circuits.number * (number(neurons.units) or 1)
    note = ", ".join(f"{one.name} {one.size}" + f" × {one.circuits}" * (one.circuits > 1) for one in populations)
    verdict = _at_most(used, high)
    return Line(
        "circuits", "neuron circuits", used, None, high, "1", verdict, note, marked(neurons.circuits, neurons.units)
    )


def _merging(population: PopulationDemand, hardware: HardwareSpec) -> str:
    note = f"{population.name}: {population.synapses:,} synapses a neuron"
    circuits = hardware.neurons.circuits
    if circuits is None:
        return note
    return f"{note}; {int(circuits.number) // population.circuits} such neurons find room on a unit"


def _fan_in(populations: tuple[PopulationDemand, ...], hardware: HardwareSpec) -> Line:
    """Return the line of the neuron with most sources."""
    neurons = hardware.neurons
    largest = max(populations, key=lambda one: one.fan_in)
    figure = neurons.signed_fan_in or neurons.fan_in
    each = None if figure is None else figure.number
    if each is not None and neurons.signed_fan_in is None and hardware.synapses.sign == "row":
        each = each // 2  # synapses of both signs
    high = None if each is None or neurons.merge_max is None else each * neurons.merge_max.number
    parts = " + ".join(f"{one.count} {one.name}" for one in largest.sources)
    note = f"{largest.name}: {parts}"
    if each is not None:
        note += f"; {each:,.0f} a circuit"
    verdict = _at_most(largest.fan_in, high)
    return Line(
        "fan_in",
        "sources of a neuron",
        largest.fan_in,
        None,
        high,
        "1",
        verdict,
        note,
        marked(figure, neurons.merge_max),
    )


def _synapses(populations: tuple[PopulationDemand, ...], hardware: HardwareSpec) -> Line:
    total, units = hardware.synapses.total, hardware.neurons.units
    used = sum(one.size * one.synapses for one in populations)
    high = None if total is None else total.number * (number(units) or 1)
    note = "a signed weight takes an excitatory and an inhibitory one" if hardware.synapses.sign == "row" else ""
    return Line("synapses", "synapses", used, None, high, "1", _at_most(used, high), note, marked(total, units))
