"""A recorded trial as a plot: spikes of all layers above voltages, on one time axis."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from rnla_neuro.analysis.comparison import Trial
from rnla_neuro.analysis.report.blocks import Plot
from rnla_neuro.analysis.report.drawing import colour

_MOST_SPIKES: Final = 6000  # more ticks cannot be told apart, and make the page heavy
_AXIS: Final = {"showgrid": False, "zeroline": False}


def layer_names(sizes: tuple[int, ...]) -> list[str]:
    """Return what the layers are called, inputs first."""
    hidden = len(sizes) - 2
    return ["input", *(f"hidden {n}" if hidden > 1 else "hidden" for n in range(1, hidden + 1)), "action"][: len(sizes)]


def trial_plot(trial: Trial, number: int, voltage_range: tuple[float, float] | None) -> Plot:
    """Return the plot of a trial.

    Args:
        trial: What was recorded.
        number: Of the model's colour.
        voltage_range: The same for trials that are to be compared.
    """
    panels = _panels(trial)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "Time (ms)"}, "range": _time_range(trial), "anchor": "y"},
        "margin": {"l": 64, "r": 10, "t": 10, "b": 44},
        "showlegend": False,
    }
    data: list[dict[str, Any]] = []
    bottom = 0.0
    # from below: what was added last stands on top
    for place, (kind, share) in enumerate(reversed(panels)):
        axis = "y" if place == 0 else f"y{place + 1}"
        traces, about = _spikes(trial, number) if kind == "spikes" else _voltages(trial, kind, number, voltage_range)
        data += [{**trace, "yaxis": axis} for trace in traces]
        layout["yaxis" + axis[1:]] = {**about, "domain": [round(bottom, 4), round(bottom + share - 0.04, 4)]}
        bottom += share
    return Plot(tuple(data), layout)


def voltage_range(*trials: Trial) -> tuple[float, float] | None:
    """Return a range that holds the voltages of all trials; None where none were recorded."""
    known = [v for trial in trials for series in trial.voltage.values for v in series if v is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    edge = 0.05 * (high - low) or 1.0
    return low - edge, high + edge


def _panels(trial: Trial) -> list[tuple[str, float]]:
    """Return what stands from top to bottom, and its share of the height."""
    kinds = {name.split()[0] for name in trial.voltage.names}
    voltages = [kind for kind in ("hidden", "action") if kind in kinds]
    if not trial.spikes:
        return [(kind, 1.04 / len(voltages)) for kind in voltages]
    if not voltages:
        return [("spikes", 1.04)]
    return [("spikes", 0.54), *((kind, 0.5 / len(voltages)) for kind in voltages)]


def _time_range(trial: Trial) -> list[float]:
    """Return the time axis."""
    ends = [*trial.time[:1], *trial.time[-1:], *(t for t, _ in trial.spikes)]
    return [min(ends), max(ends)] if ends else [0.0, 1.0]


def _spikes(trial: Trial, number: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a trace a layer, a tick a spike, and the axis; a layer's height grows with the root of its size."""
    heights = [math.sqrt(max(size, 1)) for size in trial.layers]
    if not any(neuron < trial.layers[0] for _, neuron in trial.spikes):
        heights[0] = 0.0  # analog inputs: an empty band would say nothing
    names = layer_names(trial.layers)
    first = np.concatenate([[0], np.cumsum(trial.layers)])
    top = np.concatenate([[0.0], np.cumsum(heights)])
    every = max(1, -(-len(trial.spikes) // _MOST_SPIKES))
    traces = []
    for layer, (name, size) in enumerate(zip(names, trial.layers, strict=True)):
        if not heights[layer]:
            continue
        mine = [(t, n - int(first[layer])) for t, n in trial.spikes if first[layer] <= n < first[layer + 1]]
        step = heights[layer] / max(size, 1)
        tick = max(0.8 * step, 0.012 * float(top[-1]))
        x: list[float | None] = []
        y: list[float | None] = []
        words: list[str | None] = []
        for t, n in mine[::every]:
            middle = float(top[layer]) + (n + 0.5) * step
            x += [t, t, None]
            y += [middle - tick / 2, middle + tick / 2, None]
            words += [f"{name} {n}, {t:g} ms"] * 2 + [None]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": y,
                "text": words,
                "name": f"spikes, {name}",
                "hovertemplate": "%{text}<extra></extra>",
                "line": {"width": 1.4, "color": "@ink" if name != "action" else colour(number)},
            }
        )
    drawn = [layer for layer in range(len(names)) if heights[layer]]
    axis = {
        **_AXIS,
        "tickvals": [float(top[layer] + heights[layer] / 2) for layer in drawn],
        "ticktext": [names[layer] for layer in drawn],
        "ticks": "",
        "range": [float(top[-1]), 0.0],  # inputs on top
    }
    return traces, axis


def _voltages(
    trial: Trial, kind: str, number: int, voltage_range: tuple[float, float] | None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a line a neuron of hidden or action; the highest action at the end stands out."""
    chosen = [
        (name, series)
        for name, series in zip(trial.voltage.names, trial.voltage.values, strict=True)
        if name.split()[0] == kind
    ]
    ends = [series[-1] if series and series[-1] is not None else -math.inf for _, series in chosen]
    winner = ends.index(max(ends)) if kind == "action" and ends else -1
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": list(trial.time),
            "y": list(series),
            "name": name,
            "hovertemplate": f"{name}: %{{y:.3f}} at %{{x:g}} ms<extra></extra>",
            "line": {
                "width": 2.6 if place == winner else 1.2,
                "color": colour(number) if place == winner else "@muted/0.75",
            },
        }
        for place, (name, series) in enumerate(chosen)
    ]
    axis: dict[str, Any] = {"title": {"text": f"u, {kind}"}, "nticks": 6}
    if voltage_range is not None:
        axis["range"] = list(voltage_range)
    return traces, axis
