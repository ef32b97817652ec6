"""Generated bad model and platform files: a clear message through `rnla check`, never a traceback."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnla_neuro.cli.app import execute
from rnla_neuro.hardware.reading import available_hardware, load_hardware
from rnla_neuro.resources import hardware_dir, models_dir

_SPEC = importlib.util.spec_from_file_location("mutations", Path(__file__).parents[1] / "mutations.py")
mutations = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mutations)

BAD = 100
"""Bad files of each kind."""
ENOUGH = 140
"""Files of each kind of which so many are bad: some mutations leave a file valid."""
LONGEST_MESSAGE = 1600


@pytest.fixture
def check(capsys, monkeypatch, tmp_path):
    """Run `rnla check` and return its exit code and what it said on standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNLA_DEBUG", raising=False)

    def call(*arguments: str) -> tuple[int, str]:
        code = execute(["check", *arguments])  # an error that is not told raises here
        return code, capsys.readouterr().err

    return call


def generated(files: list[Path], path: Path) -> Iterator[str]:
    """Write one bad file after another to a path; yields what was done to which file."""
    for seed, file in zip(range(ENOUGH), itertools.cycle(files), strict=False):
        name, data = mutations.mutate(file.read_text(encoding="utf-8"), seed)
        path.write_bytes(data)
        yield f"{name} in {file.name}, seed {seed}"


def assert_told(code: int, message: str, done: str) -> None:
    assert code == 2, done
    assert message.startswith("error: "), done
    assert "mutated.toml" in message, (done, message)
    assert len(message) < LONGEST_MESSAGE, done
    assert "Traceback" not in message, done
    assert not {"RecursionError", "KeyError", "object at 0x"} & set(message.split()), done


def test_bad_model_files_are_told(check, tmp_path):
    path = tmp_path / "mutated.toml"
    bad = 0
    for done in generated(sorted(models_dir().glob("*.toml")), path):
        code, message = check(str(path), "--task", "xor", "--hidden", "4", "--seeds", "1")
        if code == 0 or "of kind 'spiking': it runs rate" in message:
            continue  # still a model: what was deleted may be left out
        assert_told(code, message, done)
        bad += 1
    assert bad >= BAD


def test_bad_platform_files_are_told(check, tmp_path):
    path = tmp_path / "mutated.toml"
    bad = 0
    for done in generated([hardware_dir() / f"{name}.toml" for name in available_hardware()], path):
        code, message = check(
            "spiking_lif_nla", "--task", "xor", "--hidden", "4", "--seeds", "1", "--hardware", str(path)
        )
        if code != 2:
            assert load_hardware(path).kind, done  # still a platform: it says whether the network fits
            continue
        assert_told(code, message, done)
        bad += 1
    assert bad >= BAD


def test_the_same_seed_makes_the_same_mistake():
    text = (hardware_dir() / "ideal.toml").read_text(encoding="utf-8")
    assert [mutations.mutate(text, seed) for seed in range(20)] == [mutations.mutate(text, seed) for seed in range(20)]
    assert len({mutations.mutate(text, seed)[0] for seed in range(200)}) == len(mutations.NAMES)
