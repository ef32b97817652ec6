"""The strings are the model: each line of each model file, changed, changes the form or is refused."""

from __future__ import annotations

import pytest

from rnla_neuro.errors import RnlaError
from rnla_neuro.resources import models_dir
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.loader import parse_model
from tests.model_lines import Change, changes, fingerprint, proven_models

MODELS = proven_models()
_QUICK = ("rate_nla", "rate_nla_poster")
_CASES = [pytest.param(name, marks=() if name in _QUICK else pytest.mark.slow) for name in MODELS]


def test_there_are_models() -> None:
    assert {"rate_nla", "rate_nla_poster"} <= set(MODELS)


def without_effect(name: str) -> tuple[list[Change], int, int]:
    """Changes that neither alter the form nor are refused; how many altered it and how many were refused."""
    path = models_dir() / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    model = parse_model(text, path)
    original = fingerprint(model, derive_form(model))
    silent, altered, refused = [], 0, 0
    for change in changes(text):
        try:
            other = parse_model(change.text, path)
            same = fingerprint(other, derive_form(other)) == original
        except RnlaError:
            refused += 1
            continue
        altered += not same
        if same:
            silent.append(change)
    return silent, altered, refused


@pytest.mark.parametrize("name", _CASES)
def test_every_line_counts(name: str) -> None:
    silent, altered, refused = without_effect(name)
    assert not silent, [f"line {c.number}: {c.line!r} -> {c.changed!r}" for c in silent]
    assert altered > 40, "changes that are allowed must reach the form"
    assert refused > 40, "changes that break the form must be refused"


def test_the_comparison_ignores_comments_and_sees_a_last_digit() -> None:
    path = models_dir() / "rate_nla.toml"
    text = path.read_text(encoding="utf-8")
    model = parse_model(text, path)
    commented = parse_model("# a comment\n" + text, path)
    other = parse_model(text.replace('tau_elig = "10*ms"', 'tau_elig = "10.000001*ms"'), path)
    original = fingerprint(model, derive_form(model))
    assert fingerprint(commented, derive_form(commented)) == original
    assert fingerprint(other, derive_form(other)) != original


def test_every_kind_of_line_is_changed() -> None:
    text = (models_dir() / "rate_nla.toml").read_text(encoding="utf-8")
    changed = {change.number for change in changes(text)}
    lines = text.splitlines()
    kept = [
        line
        for number, line in enumerate(lines, 1)
        if number not in changed and line.strip() and not line.startswith(("#", "["))
    ]
    left = [line for line in kept if '"""' not in line]
    assert [line.split(" = ")[0] for line in left] == ["name", "summary", "source"]
