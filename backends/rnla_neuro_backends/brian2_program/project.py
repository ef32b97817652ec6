"""Writes the Brian2 project of a kernel: the sources of a program that talks with the environment."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import second

from rnla_neuro_backends.brian2_program.build import Recipe
from rnla_neuro_backends.brian2_program.isolation import isolated, standalone_device
from rnla_neuro_backends.brian2_program.objects import KernelGroup, block_clock, program_network, refuse_callbacks
from rnla_neuro_backends.explicit.kernel import Kernel

LONG = 1e9  # blocks after which Brian2 would end the run by itself


def preferences(kernel: Recipe) -> dict[str, Any]:
    """Return Brian2's preferences for the code of a kernel."""
    return {
        "codegen.cpp.extra_compile_args_gcc": ["-w", *kernel.flags],
        "codegen.cpp.include_dirs": [],  # nothing from the Python environment is needed
        "codegen.cpp.library_dirs": [],
        "codegen.cpp.runtime_library_dirs": [],
        "core.stop_on_keyboard_interrupt": False,  # this process handles it, the program is ended by us
    }


def write_project(kernel: Kernel, folder: Path) -> None:
    """Write sources and makefile of a kernel's program into a folder.

    Raises:
        OSError: The folder cannot be written.
    """
    _describe(kernel, folder)
    gc.collect()  # Brian2's objects hold each other; until they are gone, a next program would get other names


def _describe(kernel: Kernel, folder: Path) -> None:
    device = standalone_device()
    with isolated(device, preferences(kernel)):
        network = program_network(KernelGroup(kernel, block_clock()))
        refuse_callbacks(network)
        network.run(LONG * second, namespace={})
        device.build(directory=str(folder), compile=False, run=False, with_output=False)
