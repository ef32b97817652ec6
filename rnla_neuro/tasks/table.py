"""A user's own table as a task: a .npz or .csv file with features, a label and, if wanted, a split."""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rnla_neuro.errors import TaskError, did_you_mean
from rnla_neuro.tasks.sources import FiniteSource, FloatArray, IntArray, stratified_test_rows

_SPLITS: Final = ("train", "test")
_FEATURES: Final = ("features", "X", "x", "data")
_LABEL: Final = ("label", "labels", "y", "target")
_SPLIT: Final = ("split",)
_TEST_SHARE: Final = 0.25
_SPLIT_SEED: Final = 0


@dataclass(frozen=True)
class Table:
    """What a file says, checked.

    Attributes:
        features: (N, n_in) float64.
        labels: (N,) classes from 0.
        classes: What the file calls them.
        is_test: (N,) True for a row of the test set, or None where the file has no split.
    """

    features: FloatArray
    labels: IntArray
    classes: tuple[str, ...]
    is_test: NDArray[np.bool_] | None


def table(path: str | Path, split: str = "train", standardize: bool = True) -> FiniteSource:
    """Return the rows of a file as patterns.

    A ``.csv`` file has a header; the column ``label`` holds the classes, an optional column ``split`` says
    ``train`` or ``test``, all others are features. A ``.npz`` file holds ``features`` (or ``X``), (N, …),
    ``label`` (or ``y``), (N,), and an optional ``split``, (N,). Without a split, a fixed quarter of each
    class is the test set; where no class has four rows the test set is the training set.

    Args:
        path: The file.
        split: ``train`` or ``test``.
        standardize: Subtract from each feature its mean over the training set and divide by its standard
            deviation there (a feature that does not vary becomes 0), as a tanh network needs it.

    Raises:
        TaskError: The file cannot be used; the message says where it fails and why.
    """
    file = Path(path)
    stamp = file.stat().st_mtime_ns if file.is_file() else 0
    content = _read(file, stamp)
    test = _test_rows(content)
    train = ~test if test.any() and not test.all() else np.ones_like(test)
    features = content.features
    if standardize:
        spread = features[train].std(axis=0)
        features = (features - features[train].mean(axis=0)) / np.where(spread > 0.0, spread, np.inf)
    shown = test if test.any() else train
    return FiniteSource(
        {"train": (features[train], content.labels[train]), "test": (features[shown], content.labels[shown])},
        n_classes=len(content.classes),
        split=split,
    )


@lru_cache(maxsize=4)
def _read(file: Path, stamp: int) -> Table:
    """Read and check a file; `stamp` (its time of change) makes a changed file be read again."""
    ending = file.suffix.lower()
    if ending not in (".npz", ".csv"):
        raise TaskError(f"table {file}: the ending {file.suffix!r} is not known; allowed: .npz and .csv")
    if not file.is_file():
        if file.is_dir():
            raise TaskError(f"table {file}: it is a folder; give a .npz or .csv file")
        near = [other.name for kind in ("npz", "csv") for other in file.parent.glob(f"*.{kind}")]
        raise TaskError(
            f"table {file}: the file does not exist;{did_you_mean(file.name, near)} give a .npz or .csv file"
        )
    try:
        content = _from_npz(file) if ending == ".npz" else _from_csv(file)
    except OSError as error:
        raise TaskError(f"table {file}: it cannot be read: {error.strerror or error}") from error
    if len(content.classes) < 2:
        only = content.classes[0] if content.classes else "none"
        raise TaskError(f"table {file}: it has one class only ({only}); at least two are needed")
    if content.is_test is not None and content.is_test.all():
        raise TaskError(f"table {file}: every row has split 'test'; some must be 'train'")
    return content


def _test_rows(content: Table) -> NDArray[np.bool_]:
    """Return which rows are for the test: those the file names, else a fixed quarter of each class."""
    if content.is_test is not None:
        return content.is_test
    labels = content.labels
    if np.bincount(labels).max() < round(1 / _TEST_SHARE):
        return np.zeros(len(labels), dtype=np.bool_)
    return stratified_test_rows(labels, max(1, int(_TEST_SHARE * len(labels))), _SPLIT_SEED)


def _from_csv(file: Path) -> Table:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise TaskError(f"table {file}: it is not a text in UTF-8") from error
    except csv.Error as error:
        raise TaskError(f"table {file}: it is not a well-formed csv file: {error}") from error
    if not header or not rows:
        raise TaskError(f"table {file}: it is empty; a header and at least two rows are needed")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise TaskError(f"table {file}: the column {twice[0]!r} occurs twice in the header")
    if "label" not in header:
        raise TaskError(f"table {file}: {_missing('column', 'label', header)}")
    columns = [i for i, name in enumerate(header) if name not in ("label", "split")]
    if not columns:
        raise TaskError(f"table {file}: it has no feature columns beside 'label' and 'split'")
    features = np.empty((len(rows), len(columns)))
    for n, (line, row) in enumerate(rows):
        if len(row) != len(header):
            raise TaskError(f"table {file}, line {line}: {len(row)} cells, but the header has {len(header)}")
        for k, i in enumerate(columns):
            features[n, k] = _number(row[i], f"table {file}, line {line}, column {header[i]!r}")
    places = [f"line {line}" for line, _ in rows]
    label_at = header.index("label")
    labels, classes = _classes(file, [row[label_at].strip() for _, row in rows], places)
    is_test = None
    if "split" in header:
        at = header.index("split")
        is_test = _split(file, [row[at].strip() for _, row in rows], places)
    return Table(features, labels, classes, is_test)


def _npz_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive; numpy's own advice (to allow pickles) is never passed on."""
    make = "numpy.savez(path, features=…, label=…) makes one"
    if not zipfile.is_zipfile(file):
        with file.open("rb") as start:
            single = start.read(6) == b"\x93NUMPY"
        what = "it is a single array (.npy)" if single else "it is not an archive of arrays, or was cut off"
        raise TaskError(f"table {file}: {what}, not a .npz file; {make}")
    name = ""
    arrays = {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                arrays[name] = np.asarray(archive[name])
    except ValueError as error:
        raise TaskError(
            f"table {file}: the array {name!r} does not hold plain numbers or texts (but Python objects)"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TaskError(f"table {file}: it is not a complete .npz file: {error}; {make}") from error
    return arrays


def _from_npz(file: Path) -> Table:
    arrays = _npz_arrays(file)
    raw = _array(file, arrays, _FEATURES)
    label = _array(file, arrays, _LABEL)
    n = len(raw) if raw.ndim else 0
    if raw.ndim < 2 or raw.size == 0:
        raise TaskError(f"table {file}: 'features' has the shape {raw.shape}; needed is (rows, features)")
    if raw.dtype.kind not in "biuf":
        raise TaskError(f"table {file}: 'features' has the type {raw.dtype}; needed are real numbers")
    features = raw.reshape(n, -1).astype(np.float64)
    wrong = np.argwhere(~np.isfinite(features))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise TaskError(
            f"table {file}, row {row}, feature column {column}: "
            f"{features[row, column]} is not a finite number"
        )
    if label.shape != (n,):
        raise TaskError(f"table {file}: 'label' has the shape {label.shape}; needed is ({n},), one a row")
    places = [f"row {row}" for row in range(n)]
    labels, classes = _classes(file, _texts(label), places)
    is_test = None
    if "split" in arrays:
        split = arrays["split"]
        if split.shape != (n,):
            raise TaskError(f"table {file}: 'split' has the shape {split.shape}; needed is ({n},), one a row")
        is_test = _split(file, _texts(split), places)
    return Table(features, labels, classes, is_test)


def _array(file: Path, arrays: dict[str, NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    """Return the array that has one of `names`."""
    for name in names:
        if name in arrays:
            return arrays[name]
    raise TaskError(f"table {file}: {_missing('array', names[0], list(arrays))} (also allowed: {names[1:]})")


def _texts(array: NDArray[Any]) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in array.tolist()]


def _classes(file: Path, names: Sequence[str], places: Sequence[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Number the classes from 0: whole numbers in their order, names in that of the alphabet."""
    for name, place in zip(names, places, strict=True):
        if name in ("", "nan", "NaN", "None"):
            raise TaskError(f"table {file}, {place}: the label is missing")
    numbers = [_as_number(name) for name in names]
    values: list[Any]
    if all(number is not None for number in numbers):
        for number, name, place in zip(numbers, names, places, strict=True):
            if number is None or not number.is_integer():
                raise TaskError(
                    f"table {file}, {place}: the label {name} is not a whole number: "
                    "labels are classes (names or whole numbers), not quantities"
                )
        values = [int(number) for number in numbers if number is not None]
    else:
        values = list(names)
    known = sorted(set(values))
    index = {value: i for i, value in enumerate(known)}
    return np.array([index[value] for value in values], dtype=np.int64), tuple(str(value) for value in known)


def _split(file: Path, names: Sequence[str], places: Sequence[str]) -> NDArray[np.bool_]:
    for name, place in zip(names, places, strict=True):
        if name not in _SPLITS:
            raise TaskError(
                f"table {file}, {place}: split {name!r}:{did_you_mean(name, _SPLITS)} allowed: train, test"
            )
    return np.array([name == "test" for name in names], dtype=np.bool_)


def _missing(what: str, name: str, found: Sequence[str]) -> str:
    near = did_you_mean(name, found)
    return f"the {what} {name!r} is missing;{near} found: {', '.join(found) or 'none'}"


def _number(text: str, place: str) -> float:
    value = _as_number(text)
    if value is None:
        missing = not text.strip() or text.strip().lower() in ("na", "none", "null")
        raise TaskError(f"{place}: " + ("the number is missing" if missing else f"{text!r} is not a number"))
    if not math.isfinite(value):
        raise TaskError(f"{place}: {text.strip()} is not a finite number")
    return value


def _as_number(text: str) -> float | None:
    """Read a finite or infinite number, or return None."""
    try:
        return float(text)
    except ValueError:
        return None
