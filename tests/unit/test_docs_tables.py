"""docs/models.md and docs/hardware_files.md list what the code lists, and docs/ has what it points at."""

import re
from pathlib import Path

import pytest

from rnla_neuro.spec.symbols import ENGINE_SYMBOLS, ROLES
from tools.docs_tables import PAGE, updated
from tools.docs_tables import PAGES as PAGES_WITH_TABLES

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES_WITH_TABLES, ids=lambda page: page.name)
def test_tables_of_a_page_are_those_of_the_code(page):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (\w+) -->", text)) == set(PAGES_WITH_TABLES[page])
    assert updated(text) == text, "run: python -m tools.docs_tables"


def test_a_changed_table_is_noticed():
    text = PAGE.read_text(encoding="utf-8")
    assert updated(text.replace("| `phi_prime` |", "| `phi_dot` |")) == text
    assert text.count("| `phi_prime` |") == 1


def test_every_symbol_and_role_is_listed():
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{symbol.name}` |" in text for symbol in ENGINE_SYMBOLS)
    assert all(f"| `{role}` |" in text for role in ROLES)


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_pages():
    assert {"index.md", "tutorial.md", "models.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in _anchors(path), f"{page.name} links to {link}"
