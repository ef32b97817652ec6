"""Input codes: files that take the place of [neuron.input], and populations of neurons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.bridge import EnvironmentBridge
from rnla_neuro.cli.networks import build
from rnla_neuro.codec import BoxCodec, PopulationCodec, population_code
from rnla_neuro.errors import ConfigError
from rnla_neuro.session import RunRequest
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.inputs import InputCode, available_inputs, parse_input, with_input
from rnla_neuro.spec.loader import load_model
from rnla_neuro.tasks import catalogue

SMALL = str(Path(__file__).parents[1] / "models" / "spiking_small.toml")


def test_what_can_be_asked_for() -> None:
    assert {"analog", "poisson", "regular", "latency"} == set(available_inputs())
    assert parse_input("") == InputCode()
    assert parse_input("poisson") == InputCode(None, "poisson")
    assert parse_input("population:8") == InputCode(8)
    assert parse_input("regular, population:3") == InputCode(3, "regular")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poison", "unknown input 'poison': did you mean 'poisson'?"),
        ("poisson:8", "unknown input 'poisson:8'"),
        ("population:1", "input 'population:1': expected population:N, N neurons a value, from 2 to 1000"),
        ("population", "expected population:N"),
        ("population:x", "expected population:N"),
        ("population:2,population:3", "'population' stands there twice"),
        ("poisson,regular", "two codes, 'poisson' and 'regular'; allowed is one"),
    ],
)
def test_what_cannot(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunRequest("xor", input=text)
    assert message in str(caught.value)


@pytest.mark.parametrize("code", ["poisson", "regular", "latency"])
@pytest.mark.parametrize("name", ["rate_nla", SMALL])
def test_a_code_takes_the_place_of_the_models_inputs(name: str, code: str) -> None:
    model = load_model(name)
    made = with_input(model, code)
    assert made.kind == "spiking"
    assert made.input.threshold is not None
    assert made.input.threshold != model.input.threshold
    assert made.hidden == model.hidden
    assert made.action == model.action
    assert "tau_in" in made.parameters
    assert "late" not in made.parameters  # only the small model's own inputs read it
    again = with_input(made, code)
    assert again.input == made.input
    assert again.parameters == made.parameters
    assert ("r = rbar : 1" in made.input.equations) == ("prospective_rate" in model.roles)


def test_analog_inputs() -> None:
    rate = load_model("rate_nla")
    assert with_input(rate, "analog") is rate
    back = with_input(load_model(SMALL), "analog")
    assert back.input.threshold is None
    assert back.input.equations.strip() == "rbar = x : 1"
    assert back.kind == "spiking"  # its other neurons spike
    only = with_input(with_input(rate, "poisson"), "analog")
    assert only.kind == "rate"


def test_a_request_keeps_its_parameters_and_its_text() -> None:
    request = RunRequest("xor", model=SMALL, input="population:3,poisson", overrides={"r_in": "300*Hz"})
    model = request.load(catalogue.get("xor"))
    assert model.parameters["r_in"].value == 300.0
    assert request.load(catalogue.get("xor"), model.text).input == model.input
    network = build(SMALL, {"r_in": "200*Hz"}, "xor", (4,), (1,), input="population:3,poisson")
    assert network.sizes == (6, 4, 2)
    assert network.model.parameters["r_in"].value == 200.0
    derive_form(build("rate_nla", {}, "xor", (4,), (1,), input="population:3").model)


def test_the_models_names_are_kept() -> None:
    text = load_model("rate_nla").text.replace("rbar", "firing")
    from rnla_neuro.spec.loader import parse_model

    made = with_input(parse_model(text, Path("renamed.toml")), "regular")
    assert "firing = 2*s - 1 : 1" in made.input.equations
    assert "r = firing : 1" in made.input.equations


def test_population_code() -> None:
    values = np.array([[-1.0, 0.0], [0.25, 1.0]])
    code = population_code(values, 5)
    assert code.shape == (2, 10)
    preferred = np.linspace(-1, 1, 5)
    for row in range(2):
        for k in range(2):
            curves = code[row, 5 * k : 5 * k + 5]
            assert np.allclose(curves, 2 * np.exp(-((values[row, k] - preferred) ** 2) / (2 * 0.5**2)) - 1)
            assert np.argmax(curves) == np.argmin(abs(preferred - values[row, k]))
    assert code.min() >= -1
    assert code.max() == 1.0
    codec = PopulationCodec(BoxCodec([0.0], [4.0], scale=True), 4)
    assert codec.n_in == 4
    assert np.array_equal(codec.encode(np.array([[4.0]])), population_code(np.array([[1.0]]), 4))


def test_a_bridge_represents_by_populations() -> None:
    with EnvironmentBridge(
        catalogue.get("xor"), 2, [1, 2], trial_duration=0.03, decision_time=0.03, population=4
    ) as bridge:
        assert bridge.n_in == 8
        assert bridge.observation.shape == (2, 8)
        assert {-1.0, 1.0} >= {round(float(x)) for x in bridge.observation[:, [0, 3, 4, 7]].ravel()}
        bridge.step([0, 1])
        assert bridge.observation.shape == (2, 8)
