"""The lists in pyproject.toml against what is on disk."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rnla_neuro import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
CONSTRAINTS = [
    line
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def packages_on_disk() -> set[str]:
    """Every folder with Python code, by the name it is imported under."""
    found = set()
    for home, package in ((REPOSITORY, "rnla_neuro"), (REPOSITORY / "backends", "rnla_neuro_backends")):
        for module in (home / package).rglob("*.py"):
            folder = module.parent.relative_to(home)
            if "templates" not in folder.parts:
                found.add(".".join(folder.parts))
    return found


def test_every_package_folder_is_listed():
    on_disk = packages_on_disk()
    assert {"rnla_neuro", "rnla_neuro.spec", "rnla_neuro_backends"} <= on_disk  # the search itself works
    missing = on_disk - set(SETUPTOOLS["packages"])
    assert not missing, f"add to [tool.setuptools] packages in pyproject.toml: {sorted(missing)}"


def test_every_listed_package_is_on_disk():
    data_only = {"rnla_neuro.models", "rnla_neuro.hardware_configs"}
    gone = set(SETUPTOOLS["packages"]) - packages_on_disk() - data_only
    assert not gone, f"take out of [tool.setuptools] packages in pyproject.toml: {sorted(gone)}"


def test_every_package_has_an_init():
    # a folder without one is a namespace package, which type checkers and wheels treat differently
    for package in packages_on_disk():
        folder = package.replace(".", "/")
        homes = (REPOSITORY / folder, REPOSITORY / "backends" / folder)
        assert any((home / "__init__.py").is_file() for home in homes), package


def test_data_folders_are_mapped_to_folders_that_exist():
    for package, folder in SETUPTOOLS["package-dir"].items():
        assert (REPOSITORY / folder).is_dir(), package


def test_every_dependency_is_pinned():
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in CONSTRAINTS}
    project = PYPROJECT["project"]
    wanted = sum(project["optional-dependencies"].values(), start=project["dependencies"])
    names = {re.match(r"[A-Za-z0-9_-]+", want).group().lower().replace("_", "-") for want in wanted}
    assert names - {"rnla-neuro"} <= pinned


@pytest.mark.parametrize("line", CONSTRAINTS)
def test_a_constraint_is_a_plain_pin(line):
    assert re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+]+", line)


def test_the_version_is_the_same_everywhere():
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE).group(1) == __version__
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "rnla_neuro.__version__"}
