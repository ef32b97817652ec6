"""Backends by name: a file of `rnla_neuro_backends` is a backend, imported when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rnla_neuro.errors import BackendError, unknown
from rnla_neuro.network import NetworkSpec
from rnla_neuro.simulation import Simulation

GROUP = "rnla_neuro.backends"


@dataclass(frozen=True)
class Capabilities:
    """What a backend can run; everything else it refuses by name.

    Attributes:
        kinds: Kinds of model, such as ``rate``.
        precisions: Floating-point types of voltages and weights.
        options: Keyword options that `Backend.build` accepts.
    """

    kinds: tuple[str, ...]
    precisions: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """How a backend would run a network; what ``rnla check`` prints.

    Attributes:
        road: Which way it takes, in words.
        recognised: Name and text of each part that it runs with code made for it.
        fallbacks: Name of each part that it runs in a general, slower way, and why.
        notes: Name and text of what else is worth knowing, such as how stable a step is.
        memory: Bytes by what they hold, all agents together.
        memory_where: Whose memory that is, such as ``GPU``.
        seconds: Estimated seconds of a decision, all agents together; None: no estimate.
        basis: What the estimate rests on, or why there is none.
    """

    road: str
    recognised: tuple[tuple[str, str], ...] = ()
    fallbacks: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
    memory_where: str = ""
    seconds: float | None = None
    basis: str = ""


class Backend(ABC):
    """Builds simulations from networks. A subclass sets the class attributes and implements `build`."""

    name: str
    summary: str
    capabilities: Capabilities

    def check(self, network: NetworkSpec, options: dict[str, Any]) -> None:
        """Refuse what the backend cannot do.

        Raises:
            BackendError: It names the kind, precision or option, and what is allowed.
        """
        can = self.capabilities
        if network.model.kind not in can.kinds:
            raise BackendError(
                f"backend {self.name!r} cannot run model {network.model.name!r} of kind {network.model.kind!r}: "
                f"it runs {', '.join(can.kinds)}; way out: --backend brian2 or brian2_cpp, which take every kind"
            )
        if network.precision not in can.precisions:
            raise BackendError(
                f"backend {self.name!r} has no precision {network.precision!r}: it has {', '.join(can.precisions)}"
            )
        for option in options:
            if option not in can.options:
                raise BackendError(unknown(f"option of backend {self.name!r}", option, can.options))

    @abstractmethod
    def build(self, network: NetworkSpec, **options: Any) -> Simulation:
        """Build a simulation of a network."""

    def missing(self) -> str:
        """Say in a few words what this machine lacks for the backend; empty: nothing. Imports nothing heavy."""
        return ""

    def describe(self, network: NetworkSpec) -> Description | None:
        """Say how the backend would run a network, without running it; None: it has nothing to say.

        Raises:
            BackendError: It cannot run the network.
        """
        return None

    def leave_project(self, network: NetworkSpec, folder: Path) -> tuple[tuple[str, str], ...]:
        """Write the sources of the program that would run a network into an empty folder.

        Returns:
            File (or command) and what it is, for the user to read.

        Raises:
            BackendError: The backend has no program to leave, or cannot write this one.
        """
        raise BackendError(
            f"backend {self.name!r} makes no program that could be left for reading; brian2_cpp and brian2_cuda do"
        )


def available_backends() -> list[str]:
    """Return the names of all backends, without importing them."""
    spec = importlib.util.find_spec("rnla_neuro_backends")
    own = (
        [m.name for m in pkgutil.iter_modules(spec.submodule_search_locations) if not m.ispkg] if spec else []
    )
    return sorted({*own, *(point.name for point in entry_points(group=GROUP))})


def get_backend(name: str) -> Backend:
    """Import a backend.

    Raises:
        BackendError: Unknown name (the nearest known one is given), or its file defines no backend.
    """
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _instance(point.load(), name)
    if name not in available_backends():
        raise BackendError(unknown("backend", name, available_backends()))
    module = importlib.import_module(f"rnla_neuro_backends.{name}")
    return _instance(getattr(module, "BACKEND", None), name)


def _instance(backend: object, name: str) -> Backend:
    if not isinstance(backend, Backend):
        raise BackendError(f"backend {name!r}: expected a module with BACKEND, an instance of Backend")
    return backend
