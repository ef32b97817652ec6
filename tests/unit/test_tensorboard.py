"""TensorBoard scalars: read back from the event files themselves."""

from __future__ import annotations

import builtins
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnla_neuro.analysis.statistics import running_mean
from rnla_neuro.analysis.tensorboard import export
from rnla_neuro.errors import MissingExtraError, RunFolderError
from rnla_neuro.results import Results, RunConfig, RunFolder


@pytest.fixture
def results(tmp_path: Path) -> Results:
    config = RunConfig("xor", "rate_nla", "r-nla", "equilibrium", seeds=(901, 902), iterations=400)
    reward = np.random.default_rng(0).random((2, 400))
    returns = np.where(np.arange(400) < 350, np.nan, 3.0) * np.ones((2, 1))
    with RunFolder.create(tmp_path / "run", config) as run:
        run.append({"reward": reward, "episode_return": returns})
        run.finish({})
    return Results.load(tmp_path / "run")


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Read the event file of one run: length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.*")
    data = path.read_bytes()
    found: dict[str, dict[int, float]] = {}
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event: Any = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_scalars_of_each_seed_are_running_means(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra 'tensorboard'")
    count = export(results, tmp_path / "logs", window=100, points=50)
    running = running_mean(results.array("reward"), 100)
    total = 0
    for agent, seed in enumerate((901, 902)):
        read = scalars(tmp_path / "logs" / f"seed-{seed}")
        assert len(read["reward"]) == 50
        assert (min(read["reward"]), max(read["reward"])) == (100, 400)
        for step, value in read["reward"].items():
            assert value == pytest.approx(running[agent, step - 1], rel=1e-6)
        assert min(read["episode_return"]) > 350  # before, no episode had ended
        assert set(read["episode_return"].values()) == {3.0}
        total += len(read["reward"]) + len(read["episode_return"])
    assert count == total
    with pytest.raises(RunFolderError, match=r"logs for TensorBoard: .*; give a new one"):
        export(results, tmp_path / "logs")


def test_without_the_package_the_extra_is_named(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("tensorboardX"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'rnla_neuro\[tensorboard\]'"):
        export(results, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
