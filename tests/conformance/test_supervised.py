"""Supervised learning against finite differences: a trial changes weights by minus the gradient of the summed loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rnla_neuro.backend import get_backend
from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.numeric import softmax
from rnla_neuro.spec.supervised import as_supervised

Loss = Callable[[list[np.ndarray]], float]
SIZES = (3, 6, 5, 2)
SMALL = "1e-6"  # learning rate: the weights hardly move during a trial


def output(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """The action layer's voltage without nudging, (…, n_out), for inputs (…, n_in)."""
    rate = x
    for k, w in enumerate(weights):
        u = rate @ w[:, :-1].T + w[:, -1]
        rate = np.tanh(u) if k < len(weights) - 1 else u
    return rate


def minus_gradient(loss: Loss, weights: list[np.ndarray], h: float = 1e-6) -> np.ndarray:
    found = []
    for w in weights:
        for at in np.ndindex(w.shape):
            before = w[at]
            w[at] = before + h
            up = loss(weights)
            w[at] = before - h
            down = loss(weights)
            w[at] = before
            found.append((down - up) / (2 * h))
    return np.array(found)


def flat(weights: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([w[0].ravel() for w in weights])


def far(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def lessons(times: np.ndarray) -> EventBatch:
    n = len(times)
    return EventBatch(np.zeros(n, np.int64), times, np.zeros(n, np.int64), np.ones(n))


def one_trial(
    model: ModelSpec, x: np.ndarray, told: np.ndarray, times: np.ndarray, backend: str, **options: str
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The change of the weights by one trial, per unit of eta, and the weights before."""
    network = NetworkSpec(model, SIZES, (4,))
    with get_backend(backend).build(network, **options) as simulation:
        before = simulation.weights()
        weights = [w + 0.5 * np.random.default_rng(k).standard_normal(w.shape) for k, w in enumerate(before)]
        simulation.set_weights(weights)
        simulation.decide(x, lessons(times), told)
        return (flat(simulation.weights()) - flat(weights)) / float(SMALL), [w[0] for w in weights]


ENGINES = [
    pytest.param("equilibrium", {"core": "numpy"}, marks=pytest.mark.backend("equilibrium:numpy")),
    pytest.param("equilibrium", {"core": "native"}, marks=pytest.mark.backend("equilibrium:native")),
    pytest.param("brian2", {"road": "fused", "target": "numpy"}, marks=pytest.mark.backend("brian2:numpy")),
    pytest.param("brian2", {"road": "plain", "target": "numpy"}, marks=pytest.mark.backend("brian2:numpy")),
    pytest.param(
        "brian2_cpp", {"road": "fused"}, marks=[pytest.mark.slow, pytest.mark.backend("brian2_cpp:program")]
    ),
]


@pytest.mark.parametrize(("backend", "options"), ENGINES)
def test_a_static_target_lowers_the_cross_entropy(backend: str, options: dict[str, str]) -> None:
    x, label = np.array([[0.7, -1.1, 0.4]]), np.array([1])
    wrong = []
    for beta in (1e-3, 1e-4):
        model = as_supervised(load_model("rate_nla", {"beta": repr(beta), "eta": SMALL, "lr_hidden": "1"}))
        sigma = model.parameters["sigma"].value
        T = model.trial.duration

        def loss(weights: list[np.ndarray], sigma: float = sigma) -> float:
            return float(-sigma * np.log(softmax(output(weights, x) / sigma)[0, label[0]]))

        found, weights = one_trial(model, x, label, np.array([T]), backend, **options)
        expected = minus_gradient(loss, weights)
        # Euler steps of the trace: a held error counts by the same factor in every weight
        size = 1.0 if backend == "equilibrium" else (1 - 0.9**5) / (1 - np.exp(-0.5))
        wrong.append(far(found / size, expected))
    assert wrong[1] < 2e-3
    assert wrong[0] / wrong[1] == pytest.approx(10, rel=0.1), "what is left is of the order of beta"


@pytest.mark.parametrize("core", ["numpy", "native"])
def test_a_target_in_time_lowers_the_summed_squared_error(core: str) -> None:
    rng = np.random.default_rng(3)
    x, told = rng.uniform(-1, 1, (1, 6, 3)), rng.uniform(-1, 1, (1, 9, 2))
    wrong = []
    for beta in (1e-2, 1e-3):
        model = load_model("rate_nla_tracking", {"beta": repr(beta), "eta": SMALL, "lr_hidden": "1"})
        T, dt, tau = model.trial.duration, model.trial.dt, model.parameters["tau_elig"].value
        lesson = model.parameters["lesson"].value
        end = dt * np.arange(1, round(T / dt) + 1)
        times = lesson * np.arange(1, round(T / lesson) + 1)
        # what a step of the trial counts: the traces that the lessons after it read
        share = np.exp(-(times[:, None] - end) / tau) * -np.expm1(-dt / tau) * (times[:, None] > end - 0.5 * dt)
        counts = lesson / T * share.sum(axis=0) / NetworkSpec(model, SIZES, (4,)).credit
        middle = (end - 0.5 * dt) / T
        signal = np.stack([np.interp(middle, np.linspace(0, 1, 6), x[0, :, i]) for i in range(3)], axis=1)
        target = np.stack([np.interp(middle, np.linspace(0, 1, 9), told[0, :, i]) for i in range(2)], axis=1)

        def loss(
            weights: list[np.ndarray], counts: np.ndarray = counts, signal: np.ndarray = signal, y: np.ndarray = target
        ) -> float:
            return float((counts[:, None] * 0.5 * (output(weights, signal) - y) ** 2).sum())

        found, weights = one_trial(model, x, told, times, "equilibrium", core=core)
        wrong.append(far(found, minus_gradient(loss, weights)))
        assert counts.sum() == pytest.approx(1, abs=0.1), "the lessons of a trial weigh about 1 together"
    assert wrong[1] < 2e-2
    assert wrong[0] / wrong[1] == pytest.approx(10, rel=0.15), "what is left is of the order of beta"


@pytest.mark.backend("equilibrium:native", "equilibrium:numpy")
def test_errors_and_voltages_have_no_lag() -> None:
    """The error at every instant is that of the present target, in all layers, and the target is no part of u."""
    rng = np.random.default_rng(5)
    x, told = rng.uniform(-1, 1, (1, 6, 3)), rng.uniform(-1, 1, (1, 6, 2))
    network = NetworkSpec(load_model("rate_nla_tracking"), SIZES, (4,))
    for core in ("numpy", "native"):
        with get_backend("equilibrium").build(network, core=core) as simulation:
            _, seen = simulation.decide_recorded(x, EventBatch.empty(), told)
        at = seen.time / network.model.trial.duration
        target = np.stack([np.interp(at, np.linspace(0, 1, 6), told[0, :, i]) for i in range(2)], axis=1)
        np.testing.assert_allclose(seen.ebar[0, :, -2:], 1e-3 * (target - seen.u[0, :, -2:]), atol=1e-12)
        np.testing.assert_allclose(seen.u, seen.drive + seen.ebar, atol=1e-12)
        assert not seen.noise.any()
        assert np.abs(seen.ebar[0, :, :-2]).max() > 1e-5


@pytest.mark.slow
@pytest.mark.backend("brian2:numpy", "brian2:cython")
@pytest.mark.parametrize("name", ["rate_leaky", "rate_predictive_coding", "rate_microcircuit"])
def test_models_that_are_not_proven_learn_the_same_on_both_roads(name: str) -> None:
    model = as_supervised(load_model(name, {"eta": "0.5"}))
    network = NetworkSpec(model, (3, 5, 4), (1, 2))
    rng = np.random.default_rng(0)
    shown, right = rng.standard_normal((3, 2, 3)), rng.integers(0, 4, (3, 2))
    start = np.concatenate([w.ravel() for w in network.initial_weights()])
    found = []
    for options in ({"road": "plain", "target": "numpy"}, {"road": "fused", "target": "cython"}):
        with get_backend("brian2").build(network, **options) as simulation:
            for x, label in zip(shown, right, strict=True):
                now = np.full(2, simulation.next_decision)
                simulation.decide(x, EventBatch(np.arange(2), now, np.zeros(2, np.int64), np.ones(2)), label)
            found.append(np.concatenate([w.ravel() for w in simulation.weights()]))
    assert np.abs(found[0] - found[1]).max() < 1e-10
    assert np.abs(found[0] - start[: len(found[0])]).max() > 0.1


@pytest.mark.slow
@pytest.mark.backend("brian2:numpy")
def test_a_closed_loop_in_brian2_is_told_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    brian2 = pytest.importorskip("brian2")
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    from rnla_neuro import to_brian2
    from rnla_neuro.bridge import EnvironmentBridge

    model = as_supervised(load_model("rate_nla", {"T": "10*ms", "eta": "0.5"}))
    net = to_brian2(model, sizes=(2, 8, 2), seed=1, clock=brian2.Clock(1 * brian2.ms))
    bridge = EnvironmentBridge(
        "xor",
        1,
        (1,),
        trial_duration=model.trial.duration,
        decision_time=model.trial.decision,
        channels=tuple(model.neuromodulators),
        watch=False,
    )
    loop = net.close_loop(bridge)
    net.run(150 * 10 * brian2.ms)
    loop.finish()
    assert np.mean(loop.rewards[-30:]) > 0.9
    assert np.mean(loop.rewards[:30]) < 0.8
