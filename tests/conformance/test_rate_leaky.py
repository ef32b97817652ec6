"""Leaky neurons lag: by tau_m in every layer, as an analytic solution says, where prospective neurons do not."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from rnla_neuro.backend import get_backend
from rnla_neuro.errors import BackendError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.loader import load_model
from tests.conformance.nets import events, layers

FloatArray = npt.NDArray[np.float64]
SIZES, SEEDS = (3, 4, 4, 2), (1,)
SMALL = 0.01  # weights above the first layer: rates are linear in voltages then, errors nothing


@cache
def voltages(name: str, dt: str = "1*ms") -> tuple[FloatArray, list[FloatArray], list[FloatArray]]:
    """Time of each step since the input came, hidden voltages (S, n) of a first trial from rest, and weights."""
    network = NetworkSpec(load_model(name, {"dt": dt, "sigma": "0.01"}), SIZES, SEEDS)
    with get_backend("brian2").build(network, target="numpy", road="plain", start="rest") as simulation:
        weights = [SMALL * w for w in simulation.weights()]
        simulation.set_weights(weights)
        simulation.decide(np.zeros((1, 3)), events())
        _, seen = simulation.decide_recorded(np.array([[1.0, -0.5, 0.7]]), events())
    return seen.time - seen.time[0], layers(seen.u[0], SIZES)[:2], [w[0] for w in weights]


def lag(name: str, layer: int) -> float:
    """The time constant of a layer's response to a step, s: the area between it and where it goes."""
    time, u, weights = voltages(name, "0.5*ms")
    end = weights[0][:, :-1] @ np.array([1.0, -0.5, 0.7])
    if layer == 1:
        end = weights[1][:, :-1] @ np.tanh(end)
    return float(np.mean((1 - u[layer] / end).sum(axis=0)) * (time[1] - time[0]))


def test_a_step_arrives_as_the_leaky_integrator_says() -> None:
    time, u, weights = voltages("rate_leaky")
    end = weights[0][:, :-1] @ np.array([1.0, -0.5, 0.7])
    expected = end * (1 - 0.9 ** np.arange(len(time))[:, None])  # explicit Euler with dt/tau = 0.1
    np.testing.assert_allclose(u[0], expected, atol=1e-3 * np.abs(end).max())


def test_the_lag_adds_up_over_layers() -> None:
    tau = load_model("rate_leaky").parameters["tau_m"].value
    assert lag("rate_leaky", 0) == pytest.approx(tau, rel=0.1)  # the trial is three time constants long: 5 % is missing
    assert lag("rate_leaky", 1) == pytest.approx(2 * tau, rel=0.2)


def test_prospective_neurons_do_not_lag() -> None:
    assert max(abs(lag("rate_nla", layer)) for layer in (0, 1)) < 0.02 * lag("rate_leaky", 0)


def test_it_differs_from_rate_nla_in_nothing_but_prospective_coding() -> None:
    leaky, prospective = (load_model(name) for name in ("rate_leaky", "rate_nla"))
    assert {n: p.text for n, p in leaky.parameters.items()} == {n: p.text for n, p in prospective.parameters.items()}
    assert leaky.trial == prospective.trial
    assert leaky.exploration.scale == prospective.exploration.scale


def test_the_equilibrium_refuses_it_by_name() -> None:
    with pytest.raises(BackendError, match=r"cannot run rate_leaky\.toml"):
        derive_form(load_model("rate_leaky"))
