"""Pages that explain themselves: one HTML file with words, tables and interactive plots, no network needed.

A page is plain data, and nothing in it is HTML; `write_page` turns it into a file. It reads well on a phone, in light
and dark, and without a mouse; tables are sorted by a click on a header; where a page has filters, they hide rows,
curves, figures and choices that carry their tags.

```python
from rnla_neuro.analysis.report import Badge, Cell, Column, Facts, Page, Row, Section, Table, Text, write_page

verdicts = Table(
    caption="Every claim, and what became of it",
    columns=(Column("Claim"), Column("Cosine", numeric=True), Column("Verdict")),
    rows=(
        Row((Cell("No lag"), Cell("0.99", note="0.98 to 1.00", value=0.99, interval=(0.98, 0.99, 1.0)),
             Cell("", badge=Badge("reproduced", "good")))),
    ),
)
page = Page(
    title="The poster, reproduced",
    lead="Each claim as a check with its figure, statistic and verdict.",
    sections=(
        Section("Verdicts", (verdicts,)),
        Section("No lag", (Text("What was measured, and how."), Facts((("Seeds", "5"),))), Badge("reproduced", "good")),
    ),
)
write_page(page, "poster.html")
```

| block | what it is |
|---|---|
| `Text`, `Points`, `Absent` | paragraphs, a list, a sentence in the place of what is not there |
| `Facts`, `Code` | names and values, a command line |
| `Table` of `Column`, `Row`, `Cell` | cells hold a text, a small second line, an interval drawn as a bar, a `Badge` |
| `Figure` of a `Plot` | plotly's data and layout as dictionaries; colours such as ``"@series-0"`` follow the theme |
| `Picture` | a PNG or SVG file (of Matplotlib, say), put into the page |
| `Grid`, `Choice` of `Option`, `Details` | blocks side by side, one of several by a list, folded away |

In texts `` `code` `` is set as code and addresses become links; everything else is escaped. Helpers for plots are in
`rnla_neuro.analysis.report.drawing` (`band`, `curves`, `dots`, `seeds`, `matrix`, `legend_entry`), and for numbers in
`rnla_neuro.analysis.report.formatting` (`interval`, `number`, `quantity`, `p_value`). A page with a `Figure` needs the
extra ``report`` (plotly); one with pictures only does not.

`write_report` makes the page of a comparison of models.
"""

from rnla_neuro.analysis.report.blocks import (
    Absent,
    Badge,
    Block,
    Cell,
    Choice,
    Code,
    Column,
    Details,
    Facts,
    Figure,
    Filter,
    Grid,
    Option,
    Page,
    Picture,
    Plot,
    Points,
    Row,
    Section,
    Table,
    Text,
)
from rnla_neuro.analysis.report.comparing import comparison_page, write_report
from rnla_neuro.analysis.report.writing import write_page

__all__ = [
    "Absent",
    "Badge",
    "Block",
    "Cell",
    "Choice",
    "Code",
    "Column",
    "Details",
    "Facts",
    "Figure",
    "Filter",
    "Grid",
    "Option",
    "Page",
    "Picture",
    "Plot",
    "Points",
    "Row",
    "Section",
    "Table",
    "Text",
    "comparison_page",
    "write_page",
    "write_report",
]
