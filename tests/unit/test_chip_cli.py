"""The emulated chip at the command line: a run and its folder, and the calibration of a chip."""

from __future__ import annotations

import json

import numpy as np

from rnla_neuro import Agent
from rnla_neuro.cli.app import execute
from rnla_neuro.hardware.reading import load_hardware
from rnla_neuro.results import Results
from rnla_neuro.revisit import moment_of, request_of, take_up


def rnla(*line, capsys):
    code = execute([str(word) for word in line])
    return code, capsys.readouterr()


OFF = "tau_m,readout"


def test_a_run_keeps_its_platform_and_says_what_it_did(tmp_path, capsys):
    folder = tmp_path / "r"
    chip = ("--hardware", "brainscales2", "--chip-seed", "3-4", "--chip-off", OFF)
    code, _ = rnla("run", "xor", "--seeds", 2, "--iterations", 300, *chip, "--out", folder, "--quiet", capsys=capsys)
    assert code == 0
    results = Results.load(folder)
    platform = load_hardware("brainscales2")
    assert (folder / "hardware.toml").read_text() == platform.text == results.config.hardware_text
    assert results.config.hardware == "brainscales2"
    assert results.config.chip_seed == (3, 4)
    assert results.config.chip_off == ("tau_m", "readout")
    told = results.summary["hardware"]
    assert told["chips"] == [3, 4]
    assert told["updates"] == 600 == results.summary["delivery"]["events_delivered"]
    assert told["input_spikes_lost"] == 0
    for w in results.weights.values():
        assert np.abs(w / platform.weight_step - np.rint(w / platform.weight_step)).max() < 1e-9
    code, captured = rnla("show", folder, capsys=capsys)
    assert code == 0
    assert "brainscales2, chips 3, 4" in captured.out
    # taken up again: on the same chips, whatever the platform file says by now
    with take_up(results, moment_of(results), request_of(results, seeds=(2,))) as session:
        assert session.simulation.hardware()["chips"] == [4]
    with take_up(results, moment_of(results), request_of(results)) as session:
        assert session.simulation.hardware()["chips"] == [3, 4]
        for a, b in zip(session.simulation.weights(), results.weights.values(), strict=True):
            assert np.array_equal(a, b)


def test_a_platform_of_the_users_own_works_by_path(tmp_path, capsys):
    mine = tmp_path / "mine.toml"
    mine.write_text(load_hardware("brainscales2").text.replace('name = "brainscales2"', 'name = "mine"'))
    line = ("run", "xor", "--iterations", 20, "--hardware", mine, "--chip-off", OFF, "--out", tmp_path / "r", "--json")
    code, captured = rnla(*line, capsys=capsys)
    assert code == 0
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["hardware"]["platform"] == "mine"
    about = json.loads(captured.out)
    assert about["hardware"] == str(mine)
    assert about["chip"]["platform"] == "mine"
    with Agent("rate_nla", "xor", hardware=mine, chip_off=OFF.split(",")) as agent:
        assert agent.learn(5).session.simulation.hardware()["chips"] == [1]


def test_a_chip_is_calibrated_and_shown(tmp_path, capsys):
    line = ("calibrate", "brainscales2", "--chip-seed", 3, "--out", tmp_path / "chip")
    code, captured = rnla(*line, capsys=capsys)
    assert code == 0
    assert "BrainScaleS-2, chip 3" in captured.out
    assert "threshold" in captured.out
    assert (tmp_path / "chip.png").stat().st_size > 10_000
    code, captured = rnla("calibrate", "brainscales2", "--chip-seed", 3, "--json", capsys=capsys)
    about = json.loads(captured.out)
    assert about["chip"] == 3
    line_of = about["quantities"]["threshold"]
    assert line_of["stated"] == 0.35 * 0.2
    assert abs(line_of["after"] / line_of["stated"] - 1) < 4 / np.sqrt(2 * 512)  # 4 standard errors of a spread
    code, captured = rnla("calibrate", "brainscales2", "--chip-seed", "1-2", capsys=capsys)
    assert code == 2
    assert "a chip is calibrated by itself" in captured.err


def test_a_comparison_runs_on_one_chip(tmp_path, capsys):
    line = (
        "compare",
        "xor",
        "--models",
        "rate_nla,reinforce",
        "--seeds",
        2,
        "--iterations",
        60,
        "--no-html",
        "--quiet",
    )
    chip = ("--hardware", "brainscales2", "--chip-seed", 3, "--chip-off", OFF)
    code, _ = rnla(*line, *chip, "--quiet", "--jobs", 1, "--out", tmp_path / "c", capsys=capsys)
    assert code == 0
    runs = [Results.load(folder) for folder in (tmp_path / "c" / "runs").iterdir()]
    assert len(runs) == 2
    for run in runs:
        assert run.summary["hardware"]["chips"] == [3, 3]
