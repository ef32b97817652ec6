"""The test double of pynn_brainscales on the path, for the tests that ask for it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

DOUBLE = Path(__file__).parent / "double"


def _forget() -> None:
    for name in [n for n in sys.modules if n == "pynn_brainscales" or n.startswith("pynn_brainscales.")]:
        del sys.modules[name]


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch):
    """The double as `import pynn_brainscales.brainscales2` gives it, not yet set up."""
    pytest.importorskip("pyNN")
    monkeypatch.syspath_prepend(str(DOUBLE))
    _forget()
    module = importlib.import_module("pynn_brainscales.brainscales2")
    yield module
    module.end()
    _forget()


@pytest.fixture
def pynn(chip):
    """The double, set up."""
    chip.setup()
    return chip
