"""The roads of the Brian2 backends: *fused*, one kernel for a proven model; *plain*, Brian2's own groups."""

from __future__ import annotations

import logging
import warnings

from rnla_neuro.errors import BackendError, ConfigError, unknown
from rnla_neuro.spec.model import ModelSpec

LOG = logging.getLogger("rnla_neuro")
ROADS = ("auto", "fused", "plain")


class PlainRoadWarning(UserWarning):
    """The model is not of the proven form: it runs on Brian2's own groups, slower."""


def why_not_fused(model: ModelSpec) -> BackendError | None:
    """Return why the fused kernels cannot run a model, naming the term; None if they can."""
    from rnla_neuro_backends.explicit.form import explicit_form  # sympy: 'rnla list' needs none of it

    try:
        explicit_form(model)
    except BackendError as error:
        return error
    return None


def choose_road(model: ModelSpec, road: str, otherwise: str) -> str:
    """Return the road to take, and say why if ``auto`` is not the fast one.

    Args:
        model: The model.
        road: What was asked for, one of `ROADS`.
        otherwise: What happens on the plain road, for the warning.

    Raises:
        ConfigError: There is no such road.
        BackendError: The fused one was asked for, and the model cannot go it.
    """
    if road not in ROADS:
        raise ConfigError(unknown("road", road, ROADS))
    if road == "plain":
        return road
    reason = why_not_fused(model)
    if reason is None:
        return "fused"
    if road == "fused":
        raise reason
    text = f"{otherwise}: {reason}"
    LOG.info(text)
    warnings.warn(text, PlainRoadWarning, stacklevel=3)
    return "plain"
