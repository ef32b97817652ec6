"""What a page is made of: sections of text, tables, figures and choices, as plain data.

Everything is text or numbers; nothing here is HTML. The writer (`rnla_neuro.analysis.report.writing`) escapes it all.
In text, `` `code` `` is set as code, and an address (``https://…``) becomes a link.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Tone = Literal["good", "bad", "warn", "neutral"]
Tags = Mapping[str, str | tuple[str, ...]]
"""What something is about, such as ``{"model": "rate_nla"}`` or ``{"model": ("a", "b")}``.

It is hidden where the reader unchecks one of these in the page's filters.
"""


@dataclass(frozen=True)
class Badge:
    """A word in a coloured pill: a verdict.

    Attributes:
        text: The word itself; colour alone says nothing.
        tone: Its colour.
    """

    text: str
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Text:
    """Paragraphs, divided by blank lines."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of short statements."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Absent:
    """A sentence in the place of what is not there, saying why."""

    reason: str


@dataclass(frozen=True)
class Facts:
    """Names and values, such as settings and versions."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code:
    """A command line or a file, as it is.

    Attributes:
        text: The text.
        label: What it is, for those who do not see it.
    """

    text: str
    label: str


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What stands in it.
        note: A second, smaller line.
        value: What the column is sorted by; None is sorted last. Without it the text is.
        interval: ``(low, mean, high)``, drawn as a small bar on the scale of the column.
        badge: A verdict in place of the text.
        swatch: Number of the series whose colour stands before the text.
    """

    text: str
    note: str = ""
    value: float | None = None
    interval: tuple[float, float, float] | None = None
    badge: Badge | None = None
    swatch: int | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its header.
        help: What it means; shown when the header is pointed at, and listed below the table.
        numeric: Set to the right and sorted as numbers.
        note: A second, smaller line.
    """

    title: str
    help: str = ""
    numeric: bool = False
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table: one cell a column; the first is the row's header."""

    cells: tuple[Cell, ...]
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by each column.

    Attributes:
        caption: Says what it shows.
        columns: Its columns.
        rows: Its rows, each with as many cells.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Plot:
    """An interactive figure of plotly, as data.

    Attributes:
        data: Traces. A trace may carry ``"meta": {"model": …}``: filters hide it by this.
        layout: Its layout; colours and fonts of the page are put below it.

    A colour written ``"@series-0"`` is the page's colour of that name in the present theme (light or dark),
    ``"@series-0/0.2"`` the same at 20 % opacity. Names: ``series-0`` to ``series-7``, ``ink``, ``muted``, ``line``,
    ``surface``, ``low`` and ``high`` (the ends of a diverging scale), ``scale`` (the end of a sequential one).
    """

    data: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A plot with its caption.

    Attributes:
        plot: What is drawn.
        caption: What it shows, below it.
        label: The same in a few words, for those who do not see it.
        height: In CSS pixels.
        tags: Hide the figure as a whole.
    """

    plot: Plot
    caption: str
    label: str
    height: int = 380
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture file (PNG or SVG), put into the page.

    Attributes:
        path: Where it is.
        caption: What it shows, below it.
        label: The same in a few words, for those who do not see it.
    """

    path: Path
    caption: str
    label: str


@dataclass(frozen=True)
class Grid:
    """Blocks side by side; below each other where there is no room."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Option:
    """One of the things that can be chosen."""

    label: str
    blocks: tuple[Block, ...]
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A list to choose from, of which one is shown; without a script they all are."""

    label: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away until they are asked for."""

    summary: str
    blocks: tuple[Block, ...]


Block = Text | Points | Absent | Facts | Code | Table | Figure | Picture | Grid | Choice | Details


@dataclass(frozen=True)
class Section:
    """A part of the page, with a header that can be linked to.

    Attributes:
        title: Its header.
        blocks: What it holds.
        badge: A verdict beside the header.
    """

    title: str
    blocks: tuple[Block, ...]
    badge: Badge | None = None


@dataclass(frozen=True)
class Filter:
    """Something by which rows, curves and choices can be hidden.

    Attributes:
        key: The name in their tags.
        label: What it is called on the page.
        values: All values.
        names: What they are called on the page, where that differs.
        swatches: For each value, the number of its colour; none if empty.
    """

    key: str
    label: str
    values: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    swatches: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: Its name, above everything.
        lead: What it is, in a sentence or two.
        sections: Its parts, in order.
        filters: What can be hidden; a filter of one value is left out.
        footer: Small print at the end.
    """

    title: str
    lead: str
    sections: tuple[Section, ...]
    filters: tuple[Filter, ...] = ()
    footer: str = ""
