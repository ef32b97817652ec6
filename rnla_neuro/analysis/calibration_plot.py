"""Draws a measured f-I curve beside the rate function of the file."""

from __future__ import annotations

from pathlib import Path

from rnla_neuro.analysis.calibration import Curve
from rnla_neuro.analysis.canvas import COLOURS, MARKERS, save, styled


def curve_plot(curve: Curve, fitted: Curve | None, path_stem: Path, name: str) -> tuple[Path, Path]:
    """Draw mean sent and phi over the held input, as PNG and SVG.

    Args:
        curve: As the file stands.
        fitted: With the parameters of a new fit; None: there is none.
        path_stem: Where to, without ending.
        name: The model's name.

    Returns:
        Paths of the two pictures.
    """
    with styled(6.4, 4.2) as (figure, axes):
        panel = axes[0][0]
        panel.plot(curve.current, curve.phi, color=COLOURS[6], label="phi of the file")
        panel.plot(
            curve.current, curve.rbar, MARKERS[0], color=COLOURS[0],
            label=f"measured (largest difference {curve.deviation:.3f})",
        )  # fmt: skip
        if fitted is not None:
            panel.plot(
                fitted.current, fitted.rbar, MARKERS[3], color=COLOURS[1], fillstyle="none",
                label=f"measured, f-I curve inverted anew ({fitted.deviation:.3f})",
            )  # fmt: skip
        panel.set_xlabel("summed input I")
        panel.set_ylabel("mean of what is sent")
        panel.set_title(f"f-I curve of {name}", loc="left")
        panel.legend(frameon=False)
        return save(figure, path_stem)
