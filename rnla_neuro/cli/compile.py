"""`rnla compile`: the program that a backend generates for a network, left in a folder for reading."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import RunFolderError

EXAMPLES = (
    ("the C++ program of the default model for digits", "rnla compile rate_nla --out digits-cpp"),
    (
        "your own model as CUDA, 256 agents",
        "rnla compile ./mine.toml --backend brian2_cuda --seeds 256 --out mine-cuda",
    ),
    (
        "another network, in single precision",
        "rnla compile rate_nla --task xor --hidden 8 --precision float32 --out xor-cpp",
    ),
)
ARGUMENTS = (("MODEL", "a name of 'rnla list models', or the path of a model file"),)


@click.command(
    "compile",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Generate the program of a network and leave its sources in a new folder. Nothing is run: a run builds "
    "the same program by itself, and keeps it in a cache.",
)
@click.argument("model")
@click.option(
    "--out", cls=Option, metavar="FOLDER", required=True, help="where to; it must be empty, or not exist yet"
)
@click.option(
    "--backend", cls=Option, metavar="NAME", default="brian2_cpp", help="brian2_cpp or brian2_cuda"
)
@click.option(
    "--task", cls=Option, metavar="TASK", default="digits", help="how many inputs and actions the network has"
)
@shared.hidden()
@click.option(
    "--seeds", cls=Option, type=values.Text("SEEDS", values.seeds), default="1",
    help="agents in the program, as in 'rnla run'",
)  # fmt: skip
@shared.precision()
@click.option(
    "--set", "settings", cls=Option, metavar="NAME=VALUE", multiple=True,
    help="change a parameter of the model, such as tau_m=20ms (can be repeated)",
)  # fmt: skip
@shared.input_code()
@shared.as_json()
def command(
    model: str,
    out: str,
    backend: str,
    task: str,
    hidden: tuple[int, ...] | None,
    seeds: tuple[int, ...],
    precision: str,
    settings: tuple[str, ...],
    input_code: str,
    as_json: bool,
) -> None:
    """Compile."""
    overrides = values.assignments(settings)
    target = Path(out)
    _refuse_content(target)
    from rnla_neuro.cli import networks, screen

    with screen.only_json_on_stdout(as_json):
        from rnla_neuro.backend import get_backend

        engine = get_backend(backend)
        network = networks.build(model, overrides, task, hidden, seeds, precision=precision, input=input_code)
        engine.check(network, {})
        with _whole(target) as folder:
            found = engine.leave_project(network, folder)
    if as_json:
        about: dict[str, Any] = {"folder": str(target), "backend": backend, "model": network.model.name}
        about |= {"sizes": list(network.sizes), "agents": len(seeds), "precision": precision}
        screen.print_json(about | {"files": [{"name": name, "text": text} for name, text in found]})
        return
    click.echo(f"{click.style(str(target), bold=True)}  the program of {network.model.name}, {backend}")
    width = max(len(name) for name, _ in found) + 1
    for name, text in found:
        click.echo(f"  {click.style(name.ljust(width), fg='cyan')} {text}")


def _refuse_content(path: Path) -> None:
    """Refuse a folder with something in it before any time is spent."""
    try:
        empty = not path.is_symlink() and (not path.exists() or (path.is_dir() and not any(path.iterdir())))
    except OSError as error:
        raise RunFolderError(f"--out {path}: {error.strerror or error}") from error
    if not empty:
        raise RunFolderError(f"--out {path} exists already and is not an empty folder; choose another one")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a folder to write into, which becomes `path` when all is written, and vanishes if something fails."""
    parent = path.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=parent))
    except OSError as error:
        raise RunFolderError(f"--out {path}: cannot write there: {error.strerror or error}") from error
    try:
        yield folder
        mask = os.umask(0)
        os.umask(mask)
        folder.chmod(0o777 & ~mask)
        folder.rename(path.absolute())
    except OSError as error:
        raise RunFolderError(f"--out {path}: cannot write there: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
