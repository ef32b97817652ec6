"""Errors against derivatives: of the nudging energy by finite differences, and of a cost by backpropagation."""

from __future__ import annotations

import numpy as np
import pytest

from rnla_neuro.spec.model import ModelSpec
from tests.conformance.nets import HELD_NOISE, build, events, layers, random_weights, variant

NETS = [(4, 6, 3), (4, 6, 5, 3), (4, 6, 5, 4, 3), (3, 5, 5, 4, 4, 3)]
CORES = pytest.mark.parametrize("core", ["numpy", "native"])
BOTH = pytest.mark.backend("equilibrium:native", "equilibrium:numpy")

#: The action layer is pulled towards a target, k times the held noise: a quadratic cost with known derivatives.
SUPERVISED = {
    "group.p = ": "",
    "group.q = ": "",
    "rbar = p :": "rbar = u : 1",
    "ebar = beta*(p - q)": "ebar = beta*(k_target*noise_bar - drive) : 1",
    "g = ": "",
    "c = ": 'k_target = "4"',
    "law = ": 'law = "gaussian"',
}
TIMES = {"tau_m": "10*ms", "tau_elig": "10*ms", "gate": "5*ms", "ramp": "0*ms", "T": "30*ms", "dt": "1*ms"}


def softplus(u: np.ndarray) -> np.ndarray:
    return 0.3 * np.logaddexp(0, u / 0.3)


PHI = {"tanh": np.tanh, "softplus": softplus}


def self_nudged(kind: str) -> ModelSpec:
    if kind == "tanh":
        return variant("rate_nla", None, {**TIMES, "beta": "0.02", "g": "10", "c": "4", "sigma": "0.25"})
    return variant("rate_nla_poster", HELD_NOISE, {"beta": "0.05", "u_soft": "0.3"})


@BOTH
@CORES
@pytest.mark.parametrize("sizes", NETS, ids=str)
@pytest.mark.parametrize("kind", ["tanh", "softplus"])
def test_hidden_errors_are_gradients_of_the_nudging_energy(kind: str, sizes: tuple[int, ...], core: str) -> None:
    """ebar_l = d/du_l of ebar_N · W_N rbar_{N-1}, with what nudges the layers between held fixed.

    Central differences with h = 1e-4: their own error is h² times a third derivative of order 1, 1e-8.
    """
    weights = random_weights(np.random.default_rng(len(sizes)), sizes)
    with build(self_nudged(kind), sizes, core=core, weights=weights, rtol=1e-13) as simulation:
        x = np.random.default_rng(2).standard_normal((1, sizes[0]))
        _, seen = simulation.decide_recorded(x, events())
    w, phi, h = [m[0] for m in weights], PHI[kind], 1e-4
    u, ebar, drive = (layers(values[0, -1], sizes) for values in (seen.u, seen.ebar, seen.drive))

    def energy(layer: int, moved: np.ndarray) -> float:
        """Return ebar_N · drive_N when layer `layer` has the voltages `moved`."""
        for l in range(layer + 1, len(w)):
            reached = w[l][:, :-1] @ phi(moved) + w[l][:, -1]
            moved = reached + (u[l] - drive[l])
        return float(ebar[-1] @ reached)

    for l in range(len(w) - 1):
        units = np.eye(len(u[l])) * h
        numeric = [(energy(l, u[l] + d) - energy(l, u[l] - d)) / (2 * h) for d in units]
        np.testing.assert_allclose(ebar[l], numeric, atol=1e-6 * np.abs(ebar[l]).max(), rtol=0)
        assert np.abs(ebar[l]).max() > 1e-6


@BOTH
@CORES
@pytest.mark.parametrize("sizes", NETS[:3], ids=str)
def test_the_action_error_is_the_slope_of_its_own_energy(sizes: tuple[int, ...], core: str) -> None:
    """ebar_N = beta d/du of [log sum exp(g u)/g - c sigma log sum exp(u/(c sigma))]."""
    with build(self_nudged("tanh"), sizes, core=core, rtol=1e-13) as simulation:
        _, seen = simulation.decide_recorded(np.full((1, sizes[0]), 0.5), events())
    u, ebar = (layers(values[0, -1], sizes)[-1] for values in (seen.u, seen.ebar))

    def energy(v: np.ndarray) -> float:
        return 0.02 * float(np.logaddexp.reduce(10 * v) / 10 - np.logaddexp.reduce(v))

    numeric = [(energy(u + d) - energy(u - d)) / 2e-4 for d in np.eye(len(u)) * 1e-4]
    np.testing.assert_allclose(ebar, numeric, atol=1e-8)


def by_backpropagation(w: list[np.ndarray], x: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """Return -dC/dW of C = |drive_N - target|²/2 in the network without nudging."""
    rates, slopes = [np.append(x, 1.0)], []
    for m in w[:-1]:
        r = np.tanh(m @ rates[-1])
        rates.append(np.append(r, 1.0))
        slopes.append(1 - r**2)
    error = target - w[-1] @ rates[-1]
    out = [np.outer(error, rates[-1])]
    for l in reversed(range(len(w) - 1)):
        error = slopes[l] * (w[l + 1][:, :-1].T @ error)
        out.insert(0, np.outer(error, rates[l]))
    return out


@BOTH
@CORES
@pytest.mark.parametrize("sizes", NETS, ids=str)
def test_weakly_nudged_weight_changes_are_backpropagation(sizes: tuple[int, ...], core: str) -> None:
    """E/beta -> -dC/dW as beta -> 0, at first order in beta (measured over two halvings), in every layer."""
    weights = random_weights(np.random.default_rng(7 + len(sizes)), sizes)
    w, x = [m[0] for m in weights], np.random.default_rng(3).standard_normal(sizes[0])
    differences = []
    for beta in (0.02, 0.01, 0.005):
        model = variant("rate_nla", SUPERVISED, {**TIMES, "beta": str(beta), "sigma": "0.25"})
        with build(model, sizes, core=core, weights=weights, rtol=1e-13) as simulation:
            _, seen = simulation.decide_recorded(x[None], events())
            traces = [z[0, 0] for z in simulation.traces()]
        held = 1 - np.exp(-0.5)  # the trace of a source of 1 during a gate of tau_elig / 2
        gradient = by_backpropagation(w, x, 4 * seen.noise[0, -1])
        got = [z / (beta * held) for z in traces]
        differences.append([np.abs(a - b).max() / np.abs(b).max() for a, b in zip(got, gradient, strict=True)])
    orders = np.log2(np.array(differences)[:-1] / np.array(differences)[1:])
    assert (np.abs(orders[-1] - 1) < 0.1).all(), f"{orders} {differences}"
    assert max(differences[-1]) < 0.1


@BOTH
@CORES
@pytest.mark.parametrize("sizes", NETS, ids=str)
def test_self_nudging_is_backpropagation_of_its_energy(sizes: tuple[int, ...], core: str) -> None:
    """The same for the default model: E/beta is the gradient of its energy in the weights, by differences."""
    weights = random_weights(np.random.default_rng(11), sizes)
    x, differences = np.random.default_rng(4).standard_normal(sizes[0]), []
    for beta in (0.004, 0.002, 0.001):
        model = variant("rate_nla", None, {**TIMES, "beta": str(beta), "g": "5", "c": "4", "sigma": "0.25"})
        with build(model, sizes, core=core, weights=weights, rtol=1e-13) as simulation:
            _, seen = simulation.decide_recorded(x[None], events())
            traces = [z[0, 0] for z in simulation.traces()]
        noise = seen.noise[0, -1]

        def energy(w: list[np.ndarray], noise: np.ndarray = noise) -> float:
            r = np.append(x, 1.0)
            for m in w[:-1]:
                r = np.append(np.tanh(m @ r), 1.0)
            v = w[-1] @ r + noise
            return float(np.logaddexp.reduce(5 * v) / 5 - np.logaddexp.reduce(v))

        row = []
        for l, z in enumerate(traces):
            numeric = np.zeros_like(z)
            for index in np.ndindex(z.shape):
                ends = []
                for h in (1e-4, -1e-4):
                    w = [m[0].copy() for m in weights]
                    w[l][index] += h
                    ends.append(energy(w))
                numeric[index] = (ends[0] - ends[1]) / 2e-4
            row.append(np.abs(z / (beta * (1 - np.exp(-0.5))) - numeric).max() / np.abs(numeric).max())
        differences.append(row)
    orders = np.log2(np.array(differences)[:-1] / np.array(differences)[1:])
    assert (np.abs(orders[-1] - 1) < 0.1).all(), f"{orders} {differences}"


def test_a_wrong_sign_would_be_seen() -> None:
    """The gradients compared above are far from zero, so the comparison can fail."""
    w = [m[0] for m in random_weights(np.random.default_rng(9), NETS[0])]
    gradient = by_backpropagation(w, np.ones(4), np.array([1.0, -1.0, 0.5]))
    h, index = 1e-6, (1, 2)

    def cost(m: list[np.ndarray]) -> float:
        r = np.append(np.tanh(m[0] @ np.ones(5)), 1.0)
        return float(((m[1] @ r - np.array([1.0, -1.0, 0.5])) ** 2).sum() / 2)

    up, down = [m.copy() for m in w], [m.copy() for m in w]
    up[0][index] += h
    down[0][index] -= h
    assert gradient[0][index] == pytest.approx(-(cost(up) - cost(down)) / (2 * h), rel=1e-6)
    assert min(np.abs(g).max() for g in gradient) > 0.1
