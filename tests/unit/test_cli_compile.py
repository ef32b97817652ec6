"""`rnla compile` and `rnla check` with backends that say more: what is left behind, what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rnla_neuro.backend import Backend, Capabilities, Description
from rnla_neuro.cli.app import execute
from rnla_neuro.errors import BackendError
from rnla_neuro.network import NetworkSpec


class Chatty(Backend):
    """A backend that leaves a project, or fails in the middle of it, and says how it would run."""

    name, summary = "chatty", "a test"
    capabilities = Capabilities(("rate",), ("float64", "float32"), ())
    fails = False
    seconds: float | None = 2e-4

    def build(self, network: NetworkSpec, **options: Any) -> Any:
        raise AssertionError("nothing is run")

    def leave_project(self, network: NetworkSpec, folder: Path) -> tuple[tuple[str, str], ...]:
        assert not any(folder.iterdir())
        (folder / "code").mkdir()
        (folder / "code" / "main.cpp").write_text(f"// {network.sizes} {network.precision} {len(network.seeds)}\n")
        if self.fails:
            raise BackendError("the disk is full")
        return (("code/main.cpp", "the main loop"), ("make", "builds it"))

    def describe(self, network: NetworkSpec) -> Description:
        return Description(
            road="fused",
            recognised=(("sums", "all to all"),),
            fallbacks=(("pulse", "weights change at every step"),),
            notes=(("stability", "every mode decays"),),
            memory={"weights": 3 * 2**20, "traces": 2**20},
            memory_where="GPU",
            seconds=self.seconds,
            basis="10 decisions of the compiled program" if self.seconds else "there is no GPU here",
        )


@pytest.fixture
def chatty(monkeypatch: pytest.MonkeyPatch) -> Chatty:
    backend = Chatty()
    monkeypatch.setattr("rnla_neuro.backend.get_backend", lambda name: backend)
    return backend


@pytest.fixture
def rnla(capsys, monkeypatch, tmp_path, chatty):
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = execute(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_project_is_left_whole(rnla, tmp_path):
    code, out, err = rnla(
        "compile", "rate_nla", "--task", "xor", "--seeds", "3", "--precision", "float32", "--out", "a/b"
    )
    assert (code, err) == (0, "")
    assert "a/b  the program of rate_nla" in out
    assert "code/main.cpp" in out
    assert "builds it" in out
    assert (tmp_path / "a" / "b" / "code" / "main.cpp").read_text() == "// (2, 8, 2) float32 3\n"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o700 == 0o700


def test_json_of_compile(rnla):
    about = json.loads(rnla("compile", "rate_nla", "--hidden", "5,4", "--out", "x", "--json")[1])
    assert (about["folder"], about["sizes"], about["agents"]) == ("x", [64, 5, 4, 10], 1)
    assert about["files"][0] == {"name": "code/main.cpp", "text": "the main loop"}


def test_an_empty_folder_is_taken_and_a_full_one_refused(rnla, tmp_path):
    (tmp_path / "empty").mkdir()
    assert rnla("compile", "rate_nla", "--out", "empty")[0] == 0
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for path in ("empty", "empty/code/main.cpp"):
        code, out, err = rnla("compile", "rate_nla", "--out", path)
        assert (code, out) == (2, "")
        assert f"--out {path} exists already and is not an empty folder" in err
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_nothing_is_left_of_a_project_that_fails(rnla, tmp_path, chatty):
    chatty.fails = True
    (tmp_path / "empty").mkdir()
    for path in ("empty", "other"):
        code, out, err = rnla("compile", "rate_nla", "--out", path)
        assert (code, out) == (2, "")
        assert "the disk is full" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_check_says_what_the_backend_says(rnla):
    code, out, err = rnla("check", "rate_nla", "--backend", "chatty", "--seeds", "4")
    assert (code, err) == (0, "")
    for text in (
        "chatty would run it fused", "all to all", "falls back: pulse", "weights change at every step",
        "every mode decays", "memory of an agent", "1.0 MiB: weights 768.0 KiB, traces 256.0 KiB",
        "4.0 MiB of GPU memory, 4 agents", "time, an estimate", "200 µs a decision of all 4 agents",
        "10 s for the 50,000 decisions of digits", "10 decisions of the compiled program",
    ):  # fmt: skip
        assert text in out, text


def test_check_json_has_the_same(rnla, chatty):
    engine = json.loads(rnla("check", "rate_nla", "--seeds", "4", "--json")[1])["engine"]
    assert engine["memory"] == {
        "parts": {"weights": 3 * 2**20, "traces": 2**20}, "total": 2**22, "agent": 2**20, "agents": 4, "where": "GPU"
    }  # fmt: skip
    assert engine["estimate"]["seconds"] == pytest.approx(50_000 * 2e-4)
    assert engine["fallbacks"] == [{"name": "pulse", "reason": "weights change at every step"}]
    chatty.seconds = None
    engine = json.loads(rnla("check", "rate_nla", "--json")[1])["engine"]
    assert engine["estimate"]["seconds"] is None
    assert "no estimate: there is no GPU here" in rnla("check", "rate_nla")[1]


def test_a_model_that_is_not_proven_is_shown_with_the_reason(rnla, tmp_path, chatty):
    text = (Path(__file__).parents[2] / "models" / "rate_nla.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("I - u + err)/tau_m : 1", "I - u + 2*err)/tau_m : 1", 1))
    code, out, err = rnla("check", "./mine.toml")
    assert (code, err) == (0, "")
    assert "its equations are not of the proven form" in out
    assert "term '2*err'" in out
    assert "gain bound" not in out
    about = json.loads(rnla("check", "./mine.toml", "--json")[1])
    assert about["start"] is None
    assert "term '2*err'" in about["not_proven"]
