"""The machinery that must not fail silently: which backends ran, what the docs run, what the wheel holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import require_backends, wheel_check

REPOSITORY = Path(__file__).resolve().parents[2]

SUITE = """
import pytest

@pytest.mark.backend("a:numpy", "a")
def test_runs(): pass

@pytest.mark.backend("b")
def test_skips_inside(): pytest.skip("no b")

@pytest.mark.backend("c")
@pytest.mark.skip(reason="no c")
def test_skipped(): pass

@pytest.mark.parametrize("core", [pytest.param("x", marks=pytest.mark.backend("a:x"))])
def test_fails(core): assert False

@pytest.fixture
def broken(): raise RuntimeError

@pytest.mark.backend("d")
def test_set_up_fails(broken): pass
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, with this repository's tools importable."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = backend(name): what runs\n")
    (folder / "conftest.py").write_text((REPOSITORY / "tests" / "conftest.py").read_text())
    (folder / "test_suite.py").write_text(SUITE)
    path = folder / "out" / "backends.json"
    run_pytest(folder, "--backend-report", str(path), ".")
    return path


def test_a_backend_counts_only_if_the_test_was_called(report):
    assert json.loads(report.read_text()) == {"a": 1, "a:numpy": 1, "a:x": 1}


def test_required_backends_that_did_not_run_are_named(report, capsys):
    assert require_backends.main([str(report), "a", "a:numpy", "a:x"]) == 0
    capsys.readouterr()
    assert require_backends.main([str(report), "a", "b", "c", "d"]) == 1
    message = capsys.readouterr().err
    assert [name for name in "abcd" if f"backend '{name}'" in message] == ["b", "c", "d"]


def test_no_report_means_that_nothing_ran(tmp_path):
    assert require_backends.missing(tmp_path / "none.json", ["a"]) == ["a"]


def test_an_empty_list_of_required_backends_is_refused(report):
    assert require_backends.main([str(report)]) == 2


GUIDE = """# A guide
```python
x = 20
```
```python
assert x == 20
from pathlib import Path
assert list(Path.cwd().iterdir()) == []
```
<!-- skip: next "shown only" -->
```python
raise RuntimeError
```
```text
not Python
```
```bash
test "$(python -c 'print(1)')" = 1
```
"""


@pytest.fixture
def guide(tmp_path):
    pytest.importorskip("sybil", reason="sybil runs the documentation's code blocks: make env installs it")

    def run(text: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        (tmp_path / "guide.md").write_text(text)
        return run_pytest(tmp_path, "-p", "tools.docs_examples", "guide.md")

    return run


def test_the_blocks_of_a_document_run_in_one_session(guide):
    result = guide(GUIDE)
    assert result.returncode == 0, result.stdout
    assert "4 passed, 1 skipped" in result.stdout


@pytest.mark.parametrize(
    "block",
    [
        "```python\nassert False\n```\n",
        "```bash\nfalse | true\n```\n",
        "```python\nimport warnings\nwarnings.warn('old')\n```\n",
    ],
)
def test_a_wrong_block_fails(guide, block):
    result = guide(GUIDE + block)
    assert result.returncode == 1, result.stdout
    assert "1 failed, 4 passed" in result.stdout


@pytest.fixture
def wheel(tmp_path):
    def make(names: set[str]) -> Path:
        path = tmp_path / "rnla_neuro-0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "")
        return path

    return make


def right_names() -> set[str]:
    return wheel_check.repository_data() | wheel_check.repository_code()


def test_a_whole_wheel_passes(wheel, capsys):
    wheel_check.compare_files(wheel(right_names() | {"rnla_neuro-0.dist-info/METADATA"}))
    assert "rnla_neuro/models/rate_nla.toml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lost", "extra", "message"),
    [
        ("rnla_neuro/models/rate_nla.toml", None, "missing in the wheel: rnla_neuro/models/rate_nla.toml"),
        ("rnla_neuro/errors.py", None, "missing in the wheel: rnla_neuro/errors.py"),
        ("rnla_neuro/py.typed", None, "missing in the wheel: rnla_neuro/py.typed"),
        (None, "tests/unit/test_ci.py", "does not belong into the wheel: tests/unit/test_ci.py"),
    ],
)
def test_a_wrong_wheel_is_refused(wheel, lost, extra, message):
    names = (right_names() - {lost}) | ({extra} if extra else set())
    with pytest.raises(wheel_check.WheelError, match=message):
        wheel_check.compare_files(wheel(names))
