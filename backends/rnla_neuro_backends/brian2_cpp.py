"""The model's strings as one compiled program that closes the loop with the environment by itself.

The program is generated with Brian2's C++ standalone mode, built once per structure (model, sizes, precision)
and kept; parameters, weights and seeds are sent to it. At each decision it exchanges with this process over a
Unix socket.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rnla_neuro.backend import Backend, Capabilities, Description
from rnla_neuro.errors import BackendError, ConfigError, unknown
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.moving_equilibrium.compiler import find_compiler

if TYPE_CHECKING:  # Brian2 takes a second to import, and 'rnla list' needs none of it
    from rnla_neuro_backends.explicit.kernel import Kernel
    from rnla_neuro_backends.explicit.simulation import ExplicitSimulation

ROADS = ("auto", "fused")


class Brian2CppBackend(Backend):
    """See the module."""

    name = "brian2_cpp"
    summary = "one compiled program (Brian2's C++ standalone) that closes the loop with the environment by itself"
    capabilities = Capabilities(
        kinds=("rate",),
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
            road: ``auto`` or ``fused``, which are the same here.
            start: ``equilibrium``, or ``rest``: all voltages start at 0.
            directory: Where to leave the program's project, and Brian2's result files at the end: a new or empty
                folder. None: only in the cache, without result files.
            options: None; any is refused by name.

        Raises:
            BackendError: The model is not proven, or the program cannot be built or started.
            ConfigError: An option has a value that is not allowed.
        """
        from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine
        from rnla_neuro_backends.explicit.simulation import ExplicitSimulation

        self.check(network, options)
        kernel = _kernel(network, road)
        results = None if directory is None else self._leave(kernel, network, Path(directory))
        engine = StandaloneEngine(kernel, results)
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

        kernel = _kernel(network, "auto")

        def ready() -> ExplicitSimulation | None:
            from rnla_neuro_backends.brian2_program.build import find_built

            return None if find_built(kernel) is None else self.build(network)

        return describe(
            network,
            "as one compiled program (C++), by the fused kernel",
            ready=ready,
            ready_is="the compiled program from the cache",
            no_time=self.missing(),
        )

    def leave_project(self, network: NetworkSpec, folder: Path) -> tuple[tuple[str, str], ...]:
        """Write the program's project into an empty folder, without compiling it; see `Backend.leave_project`."""
        from rnla_neuro_backends.brian2_program.readme import leave_project
        from rnla_neuro_backends.brian2_program.standalone import write_project

        return leave_project(
            _kernel(network, "auto"), network.model.text, folder, write_project, self.name, _title(network)
        )

    def _leave(self, kernel: Kernel, network: NetworkSpec, directory: Path) -> Path:
        """Copy the built project into a folder; return the folder for its results."""
        from rnla_neuro_backends.brian2_program.build import find_or_build
        from rnla_neuro_backends.brian2_program.readme import write_readme
        from rnla_neuro_backends.brian2_program.standalone import write_project

        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise ConfigError(f"directory {directory} is not an empty folder: name a new one")
        program = find_or_build(kernel, write_project)
        results = directory / "results"
        try:
            shutil.copytree(program.folder, directory, dirs_exist_ok=True)
            results.mkdir(exist_ok=True)
            write_readme(kernel, network.model.text, directory, self.name, _title(network))
        except (OSError, shutil.Error) as error:
            raise BackendError(f"the project cannot be copied to {directory}: {error}") from error
        return results


def _kernel(network: NetworkSpec, road: str) -> Kernel:
    if road == "plain":
        raise BackendError(
            "backend 'brian2_cpp' has no plain road: its events and inputs come at run time, which stock Brian2 "
            "groups take only from Python. Way out: --backend brian2 --road plain"
        )
    if road not in ROADS:
        raise ConfigError(unknown("road", road, ROADS))
    from rnla_neuro_backends.explicit.kernel import make_kernel

    try:
        return make_kernel(network)
    except BackendError as error:
        raise BackendError(
            f"{error}. Backend 'brian2_cpp' runs proven models only; --backend brian2 runs it"
        ) from error


def _title(network: NetworkSpec) -> str:
    return f"{network.model.name} {'-'.join(map(str, network.sizes))}"


BACKEND = Brian2CppBackend()
__all__ = ["BACKEND", "Brian2CppBackend"]
