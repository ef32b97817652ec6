"""The Brian2 groups of a model against the algebraic equilibrium, solved here by a fixed point of our own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import brian2
import numpy as np
import pytest
from brian2 import Clock, StateMonitor, ms

import rnla_neuro_backends.brian2_model.jumps as brian2_jumps
from rnla_neuro import load_model, to_brian2
from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.brian2_model.groups import Brian2Network
from tests.model_lines import proven_models

# Brian2 2.10 calls pyparsing by an old argument name.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'parseAll' argument:DeprecationWarning"),
    pytest.mark.usefixtures("numpy_target"),
]

SIZES = [(8, 6, 4), (5, 4, 4, 3)]
TAU = 10.0  # ms, tau_m and tau_elig of the default model


# c and sigma are tuned now and then; beta = 0.001 and g = 50 are what the file's form is about
C, SIGMA = (load_model("rate_nla").parameters[name].value for name in ("c", "sigma"))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def equilibrium(
    weights: list[np.ndarray], x: np.ndarray, noise: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Solve u = W rbar + ebar(u) + noise_bar of the default model, one row an instant; return u and ebar."""
    x = np.atleast_2d(x)
    errors = [np.zeros((len(x), len(w))) for w in weights]
    previous: list[np.ndarray] = []
    for _ in range(300):
        rate, u = x, []
        for w, error in zip(weights, errors, strict=True):
            u.append(rate @ w[:, :-1].T + w[:, -1] + error + (noise if w is weights[-1] else 0))
            rate = np.tanh(u[-1])
        errors[-1] = 0.001 * (softmax(50 * u[-1]) - softmax(u[-1] / (C * SIGMA)))
        for l in reversed(range(len(weights) - 1)):
            errors[l] = (1 - np.tanh(u[l]) ** 2) * (errors[l + 1] @ weights[l + 1][:, :-1])
        if previous and max(np.abs(a - b).max() for a, b in zip(u, previous, strict=True)) < 1e-14:
            return u, errors
        previous = u
    raise AssertionError("the fixed point of the test did not converge")


def eligibility(
    weights: list[np.ndarray], x: Callable[[np.ndarray], np.ndarray], noise: np.ndarray, end: float
) -> list[np.ndarray]:
    """Integrate tau dE/dt = -E + ebar rbar^T along the equilibrium by the trapezoidal rule, times in ms."""
    step = 0.005
    time = np.arange(round(end / step) + 1) * step
    u, errors = equilibrium(weights, x(time), noise)
    kernel = np.exp((time - end) / TAU) / TAU * step
    kernel[[0, -1]] /= 2
    rates = [np.column_stack([r, np.ones(len(time))]) for r in (x(time), *(np.tanh(v) for v in u[:-1]))]
    return [np.einsum("t,ti,tj->ij", kernel, e, r) for e, r in zip(errors, rates, strict=True)]


def network(model: ModelSpec | str, sizes: tuple[int, ...], dt: float, **options: object) -> Brian2Network:
    """A network with weights of order 1, so that the layers matter to each other."""
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=(b, a + 1)) / np.sqrt(a) for a, b in pairwise(sizes)]
    return to_brian2(model, sizes, weights=weights, clock=Clock(dt * ms), **options)


def record(net: Brian2Network) -> list[StateMonitor]:
    monitors = [StateMonitor(g, ["u", "ebar"], record=True, clock=g.clock) for g in net.layers]
    net.network.add(*monitors)
    return monitors


def worst(found: list[np.ndarray], wanted: list[np.ndarray]) -> np.ndarray:
    """Largest difference of each layer, relative to the layer's largest value."""
    return np.array([np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, wanted, strict=True)])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_euler_steps_approach_the_equilibrium_at_first_order(sizes: tuple[int, ...]) -> None:
    """Own input, smooth in time: the file's ODE, prospective rates and errors, no jump that helps."""
    rng = np.random.default_rng(1)
    x0, x1, noise = rng.normal(size=sizes[0]), rng.normal(size=sizes[0]), 0.3 * rng.normal(size=sizes[-1])

    def x(time: np.ndarray) -> np.ndarray:
        return x0 + x1 * np.sin(2 * np.pi * np.asarray(time)[:, None] / 12) ** 2

    errors = []
    for dt in (0.1, 0.05):
        net = network("rate_nla", sizes, dt)
        net.settle()
        net.present(x0)
        net.explore(noise)
        net.parameters["signal"] = brian2.TimedArray(x(np.arange(round(7 / dt)) * dt), dt=dt * ms)
        net.input.run_regularly("x = signal(t, i)", when="start", order=-1)
        monitors = record(net)
        net.open_gate()
        net.run(6 * ms)
        u, ebar = equilibrium(net.weights(), x(np.asarray(monitors[0].t / ms)), noise)
        wanted = eligibility(net.weights(), x, noise, 6.0)
        errors.append(
            np.array(
                [
                    worst([np.asarray(m.u).T for m in monitors], u),
                    worst([np.asarray(m.ebar).T for m in monitors], ebar),
                    worst(net.synaptic("E"), wanted),
                ]
            )
        )
    order = np.log2(errors[0] / errors[1])
    # Voltages, errors and eligibility, each layer: halving dt halves the difference (explicit Euler).
    assert (np.abs(order - 1) < 0.2).all(), order
    assert (errors[1][0] < 0.02).all(), errors


def test_trials_follow_the_equilibrium_through_every_jump() -> None:
    """Inputs by jump and by ramp, noise, decisions and rewards: voltages exact, traces of first order."""
    sizes = (5, 4, 4, 3)
    rng = np.random.default_rng(2)
    errors = []
    x0, x1, noise = rng.normal(size=5), rng.normal(size=5), 0.3 * rng.normal(size=3)

    def x(time: np.ndarray) -> np.ndarray:
        done = np.clip((np.asarray(time)[:, None] - 2) / 3, 0, 1)
        return x1 + (x0 - x1) * 0.5 * (1 + np.cos(np.pi * done))

    for dt in (0.2, 0.1):
        net = network("rate_nla", sizes, dt)
        net.settle()
        net.present(x0)
        assert np.array_equal(net.explore(noise), noise)
        net.open_gate()
        net.run(2 * ms)
        net.present(x1, ramp=3 * ms)
        monitors = record(net)
        net.run(5 * ms)
        time = np.asarray(monitors[0].t / ms)
        for found, wanted in zip(("u", "ebar"), equilibrium(net.weights(), x(time), noise), strict=True):
            values = [np.asarray(getattr(m, found)).T for m in monitors]
            assert (worst(values, wanted) < (1e-11 if found == "u" else 1e-6)).all()
        errors.append(worst(net.synaptic("E"), eligibility(net.weights(), x, noise, 7.0)))
    # The traces see a ramp of 3 ms in steps of dt: 0.1 ms is 3 %, half of it on average.
    assert (errors[1] < 0.03).all(), errors
    assert (np.abs(np.log2(errors[0] / errors[1]) - 1) < 0.1).all(), errors
    check_reward(net, x1, noise)


def check_reward(net: Brian2Network, x: np.ndarray, noise: np.ndarray) -> None:
    """The event's weight change by the formula of SCIENCE 2, and voltages that follow it at once."""
    p = {name: parameter.value for name, parameter in net.model.parameters.items()}
    before, traces = net.weights(), net.synaptic("E")
    homeostasis = np.vstack([net.synapses[-1].E_hom_[:].reshape(4, 3), net.bias_synapses[-1].E_hom_[:]]).T
    assert net.decide() == int(np.argmax(equilibrium(before, x, noise)[0][-1]))
    net.deliver(1.0)
    delta, credit = 1 - 1 / 3, 1 - np.exp(-0.5)  # a gate of 5 ms and tau_elig = 10 ms
    gain = p["eta"] / (1 + 1 / p["eta_half"]) / (p["beta"] * credit) * delta
    changes = [p["lr_hidden"] * gain * E for E in traces]
    changes[-1] = gain * traces[-1] + p["eta_hom"] / credit * delta * homeostasis
    for w, old, change in zip(net.weights(), before, changes, strict=True):
        np.testing.assert_allclose(w - old, change, rtol=1e-9, atol=1e-15)
    u, _ = equilibrium(net.weights(), x, noise)
    assert max(np.abs(g.u - v[0]).max() for g, v in zip(net.layers, u, strict=True)) < 1e-12
    assert np.abs(u[-1] - equilibrium(before, x, noise)[0][-1]).max() > 1e-3
    assert net.modulators["reward"].R_mean[0] == pytest.approx(1 / 3 + delta / p["n_R"], rel=1e-14)


def test_an_input_set_by_hand_reaches_the_first_layer_through_the_pulse_of_the_prospective_rate() -> None:
    net = network("rate_nla", (3, 2, 2), 0.05)
    net.settle()
    net.present([0.5, -1.0, 0.2])
    net.input.x = [1.0, 1.0, -0.5]
    net.run(0.1 * ms)
    u, _ = equilibrium(net.weights(), np.array([1.0, 1.0, -0.5]), np.zeros(2))
    assert np.abs(net.layers[0].u - u[0]).max() < 0.02
    # Behind it phi_prime of before the jump was used: the reason for `present`.
    assert np.abs(net.layers[1].u - u[1]).max() > 0.02


CHANGES = [
    ('phi = "tanh(u)"', 'phi = "0.9*tanh(u)"'),
    ("r = rbar + tau_m*(rbar - rbar_prev)/dt", "r = rbar + 0.5*tau_m*(rbar - rbar_prev)/dt"),
    ("r = rbar + phi_prime*(I - u + err)", "r = rbar + 0.5*phi_prime*(I - u + err)"),
    ("ebar = phi_prime*feedback", "ebar = 0.5*phi_prime*feedback"),
    ("du/dt = (I + noise - u + err)/tau_m", "du/dt = (I + 0.5*noise - u + err)/tau_m"),
    ('group.q = "softmax(u/(c*sigma))"', 'group.q = "softmax(u/(2*c*sigma))"'),
    ('drive_post = "w*rbar_pre"', 'drive_post = "0.9*w*rbar_pre"'),
    ("dE/dt = (-E + gate*(u_post - drive_post)*rbar_pre)", "dE/dt = (-E + gate*(u_post - drive_post)*r_pre)"),
    ("delta = R - R_mean", "delta = R - 2*R_mean"),
    ("w += eta_hom/credit*abs(delta)*E_hom", "w -= eta_hom/credit*abs(delta)*E_hom"),
]


def outcome(model: ModelSpec) -> list[np.ndarray]:
    net = network(model, (3, 2, 2), 0.5, credit=0.4)
    net.open_gate()
    net.present([0.5, -1.0, 0.2])
    net.run(1 * ms)
    net.explore([0.1, -0.2])
    net.run(1 * ms)
    net.deliver(1.0)
    return [*net.weights(), *net.synaptic("E"), *(np.asarray(group.u[:]) for group in net.layers)]


@pytest.mark.slow
def test_changed_strings_change_the_result() -> None:
    path = load_model("rate_nla").path
    text = path.read_text()
    reference = outcome(parse_model(text, path))
    for old, new in CHANGES:
        assert old in text
        changed = outcome(parse_model(text.replace(old, new, 1), path))
        difference = max(np.abs(a - b).max() for a, b in zip(reference, changed, strict=True))
        assert difference > 1e-9, (old, new)


def test_rates_that_are_not_prospective_follow_with_the_membrane() -> None:
    path = load_model("rate_nla").path
    old, new = "r = rbar + tau_m*(rbar - rbar_prev)/dt", "r = rbar + 0*tau_m*(rbar - rbar_prev)/dt"
    net = network(parse_model(path.read_text().replace(old, new, 1), path), (3, 2, 2), 0.1, credit=1.0)
    assert not net.at_once
    with pytest.raises(BackendError, match=r"\[neuron.input\] equations, r"):
        net.settle()
    net.present([0.5, -1.0, 0.2])
    assert (net.layers[0].u[:] == 0).all()
    net.run(10 * ms)
    drive = equilibrium(net.weights(), np.array([0.5, -1.0, 0.2]), np.zeros(2))[0][0][0]
    # Besides, an error of the order of beta.
    np.testing.assert_allclose(net.layers[0].u[:], drive * (1 - 0.99**100), atol=1e-3)


def test_reductions_over_the_action_layer() -> None:
    path = load_model("rate_nla").path
    text = path.read_text().replace(
        'group.p = "softmax(g*u)"',
        'group.p = "softmax(g*u)"\ngroup.top = "max(u)"\ngroup.middle = "mean(u)"\ngroup.total = "sum(u)"',
    )
    text = text.replace("ebar = beta*(p - q)", "ebar = beta*(p - q + 0.1*(top - middle)*total)")
    net = network(parse_model(text, path), (3, 2, 4), 0.5)
    net.settle()
    net.set_weights([0 * net.weights()[0], np.column_stack([np.zeros((4, 2)), [0.3, 20.0, 20.0, -1.0]])])
    action = net.layers[-1]
    u = np.asarray(action.u[:])
    for name, wanted in (("top", u.max()), ("middle", u.mean()), ("total", u.sum())):
        np.testing.assert_allclose(np.asarray(getattr(action, name)[:]), np.full(4, wanted), rtol=1e-13)
    # g*u spans a thousand: no overflow, and the two winners share.
    np.testing.assert_allclose(np.asarray(action.p[:]), softmax(50 * u), rtol=1e-9, atol=1e-200)


def test_a_pulse_moves_the_weights_and_the_voltages_with_them() -> None:
    found = []
    x, noise = np.array([0.5, -1.0, 0.2]), np.array([0.1, -0.3])
    for dt in (0.1, 0.05):
        net = network("rate_nla_pulse", (3, 3, 2), dt)
        net.settle()
        net.present(x)
        net.explore(noise)
        net.open_gate()
        net.run(5 * ms)
        net.open_gate(False)
        before, traces = net.weights(), net.synaptic("E")
        net.deliver(1.0)
        assert all(np.array_equal(a, b) for a, b in zip(net.weights(), before, strict=True))
        net.run(5 * ms)
        # dw/dt = gain D E, D and E decay: the integral of both over 5 ms.
        p = {name: parameter.value for name, parameter in net.model.parameters.items()}
        rate = 1 / p["tau_D"] + 1 / p["tau_elig"]
        gain = p["lr_hidden"] * p["eta"] / (p["beta"] * net.signals.credit[0]) * 0.5
        change = gain / p["tau_D"] * (1 - np.exp(-rate * 0.005)) / rate * traces[0]
        u, _ = equilibrium(net.weights(), x, noise)
        net.decide()
        found.append(
            [
                worst([net.weights()[0] - before[0]], [change])[0],
                max(np.abs(g.u - v[0]).max() for g, v in zip(net.layers, u, strict=True)),
                np.abs(u[-1] - equilibrium(before, x, noise)[0][-1]).max(),
            ]
        )
    assert found[1][0] < 0.02
    assert abs(np.log2(found[0][0] / found[1][0]) - 1) < 0.1, found
    assert found[1][1] < 0.01 * found[1][2], found  # u follows a weight that flows, without the lag of tau_m


@pytest.mark.parametrize(
    "name",
    [n if n == "rate_nla_poster" else pytest.param(n, marks=pytest.mark.slow) for n in proven_models()],
)
def test_every_shipped_model_runs(name: str) -> None:
    brian2.seed(3)
    net = to_brian2(name, (4, 3, 2), seed=1, clock=Clock(0.5 * ms))
    assert net.at_once
    before = net.weights()
    net.settle()
    net.present(np.full(4, 0.4))
    if net.model.takes_target:
        net.teach([1.0, -1.0])
    else:
        net.explore()
    net.open_gate()
    net.run(5 * ms)
    assert net.decide() in (0, 1)
    net.deliver(1.0)
    net.run(1 * ms)
    assert all(np.isfinite(group.u[:]).all() for group in net.layers)
    assert all((a != b).any() for a, b in zip(net.weights(), before, strict=True))


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    net = to_brian2("rate_nla", (3, 2, 2), seed=1, name="mistakes")
    with pytest.raises(ConfigError, match="unknown neuromodulator channel 'rewrd': did you mean 'reward'"):
        net.deliver(1.0, channel="rewrd")
    with pytest.raises(ConfigError, match=r"input has the shape \(2,\); allowed are 3 finite values"):
        net.present([1.0, 2.0])
    with pytest.raises(ConfigError, match=r"for sizes \(3, 2, 2\) they are \[\(2, 4\), \(2, 3\)\]"):
        net.set_weights([np.zeros((2, 3)), np.zeros((2, 2))])
    monkeypatch.setattr(brian2_jumps, "get_device", object)
    with pytest.raises(BackendError, match="runtime device"):
        net.present([1.0, 2.0, 3.0])
