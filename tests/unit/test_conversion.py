"""Weights from one model to another: the same currents, the same decisions, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.cli.app import execute
from rnla_neuro.conversion import Conversion, Transmission, conversion_between, convert_run, transmission
from rnla_neuro.errors import BackendError, ConfigError, RunFolderError
from rnla_neuro.experiment import RunRequest, run
from rnla_neuro.results import Results
from rnla_neuro.spec.loader import load_model, parse_model

MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture(scope="module")
def rate(tmp_path_factory):
    """A rate network that has learned something of XOR."""
    path = tmp_path_factory.mktemp("conversion") / "rate"
    request = RunRequest("xor", seeds=(4, 9), iterations=800, hidden=(8,), core="numpy", checkpoints=(0, 800))
    return run(request, path)


def test_what_models_send_is_read_from_their_strings():
    assert transmission(load_model("rate_nla")) == Transmission(-1.0, 1.0)
    assert transmission(load_model("rate_nla_poster")) == Transmission(pytest.approx(0.0, abs=1e-9), None)
    assert transmission(load_model(MODELS / "spiking_small.toml")) == Transmission(-1.0, 1.0)
    text = load_model(MODELS / "spiking_small.toml").text
    other = parse_model(text.replace("rbar = 2*s - 1 : 1\nebar", "rbar = 5*s : 1\nebar"), MODELS / "spiking_small.toml")
    assert transmission(other) == Transmission(0.0, 5.0)
    assert str(transmission(load_model("rate_nla_poster"))).endswith("∞]")


def test_without_a_lower_bound_there_is_nothing_to_convert_from():
    model = load_model("rate_nla")
    linear = parse_model(model.text.replace('phi = "tanh(u)"', 'phi = "u"'), model.path)
    with pytest.raises(BackendError, match="phi = 'u' has no lower bound"):
        transmission(linear)
    small = load_model(MODELS / "spiking_small.toml")
    graded = parse_model(small.text.replace("rbar = 2*s - 1 : 1\nebar", "rbar = u*s : 1\nebar"), small.path)
    with pytest.raises(BackendError, match="what its neurons send is not known"):
        transmission(graded)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Transmission(-1.0, 1.0), Transmission(-1.0, 1.0)),
        (Transmission(-1.0, 1.0), Transmission(0.0, 5.0)),
        (Transmission(0.0, 2.0), Transmission(-1.0, 1.0)),
        (Transmission(0.0, None), Transmission(-1.0, 1.0)),
    ],
)
def test_currents_stay_what_they_are(source, target):
    rng = np.random.default_rng(0)
    how = Conversion(source, target)
    weights = [rng.standard_normal((2, 6, 4)), rng.standard_normal((2, 5, 7)), rng.standard_normal((2, 3, 6))]
    converted = how.weights(weights)
    part = rng.random((2, 6))  # of the range
    width = [t.high - t.low if t.high is not None else None for t in (source, target)]
    if width[0] is None:
        width[0] = width[1]  # unit by unit
    sent = [t.low + w * part for t, w in zip((source, target), width, strict=True)]
    for w, c in zip(weights[1:2], converted[1:2], strict=True):
        before = np.einsum("aij,aj->ai", w[:, :, :-1], sent[0]) + w[:, :, -1]
        after = np.einsum("aij,aj->ai", c[:, :, :-1], sent[1]) + c[:, :, -1]
        np.testing.assert_allclose(before, after)
    np.testing.assert_array_equal(converted[0], weights[0])  # inputs are the same
    back = Conversion(target, source).weights(converted)
    for w, b in zip(weights, back, strict=True):
        np.testing.assert_allclose(w, b)


def test_another_range_gives_the_same_decisions(rate, tmp_path):
    """The rate network with rates in [0, 4]: a model of another string, the same network."""
    model = load_model("rate_nla")
    other = model.text.replace('phi = "tanh(u)"', 'phi = "2*(1 + tanh(u))"').replace('"rate_nla"', '"rate_shifted"')
    (tmp_path / "shifted.toml").write_text(other)
    made = convert_run(rate, str(tmp_path / "shifted.toml"), tmp_path / "out")
    about = made.summary["conversion"]
    assert (about["scale"], about["offset"]) == (pytest.approx(0.5), pytest.approx(-1.0))
    assert about["before"]["values"] == about["converted"]["values"]
    assert min(about["before"]["values"]) > 0.5
    assert made.config.model == "rate_shifted"
    assert made.status == "finished"
    again = convert_run(made, "rate_nla", tmp_path / "back")
    for name, w in rate.weights.items():
        np.testing.assert_allclose(again.weights[name], w, atol=1e-12)


def test_it_learns_on_from_the_converted_weights(rate, tmp_path):
    made = convert_run(rate, "rate_nla_policy", tmp_path / "out", learn=30, overrides={"eta": "0.02"})
    with np.load(tmp_path / "out" / "checkpoints" / "weights-0.npz") as first:
        np.testing.assert_array_equal(first["projection0"], rate.weights["projection0"])
        with np.load(rate.path / "checkpoints" / "weights-800.npz") as last:
            np.testing.assert_allclose(first["R_mean"], last["R_mean"])
    assert made.iterations == 30
    assert not np.array_equal(made.weights["projection0"], rate.weights["projection0"])
    about = made.summary["conversion"]
    assert about["after"] == made.summary["test_accuracy"]
    assert (about["learned"], about["measure"]) == (30, "test_accuracy")
    assert made.config.overrides == {"eta": "0.02"}


@pytest.mark.backend("brian2:numpy")
def test_a_rate_network_becomes_a_spiking_one(rate, tmp_path):
    """On a small spiking model of the tests, by Brian2's own groups: silent trials of a few steps."""
    text = (MODELS / "spiking_small.toml").read_text()
    for old, new in (('threshold = "q >= 1 + 0.2*(chance - 0.5)"', 'threshold = "q >= 1"'), ('"12*ms"', '"25*ms"')):
        assert old in text
        text = text.replace(old, new)
    head, _, rest = text.partition("[neuron.input]")
    rest = rest.partition("[neuron.hidden]")[2]
    spiking = f'{head}[neuron.input]\nequations = "rbar = x : 1"\n[neuron.hidden]{rest}'.replace('late = "2*ms"\n', "")
    (tmp_path / "spiking.toml").write_text(spiking.replace('"argmax(lowpass(s, tau_s))"', '"argmax(u)"'))
    made = convert_run(rate, str(tmp_path / "spiking.toml"), tmp_path / "out", core="numpy", road="plain")
    about = made.summary["conversion"]
    assert made.config.backend == "brian2"
    np.testing.assert_array_equal(made.weights["projection1"], rate.weights["projection1"])
    assert about["converted"]["mean"] >= about["before"]["mean"] - 0.25  # of four patterns and two seeds
    assert about["sends"] == "[-1, 1] -> [-1, 1]"


def test_what_cannot_be_converted_is_named(rate, tmp_path):
    with pytest.raises(ConfigError, match="nothing to convert"):
        convert_run(rate, "rate_nla", tmp_path / "x", at="start")
    with pytest.raises(ConfigError, match="learn -1"):
        convert_run(rate, "rate_nla", tmp_path / "x", learn=-1)
    with pytest.raises(RunFolderError, match="exists already"):
        convert_run(rate, "rate_nla", rate.path)
    assert not (tmp_path / "x").exists()


def test_models_of_the_package_are_twins():
    for one, other in (
        ("rate_nla", "spiking_nla"),
        ("rate_nla", "spiking_lif_nla"),
        ("rate_nla", "spiking_poisson_nla"),
    ):
        how = conversion_between(load_model(one), load_model(other))
        assert (how.scale, how.offset) == (1.0, 0.0)


def test_the_command(rate, tmp_path, capsys):
    line = ["convert", str(rate.path), "--to", "rate_nla", "--out", str(tmp_path / "out")]
    assert execute([*line, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["from_model"], about["converted"]["mean"]) == ("rate_nla", about["before"]["mean"])
    assert Results.load(about["folder"]).config.seeds == (4, 9)
    assert execute([*line[:-1], str(tmp_path / "more"), "--learn", "20"]) == 0
    out = capsys.readouterr().out
    assert "and 20 decisions" in out
    assert str(tmp_path / "more") in out
    assert execute(["convert", str(rate.path), "--to", "nir"]) == 2
    assert "'rate_nla' cannot be said in NIR: it is of kind 'rate'" in capsys.readouterr().err
