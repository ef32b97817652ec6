"""Writes findings: JSON, figures for papers, and a page."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnla_neuro import __version__
from rnla_neuro.errors import MissingExtraError
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.reproduce.finding import Finding, Picture
from rnla_neuro.reproduce.publications import Publication
from rnla_neuro.run_config import plain


class MissingReportWarning(UserWarning):
    """The page is not written, because an extra is not installed."""


def write_findings(
    findings: Sequence[Finding], folder: Path, about: dict[str, Any], publication: Publication
) -> list[Path]:
    """Write ``findings.json``, ``findings.md``, ``report.html`` and ``figures/KEY.png|svg``; return the paths.

    Without the extra ``report`` there is no ``report.html``, and a warning says so.

    Args:
        findings: What came of the checks.
        folder: Where; what is there of the same name is replaced.
        about: How it was made, for the files.
        publication: Whose claims they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    written = []
    for finding in findings:
        if finding.picture is not None:
            written += draw(finding.picture, finding.title, folder / "figures" / finding.key)
    data = plain({"version": __version__, **about, "findings": [one.as_dict() for one in findings]})
    texts = {"findings.json": json.dumps(data, indent=2) + "\n", "findings.md": as_markdown(findings, about)}
    for name, text in texts.items():
        with whole_or_nothing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(folder / name)
    try:
        from rnla_neuro.reproduce.page import write_findings_page

        written.append(write_findings_page(findings, folder / "report.html", about, publication))
    except MissingExtraError as error:
        warnings.warn(f"report.html is not written: {error}", MissingReportWarning, stacklevel=2)
    return written


def draw(picture: Picture, title: str, stem: Path) -> list[Path]:
    """Draw a picture as PNG and SVG."""
    from rnla_neuro.analysis.canvas import save, styled

    with styled(7.2, 4.6) as (figure, ((axes,),)):
        if picture.kind == "bars":
            _draw_bars(axes, picture)
        else:
            _draw_lines(axes, picture)
        for name, level in picture.levels.items():
            axes.axhline(level, color="#666666", linewidth=1, linestyle=":")
            axes.annotate(name, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9)
        axes.set_xlabel(picture.x_label)
        axes.set_ylabel(picture.y_label)
        axes.set_title(title)
        return list(save(figure, stem))


def _draw_bars(axes: Any, picture: Picture) -> None:
    (series,) = picture.series
    names = [str(name).replace(": ", ":\n").replace(", ", ",\n") for name in series.x]
    low = [y - a for y, a in zip(series.y, series.low or series.y, strict=True)]
    high = [b - y for y, b in zip(series.y, series.high or series.y, strict=True)]
    axes.bar(range(len(names)), series.y, yerr=(low, high), width=0.6, color="#0072B2", ecolor="#222222", capsize=4)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)


def _draw_lines(axes: Any, picture: Picture) -> None:
    from rnla_neuro.analysis.canvas import COLOURS, MARKERS

    for k, series in enumerate(picture.series):
        colour, few = COLOURS[k % len(COLOURS)], len(series.x) <= 20
        style = {"color": colour, "label": series.name, "marker": MARKERS[k % len(MARKERS)] if few else None}
        axes.plot(series.x, series.y, markersize=5, linestyle="--" if series.low is None else "-", **style)
        if series.low is not None and series.high is not None:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.2, linewidth=0)
    if picture.log_x:
        axes.set_xscale("log")
    many = len(picture.series) > 4  # more would lie on the lines
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 2} if many else {}
    axes.legend(frameon=False, **below)


def as_markdown(findings: Sequence[Finding], about: dict[str, Any]) -> str:
    """Return the findings as Markdown: a table of verdicts, then each with its figures."""
    lines = ["| claim | verdict | in figures |", "| --- | --- | --- |"]
    lines += [f"| [{one.title}](#{anchor(one.title)}) | {one.verdict} | {one.reason} |" for one in findings]
    for one in findings:
        lines += ["", f"## {one.title}", "", f"*{one.claim}*", "", f"**{one.verdict.capitalize()}.** {one.reason}", ""]
        lines += [f"Experiment: {one.experiment}", "", f"Criterion, set beforehand: {one.criterion}"]
        lines += ["", f"What was changed: {one.changes}"] if one.changes else []
        if one.picture is not None:
            lines += ["", f"![{one.title}](figures/{one.key}.png)"]
        lines += ["", "| measured | mean [95 % interval] | n |", "| --- | --- | --- |"]
        lines += [f"| {row.label} | {row.text()} | {row.n} |" for row in one.rows]
    made = ", ".join(f"{name} {value}" for name, value in about.items())
    return "\n".join([*lines, "", f"Made with rnla_neuro {__version__}: {made}", ""])


def anchor(title: str) -> str:
    """Return the anchor that Markdown gives a heading."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")
