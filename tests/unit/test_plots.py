"""Pictures of runs: what is drawn, in which words, and that both files are there whole."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from rnla_neuro.analysis import plots
from rnla_neuro.analysis.plots import alignment_plot, learning_curve
from rnla_neuro.analysis.statistics import mean_and_band, running_mean
from rnla_neuro.errors import RunFolderError
from rnla_neuro.results import Results, RunConfig, RunFolder

CONFIG = RunConfig(
    task="digits",
    model="rate_nla",
    learner="r-nla",
    backend="equilibrium",
    seeds=(1, 2, 3),
    iterations=3000,
    hidden=(40,),
)


def make(path: Path, config: RunConfig = CONFIG, n: int = 3000, **columns: np.ndarray) -> Results:
    hit = np.random.default_rng(0).random((len(config.seeds), n)) < 0.7
    with RunFolder.create(path, config) as run:
        if n:
            run.append(columns or {"reward": hit * 1.0, "correct": hit})
        run.finish({})
    return Results.load(path)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures: list[Figure] = []
    save = plots.save

    def spy(figure: Figure, path_stem: str | Path) -> tuple[Path, Path]:
        figures.append(figure)
        return save(figure, path_stem)

    monkeypatch.setattr(plots, "save", spy)
    return figures


def words(figure: Figure) -> str:
    axes = figure.axes[0]
    legend = [text.get_text() for one in figure.legends for text in one.get_texts()]
    notes = [text.get_text() for text in axes.texts]
    return " | ".join([axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel(), *legend, *notes])


def test_one_run_with_its_band_and_chance_line(tmp_path: Path, drawn: list[Figure]) -> None:
    run = make(tmp_path / "run")
    png, svg = learning_curve(run, run.path / "learning_curve")
    assert (png.name, svg.name) == ("learning_curve.png", "learning_curve.svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.read_bytes().endswith(b"IEND\xaeB`\x82")
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert svg.stat().st_size < 250_000
    assert not [path for path in run.path.iterdir() if "tmp" in path.name]
    axes = drawn[0].axes[0]
    curve, chance = axes.lines
    at = curve.get_xdata().astype(int)
    assert len(at) <= 1000
    assert (at[0], at[-1]) == (100, 3000)  # the first full window, and the last decision
    mean, low, high = mean_and_band(running_mean(run.array("correct"), 100)[:, at - 1])
    assert np.allclose(curve.get_ydata(), mean)
    corners = axes.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(low.min())
    assert corners[:, 1].max() == pytest.approx(min(1, high.max()))
    assert set(chance.get_ydata()) == {0.1}
    assert words(drawn[0]) == (
        "digits, rate_nla, R-NLA | Decisions | Running hit rate (last 100) | "
        "mean and 95 % interval of 3 seeds | chance"
    )


def test_the_same_run_makes_the_same_files(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    first = [path.read_bytes() for path in learning_curve(run, tmp_path / "a")]
    again = [path.read_bytes() for path in learning_curve(run, tmp_path / "b")]
    assert first == again


def test_several_runs_say_what_tells_them_apart(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [
        make(tmp_path / "a"),
        make(tmp_path / "b", replace(CONFIG, learner="reinforce")),
        make(tmp_path / "c", replace(CONFIG, freeze_hidden=True, reward_delay="iterations:1")),
    ]
    learning_curve(runs, tmp_path / "picture")
    text = words(drawn[0])
    assert text.startswith("digits, rate_nla: mean and 95 % interval of 3 seeds | ")
    assert " | R-NLA | REINFORCE | R-NLA, frozen hidden layer, reward delay iterations:1 | " in text
    lines = drawn[0].axes[0].lines[:3]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 3
    learning_curve([runs[0], make(tmp_path / "twin")], tmp_path / "twins")
    assert "default, a | default, twin" in words(drawn[1])
    learning_curve(
        [runs[0], make(tmp_path / "d", replace(CONFIG, learner="backprop", seeds=(1,)))], tmp_path / "e"
    )
    assert "R-NLA: mean and 95 % interval of 3 seeds | backprop: 1 seed" in words(drawn[2])


def test_one_seed_has_no_band_and_an_unknown_task_no_chance(tmp_path: Path, drawn: list[Figure]) -> None:
    run = make(tmp_path / "run", replace(CONFIG, seeds=(5,), task="some/Env-v3", model="./my/net.toml"))
    learning_curve(run, tmp_path / "picture", column="reward")
    assert not drawn[0].axes[0].collections
    assert words(drawn[0]) == "some/Env-v3, net, R-NLA | Decisions | Running reward (last 100) | 1 seed"
    learning_curve(run, tmp_path / "picture", chance=0.25)
    assert set(drawn[1].axes[0].lines[1].get_ydata()) == {0.25}


def test_episodes_of_several_steps_show_their_return(tmp_path: Path, drawn: list[Figure]) -> None:
    returns = np.where(np.arange(300) % 10 == 9, 10.0, np.nan) * np.ones((3, 1))
    run = make(tmp_path / "run", reward=np.ones((3, 300)), episode_return=returns)
    learning_curve(run, tmp_path / "picture")
    assert "Running return of an episode" in words(drawn[0])
    assert np.allclose(drawn[0].axes[0].lines[0].get_ydata(), 10)


@pytest.mark.parametrize("n", [1, 2, 150])
def test_short_runs_are_drawn_from_the_start(tmp_path: Path, n: int, drawn: list[Figure]) -> None:
    learning_curve(make(tmp_path / "run", n=n), tmp_path / "picture")
    assert drawn[0].axes[0].lines[0].get_xdata().tolist() == list(range(1, n + 1))


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no records to draw: the run is finished"):
        learning_curve(make(tmp_path / "empty", n=0), tmp_path / "picture")
    with pytest.raises(RunFolderError, match="at least one"):
        learning_curve([], tmp_path / "picture")
    run = make(tmp_path / "run")
    with pytest.raises(RunFolderError, match="did you mean 'correct'"):
        learning_curve(run, tmp_path / "picture", column="corect")
    with pytest.raises(RunFolderError, match="cannot write"):
        learning_curve(run, tmp_path / "no" / "folder")
    assert not list(tmp_path.glob("picture*"))


@dataclass
class Row:
    trial: int
    layer: str
    baseline: str
    cosine: float
    standard_error: float = 0.01


def test_alignment_has_a_panel_a_layer_and_a_line_a_baseline(tmp_path: Path, drawn: list[Figure]) -> None:
    table = [
        Row(trial, layer, baseline, 0.5 if baseline == "mean" else 1.0)
        for trial in (1000, 0)
        for layer in ("hidden 1", "action", "all")
        for baseline in ("mean", "value")
    ]
    png, svg = alignment_plot(table, tmp_path / "alignment", title="digits")
    assert png.exists()
    assert svg.exists()
    panels = [axes for axes in drawn[0].axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "Hidden layer 1",
        "Action layer",
        "All weights",
    ]
    for axes in panels:
        mean, value = (container.lines[0] for container in axes.containers)
        assert mean.get_xdata().tolist() == [0, 1000]
        assert mean.get_ydata().tolist() == [0.5, 0.5]
        assert value.get_ydata().tolist() == [1.0, 1.0]
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ["baseline ⟨R⟩", "baseline V(x)"]
    with pytest.raises(RunFolderError, match="empty table"):
        alignment_plot([], tmp_path / "alignment")


def test_alignment_of_several_agents_is_their_mean_and_interval(tmp_path: Path, drawn: list[Figure]) -> None:
    table = [Row(5, "all", "mean", cosine) for cosine in (0.2, 0.4, 0.9)] + [Row(6, "all", "mean", -0.5, 0.1)]
    alignment_plot(table, tmp_path / "alignment")
    line, _, (bars,) = drawn[0].axes[0].containers[0]
    assert line.get_ydata().tolist() == pytest.approx([0.5, -0.5])
    segments: Any = bars.get_segments()
    _, low, high = mean_and_band([[0.2], [0.4], [0.9]])
    assert high[0] > 1.0  # three seeds: wider than a cosine can be, so the bar ends at 1
    assert segments[0][:, 1] == pytest.approx([low[0], 1.0])
    assert segments[1][:, 1] == pytest.approx([-0.5 - 0.196, -0.5 + 0.196])
    assert drawn[0].axes[0].get_ylim()[0] < -0.7


def test_pictures_touch_no_global_state_and_load_matplotlib_late(tmp_path: Path) -> None:
    run = make(tmp_path / "run", n=10)
    code = f"""
import sys
from rnla_neuro.analysis.plots import learning_curve
from rnla_neuro.results import Results
assert "matplotlib" not in sys.modules
learning_curve(Results.load({str(run.path)!r}), {str(tmp_path / "picture")!r})
assert "matplotlib.pyplot" not in sys.modules
import matplotlib
assert matplotlib.rcParams["axes.spines.top"]
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
