"""Dendritic microcircuits: apical errors after self-prediction are those of backpropagation, by finite differences."""

from __future__ import annotations

from functools import cache
from typing import Any

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
SIZES, SEEDS = (3, 6, 5, 3), (4,)
X = np.array([[0.9, -0.5, 0.3]])
HIDDEN = len(SIZES) - 2
#: Nothing is learned from reward: what moves is self-prediction.
STILL = {"eta": "0", "eta_hom": "0"}


def named(weights: list[FloatArray], name: str, layer: int) -> int:
    """Where the weights of a [projection.NAME] of a hidden layer (from 0) are in the list."""
    names = list(load_model("rate_microcircuit").projections)
    return len(SIZES) - 1 + layer * len(names) + names.index(name)


def predicting(weights: list[FloatArray], *, cancelled: bool = True, mirrored: bool = True) -> list[FloatArray]:
    """Put interneurons into the state that self-prediction ends in."""
    weights = [w.copy() for w in weights]
    weights[HIDDEN] *= 10  # of the size that learning brings them to
    for layer in range(HIDDEN):
        forward, down = weights[layer + 1], named(weights, "down", layer)
        if mirrored:
            weights[down] = forward[:, :, :-1].transpose(0, 2, 1).copy()
        weights[named(weights, "across", layer)] = forward.copy()
        weights[named(weights, "lateral", layer)] = -weights[down] * cancelled
    return weights


def simulate(overrides: dict[str, str] | None = None, sizes: tuple[int, ...] = SIZES, **options: Any) -> Any:
    network = NetworkSpec(load_model("rate_microcircuit", STILL | (overrides or {})), sizes, SEEDS)
    return get_backend("brian2").build(network, **options)


Trial = tuple[list[FloatArray], list[FloatArray], list[FloatArray], FloatArray, list[FloatArray]]


@cache
def trials() -> dict[bool, Trial]:
    """With feedback cancelled or not: weights, last voltages, last errors, hidden errors in time, weights after."""
    found = {}
    with simulate(target="numpy", road="plain") as simulation:
        start, initial = simulation.state(), simulation.weights()
        for cancelled in (True, False):
            simulation.restore(start)
            weights = predicting(initial, cancelled=cancelled)
            simulation.engine.write({"w": np.concatenate([w.reshape(1, -1) for w in weights], axis=1)})
            _, seen = simulation.decide_recorded(X, events())
            last = layers(seen.u[0, -1], SIZES), layers(seen.ebar[0, -1], SIZES)
            found[cancelled] = (weights, *last, seen.ebar[0, :, : -SIZES[-1]], simulation.weights())
    return found


def trial(cancelled: bool) -> Trial:
    return trials()[cancelled]


def gradient(weights: list[FloatArray], u: FloatArray, layer: int, error: FloatArray) -> FloatArray:
    """What the action layer's error makes of a hidden layer's voltages: by central differences of the forward pass."""

    def outcome(v: FloatArray) -> float:
        for w in weights[layer + 1 : HIDDEN + 1]:
            v = w[0, :, :-1] @ np.tanh(v) + w[0, :, -1]
        return float(error @ v)

    steps = 1e-5 * np.eye(len(u))
    return np.array([(outcome(u + s) - outcome(u - s)) / 2e-5 for s in steps])


def cosine(a: FloatArray, b: FloatArray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def cosines(cancelled: bool) -> list[float]:
    weights, u, ebar, _, _ = trial(cancelled)
    return [cosine(ebar[k], gradient(weights, u[k], k, ebar[-1])) for k in range(HIDDEN)]


def test_apical_errors_are_those_of_backpropagation_once_feedback_is_cancelled() -> None:
    assert min(cosines(cancelled=True)) > 0.95


def test_they_are_not_while_feedback_is_there_uncancelled() -> None:
    assert cosines(cancelled=False)[0] < 0.9


def test_the_apical_dendrite_is_silent_until_the_action_layer_decides() -> None:
    hidden, loud = np.abs(trial(True)[3]), np.abs(trial(False)[3])
    assert hidden[20:27].mean() < 0.3 * hidden[-1].mean()  # the gate opens at step 27; exploration is left
    assert hidden[20:27].mean() < 0.3 * loud[20:27].mean()


def test_lateral_synapses_learn_to_cancel_and_nothing_else_moves_without_reward() -> None:
    weights, _, _, _, after = trial(False)
    for layer in range(HIDDEN):
        lateral, down, teaching = (named(weights, name, layer) for name in ("lateral", "down", "teaching"))
        assert np.linalg.norm(after[lateral] + after[down]) < 0.99 * np.linalg.norm(weights[lateral] + weights[down])
        for fixed in (down, teaching, layer, layer + 1):
            np.testing.assert_array_equal(after[fixed], weights[fixed])
        np.testing.assert_array_equal(weights[teaching][0], np.eye(SIZES[layer + 2]))


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [True, False])
def test_self_prediction_is_learned(mirrored: bool) -> None:
    """With random top-down weights the reference is feedback alignment's: the same chain with these weights."""
    rng, found = np.random.default_rng(0), np.zeros((HIDDEN, 3))
    with simulate() as simulation:
        weights = predicting(simulation.weights(), mirrored=mirrored)
        for layer in range(HIDDEN):
            weights[named(weights, "down", layer)] *= 0.2 if mirrored else 1.0  # uncancelled, it would amplify itself
            weights[named(weights, "across", layer)] *= 0
            weights[named(weights, "lateral", layer)] *= 0
        simulation.set_weights(weights)
        for _ in range(5000):
            simulation.decide(rng.uniform(-1, 1, (1, SIZES[0])), events())
        for _ in range(100):
            _, seen = simulation.decide_recorded(rng.uniform(-1, 1, (1, SIZES[0])), events())
            u, ebar = layers(seen.u[0, -1], SIZES), layers(seen.ebar[0, -1], SIZES)
            reference = ebar[-1]
            for layer in reversed(range(HIDDEN)):
                down = weights[named(weights, "down", layer)][0]
                reference = (1 - np.tanh(u[layer]) ** 2) * (down @ reference)
                found[layer] += ebar[layer] @ reference, ebar[layer] @ ebar[layer], reference @ reference
    together = found[:, 0] / np.sqrt(found[:, 1] * found[:, 2])  # of all trials, so that large errors count as such
    # a fifth of a fifth reaches the first layer of transposes: too little to be told from exploration in so few trials
    assert together[HIDDEN - 1 if mirrored else 0 :].min() > 0.95


def test_the_equilibrium_refuses_it_by_name() -> None:
    with pytest.raises(BackendError, match=r"cannot run rate_microcircuit\.toml: \[projection\.down\]"):
        derive_form(load_model("rate_microcircuit"))
