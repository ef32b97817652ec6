"""Draws how much the circuits of a chip differ, before and after calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnla_neuro.analysis.canvas import COLOURS, save, styled

if TYPE_CHECKING:
    from rnla_neuro.hardware.emulation.chip import Measured

_NAMES = {
    "tau_m": "membrane time constant",
    "tau_syn": "synaptic time constant",
    "threshold": "threshold",
    "reset": "reset",
    "leak": "resting potential",
    "weight": "weight of a synapse",
}


def calibration_plot(found: Mapping[str, Measured], path_stem: Path, title: str) -> tuple[Path, Path]:
    """Draw a histogram a quantity, as PNG and SVG.

    Args:
        found: Quantity -> deviations before and after, in parts of what should be, or of threshold minus rest.
        path_stem: Where to, without ending.
        title: Which chip.

    Returns:
        Paths of the two pictures.
    """
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    with styled(3.6 * columns, 2.7 * rows + 0.4, rows, columns) as (figure, axes):
        panels = [panel for line in axes for panel in line]
        bins = np.linspace(-60, 60, 61).tolist()
        for panel, (quantity, measured) in zip(panels, found.items(), strict=False):
            both = ((measured.before, COLOURS[5], "as made"), (measured.after, COLOURS[1], "after"))
            for values, colour, name in both:
                label = f"{name}: {100 * values.std():.1f} %"
                panel.hist(100 * values, bins, color=colour, alpha=0.65, label=label)
            panel.set_title(_NAMES[quantity], loc="left")
            panel.set_xlabel("deviation in %")
            panel.legend(frameon=False, fontsize=8.5, loc="upper right")
        for panel in panels[len(found) :]:
            panel.set_visible(False)
        for line in axes:
            line[0].set_ylabel("circuits")
        figure.suptitle(title, x=0.01, ha="left")
        return save(figure, path_stem)
