"""report.html in a real browser: nothing is fetched, plots are drawn, filter and hover work, phone, light and dark."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rnla_neuro.analysis.comparison import Comparison
from rnla_neuro.analysis.report import write_report
from rnla_neuro.analysis.report.formatting import number

pytest.importorskip("plotly", reason="plotly draws the plots: pip install 'rnla_neuro[report]'")
pytestmark = pytest.mark.backend("report:browser")

DATA = Path(__file__).parents[1] / "data"
PHONE = {"viewport": {"width": 375, "height": 740}, "has_touch": True, "is_mobile": True}
HOSTILE = "</script><img src=x onerror=document.title='owned'><b>%{x}"


@pytest.fixture(scope="module")
def comparison():
    return Comparison.read(DATA)


@pytest.fixture(scope="module")
def small(comparison):
    """Two models and two measures: every kind of plot, and as few of them as can be."""
    kept = {"rate_nla", "spiking_nla"}
    return replace(
        comparison,
        models=tuple(model for model in comparison.models if model.name in kept),
        measures=tuple(one for one in comparison.measures if one.key in ("test_accuracy", "spikes_per_decision")),
        cells=tuple(cell for cell in comparison.cells if cell.model in kept),
        tests=tuple(test for test in comparison.tests if {test.a, test.b} == kept),
    )


@pytest.fixture(scope="module")
def small_report(tmp_path_factory, small):
    return write_report(small, tmp_path_factory.mktemp("small") / "report.html")


@pytest.fixture(scope="module")
def report(tmp_path_factory, comparison):
    return write_report(comparison, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def window(open_page, report):
    return open_page(report, color_scheme="light")


@pytest.fixture
def opened(window):
    """A window that several tests share, since plotly takes a second to load; as if just opened."""
    window.page.evaluate("document.getElementById('filters').reset()")
    window.page.evaluate("document.querySelectorAll('.numbers').forEach((d) => { d.open = false; })")
    window.page.emulate_media(color_scheme="light")
    yield window
    assert window.complaints == []


def test_everything_is_drawn_without_a_complaint_or_a_request(open_page, small_report):
    opened = open_page(small_report)
    plots = opened.draw_all()
    # learning curves 2, measures 2, spikes 1, trials 2 * 4, alignment 2, confusion 4, weights 2 * 4, energy 2
    assert plots == 29
    points = opened.page.evaluate("[...document.querySelectorAll('.plot')].map((p) => p.data.length)")
    assert min(points) > 0
    assert opened.page.locator(".plot:has(.main-svg)").count() == plots
    assert opened.complaints == []
    assert opened.requests == [opened.address]


def test_a_page_says_that_nothing_may_be_fetched(open_page, small_report):
    opened = open_page(small_report, offline=False)
    outcome = opened.page.evaluate("fetch('https://example.org').then(() => 'fetched', () => 'refused')")
    assert outcome == "refused"
    assert opened.requests == [opened.address]  # refused by the page itself, before any request


def test_a_filter_hides_rows_curves_and_choices(opened):
    opened.show("learning-curves")
    visible = "(p) => p.data.filter((t) => t.visible !== false).map((t) => t.meta.model)"
    assert "reinforce" in opened.page.locator(".plot").first.evaluate(visible)
    opened.page.get_by_role("checkbox", name="reinforce").uncheck()
    rows = opened.page.locator("section[aria-labelledby='all-numbers'] tbody tr")
    shown = [rows.nth(n).inner_text() for n in range(rows.count()) if rows.nth(n).is_visible()]
    assert len(shown) == 6
    assert not any("reinforce" in text for text in shown)
    opened.page.locator(".plot[data-drawn]").first.wait_for()
    assert set(opened.page.locator(".plot").first.evaluate(visible)) == {"rate_nla", "rate_leaky", "spiking_nla"}
    options = opened.page.locator("section[aria-labelledby='confusion-matrix'] option:not([disabled])")
    assert not any("reinforce" in text for text in options.all_inner_texts())
    tests = opened.page.locator("section[aria-labelledby='paired-tests'] tbody tr:visible")
    assert tests.count() == 6  # three pairs, two delays
    assert not any("reinforce" in text for text in tests.all_inner_texts())
    opened.page.get_by_role("button", name="Show all").click()
    opened.wait_until("!document.querySelector('.plot').data.some((t) => t.visible === false)")
    assert rows.evaluate_all("(rows) => rows.every((row) => !row.hidden)")


def test_a_filter_of_delays_hides_whole_figures(opened):
    figures = opened.show("learning-curves").locator("figure")
    opened.page.get_by_role("checkbox", name="no delay").uncheck()
    assert [figures.nth(n).is_visible() for n in range(2)] == [False, True]
    opened.page.get_by_role("checkbox", name="Gamma(2, 15 ms) late").uncheck()
    assert opened.page.locator("section[aria-labelledby='all-numbers'] .nothing").is_visible()
    opened.page.get_by_role("checkbox", name="no delay").check()
    assert figures.nth(0).is_visible()
    width = "(p) => p.querySelector('.main-svg').getBoundingClientRect().width"
    assert opened.page.locator(".plot").first.evaluate(width) > 250  # drawn again at its size


def test_pointing_at_a_mean_says_what_it_is(opened, comparison):
    plot = opened.show("measures").locator(".plot:visible").first
    mean = plot.locator(".scatterlayer .trace.scatter .point").last  # the last trace is a mean, not a seed
    box = mean.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = plot.locator(".hoverlayer .hovertext")
    label.first.wait_for()
    cell = comparison.cells[-1]
    text = label.first.text_content()
    assert cell.model in text
    assert number(cell.measures["test_accuracy"].mean, decimals=3) in text


def test_a_click_on_a_header_sorts(opened):
    section = opened.show("all-numbers")
    header = section.locator("th", has_text="Decisions to 80 %")
    for direction in ("ascending", "descending"):
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == direction
        values = section.locator("tbody tr td:nth-child(5)").evaluate_all("(c) => c.map((x) => x.dataset.value)")
        numbers = [float(value) for value in values]
        assert numbers == sorted(numbers, reverse=direction == "descending")
    spikes = section.locator("th", has_text="Spikes per decision").get_by_role("button")
    for _ in range(2):
        spikes.press("Enter")  # without a mouse
        first = section.locator("tbody tr:visible").first.inner_text()
        assert first.startswith("spiking_nla")  # what has no value stays at the end


def test_a_choice_shows_one_of_several(opened):
    section = opened.show("one-trial-before-and-after-learning")
    section.get_by_label("Model").select_option(label="spiking_nla, no delay")
    section.locator(".plot[data-drawn]:visible").nth(1).wait_for()
    assert section.locator(".option:visible").count() == 1
    traces = section.locator(".plot:visible").first.evaluate("(p) => p.data.map((t) => t.name)")
    assert {"spikes, input", "spikes, hidden", "spikes, action"} <= set(traces)


def test_the_numbers_of_a_figure_can_be_read(opened):
    details = opened.show("learning-curves").locator(".numbers").first
    details.locator("summary").click()
    assert details.locator("tbody tr").count() == 4 * 60  # models times points
    assert "rate_leaky" in details.inner_text()


def test_a_phone_never_scrolls_sideways(open_page, small_report):
    opened = open_page(small_report, **PHONE)
    opened.draw_all()
    opened.page.evaluate("document.querySelectorAll('.more, .numbers').forEach((d, n) => { d.open = n < 4; })")
    assert opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]") == [375, 375]
    wide = opened.page.evaluate(
        """[...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll, svg, .plot > *')
            && e.getBoundingClientRect().right > 375.5).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    assert opened.complaints == []


def test_a_phone_hides_filters_until_they_are_asked_for(open_page, small_report):
    opened = open_page(small_report, **PHONE)
    box = opened.page.get_by_role("checkbox", name="spiking_nla")
    assert not box.is_visible()
    opened.page.locator("summary", has_text="Show").tap()
    box.uncheck()
    opened.page.locator("h1").tap()
    assert not box.is_visible()
    assert "(3 of 4)" in opened.page.locator("#shown").text_content()


def luminance(colour: str) -> float:
    """Relative luminance after WCAG 2.2, of ``rgb(…)``."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


COLOUR_OF = "(e, name) => getComputedStyle(e)[name]"
COMPUTED = """(name) => { const e = document.createElement('i'); e.style.color = `var(--${name})`;
    document.body.append(e); const colour = getComputedStyle(e).color; e.remove(); return colour; }"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_light_is_light_and_dark_is_dark_and_both_can_be_read(opened, theme):
    page = opened.page
    page.emulate_media(color_scheme=theme)
    ground = page.locator("body").evaluate(COLOUR_OF, "backgroundColor")
    assert luminance(ground) < 0.02 if theme == "dark" else luminance(ground) > 0.9
    for name in ("ink", "muted", "link"):
        for below in ("surface", "raised"):
            assert contrast(page.evaluate(COMPUTED, name), page.evaluate(COMPUTED, below)) >= 4.5, (name, below)
    for name in ("good", "bad", "warn", "neutral"):
        assert contrast(page.evaluate(COMPUTED, name), page.evaluate(COMPUTED, f"{name}-back")) >= 4.5, name
    for series in range(8):
        assert contrast(page.evaluate(COMPUTED, f"series-{series}"), ground) >= 3, series
    text = opened.show("learning-curves").locator(".plot .xtick text").first.evaluate(COLOUR_OF, "fill")
    assert contrast(text, ground) >= 7


def test_the_button_turns_the_theme_and_the_plots_with_it(opened):
    opened.show("learning-curves")
    tick = opened.page.locator(".plot .xtick text").first
    button = opened.page.locator("#theme")
    seen = []
    for _ in range(3):  # light, dark, and back to what the system says
        button.click()
        opened.show("learning-curves")  # what is far from the screen is drawn anew when it comes near
        ground = opened.page.locator("body").evaluate(COLOUR_OF, "backgroundColor")
        seen.append(
            (button.inner_text(), luminance(ground) > 0.5, contrast(tick.evaluate(COLOUR_OF, "fill"), ground) > 7)
        )
    assert seen == [("Theme: light", True, True), ("Theme: dark", False, True), ("Theme: system", True, True)]


def test_names_are_text_whatever_they_hold(open_page, tmp_path, small):
    first = small.models[0].name
    hostile = replace(
        small,
        title=HOSTILE,
        models=(replace(small.models[0], name=HOSTILE, summary=HOSTILE), *small.models[1:]),
        cells=tuple(replace(cell, model=HOSTILE) if cell.model == first else cell for cell in small.cells),
        command=HOSTILE,
    )
    opened = open_page(write_report(hostile, tmp_path / "report.html"))
    for section in ("learning-curves", "measures", "energy"):
        opened.show(section)
    assert opened.page.title() == HOSTILE
    assert opened.page.locator("h1").inner_text() == HOSTILE
    assert opened.page.locator("img").count() == 0
    assert HOSTILE in opened.page.locator(".plot .legendtext").first.text_content()
    opened.page.get_by_role("checkbox", name=HOSTILE).uncheck()
    assert (
        HOSTILE not in opened.page.locator("section[aria-labelledby='all-numbers'] tbody tr:visible").first.inner_text()
    )
    assert opened.complaints == []


def test_without_scripts_words_and_tables_are_there(open_page, report):
    opened = open_page(report, java_script_enabled=False)
    assert opened.page.locator("#all-numbers").is_visible()
    assert opened.page.locator("section[aria-labelledby='paired-tests'] table:visible").count() == 4
    for control in ("#theme", "#filters", ".choice select"):
        assert not opened.page.locator(control).first.is_visible()


def test_structure_for_those_who_do_not_see_it(open_page, small_report):
    page = open_page(small_report).page
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    links = page.evaluate("[...document.querySelectorAll('nav a')].map((a) => a.getAttribute('href').slice(1))")
    assert len(links) > 10
    assert set(links) <= set(ids)
    nameless = """[...document.querySelectorAll('main select, input, .plot, .scroll, img, table')].filter((e) =>
        !(e.labels?.length || e.ariaLabel || e.alt || e.caption)).length"""
    assert page.evaluate(nameless) == 0
    assert page.evaluate("[...document.querySelectorAll('main th')].filter((e) => !e.scope).length") == 0
