"""The figures of a comparison: every kind, as PNG and SVG, with what it must show in it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rnla_neuro.analysis.comparison import Comparison
from rnla_neuro.comparing.figures import write_figures

KINDS = {"learning_curves", "accuracy_spikes", "alignment", "confusion", "weights", "energy"}


@pytest.fixture(scope="module")
def made() -> Comparison:
    """Two models, one of them with spikes, at one delay."""
    whole = Comparison.read(Path(__file__).parents[1] / "data")
    cells = [c for c in whole.cells if c.model in ("rate_nla", "spiking_nla") and c.delay == "none"]
    cells[0] = replace(cells[0], raster=None)  # one trial is enough to draw
    return replace(whole, cells=tuple(cells), delays=("none",), models=(whole.models[0], whole.models[2]))


def test_every_kind_is_drawn_twice(made, tmp_path):
    written = write_figures(made, tmp_path)
    names = {path.stem for path in written if path.suffix == ".svg"}
    assert names == {*KINDS, "trial-spiking_nla"}
    assert sorted(written) == sorted(path for path in tmp_path.iterdir())
    for path in written:
        text = path.read_bytes()
        assert text.startswith(b"\x89PNG") if path.suffix == ".png" else b"</svg>" in text
    raster = (tmp_path / "trial-spiking_nla.svg").read_text()
    before, after = made.cells[1].raster.before, made.cells[1].raster.after
    assert len(re.findall(r"<use ", raster)) >= len(before.spikes) + len(after.spikes)  # a mark a spike


def test_nothing_is_drawn_of_what_is_not_there(made, tmp_path):
    (cell,) = (c for c in made.cells if c.model == "rate_nla")
    bare = replace(cell, alignment=None, confusion=None, weights=None, raster=None, energy=())
    written = write_figures(replace(made, cells=(bare,)), tmp_path)
    assert {path.stem for path in written} == {"learning_curves"}
