"""docs/cli.md says every command and option, and its command lines parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from rnla_neuro.cli import app
from rnla_neuro.cli.app import COMMANDS

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = {
    m[1]: m[2] for m in re.finditer(r"^## rnla (\w+)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
}


def command(name: str) -> click.Command:
    found = app.app.get_command(click.Context(app.app), name)
    assert found is not None
    return found


def test_every_command_has_its_section_and_no_other():
    assert list(SECTIONS) == list(COMMANDS)


def test_every_option_is_documented():
    for name in COMMANDS:
        for parameter in command(name).params:
            if isinstance(parameter, click.Option):
                assert f"`{parameter.opts[0]}`" in SECTIONS[name], f"rnla {name} {parameter.opts[0]}"


def test_no_option_is_documented_that_does_not_exist():
    for name in COMMANDS:
        known = {opt for parameter in command(name).params for opt in parameter.opts}
        for option in re.findall(r"^\| `(--[a-z-]+)` \|", SECTIONS[name], re.MULTILINE):
            assert option in known, f"rnla {name} {option}"
    for option in ("--version", "--help"):
        assert f"rnla {option}" in TEXT


@pytest.mark.parametrize("line", re.findall(r"^\$ (rnla .*)$", TEXT, re.MULTILINE))
def test_command_lines_parse(line):
    words = shlex.split(line.split(" > ")[0])
    command(words[1]).make_context("rnla", words[2:])


def test_exit_codes_are_documented():
    codes = (app.ERROR, app.INTERRUPTED, app.BROKEN_PIPE, app.TERMINATED)
    table = TEXT.split("## rnla run")[0]
    for code in codes:
        assert re.search(rf"^\| .*\b{code}\b", table, re.MULTILINE)
