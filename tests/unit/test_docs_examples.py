"""The plugin that runs the code blocks of Markdown files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The exception rises in sybil itself, below which its traceback has no line of the block.
CONFTEST = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    if item.example.line == 1:
        item.example.document = None
"""


def test_an_exception_from_outside_a_block_fails_that_block_only(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "two.md").write_text("```python\nx = 1\n```\n\n```python\n1 / 0\n```\n")
    command = [sys.executable, "-m", "pytest", "-p", "tools.docs_examples", "-p", "no:cacheprovider", "two.md"]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert "INTERNALERROR" not in result.stdout + result.stderr
    assert result.returncode == 1
    assert "AttributeError" in result.stdout
    assert "ZeroDivisionError" in result.stdout
    assert "2 failed" in result.stdout
