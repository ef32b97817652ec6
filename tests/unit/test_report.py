"""Pages without a browser: what is said, what is left out, and that every text is escaped."""

from __future__ import annotations

import builtins
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rnla_neuro.analysis.comparison import Comparison, Failure, Measured, PairedTest
from rnla_neuro.analysis.report import (
    Badge,
    Cell,
    Choice,
    Column,
    Figure,
    Option,
    Page,
    Picture,
    Plot,
    Row,
    Section,
    Table,
    Text,
    comparison_page,
    write_page,
    write_report,
    writing,
)
from rnla_neuro.analysis.report.drawing import band, matrix
from rnla_neuro.analysis.report.formatting import interval, number, quantity
from rnla_neuro.analysis.report.trials import trial_plot
from rnla_neuro.analysis.report.words import caveats, delay_words, differences, ranking
from rnla_neuro.errors import ConfigError, MissingExtraError, RunFolderError

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def comparison():
    return Comparison.read(DATA)


def page(*blocks, **more) -> Page:
    return Page("A title", "Its lead.", (Section("First", blocks),), **more)


class Outline(HTMLParser):
    """Elements that are still open, and all that were met."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.met: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.met.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def sentences(page_: Page, title: str) -> str:
    (section,) = (one for one in page_.sections if one.title == title)
    return " ".join(
        text for block in section.blocks for text in (getattr(block, "items", None) or [getattr(block, "text", "")])
    )


# numbers


def test_as_many_digits_as_the_interval_supports():
    assert interval(0.912345, 0.902345, 0.922345) == ("0.912", "0.902 to 0.922")
    assert interval(0.9, 0.5, 1.3) == ("0.9", "0.5 to 1.3")
    assert interval(1484.2, 1440.1, 1528.3) == ("1\u202f484", "1\u202f440 to 1\u202f528")
    assert interval(-0.0123, -0.02, -0.0046, sign=True) == ("−0.012", "−0.020 to −0.005")
    assert interval(2e-4, 1.9e-4, 2.1e-4, "s") == ("200 µs", "190 to 210 µs")
    assert interval(None, None, None) == ("–", "")
    assert interval(0.5, None, None) == ("0.500", "")


def test_numbers_of_every_size():
    assert [number(x) for x in (0.0, 3, 12345678, 0.5, -1e-12)] == ["0", "3", "1.23×10⁷", "0.500", "−1×10⁻¹²"]
    assert number(-0.0004, decimals=2) == "0.00"  # no minus before nothing
    assert [quantity(x, "J") for x in (1e-5, 2.36e-11, 0.0)] == ["10 µJ", "23.6 pJ", "0 J"]
    assert quantity(7200.0, "s") == "7\u202f200 s"


# words


def test_delays_are_said_in_words():
    assert delay_words("iterations:3") == "3 decisions late"
    assert delay_words("no such law") == "no such law"


def test_the_best_stands_first_and_lost_seeds_are_counted(comparison):
    accuracy, _, threshold, *_ = comparison.measures
    assert ranking(comparison, accuracy)[0].startswith("no delay: `reinforce` 0.962")
    lowest = ranking(comparison, threshold)
    assert lowest[0].startswith("no delay: `spiking_nla`")  # fewer decisions are better
    assert "[4 of 5 seeds]" in lowest[1]


def test_a_difference_is_called_shown_only_if_the_corrected_test_shows_it(comparison):
    spec = comparison.measures[0]
    base = PairedTest(
        "test_accuracy", "none", "rate_nla", "rate_leaky", 10, -0.08, -0.09, -0.07, 0.002, 0.012, "t", "Holm"
    )
    tests = (
        base,
        replace(base, a="one", p_corrected=0.3),
        replace(base, a="two", low=-0.2, high=0.1, p_corrected=0.3),
    )
    (shown, likely, unclear) = differences(replace(comparison, tests=tests), spec)
    assert "tests show" in shown[0]
    assert shown[1] == ["no delay: `rate_nla` below `rate_leaky` by 0.080 (0.070 to 0.090; p = 0.012)"]
    assert "not shown" in likely[0]
    assert "`one`" in likely[1][0]
    assert "no proof of equality" in unclear[0]
    assert "`two`" in unclear[1][0]


def test_too_few_seeds_for_the_test_are_named(comparison):
    text = " ".join(caveats(comparison))
    assert "With 5 pairs" in text
    assert "cannot give p below 0.0625" in text
    six = tuple(replace(test, n=6) for test in comparison.tests)
    assert "cannot give" not in " ".join(caveats(replace(comparison, tests=six)))
    assert "single seed" in " ".join(caveats(replace(comparison, seeds=(1,))))


def test_missing_runs_substitutes_and_unverified_figures_are_named(comparison):
    text = " ".join(caveats(replace(comparison, cells=comparison.cells[1:])))
    assert "There is no run of `rate_nla` (no delay)." in text
    assert "the model file that ran is `rate_nla_late`" in text
    failure = Failure("rate_nla", "none", "out of memory")
    text = " ".join(caveats(replace(comparison, cells=comparison.cells[1:], failures=(failure,))))
    assert "`rate_nla` (no delay) is missing: out of memory" in text
    assert "There is no run" not in text
    text = " ".join(caveats(comparison))
    assert "those of “CPU core” and “Loihi 1” use figures that were not verified" in text


# pages


def test_a_report_is_one_well_formed_file(tmp_path, comparison):
    pytest.importorskip("plotly", reason="plotly draws the plots: pip install 'rnla_neuro[report]'")
    path = write_report(comparison, tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert Outline(text).open == []
    assert path.stat().st_size < 4_000_000
    assert not re.search(
        r"<(script|img|iframe)[^>]*\ssrc=|<link[^>]*href=\"(?!data:)|url\(|@import", text.split('id="library"')[0]
    )
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_the_same_comparison_makes_the_same_file(tmp_path, comparison):
    pytest.importorskip("plotly", reason="plotly draws the plots: pip install 'rnla_neuro[report]'")
    first = write_report(comparison, tmp_path / "a.html").read_bytes()
    assert write_report(comparison, tmp_path / "b.html").read_bytes() == first


def test_what_has_no_data_is_left_out_and_the_page_says_why(comparison):
    bare = replace(
        comparison,
        cells=tuple(
            replace(cell, confusion=None, raster=None, alignment=None, weights=None, energy=())
            for cell in comparison.cells
            if cell.model == "rate_nla"
        ),
        tests=(),
    )
    made = comparison_page(bare)
    titles = [section.title for section in made.sections]
    gone = ("Confusion matrix", "One trial, before and after learning", "Weights", "Energy", "Paired tests")
    assert not set(gone) & set(titles)
    left = sentences(made, "Left out")
    assert "Confusion matrix: the task has no test set." in left
    assert all(f"{title}: " in left for title in gone)
    assert "Left out" not in [section.title for section in comparison_page(comparison).sections]


def test_a_comparison_of_nothing_is_still_a_page(comparison):
    made = comparison_page(replace(comparison, cells=(), tests=()))
    assert "nothing to compare" in writing.render(made)


def test_one_seed_has_no_intervals(comparison):
    lonely = Measured((0.9,), 0.9, None, None)
    cells = tuple(replace(cell, measures={"test_accuracy": lonely}) for cell in comparison.cells)
    made = comparison_page(replace(comparison, cells=cells, seeds=(1,), tests=()))
    assert "`rate_nla` 0.900;" in sentences(made, "Summary")


def test_texts_are_escaped():
    bad = '</script><img src=x onerror=alert(1)> & "quoted"'
    table = Table(bad, (Column(bad, help=bad, note=bad),), (Row((Cell(bad, note=bad),), {"model": bad}),))
    text = writing.render(page(Text(bad), table, Choice(bad, (Option(bad, (Text(bad),), {"model": bad}),))))
    assert "<img" not in text
    outline = Outline(text)
    assert outline.open == []
    assert outline.met.count("script") == 4  # ours
    plot = writing._plot_json(Figure(Plot(({"name": bad, "y": [float("nan"), 1.23456789]},)), "", bad))
    assert "<" not in plot
    assert json.loads(plot)["data"][0] == {"name": bad, "y": [None, 1.2346]}


def test_code_and_addresses_in_texts():
    assert str(writing.rich("`a b` at https://example.org/?a=1&b=2, and `<b>`")) == (
        '<code>a b</code> at <a href="https://example.org/?a=1&amp;b=2" rel="noopener noreferrer">'
        "https://example.org/?a=1&amp;b=2</a>, and <code>&lt;b&gt;</code>"
    )


def test_sections_of_the_same_title_have_their_own_address():
    same = Page("t", "", (Section("Claim 1!", ()), Section("Claim 1", ()), Section("Filters", ())))
    text = writing.render(same)
    assert re.findall(r'<h2 id="([^"]*)"', text) == ["claim-1", "claim-1-2", "filters-2"]


def test_only_the_scripts_of_the_page_may_run():
    text = writing.render(page(Text("x")))
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    allowed = re.findall(r"'(sha256-[^']*)'", policy)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert [writing._digest(script) for script in scripts] == allowed
    assert policy.startswith("default-src 'none'")


def test_a_page_without_plots_needs_no_plotly(monkeypatch, tmp_path):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.partition(".")[0] == "plotly":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    writing._library.cache_clear()
    picture = tmp_path / "a.svg"
    picture.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    text = write_page(page(Picture(picture, "A caption", "a label")), tmp_path / "p.html").read_text()
    assert 'src="data:image/svg+xml;base64,' in text
    assert len(text) < 60_000
    with pytest.raises(MissingExtraError, match=r"pip install 'rnla_neuro\[report\]'"):
        write_page(page(Figure(Plot(({"y": [1]},)), "", "")), tmp_path / "q.html")
    assert not (tmp_path / "q.html").exists()


def test_mistakes_are_named(tmp_path):
    table = Table("Some", (Column("A"), Column("B")), (Row((Cell("alone"),)),))
    with pytest.raises(ConfigError, match=r"table 'Some': row 'alone' has 1 cells; there are 2 columns"):
        write_page(page(table), tmp_path / "p.html")
    with pytest.raises(ConfigError, match=r"\.png and \.svg"):
        write_page(page(Picture(tmp_path / "a.gif", "", "")), tmp_path / "p.html")
    with pytest.raises(RunFolderError, match="cannot read the picture"):
        write_page(page(Picture(tmp_path / "a.png", "", "")), tmp_path / "p.html")
    with pytest.raises(RunFolderError, match="cannot write"):
        write_page(page(), tmp_path / "nowhere" / "p.html")


def test_a_verdict_stands_beside_its_section():
    text = writing.render(Page("t", "", (Section("No lag", (), Badge("reproduced", "good")),)))
    assert text.count('<span class="badge good">reproduced</span>') == 2  # contents and header


# plots


def test_a_band_leaves_out_what_is_not_known():
    legend, area, curve = band("m", 0, (1, 2, 3), (0.1, None, 0.3), (0.0, None, 0.2), (0.2, None, 0.4), {"model": "m"})
    assert area["x"] == [1, 3, 3, 1]
    assert area["y"] == [0.0, 0.2, 0.4, 0.2]
    assert (curve["x"], curve["y"]) == ([1, 3], [0.1, 0.3])
    assert (legend.get("showlegend", True), curve["showlegend"]) == (True, False)
    assert len(band("m", 0, (1,), (0.1,), (None,), (None,), {})) == 2  # one seed: no band


def test_a_large_matrix_is_thinned_evenly():
    trace = matrix([[float(i)] * 3 for i in range(1000)], x="x", y="y", diverging=True).data[0]
    assert len(trace["z"]) == 128
    assert (trace["y"][0], trace["y"][-1]) == (0, 999)
    assert trace["z"][-1] == [999.0] * 3


def test_spikes_stand_in_their_layer(comparison):
    trial = comparison.cell("spiking_nla", "none").raster.after
    plot = trial_plot(replace(trial, spikes=((1.0, 3), (5.0, 64)), layers=(64, 12, 10)), 0, (-1, 1))
    by_name = {trace["name"]: trace for trace in plot.data}
    assert by_name["spikes, input"]["text"][0] == "input 3, 1 ms"
    assert by_name["spikes, hidden"]["x"][:2] == [5.0, 5.0]
    assert by_name["spikes, hidden"]["text"][0] == "hidden 0, 5 ms"
    axis = plot.layout["yaxis3"]
    low, high = by_name["spikes, hidden"]["y"][:2]
    assert 8.0 - 0.5 < low < high < 8.0 + 12**0.5  # below the inputs, whose height is the root of 64
    assert axis["ticktext"] == ["input", "hidden", "action"]
    analog = trial_plot(replace(trial, spikes=((5.0, 64),), layers=(64, 12, 10)), 0, (-1, 1))
    assert analog.layout["yaxis3"]["ticktext"] == ["hidden", "action"]


def test_what_baselines_know_of_late_rewards_is_said(comparison):
    names = {"reinforce": "baseline", "rate_nla": "rate"}
    models = tuple(replace(comparison.models[0], name=name, kind=kind) for name, kind in names.items())
    late = replace(comparison, models=models, delays=("none", "iterations:1"))
    assert any("told the mean delay" in text for text in caveats(late))
    assert not any("told the mean delay" in text for text in caveats(replace(late, delays=("none",))))
    assert not any("`backprop` learns" in text for text in caveats(late))
