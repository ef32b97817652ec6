"""`rnla check --hardware`: does a network fit a platform, what is rounded, and what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnla_neuro.errors import ConfigError, RunFolderError

if TYPE_CHECKING:
    from rnla_neuro.hardware.remedies import Remedy
    from rnla_neuro.hardware.report import FitReport, Line, Rounding
    from rnla_neuro.hardware.spec import HardwareSpec
    from rnla_neuro.network import FloatArray, NetworkSpec
    from rnla_neuro.results import Results

_COLOURS = {"fits": "green", "rounded": "yellow", "host": "cyan", "emulated": "magenta", "exceeds": "red"}
_MOST_WEIGHTS = 5_000_000
_MOST_NEURONS = 100_000
_SAID = {"host": "by the host", "emulated": "only emulated", "exceeds": "does not fit"}


def is_run(model: str) -> bool:
    """Whether MODEL is a run folder."""
    return (Path(model) / "config.toml").is_file()


def refuse_folder(model: str) -> None:
    """Refuse a folder that is no run folder.

    Raises:
        RunFolderError: MODEL is such a folder, and no name of a model.
    """
    from rnla_neuro.spec.loader import available_models

    if model not in available_models() and Path(model).is_dir():
        raise RunFolderError(f"{model!r} is a folder, and no run folder: there is no config.toml in it")


def refuse_sizes(hidden: Sequence[int] | None) -> None:
    """Refuse layers that cannot be looked at in a moment.

    Raises:
        ConfigError: It names the option and the most.
    """
    for size in hidden or ():
        if size > _MOST_NEURONS:
            raise ConfigError(f"--hidden {size}: up to {_MOST_NEURONS:,} neurons a layer can be looked at")


def network_of_run(folder: str) -> tuple[NetworkSpec, list[FloatArray], str, str]:
    """Return the network that a run learned, its weights, its task and its input code.

    Raises:
        RunFolderError: It is no run folder, or has no weights.
    """
    from rnla_neuro.channels import REWARD, parse_delays
    from rnla_neuro.network import NetworkSpec
    from rnla_neuro.results import Results
    from rnla_neuro.spec.loader import parse_model
    from rnla_neuro.spec.parameters import TRIAL_KEYS

    results = Results.load(folder)
    config, weights = results.config, weights_of(results)
    text = config.model_text
    known = parse_model(text, Path(f"{config.model}.toml")).parameters
    overrides = {k: v for k, v in config.overrides.items() if k in known or k in TRIAL_KEYS}
    model = parse_model(text, Path(f"{config.model}.toml"), overrides)
    layers = len(config.hidden)
    sizes = (weights[0].shape[2] - 1, *config.hidden, weights[layers].shape[1])
    network = NetworkSpec(
        model, sizes, config.seeds, config.precision, config.freeze_hidden, parse_delays(config.reward_delay)[REWARD]
    )
    _same_shapes(network, weights, folder)
    return network, weights, config.task, config.input


def of_size(network: NetworkSpec) -> NetworkSpec:
    """Return a network with as many of its seeds as can be looked at in a moment.

    Raises:
        ConfigError: The weights of one alone are too many.
    """
    each = sum(prod(one.shape) for one in network.projections)
    if each > _MOST_WEIGHTS:
        sizes = "-".join(map(str, network.sizes))
        raise ConfigError(f"a network {sizes} has {each:,} weights: up to {_MOST_WEIGHTS:,} can be looked at")
    return replace(network, seeds=network.seeds[: max(1, _MOST_WEIGHTS // (10 * each))])


def weights_of(results: Results) -> list[FloatArray]:
    """Return the weights of a run, projection by projection."""
    from rnla_neuro.revisit import projections

    return projections(results.weights, results.path / "weights.npz")


def trained(folder: str, network: NetworkSpec) -> list[FloatArray]:
    """Return the weights of a run for a network that may be another than the run's.

    Raises:
        RunFolderError: Their shapes are not those of the network.
    """
    from rnla_neuro.results import Results

    weights = weights_of(Results.load(folder))
    _same_shapes(network, weights, folder)
    return weights


def _same_shapes(network: NetworkSpec, weights: Sequence[FloatArray], folder: str) -> None:
    found, needed = [w.shape[1:] for w in weights], [one.shape for one in network.projections]
    if found != needed:
        raise RunFolderError(f"{folder}: its weights have the shapes {found}, and the network needs {needed}")


def picture_stem(text: str) -> Path:
    """Return where a picture goes, without its ending.

    Raises:
        ConfigError: It is no PNG, or its folder does not exist.
    """
    path = Path(text)
    if path.suffix.lower() not in (".png", ".svg"):
        given = text or repr(text)
        raise ConfigError(f"--picture {given}: a file that ends in .png (or .svg) is needed, such as placement.png")
    if not path.parent.is_dir():
        raise ConfigError(f"--picture {text}: there is no folder {path.parent}")
    return path.with_suffix("")


def show(
    network: NetworkSpec,
    hardware: HardwareSpec,
    weights: Sequence[FloatArray] | None,
    *,
    task: str,
    code: str,
    whose: str,
    picture: Path | None,
    as_json: bool,
) -> bool:
    """Print whether a network fits; return whether it does."""
    from rnla_neuro.cli import screen
    from rnla_neuro.hardware.fit import fit
    from rnla_neuro.hardware.remedies import remedies

    report = fit(network, hardware, weights)
    changes = remedies(report, network, hardware, weights, code)
    pictures: list[str] = []
    if picture is not None:
        from rnla_neuro.analysis.placement_picture import placement_picture

        pictures = [str(path) for path in placement_picture(report, picture)]
    if as_json:
        screen.print_json(as_object(report, changes, task=task, whose=whose, pictures=pictures))
    else:
        _print(report, changes, whose, pictures)
    return report.fits


def as_object(
    report: FitReport, changes: Sequence[Remedy], *, task: str, whose: str, pictures: Sequence[str]
) -> dict[str, Any]:
    """Return everything as one JSON object; times in seconds, rates in Hz, other units as they are named."""
    placement = report.placement
    return {
        "platform": report.platform.name,
        "platform_file": str(report.platform.path),
        "kind": report.platform.kind,
        "model": report.model,
        "task": task,
        "sizes": list(report.sizes),
        "weights": whose,
        "fits": report.fits,
        "fits_emulated": report.fits_emulated,
        "lines": [asdict(line) | {"verdict": line.verdict.value} for line in report.lines],
        "roundings": [asdict(one) for one in report.roundings],
        "populations": [
            {
                "name": one.name,
                "neurons": one.size,
                "circuits_a_neuron": one.circuits,
                "sources": {source.name: source.count for source in one.sources},
                "excitatory_synapses": one.excitatory,
                "inhibitory_synapses": one.inhibitory,
            }
            for one in report.populations
        ],
        "placement": None
        if placement is None
        else {
            "units": placement.units,
            "halves": placement.halves,
            "columns": placement.columns,
            "rows": placement.rows,
            "blocks": [asdict(block) for block in placement.blocks],
            "left_out": list(placement.left_out),
        },
        "changes": [asdict(one) | {"solves": list(one.solves), "leaves": list(one.leaves)} for one in changes],
        "pictures": list(pictures),
    }


def _print(report: FitReport, changes: Sequence[Remedy], whose: str, pictures: Sequence[str]) -> None:
    from rnla_neuro.cli import screen

    platform, sizes = report.platform, "-".join(map(str, report.sizes))
    click.echo(f"{click.style(platform.title, bold=True)}  {platform.path}")
    click.echo(_headline(report, sizes))
    click.echo()
    screen.console().print(
        _table(f"{report.model} {sizes}, {whose}", ("", "used", "available", "", ""), map(_cells, report.lines))
    )
    if report.roundings:
        click.echo()
        columns = ("roundings", "largest", "root mean square", "relative", "")
        screen.console().print(_table("", columns, map(_rounded, report.roundings)))
    if changes:
        click.echo()
        screen.console().print(_table("", ("what to change", "", ""), (_change(one, report) for one in changes)))
    if any(line.unverified for line in report.lines) or any(one.unverified for one in report.roundings):
        click.echo(f"\n* rests on a figure that {platform.path.name} marks as unverified")
    click.echo("".join(f"\npicture  {path}" for path in pictures), nl=bool(pictures))


def _headline(report: FitReport, sizes: str) -> str:
    what = f"{report.model} {sizes}"
    if report.fits:
        return f"{click.style('fits', fg='green', bold=True)}  {what}"
    failed = click.style("does not fit", fg="red", bold=True)
    lines = report.exceeded or report.off_chip
    reasons = ", ".join(dict.fromkeys(line.what for line in lines))
    rest = "" if report.exceeded else "; the emulated chip takes it ('rnla run --hardware')"
    return f"{failed}  {what}: {reasons}{rest}"


def _cells(line: Line) -> tuple[str, ...]:
    from rnla_neuro.hardware.report import available, quantity

    verdict = str(line.verdict)
    said = _SAID.get(verdict, verdict) + "*" * line.unverified
    return (
        line.what,
        quantity(line.used, line.unit),
        available(line),
        click.style(said, fg=_COLOURS[verdict]),
        line.note,
    )


def _rounded(one: Rounding) -> tuple[str, ...]:
    from rnla_neuro.hardware.report import quantity

    percent = 0.0 if one.relative is None else 100 * one.relative
    relative = "" if one.relative is None else f"{percent:.{0 if percent >= 10 else 1}f} %" + "*" * one.unverified
    return one.what, quantity(one.largest, one.unit), quantity(one.rms, one.unit), relative, one.note


def _change(one: Remedy, report: FitReport) -> tuple[str, ...]:
    if one.enough:
        return one.change, click.style("enough", fg="green"), one.why
    names: Mapping[str, str] = {line.key: line.what for line in report.lines}
    left = ", ".join(dict.fromkeys(names.get(key, key) for key in one.leaves))
    return one.change, click.style("not enough", fg="yellow"), f"{one.why}; leaves: {left}"


def _table(title: str, columns: Sequence[str], rows: Any) -> Any:
    """Make a table whose cells may hold colours, numbers in the middle aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=Text(title, style="bold") if title else None, title_justify="left", box=None, header_style="bold"
    )
    for place, name in enumerate(columns):
        number = 0 < place < len(columns) - 2
        made.add_column(
            name, style="cyan" if place == 0 else None, justify="right" if number else "left", overflow="fold",
            no_wrap=place < len(columns) - 1,
        )  # fmt: skip
    for row in rows:
        made.add_row(*(Text.from_ansi(cell) for cell in row))
    return made
