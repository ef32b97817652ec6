"""What can be reproduced: each publication with its claims' checks."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rnla_neuro.errors import ConfigError, unknown
from rnla_neuro.reproduce.finding import Finding
from rnla_neuro.reproduce.runs import Workshop


@dataclass(frozen=True)
class Publication:
    """A publication whose claims are checked.

    Attributes:
        name: As the command line takes it; also of the module with its ``CHECKS`` and of the file with their texts.
        title: Of the page.
        source: Authors and title, a sentence.
        word: What the page calls it before a claim.
        seeds: By default; none of them tuned anything.
    """

    name: str
    title: str
    source: str
    word: str
    seeds: str

    @property
    def checks(self) -> Mapping[str, Callable[[Workshop], Finding]]:
        """The checks by key, in order."""
        found: Mapping[str, Callable[[Workshop], Finding]]
        found = importlib.import_module(f"rnla_neuro.reproduce.{self.name}").CHECKS
        return found


PUBLICATIONS: Final = {
    one.name: one
    for one in (
        Publication(
            "poster",
            "The poster, claim by claim",
            "Kungl et al., “Deep reinforcement learning in a time-continuous model”.",
            "The poster",
            "901-910",
        ),
        Publication(
            "pong",
            "Pong by R-STDP, and R-NLA beside it",
            "Wunderlich et al. 2019, “Demonstrating Advantages of Neuromorphic Computation: A Pilot Study”, "
            "Front. Neurosci. 13:260.",
            "The claim",
            "901-905",
        ),
    )
}


def reproduce(publication: Publication, shop: Workshop, only: Sequence[str] = ()) -> list[Finding]:
    """Check claims, in the publication's order.

    Args:
        publication: Whose.
        shop: Where, and how much.
        only: Keys of the checks to make; empty: all.

    Raises:
        ConfigError: There is no such check, or fewer than 2 seeds.
    """
    checks = publication.checks
    for key in only:
        if key not in checks:
            raise ConfigError(unknown("check", key, checks))
    if len(shop.seeds) < 2:
        raise ConfigError(f"{len(shop.seeds)} seed: at least 2 are needed for an interval")
    findings = []
    for key, check in checks.items():
        if only and key not in only:
            continue
        began = time.monotonic()
        shop.tell(key, 0.0)
        findings.append(replace(check(shop), seconds=time.monotonic() - began))
    return findings
