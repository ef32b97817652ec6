"""Backend `pynn`: cells of plain PyNN on a simulator or a chip, one run a decision, with the learning on the host.

The simulator is chosen by ``--core``; all that is particular to one is in `pynn_adapter.simulators`.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from typing import Any

from rnla_neuro.backend import Backend, Capabilities
from rnla_neuro.errors import BackendError, unknown
from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro.network import NetworkSpec
from rnla_neuro.simulation import Simulation
from rnla_neuro.spec.cells import as_cells
from rnla_neuro_backends.pynn_adapter import simulators
from rnla_neuro_backends.pynn_adapter.simulator import Simulator

DEFAULT = "nest"
_NOT_HERE = ("mismatch", "trial", "readout", "inputs")  # what a chip does of its own, and other simulators do not


def available_simulators() -> tuple[str, ...]:
    """Names of the simulators, without importing them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(simulators.__path__)))


def get_simulator(name: str, hardware: HardwareSpec | None = None) -> Simulator:
    """Return a simulator by name; ``auto`` is NEST.

    Args:
        name: One of `available_simulators`, or ``auto``.
        hardware: The platform file that a chip is driven by; None: the one of this package.

    Raises:
        BackendError: Unknown name; the nearest known one is given.
    """
    name = DEFAULT if name == "auto" else name
    if name not in available_simulators():
        raise BackendError(unknown("simulator (--core) of backend 'pynn'", name, available_simulators()))
    module = importlib.import_module(f"{simulators.__name__}.{name}")
    made: type[Simulator] = module.SIMULATOR
    return made.on(hardware)


class PynnBackend(Backend):
    """See the module."""

    name = "pynn"
    summary = "PyNN: cells on NEST, NEURON, Brian2 or a chip, with the host in the loop; models with a section [pynn]"
    capabilities = Capabilities(kinds=("spiking",), precisions=("float64",), options=("simulator", "hardware"))

    def build(
        self, network: NetworkSpec, *, simulator: str = "auto", hardware: HardwareSpec | None = None, **options: Any
    ) -> Simulation:
        """Build a simulation.

        Args:
            network: What to simulate; its model has a section [pynn].
            simulator: One of `available_simulators`; ``auto``: NEST.
            hardware: A platform, whose grid the host keeps its weights on, rounding at random; nothing else of it is
                emulated here. None: weights are as they are.
            options: None; any is refused by name.

        Raises:
            BackendError: An unknown simulator, or the model has something that cells or this backend cannot do.
            MissingExtraError: The simulator, or PyNN, is not installed.
        """
        self.check(network, options)
        from rnla_neuro_backends.pynn_adapter.simulation import PynnSimulation

        chosen, cells = get_simulator(simulator, hardware), self._cells(network)
        if hardware is None:
            return PynnSimulation(cells, chosen)
        from rnla_neuro.hardware.emulation.build import on_chip

        return on_chip(cells, hardware, lambda changed: PynnSimulation(changed, chosen), off=_NOT_HERE)

    @staticmethod
    def _cells(network: NetworkSpec) -> NetworkSpec:
        """Return the network whose model says what the cells do."""
        return replace(network, model=replace(as_cells(network.model), cells=network.model.cells))

    def check(self, network: NetworkSpec, options: dict[str, Any]) -> None:
        """Refuse what the backend cannot do; see `Backend.check`."""
        if network.model.kind != "spiking":
            raise BackendError(
                f"backend 'pynn' cannot run model {network.model.name!r} of kind {network.model.kind!r}: cells of PyNN "
                "spike; way out: --model spiking_lif_nla, or another backend (equilibrium, brian2)"
            )
        super().check(network, options)
        as_cells(network.model)

    def missing(self) -> str:
        """Say what is missing for the default simulator."""
        return get_simulator(DEFAULT).missing()


BACKEND = PynnBackend()
__all__ = ["BACKEND", "PynnBackend", "available_simulators", "get_simulator"]
