"""When there is one equilibrium: the bound at the start, the watch while weights grow, sweeps that do not settle."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnla_neuro.errors import ConvergenceError, ModelError
from rnla_neuro.network import gain_bound, nudging_slope, steepest_rate
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.numeric import ActionLayer, rate_and_slope
from rnla_neuro_backends import equilibrium as backend
from tests.conformance.nets import HELD_NOISE, build, events, random_weights, variant

CORES = pytest.mark.parametrize("core", ["numpy", "native"])
BOTH = pytest.mark.backend("equilibrium:native", "equilibrium:numpy")
MODELS = Path(__file__).parents[2] / "models"
FORMS = {name: derive_form(load_model(name)) for name in ("rate_nla", "rate_nla_policy", "rate_nla_poster")}


# ---- at the start -------------------------------------------------------------------------------------


@BOTH
@CORES
def test_too_strong_a_nudging_is_refused_at_the_start(core: str) -> None:
    with pytest.raises(ConvergenceError) as caught:
        build(variant("rate_nla", None, {"beta": "0.3", "g": "50"}), (5, 7, 3), core=core)
    message = str(caught.value)
    for part in ("rate_nla", "action layer", "allowed is below 1", "Way out: a smaller beta", "beta = 0.3 now"):
        assert part in message
    assert float(re.search(r"= ([\d.]+), allowed", message)[1]) >= 1  # type: ignore[index]
    advice = float(re.search(r"below ([\d.e-]+) there is room", message)[1])  # type: ignore[index]
    build(variant("rate_nla", None, {"beta": str(advice), "g": "50"}), (5, 7, 3), core=core).close()


@BOTH
@CORES
@pytest.mark.parametrize(("layer", "name"), [(1, "hidden layer 2"), (2, "hidden layer 3"), (3, "the action layer")])
def test_the_layer_with_the_largest_weights_is_named(layer: int, name: str, core: str) -> None:
    sizes = (4, 5, 5, 5, 3)
    with build(load_model("rate_nla"), sizes, core=core) as simulation:
        weights = random_weights(np.random.default_rng(0), sizes)
        weights[layer] *= 50
        with pytest.raises(ConvergenceError, match=f"largest weights: {name}"):
            simulation.set_weights(weights)


def test_inputs_do_not_count() -> None:
    """The first projection passes no error on: its size is free."""
    with build(load_model("rate_nla"), (4, 5, 3), core="numpy") as simulation:
        weights = simulation.weights()
        weights[0] *= 1e4
        simulation.set_weights(weights)


def test_the_slope_of_the_nudging() -> None:
    """beta g/2 for a softmax (two that tie); beta s n/(n-1) for the poster's matrix on steep rates."""
    sharp = dataclasses.replace(
        FORMS["rate_nla"], parameters={**FORMS["rate_nla"].parameters, "beta": 0.01, "g": 40.0, "c": 1e9}
    )
    assert nudging_slope(sharp, 6) == pytest.approx(0.01 * 40 / 2, rel=1e-6)
    poster = FORMS["rate_nla_poster"]
    p = poster.parameters
    assert nudging_slope(poster, 5) == pytest.approx(p["beta"] * p["s"] * 5 / 4, rel=1e-6)
    assert steepest_rate(FORMS["rate_nla"]) == pytest.approx(1.0)
    assert steepest_rate(poster) == pytest.approx(1.0, abs=1e-6)


def test_the_bound_takes_the_worst_agent() -> None:
    rng = np.random.default_rng(1)
    weights = random_weights(rng, (4, 5, 3), agents=3)
    weights[1][2] *= 3
    bound = gain_bound(weights, 0.1, 1.0)
    assert bound.agent == 2
    norm = np.linalg.norm(weights[1][2][:, :-1], ord=2)
    assert bound.value == pytest.approx(0.1 * (1 + norm**2))
    deep = random_weights(rng, (4, 5, 6, 3))
    norms = [np.linalg.norm(w[0][:, :-1], ord=2) for w in deep[1:]]
    expected = 0.1 * (1 + (0.5 * norms[1]) ** 2 * (1 + (0.5 * norms[0]) ** 2))
    assert gain_bound(deep, 0.1, 0.5).value == pytest.approx(expected)


# ---- while weights grow -------------------------------------------------------------------------------


@BOTH
@CORES
def test_weights_that_grow_are_watched(core: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "WATCH_EVERY", 2)
    model = variant("rate_nla", None, {"beta": "0.01", "eta_hom": "0"})
    with build(model, (5, 7, 3), core=core) as simulation:
        simulation.decide(np.ones((1, 5)), events())
        simulation._core.state.weights[1][...] *= 100  # as learning might
        with pytest.warns(backend.StrongNudgingWarning, match="a smaller beta") as caught:
            simulation.decide(np.zeros((1, 5)), events())
        assert "after 2 trials the weights of agent 0" in str(caught[0].message)
        with warnings.catch_warnings():  # said once
            warnings.simplefilter("error")
            simulation.decide(np.zeros((1, 5)), events())
            simulation.decide(np.zeros((1, 5)), events())


@BOTH
@CORES
def test_sweeps_that_do_not_settle_are_an_error(core: str) -> None:
    """The poster's action rates grow without limit where the gain is above 1: slowly here, so it stays finite."""
    with build(variant("rate_nla_poster", HELD_NOISE, {"beta": "0.1"}), (5, 7, 3), core=core) as simulation:
        weights = simulation._core.state.weights
        weights[1][...] = 0.0
        weights[1][0, 0, :] = 3.1
        with pytest.raises(ConvergenceError) as caught:
            simulation.decide(np.ones((1, 5)), events())
    message = str(caught.value)
    assert message.startswith("no equilibrium after 200 sweeps: the errors of ")
    assert re.search(r"layer.* \(agent 0, t = ", message)
    assert float(re.search(r"factor of ([\d.]+) a sweep", message)[1]) >= 1  # type: ignore[index]
    assert "a smaller beta" in message


@BOTH
def test_both_cores_say_the_same() -> None:
    said = []
    for core in ("numpy", "native"):
        model = variant("rate_nla", None, {"gate": "5*ms", "ramp": "0*ms"})
        with build(model, (5, 7, 6, 3), core=core, max_sweeps=2) as simulation:
            with pytest.raises(ConvergenceError) as caught:
                simulation.decide(np.ones((1, 5)), events())
            said.append(re.sub(r"t = \S+ s", "", str(caught.value)))
    assert said[0] == said[1]


@BOTH
@CORES
def test_a_single_sweep_is_no_division_by_zero(core: str) -> None:
    with (
        build(load_model("rate_nla"), (5, 7, 3), core=core, max_sweeps=1) as simulation,
        pytest.raises(ConvergenceError, match="no equilibrium after 1 sweeps"),
    ):
        simulation.decide(np.ones((1, 5)), events())


@BOTH
@CORES
def test_divergence_is_called_by_its_name(core: str) -> None:
    with build(load_model("rate_nla"), (5, 7, 3), core=core) as simulation:
        simulation._core.state.weights[0][0, 0, 0] = np.nan
        with pytest.raises(ConvergenceError, match="no longer finite"):
            simulation.decide(np.ones((1, 5)), events())


# ---- the bound is one ---------------------------------------------------------------------------------


def contraction(form: EquilibriumForm, w: list[np.ndarray], x: np.ndarray, noise: np.ndarray) -> float:
    """Return by how much errors change less from one sweep to the next, late in the series; 0 if at once."""
    rate_of = rate_and_slope(form)
    layer = ActionLayer(form)
    errors, changes = [np.zeros(len(m)) for m in w], []
    for _ in range(500):
        rate, u, drive = x, [], x
        for l, m in enumerate(w):
            drive = m[:, :-1] @ rate + m[:, -1]
            u.append(drive + errors[l] + (noise if l == len(w) - 1 else 0))
            rate = rate_of(u[-1])[0]
        fresh = [layer.nudging(u[-1], drive, noise)]
        for l in reversed(range(len(w) - 1)):
            fresh.insert(0, rate_of(u[l])[1] * (w[l + 1][:, :-1].T @ fresh[0]))
        changes.append(np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(fresh, errors, strict=True))))
        errors = [np.array(e) for e in fresh]
        if changes[-1] <= 1e-11 * np.abs(errors[-1]).max():
            break
    late = np.array(changes[len(changes) // 2 :])
    return float((late[-1] / late[0]) ** (1 / (len(late) - 1))) if len(late) > 2 and late[0] > 0 else 0.0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(FORMS)),
    sizes=st.lists(st.integers(2, 7), min_size=3, max_size=5),
    scale=st.floats(0.3, 2.0),
    target=st.floats(0.1, 0.95),
    seed=st.integers(0, 10_000),
)
def test_sweeps_contract_faster_than_the_bound(
    name: str, sizes: list[int], scale: float, target: float, seed: int
) -> None:
    """b (1 + sum ‖W phi'‖²) bounds the measured rate.

    It leaves out how phi' itself changes, a term of the size phi'' W^T ebar: bounded by the nudging for the
    winner-take-alls, and small for the poster's form as long as voltages are of order one, as here. (With
    action voltages of 6 and more, rates up to 1.5 times the bound were found; sweeps are watched anyway.)
    """
    rng = np.random.default_rng(seed)
    w = [m[0] for m in random_weights(rng, sizes, scale=scale)]
    form = FORMS[name]
    bound = gain_bound([m[None] for m in w], nudging_slope(form, sizes[-1]), steepest_rate(form)).value
    beta = form.parameters["beta"] * target / bound
    form = dataclasses.replace(form, parameters={**form.parameters, "beta": beta})
    x, noise = rng.standard_normal(sizes[0]), 0.3 * rng.standard_normal(sizes[-1])
    assert contraction(form, w, x, noise) <= 1.02 * target


@BOTH
@CORES
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_poster"])
def test_the_bound_predicts_how_many_sweeps_are_needed(name: str, core: str) -> None:
    """rtol = bound^sweeps, and two: the first is no change, the last finds nothing left to do."""
    for seed in range(5):
        with build(load_model(name), (5, 7, 6, 3), (seed,), core=core) as simulation:
            for _ in range(3):
                simulation.decide(np.random.default_rng(seed).standard_normal((1, 5)), events())
                needed = np.log(1e-9) / np.log(simulation.bound.value)
                assert 2 <= simulation.diagnostics()["sweeps"][0] <= needed + 3


@pytest.mark.parametrize("phi", ["sqrt(u)", "log(u)", "sqrt(abs(u))", "exp(u**2)"])
def test_a_rate_that_is_not_finite_everywhere_is_named(phi: str) -> None:
    """Without a word from numpy: warnings are errors here."""
    text = (MODELS / "rate_nla.toml").read_text(encoding="utf-8").replace("tanh(u)", phi)
    model = parse_model(text, MODELS / "rate_nla.toml")
    with pytest.raises(ModelError, match=r"\[neuron\.hidden\] phi = .*not finite at some voltages") as caught:
        build(model, (4, 5, 3), core="numpy")
    assert repr(phi) in str(caught.value)


def test_a_nudging_that_is_not_finite_everywhere_is_named() -> None:
    text = (MODELS / "rate_nla.toml").read_text(encoding="utf-8")
    changed = text.replace("ebar = beta*(p - q)", "ebar = beta*(p - q)*sqrt(u)")
    assert changed != text
    model = parse_model(changed, MODELS / "rate_nla.toml")
    with pytest.raises(ModelError, match=r"\[neuron\.action\] equations: 'ebar' or its derivative is not finite"):
        build(model, (4, 5, 3), core="numpy")


@BOTH
@CORES
@pytest.mark.parametrize("height", [4.0, 64.0])
def test_rounding_of_large_voltages_is_no_lack_of_an_equilibrium(core: str, height: float) -> None:
    # near a tie the gain of 50 makes of one rounding of u in float32 more than the sweeps are asked to settle to
    sim = build(variant("rate_nla", None, {"sigma": "0.01"}), (2, 3, 4), core=core, precision="float32")
    weights = sim.weights()
    weights[1][:, :, :-1] = 0.0
    weights[1][:, :, -1] = height
    sim.set_weights(weights)
    for _ in range(150):
        sim.decide(np.ones((sim.n_agents, 2)), events())
    assert sim.diagnostics()["sweeps"].max() < 200
