"""`rnla check --hardware`: table, JSON, exit code, picture, run folders."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from rnla_neuro.cli.app import execute
from rnla_neuro.hardware.placement import place
from rnla_neuro.hardware.reading import available_hardware
from rnla_neuro.hardware.report import Verdict
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import hardware_dir
from rnla_neuro.results import RunConfig, RunFolder
from rnla_neuro.spec.inputs import with_input
from rnla_neuro.spec.loader import load_model
from tools.docs_checks import PAGE, updated

FITTING = ("check", "spiking_lif_nla", "--input", "poisson", "--seeds", "1")


@pytest.fixture
def rnla(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder; returns code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNLA_DEBUG", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = execute(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def run_folder(tmp_path, factor: float = 1.0):
    """Write the run folder of a 2-8-2 network whose weights are initial ones times a factor; return its path."""
    model = with_input(load_model("spiking_lif_nla"), "poisson")
    network = NetworkSpec(model, (2, 8, 2), (3, 4))
    config = RunConfig(
        "xor", "spiking_lif_nla", "r-nla", "brian2", (3, 4), 100, (8,), input="poisson", model_text=model.text
    )
    with RunFolder.create(tmp_path / "lif", config) as folder:
        folder.append({"reward": np.zeros((2, 100))})
        folder.write_weights({f"projection{k}": factor * w for k, w in enumerate(network.initial_weights())})
        folder.finish({})
    return tmp_path / "lif"


def test_a_network_that_fits(rnla):
    code, out, err = rnla(*FITTING, "--hardware", "brainscales2")
    assert (code, err) == (0, "")
    assert "fits  spiking_lif_nla 64-40-10" in out
    assert re.search(r"neuron circuits +50 +512 +fits +hidden1 40, action 10", out)
    assert re.search(r"synapses +6,210 +131,072 +fits", out)
    assert re.search(r"membrane time constant +10 ms +0\.5 ms to 60 ms +fits", out)
    assert re.search(r"eligibility trace +50 ms +2 ms to 30 ms +by the host", out)
    assert re.search(r"weights input to hidden1 +0\.\d+ +0\.\d+ +[\d.]+ %\*", out)
    assert "what to change" not in out
    assert "* rests on a figure that brainscales2.toml marks as unverified" in out


def test_a_network_that_does_not_fit_says_what_is_enough(rnla):
    code, out, err = rnla(*FITTING, "--hardware", "brainscales2", "--hidden", "1000")
    assert (code, err) == (1, "")
    assert "does not fit  spiking_lif_nla 64-1000-10: neuron circuits" in out
    assert re.search(r"--hidden \d+ +enough +the largest hidden layers that fit", out)


def test_a_rate_network_is_only_emulated(rnla):
    code, out, _ = rnla("check", "rate_nla", "--seeds", "1", "--hardware", "brainscales2")
    assert code == 1
    assert "the emulated chip takes it ('rnla run --hardware')" in out
    assert re.search(r"MODEL spiking_lif_nla and --input poisson +enough", out)
    assert re.search(r"--input poisson +not enough +input as spikes; leaves: kind of neuron", out)


SCHEMA = {
    "platform": str,
    "platform_file": str,
    "kind": str,
    "model": str,
    "task": str,
    "sizes": list,
    "weights": str,
    "fits": bool,
    "fits_emulated": bool,
    "lines": list,
    "roundings": list,
    "populations": list,
    "placement": (dict, type(None)),
    "changes": list,
    "pictures": list,
}
NUMBER = (int, float, type(None))
LINE = {
    "key": str,
    "what": str,
    "used": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "unit": str,
    "verdict": str,
    "note": str,
    "unverified": bool,
}
ROUNDING = {
    "key": str,
    "what": str,
    "largest": NUMBER,
    "rms": NUMBER,
    "relative": NUMBER,
    "unit": str,
    "note": str,
    "unverified": bool,
}
CHANGE = {"change": str, "why": str, "enough": bool, "solves": list, "leaves": list}


def conforms(found: dict, schema: dict) -> None:
    assert set(found) == set(schema)
    for key, kind in schema.items():
        assert isinstance(found[key], kind), (key, found[key])


@pytest.mark.parametrize("hardware", available_hardware())
@pytest.mark.parametrize("hidden", ["40", "2000"])
def test_json_has_all_of_it(rnla, hardware, hidden):
    code, out, err = rnla(*FITTING, "--hardware", hardware, "--hidden", hidden, "--json")
    about = json.loads(out)
    assert err == ""
    conforms(about, SCHEMA)
    for one in about["lines"]:
        conforms(one, LINE)
        assert one["verdict"] in [verdict.value for verdict in Verdict]
        assert one["unit"] in ("1", "s", "Hz", "LSB")
    for one in about["roundings"]:
        conforms(one, ROUNDING)
    for one in about["changes"]:
        conforms(one, CHANGE)
        assert one["enough"] is (one["leaves"] == [])
    assert code == (0 if about["fits"] else 1)
    assert about["fits"] is not any(one["verdict"] in ("exceeds", "emulated") for one in about["lines"])
    assert about["sizes"] == [64, int(hidden), 10]
    assert [one["name"] for one in about["populations"]] == ["hidden1", "action"]
    if about["placement"] is not None:
        placed = sum(block["neurons"] for block in about["placement"]["blocks"])
        assert placed == int(hidden) + 10


def test_a_platform_file_of_the_users(rnla, tmp_path):
    text = (hardware_dir() / "brainscales2.toml").read_text(encoding="utf-8")
    small = text.replace("value = 512", "value = 32").replace("value = 131072", "value = 8192")  # 32 times 256
    (tmp_path / "mine.toml").write_text(small, encoding="utf-8")
    code, out, _ = rnla(*FITTING, "--hardware", "./mine.toml")
    assert code == 1
    assert re.search(r"neuron circuits +50 +32 +does not fit", out)


def test_a_picture_is_drawn(rnla, tmp_path):
    code, out, _ = rnla(*FITTING, "--hardware", "brainscales2", "--picture")
    assert code == 0
    assert "picture  placement.png" in out
    assert (tmp_path / "placement.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "placement.svg").read_text(encoding="utf-8")
    for word in ("hidden1 (40)", "action (10)", "half 1: 50 of 256 circuits, 132 of 256 rows", "inhibition"):
        assert word in svg


@pytest.mark.parametrize(
    ("hardware", "hidden", "words"),
    [
        ("spinnaker1", "300,100", ("core 4", "256 of", "hidden2")),
        ("brainscales2", "2000", ("chip 3, half 2", "the first 3 of")),
        ("loihi1", "40", ("core 2", "40 of", "1,024")),
    ],
)
def test_pictures_of_other_placements(rnla, tmp_path, hardware, hidden, words):
    _, out, _ = rnla(*FITTING, "--hardware", hardware, "--hidden", hidden, "--picture", "there.svg", "--json")
    assert json.loads(out)["pictures"] == ["there.png", "there.svg"]
    svg = (tmp_path / "there.svg").read_text(encoding="utf-8")
    for word in words:
        assert word in svg


def test_the_weights_of_a_run_are_looked_at(rnla, tmp_path):
    folder = run_folder(tmp_path, factor=100.0)
    code, out, err = rnla("check", str(folder), "--hardware", "brainscales2", "--json")
    assert err == ""
    about = json.loads(out)
    assert code == 1
    assert (about["task"], about["sizes"], about["weights"]) == ("xor", [2, 8, 2], f"weights of {folder}")
    assert next(one for one in about["lines"] if one["key"] == "weight_range")["verdict"] == "exceeds"
    assert next(one for one in about["lines"] if one["key"] == "input")["verdict"] == "fits"  # poisson, as the run had
    assert any(one["change"].startswith("[weights.range]") and one["enough"] for one in about["changes"])


def test_the_weights_of_a_run_in_another_network(rnla, tmp_path):
    folder = run_folder(tmp_path)
    same = rnla("check", "spiking_lif_nla", "--task", "xor", "--hardware", "brainscales2", "--run", str(folder))
    assert f"weights of {folder}" in same[1]
    code, _, err = rnla(*FITTING, "--hardware", "brainscales2", "--run", str(folder))
    assert code == 2
    assert "its weights have the shapes [(8, 3), (2, 9)], and the network needs [(40, 65), (10, 41)]" in err


@pytest.mark.parametrize(
    "option", [("--task", "xor"), ("--set", "eta=0.1"), ("--input", "poisson"), ("--seeds", "2"), ("--hidden", "8")]
)
def test_options_that_a_run_folder_says_itself(rnla, tmp_path, option):
    folder = run_folder(tmp_path)
    code, _, err = rnla("check", str(folder), "--hardware", "brainscales2", *option)
    assert code == 2
    assert f"{option[0]}: MODEL is the run folder" in err


def test_a_run_folder_without_weights(rnla, tmp_path):
    folder = run_folder(tmp_path)
    (folder / "weights.npz").write_bytes(b"no archive")
    code, _, err = rnla("check", str(folder), "--hardware", "brainscales2")
    assert code == 2
    assert "weights.npz are corrupted" in err
    assert "Traceback" not in err


def test_the_page_shows_what_the_commands_print(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("$ rnla check") == 3
    assert updated(text) == text, "run: python -m tools.docs_checks"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ((*FITTING, "--hardware", ""), "--hardware '': a name of 'rnla list hardware' or the path"),
        (("run", "xor", "--iterations", "20", "--hardware", ""), "--hardware '': a name of 'rnla list hardware'"),
        (("compare", "xor", "--iterations", "20", "--hardware="), "--hardware '': a name of 'rnla list hardware'"),
        (("check", ".", "--hardware", "brainscales2"), "'.' is a folder, and no run folder"),
        ((*FITTING, "--hardware", "brainscales2", "--picture="), "--picture '': a file that ends in .png"),
        ((*FITTING, "--picture="), "--picture '': it is for a platform"),
        ((*FITTING, "--hardware", "brainscales2", "--hidden", "9999999"), "--hidden 9999999: up to 100,000 neurons"),
    ],
)
def test_what_is_refused_by_name(rnla, line, words):
    code, out, err = rnla(*line)
    assert (code, out) == (2, "")
    assert words in err


def test_the_largest_network_is_answered_without_placing_what_cannot_fit(rnla, monkeypatch):
    from rnla_neuro.hardware import remedies

    placed = []
    monkeypatch.setattr(remedies, "place", lambda *case: placed.append(case) or place(*case))
    line = ("check", "spiking_lif_nla", "--task", "xor", "--input", "poisson", "--seeds", "1", "--hidden", "100000")
    code, out, _ = rnla(*line, "--hardware", "brainscales2")
    assert code == 1
    assert "the largest hidden layers that fit" in out
    assert all(sum(one.size * one.circuits for one in populations) <= 512 for populations, _ in placed)
