"""What an engine of the explicit form is told: steps, inputs, noise, gate, events, and their split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnla_neuro import load_model
from rnla_neuro.errors import BackendError, ConfigError, ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.equilibrium import EquilibriumSimulation
from rnla_neuro_backends.explicit.block import Planner, place_events, split
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from rnla_neuro_backends.moving_equilibrium.core import modulator_state
from tests.conformance.nets import events


class Witness(Engine):
    """An engine that keeps what it is told, and decides by the noise of its last step."""

    def __init__(self, network: NetworkSpec, max_steps: int = 10**6, max_events: int = 10**6) -> None:
        self.max_steps, self.max_events = max_steps, max_events
        self.n_agents, self.sizes = len(network.seeds), network.sizes
        self.n_modulators = len(modulator_state(network.form))
        self.seen: list[Block] = []
        self.state: dict[str, np.ndarray] = {"z": np.zeros((self.n_agents, 0))}
        self.closed = False

    def advance(self, block: Block) -> BlockResult:
        self.seen.append(block)
        a, s, n = self.n_agents, block.n_steps, sum(self.sizes[1:])
        recording = {name: np.zeros((a, s, n)) for name in ("u", "ebar", "drive")} if block.record else {}
        if block.record:
            recording["noise"] = block.noise[:, block.noise_row]
        decision = block.noise[:, block.noise_row[-1]] if s else np.full((a, self.sizes[-1]), np.nan)
        return BlockResult(decision, len(block.event_step), np.full(a, s), recording)

    def read(self) -> dict[str, Any]:
        return {name: value.copy() for name, value in self.state.items()}

    def write(self, state: dict[str, Any]) -> None:
        self.state |= state

    def close(self) -> None:
        self.closed = True


def build(
    name: str = "rate_nla", agents: int = 2, engine: dict[str, int] | None = None, **parameters: str
) -> ExplicitSimulation:
    model = load_model(name, parameters)
    network = NetworkSpec(model, (3, 4, 2), tuple(range(1, agents + 1)))
    return ExplicitSimulation(network, Witness(network, **(engine or {})))


def seen(simulation: ExplicitSimulation) -> list[Block]:
    assert isinstance(simulation.engine, Witness)
    return simulation.engine.seen


X = np.arange(6.0).reshape(2, 3)


def test_trials_of_the_default_model() -> None:
    simulation = build(T="4*ms", gate="2*ms")
    simulation.decide(X, events())
    simulation.decide(-X, events((1, 0.004, 1.0), (1, 0.0063, 2.0), (0, 0.008, 3.0)))
    first, second = seen(simulation)
    assert (first.n_steps, first.t0, first.trial, first.start) == (4, 0.0, 0, "equilibrium")
    assert (second.n_steps, second.t0, second.trial, second.start) == (4, pytest.approx(0.004), 1, "continue")
    np.testing.assert_array_equal(second.coefficients @ second.basis, -X[:, None, :].repeat(4, axis=1))
    np.testing.assert_array_equal(first.gate, [0, 0, 1, 1])
    np.testing.assert_array_equal(second.event_agent, [0, 1, 1])
    np.testing.assert_array_equal(second.event_step, [4, 0, 3])
    np.testing.assert_array_equal(second.event_value, [3.0, 1.0, 2.0])
    np.testing.assert_array_equal(second.noise_row, [1, 1, 1, 1])
    np.testing.assert_array_equal(second.noise[:, 0], first.noise[:, 1])
    assert simulation.delivered == 3


def test_a_decision_before_the_end_and_a_ramp() -> None:
    """The poster: 30 ms trials, decisions at 25 ms, ramps of 5 ms; noise in time has a row a step."""
    simulation = build("rate_nla_poster")
    simulation.decide(X, events())
    simulation.decide(-X, events())
    first, second = seen(simulation)
    assert (first.n_steps, second.n_steps) == (25, 30)
    x = second.coefficients @ second.basis
    ramp = 0.5 * (1 - np.cos(np.pi * np.arange(5) / 5))
    np.testing.assert_array_equal(x[:, :6], X[:, None, :].repeat(6, axis=1))
    np.testing.assert_allclose(x[0, 5:10, 1], 1 - 2 * ramp, atol=1e-15)
    np.testing.assert_array_equal(x[:, 10:], -X[:, None, :].repeat(20, axis=1))
    np.testing.assert_array_equal(first.gate, np.ones(25))  # the file has no gate: open for the whole trial
    np.testing.assert_array_equal(second.gate, [0] * 5 + [1] * 25)
    assert second.noise.shape == (2, 30, 2)
    np.testing.assert_array_equal(second.noise_row, np.arange(30))


def test_a_gate_between_grid_points_opens_at_the_nearest() -> None:
    def opened(dt: str, gate: str) -> int:
        return Planner(load_model("rate_nla", {"T": "30*ms", "dt": dt, "gate": gate}).trial).open_steps

    assert [opened("1*ms", f"{gate}*ms") for gate in (0.1, 1.4, 1.6, 2)] == [1, 1, 2, 2]
    assert opened("2*ms", "5*ms") == 2


@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_perturbation"])
def test_held_noise_is_that_of_the_equilibrium(name: str) -> None:
    simulation = build(name)
    with EquilibriumSimulation(simulation.network, core="numpy") as other:
        for k in range(3):
            other_noise = other.decide_recorded(X * k, events())[1].noise
            simulation.decide(X * k, events())
            np.testing.assert_array_equal(seen(simulation)[k].noise[:, 1], other_noise[:, -1])


def test_noise_that_the_file_low_passes_is_the_current() -> None:
    simulation = build("rate_nla_ou", sigma="0.5")
    for _ in range(400):
        simulation.decide(X, events())
    xi = np.concatenate([block.noise for block in seen(simulation)], axis=1)[:, :, 0]
    model = simulation.network.model
    assert np.std(xi) == pytest.approx(model.parameters["std"].value, rel=0.1)
    kept = np.exp(-model.trial.dt / model.parameters["tau_ou"].value)
    assert np.corrcoef(xi[0, 1:], xi[0, :-1])[0, 1] == pytest.approx(kept, abs=0.05)


def test_finish_waits_for_the_last_event_and_the_next_trial_starts_on_its_grid() -> None:
    simulation = build(T="4*ms", gate="2*ms")
    simulation.decide(X, events())
    simulation.finish(events((0, 0.004, 1.0), (1, 0.0096, -1.0)))
    idle = seen(simulation)[-1]
    assert (idle.n_steps, idle.t0, idle.trial, idle.gate.sum()) == (6, pytest.approx(0.004), 1, 0)
    np.testing.assert_array_equal(idle.event_step, [0, 6])
    np.testing.assert_array_equal(idle.coefficients @ idle.basis, X[:, None, :].repeat(6, axis=1))
    simulation.decide(-X, events())
    after = seen(simulation)[-1]
    assert simulation.next_decision == pytest.approx(0.020)
    assert (after.n_steps, after.t0) == (6, pytest.approx(0.010))
    np.testing.assert_array_equal((after.coefficients @ after.basis)[0, :, 1], [1, 1, -1, -1, -1, -1])
    np.testing.assert_array_equal(after.noise_row, [0, 0, 1, 1, 1, 1])
    assert simulation.delivered == 2


def test_a_finish_without_events_takes_no_time() -> None:
    simulation = build()
    simulation.decide(X, events())
    simulation.finish(events())
    simulation.decide(X, events())
    assert [block.n_steps for block in seen(simulation)] == [30, 30]


def test_events_at_a_grid_point_of_a_late_time_are_not_pushed_on_by_rounding() -> None:
    course = Planner(load_model("rate_nla").trial).course(None)
    t0 = (10**6 - 1) * 0.03 + 0.03
    at = np.concatenate([t0 + np.arange(31) * 1e-3, [10**6 * 0.03]])
    batch = events(*((0, t, 1.0) for t in at))
    np.testing.assert_array_equal(place_events(batch, t0, course, 1e-3)["event_step"], [0, *range(31)])


def test_an_event_behind_a_grid_point_waits_for_the_next() -> None:
    course = Planner(load_model("rate_nla").trial).course(None)
    times = (0.0, 1e-13, 1e-9, 0.0005, 0.001, 0.0010001, 0.0299, 0.03)
    found = place_events(events(*((0, t, 1.0) for t in times)), 0.0, course, 1e-3)["event_step"]
    np.testing.assert_array_equal(found, [0, 0, 1, 1, 1, 2, 30, 30])


def whole(blocks: list[Block]) -> dict[str, np.ndarray]:
    """What blocks say together, step by step and event by event."""
    at, out = 0, {"steps": [], "events": []}
    for block in blocks:
        for k in range(block.n_steps):
            x, noise = block.coefficients[k] @ block.basis, block.noise[:, block.noise_row[k]]
            out["steps"].append(np.concatenate([x.ravel(), noise.ravel(), [block.gate[k]]]))
        rows = zip(block.event_agent, block.event_step + at, block.event_value, strict=True)
        out["events"] += [(*row, round((block.t0 + 1) * 1e6) - at * 1000) for row in rows]
        at += block.n_steps
    return {"steps": np.array(out["steps"]), "events": np.array(sorted(out["events"]))}


@pytest.mark.parametrize(("max_steps", "max_events"), [(7, 100), (100, 2), (7, 1), (30, 3), (1, 1)])
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_ou"])
def test_a_split_block_says_the_same(name: str, max_steps: int, max_events: int) -> None:
    simulation = build(name, dt="1*ms", T="30*ms")
    batch = [(0, 0.03), (0, 0.03), (0, 0.03), (0, 0.0371), (1, 0.03), (1, 0.037), (0, 0.06), (1, 0.06), (1, 0.06)]
    simulation.decide(X, events())
    simulation.decide(-X, events(*((a, t, float(k)) for k, (a, t) in enumerate(batch))))
    block = seen(simulation)[-1]
    parts = list(split(block, 1e-3, max_steps, max_events))
    assert len(parts) > 1
    assert max(part.n_steps for part in parts) <= max_steps
    assert max(len(part.event_step) for part in parts) <= max_events
    assert all((np.diff(part.event_agent) >= 0).all() for part in parts)
    moving = [part for part in parts[:-1] if part.n_steps and part.t0 + part.n_steps * 1e-3 < 0.0599]
    assert not any((part.event_step == part.n_steps).any() for part in moving)
    for key, value in whole([block]).items():
        np.testing.assert_array_equal(whole(parts)[key], value)


def test_a_split_keeps_the_start_for_the_first_step_and_the_decision_of_the_last() -> None:
    simulation = build(engine={"max_steps": 8, "max_events": 1})
    action = simulation.decide(X, events((0, 0.03, 1.0), (1, 0.03, 1.0)))
    parts = seen(simulation)
    assert next(part.start for part in parts if part.n_steps) == "equilibrium"
    assert [part.start for part in parts].count("continue") == len(parts) - 1
    np.testing.assert_array_equal(action, parts[0].noise[:, -1].argmax(axis=1))
    assert simulation.delivered == 2
    assert simulation.diagnostics()["sweeps"].tolist() == [8, 8]


def test_recordings_begin_with_the_trial_after_a_gap_and_with_the_last_decision_otherwise() -> None:
    simulation = build(T="4*ms", gate="2*ms", engine={"max_steps": 3})
    simulation.decide(X, events())
    simulation.finish(events((0, 0.0066, 1.0)))
    _, recording = simulation.decide_recorded(X, events())
    np.testing.assert_allclose(recording.time, [0.008, 0.009, 0.010, 0.011])
    assert recording.u.shape == (2, 4, 6)
    _, recording = simulation.decide_recorded(X, events())
    np.testing.assert_allclose(recording.time, [0.012, 0.013, 0.014, 0.015])


def test_a_pulse_is_waited_for_and_ends() -> None:
    simulation = build("rate_nla_pulse")
    engine = simulation.engine
    assert isinstance(engine, Witness)

    def decaying(block: Block) -> BlockResult:
        engine.state["modulators"] = engine.state["modulators"] * np.exp(-block.n_steps * 1e-3 / 5e-3)
        return Witness.advance(engine, block)

    engine.advance = decaying  # type: ignore[method-assign]
    simulation.decide(X, events())
    column = modulator_state(simulation.network.form).index(("reward", "D"))
    engine.state["modulators"][1, column] = 200.0  # Hz, of a reward of 1
    simulation.finish(events())
    waited = sum(block.n_steps for block in seen(simulation)[1:])
    assert 90 <= waited <= 150  # exp(-21) in steps of a trial
    assert not simulation.diagnostics()["reward.D"].any()


def test_state_continues_with_the_same_blocks() -> None:
    one, two = build("rate_nla_ou"), build("rate_nla_ou")
    for _ in range(3):
        one.decide(X, events())
    one.finish(events((0, 0.17, 1.0)))
    one.set_weights(one.weights())
    two.restore(one.state())
    for simulation in (one, two):
        simulation.decide(-X, events((1, 0.19, 0.5)))
    a, b = seen(one)[-1], seen(two)[-1]
    assert a.start == b.start == "equilibrium"
    for name in ("n_steps", "t0", "trial", "basis", "coefficients", "noise", "noise_row", "gate", "event_step"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert two.delivered == 2
    assert (two.next_decision, two.decisions, two.skipped) == (one.next_decision, one.decisions, one.skipped)


def test_what_is_refused() -> None:
    simulation = build(agents=1)
    with pytest.raises(BackendError, match=r"'brian2' takes an input that is held.*'equilibrium' runs sampled"):
        simulation.decide(np.zeros((1, 5, 3)), events())
    with pytest.raises(ConfigError, match=r"observation of shape \(1, 4\): expected \(1, 3\)"):
        simulation.decide(np.zeros((1, 4)), events())
    with pytest.raises(ConfigError, match="weights 0 have shape"):
        simulation.set_weights([w[:, :-1] for w in simulation.weights()])
    with pytest.raises(ConvergenceError, match="the nudging is too strong"):
        simulation.set_weights([1e3 * w for w in simulation.weights()])
    with pytest.raises(ConvergenceError, match="the nudging is too strong"):
        build(beta="50")
    network = simulation.network
    with pytest.raises(ConfigError, match="start 'calm': allowed are equilibrium, rest"):
        ExplicitSimulation(network, Witness(network), start="calm")  # type: ignore[arg-type]


def test_an_engine_that_loses_an_event_is_caught() -> None:
    simulation = build()
    simulation.engine.advance = lambda block: BlockResult(np.zeros((2, 2)), 0, np.zeros(2, np.int64))  # type: ignore
    with pytest.raises(BackendError, match="applied 0 of 1 events"):
        simulation.decide(X, events((0, 0.01, 1.0)))


def test_reading_what_follows_from_weights_alone() -> None:
    simulation = build()
    with EquilibriumSimulation(simulation.network, core="numpy") as other:
        observation = np.random.default_rng(0).normal(size=(5, 3))
        np.testing.assert_array_equal(simulation.predict(observation), other.predict(observation))
        np.testing.assert_array_equal(simulation.policy(observation), other.policy(observation))
        for a, b in zip(simulation.weights(), other.weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    engine = simulation.engine
    simulation.close()
    assert isinstance(engine, Witness)
    assert engine.closed
