"""Invalid platform files: one file per rule in hardware/, its first line is the message that it must cause.

In hardware/valid/ is the same with the mistake mended; where there is no such file, base.toml is it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rnla_neuro import errors
from rnla_neuro.hardware.reading import available_hardware, load_hardware
from rnla_neuro.toml_files import LARGEST

FOLDER = Path(__file__).parent / "hardware"
FILES = sorted(FOLDER.glob("*.toml"))
VALID = FOLDER / "valid"


def test_there_are_files() -> None:
    assert len(FILES) >= 50


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_message_is_the_one_beside_the_platform(path: Path) -> None:
    kind, _, message = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(": ")
    with pytest.raises(getattr(errors, kind)) as caught:
        load_hardware(path)
    assert message in str(caught.value)
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 600  # no value of thousands of characters


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_same_without_the_mistake_is_read(path: Path) -> None:
    mended = VALID / path.name
    spec = load_hardware(mended if mended.exists() else VALID / "base.toml")
    assert spec.time.speed_up is not None


def test_each_valid_file_belongs_to_an_invalid_one() -> None:
    assert {path.name for path in VALID.glob("*.toml")} <= {path.name for path in FILES} | {"base.toml"}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# µ".encode("latin-1"))
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (LARGEST + 1))
    for path, words in (
        (tmp_path / "absent.toml", "does not exist"),
        (tmp_path, "is a folder"),
        (latin, "is not a text in UTF-8: invalid start byte at byte 2"),
        (huge, "more than 1,000,000 bytes"),
    ):
        with pytest.raises(errors.ConfigError, match=words):
            load_hardware(path)


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(errors.ConfigError, match=r"'brainscale2': did you mean 'brainscales2'\?.*by its path"):
        load_hardware("brainscale2")
    with pytest.raises(errors.ConfigError, match="unknown platform 'energy'"):
        load_hardware("energy")  # energy.toml is another kind of file
    assert "energy" not in available_hardware()
