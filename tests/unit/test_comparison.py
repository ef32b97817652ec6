"""comparison.json is written and read without loss, and a damaged one is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rnla_neuro.analysis.comparison import FILE, Comparison, Measured
from rnla_neuro.errors import RunFolderError

DATA = Path(__file__).parents[1] / "data"


def test_a_comparison_comes_back_as_it_was_written(tmp_path):
    before = Comparison.read(DATA)
    assert before.write(tmp_path) == tmp_path / FILE
    assert Comparison.read(tmp_path) == before == Comparison.read(tmp_path / FILE)


def test_cells_are_typed_all_the_way_down():
    cell = Comparison.read(DATA).cell("spiking_nla", "none")
    assert cell is not None
    assert cell.raster is not None
    time, neuron = cell.raster.after.spikes[0]
    assert (type(time), type(neuron)) == (float, int)
    assert isinstance(cell.measures["test_accuracy"], Measured)
    assert Comparison.read(DATA).cell("spiking_nla", "fixed:1ms") is None


def test_what_is_not_a_number_is_null_in_the_file(tmp_path):
    before = Comparison.read(DATA)
    cell = replace(before.cells[0], measures={"reward": Measured((float("nan"), 1.0), 1.0, None, None)})
    replace(before, cells=(cell,)).write(tmp_path)
    assert Comparison.read(tmp_path).cells[0].measures["reward"].values == (None, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.pop("cells"), "incomplete"),
        (lambda about: about.update(format=99), "update rnla_neuro"),
        (lambda about: about["cells"][0].pop("curve"), "incomplete"),
        (lambda about: about.update(seeds=3), "not a comparison"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, message):
    about = json.loads((DATA / FILE).read_text(encoding="utf-8"))
    change(about)
    (tmp_path / FILE).write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(RunFolderError, match=message):
        Comparison.read(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"comparison\.json is missing: 'rnla compare' writes it"):
        Comparison.read(tmp_path)
