"""The shared network and the settings of the learners."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy as sp

from rnla_neuro.errors import ConfigError
from rnla_neuro.learners import make_learner
from rnla_neuro.learners.common import LayeredNetwork, LearnerOptions, hidden_rate
from rnla_neuro.learners.reinforce import ReinforceSettings
from rnla_neuro.learners.settings import settings_from
from rnla_neuro.noise import NoiseBlocks
from rnla_neuro.spec.numeric import softmax


class _Form:
    """The three attributes of an `EquilibriumForm` that a learner reads."""

    def __init__(self, phi: sp.Expr, u: sp.Symbol, **parameters: float) -> None:
        self.phi, self.phi_prime = phi, sp.diff(phi, u)
        self.input_rate = sp.Symbol("x", real=True)
        self.parameters = parameters


def _weights(rng: np.random.Generator, agents: int, *sizes: int) -> list[np.ndarray]:
    pairs = itertools.pairwise(sizes)
    return [rng.normal(size=(agents, n, m + 1)) / np.sqrt(m) for m, n in pairs]


def test_hidden_rate_comes_from_the_form_with_its_parameters() -> None:
    u, a = sp.Symbol("u", real=True), sp.Symbol("a", real=True)
    rate = hidden_rate(_Form(a * sp.log(1 + sp.exp(u / a)), u, a=0.3))
    voltage = np.linspace(-1, 1, 9).reshape(3, 3)
    value, slope = rate(voltage)
    np.testing.assert_allclose(value, 0.3 * np.log1p(np.exp(voltage / 0.3)), rtol=1e-12)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-voltage / 0.3)), rtol=1e-12)


def test_hidden_rate_of_a_straight_line_has_a_slope_for_every_neuron() -> None:
    u = sp.Symbol("u", real=True)
    assert hidden_rate(_Form(2 * u, u))(np.zeros((2, 3)))[1].tolist() == [[2.0] * 3] * 2


def test_input_rate_comes_from_the_form() -> None:
    u, x = sp.Symbol("u", real=True), sp.Symbol("x", real=True)
    form = _Form(sp.tanh(u), u)
    form.input_rate = x**2
    weights = _weights(np.random.default_rng(0), 2, 3, 2)
    observation = np.random.default_rng(1).normal(size=(2, 3))
    squared = LayeredNetwork(weights, LearnerOptions(form=form)).forward(observation)
    np.testing.assert_array_equal(squared, LayeredNetwork(weights, LearnerOptions()).forward(observation**2))


@pytest.mark.parametrize("sizes", [(5, 3), (5, 4, 3), (5, 6, 4, 3)])
def test_forward_and_backward_agree_with_a_loop(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    weights = _weights(rng, 4, *sizes)
    x, error = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    net = LayeredNetwork(weights, LearnerOptions())
    drive = net.forward(x)
    net.backward(error)
    net.learn(np.full(4, 0.1), 2.0)
    for agent in range(4):
        rates, expected = [np.append(x[agent], 1)], error[agent]
        for w in weights[:-1]:
            rates.append(np.append(np.tanh(w[agent] @ rates[-1]), 1))
        np.testing.assert_allclose(drive[agent], weights[-1][agent] @ rates[-1], rtol=1e-12)
        for layer in reversed(range(len(weights))):
            rate = 0.1 if layer == len(weights) - 1 else 0.2
            change = net.weights[layer][agent] - weights[layer][agent]
            np.testing.assert_allclose(change, rate * np.outer(expected, rates[layer]), atol=1e-14)
            expected = (weights[layer][agent].T @ expected)[:-1] * (1 - rates[layer][:-1] ** 2)


def test_frozen_hidden_layers_keep_their_weights() -> None:
    rng = np.random.default_rng(0)
    net = LayeredNetwork(_weights(rng, 2, 5, 4, 4, 3), LearnerOptions(freeze_hidden=True))
    before = [w.copy() for w in net.weights]
    net.forward(rng.normal(size=(2, 5)))
    net.backward(rng.normal(size=(2, 3)))
    net.learn(np.ones(2), 1.0)
    assert [np.array_equal(w, b) for w, b in zip(net.weights, before, strict=True)] == [True, True, False]


def test_drive_of_many_inputs_is_the_forward_pass_of_each() -> None:
    rng = np.random.default_rng(0)
    net = LayeredNetwork(_weights(rng, 2, 5, 4, 3), LearnerOptions())
    inputs = rng.normal(size=(6, 5))
    for b, x in enumerate(inputs):
        np.testing.assert_allclose(net.drive_of(inputs)[:, b], net.forward(np.stack([x, x])), rtol=1e-12)


def test_softmax_of_large_numbers_is_finite() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4]])), 0.5)


def test_noise_is_the_generator_s_own_sequence_whatever_the_block() -> None:
    blocks = NoiseBlocks("gumbel", [np.random.default_rng(3), np.random.default_rng(4)], (5,))
    drawn = np.array([blocks.next().copy() for _ in range(600)])
    np.testing.assert_array_equal(drawn[:, 1], np.random.default_rng(4).gumbel(size=(600, 5)))


@pytest.mark.parametrize("trials", [0, 1, 256, 300])
def test_noise_continues_from_a_state(trials: int) -> None:
    blocks = NoiseBlocks("gumbel", [np.random.default_rng(3)], (2,))
    for _ in range(trials):
        blocks.next()
    other = NoiseBlocks("gumbel", [np.random.default_rng(99)], (2,))
    other.restore(blocks.state())
    for _ in range(300):
        np.testing.assert_array_equal(other.next(), blocks.next())


def test_settings_are_read_from_text() -> None:
    settings = settings_from(
        ReinforceSettings, {"eta": "0.5", "reference": "soft", "R_mean": "none", "n_R": 50}, "reinforce"
    )
    assert (settings.eta, settings.reference, settings.R_mean, settings.n_R) == (0.5, "soft", None, 50.0)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"etta": "1"}, ["unknown setting of the learner reinforce 'etta'", "did you mean 'eta'", "lr_hidden"]),
        ({"eta": "fast"}, ["eta", "'fast'", "eta=0.05"]),
        ({"eta": "-1"}, ["eta", "-1", "above 0"]),
        ({"eta": "nan"}, ["eta", "nan", "above 0"]),
        ({"sigma": "0"}, ["sigma", "above 0"]),
        ({"n_R": "0.5"}, ["n_R", "1 or above"]),
        ({"R_mean": "inf"}, ["R_mean", "finite"]),
        ({"reference": "sof"}, ["reference", "did you mean 'soft'"]),
        ({"credit_delay_s": "-0.1"}, ["credit_delay_s", "0 or above"]),
    ],
)
def test_a_wrong_setting_is_refused_with_help(overrides: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from(ReinforceSettings, overrides, "reinforce")
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"precision": "float16"}, "float64"),
        ({"channels": ("dopamine",)}, "'reward'"),
        ({"trial_duration": 0.0}, "trial_duration"),
        ({"decision_time": -1.0}, "decision_time"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        LearnerOptions(**options)


def test_an_unknown_learner_gets_the_nearest_known_one() -> None:
    weights = _weights(np.random.default_rng(0), 1, 2, 2)
    with pytest.raises(ConfigError, match="did you mean 'reinforce'"):
        make_learner("reinforced", weights, [np.random.default_rng(0)])


def test_weights_that_do_not_fit_are_refused() -> None:
    good = _weights(np.random.default_rng(0), 1, 5, 4, 3)
    with pytest.raises(ConfigError, match=r"projection 1 .*\(1, n_post, 4 \+ 1\)"):
        LayeredNetwork([good[0], good[0]], LearnerOptions())
    with pytest.raises(ConfigError, match="shape"):
        LayeredNetwork([good[0][0]], LearnerOptions())
    learner = make_learner("backprop", good, [])
    with pytest.raises(ConfigError, match="do not fit"):
        learner.set_weights(good[:1])
