"""Energy estimates against numbers computed by hand, and what is wrong in a platform file, by name."""

from __future__ import annotations

import pytest

from rnla_neuro.comparing.energy import platforms
from rnla_neuro.errors import ConfigError

BY_NAME = {platform.name: platform for platform in platforms()}
NETWORK = {"operations": 1e6, "biological": 0.1, "wall": 2e-4, "neurons": 50}


def test_power_is_drawn_for_the_time_on_the_chip():
    found = BY_NAME["BrainScaleS-2"].estimate("spiking", **NETWORK)
    assert found.joule == pytest.approx(57e-3 * 0.1 / 1000)
    assert (found.verified, found.low) == (True, None)
    # 513 neurons need two chips of 512
    assert BY_NAME["BrainScaleS-2"].estimate("spiking", **NETWORK | {"neurons": 513}).joule == pytest.approx(11.4e-6)


def test_operations_cost_each():
    found = BY_NAME["Loihi 1"].estimate("spiking", **NETWORK)
    assert found.joule == pytest.approx(23.6e-6)
    assert not found.verified
    assert "not verified: operation" in found.source


def test_a_range_goes_into_the_estimate():
    found = BY_NAME["this simulation"].estimate("baseline", **NETWORK)
    assert (found.joule, found.low, found.high) == pytest.approx((2e-3, 1e-3, 4e-3))


def test_no_estimate_where_a_platform_does_not_run_it_or_a_number_is_missing():
    assert BY_NAME["Loihi 1"].estimate("rate", **NETWORK) is None
    assert BY_NAME["Loihi 1"].estimate("spiking", **NETWORK | {"operations": None}) is None
    assert BY_NAME["SpiNNaker 1"].estimate("spiking", **NETWORK | {"biological": None}) is None


def test_every_figure_has_a_source():
    figures = [figure for platform in BY_NAME.values() for figure in platform.figures.values()]
    assert len(figures) >= 8
    assert all(len(figure.source) > 20 for figure in figures)


GOOD = """
[[platform]]
name = "X"
summary = "y"
runs = ["rate"]
[platform.operation]
value = 1
unit = "pJ"
source = "here"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('unit = "pJ"', 'unit = "pj"', "unknown unit in .*operation 'pj': did you mean 'pJ'"),
        ("value = 1", "value = -1", "-1 is not a number above 0"),
        ('source = "here"', "", "'source' is missing"),
        ('"rate"', '"rates"', "did you mean 'rate'"),
        ("platform.operation", "platform.operatoin", "did you mean 'operation'"),
        ('summary = "y"', 'time = "wal"\nsummary = "y"', "unknown time in .*did you mean 'wall'"),
        ("[[platform]]", "[[platform", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, old, new, message):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    assert platforms(file)[0].estimate("rate", **NETWORK).joule == pytest.approx(1e-6)
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        platforms(file)


def test_a_platform_without_any_cost_is_refused(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.split("[platform.operation]")[0])
    with pytest.raises(ConfigError, match="nothing to estimate from"):
        platforms(file)
