"""as_node_perturbation: the exploration is the error, everything else stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.resources import models_dir
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.perturbation import as_node_perturbation
from rnla_neuro.spec.proof import number, symbol
from tests.model_lines import proven_models

TEXT = (models_dir() / "rate_nla.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [n for n in proven_models() if n != "rate_nla_tracking"])
def test_the_error_is_the_noise_over_its_variance(name: str) -> None:
    model = load_model(name)
    before, after = derive_form(model), derive_form(as_node_perturbation(model))
    noise = symbol("noise_bar")
    slope = sp.diff(after.nudging, noise)
    assert slope.free_symbols <= {symbol(p) for p in after.parameters}
    assert sp.expand(after.nudging - slope * noise) == 0
    std = after.noise_scale
    if after.noise_lowpass:
        assert after.noise_tau is not None
        std *= np.sqrt(after.noise_tau / (after.noise_tau + after.tau_m))
    assert number(slope, after.parameters) == pytest.approx(after.parameters["beta"] / std**2)
    assert after.noise in ("gaussian", "ornstein-uhlenbeck")
    assert after.phi == before.phi
    assert after.action.sources == before.action.sources
    assert after.hidden.updates == before.hidden.updates
    assert after.modulators == before.modulators


def test_gumbel_becomes_gaussian_of_the_same_width() -> None:
    form = derive_form(as_node_perturbation(load_model("rate_nla", {"sigma": "0.2"})))
    assert (form.noise, form.noise_scale) == ("gaussian", pytest.approx(np.pi / np.sqrt(6) * 0.2))


def test_its_text_is_a_whole_model() -> None:
    model = as_node_perturbation(load_model("rate_nla", {"eta": "0.2"}))
    again = parse_model(model.text, model.path, model.overrides)
    assert (again.parameters, again.action, again.exploration) == (
        model.parameters,
        model.action,
        model.exploration,
    )
    assert model.name == "rate_nla_node_perturbation"
    assert model.parameters["eta"].value == 0.2
    assert "c" not in model.parameters, "a parameter that nothing reads must not pretend to matter"


def test_an_override_of_a_parameter_that_is_gone_is_refused() -> None:
    with pytest.raises(ConfigError, match="setting 'c': unknown parameter"):
        as_node_perturbation(load_model("rate_nla", {"c": "3"}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("beta*(p - q)", "beta**2*(p - q)", "found none"),
        ("u_post - drive_post - noise_bar_post", "u_post - drive_post", "keeps the exploration"),
    ],
)
def test_models_that_cannot(old: str, new: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        as_node_perturbation(parse_model(TEXT.replace(old, new), Path("test.toml")))


def test_without_exploration_there_is_nothing_to_perturb() -> None:
    text = TEXT.replace('law = "gumbel"\nhold = "trial"\nscale = "sigma"\n', 'law = "none"\n')
    with pytest.raises(BackendError, match="law is 'none'"):
        as_node_perturbation(parse_model(text, Path("test.toml")))
