"""Generated bad model and platform files: a clear message through `rnla check`, never a traceback."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rnla_neuro.cli.app import execute
from rnla_neuro.hardware.fit import fit
from rnla_neuro.hardware.reading import available_hardware, load_hardware
from rnla_neuro.hardware.remedies import remedies
from rnla_neuro.hardware.spec import SECTIONS, Choice, rules_of
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import hardware_dir, models_dir
from rnla_neuro.spec.inputs import with_input
from rnla_neuro.spec.loader import load_model

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


EXTREMES = ("1e-300", "1e300", "1e308", "0", "-1")


def with_extremes(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield section, key, number and text for every number of every figure of a file, made extreme."""
    section, lines = "", text.splitlines()
    for k, line in enumerate(lines):
        if line.startswith("["):
            section = line.split("#")[0].strip(" []")
        key = line.split("=")[0].strip()
        if "." in section and key in ("value", "low", "high"):
            for number in EXTREMES:
                yield section, key, number, "\n".join([*lines[:k], f"{key} = {number}", *lines[k + 1 :]])


@pytest.mark.parametrize("platform", available_hardware())
def test_extreme_figures_of_a_platform_are_told(check, tmp_path, platform):
    path, seen = tmp_path / "extreme.toml", set()
    for section, key, number, text in with_extremes((hardware_dir() / f"{platform}.toml").read_text(encoding="utf-8")):
        path.write_text(text, encoding="utf-8")
        code, message = check(
            "spiking_lif_nla", "--task", "xor", "--input", "poisson", "--seeds", "1", "--hardware", str(path)
        )
        done = f"[{section}] {key} = {number}: {code} {message}"
        if number == "0" and code != 2:
            continue  # 0 is a figure of some
        assert code == 2, done
        assert "extreme.toml" in message, done
        assert section in message, done
        if number != "0":
            assert re.search(rf"\[{section}\] {key} = -?\S+ .*allowed is .* to ", message), done
        seen.add(section)
    assert seen


@pytest.mark.parametrize("platform", ["brainscales2", "loihi1"])
@pytest.mark.slow
def test_figures_at_the_ends_of_what_is_allowed_are_answered(tmp_path, platform):
    path, spec = tmp_path / "end.toml", load_hardware(platform)
    network = NetworkSpec(with_input(load_model("spiking_lif_nla"), "poisson"), (2, 8, 2), (1,))
    for section, kind in SECTIONS.items():
        for key, rule in rules_of(kind).items():
            figure = getattr(getattr(spec, section), key)
            if isinstance(rule, Choice) or figure is None:
                continue
            for end in {rule.least, rule.finest, rule.largest}:
                numbers = {"value": end} if rule.shape == "value" else {"value": None, "low": end, "high": end}
                part = replace(getattr(spec, section), **{key: replace(figure, **numbers)})
                hardware = replace(spec, path=path, **{section: part})
                report = fit(network, hardware)
                assert remedies(report, network, hardware, code="poisson") is not None


def test_the_same_seed_makes_the_same_mistake():
    text = (hardware_dir() / "ideal.toml").read_text(encoding="utf-8")
    assert [mutations.mutate(text, seed) for seed in range(20)] == [mutations.mutate(text, seed) for seed in range(20)]
    assert len({mutations.mutate(text, seed)[0] for seed in range(200)}) == len(mutations.NAMES)
