"""Records of a run, one row a seed and iteration, written so that a crash loses at most one iteration.

While a run is under way the rows of the last, unfinished block stand in a journal
(``records/journal.bin``, appended at each iteration). A full block becomes a Parquet file of its own
(``records/part-*.parquet``), and at the end all parts are compacted into ``records.parquet``. Every Parquet
file is written under another name and renamed, so each is there whole or not at all; the journal's last row
may be cut, and is then dropped.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnla_neuro.errors import RunFolderError, unknown

RECORDS_FILE: Final = "records.parquet"
PARTS_FOLDER: Final = "records"
JOURNAL_FILE: Final = "journal.bin"

_BLOCK_ITERATIONS: Final = 1000
_BLOCK_BYTES: Final = 8 * 2**20
_BLOCK_SECONDS: Final = 30.0  # a slow run still shows its records to other tools
_ROWS_A_GROUP: Final = 200_000  # small row groups compress badly
_KEYS: Final = ("seed", "iteration")


@contextlib.contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block succeeds, remove it if not.

    Raises:
        RunFolderError: The operating system refused (disk full, no permission).
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def cannot_write(path: Path, error: OSError) -> RunFolderError:
    """Word the error for a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RunFolderError(
            f"no space left to write {path} ({error.strerror}): what was recorded before stays readable; "
            "free some space, or choose a folder on another disk"
        )
    return RunFolderError(f"cannot write {path}: {error.strerror or error}")


class RecordWriter:
    """Appends records to a run folder; at most one iteration is lost when the process is killed.

    Args:
        folder: The run folder; it exists, and is ours alone.
        seeds: The seed of each agent, in the order of the agents.
        block: Iterations a Parquet part; by default 1000, fewer for very many agents.
    """

    def __init__(self, folder: Path, seeds: Sequence[int], block: int | None = None) -> None:
        self._folder = folder
        self._parts = folder / PARTS_FOLDER
        self._journal_path = self._parts / JOURNAL_FILE
        self._seeds = np.asarray(seeds, dtype=np.int64)
        self._block = block
        self._names: tuple[str, ...] = ()
        self._types: list[np.dtype[Any]] = []
        self._shape = (len(self._seeds),)
        self._buffer = np.empty((0, 0, 0))  # (iterations of a block, columns, A)
        self._row = np.empty((0, 0))  # the place of the next iteration in it
        self._appended = 0  # iterations
        self._in_parts = 0  # of these, in finished parts: the rest is in the journal and in the buffer
        self._part_began = time.monotonic()
        try:
            self._parts.mkdir()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._journal = os.open(self._journal_path, flags, 0o644)
        except OSError as error:
            raise cannot_write(self._parts, error) from error
        with contextlib.suppress(OSError):  # a file system without locks: then a killed run looks alive
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def iterations(self) -> int:
        """Iterations appended so far."""
        return self._appended

    def append(self, records: Mapping[str, ArrayLike]) -> None:
        """Append one iteration, or several.

        Args:
            records: Column name to (A,) values of one iteration, or (A, k) values of k iterations. The first
                call fixes names and types: floats are stored as float32, whole numbers as int32.

        Raises:
            RunFolderError: Other columns than at the first call, a wrong shape, or the disk is full.
        """
        row = self._row
        if records and tuple(records) == self._names:  # the way of every trial: as few calls as can be
            for i, value in enumerate(records.values()):
                if not isinstance(value, np.ndarray) or value.shape != self._shape:
                    break
                row[i] = value
            else:
                self._commit()
                return
        values = [np.asarray(value) for value in records.values()]
        if not records or tuple(records) != self._names:
            values = self._accept_columns(records, values)
        self._check_shapes(values)
        for k in range(values[0].shape[1] if values[0].ndim == 2 else 1):
            for i, value in enumerate(values):
                self._row[i] = value[:, k] if value.ndim == 2 else value
            self._commit()

    def flush(self) -> None:
        """Turn what is in the journal into a Parquet part."""
        n = self._appended - self._in_parts
        if n == 0:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        block = self._buffer[:n]
        columns: dict[str, Any] = {
            "seed": np.repeat(self._seeds, n),
            "iteration": np.tile(np.arange(self._in_parts, self._appended, dtype=np.int32), len(self._seeds)),
        }
        for i, (name, kind) in enumerate(zip(self._names, self._types, strict=True)):
            columns[name] = block[:, i, :].T.ravel().astype(kind)
        # the name says where the part begins: written twice after an interruption, it is the same part
        with whole_or_nothing(self._parts / f"part-{self._in_parts:09d}.parquet") as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")
        self._in_parts = self._appended
        self._row = self._buffer[0]
        self._part_began = time.monotonic()
        self._start_journal()

    def close(self) -> None:
        """Compact all parts into ``records.parquet`` and remove them; without records, leave no file."""
        if self._journal < 0:
            return
        self.flush()
        parts = sorted(self._parts.glob("part-*.parquet"))
        if parts:
            _compact(parts, self._folder / RECORDS_FILE)
        self.abandon()
        with contextlib.suppress(OSError):  # the records are safe in one file; leftovers are harmless
            for path in (*parts, self._journal_path):
                path.unlink(missing_ok=True)
            self._parts.rmdir()

    def abandon(self) -> None:
        """Let go of the journal, and leave all files as they are."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def _commit(self) -> None:
        """Count the iteration that stands in the buffer, after writing it to the journal."""
        self._write(self._row.data)
        self._appended += 1
        filled = self._appended - self._in_parts
        if filled == len(self._buffer) or time.monotonic() - self._part_began > _BLOCK_SECONDS:
            self.flush()
        else:
            self._row = self._buffer[filled]

    def _check_shapes(self, values: list[NDArray[Any]]) -> None:
        """Refuse columns that are neither (A,) nor all (A, k)."""
        shape = values[0].shape
        if any(value.shape != shape for value in values) or len(shape) > 2 or shape[:1] != self._shape:
            shapes = {name: value.shape for name, value in zip(self._names, values, strict=True)}
            raise RunFolderError(
                f"records of shape {shapes}: each column needs one value for each of the {len(self._seeds)} "
                "seeds, or an array of (seeds, iterations)"
            )

    def _accept_columns(self, records: Mapping[str, ArrayLike], values: list[Any]) -> list[Any]:
        """Fix the columns at the first call, and bring those of a later call into the same order."""
        if self._names:
            if set(records) != set(self._names):
                raise RunFolderError(
                    f"records have the columns {sorted(records)}, before {sorted(self._names)}"
                )
            return [np.asarray(records[name]) for name in self._names]
        for name in _KEYS:
            if name in records:
                raise RunFolderError(f"the column {name!r} is written by the run folder itself")
        if not records:
            raise RunFolderError("records without a column: at least one is needed")
        self._names = tuple(records)
        self._types = [_stored_as(name, value) for name, value in zip(self._names, values, strict=True)]
        row_bytes = 8 * len(self._names) * len(self._seeds)
        block = self._block or max(1, min(_BLOCK_ITERATIONS, _BLOCK_BYTES // row_bytes))
        self._buffer = np.empty((block, len(self._names), len(self._seeds)))
        self._row = self._buffer[0]
        self._start_journal()
        return values

    def _start_journal(self) -> None:
        """Empty the journal and say where it begins."""
        columns = [[name, kind.str] for name, kind in zip(self._names, self._types, strict=True)]
        header = {"first": self._in_parts, "seeds": self._seeds.tolist(), "columns": columns}
        try:
            os.ftruncate(self._journal, 0)
        except OSError as error:
            raise cannot_write(self._journal_path, error) from error
        self._write(json.dumps(header).encode() + b"\n")

    def _write(self, data: bytes | memoryview) -> None:
        """Append to the journal; the operating system keeps it even if this process is killed."""
        try:
            written = os.write(self._journal, data)
            size = data.nbytes if isinstance(data, memoryview) else len(data)
            if written < size:  # the disk filled up on the way: the next write says so
                os.write(self._journal, memoryview(data).cast("B")[written:])
        except OSError as error:
            raise cannot_write(self._journal_path, error) from error


def read_records(folder: Path) -> Any:
    """Read all records of a run folder, from whatever a finished or a killed run left.

    Returns:
        A pyarrow.Table with the columns ``seed``, ``iteration`` (from 0) and the recorded ones; no rows and
        only these two columns if nothing was recorded.

    Raises:
        RunFolderError: A file is corrupted, or a part in the middle is missing.
    """
    whole = folder / RECORDS_FILE
    if whole.exists():
        return _read_parquet(whole)
    try:
        return _read_parts(folder / PARTS_FOLDER)
    except RunFolderError:
        if whole.exists():  # the run ended while we read
            return _read_parquet(whole)
        raise


def writer_is_alive(folder: Path) -> bool:
    """Say whether the process that writes the run folder still runs (unknown counts as alive)."""
    try:
        with (folder / PARTS_FOLDER / JOURNAL_FILE).open("rb") as journal:
            fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def by_seed(table: Any, name: str, seeds: Sequence[int]) -> NDArray[Any]:
    """Return one column as an array of shape (n_seeds, iterations), in the order of `seeds`.

    A column of floats has NaN where a row is missing; other columns are converted to float64 in that case.
    """
    if name not in table.column_names:
        raise RunFolderError(unknown("record", name, set(table.column_names) - set(_KEYS)))
    seed, iteration = table["seed"].to_numpy(), table["iteration"].to_numpy()
    values = table[name].to_numpy()
    n = int(iteration.max()) + 1 if len(iteration) else 0
    complete = len(values) == n * len(seeds)
    array = np.empty((len(seeds), n), values.dtype) if complete else np.full((len(seeds), n), np.nan)
    order = np.argsort(seeds)
    array[order[np.searchsorted(np.asarray(seeds)[order], seed)], iteration] = values
    return array


def _stored_as(name: str, value: NDArray[Any]) -> np.dtype[Any]:
    """Choose the type of a column in the file."""
    kinds = {"f": "<f4", "i": "<i4", "u": "<i4", "b": "|b1"}
    if value.dtype.kind not in kinds:
        raise RunFolderError(f"the record {name!r} has the type {value.dtype}: it must be a number")
    return np.dtype(kinds[value.dtype.kind])


def _compact(parts: Sequence[Path], target: Path) -> None:
    """Join parts into one Parquet file, a few at a time, so that memory stays bounded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with whole_or_nothing(target) as temporary:
        schema = pq.read_schema(parts[0].absolute())
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            waiting: list[Any] = []
            for path in parts:
                waiting.append(_read_parquet(path))
                if sum(table.num_rows for table in waiting) >= _ROWS_A_GROUP or path == parts[-1]:
                    joined = pa.concat_tables(waiting).sort_by([(key, "ascending") for key in _KEYS])
                    writer.write_table(joined)
                    waiting = []
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def _read_parquet(path: Path) -> Any:
    """Read one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:  # pyarrow would read a name with a colon as an address
            return pq.ParquetFile(file).read()
    except (OSError, pa.ArrowException) as error:
        raise RunFolderError(f"the records {path} are corrupted: {error}") from error


def _read_parts(folder: Path) -> Any:
    """Read what a run that is under way, or was killed, has written so far."""
    import pyarrow as pa

    # first the journal: a part that is finished meanwhile then overlaps with it, and leaves no gap
    journal = folder / JOURNAL_FILE
    header, newline, data = journal.read_bytes().partition(b"\n") if journal.exists() else (b"", b"", b"")
    tables = []
    upto = 0
    for path in sorted(folder.glob("part-*.parquet")):
        if int(path.stem.removeprefix("part-")) != upto:
            raise RunFolderError(f"records are missing in {folder}: {path.name} follows iteration {upto - 1}")
        tables.append(_read_parquet(path))
        upto = 1 + int(tables[-1]["iteration"].to_numpy().max())
    if newline:  # without one: killed between two blocks
        try:
            tail = _journal_table(json.loads(header), data, upto)
        except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise RunFolderError(f"the records {journal} are corrupted: {error!r}") from error
        tables.append(tail)
    if not tables:
        return pa.table({"seed": np.empty(0, np.int64), "iteration": np.empty(0, np.int32)})
    return pa.concat_tables(tables)


def _journal_table(about: Mapping[str, Any], data: bytes, upto: int) -> Any:
    """Read the rows of the journal that are in no part yet; `upto` is the first of these iterations."""
    import pyarrow as pa

    first, seeds, columns = about["first"], np.array(about["seeds"], dtype=np.int64), about["columns"]
    if first > upto:
        raise RunFolderError(f"records are missing: iterations {upto} to {first - 1}")
    row = len(columns) * len(seeds)
    n = len(data) // (8 * row)
    rows = np.frombuffer(data[: n * row * 8]).reshape(n, len(columns), len(seeds))
    rows = rows[upto - first :]  # a part was finished, and the process killed before the journal was emptied
    table: dict[str, Any] = {
        "seed": np.repeat(seeds, len(rows)),
        "iteration": np.tile(np.arange(upto, upto + len(rows), dtype=np.int32), len(seeds)),
    }
    for i, (name, kind) in enumerate(columns):
        table[name] = rows[:, i, :].T.ravel().astype(np.dtype(kind))
    return pa.table(table)
