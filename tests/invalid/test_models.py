"""Invalid model files: one file per rule in models/, its first line is the message that it must cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnla_neuro import errors
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.loader import load_model

FILES = sorted((Path(__file__).parent / "models").glob("*.toml"))


def test_there_are_files() -> None:
    assert len(FILES) >= 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_message_is_the_one_beside_the_model(path: Path) -> None:
    kind, _, message = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(": ")
    with pytest.raises(getattr(errors, kind)) as caught:
        derive_form(load_model(path))
    assert message in str(caught.value)


def test_messages_differ() -> None:
    first = [path.read_text(encoding="utf-8").splitlines()[0].replace(path.name, "") for path in FILES]
    assert len(set(first)) == len(first)
