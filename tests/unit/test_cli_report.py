"""`rnla report` on tiny runs: what is put together, what is refused, and that nothing is learned again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rnla_neuro.analysis.report import write_report
from rnla_neuro.cli.app import execute
from rnla_neuro.comparing.existing import comparison_of
from rnla_neuro.conversion import convert_run
from rnla_neuro.errors import ConfigError, RunFolderError
from rnla_neuro.experiment import run
from rnla_neuro.results import RunFolder
from rnla_neuro.session import RunRequest

DATA = Path(__file__).parents[1] / "data"
REQUEST = RunRequest(task="xor", learner="reinforce", seeds=(1, 2), iterations=60, hidden=(4,))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnla_neuro.experiment.draw", lambda results: [])
        run(REQUEST, home / "first")
        run(replace(REQUEST, seeds=(3,)), home / "more-seeds")
        run(replace(REQUEST, learner="backprop", seeds=(3, 2)), home / "other")
        run(replace(REQUEST, overrides={"eta": "0.3"}), home / "faster")
        run(replace(REQUEST, iterations=30), home / "shorter")
        run(replace(REQUEST, task="bars", seeds=(1,)), home / "bars")
    return home


def test_runs_that_differ_in_seeds_are_one_cell(runs):
    made = comparison_of([runs / "first", runs / "more-seeds", runs / "other"])
    assert [model.name for model in made.models] == ["reinforce", "backprop"]
    assert made.seeds == (2, 3)  # those that both have
    assert [len(cell.measures["test_accuracy"].values) for cell in made.cells] == [2, 2]
    assert [cell.run for cell in made.cells] == [str(runs / "first"), str(runs / "other")]
    tests = [(test.a, test.b, test.n) for test in made.tests if test.measure == "test_accuracy"]
    assert tests == [("reinforce", "backprop", 2)]


def test_runs_of_the_same_model_are_told_apart_by_their_folders(runs):
    made = comparison_of([runs / "first", runs / "faster"])
    assert [model.name for model in made.models] == ["reinforce (first)", "reinforce (faster)"]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (("first", "bars"), ConfigError, "several tasks cannot be compared: bars, xor"),
        (("first", "shorter"), ConfigError, "several numbers of decisions cannot be compared: 30, 60"),
        (("first", "nothing"), RunFolderError, "there is no such folder"),
    ],
)
def test_what_does_not_fit_together_is_refused(runs, names, error, message):
    with pytest.raises(error, match=message):
        comparison_of([runs / name for name in names])


def test_runs_without_a_common_seed_are_refused(runs):
    with pytest.raises(ConfigError, match="share no seed"):
        comparison_of([runs / "faster", runs / "more-seeds"])


def test_a_run_that_is_not_finished_is_refused(tmp_path, runs):
    from rnla_neuro.results import Results

    with RunFolder.create(tmp_path / "half", Results.load(runs / "first").config) as folder:
        folder.interrupt()
    with pytest.raises(RunFolderError, match="half is interrupted: a report needs finished runs"):
        comparison_of([tmp_path / "half"])


def test_the_command_writes_a_page_and_learns_nothing(runs, tmp_path, capsys, monkeypatch):
    pytest.importorskip("plotly", reason="plotly draws the plots: pip install 'rnla_neuro[report]'")
    monkeypatch.setattr("rnla_neuro.session.Session.train", None)
    out = tmp_path / "page.html"
    assert execute(["report", str(runs / "first"), str(runs / "other"), "--out", str(out), "--title", "My runs"]) == 0
    assert "<h1>My runs</h1>" in out.read_text(encoding="utf-8")
    assert f"report  {out}" in capsys.readouterr().out
    assert execute(["report", str(runs / "first")]) == 0
    assert (runs / "first" / "report.html").is_file()


def test_a_comparison_is_reported_again(tmp_path):
    pytest.importorskip("plotly", reason="plotly draws the plots: pip install 'rnla_neuro[report]'")
    assert execute(["report", str(DATA), "--out", str(tmp_path / "r.html"), "--title", "Again"]) == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<h1>Again</h1>" in text
    assert "spiking_nla" in text


@pytest.mark.parametrize(
    ("out", "message"),
    [("{}", "is a folder"), ("{}/a.png", "give a name such as a.html"), ("{}/no/a.html", "there is no folder")],
)
def test_a_wrong_name_for_the_page_is_refused(tmp_path, capsys, out, message):
    assert execute(["report", str(DATA), "--out", out.format(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_what_a_conversion_lost_and_learning_recovered_is_in_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr("rnla_neuro.experiment.draw", lambda results: [])
    first = run(RunRequest("xor", seeds=(1, 2), iterations=60, hidden=(4,), core="numpy"), tmp_path / "first")
    made = convert_run(first, "rate_nla_policy", tmp_path / "made", learn=40, core="numpy")
    about = comparison_of([made.path]).cells[0].converted
    assert (about.model, about.learned, about.measure) == ("rate_nla", 40, "test_accuracy")
    told = made.summary["conversion"]
    assert list(about.before.values) == told["before"]["values"] == first.summary["test_accuracy"]["values"]
    assert list(about.after.values) == made.summary["test_accuracy"]["values"]
    assert about.lost.mean == pytest.approx(told["converted"]["mean"] - told["before"]["mean"])
    assert about.gained.mean == pytest.approx(told["after"]["mean"] - told["converted"]["mean"])
    page = write_report(comparison_of([made.path]), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Conversion between twins" in page
    assert "Conversion between twins" not in write_report(comparison_of([first.path]), tmp_path / "p.html").read_text()
    bare = convert_run(first, "rate_nla_policy", tmp_path / "bare", core="numpy")
    with pytest.raises(RunFolderError, match="--learn N"):
        comparison_of([bare.path])
