"""The model's strings as one compiled program that closes the loop with the environment by itself.

The program is generated with Brian2's C++ standalone mode, built once per structure (model, sizes, precision)
and kept; parameters, weights and seeds are sent to it. At each decision it exchanges with this process over a
Unix socket.

Two roads, as in the backend `brian2`: *fused*, one kernel for models of the proven form; *plain*, Brian2's own
`NeuronGroup` and `Synapses` for any model, compiled as they stand, with the parameters.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rnla_neuro.backend import Backend, Capabilities, Description
from rnla_neuro.errors import BackendError
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.explicit.roads import choose_road, why_not_fused
from rnla_neuro_backends.moving_equilibrium.compiler import find_compiler

if TYPE_CHECKING:  # Brian2 takes a second to import, and 'rnla list' needs none of it
    from rnla_neuro_backends.brian2_program.plain import PlainProgramEngine
    from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine
    from rnla_neuro_backends.explicit.simulation import ExplicitSimulation

PLAIN = "the program runs Brian2's own groups, which is slower"


class Brian2CppBackend(Backend):
    """See the module."""

    name = "brian2_cpp"
    summary = "one compiled program (Brian2's C++ standalone) that closes the loop with the environment by itself"
    capabilities = Capabilities(
        kinds=("rate", "spiking"),
        precisions=("float64", "float32"),
        options=("road", "start", "directory"),
    )

    def build(
        self,
        network: NetworkSpec,
        *,
        road: str = "auto",
        start: Literal["equilibrium", "rest"] = "equilibrium",
        directory: str | Path | None = None,
        **options: Any,
    ) -> ExplicitSimulation:
        """Build the program, or take the one that was built before, and start it.

        Args:
            network: What to simulate.
            road: ``fused``, ``plain``, or ``auto``: fused where the model allows it.
            start: ``equilibrium``, or ``rest``: all voltages start at 0.
            directory: Where to leave the program's project, and Brian2's result files at the end: a new or empty
                folder. None: only in the cache, without result files.
            options: None; any is refused by name.

        Raises:
            BackendError: The model cannot go the road that was asked for (the term is named), or the program cannot
                be built or started.
            ConfigError: An option has a value that is not allowed.
        """
        from rnla_neuro_backends.explicit.simulation import ExplicitSimulation

        self.check(network, options)
        made = _Program(network, choose_road(network, road, PLAIN))
        engine = made.engine(None if directory is None else made.leave(Path(directory), self.name))
        try:
            return ExplicitSimulation(network, engine, start, self.name)
        except BaseException:
            engine.close()
            raise

    def missing(self) -> str:
        """Say what there is not; see `Backend.missing`."""
        absent = [] if find_compiler() else ["C++ compiler"]
        absent += [] if shutil.which("make") or shutil.which("gmake") else ["make"]
        return f"no {' and no '.join(absent)}" if absent else ""

    def describe(self, network: NetworkSpec) -> Description:
        """Say how the network would be run; see `Backend.describe`."""
        from rnla_neuro_backends.explicit.report import describe

        reason = why_not_fused(network)
        if reason is not None:
            return self._describe_plain(network, str(reason))
        made = _Program(network, "fused")
        return describe(
            network,
            "as one compiled program (C++), by the fused kernel",
            ready=lambda: self.build(network) if made.is_built() else None,
            ready_is="the compiled program from the cache",
            no_time=self.missing(),
        )

    def _describe_plain(self, network: NetworkSpec, reason: str) -> Description:
        """Describe the plain road; a program that has not been built yet is not built for it: it takes a minute."""
        from rnla_neuro_backends.brian2 import BACKEND as IN_PROCESS
        from rnla_neuro_backends.explicit.report import describe_plain

        road = "as one compiled program (C++), on Brian2's own groups"
        if not self.missing() and _Program(network, "plain").is_built():
            return describe_plain(network, road, reason, lambda: self.build(network, road="plain"))
        found = describe_plain(network, road, reason, lambda: IN_PROCESS.build(network, target="numpy", road="plain"))
        why = self.missing() or "the program has not been built yet"
        return replace(found, seconds=None, basis=why)

    def leave_project(self, network: NetworkSpec, folder: Path) -> tuple[tuple[str, str], ...]:
        """Write the program's project into an empty folder, without compiling it; see `Backend.leave_project`."""
        from rnla_neuro_backends.brian2_program.readme import leave_project, title

        made = _Program(network, choose_road(network, "auto", PLAIN))
        text = network.model.text
        return leave_project(made.kernel, text, folder, made.write, self.name, title(network))


class _Program:
    """The program of a network on one of the roads."""

    def __init__(self, network: NetworkSpec, road: str) -> None:
        self.network, self.road = network, road
        self.kernel: Any
        self.write: Callable[[Any, Path], None]
        if road == "fused":
            from rnla_neuro_backends.brian2_program.standalone import write_project
            from rnla_neuro_backends.explicit.roads import fused_kernel

            self.kernel, self.write = fused_kernel(network), write_project
        else:
            from rnla_neuro_backends.brian2_program.plain_kernel import PlainKernel
            from rnla_neuro_backends.brian2_program.plain_project import write_plain_project

            self.kernel, self.write = PlainKernel(network), write_plain_project

    def is_built(self) -> bool:
        """Whether the program is in the cache."""
        from rnla_neuro_backends.brian2_program.build import find_built

        return find_built(self.kernel, self.road) is not None

    def engine(self, results: Path | None) -> StandaloneEngine | PlainProgramEngine:
        """Start the program."""
        if self.road == "fused":
            from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine

            return StandaloneEngine(self.kernel, results)
        from rnla_neuro_backends.brian2_program.plain import PlainProgramEngine

        return PlainProgramEngine(self.kernel, results)

    def leave(self, directory: Path, backend: str) -> Path:
        """Copy the built project into a folder; return the folder for its results."""
        from rnla_neuro_backends.brian2_program.build import find_or_build
        from rnla_neuro_backends.brian2_program.readme import require_empty, title, write_readme

        require_empty(directory)
        program = find_or_build(self.kernel, self.write, self.road)
        results = directory / "results"
        try:
            shutil.copytree(program.folder, directory, dirs_exist_ok=True)
            results.mkdir(exist_ok=True)
            write_readme(self.kernel, self.network.model.text, directory, backend, title(self.network))
        except (OSError, shutil.Error) as error:
            raise BackendError(f"the project cannot be copied to {directory}: {error}") from error
        return results


BACKEND = Brian2CppBackend()
__all__ = ["BACKEND", "Brian2CppBackend"]
