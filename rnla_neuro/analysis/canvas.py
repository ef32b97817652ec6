"""How every picture of the package is made: style, colours, a figure of its own, PNG and SVG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from rnla_neuro.records import whole_or_nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart with every common form of colour blindness. The marker says it twice.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS: Final = "os^Dv*P"
STYLE: Final[dict[Any, Any]] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11.5,
    "legend.fontsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "svg.hashsalt": "rnla_neuro",  # the same data make the same file
}


@contextmanager
def styled(
    width: float, height: float, rows: int = 1, columns: int = 1, *, sharey: Literal["all", "row"] = "all"
) -> Iterator[tuple[Figure, list[list[Axes]]]]:
    """Give a figure in the package's style, without matplotlib's global state, and its panels by row.

    Args:
        width: In inches.
        height: In inches.
        rows: Of panels.
        columns: Of panels.
        sharey: Which panels share their vertical axis: ``all``, or those of a ``row``.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
        yield figure, [list(line) for line in axes]


def save(figure: Figure, path_stem: str | Path) -> tuple[Path, Path]:
    """Write PNG and SVG, each whole or not at all."""
    stem = Path(path_stem)
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    with whole_or_nothing(png) as temporary:
        figure.savefig(temporary, format="png", dpi=160, metadata={"Software": None})
    with whole_or_nothing(svg) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    return png, svg
