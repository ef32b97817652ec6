"""The claims of the poster that this package implements; poster.toml has them in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from rnla_neuro.errors import ConfigError, unknown
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


def reproduce(shop: Workshop, only: Sequence[str] = ()) -> list[Finding]:
    """Check the claims, in the poster's order.

    Args:
        shop: Where, and how much.
        only: Keys of the checks to make; empty: all.

    Raises:
        ConfigError: There is no such check, or fewer than 2 seeds.
    """
    for key in only:
        if key not in CHECKS:
            raise ConfigError(unknown("check", key, CHECKS))
    if len(shop.seeds) < 2:
        raise ConfigError(f"{len(shop.seeds)} seed: at least 2 are needed for an interval")
    findings = []
    for key, check in CHECKS.items():
        if only and key not in only:
            continue
        began = time.monotonic()
        shop.tell(key, 0.0)
        findings.append(replace(check(shop), seconds=time.monotonic() - began))
    return findings
