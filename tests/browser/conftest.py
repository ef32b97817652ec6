"""A real browser for the tests of pages; they are skipped, and say why, where there is none."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Debian's names first; a browser that playwright would download itself is not needed
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def browser_path() -> str | None:
    """The browser that RNLA_BROWSER names, else the first one on PATH."""
    named = os.environ.get("RNLA_BROWSER")
    return named or next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: make env installs it")
    path = browser_path()
    if path is None:
        pytest.skip(f"no browser (looked for {', '.join(BROWSERS)}; apt-get install chromium, or set RNLA_BROWSER)")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        started.close()


class Opened:
    """A page that is open, and what it said and asked for since."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def draw_all(self) -> int:
        """Bring every plot to the screen, also those that have to be chosen first; return how many there are."""
        self.page.evaluate("document.querySelectorAll('[hidden]').forEach((e) => { e.hidden = false; })")
        return self.page.evaluate(
            """async () => {
                const plots = [...document.querySelectorAll('.plot')];
                for (const plot of plots) {
                    plot.scrollIntoView({ behavior: 'instant' });
                    while (!('drawn' in plot.dataset)) await new Promise((done) => setTimeout(done, 20));
                }
                return plots.length;
            }"""
        )

    def wait_until(self, condition: str) -> None:
        """Ask again and again: playwright's own waiting evaluates text in the page, which the page forbids."""
        end = time.monotonic() + 60.0
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            self.page.wait_for_timeout(20)

    def show(self, section: str) -> Any:
        """Bring a section to the screen, wait for its first plot if it has one, and return it."""
        found = self.page.locator(f"section[aria-labelledby='{section}']")
        found.evaluate("(e) => e.scrollIntoView({ behavior: 'instant' })")
        if found.locator(".plot:visible").count():
            found.locator(".plot[data-drawn]:visible .main-svg").first.wait_for(state="attached")
        return found


@pytest.fixture(scope="module")
def open_page(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file in a window of its own, without network."""
    contexts = []

    def open_it(path: Path, **options: Any) -> Opened:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True, **options})
        context.set_default_timeout(60_000)  # of a machine that has other things to do
        contexts.append(context)
        opened = Opened(context.new_page(), path.as_uri())
        opened.page.goto(opened.address)
        return opened

    yield open_it
    for context in contexts:
        context.close()
