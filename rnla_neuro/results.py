"""The run folder: configuration, records, weights, summary and pictures of one run, for several seeds.

```
config.toml       settings, versions, machine, hash
model.toml        the model's text, as it was run
records.parquet   one row a seed and iteration
weights.npz       trained weights
summary.json      what the run came to
status.json       running, finished, interrupted or failed
learning_curve.png, learning_curve.svg
```
A folder belongs to one run and is never overwritten. Every file is written whole or not at all.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnla_neuro.analysis.statistics import iterations_to_threshold, running_mean, summary
from rnla_neuro.errors import RunFolderError
from rnla_neuro.records import RecordWriter, by_seed, read_records, whole_or_nothing, writer_is_alive
from rnla_neuro.run_config import RunConfig, config_text, plain, read_config, versions_in_use

__all__ = ["Results", "RunConfig", "RunFolder", "iterations_to_threshold", "running_mean", "versions_in_use"]


WINDOW = 100  # trials of the running hit rate
THRESHOLD = 0.8  # hit rate whose first crossing is reported


class RunFolder:
    """A run folder that is being written; a context manager that leaves it readable, whatever happens.

    On leaving the ``with`` block by Ctrl-C the run counts as interrupted, by another error as failed.
    """

    def __init__(self, path: Path, config: RunConfig, writer: RecordWriter) -> None:
        self.path = path
        self.config = config
        self._records = writer
        self._closed = False

    @classmethod
    def create(cls, path: str | Path, config: RunConfig, block: int | None = None) -> RunFolder:
        """Make a new run folder; of two runs that try at the same time, one gets it and one an error.

        Args:
            path: Where; it must not exist. Its parents are made.
            config: The settings of the run.
            block: Iterations a Parquet part, for tests.

        Raises:
            RunFolderError: `path` exists or cannot be made.
        """
        folder = Path(path).absolute()  # an environment may change the working folder
        if folder.parent.exists() and not folder.parent.is_dir():
            raise RunFolderError(f"cannot make the run folder {path}: {folder.parent} is not a folder")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()  # atomic: this is what claims it
        except FileExistsError:
            what = folder if folder.exists() else folder.parent
            raise RunFolderError(
                f"{what} exists already: a run never writes over another; choose another folder with --out"
            ) from None
        except OSError as error:
            raise RunFolderError(f"cannot make the run folder {folder}: {error.strerror or error}") from error
        run = cls(folder, config, RecordWriter(folder, config.seeds, block))
        run._write_status("running")
        if config.model_text:
            run.write_text("model.toml", config.model_text)
        if config.hardware_text:
            run.write_text("hardware.toml", config.hardware_text)
        run.write_text("config.toml", config_text(config))
        return run

    @classmethod
    def create_beside(cls, parent: str | Path, name: str, config: RunConfig) -> RunFolder:
        """Make ``parent/name``, or ``parent/name-2``, ``-3``, … if there is one already."""
        for number in range(1, 100_000):
            path = Path(parent) / (name if number == 1 else f"{name}-{number}")
            if not path.exists():
                try:
                    return cls.create(path, config)
                except RunFolderError:
                    if not path.exists():
                        raise  # not because another run was faster
        raise RunFolderError(f"{parent} has 100,000 runs named {name!r}: choose another folder with --out")

    @property
    def iterations(self) -> int:
        """Iterations recorded so far."""
        return self._records.iterations

    def append(self, records: Mapping[str, ArrayLike]) -> None:
        """Record one iteration ((A,) values a column) or k of them ((A, k) values).

        Floats are stored as float32, whole numbers as int32; the first call fixes the columns.

        Raises:
            RunFolderError: Other columns than before, a wrong shape, or the disk is full.
        """
        self._records.append(records)

    def write_weights(self, weights: Mapping[str, NDArray[Any]], name: str = "weights.npz") -> None:
        """Write arrays by name to an ``.npz`` file of the run folder."""
        target = self.path / name
        target.parent.mkdir(exist_ok=True)
        with whole_or_nothing(target) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **weights)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run folder."""
        with whole_or_nothing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Compact the records, write ``summary.json``, and call the run finished."""
        self._close("finished", "", summary)

    def interrupt(self, summary: Mapping[str, Any] | None = None) -> None:
        """Compact the records of a run that the user ended early."""
        self._close("interrupted", "", summary)

    def fail(self, message: str) -> None:
        """Compact the records of a run that ended in an error, as far as the disk allows."""
        try:
            self._close("failed", message, None)
        except RunFolderError:
            self._records.abandon()  # the disk may be the reason: parts and journal stay as they are
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._closed:
            return
        if isinstance(error, KeyboardInterrupt):
            self.interrupt()
        else:
            self.fail(str(error) or type(error).__name__ if error else "the run ended without a summary")

    def _close(self, status: str, message: str, summary: Mapping[str, Any] | None) -> None:
        """Put everything in its final form."""
        if self._closed:
            return
        self._records.close()
        if summary is not None:
            self.write_text("summary.json", json.dumps(plain(summary), indent=2, allow_nan=False) + "\n")
        self._write_status(status, message)
        self._closed = True

    def _write_status(self, status: str, message: str = "") -> None:
        """Write how the run stands."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"status": status, "message": message, "iterations": self.iterations, "written": now}
        self.write_text("status.json", json.dumps(about, indent=2) + "\n")


@dataclass(frozen=True)
class Results:
    """A run folder that is read. Records and weights are read when they are first asked for.

    Attributes:
        path: The run folder.
        config: The settings of the run.
        sha256: Hash over settings, model and versions (`RunConfig.sha256`).
        versions: Of Python and the packages that the run used.
        machine: System, processor and number of cores.
        status: ``"running"``, ``"finished"``, ``"interrupted"``, ``"failed"``, or ``"killed"`` (the process
            is gone and could not say so).
        message: Why it failed.
        summary: What the run came to; empty if it did not finish.
    """

    path: Path
    config: RunConfig
    sha256: str
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    status: str
    message: str
    summary: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read a run folder, also one that is still being written or whose process was killed.

        Raises:
            RunFolderError: `path` is not a run folder, of a newer format, incomplete or corrupted.
        """
        folder = Path(path)
        if not (folder / "config.toml").is_file():
            why = "it has no config.toml" if folder.is_dir() else "there is no such folder"
            if folder.is_file():
                why = "it is a file; give the folder that 'rnla run' wrote"
            raise RunFolderError(f"{folder} is not a run folder: {why}")
        config, about = read_config(folder)
        status = _read_json(folder / "status.json")
        state = str(status.get("status", "running"))
        if state == "running" and not writer_is_alive(folder):
            state = "killed"
        summary = _read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
        return cls(
            path=folder,
            config=config,
            sha256=str(about["run"].get("sha256", "")),
            versions=about.get("versions", {}),
            machine=about.get("machine", {}),
            status=state,
            message=str(status.get("message", "")),
            summary=summary,
        )

    @cached_property
    def records(self) -> Any:
        """All records as a pyarrow.Table: ``seed``, ``iteration`` (from 0), and the recorded columns."""
        return read_records(self.path)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the recorded columns."""
        return tuple(name for name in self.records.column_names if name not in ("seed", "iteration"))

    @property
    def iterations(self) -> int:
        """Iterations that were recorded (fewer than asked for, if the run ended early)."""
        iteration = self.records["iteration"].to_numpy()
        return int(iteration.max()) + 1 if len(iteration) else 0

    def array(self, name: str) -> NDArray[Any]:
        """Return one recorded column, shape (n_seeds, iterations), seeds in the order of the configuration.

        Raises:
            RunFolderError: There is no such column.
        """
        return by_seed(self.records, name, self.config.seeds)

    def learning(self) -> dict[str, Any]:
        """Return what the records say of learning: mean, 95 % interval and values, one a seed.

        Keys: ``reward``, averaged over the last ``reward_window`` trials, and ``iterations_to_threshold`` where
        right decisions are known. Empty while nothing has been recorded.
        """
        if self.iterations == 0:
            return {}
        tail = min(self.iterations, 10 * WINDOW)
        found: dict[str, Any] = {"reward": summary(running_mean(self.array("reward"), tail)[:, -1])}
        if "correct" in self.columns:
            reached = iterations_to_threshold(self.array("correct"), THRESHOLD, WINDOW)
            found["iterations_to_threshold"] = {"threshold": THRESHOLD, "window": WINDOW, **summary(reached)}
        return {**found, "reward_window": tail}

    @cached_property
    def weights(self) -> dict[str, NDArray[Any]]:
        """Trained weights.

        Raises:
            RunFolderError: The run ended before it wrote them, or the file is corrupted.
        """
        path = self.path / "weights.npz"
        if not path.exists():
            raise RunFolderError(f"{self.path} has no weights.npz: the run is {self.status}")
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise RunFolderError(f"the weights {path} are corrupted: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing: the run folder is incomplete") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} is corrupted: {error}") from error
    if not isinstance(about, dict):
        raise RunFolderError(f"{path} is corrupted: it must hold an object")
    return about
