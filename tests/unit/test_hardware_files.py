"""The platform files that come with the package: what they say, and how it is read."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from rnla_neuro.cli.app import execute
from rnla_neuro.hardware.reading import available_hardware, load_hardware, parse_hardware
from rnla_neuro.hardware.spec import SECTIONS, Figure, HardwareSpec, Rule, rules_of
from rnla_neuro.hardware.units import UNITS
from rnla_neuro.spec import quantities

NAMES = ("brainscales1", "brainscales2", "ideal", "loihi1", "loihi2", "spinnaker1")


def figures(spec: HardwareSpec) -> dict[str, Figure]:
    found = {}
    for section in SECTIONS:
        part = getattr(spec, section)
        found |= {
            f"{section}.{one.name}": value
            for one in fields(part)
            if isinstance(value := getattr(part, one.name), Figure)
        }
    return found


def test_the_platforms_are_there():
    assert available_hardware() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_file_is_complete_and_says_what_was_not_read(name):
    spec = load_hardware(name)
    assert spec.name == name
    assert parse_hardware(spec.text, spec.path) == spec  # a run folder keeps the text
    for key, figure in figures(spec).items():
        doubtful = any(word in figure.source for word in ("from memory", "an assumption", "chosen by"))
        assert figure.unverified or not doubtful, key


def test_figures_of_brainscales2_are_those_of_its_sources():
    """Numbers of the platform's documentation, read again by hand, in SI units."""
    spec = load_hardware("brainscales2")
    assert spec.integer_range == (-63, 63)
    assert spec.weight_step == spec.weights.range.value / 63
    assert (spec.neurons.circuits.value, spec.neurons.fan_in.value, spec.neurons.signed_fan_in.value) == (512, 256, 128)
    tau_m, tau_syn, refractory = spec.membrane.tau_m, spec.membrane.tau_syn, spec.membrane.tau_refrac
    assert (tau_m.low, tau_m.high, tau_m.value) == (0.5e-6, 60e-6, 10e-6)
    assert (tau_syn.low, tau_syn.high, refractory.low, refractory.high) == (0.3e-6, 30e-6, 0.04e-6, 32e-6)
    assert (spec.speed_up, spec.delays.maximum.value, spec.readout.rate.value) == (1000, 0, 1.85e6)
    assert (spec.plasticity.memory.value, spec.plasticity.slot.value) == (16384, 2.5e-3)
    left = {key: getattr(spec.calibration, key).value for key in ("leak", "reset", "threshold", "tau_m", "tau_syn")}
    assert left == {"leak": 0.3, "reset": 0.2, "threshold": 0.35, "tau_m": 0.45, "tau_syn": 0.2}
    assert spec.mismatch.tau_m.value == 0.2  # written as 20 %
    assert spec.synapses.sign == "row"


def test_what_is_absent_is_no_limit():
    spec = load_hardware("ideal")
    assert figures(spec).keys() == {"time.speed_up"}
    assert spec.integer_range is None
    assert spec.weight_step == 0.0
    assert spec.speed_up == 1.0


def test_units_have_the_factors_that_models_have():
    for unit, factor in {**UNITS["s"], **UNITS["Hz"]}.items():
        name = "second" if unit == "s" else unit
        assert quantities.UNITS[name][0] == factor


def test_every_key_has_a_rule():
    rules = [rule for kind in SECTIONS.values() for rule in rules_of(kind).values()]
    assert len(rules) > 50
    assert all(rule.meaning for rule in rules)
    assert all(rule.unit in UNITS for rule in rules if isinstance(rule, Rule))


def test_a_file_of_ones_own_works_by_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(load_hardware("loihi1").text.replace('"loihi1"', '"mine"'), encoding="utf-8")
    assert load_hardware(path) == load_hardware(str(path))
    assert load_hardware(path).name == "mine"


def test_list_shows_platforms(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert execute(["list", "hardware", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["hardware"]
    assert [row["name"] for row in rows] == list(NAMES)
    about = {row["name"]: row for row in rows}
    assert about["brainscales2"]["weights"] == [-63, 63]
    assert about["ideal"]["neurons"] is None
    assert execute(["list", "hardware"]) == 0
    table = capsys.readouterr().out
    assert "no limit" in table
    assert "-63, 63" in table
