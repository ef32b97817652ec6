"""Findings as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnla_neuro.analysis.report import (
    Badge,
    Cell,
    Column,
    Facts,
    Figure,
    Page,
    Plot,
    Points,
    Row,
    Section,
    Table,
    Text,
    write_page,
)
from rnla_neuro.analysis.report.blocks import Block, Tone
from rnla_neuro.analysis.report.drawing import band, colour, curves
from rnla_neuro.reproduce.finding import Finding, Picture
from rnla_neuro.reproduce.publications import Publication
from rnla_neuro.run_config import versions_in_use

_TONES: Mapping[str, Tone] = {"reproduced": "good", "reproduced with changes": "warn", "not reproduced": "bad"}


def write_findings_page(
    findings: Sequence[Finding], path: Path, about: Mapping[str, Any], publication: Publication
) -> Path:
    """Write the page; return its path.

    Args:
        findings: What came of the checks.
        path: Of the page.
        about: How it was made, by name.
        publication: Whose claims they are.

    Raises:
        MissingExtraError: The extra ``report`` is not installed.
    """
    counts = {verdict: sum(one.verdict == verdict for one in findings) for verdict in _TONES}
    lead = f"Of {len(findings)} claims: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
    if about.get("quick"):
        lead += ". A quick look, with too few trials and seeds for these verdicts: they may differ"
    made = Section(
        "How it was made", (Facts(tuple((name, str(value)) for name, value in {**about, **versions_in_use()}.items())),)
    )
    page = Page(
        title=publication.title,
        lead=f"{publication.source} {lead}. Each criterion was set before it was measured.",
        sections=(
            Section("Verdicts", (_verdicts(findings),)),
            *(_section(one, publication) for one in findings),
            made,
        ),
    )
    return write_page(page, path)


def _badge(finding: Finding) -> Badge:
    return Badge(finding.verdict, _TONES[finding.verdict])


def _verdicts(findings: Sequence[Finding]) -> Table:
    rows = tuple(Row((Cell(one.title), Cell("", badge=_badge(one)), Cell(one.reason))) for one in findings)
    return Table("Every claim, and what became of it", (Column("Claim"), Column("Verdict"), Column("In figures")), rows)


def _section(finding: Finding, publication: Publication) -> Section:
    blocks: list[Block] = [Text(f"{publication.word}: {finding.claim}"), Text(finding.reason)]
    points = [f"Experiment: {finding.experiment}", f"Criterion: {finding.criterion}"]
    points += [f"What was changed: {finding.changes}"] if finding.changes else []
    blocks.append(Points(tuple(points)))
    if finding.picture is not None:
        blocks.append(_figure(finding.picture, finding))
    rows = tuple(
        Row((Cell(row.label), Cell(row.text(), value=row.mean), Cell(str(row.n), value=row.n))) for row in finding.rows
    )
    columns = (Column("Measured"), Column("Mean [95 % interval]", numeric=True), Column("n", numeric=True))
    return Section(finding.title, (*blocks, Table(f"Figures of: {finding.title}", columns, rows)), _badge(finding))


def _figure(picture: Picture, finding: Finding) -> Figure:
    plot = _bars(picture) if picture.kind == "bars" else _lines(picture)
    return Figure(plot, f"{finding.title}: {picture.y_label}", f"{picture.y_label}, {finding.title}")


def _lines(picture: Picture) -> Plot:
    traces: list[dict[str, Any]] = []
    for k, one in enumerate(picture.series):
        x = [float(value) for value in one.x]
        low, high = (end if end is not None else [None] * len(x) for end in (one.low, one.high))
        traces += band(one.name, k, x, one.y, low, high, {})
    plot = curves(traces, picture.x_label, picture.y_label)
    axis = dict(plot.layout["xaxis"])
    if picture.log_x:
        axis |= {"type": "log", "rangemode": "normal"}
    elif max(float(value) for one in picture.series for value in one.x) < 20:
        axis |= {"tickformat": "d", "dtick": 1, "rangemode": "normal"}
    return Plot(plot.data, {**plot.layout, "xaxis": axis})


def _bars(picture: Picture) -> Plot:
    (one,) = picture.series
    low, high = one.low or one.y, one.high or one.y
    trace: dict[str, Any] = {
        "type": "bar",
        "x": [str(name) for name in one.x],
        "y": list(one.y),
        "marker": {"color": colour(0)},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [b - y for y, b in zip(one.y, high, strict=True)],
            "arrayminus": [y - a for y, a in zip(one.y, low, strict=True)],
            "color": "@ink",
        },
        "hovertemplate": "%{x}: %{y:.3f}<extra></extra>",
        "showlegend": False,
    }
    level = next(iter(picture.levels.items()), (None, None))
    plot = curves([trace], picture.x_label, picture.y_label, rule=level[1], rule_name=level[0] or "")
    return Plot(plot.data, {**plot.layout, "xaxis": {"type": "category"}, "hovermode": "closest"})
