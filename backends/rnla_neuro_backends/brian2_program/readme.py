"""What stands beside a generated project for whoever reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.brian2_program.build import Writer

_README = """# {title}

A program that rnla_neuro generated with {mode}: {agents} agent(s) of a network {sizes},
{precision}. The model file is `model.toml`. {compiled_in}

| file | what it is |
|---|---|
{files}
| `main{suffix}`, `network{suffix}`, `objects{suffix}`, `run{suffix}` | Brian2's: arrays, clock, main loop |
| `makefile` | `make` builds `{binary}`, with these flags: `{flags}` |

## How it runs

A block is the time between two decisions; the clock ticks once {tick}. Between two blocks the program sends what
the last one gave to the process that runs the environment, and waits for the inputs of the next. It connects to the
Unix socket whose path is in the environment variable `RNLA_SOCKET`; the messages are described in `{link}`. Without
a socket it ends with exit code 3 and says why. rnla_neuro starts it by itself:

    rnla run … --backend {backend}

Every state array can also be given on the command line, as a number for all of its elements or as a file
of raw numbers, before the first message arrives (Brian2's `run_args`):

    ./{binary} --results_dir results/ {example}=weights.bin

If the run is ended with `end`, Brian2 writes the last value of every array into the results folder.

## Arrays

{arrays}

{layout}
"""

_FUSED = {
    "compiled_in": "Its parameters, the weights and the seeds are *not* compiled in.",
    "tick": "a block",
    "example": "rnla.w",
    "layout": "Weights and traces have padded rows; `rnla_neuro_backends.explicit.layout` lays them out.",
}
_PLAIN = {
    "compiled_in": "Its parameters are compiled in, as Brian2 does it; the weights and the seeds are not.",
    "tick": "a step",
    "example": "rnla_to_action.w",
    "layout": "Arrays `v0_…` to `v{last}_…` are the variables of Brian2's groups, all agents one after the other.",
}


def title(network: NetworkSpec) -> str:
    """Return the heading of a network's README."""
    return f"{network.model.name} {'-'.join(map(str, network.sizes))}"


def require_empty(directory: Path) -> None:
    """Refuse a place for a project or its results that has something in it.

    Raises:
        ConfigError: It is neither new nor an empty folder.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"directory {directory} is not an empty folder: name a new one")


def leave_project(
    kernel: Any, model_text: str, folder: Path, write: Writer, backend: str, title: str
) -> tuple[tuple[str, str], ...]:
    """Write a kernel's project for reading: sources, makefile, the model, and a README.

    Args:
        kernel: The generated kernel.
        model_text: The model file.
        folder: An empty folder.
        write: Writes sources and makefile.
        backend: Name of the backend that runs such a project.
        title: Heading of the README.

    Returns:
        File and what it is, for the user to read.

    Raises:
        BackendError: The folder cannot be written.
    """
    try:
        write(kernel, folder)
        write_readme(kernel, model_text, folder, backend, title)
    except OSError as error:
        raise BackendError(f"the project cannot be written to {folder}: {error.strerror or error}") from error
    kernel_file, link_file = _sources(folder)
    return (
        ("README.md", "how it runs, and its arrays"),
        ("model.toml", "the model file, with the parameters that were chosen"),
        *_described(kernel_file, link_file),
        (f"main{Path(kernel_file).suffix}", "Brian2's main loop"),
        ("makefile", "make builds it"),
    )


def _described(kernel_file: str, link_file: str) -> tuple[tuple[str, str], ...]:
    """Say what the files of the network and of the exchange are."""
    if kernel_file == link_file:
        return (
            (kernel_file, "what happens to the network step by step, and the exchange with the environment's process"),
            ("code_objects", "Brian2's code of the groups, included by it"),
        )
    return (
        (kernel_file, "the network: a block of all agents"),
        (link_file, "the exchange with the environment's process, before each block"),
    )


def _sources(folder: Path) -> tuple[str, str]:
    """Names of the files of the kernel and of the exchange."""
    plain = "rnla_plain.cpp"
    if (folder / plain).exists():
        return plain, plain
    names = sorted(str(path.relative_to(folder)) for path in folder.glob("code_objects/*.c*"))
    return next(name for name in names if "kernel" in name), next(name for name in names if "link" in name)


def write_readme(kernel: Any, model_text: str, folder: Path, backend: str, title: str) -> None:
    """Write ``README.md`` and ``model.toml`` beside a project."""
    kernel_file, link_file = _sources(folder)
    is_plain = kernel_file == link_file
    last = sum(array.role == "state" for array in kernel.arrays) - 1
    about: dict[str, Any] = {
        **{name: text.format(last=last) for name, text in (_PLAIN if is_plain else _FUSED).items()},
        "files": "\n".join(f"| `{name}` | {what} |" for name, what in _described(kernel_file, link_file)),
        "title": title,
        "backend": backend,
        "agents": kernel.settings.n_agents,
        "sizes": "-".join(map(str, kernel.settings.sizes)),
        "precision": kernel.settings.precision,
        "mode": "brian2cuda's CUDA standalone mode" if kernel_file.endswith(".cu") else "Brian2's C++ standalone mode",
        "suffix": Path(kernel_file).suffix,
        "link": link_file,
        "binary": "main",
        "flags": " ".join(kernel.flags),
        "arrays": _table(kernel),
    }
    (folder / "README.md").write_text(_README.format(**about))
    (folder / "model.toml").write_text(model_text)


def _table(kernel: Any) -> str:
    rows = ["| number | name | type | elements | role |", "|---|---|---|---|---|"]
    for k, array in enumerate(kernel.arrays):
        rows.append(f"| {k} | `{array.name}` | {kernel.dtype(array)} | {array.size} | {array.role} |")
    return "\n".join(rows)
