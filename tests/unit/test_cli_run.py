"""`rnla run`, `show` and `align` on real, short runs; signals, closed pipes and rivals in real processes."""

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

from rnla_neuro.cli.app import execute
from rnla_neuro.results import Results

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")]),
    "NO_COLOR": "1",
}
BRIEF = ("--iterations", "300", "--hidden", "5")
SHORT = (*BRIEF, "--core", "numpy")


@pytest.fixture
def rnla(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: object) -> tuple[int, str, str]:
        code = execute([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two seeds."""
    path = tmp_path_factory.mktemp("cli") / "run"
    assert execute(["run", "xor", *SHORT, "--seeds", "4,9", "--out", str(path), "--quiet"]) == 0
    return path


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rnla_neuro.cli", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a test runner in the background may have SIGINT ignored, and a child inherits that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )


def wait_for_records(folder: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if (folder / "config.toml").exists() and Results.load(folder).iterations:
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"no records appeared: {process.communicate()}")


def test_run_prints_a_table_and_the_places(rnla, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = rnla("run", "xor", *SHORT, "--seeds", 2, "--set", "eta=0.05")
    assert code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("xor-rate_nla-r-nla-2")
    assert "2 seeds × 300 decisions" in out
    assert "test accuracy" in out
    assert f"runs/{folder.name}/learning_curve.png" in out
    assert (folder / "learning_curve.png").is_file()
    assert (folder / "learning_curve.svg").is_file()
    assert "300/300 decisions, hit rate 0." in err
    config = Results.load(folder).config
    assert dict(config.overrides) == {"eta": "0.05"}
    assert config.seeds == (1, 2)
    assert config.hidden == (5,)


def test_every_option_reaches_the_run(rnla, tmp_path):
    out = tmp_path / "deep" / "run"
    line = [
        "run",
        "bars",
        "--model",
        "rate_nla_policy",
        "--hidden",
        "6,4",
        "--seeds",
        "11-12",
        "--freeze-hidden",
    ]
    line += ["--reward-delay", "fixed:5ms", "--precision", "float32", "--iterations", "40", "--core", "numpy"]
    assert rnla(*line, "--out", out, "--quiet") == (0, f"{out}\n", "")
    config = Results.load(out).config
    assert (config.task, config.model, config.hidden) == ("bars", "rate_nla_policy", (6, 4))
    assert (config.seeds, config.iterations, config.precision) == ((11, 12), 40, "float32")
    assert (config.reward_delay, config.freeze_hidden, config.backend) == ("fixed:5ms", True, "equilibrium")
    assert (config.core, config.road) == ("numpy", "auto")
    about = json.loads(rnla("show", out, "--json")[1])["runs"][0]
    assert (about["core"], about["road"], about["precision"]) == ("numpy", "auto", "float32")


def test_json_is_one_object_and_nothing_else(tmp_path):
    process = start("run", "xor", "--iterations", 400, "--seeds", 2, "--json", "--out", "r", cwd=tmp_path)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    about = json.loads(out)
    assert (about["folder"], about["status"], about["seeds"], about["iterations"]) == (
        "r",
        "finished",
        [1, 2],
        400,
    )
    for name in ("test_accuracy", "reward", "iterations_to_threshold"):
        assert {"mean", "ci95", "values"} <= set(about[name])
        assert len(about[name]["values"]) == 2
    correct = Results.load(tmp_path / "r").array("reward").mean(axis=1)
    assert about["reward"]["values"] == pytest.approx(correct.tolist(), abs=1e-6)
    low, high = about["reward"]["ci95"]
    assert (low + high) / 2 == pytest.approx(about["reward"]["mean"])
    assert "evaluation_return" not in about
    assert "400/400 decisions" in err


def test_json_of_a_task_with_episodes_has_their_return(rnla, tmp_path):
    line = ["run", "CartPole-v1", "--iterations", 60, "--core", "numpy", "--evaluation-episodes", 2]
    code, out, _ = rnla(*line, "--json", "--out", tmp_path / "r")
    about = json.loads(out)
    assert code == 0
    assert "test_accuracy" not in about
    assert "iterations_to_threshold" not in about
    (value,) = about["evaluation_return"]["values"]
    assert 5 <= value <= 500
    assert about["evaluation_return"]["ci95"] is None


def test_baselines_run(rnla, tmp_path):
    for learner in ("reinforce", "backprop", "node-perturbation"):
        code, out, _ = rnla("run", "xor", *BRIEF, "--learner", learner, "--json", "--out", tmp_path / learner)
        assert code == 0
        assert json.loads(out)["learner"] == learner


def test_an_existing_folder_is_refused_and_left_alone(rnla, folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code, out, err = rnla("run", "xor", *SHORT, "--out", folder)
    assert (code, out) == (2, "")
    assert f"{folder} exists already" in err
    assert "--out" in err
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_of_two_processes_one_gets_the_folder(tmp_path):
    line = ("run", "xor", "--iterations", 300, "--core", "numpy", "--quiet", "--out", "same")
    rivals = [start(*line, "--seeds", seed, cwd=tmp_path) for seed in ("1,", "2,")]
    ended = [process.communicate(timeout=240) for process in rivals]
    codes = [process.returncode for process in rivals]
    assert sorted(codes) == [0, 2], ended
    assert "same exists already" in ended[codes.index(2)][1]
    run = Results.load(tmp_path / "same")
    assert run.status == "finished"
    assert run.config.seeds == (codes.index(0) + 1,)
    assert run.iterations == 300


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_readable_folder(tmp_path, rnla, number, code):
    line = (
        "run",
        "xor",
        "--iterations",
        50_000_000,
        "--core",
        "numpy",
        "--seeds",
        2,
        "--json",
        "--out",
        "long",
    )
    process = start(*line, cwd=tmp_path)
    wait_for_records(tmp_path / "long", process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out == ""
    assert "Traceback" not in err
    run = Results.load(tmp_path / "long")
    assert run.status == "interrupted"
    assert run.array("reward").shape == (2, run.iterations)
    assert run.iterations > 0
    assert f"stopped after {run.iterations:,} decisions" in err
    assert "long" in err
    assert run.weights["projection0"].shape[0] == 2
    shown, text, _ = rnla("show", tmp_path / "long")
    assert shown == 0
    assert "interrupted" in text
    assert (tmp_path / "long" / "learning_curve.png").is_file()


def test_a_run_under_way_can_be_shown(tmp_path, rnla):
    process = start(
        "run", "xor", "--iterations", 50_000_000, "--core", "numpy", "--out", "long", cwd=tmp_path
    )
    try:
        wait_for_records(tmp_path / "long", process)
        code, out, _ = rnla("show", tmp_path / "long", "--json")
    finally:
        process.kill()
        process.communicate()
    about = json.loads(out)["runs"][0]
    assert code == 0
    assert about["status"] == "running"
    assert about["iterations"] < about["iterations_asked"] == 50_000_000
    assert 0 <= about["reward"]["mean"] <= 1
    assert json.loads(rnla("show", tmp_path / "long", "--json")[1])["runs"][0]["status"] == "killed"


@pytest.mark.parametrize("unbuffered", ["", "1"])  # the pipe is noticed at the end, or by each write
@pytest.mark.parametrize("line", [("list", "tasks"), ("list", "tasks", "--json"), ("run", "--help")])
def test_a_closed_pipe_is_quiet(tmp_path, monkeypatch, unbuffered, line):
    monkeypatch.setitem(ENVIRONMENT, "PYTHONUNBUFFERED", unbuffered)
    with start(*line, cwd=tmp_path) as process:
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(timeout=60), err) == (141, "")


def test_show_draws_again_and_agrees_with_the_run(rnla, folder):
    for name in ("learning_curve.png", "learning_curve.svg"):
        (folder / name).unlink()
    code, out, err = rnla("show", folder)
    assert (code, err) == (0, "")
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "learning_curve.svg").read_text()
    about = json.loads(rnla("show", folder, "--json")[1])["runs"][0]
    assert f"{about['test_accuracy']['mean']:.4f}" in out
    assert about["reward"] == Results.load(folder).summary["reward"]


def test_measures_without_a_summary_are_those_of_the_summary(rnla, folder, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "summary.json").unlink()
    with_summary, without = (json.loads(rnla("show", one, "--json")[1])["runs"][0] for one in (folder, copy))
    assert without["reward"] == with_summary["reward"]
    assert without["iterations_to_threshold"] == with_summary["iterations_to_threshold"]
    assert "test_accuracy" not in without


def test_show_compares_runs_in_one_new_picture(rnla, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rnla("run", "xor", *BRIEF, "--learner", "reinforce", "--out", "other", "--quiet")[0] == 0
    code, out, _ = rnla("show", folder, "other")
    assert code == 0
    assert "picture  comparison.png" in out
    assert "reinforce" in out
    assert "comparison-2.png" in rnla("show", folder, "other")[1]  # the first is not replaced
    assert rnla("show", folder, "other", "--out", "mine.svg")[0] == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "comparison.png",
        "comparison-2.png",
        "mine.png",
    }


def test_show_of_a_run_without_records(rnla, folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("config.toml", "model.toml"):
        (empty / name).write_bytes((folder / name).read_bytes())
    (empty / "status.json").write_text(json.dumps({"status": "failed", "message": "the disk was full"}))
    code, out, err = rnla("show", empty, "--json")
    assert code == 0
    assert json.loads(out)["pictures"] == []
    assert "nothing recorded" in err


# The t interval of two seeds reaches far beyond a cosine, and alignment_plot draws it whole.
def test_align_table_files_and_json(rnla, folder):
    code, out, err = rnla("align", folder, "--trials", "0,300", "--samples", 4)
    assert (code, err) == (0, "")
    assert "cosine, V(x)" in out
    for name in ("alignment.png", "alignment.svg", "alignment.csv", "alignment.json"):
        assert (folder / name).is_file()
        assert name == "alignment.json" or name in out
    with (folder / "alignment.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["seed"], row["trial"]) for row in rows} == {
        ("4", "0"),
        ("4", "300"),
        ("9", "0"),
        ("9", "300"),
    }
    about = json.loads(rnla("align", folder, "--trials", "0,300", "--samples", 4, "--json")[1])
    assert about["seeds"] == [4, 9]
    for one in about["alignment"]:
        same = [
            r
            for r in rows
            if (int(r["trial"]), r["layer"], r["baseline"]) == (one["trial"], one["layer"], one["baseline"])
        ]
        assert one["cosine"]["values"] == pytest.approx([float(row["cosine"]) for row in same])
        assert one["cosine"]["mean"] == pytest.approx(np.mean(one["cosine"]["values"]))
        assert all(abs(value) <= 1 + 1e-12 for value in one["cosine"]["values"])


def test_align_uses_the_weights_of_the_moment_and_seed(rnla, folder):
    from rnla_neuro.analysis.alignment import align, label_rewards
    from rnla_neuro.spec.derive import derive_form
    from rnla_neuro.spec.loader import load_model
    from rnla_neuro.tasks.catalogue import get

    line = ["align", folder, "--trials", "300", "--seeds", "9,", "--samples", 4, "--json"]
    about = json.loads(rnla(*line)[1])
    with np.load(folder / "checkpoints" / "weights-300.npz") as kept:
        weights = [kept["projection0"][1], kept["projection1"][1]]
        mean = float(kept["R_mean"][1])
    inputs, labels = get("xor").dataset("train")
    rows = align(
        derive_form(load_model("rate_nla")),
        weights,
        inputs,
        label_rewards(labels, 2),
        mean,
        samples=4,
        seed=9,
    )
    expected = {(row.layer, row.baseline): row.cosine for row in rows}
    found = {(one["layer"], one["baseline"]): one["cosine"]["mean"] for one in about["alignment"]}
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--trials", "0,7"], ["--trials 7", "it has 0, 3, 9, 30, 90, 300"]),
        (["--seeds", "5,"], ["no seed 5", "4, 9"]),
        (["--samples", "5"], ["samples = 5", "even"]),
        (["--method", "exactly"], ["unknown method 'exactly'", "did you mean 'exact'?"]),
    ],
)
def test_mistakes_of_align(rnla, folder, line, says):
    code, _, err = rnla("align", folder, *line)
    assert code == 2
    for text in says:
        assert text in err


def test_align_needs_self_nudging_and_weights(rnla, folder, tmp_path):
    import shutil

    rnla("run", "xor", *BRIEF, "--learner", "backprop", "--out", tmp_path / "supervised", "--quiet")
    code, _, err = rnla("align", tmp_path / "supervised")
    assert (code, "only r-nla" in err) == (2, True)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    broken = copy / "checkpoints" / "weights-0.npz"
    broken.write_bytes(broken.read_bytes()[:100])
    code, _, err = rnla("align", copy, "--trials", "0")
    assert (code, "corrupted" in err) == (2, True)
    shutil.rmtree(copy / "checkpoints")
    code, _, err = rnla("align", copy)
    assert (code, "has kept no weights" in err) == (2, True)


def test_tensorboard_scalars(rnla, tmp_path):
    pytest.importorskip("tensorboardX")
    assert rnla("run", "xor", *SHORT, "--tensorboard", "--quiet", "--out", tmp_path / "r")[0] == 0
    assert list((tmp_path / "r" / "tensorboard").rglob("events.out.tfevents*"))


def test_tensorboard_without_its_package_is_refused_before_the_run(rnla, tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    code, _, err = rnla("run", "xor", *SHORT, "--tensorboard", "--out", tmp_path / "r")
    assert code == 2
    assert "rnla_neuro[tensorboard]" in err
    assert not (tmp_path / "r").exists()
