"""Pages as one HTML file each: templates, styles, scripts and the plotting library go into it, nothing is fetched."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup, escape

from rnla_neuro.analysis.report.blocks import (
    Block,
    Cell,
    Choice,
    Details,
    Figure,
    Grid,
    Page,
    Picture,
    Table,
    Tags,
)
from rnla_neuro.analysis.report.formatting import round_to
from rnla_neuro.errors import ConfigError, MissingExtraError, RunFolderError
from rnla_neuro.records import whole_or_nothing

_TEMPLATES: Final = Path(__file__).resolve().parent / "templates"
_SCRIPTS: Final = ("theme.js", "filters.js", "tables.js", "plots.js")
_INLINE: Final = re.compile(r"`([^`\n]+)`|(https?://[^\s<>()\"'`]+[^\s<>()\"'`.,;:])")
_OUR_NAMES: Final = ("content", "filters", "library", "shown", "theme")  # of elements of the template
_PERCENT: Final = re.compile(r"(?<=\d) %")
_KINDS: Final = {".png": "image/png", ".svg": "image/svg+xml"}


def write_page(page: Page, path: str | Path) -> Path:
    """Write a page as one HTML file that opens without network; an existing file is replaced.

    Args:
        page: What it holds.
        path: Where, such as ``report.html``.

    Returns:
        The path.

    Raises:
        MissingExtraError: The page has plots, and plotly is not installed.
        ConfigError: A table has a row with too few or too many cells, or a picture is neither PNG nor SVG.
        RunFolderError: A picture cannot be read, or the page cannot be written.
    """
    target = Path(path)
    text = render(page)
    with whole_or_nothing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def render(page: Page) -> str:
    """Return the HTML text of a page; errors are those of `write_page`, except for the writing."""
    blocks = [block for section in page.sections for block in _all_blocks(section.blocks)]
    for block in blocks:
        if isinstance(block, Table):
            _check_table(block)
    figures = [block for block in blocks if isinstance(block, Figure)]
    scripts = [_read(name) for name in _SCRIPTS]
    library = _library() if figures else None
    allowed = [_digest(script) for script in scripts] + ([library[1]] if library else [])
    text: str = (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            sections=list(zip(_names(page), page.sections, strict=True)),
            filters=[one for one in page.filters if len(one.values) > 1],
            style=_read("page.css"),
            scripts=scripts,
            library=library[0] if library else "",
            allowed=" ".join(f"'{digest}'" for digest in allowed),
            plots=[_plot_json(figure) for figure in figures],
            next_plot=count().__next__,  # the template meets the figures in this order
        )
    )
    return text


@cache
def _environment() -> Any:
    """Return the template engine; loaded when the first page is written."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(
        rich=rich, paragraphs=paragraphs, tags=_tags, scales=_scales, bar=_bar, kind=_kind, image=_image
    )
    return environment


@cache
def _library() -> tuple[str, str]:
    """Return plotly.js, packed (gzip, base64: under half its length), and the digest of its text."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtraError(
            "a page with interactive plots needs a package more: pip install 'rnla_neuro[report]'"
        ) from None
    # a script element loses carriage returns, and with them its digest
    text = str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")
    packed = gzip.compress(text.encode(), 9, mtime=0)
    return base64.b64encode(packed).decode("ascii"), _digest(text)


@cache
def _read(name: str) -> str:
    """Read a style sheet or script of ours."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """Return what a content security policy calls a script by: only scripts listed there run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _all_blocks(blocks: tuple[Block, ...]) -> Iterator[Block]:
    """Yield blocks and what they hold, in the order of the page."""
    for block in blocks:
        yield block
        if isinstance(block, Grid | Details):
            yield from _all_blocks(block.blocks)
        elif isinstance(block, Choice):
            for option in block.options:
                yield from _all_blocks(option.blocks)


def _check_table(table: Table) -> None:
    """Refuse a row that does not fit."""
    for row in table.rows:
        if len(row.cells) != len(table.columns):
            raise ConfigError(
                f"table {table.caption!r}: row {row.cells[0].text if row.cells else ''!r} has {len(row.cells)} cells; "
                f"there are {len(table.columns)} columns"
            )


def _plot_json(figure: Figure) -> Markup:
    """Return a plot as JSON that may stand in a script element, its numbers rounded."""
    text = json.dumps(
        {"data": _rounded(figure.plot.data), "layout": _rounded(figure.plot.layout), "label": figure.label},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    # "</script>" and "<!--" in a name would end or change the element; \u2028 is safe in JSON
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _rounded(value: Any) -> Any:
    """Return plain data with numbers of 5 digits; NaN and infinity, which JSON lacks, become None."""
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) < 1e9 else round_to(value)
    return value


def rich(text: str) -> Markup:
    """Escape a text; set `` `code` `` and make links of addresses.

    >>> print(rich("`a<b` & https://example.org/x."))
    <code>a&lt;b</code> &amp; <a href="https://example.org/x" rel="noopener noreferrer">https://example.org/x</a>.
    """
    text = _PERCENT.sub("\u202f%", text)  # never at the beginning of a line
    parts, end = [], 0
    for match in _INLINE.finditer(text):
        parts.append(escape(text[end : match.start()]))
        end = match.end()
        if match[1]:
            parts.append(Markup("<code>{}</code>").format(match[1]))
        else:
            parts.append(Markup('<a href="{0}" rel="noopener noreferrer">{0}</a>').format(match[2]))
    parts.append(escape(text[end:]))
    return Markup("").join(parts)


def paragraphs(text: str) -> list[Markup]:
    """Divide a text at blank lines."""
    return [rich(part.strip()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _names(page: Page) -> list[str]:
    """Return a name for the address of each section: ``"Paired tests"`` becomes ``"paired-tests"``."""
    names: list[str] = []
    taken = set(_OUR_NAMES)
    for section in page.sections:
        stem = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") or "section"
        name = next(name for n in count(1) if (name := stem if n == 1 else f"{stem}-{n}") not in taken)
        taken.add(name)
        names.append(name)
    return names


def _tags(tags: Tags) -> str:
    """Return tags as JSON for an attribute; empty where there are none."""
    return json.dumps(dict(tags), ensure_ascii=False, separators=(",", ":")) if tags else ""


def _scales(table: Table) -> list[tuple[float, float] | None]:
    """Return, for each column, the range of its intervals."""
    scales: list[tuple[float, float] | None] = []
    for number in range(len(table.columns)):
        known = [cell.interval for row in table.rows if (cell := row.cells[number]).interval]
        ends = [end for interval in known for end in interval if math.isfinite(end)]
        scales.append((min(ends), max(ends)) if ends and max(ends) > min(ends) else None)
    return scales


def _bar(cell: Cell, scale: tuple[float, float] | None) -> dict[str, float | None] | None:
    """Return where a cell's interval begins, has its mean and ends, and zero, in percent of the column's range."""
    if scale is None or cell.interval is None or not all(map(math.isfinite, cell.interval)):
        return None
    low, high = scale
    begin, mean, end, zero = (round(100 * (x - low) / (high - low), 2) for x in (*cell.interval, 0.0))
    return {"low": begin, "mean": mean, "high": end, "zero": zero if low < 0 < high else None}


def _kind(block: Block) -> str:
    """Return the name by which the template knows a block."""
    return type(block).__name__


def _image(picture: Picture) -> str:
    """Return a picture file as an address that holds the picture itself."""
    kind = _KINDS.get(picture.path.suffix.lower())
    if kind is None:
        raise ConfigError(f"picture {picture.path}: a page takes {' and '.join(_KINDS)}")
    try:
        content = picture.path.read_bytes()
    except OSError as error:
        raise RunFolderError(f"cannot read the picture {picture.path}: {error.strerror or error}") from error
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
