"""What a run's request says of a chip: checked, and carried out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnla_neuro.errors import ConfigError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.simulation import Simulation

if TYPE_CHECKING:
    from rnla_neuro.backend import Backend
    from rnla_neuro.hardware.spec import HardwareSpec
    from rnla_neuro.session import RunRequest


def check_chip(request: RunRequest) -> None:
    """Refuse what is said of a chip where there is none, and chips that are not one, or one an agent.

    Raises:
        ConfigError: It names the option, and what is allowed.
    """
    if not request.hardware:
        for option in _options_given(request):
            raise ConfigError(f"{option}: there is no chip without --hardware, such as --hardware brainscales2")
        return
    from rnla_neuro.hardware.emulation.effects import parse_off

    parse_off(request.chip_off)
    if len(request.chip_seed) > 1 and len(request.chip_seed) != len(request.seeds):
        raise ConfigError(
            f"--chip-seed: {len(request.chip_seed)} chips for {len(request.seeds)} seeds; allowed is one chip for all "
            "of them, or one each"
        )
    if request.learner == "backprop":
        raise ConfigError(
            f"learner 'backprop' on --hardware {request.hardware}: it changes weights at its decision, and those of a "
            "chip change between runs; choose reinforce, or a learner of a model"
        )


def _options_given(request: RunRequest) -> list[str]:
    """Return the options of a chip that a request has."""
    said = {
        "--chip-seed": request.chip_seed,
        "--uncalibrated": not request.calibrated,
        "--chip-off": request.chip_off,
    }
    return [name for name, given in said.items() if given]


def platform_of(request: RunRequest) -> HardwareSpec:
    """Return the platform of a request."""
    from rnla_neuro.hardware.reading import load_hardware, parse_hardware

    if request.hardware_text:
        return parse_hardware(request.hardware_text, Path(request.hardware))
    return load_hardware(request.hardware)


def hardware_text(request: RunRequest) -> str:
    """Return the text of a request's platform file; empty: it has none."""
    return platform_of(request).text if request.hardware else ""


def simulate(
    request: RunRequest,
    network: NetworkSpec,
    backend: Backend | None,
    options: Callable[[Backend], dict[str, Any]],
    plain: Callable[[NetworkSpec], Simulation],
) -> Simulation:
    """Put a network on an emulated chip, or give the platform to a backend that reaches it.

    Args:
        request: What was asked for.
        network: The network.
        backend: The backend; None: a baseline needs none.
        options: Returns the options of a backend.
        plain: Makes the simulation of a network that is on no chip.
    """
    from rnla_neuro.hardware.emulation.build import on_chip
    from rnla_neuro.hardware.fit import fit

    platform, runner = platform_of(request), f"learner {request.learner!r}"
    if backend is not None:
        runner = f"backend {request.backend!r}"
        if "hardware" in backend.capabilities.options:
            given = _options_given(request)
            if given:
                they = "it" if len(given) == 1 else "them"
                raise ConfigError(f"{', '.join(given)}: {runner} emulates no chip; leave {they} out")
            return backend.build(network, hardware=platform, **options(backend))
        backend.check(network, options(backend))  # before the chip is made: a kind that it does not run at all
    fit(network, platform).refuse(emulated=True)
    return on_chip(
        network,
        platform,
        plain,
        chip_seeds=request.chip_seed or (1,),
        calibrated=request.calibrated,
        off=request.chip_off,
        runner=runner,
        runs_strings=backend is not None and request.backend != "equilibrium",
    )
