"""`rnla calibrate`: how often a model's spiking neuron fires beside the phi of its file; or a chip, made even."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError

if TYPE_CHECKING:
    from rnla_neuro.analysis.calibration import Curve

EXAMPLES = (
    ("the LIF neurons", "rnla calibrate spiking_lif_nla"),
    ("with another refractory time, and a picture", "rnla calibrate spiking_lif_nla --set t_ref=3ms --out curve"),
    ("the circuits of an emulated chip", "rnla calibrate brainscales2 --chip-seed 3 --out chip"),
)
ARGUMENTS = (
    (
        "MODEL",
        "a name of 'rnla list models', or the path of a model file; its hidden neurons spike. Or a platform: a name of "
        "'rnla list hardware', or the path of its file",
    ),
)


@click.command(
    "calibrate",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Hold the summed input of a hidden neuron at many values, measure how often it fires (its f-I curve) and what "
    "it sends on average, and compare that with phi, which the learning rule takes for it.\n\n"
    "Where a model injects a current b0 + y*(b1 + y*(b2 + …)) for a wanted rate y, the f-I curve is inverted too, and "
    "the parameters that fit it are printed as lines for the file.\n\n"
    "For a platform: measure and correct the circuits of an emulated chip through its own converter, as every run with "
    "--hardware does, and show how much they differ before and after.",
)
@click.argument("model")
@click.option(
    "--set", "settings", cls=Option, metavar="NAME=VALUE", multiple=True,
    help="change a parameter of the model, such as t_ref=3ms (can be repeated)",
)  # fmt: skip
@click.option(
    "--copies", cls=Option, type=values.Text("N", values.whole_above_zero("--copies", "100")), default="100",
    help="neurons an input, each simulated for 1.2 s: more make the curve more exact",
)  # fmt: skip
@click.option(
    "--chip-seed", cls=Option, default=(), type=values.Text("SEED", values.chips),
    help="which chip of a platform; by default 1",
)  # fmt: skip
@click.option(
    "--out", cls=Option, metavar="NAME", help="also draw it: NAME.png and NAME.svg; earlier ones are replaced"
)
@shared.as_json()
def command(
    model: str, settings: tuple[str, ...], copies: int, chip_seed: tuple[int, ...], out: str | None, as_json: bool
) -> None:
    """Calibrate."""
    from rnla_neuro import load_model
    from rnla_neuro.analysis.calibration import calibrated, coefficients, invert_curve, measure_curve
    from rnla_neuro.cli import calibrate_chip, screen

    if out is not None and not Path(out).parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {Path(out).parent}")
    if calibrate_chip.is_platform(model):
        if settings:
            raise ConfigError(f"--set: {model} is a platform, which has no parameters to set; change its file")
        calibrate_chip.show(model, chip_seed, out, as_json=as_json)
        return
    if chip_seed:
        raise ConfigError(f"--chip-seed: {model} is a model; give a platform, such as brainscales2")
    loaded = load_model(model, values.assignments(settings))
    curve = measure_curve(loaded, copies=copies)
    fitted = invert_curve(loaded, copies=copies) if coefficients(loaded) else {}
    after = measure_curve(calibrated(loaded, fitted), copies=copies) if fitted else None
    pictures: list[str] = []
    if out is not None:
        from rnla_neuro.analysis.calibration_plot import curve_plot

        pictures = [str(path) for path in curve_plot(curve, after, Path(out), loaded.name)]
    if as_json:
        screen.print_json(_report(loaded.name, curve, fitted, after) | {"pictures": pictures})
        return
    names = ("input", "spikes/s", "mean sent", "phi", "difference")
    columns = (curve.current, curve.firing, curve.rbar, curve.phi, curve.rbar - curve.phi)
    rows = [
        [f"{value:.{digits}f}" for value, digits in zip(row, (2, 1, 3, 3, 3), strict=True)]
        for row in zip(*columns, strict=True)
    ]
    screen.console().print(screen.table(f"f-I curve of {loaded.name}", names, rows, numbers=5))
    click.echo(f"\nlargest difference  {curve.deviation:.3f}")
    if after is not None:
        click.echo(f"f-I curve inverted  {after.deviation:.3f} with these parameters:\n")
        click.echo("\n".join(f'{name} = "{value}"' for name, value in fitted.items()))
    click.echo("".join(f"\npicture  {path}" for path in pictures), nl=bool(pictures))


def _report(name: str, curve: Curve, fitted: dict[str, str], after: Curve | None) -> dict[str, Any]:
    measured = {
        "input": curve.current.tolist(),
        "spikes_per_second": curve.firing.tolist(),
        "mean_sent": curve.rbar.tolist(),
        "phi": curve.phi.tolist(),
    }
    report: dict[str, Any] = {"model": name, "curve": measured, "largest_difference": curve.deviation}
    if after is not None:
        report["inverted"] = {"parameters": fitted, "largest_difference": after.deviation}
    return report
