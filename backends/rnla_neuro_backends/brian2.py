"""Backend `brian2`: the model's strings in this process, by numpy or compiled through Brian2's Cython target.

Two roads lead through a step. *fused*: one kernel for the whole step, with the eligibility formed at events; models of
the proven form have one of their own, most others go the general one, for which Cython is needed. *plain*: Brian2's own
`NeuronGroup` and `Synapses`, for any model; slow, and what everything else is compared with.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any, Literal

from rnla_neuro.backend import Backend, Capabilities, Description
from rnla_neuro.errors import BackendError, ConfigError, unknown
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.explicit.engine import Engine
from rnla_neuro_backends.explicit.roads import PlainRoadWarning, choose_road, fused_kernel, why_not_fused
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from rnla_neuro_backends.moving_equilibrium.compiler import find_compiler, no_compiler

TARGETS = ("auto", "numpy", "cython")


class NoCythonWarning(UserWarning):
    """There is no Cython, or no C++ compiler: numpy runs instead, with the same results, slower."""


class Brian2Backend(Backend):
    """See the module."""

    name = "brian2"
    summary = "Brian2 in this process, numpy or Cython: the same strings step by step; any model that loads"
    capabilities = Capabilities(
        kinds=("rate", "spiking"), precisions=("float64", "float32"), options=("target", "road", "start")
    )

    def build(
        self,
        network: NetworkSpec,
        *,
        target: str = "auto",
        road: str = "auto",
        start: Literal["equilibrium", "rest"] = "equilibrium",
        **options: Any,
    ) -> ExplicitSimulation:
        """Build a simulation.

        Args:
            network: What to simulate.
            target: ``numpy``, ``cython``, or ``auto``: on the fused road Cython where it and a C++ compiler are
                there; on Brian2's own groups numpy, since Cython compiles those for minutes.
            road: ``fused``, ``plain``, or ``auto``: fused where the model allows it.
            start: ``equilibrium``, or ``rest``: all voltages start at 0.
            options: None; any is refused by name.

        Raises:
            BackendError: The model cannot go the road that was asked for; the term is named.
            ConfigError: An option has a value that is not allowed.
        """
        self.check(network, options)
        if target not in TARGETS:
            raise ConfigError(unknown("target", target, TARGETS))
        slower = "the model runs on Brian2's own groups, step by step by its own equations, which is slower"
        runs = _target(target)
        road = choose_road(network, road, slower, general=runs == "cython")
        engine = _engine(network, road, runs, fallback=target == "auto")
        try:
            return ExplicitSimulation(network, engine, start, self.name)
        except BaseException:
            engine.close()
            raise

    def describe(self, network: NetworkSpec) -> Description:
        """Say how the network would be run with ``auto``; see `Backend.describe`."""
        from rnla_neuro_backends.explicit.report import describe, describe_plain

        cython = importlib.util.find_spec("Cython") is not None and find_compiler() is not None
        reason = why_not_fused(network, general=cython)
        if reason is not None:
            return describe_plain(
                network,
                "on Brian2's own groups (numpy), step by step",
                str(reason),
                lambda: self.build(network, road="plain", target="numpy"),  # Cython compiles for minutes
            )
        if cython:
            road = "in this process, by the fused kernel, compiled with Cython"
            what = "the same kernel, in the program of brian2_cpp,"
            return describe(network, road, ready=lambda: _same_kernel(network), ready_is=what)
        return describe(
            network,
            "in this process, by the fused scheme as numpy operations: there is no Cython or no C++ compiler",
            device="numpy",
            ready=lambda: self.build(network, target="numpy"),
            ready_is="this engine",
        )


def _same_kernel(network: NetworkSpec) -> ExplicitSimulation | None:
    """Return a simulation with the kernel in the compiled program, if that has been built."""
    from rnla_neuro_backends.brian2_program.build import find_built
    from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine

    try:
        kernel = fused_kernel(network)
        return None if find_built(kernel) is None else ExplicitSimulation(network, StandaloneEngine(kernel))
    except BackendError:  # no make: then there is no program either
        return None


def _target(target: str) -> str:
    if target != "auto":
        return target
    if importlib.util.find_spec("Cython") is None:
        missing = "Cython is not installed"
    elif find_compiler() is None:
        missing = no_compiler()
    else:
        return "cython"
    _fall_back(missing)
    return "numpy"


def _fall_back(reason: str) -> None:
    text = f"{reason}: numpy runs instead, with the same results but slower"
    warnings.warn(text, NoCythonWarning, stacklevel=5)


def _engine(network: NetworkSpec, road: str, target: str, fallback: bool) -> Engine:
    if road == "plain":
        from rnla_neuro_backends.explicit.plain import PlainEngine

        # Brian2 compiles some fifty small objects for minutes: only for who asks for it
        return PlainEngine(network, "cython" if target == "cython" and not fallback else "numpy")
    if target == "cython":
        from rnla_neuro_backends.brian2_program.runtime import RuntimeEngine

        kernel = fused_kernel(network)
        try:
            return RuntimeEngine(kernel)
        except BackendError as error:
            if not fallback:
                raise
            _fall_back(str(error))
            if kernel.INPUT == "value":  # numpy has no general kernel
                return _engine(network, "plain", "numpy", fallback=True)
    from rnla_neuro_backends.explicit.numpy_kernel import NumpyEngine

    return NumpyEngine(network)


BACKEND = Brian2Backend()
__all__ = ["BACKEND", "Brian2Backend", "NoCythonWarning", "PlainRoadWarning"]
