"""Brian2 objects around a generated kernel: one that runs a block a tick, one that talks with the environment.

In a compiled program both tick on one clock, once a block: `EnvLink` first, in its own slot ``exchange`` of
the schedule, then the kernel. The templates are in ``templates/`` of this package; they reach Brian2 by
deriving its templaters in place, which adds names and changes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import Clock, Network, NetworkOperation, second
from brian2.codegen.runtime.cython_rt import CythonCodeObject
from brian2.core.base import BrianObject
from brian2.core.variables import Variables
from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject
from brian2.groups.group import CodeRunner, Group

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.brian2_program.texts import TEMPLATES
from rnla_neuro_backends.explicit.kernel import Kernel

EXCHANGE, DUE = "exchange", "rnla_block_is_due"


def register_templates() -> None:
    """Let Brian2 find our templates; more than once does no harm."""
    for target in (CPPStandaloneCodeObject, CythonCodeObject):
        if __package__ not in target.templater.package_names:
            target.templater = target.templater.derive(__package__)


class KernelGroup(Group, BrianObject):  # type: ignore[misc]
    """Owns the arrays of a kernel as Brian2 variables, and runs a block of the kernel at each tick.

    Args:
        kernel: The kernel.
        clock: Ticks once a block.
        name: Name in Brian2; the arrays are ``<name>.<array>`` on a program's command line.
        stamp: Text put into compiled code as a comment, so that it is compiled anew when the text changes.
    """

    def __init__(self, kernel: Kernel, clock: Clock, name: str = "rnla", stamp: str = "") -> None:
        register_templates()
        BrianObject.__init__(self, clock=clock, when="groups", name=name)
        self.kernel = kernel
        self.variables = Variables(self)
        self.variables.add_constant("N", 1)
        self.variables.add_reference("t", clock)
        self.variables.add_reference("dt", clock)
        for array in kernel.arrays:
            self.variables.add_array(array.name, size=array.size, dtype=kernel.dtype(array))
        self.variables.add_array(DUE, size=1, dtype=np.int32, scalar=True, read_only=True)
        self._enable_group_attributes()
        self.runner = CodeRunner(
            self,
            "rnla_kernel",
            clock=clock,
            when="groups",
            name=f"{name}_kernel",
            check_units=False,
            needed_variables=[*(array.name for array in kernel.arrays), DUE],
            template_kwds={
                "kernel_source": kernel.source,
                "kernel_call": kernel.call,
                "kernel_arrays": list(kernel.arrays),
                "kernel_stamp": stamp,
            },
        )
        self._contained_objects.append(self.runner)


class EnvLink(CodeRunner):  # type: ignore[misc]
    """Exchanges arrays of a group with another process at each tick, in a compiled program.

    The program connects to the Unix socket whose path is in the environment variable ``RNLA_SOCKET``; the
    protocol is described in ``templates/rnla_exchange.hpp``.

    Args:
        group: Owns the arrays.
        names: The arrays in the order by which the peer numbers them.
        key: Told to the peer, which can so know that it speaks with the right program.
        clock: Ticks once a block.
    """

    def __init__(self, group: Group, names: Sequence[str], key: str, clock: Clock) -> None:
        super().__init__(
            group,
            "rnla_exchange",
            clock=clock,
            when=EXCHANGE,
            name=f"{group.name}_link",
            check_units=False,
            needed_variables=[*names, DUE],
            template_kwds={
                "exchange_source": (TEMPLATES / "rnla_exchange.hpp").read_text(),
                "kernel_key": key,
                "kernel_arrays": [_Named(name, group.variables[name].size) for name in names],
            },
        )


@dataclass(frozen=True)
class _Named:
    name: str
    size: int


def block_clock() -> Clock:
    """Return a clock that counts blocks: a tick is one block, whatever biological time it spans."""
    return Clock(dt=1 * second, name="rnla_blocks")


def program_network(group: KernelGroup) -> Network:
    """Return the network of a program: the exchange, then the kernel."""
    names = [array.name for array in group.kernel.arrays]
    network = Network(group, EnvLink(group, names, group.kernel.key, group.clock), name="rnla_network")
    network.schedule = [EXCHANGE, "start", "groups", "end"]
    return network


def refuse_callbacks(network: Network) -> None:
    """Refuse Python functions in a network that becomes a program: Brian2 would leave them out without a word.

    Raises:
        BackendError: It names them.
    """
    names = sorted(thing.name for thing in network.sorted_objects if isinstance(thing, NetworkOperation))
    if names:
        raise BackendError(
            f"network operations {', '.join(names)}: a compiled program cannot call Python functions, and Brian2 "
            "leaves them out. Way out: --backend brian2, which runs in this process"
        )
