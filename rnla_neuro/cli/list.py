"""`rnla list`: models, input codes, tasks, backends and platforms."""

from __future__ import annotations

import tomllib
from typing import Any

import click

from rnla_neuro.cli import shared
from rnla_neuro.cli.help import Command
from rnla_neuro.errors import BackendError, ConfigError, unknown

KINDS = ("models", "inputs", "tasks", "backends", "hardware")
EXAMPLES = (
    ("everything", "rnla list"),
    ("the models that come with the package", "rnla list models"),
    ("for scripts", "rnla list tasks --json"),
)
ARGUMENTS = (("[KIND]", "models, inputs, tasks, backends or hardware; without it, all of them"),)


@click.command(
    "list",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="List models, codes of inputs, tasks, backends or platforms, each with a line about it.",
)
@click.argument("kind", required=False)
@shared.as_json()
def command(kind: str | None, as_json: bool) -> None:
    """List."""
    if kind is not None and kind not in KINDS:
        raise ConfigError(unknown("kind of list", kind, KINDS))
    from rnla_neuro.cli import screen

    makers = {"models": _models, "inputs": _inputs, "tasks": _tasks, "backends": _backends, "hardware": _hardware}
    with screen.only_json_on_stdout(as_json):
        found = {one: makers[one]() for one in (KINDS if kind is None else (kind,))}
    if as_json:
        screen.print_json(found)
        return
    console = screen.console()
    for place, (name, rows) in enumerate(found.items()):
        if place:
            console.print()
        columns = list(rows[0]) if rows else ["name"]
        cells = [[_cell(row[column]) for column in columns] for row in rows]
        console.print(screen.table(name, columns, cells))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    if value is None:
        return "no limit"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _models() -> list[dict[str, Any]]:
    """Read the heads of the packaged model files (checking them takes longer: `rnla check`)."""
    from rnla_neuro import resources

    rows = []
    for path in sorted(resources.models_dir().glob("*.toml")):
        head = tomllib.loads(path.read_text(encoding="utf-8")).get("model", {})
        rows.append({"name": path.stem, "kind": head.get("kind", ""), "summary": head.get("summary", "")})
    return rows


def _inputs() -> list[dict[str, Any]]:
    """Read the heads of the input codes; a population code is none of the files."""
    from rnla_neuro import resources

    rows = []
    for path in sorted((resources.models_dir() / "inputs").glob("*.toml")):
        head = tomllib.loads(path.read_text(encoding="utf-8")).get("input", {})
        rows.append({"name": path.stem, "summary": head.get("summary", "")})
    rows.append({"name": "population:N", "summary": "each value by N neurons with Gaussian tuning curves"})
    return rows


def _tasks() -> list[dict[str, Any]]:
    from rnla_neuro.tasks.catalogue import available

    return [
        {
            "name": task.name,
            "environment": task.env_id,
            "hidden": list(task.hidden),
            "iterations": task.iterations,
            "model": task.model,
            "summary": task.summary,
        }
        for task in available().values()
    ]


def _backends() -> list[dict[str, Any]]:
    from rnla_neuro.backend import available_backends, get_backend

    rows = []
    for name in available_backends():
        try:
            backend = get_backend(name)
        except (BackendError, ImportError) as error:
            rows.append(
                {"name": name, "here": "no", "models": [], "precisions": [], "summary": f"cannot be loaded: {error}"}
            )
            continue
        can = backend.capabilities
        rows.append(
            {
                "name": name,
                "here": backend.missing() or "yes",
                "models": [*can.kinds],
                "precisions": [*can.precisions],
                "summary": backend.summary,
            }
        )
    return rows


def _hardware() -> list[dict[str, Any]]:
    """Read the platform files; a reader sees what limits a network: neurons, fan-in, weights, time."""
    from rnla_neuro.hardware.reading import available_hardware, load_hardware

    rows = []
    for name in available_hardware():
        spec = load_hardware(name)
        fan_in = spec.neurons.signed_fan_in or spec.neurons.fan_in
        rows.append(
            {
                "name": name,
                "kind": spec.kind,
                "simulator": spec.simulator or "none",
                "neurons": None if spec.neurons.circuits is None else int(spec.neurons.circuits.number),
                "fan_in": None if fan_in is None else int(fan_in.number),
                "weights": None if spec.integer_range is None else list(spec.integer_range),
                "speed_up": spec.speed_up,
                "summary": spec.summary,
            }
        )
    return rows
