"""`rnla calibrate PLATFORM`: calibrate an emulated chip, and show what is left."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.errors import ConfigError

if TYPE_CHECKING:
    from rnla_neuro.hardware.emulation.chip import Measured


def is_platform(name: str) -> bool:
    """Return whether a name or path is that of a platform and not of a model."""
    from rnla_neuro.hardware.reading import available_hardware

    if name in available_hardware():
        return True
    try:
        return "platform" in tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def show(name: str, chip_seed: tuple[int, ...], out: str | None, *, as_json: bool) -> None:
    """Calibrate a chip, print the spreads before and after, and draw them.

    Raises:
        ConfigError: Several chips, or a platform whose circuits do not differ.
    """
    from rnla_neuro.cli import screen
    from rnla_neuro.hardware.emulation.chip import Chip
    from rnla_neuro.hardware.emulation.effects import effects_of
    from rnla_neuro.hardware.reading import load_hardware

    if len(chip_seed) > 1:
        raise ConfigError(f"--chip-seed: {len(chip_seed)} chips; a chip is calibrated by itself: give one")
    hardware = load_hardware(name)
    chip = Chip(hardware, effects_of(hardware), chip_seed[0] if chip_seed else 1)
    found = chip.calibration()
    if not found:
        raise ConfigError(f"platform {hardware.name!r} has no [mismatch]: its circuits do not differ")
    pictures: list[str] = []
    title = f"{hardware.title}, chip {chip.seed}, {chip.circuits} circuits"
    if out is not None:
        from rnla_neuro.analysis.chip_calibration_plot import calibration_plot

        pictures = [str(path) for path in calibration_plot(found, Path(out), title)]
    report = {quantity: _line(measured) for quantity, measured in found.items()}
    if as_json:
        about = {"platform": hardware.name, "chip": chip.seed, "circuits": chip.circuits}
        screen.print_json(about | {"quantities": report, "pictures": pictures})
        return
    names = ("quantity", "as made", "after", "stated", "by measuring alone", "readings averaged")
    spreads = ("before", "after", "stated", "measuring")
    rows = [[one, *(_percent(line[key]) for key in spreads), _count(line["readings"])] for one, line in report.items()]
    screen.console().print(screen.table(title, names, rows, numbers=5))
    for quantity, line in report.items():
        if line["readings"] is not None and line["measuring"] > line["stated"] * 1.0001:
            click.echo(f"{quantity}: {line['readings']} readings are not enough for what the platform states")
    click.echo("".join(f"\npicture  {path}" for path in pictures), nl=bool(pictures))


def _line(measured: Measured) -> dict[str, Any]:
    how = measured.plan
    return {
        "before": float(measured.before.std()),
        "after": float(measured.after.std()),
        "stated": None if how is None else how.target,
        "measuring": None if how is None else how.error,
        "readings": None if how is None else how.repeats,
    }


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)
