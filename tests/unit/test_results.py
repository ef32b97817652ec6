"""Run folders: what is written reads back, whatever ends the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from rnla_neuro.errors import RunFolderError
from rnla_neuro.results import Results, RunConfig, RunFolder, versions_in_use

SEEDS = (901, 7, 903)
ROOT = Path(__file__).parents[2]
CONFIG = RunConfig(
    task="digits",
    model="rate_nla",
    learner="r-nla",
    backend="equilibrium",
    seeds=SEEDS,
    iterations=100,
    hidden=(40,),
    reward_delay="gamma:2,0.5T",
    overrides={"eta": "0.1"},
    task_options={"n_bits": 4, "path": None},
    model_text='[model]\r\nname = "β"\n',
)


def rows(k: int) -> dict[str, np.ndarray]:
    """What is recorded in iteration k: every value tells its seed and iteration."""
    value = np.arange(3) + k / 8
    return {"reward": value, "correct": value % 2 < 1, "action": np.arange(3) + k}


def check(results: Results, n: int) -> None:
    assert results.iterations == n
    assert results.columns == ("reward", "correct", "action")
    expected = np.arange(3)[:, None] + np.arange(n) / 8
    assert np.array_equal(results.array("reward"), expected.astype(np.float32))
    assert np.array_equal(results.array("correct"), expected % 2 < 1)
    assert np.array_equal(results.array("action"), np.arange(3)[:, None] + np.arange(n))


def write(path: Path, n: int, block: int = 10) -> RunFolder:
    run = RunFolder.create(path, CONFIG, block=block)
    for k in range(n):
        run.append(rows(k))
    return run


# --- the whole way ------------------------------------


@pytest.mark.parametrize("n", [1, 9, 10, 11, 37])
def test_a_finished_run_reads_back(tmp_path: Path, n: int) -> None:
    run = write(tmp_path / "deep" / "run", n)
    run.write_weights({"w0": np.arange(6.0).reshape(1, 2, 3)})
    run.finish({"test_accuracy": {"mean": np.float64(0.9), "ci95": None, "values": (np.nan, 1)}})
    results = Results.load(run.path)
    check(results, n)
    assert results.status == "finished"
    assert results.config == replace(CONFIG, task_options={"n_bits": 4})  # TOML has no None
    assert results.summary == {"test_accuracy": {"mean": 0.9, "ci95": None, "values": [None, 1]}}
    assert np.array_equal(results.weights["w0"], np.arange(6.0).reshape(1, 2, 3))
    names = {path.name for path in run.path.iterdir()}
    assert names == {
        "config.toml",
        "model.toml",
        "records.parquet",
        "status.json",
        "summary.json",
        "weights.npz",
    }


def test_other_tools_read_the_records(tmp_path: Path) -> None:
    write(tmp_path / "run", 25).finish({})
    table = pq.read_table(tmp_path / "run" / "records.parquet")
    assert table.column_names == ["seed", "iteration", "reward", "correct", "action"]
    assert [str(kind) for kind in table.schema.types] == ["int64", "int32", "float", "bool", "int32"]
    frame = table.to_pylist()
    assert len(frame) == 75
    for row in frame:
        agent = SEEDS.index(row["seed"])
        assert row["reward"] == agent + row["iteration"] / 8


def test_many_iterations_in_one_call(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", CONFIG, block=10)
    run.append(rows(0))
    columns = {name: np.stack([rows(k)[name] for k in range(1, 30)], axis=1) for name in rows(0)}
    run.append({name: columns[name] for name in reversed(columns)})  # the order of the columns is free
    run.append({name: value.tolist() for name, value in rows(30).items()})
    run.finish({})
    check(Results.load(run.path), 31)


def test_a_run_under_way_can_be_read(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", CONFIG, block=10)
    assert Results.load(run.path).iterations == 0
    assert Results.load(run.path).columns == ()
    for k in range(23):
        run.append(rows(k))
        results = Results.load(run.path)
        check(results, k + 1)
        assert results.status == "running"
    with pytest.raises(RunFolderError, match=r"no weights.npz: the run is running"):
        _ = results.weights
    run.interrupt()


def test_the_configuration_says_versions_machine_and_hash(tmp_path: Path) -> None:
    run = write(tmp_path / "run", 1)
    run.finish({})
    about = tomllib.loads((run.path / "config.toml").read_text())
    assert about["run"]["format"] == 1
    assert len(about["run"]["sha256"]) == 64
    assert about["versions"]["numpy"] == np.__version__
    assert about["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert about["machine"]["cores"] >= 1
    assert "model_text" not in about["settings"]
    assert (run.path / "model.toml").read_bytes() == CONFIG.model_text.encode()


def test_a_folder_from_before_core_and_road_is_read(tmp_path: Path) -> None:
    write(tmp_path / "run", 3).finish({})
    config = tmp_path / "run" / "config.toml"
    lines = config.read_text().splitlines(keepends=True)
    older = [line for line in lines if not line.startswith(("core =", "road ="))]
    assert len(older) == len(lines) - 2
    config.write_text("".join(older))
    results = Results.load(tmp_path / "run")
    check(results, 3)
    assert (results.config.core, results.config.road) == ("auto", "auto")


def test_the_hash_follows_everything_that_determines_the_result() -> None:
    versions = versions_in_use()
    others = [
        replace(CONFIG, model_text="other"),
        replace(CONFIG, seeds=(1,)),
        replace(CONFIG, overrides={"eta": "0.2"}),
        replace(CONFIG, reward_delay="none"),
        replace(CONFIG, hidden=(40, 40)),
        replace(CONFIG, precision="float32"),
        replace(CONFIG, freeze_hidden=True),
        replace(CONFIG, core="numpy"),
        replace(CONFIG, road="plain"),
    ]
    hashes = [one.sha256(versions) for one in (CONFIG, *others)]
    hashes.append(CONFIG.sha256({**versions, "numpy": "0"}))
    assert len(set(hashes)) == len(hashes)
    assert replace(CONFIG).sha256(dict(versions)) == hashes[0]


# --- how runs end ------------------------------------


def test_ctrl_c_leaves_an_interrupted_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), write(tmp_path / "run", 13):
        raise KeyboardInterrupt
    results = Results.load(tmp_path / "run")
    check(results, 13)
    assert results.status == "interrupted"
    assert results.summary == {}


@pytest.mark.parametrize("n", [0, 13])
def test_an_error_leaves_a_failed_run_with_its_message(tmp_path: Path, n: int) -> None:
    with pytest.raises(ValueError, match="the gain"), write(tmp_path / "run", n):
        raise ValueError("the gain is too large")
    results = Results.load(tmp_path / "run")
    assert (results.status, results.message) == ("failed", "the gain is too large")
    assert results.iterations == n


def test_a_run_that_forgets_to_finish_counts_as_failed(tmp_path: Path) -> None:
    with write(tmp_path / "run", 1):
        pass
    assert Results.load(tmp_path / "run").message == "the run ended without a summary"


BEGINNING = """
import os, signal, sys
from pathlib import Path
from tests.unit import test_results as t
run = t.write(Path(sys.argv[1]), 23)
"""


def child(path: Path, end: str) -> subprocess.CompletedProcess[str]:
    code = BEGINNING + textwrap.dedent(end)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_killed_process_loses_nothing_but_the_iteration_under_way(tmp_path: Path) -> None:
    ended = child(tmp_path / "run", "os.kill(os.getpid(), signal.SIGKILL)")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    results = Results.load(tmp_path / "run")
    check(results, 23)
    assert results.status == "killed"
    for part in (tmp_path / "run" / "records").glob("*.parquet"):
        assert pq.read_table(part).num_rows == 30  # readable without us
    with (tmp_path / "run" / "records" / "journal.bin").open("r+b") as journal:
        journal.truncate(Path(journal.name).stat().st_size - 5)  # killed in the middle of a write
    check(Results.load(tmp_path / "run"), 22)


def test_a_kill_between_a_part_and_its_journal_doubles_nothing(tmp_path: Path) -> None:
    run = write(tmp_path / "run", 9)
    journal = run.path / "records" / "journal.bin"
    before = journal.read_bytes()
    run.append(rows(9))  # fills the block
    journal.write_bytes(before)
    check(Results.load(run.path), 10)
    run.interrupt()


def test_a_full_disk_is_named_and_the_earlier_records_stay(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the operating system refuses in the same place."""
    end = """
    import resource
    from rnla_neuro.errors import RunFolderError
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
    try:
        with run:
            for k in range(23, 1000):
                run.append(t.rows(k))
    except RunFolderError as error:
        print(k, error)
    """
    ended = child(tmp_path / "run", end)
    assert ended.returncode == 0, ended.stderr
    number, message = ended.stdout.split(" ", 1)
    assert message.startswith("no space left to write")
    assert "stays readable" in message
    results = Results.load(tmp_path / "run")
    check(results, int(number))
    assert int(number) >= 23


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    run = write(tmp_path / "run", 1)
    (run.path / ".summary.json.tmp").mkdir()
    with pytest.raises(RunFolderError, match=r"cannot write .*summary.json"):
        run.finish({})
    check(Results.load(run.path), 1)


# --- one run a folder ------------------------------------


def test_an_existing_folder_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "run", tmp_path / "file"):
        with pytest.raises(RunFolderError, match=f"{path} exists already.*--out"):
            RunFolder.create(path, CONFIG)
    with pytest.raises(RunFolderError, match=f"{tmp_path / 'file'}"):
        RunFolder.create(tmp_path / "file" / "run", CONFIG)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_of_many_runs_at_once_one_gets_the_folder(tmp_path: Path) -> None:
    got: list[RunFolder] = []
    refused: list[RunFolderError] = []
    start = threading.Barrier(8)

    def claim() -> None:
        start.wait()
        try:
            got.append(RunFolder.create(tmp_path / "run", CONFIG))
        except RunFolderError as error:
            refused.append(error)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].interrupt()


def test_beside_an_existing_run_the_next_gets_a_number(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        run = RunFolder.create_beside(tmp_path / "runs", "digits", CONFIG)
        run.interrupt()
        names.append(run.path.name)
    assert names == ["digits", "digits-2", "digits-3"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError):
        RunFolder.create_beside(tmp_path / "file", "digits", CONFIG)


# --- what cannot be read, and what cannot be recorded ------------------------------------


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    run = write(tmp_path / "run", 12)
    run.write_weights({"w0": np.zeros((1, 2, 3))})
    run.finish({})
    return run.path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.toml", None, "is not a run folder: it has no config.toml"),
        ("config.toml", b"[run", "corrupted"),
        ("config.toml", b"[model]\nname = 'x'", "is not the configuration of a run"),
        ("config.toml", b"[run]\nformat = 2\n[settings]", "run format 2, and this .* reads up to 1"),
        ("config.toml", b"[run]\nformat = 1\n[settings]\ntask = 'x'", "settings are incomplete"),
        ("status.json", None, r"status.json is missing"),
        ("summary.json", b"{", r"summary.json is corrupted"),
        ("summary.json", b"[]", r"summary.json is corrupted"),
        ("records.parquet", b"PAR1 and then nothing", r"records.parquet are corrupted"),
        ("weights.npz", b"PK and then nothing", r"weights.npz are corrupted"),
        ("weights.npz", b"", r"weights.npz are corrupted"),
    ],
)
def test_a_damaged_run_folder_is_named(finished: Path, name: str, content: bytes | None, said: str) -> None:
    (finished / name).unlink()
    if content is not None:
        (finished / name).write_bytes(content)
    with pytest.raises(RunFolderError, match=said):
        everything(finished)


def everything(path: Path) -> Any:
    results = Results.load(path)
    return results.records, results.weights


def test_a_path_that_is_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="there is no such folder"):
        Results.load(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="it is a file; give the folder that 'rnla run' wrote"):
        Results.load(tmp_path / "file")


def test_a_missing_part_is_noticed(tmp_path: Path) -> None:
    run = write(tmp_path / "run", 35)
    parts = sorted((run.path / "records").glob("*.parquet"))
    parts[1].unlink()
    with pytest.raises(RunFolderError, match="records are missing"):
        _ = Results.load(run.path).records
    parts[2].unlink()
    with pytest.raises(RunFolderError, match="records are missing: iterations 10 to 29"):
        _ = Results.load(run.path).records
    run.fail("")


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    run = write(tmp_path / "run", 5)
    (run.path / "records" / "journal.bin").write_bytes(b'{"first": 0}\n12345678')
    with pytest.raises(RunFolderError, match=r"journal.bin are corrupted"):
        _ = Results.load(run.path).records
    run.fail("")


def test_an_unknown_column_gets_the_nearest_name(finished: Path) -> None:
    with pytest.raises(RunFolderError, match="did you mean 'reward'"):
        Results.load(finished).array("rewards")


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({"reward": np.zeros(2)}, r"each of the 3 seeds"),
        ({"reward": np.zeros((1, 3))}, r"each of the 3 seeds"),
        ({"reward": np.zeros(())}, r"each of the 3 seeds"),
        ({"reward": np.zeros(3), "hit": np.zeros((3, 2))}, r"each of the 3 seeds"),
        ({"reward": np.array(["a", "b", "c"])}, "must be a number"),
        ({"seed": np.zeros(3)}, "written by the run folder itself"),
        ({}, "at least one"),
    ],
)
def test_records_of_a_wrong_form_are_refused(tmp_path: Path, records: dict[str, Any], said: str) -> None:
    with pytest.raises(RunFolderError, match=said), RunFolder.create(tmp_path / "run", CONFIG) as run:
        run.append(records)


def test_columns_cannot_change_in_the_middle(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="before"), write(tmp_path / "run", 2) as run:
        run.append({"reward": np.zeros(3)})
    check(Results.load(tmp_path / "run"), 2)


def test_records_stay_small(tmp_path: Path) -> None:
    """10 seeds and 50,000 iterations, with a running mean that does not compress: the promise is 15 MB."""
    config = replace(CONFIG, seeds=tuple(range(10)))
    rng = np.random.default_rng(0)
    with RunFolder.create(tmp_path / "run", config) as run:
        for _ in range(50):
            hit = rng.random((10, 1000)) < 0.9
            run.append({"reward": hit * 1.0, "correct": hit, "running": rng.random((10, 1000))})
        assert len(list((run.path / "records").glob("*.parquet"))) == 50
        run.finish({})
    assert (run.path / "records.parquet").stat().st_size < 4e6
    assert json.loads((run.path / "status.json").read_text())["iterations"] == 50_000
