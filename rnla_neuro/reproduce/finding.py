"""What a check of a claim comes to: figures with intervals, a picture, and a verdict by a criterion set beforehand."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

Verdict = Literal["reproduced", "reproduced with changes", "not reproduced"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "reproduced with changes", "not reproduced")


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        label: What was measured.
        mean: Its mean over `n` seeds.
        low: Lower end of the 95 % interval; None where there is none.
        high: Its upper end.
        n: Number of seeds (or networks).
        unit: Of the figure; empty for a fraction.
    """

    label: str
    mean: float
    low: float | None = None
    high: float | None = None
    n: int = 1
    unit: str = ""

    @classmethod
    def of(cls, label: str, values: Sequence[float], unit: str = "") -> Row:
        """Average values, one a seed; the interval is Student's t."""
        from rnla_neuro.analysis.statistics import summary

        found = summary(values)
        low, high = found["ci95"] or (None, None)
        mean = found["mean"]
        return cls(label, float("nan") if mean is None else mean, low, high, len(values), unit)

    def text(self) -> str:
        """Return mean and interval as text."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is None or self.high is None:
            return f"{self.mean:.4g}{unit}"
        return f"{self.mean:.4g}{unit} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class Series:
    """A line or a set of bars of a picture; `x` are numbers, or names for bars."""

    name: str
    x: Sequence[float | str]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class Picture:
    """What is drawn for a finding.

    Attributes:
        kind: ``lines``, or ``bars`` with an interval each.
        x_label: What the horizontal axis shows, with its unit.
        y_label: What the vertical axis shows, with its unit.
        series: What is drawn.
        levels: Horizontal reference lines by name.
        log_x: Whether the horizontal axis is logarithmic.
    """

    kind: Literal["lines", "bars"]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    levels: dict[str, float] = field(default_factory=dict)
    log_x: bool = False


@dataclass(frozen=True)
class Finding:
    """What came of the check of one claim.

    Attributes:
        key: Short name, as the command line takes it.
        title: The claim in a few words.
        claim: What the publication says.
        experiment: What was done to check it.
        criterion: When it counts as reproduced, set before it was measured.
        verdict: One of `VERDICTS`.
        reason: The verdict in a sentence, with its figures.
        rows: What was measured.
        picture: What is drawn.
        changes: In what the checked form differs from the literal one, and what the literal one did.
        seconds: How long it took.
    """

    key: str
    title: str
    claim: str
    experiment: str
    criterion: str
    verdict: Verdict
    reason: str
    rows: tuple[Row, ...]
    picture: Picture | None = None
    changes: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@cache
def _texts(publication: str) -> dict[str, dict[str, str]]:
    return tomllib.loads((Path(__file__).parent / f"{publication}.toml").read_text(encoding="utf-8"))


def finding(
    key: str,
    verdict: Verdict,
    reason: str,
    rows: Sequence[Row],
    picture: Picture | None = None,
    publication: str = "poster",
    **values: Any,
) -> Finding:
    """Return a finding with the texts of a publication's file, such as ``poster.toml``.

    Args:
        key: Of the check, a section of that file.
        verdict: One of `VERDICTS`.
        reason: The verdict in a sentence.
        rows: What was measured.
        picture: What is drawn.
        publication: Whose texts: the stem of the file.
        values: What the texts name in braces.
    """
    texts = {name: " ".join(text.split()).format(**values) for name, text in _texts(publication)[key].items()}
    return Finding(
        key=key,
        title=texts["title"],
        claim=texts["claim"],
        experiment=texts["experiment"],
        criterion=texts["criterion"],
        changes=texts.get("changes", ""),
        verdict=verdict,
        reason=reason,
        rows=tuple(rows),
        picture=picture,
    )
