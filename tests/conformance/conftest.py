"""Fixtures that several conformance tests share."""

from __future__ import annotations

from collections.abc import Iterator

import brian2
import pytest


@pytest.fixture
def numpy_target() -> Iterator[None]:
    """Let Brian2 run numpy, which compiles nothing."""
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    yield
    brian2.prefs.codegen.target = before
