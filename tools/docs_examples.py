"""Pytest plugin that runs the code blocks of Markdown files, each file from its first block to its last.

Loaded by ``make docs-test`` (``pytest -p tools.docs_examples README.md docs``). In a file:

* blocks marked ``python`` share their variables, as if typed into one session;
* blocks marked ``bash`` run with ``set -euo pipefail`` and the environment's ``bin`` on PATH;
* every file runs in an empty folder of its own, so a block may write wherever it likes;
* ``<!-- skip: next "why" -->`` before a block leaves it out, and any other language
  (``text``, ``toml``, ``console``) is only shown.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

_HOME = "_docs_home"


def _enter_empty_folder(namespace: dict[str, Any]) -> None:
    folder = tempfile.mkdtemp(prefix="rnla-docs-")
    namespace[_HOME] = (folder, Path.cwd())
    os.chdir(folder)
    os.environ.setdefault("MPLBACKEND", "Agg")


def _leave_folder(namespace: dict[str, Any]) -> None:
    folder, before = namespace.pop(_HOME)
    os.chdir(before)
    shutil.rmtree(folder, ignore_errors=True)


def _run_bash(example: Example) -> str | None:
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.parsed],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode == 0:
        return None
    return f"exit code {result.returncode}\n{example.parsed}\n{result.stdout}{result.stderr}"


_sybils_filter = SybilItem._traceback_filter


def _short_traceback(item: SybilItem, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
    """Cut a traceback to the block's own lines; sybil's own cut fails where the block has none in it."""
    try:
        return _sybils_filter(item, excinfo)
    except IndexError:  # pytest would stop with INTERNALERROR, and name neither block nor cause
        return excinfo.traceback


SybilItem._traceback_filter = _short_traceback  # type: ignore[method-assign, assignment]

pytest_collect_file = Sybil(
    parsers=[SkipParser(), PythonCodeBlockParser(), CodeBlockParser("bash", _run_bash)],
    path=str(Path.cwd()),
    patterns=["*.md"],
    setup=_enter_empty_folder,
    teardown=_leave_folder,
).pytest()
