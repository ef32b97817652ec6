"""`rnla compare` on tiny runs: planned, run where missing, stopped and continued, measured, written."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.analysis.comparison import Comparison
from rnla_neuro.cli.app import execute
from rnla_neuro.comparing import runner
from rnla_neuro.comparing.folder import run_comparison
from rnla_neuro.comparing.plan import plan, read_delays
from rnla_neuro.comparing.runner import Report, Shelf, jobs_for
from rnla_neuro.errors import ConfigError, RnlaError, RunFolderError
from rnla_neuro.results import Results

ROOT = Path(__file__).parents[2]
TINY = {"iterations": 120, "hidden": (4,), "core": "numpy"}


class Watched(Report):
    """Notes what begins; stops when a certain job has moved."""

    def __init__(self, stop: str = "") -> None:
        super().__init__()
        self.begun: list[str] = []
        self._stop = stop

    def started(self, job):
        self.begun.append(job.words)

    def moved(self, job, progress):
        if self._stop and job.words.startswith(self._stop):
            raise KeyboardInterrupt


def two_models(seeds=(1, 2), delays=("none",)):
    """Plan two learners that take no time."""
    return plan("xor", ("reinforce", "backprop"), delays=delays, seeds=seeds, **TINY)


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    """Drawing takes longer than these runs; figures have their own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnla_neuro.experiment.draw", lambda results: [])
        patch.setattr("rnla_neuro.comparing.figures.write_figures", lambda comparison, folder: [])
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, _no_pictures):
    """A comparison of two models with two delays."""
    out = tmp_path_factory.mktemp("compare") / "all"
    cells = plan("xor", ("rate_nla_policy", "backprop"), delays=("none", "gamma:2,15ms"), seeds=(1, 2), **TINY)
    run_comparison(cells, out, workers=1, html=False)
    return out


def test_commas_within_a_law_do_not_end_it():
    assert read_delays("none,iterations:1,gamma:2,15ms") == ("none", "iterations:1", "gamma:2,15ms")
    assert read_delays("gamma:2,0.5T, fixed:20ms") == ("gamma:2,0.5T", "fixed:20ms")
    assert read_delays("none; novelty=fixed:20ms,gamma:1,3ms") == ("none; novelty=fixed:20ms", "gamma:1,3ms")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("none,gama:2,15ms", "did you mean 'gamma'"),
        ("none,none", "none comes twice"),
        ("gamma:2,15ms,gamma:2.0, 15 ms", "comes twice"),
        ("gamma:2", "gamma"),
        ("none,", "reward-delays"),
    ],
)
def test_wrong_delays_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        read_delays(text)


def test_each_model_gets_its_backend_and_its_late_variant():
    cells = plan("xor", ("rate_nla", "rate_nla_ou", "reinforce"), delays=("none", "iterations:1"), seeds=(1,), **TINY)
    found = [(cell.model, cell.delay, cell.config.model, cell.backend, cell.kind) for cell in cells]
    assert found == [
        ("rate_nla", "none", "rate_nla", "equilibrium", "rate"),
        ("rate_nla", "iterations:1", "rate_nla_late", "equilibrium", "rate"),
        ("rate_nla_ou", "none", "rate_nla_ou", "equilibrium", "rate"),
        ("rate_nla_ou", "iterations:1", "rate_nla_ou_late", "equilibrium", "rate"),
        ("reinforce", "none", "rate_nla", "none", "baseline"),
        ("reinforce", "iterations:1", "rate_nla", "none", "baseline"),
    ]


def test_a_model_by_path_runs_as_it_is(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text((ROOT / "models" / "rate_nla.toml").read_text())
    (cell,) = plan("xor", (str(mine),), delays=("iterations:1",), seeds=(1,), **TINY)
    assert (cell.model, cell.config.model) == ("mine", "rate_nla")
    assert cell.config.model_text == mine.read_text()


@pytest.mark.parametrize(
    ("task", "models", "given", "message"),
    [
        ("xor", ("rate_nlaa",), {}, "cannot compare rate_nlaa .*did you mean 'rate_nla'"),
        ("xor", ("rate_nla", "rate_nla"), {}, "rate_nla is given twice"),
        ("xor", ("rate_nla",), {"backends": ("brain2",)}, "did you mean 'brian2'"),
        ("xor", ("rate_nla",), {"backends": ("auto", "auto")}, "2 backends for 1 models"),
        (
            "xor",
            ("rate_nla",),
            {"delays": ("none", "iterations:300")},
            "with reward delay iterations:300: .*holds nothing",
        ),
        ("xor", ("rate_nla",), {"overrides": {"etaa": "1"}}, "did you mean 'eta'"),
        ("CartPole-v1", ("backprop",), {}, "cannot compare backprop .*right action"),
        ("xr", ("rate_nla",), {}, "xor"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(task, models, given, message):
    with pytest.raises(RnlaError, match=message):
        plan(task, models, **{"seeds": (1,), **TINY, **given})


def test_everything_is_written(folder):
    made = Comparison.read(folder)
    assert [(c.model, c.delay) for c in made.cells] == [
        (m, d) for m in ("rate_nla_policy", "backprop") for d in ("none", "gamma:2,15ms")
    ]
    assert (made.seeds, made.iterations, made.chance, made.failures) == ((1, 2), 120, 0.5, ())
    with (folder / "tables" / "seeds.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["measure"] == "test_accuracy"]
    assert len(rows) == 4 * 2
    run = Results.load(folder / made.cells[0].run)
    assert [float(row["value"]) for row in rows[:2]] == run.summary["test_accuracy"]["values"]
    with (folder / "tables" / "tests.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(made.tests)


def test_measures_say_what_the_runs_say(folder):
    cell = Comparison.read(folder).cell("rate_nla_policy", "none")
    run = Results.load(folder / cell.run)
    correct = run.array("correct")
    assert cell.measures["area_under_curve"].values == pytest.approx(tuple(correct.mean(axis=1)))
    assert cell.measures["wall_time_per_decision"].mean == run.summary["wall_time"]["per_decision"]
    assert cell.measures["biological_time_per_decision"].values == (0.03, 0.03)
    assert cell.curve.iteration[0] == 100
    assert cell.curve.iteration[-1] == 120
    assert cell.curve.mean[-1] == pytest.approx(correct[:, -100:].mean(), abs=1e-3)
    assert np.sum(cell.confusion) == 2 * 4  # two seeds, four patterns
    assert np.trace(cell.confusion) / 8 == pytest.approx(cell.measures["test_accuracy"].mean)
    assert [len(layer) for layer in cell.weights.layers] == [4, 2]
    assert cell.weights.layers[0][0][0] == pytest.approx(run.weights["projection0"][0, 0, 0], rel=1e-3)
    assert {e.platform for e in cell.energy} == {"45 nm arithmetic, rates", "this simulation"}


def test_the_trial_before_and_after_learning_is_the_same_input(folder):
    raster = Comparison.read(folder).cell("rate_nla_policy", "none").raster
    assert raster.before.layers == (2, 4, 2)
    assert raster.before.time == raster.after.time
    assert raster.before.voltage.names[:2] == ("hidden 0", "hidden 1")
    assert raster.before.voltage.values != raster.after.voltage.values
    assert len(raster.after.voltage.values[0]) == len(raster.after.time)
    assert Comparison.read(folder).cell("backprop", "none").raster is None


def test_alignment_is_there_where_rnla_align_can(folder):
    made = Comparison.read(folder)
    alignment = made.cell("rate_nla_policy", "none").alignment
    assert alignment.iteration == (0, 1, 4, 12, 36, 120)
    assert alignment.mean == pytest.approx([1.0] * 6)  # this model nudges along the gradient itself
    assert made.cell("backprop", "none").alignment is None


def test_a_second_call_runs_nothing_and_more_seeds_run_alone(tmp_path):
    run_comparison(two_models(), tmp_path, workers=1, html=False)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*")}
    again = Watched()
    run_comparison(two_models(), tmp_path, workers=1, report=again, html=False)
    assert again.begun == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*")} == before
    jobs = jobs_for(two_models((1, 2, 3)), Shelf(tmp_path), 1)
    assert [job.request.seeds for job in jobs] == [(3,), (3,)]
    written = run_comparison(two_models((2, 3, 1)), tmp_path, workers=1, html=False)
    accuracy = written.comparison.cells[0].measures["test_accuracy"].values
    alone = Results.load(jobs[0].out).summary["test_accuracy"]["values"]
    first = Results.load(tmp_path / written.comparison.cells[0].run).summary["test_accuracy"]["values"]
    assert accuracy == (first[1], alone[0], first[0])  # in the order of the seeds asked for


def test_another_setting_is_another_run(tmp_path):
    run_comparison(two_models()[:1], tmp_path, workers=1, html=False)
    other = plan("xor", ("reinforce",), seeds=(1, 2), overrides={"T": "40ms"}, **TINY)
    assert len(jobs_for(other, Shelf(tmp_path), 1)) == 1
    assert jobs_for(two_models()[:1], Shelf(tmp_path), 1) == []


def test_few_cells_are_divided_by_seeds_among_the_workers(tmp_path):
    jobs = jobs_for(two_models((1, 2, 3, 4, 5))[:1], Shelf(tmp_path), 2)
    assert [job.request.seeds for job in jobs] == [(1, 3, 5), (2, 4)]
    assert len({job.out for job in jobs}) == 2
    assert len(jobs_for(two_models((1, 2, 3, 4, 5)), Shelf(tmp_path), 2)) == 2


def test_after_an_interrupt_the_same_call_goes_on(tmp_path):
    stopped = Watched(stop="backprop")
    with pytest.raises(KeyboardInterrupt):
        run_comparison(two_models(), tmp_path, workers=1, report=stopped, html=False)
    assert not (tmp_path / "comparison.json").exists()
    states = {path.name: Results.load(path).status for path in (tmp_path / "runs").iterdir()}
    assert sorted(states.values()) == ["finished", "interrupted"]
    again = Watched()
    made = run_comparison(two_models(), tmp_path, workers=1, report=again, html=False).comparison
    assert again.begun == ["backprop, reward delay none"]
    assert len(made.cells) == 2
    assert len(list((tmp_path / "runs").iterdir())) == 3  # what was recorded before the interrupt is still there


def test_one_failing_run_does_not_take_the_others_with_it(tmp_path, monkeypatch):
    real = runner.run

    def run(request, out, **more):
        if request.learner == "backprop":
            raise ConfigError("it went wrong")
        return real(request, out, **more)

    monkeypatch.setattr(runner, "run", run)
    made = run_comparison(two_models(), tmp_path, workers=1, html=False).comparison
    assert [cell.model for cell in made.cells] == ["reinforce"]
    assert [(f.model, f.delay, f.reason) for f in made.failures] == [("backprop", "none", "it went wrong")]
    with pytest.raises(RnlaError, match=r"every run failed: .*it went wrong"):
        run_comparison(two_models()[1:], tmp_path / "other", workers=1, html=False)


def test_a_model_that_changes_meanwhile_is_not_dropped_in_silence(tmp_path):
    mine = tmp_path / "mine.toml"
    text = (ROOT / "models" / "rate_nla_policy.toml").read_text()
    mine.write_text(text)
    cells = plan("xor", (str(mine), "backprop"), seeds=(1,), **TINY)
    mine.write_text(text + "# edited\n")
    made = run_comparison(cells, tmp_path / "out", workers=1, html=False).comparison
    assert [cell.model for cell in made.cells] == ["backprop"]
    assert [(f.model, "has changed meanwhile" in f.reason) for f in made.failures] == [("mine", True)]


def test_a_folder_with_something_else_is_refused(tmp_path, folder):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunFolderError, match="holds other things"):
        run_comparison(two_models(), tmp_path, workers=1)
    with pytest.raises(RunFolderError, match="is a file"):
        run_comparison(two_models(), tmp_path / "thesis.tex", workers=1)
    other = plan("parity4", ("rate_nla",), seeds=(1,), **TINY)
    with pytest.raises(RunFolderError, match="of task 'xor', not of 'parity4'"):
        run_comparison(other, folder, workers=1)


def test_two_at_once_in_a_folder_are_refused(tmp_path):
    from rnla_neuro.comparing.folder import _ours_alone

    with (
        _ours_alone(tmp_path),
        pytest.raises(RunFolderError, match="another 'rnla compare' is at work"),
        _ours_alone(tmp_path),
    ):
        pass


def test_the_command_prints_tables_and_json(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("rnla_neuro.cli.compare.sys.argv", ["rnla"])
    line = [
        "compare",
        "xor",
        "--models",
        "rate_nla_policy,backprop",
        "--iterations",
        "120",
        "--hidden",
        "4",
        "--seeds",
        "2",
    ]
    line += ["--out", str(folder.parent / "command"), "--jobs", "1", "--no-html"]
    assert execute([*line, "--json"]) == 0
    out, err = capsys.readouterr()
    about = json.loads(out)
    assert [cell["model"] for cell in about["cells"]] == ["rate_nla_policy", "backprop"]
    assert about["report"] is None
    assert "done (2/2" in err
    assert execute(line) == 0
    out, err = capsys.readouterr()
    assert "0 runs to do, 2 cells used from before" in err
    assert "test accuracy: paired differences, by seed" in out
    assert "no p can be below 0.5" in out
    assert "report   not written: --no-html" in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["xor"], "--models"),
        (["xor", "--models", "rate_nla,"], "--models 'rate_nla,'"),
        (["xor", "--models", "rate_nla", "--reward-delays", "gama:2,15ms"], "did you mean"),
        (["xor", "--models", "rate_nla", "--jobs", "0"], "--jobs"),
    ],
)
def test_mistakes_on_the_command_line_are_told(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert execute(["compare", *line]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_two_processes_find_what_one_finds(folder, tmp_path):
    cells = plan("xor", ("rate_nla_policy", "backprop"), seeds=(1, 2), **TINY)
    made = run_comparison(cells, tmp_path, workers=2, html=False).comparison
    before = Comparison.read(folder)
    for cell in made.cells:
        same = before.cell(cell.model, "none")
        for key in ("test_accuracy", "reward", "area_under_curve"):
            assert cell.measures[key] == same.measures[key]
        assert cell.curve == same.curve


def test_warnings_of_other_processes_are_told_with_the_name_of_the_run():
    class Pipe:
        def recv(self):
            return "warned", "all rewards so far were 1"

    worker = runner._Worker(None, Pipe(), runner.Job("rate_nla, reward delay none", None, Path("a"), new=True))
    with pytest.warns(runner.RunWarning, match="rate_nla, reward delay none: all rewards so far were 1"):
        assert runner._listen(worker, Report()) == (False, True)


def alive_in_group(group: int) -> list[str]:
    """Return the processes of a group that are not merely waiting to be forgotten."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, theirs = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(theirs) == group and state != "Z":
            found.append(path.parent.name)
    return found


@pytest.mark.slow
def test_ctrl_c_leaves_readable_runs_and_no_process(tmp_path):
    command = [
        sys.executable,
        "-m",
        "rnla_neuro.cli",
        "compare",
        "xor",
        "--models",
        "rate_nla,reinforce",
        "--jobs",
        "2",
    ]
    command += ["--iterations", "10000000", "--out", "out", "--no-html"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while time.monotonic() < until and process.poll() is None:
            runs = [Results.load(path.parent) for path in tmp_path.glob("out/runs/*/config.toml")]
            if len(runs) == 2 and all(run.iterations for run in runs):
                break
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all of them
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    until = time.monotonic() + 20
    while alive_in_group(process.pid) and time.monotonic() < until:  # the helper of multiprocessing goes last
        time.sleep(0.2)
    assert alive_in_group(process.pid) == []
    states = [Results.load(path.parent) for path in tmp_path.glob("out/runs/*/config.toml")]
    assert [run.status for run in states] == ["interrupted", "interrupted"]
    assert all(run.iterations > 0 for run in states)
