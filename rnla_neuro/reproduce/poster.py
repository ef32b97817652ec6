"""The claims of the poster that this package implements; poster.toml has them in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rnla_neuro.reproduce import dynamics, learning
from rnla_neuro.reproduce.finding import Finding
from rnla_neuro.reproduce.runs import Workshop

CHECKS: Final[dict[str, Callable[[Workshop], Finding]]] = {
    "lag": dynamics.check_lag,
    "phases": learning.check_phases,
    "errors": dynamics.check_errors,
    "self-teaching": learning.check_alignment,
    "perturbation": learning.check_perturbation,
    "three-factors": learning.check_factors,
    "homeostasis": learning.check_homeostasis,
    "parity": learning.check_parity,
    "delays": learning.check_delays,
}
