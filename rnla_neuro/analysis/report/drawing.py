"""Plots of a comparison, as plotly's data: curves with bands, dots with intervals, matrices, recorded trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

import numpy as np

from rnla_neuro.analysis.report.blocks import Plot, Tags
from rnla_neuro.analysis.report.formatting import interval, quantity

SYMBOLS: Final = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x", "hourglass")
N_COLOURS: Final = 8
_MOST_ENTRIES: Final = 128  # rows and columns of a drawn matrix
Trace = dict[str, Any]


def plain(text: str) -> str:
    """Escape a text for plotly, which reads ``<b>`` as bold and ``%{x}`` as a coordinate."""
    return escape(text).replace("%{", "%&#123;")


def colour(number: int, opacity: float | None = None) -> str:
    """Return the page's colour of a series."""
    return f"@series-{number % N_COLOURS}" + ("" if opacity is None else f"/{opacity}")


def legend_entry(name: str, number: int, tags: Tags, *, line: bool = False) -> Trace:
    """Return a trace without points that stands in the legend, so that no filter takes the legend away."""
    return {
        "type": "scatter",
        "x": [None],
        "y": [None],
        "mode": "lines+markers" if line else "markers",
        "name": plain(name),
        "legendgroup": name,
        "marker": {"color": colour(number), "size": 9, "symbol": SYMBOLS[number % len(SYMBOLS)] if line else "circle"},
        "line": {"color": colour(number), "width": 2},
        "meta": dict(tags),
        "hoverinfo": "skip",
    }


def band(
    name: str,
    number: int,
    x: Sequence[float],
    mean: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    tags: Tags,
) -> list[Trace]:
    """Return a curve and the band of its interval.

    Args:
        name: In the legend.
        number: Of its colour.
        x: Where.
        mean: The curve, as long as `x`; None where it is not known.
        low: Lower end of the band.
        high: Upper end.
        tags: What hides it.
    """
    points = [(a, m, b, c) for a, m, b, c in zip(x, mean, low, high, strict=True) if m is not None]
    inside = [(a, b, c) for a, _, b, c in points if b is not None and c is not None]
    every = max(1, len(points) // 8)
    first = every * (1 + number % 5) // 6
    shown = [SYMBOLS[number % len(SYMBOLS)]] * len(points)
    traces: list[Trace] = [legend_entry(name, number, tags, line=True)]
    if inside:
        traces.append(
            {
                "type": "scatter",
                "x": [a for a, _, _ in inside] + [a for a, _, _ in reversed(inside)],
                "y": [b for _, b, _ in inside] + [c for _, _, c in reversed(inside)],
                "fill": "toself",
                "fillcolor": colour(number, 0.18),
                "line": {"width": 0, "color": colour(number)},
                "mode": "lines",
                "hoverinfo": "skip",
                "showlegend": False,
                "legendgroup": name,
                "name": plain(name),
                "meta": dict(tags),
            }
        )
    traces.append(
        {
            "type": "scatter",
            "x": [a for a, _, _, _ in points],
            "y": [m for _, m, _, _ in points],
            "text": [interval(m, b, c)[1] or "no interval" for _, m, b, c in points],
            "mode": "lines+markers",
            "name": plain(name),
            "legendgroup": name,
            "showlegend": False,
            "line": {"color": colour(number), "width": 2},
            # a marker now and then says by its form what the colour says
            "marker": {
                "color": colour(number),
                "opacity": 1,
                "line": {"width": 0},
                "symbol": shown,
                "size": [8 if i % every == first or len(points) <= 8 else 0.1 for i in range(len(points))],
            },
            "hovertemplate": "%{y:.3f} (%{text})",
            "meta": dict(tags),
        }
    )
    return traces


def curves(
    traces: Iterable[Trace], x: str, y: str, *, y_range: tuple[float, float] | None = None, rule: float | None = None,
    rule_name: str = "",
) -> Plot:  # fmt: skip
    """Return a plot of curves over a common axis, with a dotted rule where there is one (chance, zero)."""
    axis: dict[str, Any] = {"title": {"text": y}}
    if y_range is not None:
        axis["range"] = list(y_range)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": x}, "tickformat": ",~s", "hoverformat": ",d", "rangemode": "tozero"},
        "yaxis": axis,
        "hovermode": "x unified",
    }
    if rule is not None:
        layout["shapes"] = [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": rule,
                "y1": rule,
                "line": {"color": "@muted", "width": 1, "dash": "dot"},
            }
        ]
        if rule_name:
            layout["annotations"] = [
                {
                    "xref": "paper",
                    "x": 1,
                    "y": rule,
                    "text": rule_name,
                    "showarrow": False,
                    "xanchor": "right",
                    "yanchor": "bottom",
                    "font": {"color": "@muted", "size": 12},
                }
            ]
    return Plot(tuple(traces), layout)


def dots(
    name: str,
    number: int,
    point: tuple[float, float],
    *,
    x_interval: tuple[float | None, float | None] = (None, None),
    y_interval: tuple[float | None, float | None] = (None, None),
    hover: str,
    tags: Tags,
    symbol: str = "circle",
) -> Trace:
    """Return a mean with its intervals."""
    x, y = point
    return {
        "type": "scatter",
        "x": [x],
        "y": [y],
        "mode": "markers",
        "name": plain(name),
        "legendgroup": name,
        "showlegend": False,
        "marker": {"color": colour(number), "size": 10, "symbol": symbol},
        "error_x": _error(x, *x_interval, number),
        "error_y": _error(y, *y_interval, number),
        "text": [hover],
        "hovertemplate": "%{text}<extra></extra>",
        "meta": dict(tags),
    }


def seeds(name: str, number: int, x: Sequence[float], y: Sequence[float], unit: str, tags: Tags) -> Trace:
    """Return the values of single seeds as small pale dots."""
    return {
        "type": "scatter",
        "x": list(x),
        "y": list(y),
        "mode": "markers",
        "name": f"{plain(name)}, single seeds",
        "legendgroup": name,
        "showlegend": False,
        "marker": {"color": colour(number, 0.45), "size": 5},
        "text": [quantity(value, unit) for value in y],
        "hovertemplate": "one seed: %{text}<extra></extra>",
        "meta": dict(tags),
    }


def log_axis(values: Sequence[float], title: str, unit: str = "") -> dict[str, Any]:
    """Return a logarithmic axis around positive values, with few and readable labels.

    >>> log_axis([300, 9000], "Spikes")["ticktext"]
    ['200', '500', '1\u202f000', '2\u202f000', '5\u202f000', '10\u202f000']
    """
    low, high = math.log10(min(values)), math.log10(max(values))
    steps = (1, 2, 5) if high - low < 2 else (1,)
    every = 1 if high - low < 7 else 2
    powers = range(math.floor(low) - 1, math.ceil(high) + 2, every)
    edge = 0.08 * (high - low) + 0.1
    ticks = [step * 10.0**power for power in powers for step in steps]
    ticks = [tick for tick in ticks if low - edge - 0.2 <= math.log10(tick) <= high + edge]
    return {
        "type": "log",
        "title": {"text": title},
        "range": [low - edge, high + edge],
        "tickvals": ticks,
        "ticktext": [quantity(tick, unit) for tick in ticks],
    }


def matrix(
    values: Sequence[Sequence[float | None]],
    *,
    x: str,
    y: str,
    diverging: bool,
    counts: Sequence[Sequence[int]] | None = None,
    name: str = "",
) -> Plot:
    """Return a matrix as colours.

    Args:
        values: Rows, the first on top. More than 128 rows or columns are thinned out evenly.
        x: Name of the columns.
        y: Name of the rows.
        diverging: Zero is the ground's colour, and both signs have one; otherwise from 0 to 1.
        counts: What stands in the fields, in place of nothing.
        name: What a value is, when pointed at.
    """
    table = np.array([[math.nan if v is None else v for v in row] for row in values], dtype=float)
    rows, columns = (_thinned(n) for n in table.shape)
    table = table[np.ix_(rows, columns)]
    largest = float(np.nanmax(np.abs(table))) if np.isfinite(table).any() else 1.0
    trace: Trace = {
        "type": "heatmap",
        "z": table.tolist(),
        "x": columns.tolist(),
        "y": rows.tolist(),
        "name": plain(name),
        "hovertemplate": f"{y} %{{y}}, {x} %{{x}}: %{{z:.3f}}<extra></extra>",
        "xgap": 1 if len(columns) <= 24 else 0,
        "ygap": 1 if len(rows) <= 24 else 0,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 0.9, "tickfont": {"size": 11}},
    }
    if diverging:
        trace |= {"zmin": -largest or -1, "zmax": largest or 1}
        trace["colorscale"] = [[0, "@low"], [0.5, "@surface"], [1, "@high"]]
    else:
        trace |= {"zmin": 0, "zmax": 1, "colorscale": [[0, "@raised"], [1, "@scale"]]}
    if counts is not None and len(rows) <= 12:
        trace |= {"text": [[str(v) for v in row] for row in counts], "texttemplate": "%{text}"}
        trace["textfont"] = {"size": 10}
        trace["hovertemplate"] = f"{y} %{{y}}, {x} %{{x}}: %{{text}} decisions, share %{{z:.2f}}<extra></extra>"
    few = {"dtick": 1} if max(table.shape) <= 12 else {}
    layout = {
        "xaxis": {"title": {"text": x}, "showgrid": False, "zeroline": False, "constrain": "domain", **few},
        "yaxis": {"title": {"text": y}, "autorange": "reversed", "showgrid": False, "zeroline": False, **few},
        "margin": {"l": 50, "r": 8, "t": 8, "b": 44},
    }
    return Plot((trace,), layout)


def is_thinned(values: Sequence[Sequence[Any]]) -> bool:
    """Return whether `matrix` leaves out rows or columns of this."""
    return len(values) > _MOST_ENTRIES or max(map(len, values), default=0) > _MOST_ENTRIES


def _thinned(n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return up to 128 places of n, evenly over them."""
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_ENTRIES)).round().astype(np.int64))


def _error(middle: float, low: float | None, high: float | None, number: int) -> Mapping[str, Any]:
    """Return plotly's form of an interval."""
    if low is None or high is None:
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - middle)],
        "arrayminus": [max(0.0, middle - low)],
        "color": colour(number),
        "thickness": 2,
        "width": 5,
    }
