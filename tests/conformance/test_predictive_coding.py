"""Error neurons of predictive coding settle to the errors of backpropagation; their plasticity is its gradient."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from rnla_neuro.backend import get_backend
from rnla_neuro.errors import BackendError, ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.loader import load_model
from rnla_neuro.spec.model import ModelSpec
from tests.conformance.nets import events

FloatArray = npt.NDArray[np.float64]
SIZES, SEEDS = (3, 6, 5, 3), (4,)
SETTLED = 0.99  # cosine; what is missing is the nudging's own second order, and what has not settled


def model() -> ModelSpec:
    """The model with a trial as short as its errors allow, for stock Brian2 takes milliseconds a step."""
    return load_model("rate_predictive_coding", {"tau_x": "0.5*ms", "dt": "0.05*ms", "T": "15*ms"})


@cache
def trial() -> tuple[list[FloatArray], FloatArray, FloatArray, FloatArray, FloatArray]:
    """Weights, input, voltages and errors in time, and the traces after the trial."""
    x = np.array([[0.9, -0.5, 0.3]])
    with get_backend("brian2").build(NetworkSpec(model(), SIZES, SEEDS), target="numpy", road="plain") as simulation:
        weights = simulation.weights()
        weights[-1] = 8 * weights[-1]
        simulation.set_weights(weights)
        _, seen = simulation.decide_recorded(x, events())
        traces = simulation.engine.read()["z"]
    return [w[0] for w in weights], x[0], seen.u[0], seen.ebar[0], traces[0]


def outcome(weights: list[FloatArray], u: FloatArray, layer: int, error: FloatArray) -> float:
    """What the action layer's error makes of the voltages of a hidden layer, by the forward pass alone."""
    for w in weights[layer + 1 :]:
        rate = np.tanh(u)
        u = w[:, :-1] @ rate + w[:, -1]
    return float(error @ u)


def gradient(weights: list[FloatArray], u: FloatArray, layer: int, error: FloatArray) -> FloatArray:
    """The derivative of `outcome`, by central differences."""
    steps = 1e-5 * np.eye(len(u))
    return np.array(
        [(outcome(weights, u + s, layer, error) - outcome(weights, u - s, layer, error)) / 2e-5 for s in steps]
    )


def cosine(a: FloatArray, b: FloatArray) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def cosines(step: int) -> list[float]:
    """Cosines of both hidden layers' errors to the gradient, at a step."""
    weights, _, u, ebar, _ = trial()
    layers = [np.split(values[step], np.cumsum(SIZES[1:])[:-1]) for values in (u, ebar)]
    return [cosine(e, gradient(weights, v, k, layers[1][-1])) for k, (v, e) in enumerate(zip(*layers, strict=True))][:2]


def test_settled_errors_are_those_of_backpropagation() -> None:
    assert min(cosines(-1)) > SETTLED
    weights, _, u, ebar, _ = trial()
    cuts = np.cumsum(SIZES[1:])[:-1]
    v, e = np.split(u[-1], cuts), np.split(ebar[-1], cuts)
    for k in range(2):  # the size too, but for what the slowest mode still lacks
        np.testing.assert_allclose(e[k], gradient(weights, v[k], k, e[-1]), atol=0.25 * np.abs(e[k]).max())


def test_errors_that_have_not_settled_are_others() -> None:
    assert min(cosines(4)) < 0.9


def test_the_eligibility_is_error_times_rate_of_the_layer_below() -> None:
    _, x, _, ebar, traces = trial()
    first = traces[: SIZES[1] * (SIZES[0] + 1)].reshape(SIZES[1], SIZES[0] + 1)
    settled = np.outer(ebar[-1, : SIZES[1]], np.append(x, 1.0))
    assert cosine(first, settled) > SETTLED


def test_the_equilibrium_refuses_it_by_name() -> None:
    with pytest.raises(BackendError, match=r"cannot run rate_predictive_coding\.toml"):
        derive_form(model())


def test_steps_that_are_too_long_are_refused() -> None:
    coarse = load_model("rate_predictive_coding", {"dt": "1*ms", "tau_e": "0.5*ms"})
    with pytest.raises(ConvergenceError, match="not stable step by step"):
        get_backend("brian2").build(NetworkSpec(coarse, SIZES, SEEDS), target="numpy", road="plain")
