"""The backend `brian2` through its doors: both roads, models that are not proven, and a loop in a plain script."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from brian2 import Clock, second

from rnla_neuro import to_brian2
from rnla_neuro.backend import get_backend
from rnla_neuro.bridge import EnvironmentBridge
from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.rewards import RewardDelay
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends import brian2 as backend
from rnla_neuro_backends.explicit.numpy_kernel import NumpyEngine
from rnla_neuro_backends.explicit.plain import PlainEngine
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from tests.conformance.nets import events, relative, variant

pytestmark = pytest.mark.usefixtures("numpy_target")

SIZES = (3, 4, 2)
#: Hidden neurons that are half prospective: of no proven form. Nothing knows their credit.
HALF = {"r = rbar + phi_prime": "r = rbar + 0.5*phi_prime*(I - u + err) : 1"}


def not_proven(text: dict[str, str] | None = None) -> ModelSpec:
    model = variant("rate_nla", {"r = rbar + phi_prime": HALF["r = rbar + phi_prime"], **(text or {})})
    free = model.text.replace("/(beta*credit)", "/beta").replace("eta_hom/credit", "eta_hom")
    return parse_model(free, model.path, {"T": "8*ms", "gate": "3*ms"})


@cache
def prepared(name: str) -> ExplicitSimulation:
    """Simulations on stock Brian2 take seconds to prepare; each starts from the state that it is given."""
    if name == "not proven":
        return get_backend("brian2").build(NetworkSpec(not_proven(), SIZES, (1, 2)), target="numpy", road="plain")
    return get_backend("brian2").build(network(name), target="numpy", road="plain")


def network(name: str) -> NetworkSpec:
    overrides = {"rate_nla_pulse": {"T": "8*ms", "gate": "3*ms"}, "rate_nla_ou_late": {"T": "16*ms", "ramp": "6*ms"}}
    return NetworkSpec(variant(name, None, overrides[name]), SIZES, (1, 2))


START: dict[str, dict[str, np.ndarray]] = {}  # filled by `fresh`


def fresh(name: str) -> ExplicitSimulation:
    simulation = prepared(name)
    if name not in START:
        START[name] = simulation.state()
    simulation.restore(START[name])
    return simulation


def outcome(simulation: ExplicitSimulation, trials: int = 4) -> dict[str, list[np.ndarray]]:
    """Trials with rewards at all times, a break in between; everything that can be seen."""
    rng = np.random.default_rng(3)
    first = simulation.weights()
    seen: dict[str, list[np.ndarray]] = {"u": [], "ebar": [], "noise": [], "rate": [], "time": []}
    for k in range(trials):
        before = simulation.next_decision - simulation.trial_duration
        rewards = events((0, before, 1.0), (0, before + 0.003, 0.4), (1, before + 0.0052, -0.5)) if k % 2 else events()
        _, recording = simulation.decide_recorded(rng.standard_normal((2, SIZES[0])), rewards)
        for name, values in seen.items():
            values.append(getattr(recording, name))
        if k == 1:
            late = simulation.next_decision - simulation.trial_duration + 0.0033
            simulation.finish(events((0, late, 0.7), (1, late - 0.002, -1.0)))
    change = [a - b for a, b in zip(simulation.weights(), first, strict=True)]
    return seen | {"E": simulation.traces(), "dw": change, "m": list(simulation.diagnostics().values())[1:]}


@pytest.mark.backend("brian2:numpy")
@pytest.mark.parametrize("name", ["rate_nla_pulse", "rate_nla_ou_late"])
def test_both_roads_lead_to_the_same(name: str) -> None:
    plain = fresh(name)
    assert isinstance(plain.engine, PlainEngine)
    fused = get_backend("brian2").build(plain.network, target="numpy")
    assert isinstance(fused.engine, NumpyEngine)
    one, other = outcome(plain), outcome(fused)
    for what, values in one.items():
        assert relative(other[what], values) < 1e-10, what
    assert max(np.abs(w).max() for w in one["dw"]) > 1e-3
    assert plain.delivered == fused.delivered == 8
    assert plain.decisions == fused.decisions == 4
    assert plain.next_decision == fused.next_decision


@pytest.mark.parametrize("name", ["rate_nla_pulse", "not proven"])
def test_a_state_on_stock_brian2_goes_on_to_the_bit(name: str) -> None:
    simulation = fresh(name)
    outcome(simulation, trials=2)
    simulation.decide(np.ones((2, SIZES[0])), events((1, simulation.next_decision - 0.0021, 1.0)))  # a pulse lasts
    state = simulation.state()
    ends = []
    for _ in range(2):
        ends.append(outcome(simulation, trials=2))
        simulation.restore(state)
    for what, values in ends[0].items():
        assert all(np.array_equal(a, b) for a, b in zip(values, ends[1][what], strict=True)), what


# ---- models that are not proven ------------------------------------------------------------------------


def test_a_model_that_is_not_proven_runs_and_says_why() -> None:
    with pytest.warns(backend.PlainRoadWarning, match=r"\[neuron.hidden\] equations, r: term 'I/2'"):
        simulation = get_backend("brian2").build(NetworkSpec(not_proven(), SIZES, (1,)), target="numpy")
    assert isinstance(simulation.engine, PlainEngine)
    assert not simulation.engine.net.at_once
    with pytest.raises(BackendError, match=r"\[neuron.hidden\] equations, r: term 'I/2'"):
        get_backend("brian2").build(simulation.network, road="fused", target="numpy")  # only Cython has another kernel


def test_a_model_that_is_not_proven_learns_by_its_own_equations() -> None:
    simulation = fresh("not proven")
    seen = outcome(simulation)
    assert simulation.delivered == 8
    assert max(np.abs(w).max() for w in seen["dw"]) > 1e-6
    x = np.random.default_rng(3).standard_normal((2, SIZES[0]))[0]
    weights = START["not proven"]["engine.w"][0]
    expected = by_hand([weights[:16].reshape(4, 4), weights[16:].reshape(2, 5)], x)
    # apart from errors of the order of beta; the action layer has its noise besides
    np.testing.assert_allclose(seen["u"][0][0, :, :4], expected[0], atol=2e-3)


def by_hand(weights: list[np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The half prospective network from rest in 8 Euler steps of 0.1 tau, without errors: hidden u, last drive."""
    (w1, b1), (w2, b2) = ((w[:, :-1], w[:, -1]) for w in weights)
    u, seen = np.zeros(len(w1)), []
    for k in range(8):
        seen.append(u)
        current = w1 @ x * (11 if k == 0 else 1) + b1  # r = rbar + tau (rbar - rbar_prev)/dt: a pulse, once
        u = u + 0.1 * (current - u)
    return np.array(seen), w2 @ np.tanh(u) + b2


def test_predictions_of_a_model_that_is_not_proven_come_from_a_silent_copy() -> None:
    simulation = fresh("not proven")
    outcome(simulation, trials=2)
    before, observation = simulation.state(), np.random.default_rng(0).normal(size=(3, SIZES[0]))
    actions, policy = simulation.predict(observation), simulation.policy(observation)
    for name, values in simulation.state().items():
        assert np.array_equal(values, before[name]), name
    assert actions.shape == (2, 3)
    np.testing.assert_allclose(policy.sum(axis=2), 1.0)
    scale = simulation.network.model.parameters["sigma"].value
    for agent, weights in enumerate(zip(*simulation.weights(), strict=True)):
        drive = np.array([by_hand(list(weights), x)[1] for x in observation])
        expected = np.exp(drive / scale) / np.exp(drive / scale).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(policy[agent], expected, atol=3e-3)
    assert len(np.unique(actions)) == 2


def test_credit_of_a_model_that_is_not_proven_is_read_from_its_strings() -> None:
    for delay in (RewardDelay(), RewardDelay.parse("iterations:1")):
        credits = [
            NetworkSpec(variant("rate_nla_late", change), SIZES, (1,), delay=delay).credit for change in ({}, HALF)
        ]
        assert credits[0] == pytest.approx(credits[1], rel=1e-12)


def test_credit_is_refused_where_a_trace_does_not_decay_at_a_constant_rate() -> None:
    line = "dE1/dt = (-E1 + gate*(u_post - drive_post - noise_bar_post)*rbar_pre)/tau_elig : 1"
    bent = {line: line.replace("-E1", "-E1*abs(u_post)")}
    with pytest.raises(BackendError, match=r"dE1/dt: 'credit' needs traces that are linear, with constant coeff"):
        get_backend("brian2").build(NetworkSpec(variant("rate_nla_late", HALF | bent), SIZES, (1,)), road="plain")


def test_errors_that_read_noise_which_moves_within_a_step_are_not_for_the_kernels() -> None:
    process = {"law = ": 'law = "ornstein-uhlenbeck"\ntau = "0.8*tau_m"', "hold = ": 'hold = "step"'}
    net = NetworkSpec(variant("rate_nla_perturbation", process), SIZES, (1,))
    with pytest.raises(BackendError, match=r"\[neuron.action\] equations, ebar uses 'noise_bar', which is a process"):
        get_backend("brian2").build(net, road="fused")
    simulation = get_backend("brian2").build(net, target="numpy", road="plain")  # of proven form all the same
    simulation.decide(np.ones((1, SIZES[0])), events())
    assert simulation.policy(np.ones((1, SIZES[0]))).shape == (1, 1, 2)


# ---- options -------------------------------------------------------------------------------------------


def test_options_are_checked() -> None:
    net = network("rate_nla_pulse")
    with pytest.raises(ConfigError, match="unknown target 'nunpy': did you mean 'numpy'"):
        get_backend("brian2").build(net, target="nunpy")
    with pytest.raises(ConfigError, match="unknown road 'plane': did you mean 'plain'"):
        get_backend("brian2").build(net, road="plane")
    with pytest.raises(BackendError, match="unknown option of backend 'brian2' 'cores'"):
        get_backend("brian2").build(net, cores=2)


def test_without_a_compiler_numpy_runs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "find_compiler", lambda: None)
    with pytest.warns(backend.NoCythonWarning, match=r"no C\+\+ compiler found"):
        simulation = get_backend("brian2").build(network("rate_nla_pulse"))
    assert isinstance(simulation.engine, NumpyEngine)


# ---- a loop in a plain script --------------------------------------------------------------------------


@pytest.mark.parametrize("delay", ["none", "gamma:2,5ms"])
def test_a_plain_run_with_a_loop_does_what_every_engine_does(delay: str) -> None:
    """The default model, T = 6 ms: 20 trials of XOR by one ``run``, and by the numpy engine."""
    model = variant("rate_nla", None, {"T": "6*ms", "tau_elig": "5*ms", "gate": "3*ms", "eta": "0.2"})
    trial, seed = model.trial, 5
    spec = NetworkSpec(model, (2, 3, 2), (seed,))
    bridges = [
        EnvironmentBridge(
            "xor", seeds=(seed,), delay=delay, trial_duration=trial.duration, decision_time=trial.decision, watch=False
        )
        for _ in range(2)
    ]
    net = to_brian2(model, (2, 3, 2), seed=seed, credit=spec.credit, clock=Clock(trial.dt * second))
    loop = net.close_loop(bridges[0])
    net.run(13.5 * trial.duration * second)  # a run may end inside a trial
    net.run(6.5 * trial.duration * second)
    assert len(loop.actions) == 19  # the last decision falls on the end of the run
    loop.finish()
    simulation = ExplicitSimulation(spec, NumpyEngine(spec))
    actions = []
    for _ in range(20):
        t = simulation.next_decision
        actions.append(int(simulation.decide(bridges[1].observation, bridges[1].events(t))[0]))
        bridges[1].step(np.array(actions[-1:]), t)
    simulation.finish(bridges[1].drain())
    assert loop.actions == actions
    assert loop.delivered == simulation.delivered == 20
    assert relative(net.weights(), [w[0] for w in simulation.weights()]) < 1e-10
    assert relative(net.synaptic("E"), [z[0, 0] for z in simulation.traces()]) < 1e-10
    change = [w - s for w, s in zip(net.weights(), [s[0] for s in spec.initial_weights()], strict=True)]
    assert max(np.abs(w).max() for w in change) > 1e-2
    for bridge in bridges:
        bridge.close()


def test_a_loop_that_does_not_fit_is_refused() -> None:
    net = to_brian2("rate_nla", (2, 3, 2), seed=1, clock=Clock(0.7e-3 * second), name="loop")
    trial = net.model.trial

    def bridge(**other: object) -> EnvironmentBridge:
        times: dict[str, object] = {"trial_duration": trial.duration, "decision_time": trial.decision} | other
        return EnvironmentBridge("xor", **times)  # type: ignore[arg-type]

    with bridge(trial_duration=0.05) as wrong, pytest.raises(ConfigError, match="trial_duration: the network has"):
        net.close_loop(wrong)
    with bridge() as right, pytest.raises(ConfigError, match=r"dt = 0.7 ms does not divide T = 30 ms"):
        net.close_loop(right)
    with bridge(n_agents=2, seeds=(0, 1)) as two, pytest.raises(ConfigError, match="agents: the network has 1"):
        net.close_loop(two)
