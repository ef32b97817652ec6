"""`rnla reproduce`: texts, runs that are kept, and what is checked without learning."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro import reproduce
from rnla_neuro.cli.app import execute
from rnla_neuro.cli.reproduce import NAMES
from rnla_neuro.errors import ConfigError, RunFolderError
from rnla_neuro.reproduce.dynamics import check_errors, error_cosines
from rnla_neuro.reproduce.finding import Finding, Picture, Row, Series, finding
from rnla_neuro.reproduce.publications import PUBLICATIONS
from rnla_neuro.reproduce.runs import Workshop, accuracies
from rnla_neuro.reproduce.write import as_markdown, draw


def test_the_command_line_knows_all_publications():
    assert list(NAMES) == list(PUBLICATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_every_check_has_its_texts(name):
    sections = tomllib.loads((Path(reproduce.__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))
    assert PUBLICATIONS[name].name == name
    assert set(sections) == set(PUBLICATIONS[name].checks)
    for texts in sections.values():
        assert {"title", "claim", "experiment", "criterion"} <= set(texts) <= {
            "title", "claim", "experiment", "criterion", "changes",
        }  # fmt: skip


def test_errors_are_those_of_backpropagation_and_a_wrong_sign_would_show():
    cosines = error_cosines("rate_nla", depth=3, seed=4)
    assert len(cosines) == 3
    assert min(cosines) > 0.9999


def test_a_finding_is_drawn_and_written(tmp_path):
    shop = Workshop(tmp_path, seeds=(1, 2))
    found = check_errors(shop)
    assert found.verdict == "reproduced"
    assert found.rows[0].n == 2
    paths = draw(found.picture, found.title, tmp_path / "picture")
    assert [path.suffix for path in paths] == [".png", ".svg"]
    assert all(path.stat().st_size > 2000 for path in paths)
    text = as_markdown([found], {"command": "x"})
    assert "**Reproduced.**" in text
    assert "figures/errors.png" in text
    assert found.criterion in text


def test_bars_have_their_intervals(tmp_path):
    series = Series("", ["a", "b"], [0.5, 0.7], [0.4, 0.7], [0.6, 0.7])
    draw(Picture("bars", "", "accuracy", (series,), {"chance": 0.1}), "two bars", tmp_path / "bars")
    assert (tmp_path / "bars.svg").exists()


def test_rows_have_the_interval_of_the_mean():
    row = Row.of("x", [1.0, 2.0, 3.0], "ms")
    assert row.mean == 2.0
    assert row.low == pytest.approx(2 - 4.302652729911275 / np.sqrt(3))
    assert row.n == 3
    assert Row.of("x", [1.0]).text() == "1"
    assert isinstance(finding("lag", "reproduced", "", [row], frequency=1, depth=1, width=1, step=1, n=1), Finding)


def test_runs_are_kept_and_taken_again(tmp_path):
    said: list[str] = []
    shop = Workshop(tmp_path, seeds=(1, 2), scale=0.1, tell=lambda what, part: said.append(what))
    first = shop.learn("xor", "xor", 3000)
    assert first.iterations == 300
    assert set(said) == {"xor"}
    said.clear()
    again = shop.learn("xor", "xor", 3000)
    assert not said
    assert np.array_equal(accuracies(first), accuracies(again))
    with pytest.raises(RunFolderError, match="other settings"):
        shop.learn("xor", "xor", 3000, overrides={"eta": "0.01"})
    (tmp_path / "runs" / "xor" / "status.json").write_text(json.dumps({"status": "interrupted"}))
    assert shop.learn("xor", "xor", 3000).status == "finished"
    assert said


def test_a_model_is_made_from_another_and_must_still_fit(tmp_path):
    shop = Workshop(tmp_path, seeds=(1, 2))
    path = shop.model("mine", "rate_nla", {'g = "50"': 'g = "20"'})
    assert 'name = "mine"' in Path(path).read_text()
    assert 'g = "20"' in Path(path).read_text()
    with pytest.raises(ConfigError, match="must be written anew"):
        shop.model("mine", "rate_nla", {"no such line": ""})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reproduce", "postr"], "'poster'"),
        (["reproduce", "poster", "--only", "delay"], "'delays'"),
        (["reproduce", "poster", "--seeds", "1", "--only", "errors"], "at least 2"),
    ],
)
def test_mistakes_are_told(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert execute(arguments) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_writes_its_findings(capsys, tmp_path):
    out = tmp_path / "out"
    assert execute(["reproduce", "poster", "--quick", "--only", "errors", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["findings"][0]["verdict"] == "reproduced"
    assert {"findings.json", "findings.md"} <= {path.name for path in out.iterdir()}
    assert (out / "figures" / "errors.png").exists()


def test_the_page_has_every_finding_and_says_when_it_was_a_quick_look(tmp_path):
    pytest.importorskip("plotly")
    from rnla_neuro.reproduce.page import write_findings_page

    lines = Picture("lines", "trials", "cosine", (Series("a", [1, 10, 100], [0.1, 0.2, 0.3]),), log_x=True)
    two = Series("", ["a", "b"], [0.5, 0.7], [0.4, 0.6], [0.6, 0.8])
    bars = Picture("bars", "", "accuracy", (two,), {"chance": 0.1})
    values = {"frequency": 1, "depth": 1, "width": 1, "step": 1, "n": 1, "trials": 10}
    found = [
        finding("lag", "reproduced", "late by <1 ms", [Row("a & b", 1.0)], lines, **values),
        finding("perturbation", "not reproduced", "no", [Row("c", 2.0, 1.0, 3.0, 5)], bars, **values),
    ]
    about = {"command": "x", "quick": "yes"}
    text = write_findings_page(found, tmp_path / "page.html", about, PUBLICATIONS["poster"]).read_text()
    assert found[0].title in text
    assert found[1].title in text
    assert "a &amp; b" in text
    assert "late by &lt;1 ms" in text
    assert "Of 2 claims: 1 reproduced, 1 not reproduced. A quick look" in text
