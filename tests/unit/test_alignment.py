"""Self-nudging against the policy gradient (SCIENCE of forms M, W and S), on the shipped model's form."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rnla_neuro.analysis.alignment import (
    AlignmentRow,
    align,
    label_rewards,
    policy_gradient,
    scalar_product_with_reinforce,
)
from rnla_neuro.errors import ConfigError, ConvergenceError
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.form import EquilibriumForm, GroupReduction
from rnla_neuro.spec.loader import load_model

MODEL = Path(__file__).parents[2] / "models" / "rate_nla.toml"
N_OUT = 4


def _forms() -> dict[str, EquilibriumForm]:
    """The default model, form S, and the two others: the same file with another nudging."""
    soft = derive_form(load_model(str(MODEL)))
    symbols = {s.name: s for g in soft.groups for s in g.argument.free_symbols}
    symbols |= {s.name: s for s in soft.nudging.free_symbols | soft.policy.argument.free_symbols}
    beta, p, n = symbols["beta"], symbols["p"], sp.Symbol("n", real=True)
    policy = GroupReduction("q", "softmax", symbols["drive"] / symbols["sigma"])
    return {
        "S": soft,
        "M": dataclasses.replace(soft, groups=soft.groups[:1], nudging=beta * (p - (1 - p) / (n - 1))),
        "W": dataclasses.replace(soft, groups=(soft.groups[0], policy)),
    }


FORMS = _forms()


def _network(output_scale: float, *sizes: int) -> list[np.ndarray]:
    """Weights of a young network (small output weights) or of one that has learned to prefer."""
    rng = np.random.default_rng(4)
    weights = [rng.normal(size=(n, m + 1)) / np.sqrt(m) for m, n in itertools.pairwise(sizes)]
    weights[-1] *= output_scale
    return weights


def _task(n: int, n_in: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    labels = rng.integers(N_OUT, size=n)
    return rng.normal(size=(n, n_in)), labels, label_rewards(labels, N_OUT)


def _cosines(rows: list[AlignmentRow], baseline: str) -> dict[str, float]:
    return {row.layer: row.cosine for row in rows if row.baseline == baseline}


def test_rewards_of_labels() -> None:
    assert label_rewards(np.array([1, 0]), 2, right=1, wrong=-1).tolist() == [[-1, 1], [1, -1]]


def test_policy_gradient_against_finite_differences() -> None:
    weights, (inputs, _, rewards) = _network(1.0, 6, 5, 5, N_OUT), _task(7)
    rewards = rewards + np.random.default_rng(0).normal(size=rewards.shape)
    sigma = FORMS["S"].parameters["sigma"]

    def expected(ws: list[np.ndarray]) -> float:
        rate = inputs
        for layer, w in enumerate(ws):
            drive = rate @ w[:, :-1].T + w[:, -1]
            rate = np.tanh(drive) if layer < len(ws) - 1 else drive
        policy = np.exp(rate / sigma)
        return float((policy / policy.sum(axis=1, keepdims=True) * rewards).sum(axis=1).mean())

    h = 1e-5
    for layer, slope in enumerate(policy_gradient(FORMS["S"], weights, inputs, rewards)):
        for place in np.ndindex(slope.shape):
            value = []
            for sign in (1, -1):
                moved = [w.copy() for w in weights]
                moved[layer][place] += sign * h
                value.append(expected(moved))
            # h² times third derivatives of order 1/sigma³ = 64; rounding 1e-11
            assert slope[place] == pytest.approx((value[0] - value[1]) / (2 * h), abs=3e-8)


@pytest.mark.parametrize("output_scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("form", ["M", "W"])
def test_with_the_value_of_the_input_as_baseline_the_direction_is_the_gradient(
    form: str, output_scale: float
) -> None:
    weights, (inputs, _, rewards) = _network(output_scale, 6, 8, 5, N_OUT), _task(40)
    rows = align(FORMS[form], weights, inputs, rewards, 0.3, method="exact")
    # a finite sum over winners in double precision: only rounding, which 1e-9 leaves room for
    assert set(_cosines(rows, "value")) == {"hidden 1", "hidden 2", "action", "all"}
    for cosine in _cosines(rows, "value").values():
        assert cosine == pytest.approx(1, abs=1e-9)
    ratio = FORMS[form].parameters["sigma"] * (N_OUT / (N_OUT - 1) if form == "M" else 1)
    for row in rows:
        if row.baseline == "value":
            assert row.norm_ratio == pytest.approx(ratio, rel=1e-9)
            assert row.standard_error == 0


def test_the_global_mean_as_baseline_is_unbiased_for_w_and_biased_for_m_as_the_network_prefers() -> None:
    inputs, _, rewards = _task(60)
    cosine: dict[tuple[str, str], float] = {}
    for age, scale in (("young", 0.01), ("old", 3.0)):
        weights = _network(scale, 6, 8, N_OUT)
        for form in ("M", "W"):
            rows = align(FORMS[form], weights, inputs, rewards, 1 / N_OUT, method="exact")
            cosine[form, age] = _cosines(rows, "mean")["all"]
    assert cosine["W", "young"] == pytest.approx(1, abs=1e-9)
    assert cosine["W", "old"] == pytest.approx(1, abs=1e-9)
    # the bias (V(x) - b)(π - 1/n) is second order in the preference: nothing at first, large later
    assert cosine["M", "young"] > 0.999
    assert cosine["M", "old"] < 0.95


@pytest.mark.parametrize("output_scale", [0.1, 1.0, 3.0])
def test_form_s_follows_the_gradient(output_scale: float) -> None:
    weights, (inputs, _, rewards) = _network(output_scale, 6, 8, N_OUT), _task(40)
    rows = align(FORMS["S"], weights, inputs, rewards, 0.3, samples=32)
    for row in rows:
        if row.baseline == "value":
            assert 0 < row.standard_error < 0.003
            assert row.cosine - 3 * row.standard_error >= 0.98
            assert row.cosine >= 0.99
    if output_scale == 3.0:
        assert _cosines(rows, "mean")["all"] < _cosines(rows, "value")["all"] - 0.02


def test_sampling_agrees_with_the_exact_sum() -> None:
    """Form M with a gain at which the winner takes all: the two methods estimate the same direction."""
    form = dataclasses.replace(FORMS["M"], parameters={**FORMS["M"].parameters, "g": 1e4, "beta": 1e-9})
    weights, (inputs, _, rewards) = _network(3.0, 6, 8, N_OUT), _task(40)
    exact = align(form, weights, inputs, rewards, 0.3, method="exact")
    sampled = align(form, weights, inputs, rewards, 0.3, method="sampled", samples=8)
    for one, other in zip(exact, sampled, strict=True):
        # ties closer than 1/g = 1e-4 are rarer than 1e-3 of the draws
        assert other.cosine == pytest.approx(one.cosine, abs=5 * other.standard_error + 1e-3)
        assert other.norm_ratio == pytest.approx(one.norm_ratio, rel=5e-3)


def test_gaussian_exploration_is_sampled_as_it_comes() -> None:
    """No law of the winner is used; the cosine is high, its error larger."""
    form = dataclasses.replace(FORMS["S"], noise="gaussian", noise_scale=0.25 * np.pi / np.sqrt(6))
    weights, (inputs, _, rewards) = _network(0.5, 6, 8, N_OUT), _task(40)
    rows = align(form, weights, inputs, rewards, 0.25, samples=200)
    every = next(row for row in rows if row.layer == "all" and row.baseline == "value")
    assert every.standard_error > 1e-3
    assert every.cosine > 0.9


def test_rows_are_labelled_and_reproducible() -> None:
    weights, (inputs, _, rewards) = _network(1.0, 6, 8, N_OUT), _task(10)
    rows = align(FORMS["S"], weights, inputs, rewards, 0.3, trial=700, samples=4, seed=3)
    assert rows == align(FORMS["S"], weights, inputs, rewards, 0.3, trial=700, samples=4, seed=3)
    assert [(r.trial, r.layer, r.baseline) for r in rows] == [
        (700, layer, baseline) for baseline in ("mean", "value") for layer in ("hidden 1", "action", "all")
    ]


@pytest.mark.parametrize("form", ["M", "S", "W"])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_single_decision_goes_against_reinforce(form: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 12))
    numbers = st.floats(-5, 5, allow_nan=False)
    drive = data.draw(arrays(np.float64, (3, n), elements=numbers))
    noise_bar = data.draw(arrays(np.float64, (3, n), elements=numbers))
    # form W has the property where the winner takes all: its reference is not made from the same voltage
    product = scalar_product_with_reinforce(FORMS[form], drive, noise_bar, winner_takes_all=form == "W")
    # rounding of a sum of n terms of at most 1
    assert (product >= -1e-13).all()


def test_the_property_is_not_true_of_everything() -> None:
    """Nudging away from the winner is caught."""
    form = dataclasses.replace(FORMS["S"], nudging=-FORMS["S"].nudging)
    assert (scalar_product_with_reinforce(form, np.array([[0.0, 0.3]]), np.zeros((1, 2))) < 0).all()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"method": "exactly"}, "did you mean 'exact'"),
        ({"samples": 3}, "samples = 3"),
        ({"samples": 2}, "samples = 2"),
        ({"inputs": np.zeros((10, 5))}, r"\(10, 5\)"),
        ({"rewards": np.zeros((9, N_OUT))}, r"\(9, 4\)"),
        ({"method": "exact"}, "the nudging depends on exploration through q"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, Any], word: str) -> None:
    inputs, _, rewards = _task(10)
    arguments: dict[str, Any] = {"inputs": inputs, "rewards": rewards, "mean_reward": 0.3} | change
    with pytest.raises(ConfigError, match=word):
        align(FORMS["S"], _network(1.0, 6, 8, N_OUT), **arguments)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda form: {"nudging": sp.Integer(0)}, "self-nudging"),
        (lambda form: {"policy": dataclasses.replace(form.policy, kind="max")}, "softmax"),
    ],
)
def test_models_without_the_ingredients_are_refused(
    change: Callable[[EquilibriumForm], dict[str, Any]], word: str
) -> None:
    inputs, _, rewards = _task(10)
    form = dataclasses.replace(FORMS["S"], **change(FORMS["S"]))
    with pytest.raises(ConfigError, match=word):
        align(form, _network(1.0, 6, 8, N_OUT), inputs, rewards, 0.3)


def test_nudging_that_is_too_strong_is_refused() -> None:
    form = dataclasses.replace(FORMS["S"], parameters={**FORMS["S"].parameters, "beta": 5.0})
    inputs, _, rewards = _task(20)
    with pytest.raises(ConvergenceError, match="beta = 5"):
        align(form, _network(5.0, 6, 8, N_OUT), inputs, rewards, 0.3)


def test_exact_is_refused_where_the_winner_s_law_is_not_the_policy() -> None:
    inputs, _, rewards = _task(5)
    for change, word in (({"noise": "gaussian"}, "gumbel"), ({"noise_scale": 0.3}, "not the winner's law")):
        form = dataclasses.replace(FORMS["M"], **change)
        with pytest.raises(ConfigError, match=word):
            align(form, _network(1.0, 6, 8, N_OUT), inputs, rewards, 0.3, method="exact")
