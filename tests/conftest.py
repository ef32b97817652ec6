"""Records which backends really ran, so that CI can tell a skipped one from a tested one.

A test says what it exercises: ``@pytest.mark.backend("equilibrium:native")``. It counts once its body was
called, whether it passed or failed; a skip or a failed set-up does not count.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

_RAN: pytest.StashKey[Counter[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend-report",
        metavar="FILE",
        type=Path,
        help="write the backends that ran, and in how many tests, to this JSON file",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in a shell's background: tests send Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_RAN] = Counter()
    report: Path | None = config.getoption("--backend-report")
    if report is not None:
        report.unlink(missing_ok=True)  # a run that dies must not leave the last one's report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call" and not report.skipped:
        names = {str(name) for mark in item.iter_markers("backend") for name in mark.args}
        item.config.stash[_RAN].update(names)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    report: Path | None = session.config.getoption("--backend-report")
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(json.dumps(dict(sorted(session.config.stash[_RAN].items())), indent=2) + "\n")
