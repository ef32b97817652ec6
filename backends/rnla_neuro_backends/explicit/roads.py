"""The roads of the Brian2 backends: *fused*, one kernel for a whole step; *plain*, Brian2's own groups.

Two kernels are fused: that of the explicit form for proven models, and the general one for others.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from rnla_neuro.errors import BackendError, ConfigError, unknown
from rnla_neuro.network import NetworkSpec

if TYPE_CHECKING:
    from rnla_neuro_backends.explicit.kernel import Kernel

LOG = logging.getLogger("rnla_neuro")
ROADS = ("auto", "fused", "plain")


class PlainRoadWarning(UserWarning):
    """The model is not of the proven form, and not for the general kernel: Brian2's own groups run it, slower."""


def fused_kernel(network: NetworkSpec, *, general: bool = True) -> Kernel:
    """Return the kernel of a network: that of the explicit form, else the general one.

    Args:
        network: What to simulate.
        general: Whether what runs the kernel can run the general one.

    Raises:
        BackendError: Neither can run the model; the message says of each why, naming the term.
    """
    from rnla_neuro_backends.explicit.kernel import make_kernel  # sympy: 'rnla list' needs none of it

    try:
        return make_kernel(network)
    except BackendError as error:
        if not general:
            raise
        unproven = error
    from rnla_neuro_backends.general.kernel import make_general_kernel

    try:
        return make_general_kernel(network)
    except BackendError as error:
        raise BackendError(f"{error}. Nor is it of the proven form: {unproven}") from None


def why_not_fused(network: NetworkSpec, *, general: bool = True) -> BackendError | None:
    """Return why no kernel can run a network, naming the term; None if one can. Arguments as `fused_kernel`."""
    try:
        fused_kernel(network, general=general)
    except BackendError as error:
        return error
    return None


def choose_road(network: NetworkSpec, road: str, otherwise: str, *, general: bool = True) -> str:
    """Return the road to take, and say why if ``auto`` is not the fast one.

    Args:
        network: What to simulate.
        road: What was asked for, one of `ROADS`.
        otherwise: What happens on the plain road, for the warning.
        general: Whether what runs kernels can run the general one.

    Raises:
        ConfigError: There is no such road.
        BackendError: The fused one was asked for, and the model cannot go it.
    """
    if road not in ROADS:
        raise ConfigError(unknown("road", road, ROADS))
    if road == "plain":
        return road
    reason = why_not_fused(network, general=general)
    if reason is None:
        return "fused"
    if road == "fused":
        raise reason
    text = f"{otherwise}: {reason}"
    LOG.info(text)
    warnings.warn(text, PlainRoadWarning, stacklevel=3)
    return "plain"
