"""A user's own table: what is read, and what is said about each mistake."""

from __future__ import annotations

import os
import zipfile

import gymnasium as gym
import numpy as np
import pytest

from rnla_neuro import tasks
from rnla_neuro.errors import TaskError
from rnla_neuro.tasks.table import table


def write(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_csv_with_split_and_named_classes(tmp_path):
    path = write(
        tmp_path,
        "width,label,split,height\n1,cat,train,10\n3,dog,train,10\n\n2,dog,test,12\n",
    )
    source = table(path, standardize=False)
    patterns, labels = source.dataset("train")
    np.testing.assert_array_equal(patterns, [[1, 10], [3, 10]])
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_array_equal(source.dataset("test")[0], [[2, 12]])
    np.testing.assert_array_equal(source.dataset("test")[1], [1])
    assert (source.n_in, source.n_classes, source.bound) == (2, 2, 12.0)


def test_features_are_standardized_by_the_training_set_only(tmp_path):
    path = write(tmp_path, "a,b,label,split\n1,5,0,train\n3,5,1,train\n200,7,1,test\n")
    source = table(path)
    np.testing.assert_allclose(source.dataset("train")[0], [[-1, 0], [1, 0]])
    np.testing.assert_allclose(source.dataset("test")[0], [[198, 0]])


@pytest.mark.parametrize("name", ["good.CSV", "good.Npz"])
def test_the_ending_is_read_in_any_case(tmp_path, name):
    path = tmp_path / name
    if name.endswith("CSV"):
        path.write_text("a,label\n1,x\n2,y\n")
    else:
        with path.open("wb") as file:
            np.savez(file, X=np.array([[1.0], [2.0]]), y=np.array(["x", "y"]))
    assert (tasks.get(path).name, len(table(path).dataset("train")[1])) == ("good", 2)


def test_an_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("notes.txt", "no arrays")
    with pytest.raises(TaskError, match=r"array 'features' is missing; found: notes\.txt"):
        table(tmp_path / "other.npz")


def test_whole_number_labels_keep_their_order(tmp_path):
    path = write(tmp_path, "a,label\n1,10\n2,9\n3,100\n")
    np.testing.assert_array_equal(table(path).dataset("train")[1], [1, 0, 2])


def test_without_a_split_a_quarter_is_the_test_set(tmp_path):
    rows = "".join(f"{i},{i % 2}\n" for i in range(40))
    source = table(write(tmp_path, "a,label\n" + rows), standardize=False)
    train, test = (set(source.dataset(split)[0].ravel()) for split in ("train", "test"))
    assert len(test) == 10
    assert not train & test
    assert np.bincount(source.dataset("test")[1]).tolist() == [5, 5]


def test_a_few_rows_are_learned_by_heart(tmp_path):
    source = table(write(tmp_path, "a,b,label\n0,0,0\n0,1,1\n1,0,1\n"))
    np.testing.assert_array_equal(source.dataset("train")[0], source.dataset("test")[0])


def test_npz_in_its_spellings(tmp_path):
    images = np.arange(24.0).reshape(6, 2, 2)
    for features, label in (("features", "label"), ("X", "y")):
        path = tmp_path / f"{features}.npz"
        split = np.array(["train"] * 4 + ["test"] * 2)
        np.savez(path, **{features: images, label: np.array([0, 1, 0, 1, 0, 1])}, split=split)
        source = table(path, standardize=False)
        np.testing.assert_array_equal(source.dataset("train")[0], images[:4].reshape(4, 4))
        assert len(source.dataset("test")[1]) == 2


def test_a_table_is_a_task_and_a_changed_file_is_read_again(tmp_path):
    path = write(tmp_path, "a,label\n1,x\n2,y\n")
    task = tasks.get(path)
    assert (task.name, task.env_id, task.chance) == ("data", "rnla/Table-v0", 0.5)
    env = gym.make("rnla/Table-v0", path=str(path))
    assert env.action_space.n == 2
    path.write_text("a,label\n1,x\n2,y\n3,z\n")
    os.utime(path, ns=(1, 1))
    assert tasks.get(path).chance == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,label\n", "is empty"),
        ("a,lable\n1,0\n2,1\n", r"column 'label' is missing; did you mean 'lable'\?"),
        ("a,a,label\n1,2,0\n", "'a' occurs twice"),
        ("label\n0\n1\n", "no feature columns"),
        ("a,label\n1,0\nnan,1\n", "line 3, column 'a': nan is not a finite number"),
        ("a,label\n1,0\ninf,1\n", "line 3, column 'a': inf is not a finite number"),
        ("a,b,label\n1,2,0\n1,two,1\n", "line 3, column 'b': 'two' is not a number"),
        ("a,b,label\n1,2,0\n1,,1\n", "line 3, column 'b': the number is missing"),
        ("a,label\n1,0\n2\n", "line 3: 1 cells, but the header has 2"),
        ("a,label\n1,x\n2,x\n", r"one class only \(x\)"),
        ("a,label\n1,x\n2,\n", "line 3: the label is missing"),
        ("a,label\n1,0.5\n2,1\n", "line 2: the label 0.5 is not a whole number"),
        ("a,label,split\n1,0,train\n2,1,tets\n", r"line 3: split 'tets': did you mean 'test'\? allowed"),
        ("a,label,split\n1,0,test\n2,1,test\n", "every row has split 'test'"),
    ],
)
def test_each_mistake_in_a_csv_file_is_named(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(TaskError, match=message) as caught:
        table(path)
    assert str(path) in str(caught.value)


X = np.arange(8.0).reshape(4, 2)
Y = np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"feature": X, "label": Y}, r"array 'features' is missing; did you mean 'feature'\?"),
        ({"X": X, "lab": Y}, "array 'label' is missing"),
        ({"X": X[:, 0], "y": Y}, r"shape \(4,\)"),
        ({"X": X.astype(str), "y": Y}, "real numbers"),
        ({"X": np.where(X == 5.0, np.nan, X), "y": Y}, "row 2, feature column 1: nan"),
        ({"X": X, "y": Y[:3]}, r"'label' has the shape \(3,\)"),
        ({"X": X, "y": Y, "split": np.array(["train"] * 3)}, "'split' has the shape"),
        ({"X": X, "y": Y, "split": np.array(["train"] * 3 + ["valid"])}, "row 3: split 'valid'"),
        ({"X": X, "y": 0 * Y}, "one class only"),
        ({"X": X, "y": np.array([0, 1, np.nan, 1])}, "row 2: the label is missing"),
        ({"X": X.astype(object), "y": Y}, "array 'X' does not hold plain numbers"),
    ],
)
def test_each_mistake_in_an_npz_file_is_named(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(TaskError, match=message) as caught:
        table(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_tables(tmp_path):
    write(tmp_path, "a,label\n1,0\n2,1\n", "animals.csv")
    with pytest.raises(TaskError, match=r"does not exist; did you mean 'animals.csv'\?"):
        table(tmp_path / "animal.csv")
    with pytest.raises(TaskError, match=r"ending '\.txt' is not known"):
        table(write(tmp_path, "", "data.txt"))
    with pytest.raises(TaskError, match=r"not an archive of arrays, or was cut off, not a \.npz file") as caught:
        table(write(tmp_path, "no archive", "broken.npz"))
    assert "pickle" not in str(caught.value)
    single = tmp_path / "single.npz"
    with single.open("wb") as file:
        np.save(file, X)
    with pytest.raises(TaskError, match=r"a single array \(\.npy\), not a \.npz file"):
        table(single)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TaskError, match="is a folder") as caught:
        table(tmp_path / "folder.csv")
    assert "did you mean" not in str(caught.value)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"a,label\n\xff\xfe,1\n")
    with pytest.raises(TaskError, match="UTF-8"):
        table(binary)
