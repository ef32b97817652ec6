"""The compiled core against the numpy core: two programs, organised the other way round, for the same model.

They are compared at learning rates where |dW| is about |W|, voltages, errors, traces, weights and modulators
each for itself, with rewards at awkward times. Both end their sweeps at a relative change of 1e-13 here, so
that 1e-10 (PERFORMANCE.md, equality) leaves room for rounding in another order and for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from rnla_neuro.errors import ConfigError, ConvergenceError
from rnla_neuro.events import EventBatch
from rnla_neuro.spec.loader import load_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.equilibrium import EquilibriumSimulation
from tests.conformance.nets import build, events, relative, told
from tests.model_lines import proven_models

MODELS = proven_models()
BOTH = pytest.mark.backend("equilibrium:native", "equilibrium:numpy")
NATIVE = pytest.mark.backend("equilibrium:native")
EXACT = {"rtol": 1e-13}
SIZES, SEEDS = (5, 7, 4), (3, 8)
DEEP = (5, 7, 6, 4, 3)
#: Learning rates with which a reward of 3 changes the weights by about their size; few rewards in the mean.
FAST = {"n_R": "3", "eta_hom": "0.05"}
ETA = {"rate_nla_poster": "0.05"}


def fast(name: str, **overrides: str) -> ModelSpec:
    known = load_model(name).parameters
    rates = {k: v for k, v in FAST.items() if k in known}
    return load_model(name, {**rates, "eta": ETA.get(name, "0.4"), **overrides})


def inputs(trial: int, agents: int, n_in: int, samples: int) -> np.ndarray:
    x = np.random.default_rng(trial).standard_normal((agents, samples, n_in))
    return x if samples > 1 else x[:, 0]


def rewards(simulation: EquilibriumSimulation, trial: int) -> EventBatch:
    """Rewards of a trial at awkward times, with other values for each agent."""
    now, step = simulation.next_decision, simulation.network.model.trial.dt
    before, gate = now - simulation.trial_duration, now - 2 * step
    times = {
        0: [],
        1: [before],  # at the decision before: at once
        2: [before + 0.37 * step, gate + 0.2 * step, gate + 0.7 * step],  # between steps, two in one
        3: [before + 5 * step, now],  # exactly at this decision
        4: [gate, gate],  # two at the same time
        5: [before + 1e-7 * step, now - 1e-7 * step],  # a breath beside a boundary
    }[trial]
    values = np.random.default_rng(100 + trial).uniform(-3, 3, (simulation.n_agents, len(times)))
    rows = [(a, t, values[a, k]) for a in range(simulation.n_agents) for k, t in enumerate(times)]
    return events(*(row for row in rows if trial != 5 or row[0] == 0))  # the other agents get none


@dataclass
class Course:
    """Everything that a core computes, in order."""

    action: list[np.ndarray] = field(default_factory=list)
    u: list[np.ndarray] = field(default_factory=list)
    ebar: list[np.ndarray] = field(default_factory=list)
    drive: list[np.ndarray] = field(default_factory=list)
    traces: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    modulators: list[np.ndarray] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)

    def note(self, simulation: EquilibriumSimulation) -> None:
        self.traces += simulation.traces()
        self.weights += simulation.weights()
        self.modulators += [v for k, v in sorted(simulation.diagnostics().items()) if k != "sweeps"]
        self.delivered.append(simulation.delivered)


def run(simulation: EquilibriumSimulation, samples: int = 1, record: bool = True) -> Course:
    """Six trials, two rewards after the last, and two trials more."""
    course, (n_agents, n_in) = Course(), (simulation.n_agents, simulation.sizes[0])
    for k in range(8):
        if k == 6:
            last = simulation.next_decision - simulation.trial_duration
            late = [(a, last + (0.8 + a) * simulation.trial_duration, 2.0 - a) for a in range(n_agents)]
            simulation.finish(events((0, last + 0.00071, -1.0), *late))
            course.note(simulation)
        x, given = inputs(k, n_agents, n_in, samples), rewards(simulation, k) if k < 6 else events()
        if record:
            action, seen = simulation.decide_recorded(x, given, told(simulation, k))
            course.u.append(seen.u)
            course.ebar.append(seen.ebar)
            course.drive.append(seen.drive)
        else:
            action = simulation.decide(x, given, told(simulation, k))
        course.action.append(action)
        course.note(simulation)
    return course


def both(make: Callable[[str], EquilibriumSimulation], samples: int = 1, record: bool = True) -> list[Course]:
    courses = []
    for core in ("native", "numpy"):
        with make(core) as simulation:
            before = simulation.weights()
            courses.append(run(simulation, samples, record))
            steps = len(before)
            after = courses[-1].weights[-steps:]
            moved = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(after, before, strict=True)]
            assert moved[-1] > 0.3, f"|dW| must be about |W|, it is {moved}"
    return courses


def equal(one: Course, other: Course, bound: float) -> None:
    """Each kind of quantity for itself, over its largest value."""
    for a, b in zip(one.action, other.action, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.delivered == other.delivered
    for name in ("u", "ebar", "drive", "traces", "weights", "modulators"):
        a, b = getattr(one, name), getattr(other, name)
        assert len(a) == len(b), name
        if a:
            assert relative(a, b) < bound, f"{name}: {relative(a, b):.3g}"


def test_all_models_are_compared() -> None:
    assert len(MODELS) >= 7


@BOTH
@pytest.mark.parametrize("record", [False, True], ids=["decide", "recorded"])
@pytest.mark.parametrize("name", MODELS)
def test_each_model(name: str, record: bool) -> None:
    equal(*both(lambda core: build(fast(name), SIZES, SEEDS, core=core, **EXACT), record=record), bound=1e-10)


@BOTH
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_poster", "rate_nla_pulse", "rate_nla_ou_late"])
def test_deep_nets(name: str) -> None:
    equal(*both(lambda core: build(fast(name), DEEP, SEEDS, core=core, **EXACT)), bound=1e-10)


@BOTH
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_poster", "rate_nla_late"])
def test_signals_in_time(name: str) -> None:
    equal(*both(lambda core: build(fast(name), SIZES, SEEDS, core=core, **EXACT), samples=6), bound=1e-10)


@BOTH
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_poster", "rate_nla_pulse"])
def test_from_rest(name: str) -> None:
    make = lambda core: build(fast(name), SIZES, SEEDS, core=core, start="rest", **EXACT)  # noqa: E731
    equal(*both(make, record=False), bound=1e-10)


@BOTH
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_pulse"])
def test_a_frozen_hidden_layer(name: str) -> None:
    one, other = both(lambda core: build(fast(name), DEEP, SEEDS, core=core, freeze_hidden=True, **EXACT))
    equal(one, other, bound=1e-10)
    steps = len(DEEP) - 1
    for l in range(steps - 1):
        np.testing.assert_array_equal(one.weights[l], one.weights[-steps + l])


@BOTH
@pytest.mark.parametrize("name", MODELS)
def test_pulses_and_gates_at_other_steps(name: str) -> None:
    """A coarse step, a ramp that reaches into the gate, a gate as long as the trial."""
    model = load_model(name)
    changed = {"ramp": "8*ms", "dt": "5*ms", "T": "20*ms", "decision": "20*ms"}
    if 'gate = "' in model.text:
        changed["gate"] = "20*ms"
    make = lambda core: build(fast(name, **changed), SIZES, SEEDS, core=core, **EXACT)  # noqa: E731
    equal(*both(make, record=False), bound=1e-10)


@BOTH
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_poster"])
def test_default_accuracy_of_the_sweeps(name: str) -> None:
    """Sweeps end at a relative change of 1e-9; the rest of the geometric series is a fraction of it.

    dW is proportional to the errors, and eight trials with rewards pass it on: hence 1e-7.
    """
    exact = both(lambda core: build(fast(name), SIZES, SEEDS, core=core, **EXACT))
    usual = both(lambda core: build(fast(name), SIZES, SEEDS, core=core))
    for one, other in zip(usual, exact, strict=True):
        equal(one, other, bound=1e-7)


@BOTH
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_poster", "rate_nla_pulse"])
def test_float32(name: str) -> None:
    """float32 against float64 until the first reward has acted, each core.

    A voltage of order 1 is rounded to 6e-8; the sharp winner-take-all multiplies this by its gain (50 in
    rate_nla) before it appears in the error, and errors end their sweeps at 1e-5 of the largest.
    """
    for core in ("native", "numpy"):
        seen: dict[str, list[np.ndarray]] = {}
        for precision in ("float64", "float32"):
            with build(fast(name), SIZES, SEEDS, core=core, precision=precision) as simulation:
                simulation.decide(inputs(0, 2, 5, 1), events())
                _, recording = simulation.decide_recorded(inputs(1, 2, 5, 1), rewards(simulation, 1))
                traces, weights = simulation.traces(), simulation.weights()
                seen[precision] = [recording.u, recording.ebar, *traces, *weights]
        double, single = seen["float64"], seen["float32"]
        assert max(relative([a], [b]) for a, b in zip(single, double, strict=True)) < 5e-5
        assert max(relative([a], [b]) for a, b in zip(single, double, strict=True)) > 1e-9  # it is float32


@NATIVE
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_poster", "rate_nla_pulse", "rate_nla_ou"])
def test_an_agent_does_not_see_the_others(name: str, precision: str) -> None:
    """To the bit: alone, first of three, last of three."""
    sizes = (5, 7, 3)
    model, courses = fast(name), []
    for seeds in ((8,), (8, 1, 2), (4, 5, 8)):
        me = seeds.index(8)
        with build(model, sizes, seeds, core="native", precision=precision) as simulation:
            rng = np.random.default_rng(0)
            actions = []
            for k in range(6):
                x, value = rng.standard_normal(5), rng.standard_normal()
                crowd = np.random.default_rng(k).standard_normal((len(seeds), 5))
                crowd[me] = x
                t = simulation.next_decision - simulation.trial_duration + 0.0037
                rows = [(a, t if a == me else t + 0.002 * a, value if a == me else 1.0) for a in range(len(seeds))]
                actions.append(simulation.decide(crowd, events(*rows) if k else events())[me])
            found = [w[me] for w in simulation.weights()] + [z[me] for z in simulation.traces()]
            courses.append([np.array(actions), *found])
    for other in courses[1:]:
        for a, b in zip(courses[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@BOTH
@pytest.mark.parametrize(("core", "after"), [("native", 0), ("native", 3), ("numpy", 3)])
@pytest.mark.parametrize("name", MODELS)
def test_restore_continues_to_the_bit(name: str, core: str, after: int) -> None:
    with (
        build(fast(name), SIZES, SEEDS, core=core) as simulation,
        build(fast(name), SIZES, SEEDS, core=core) as other,
    ):
        for k in range(after):
            simulation.decide(inputs(k, 2, 5, 1), rewards(simulation, k), told(simulation, k))
        state = {key: value.copy() for key, value in simulation.state().items()}
        ends = []
        for target in (simulation, simulation, other):  # once through, again, and in another simulation
            if ends:
                target.restore(state)
            course = Course()
            for k in range(after, after + 3):
                course.action.append(target.decide(inputs(k, 2, 5, 1), rewards(target, k), told(target, k)))
            target.finish(events((0, target.next_decision + 0.05, 1.0)))
            course.action.append(target.decide(inputs(9, 2, 5, 1), events(), told(target, 9)))
            course.note(target)
            ends.append([*course.action, *course.traces, *course.weights, *course.modulators])
    for end in ends[1:]:
        for a, b in zip(ends[0], end, strict=True):
            np.testing.assert_array_equal(a, b)


@BOTH
def test_a_state_moves_between_cores() -> None:
    name = "rate_nla_ou_late"
    ends = []
    with build(fast(name), SIZES, SEEDS, core="numpy", **EXACT) as first:
        for k in range(3):
            first.decide(inputs(k, 2, 5, 1), rewards(first, k), told(first, k))
        state = first.state()
        for core in ("numpy", "native"):
            with build(fast(name), SIZES, SEEDS, core=core, **EXACT) as second:
                second.restore(state)
                second.decide(inputs(3, 2, 5, 1), rewards(second, 3), told(second, 3))
                ends.append([*second.weights(), *second.traces()])
    assert max(relative([a], [b]) for a, b in zip(*ends, strict=True)) < 1e-10


@BOTH
@pytest.mark.parametrize("core", ["native", "numpy"])
@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_late", "rate_nla_pulse", "rate_nla_poster"])
def test_a_recorded_trial_is_the_same_trial(name: str, core: str) -> None:
    """Recording solves more instants, which with held inputs changes nothing but the steps of a pulse.

    A pulse acts at the middle of steps of dt, whose places depend on the columns: second order in dt/tau_D.
    """
    model = fast(name, ramp="0*ms") if name != "rate_nla_poster" else fast(name)
    courses = []
    for record in (False, True):
        with build(model, SIZES, SEEDS, core=core, **EXACT) as simulation:
            courses.append(run(simulation, record=record))
    bare, recorded = courses
    recorded.u, recorded.ebar, recorded.drive = [], [], []
    equal(bare, recorded, bound=5e-3 if name == "rate_nla_pulse" else 1e-10)


@BOTH
@pytest.mark.parametrize("core", ["native", "numpy"])
def test_a_recording_leaves_out_what_was_not_solved(core: str) -> None:
    with build(fast("rate_nla"), SIZES, SEEDS, core=core) as simulation:
        simulation.decide(inputs(0, 2, 5, 1), events())
        simulation.finish(events((0, 0.0401, 1.0)))
        start = simulation.next_decision - simulation.decision_time
        assert start == pytest.approx(0.06)
        _, seen = simulation.decide_recorded(inputs(1, 2, 5, 1), events())
    assert len(seen.time) == 30
    np.testing.assert_allclose(seen.time, start + 0.001 * (np.arange(30) + 0.5), atol=1e-12)
    assert (np.abs(seen.u).max(axis=2) > 0).all()


@BOTH
@pytest.mark.parametrize("core", ["native", "numpy"])
def test_recorded_rates(core: str) -> None:
    model = fast("rate_nla", g="20")
    with build(model, SIZES, SEEDS, core=core) as simulation:
        _, seen = simulation.decide_recorded(inputs(0, 2, 5, 1), events())
    np.testing.assert_allclose(seen.rate[:, :, :7], np.tanh(seen.u[:, :, :7]), rtol=1e-15)
    sharp = np.exp(20 * (seen.u[:, :, 7:] - seen.u[:, :, 7:].max(axis=2, keepdims=True)))
    np.testing.assert_allclose(seen.rate[:, :, 7:], sharp / sharp.sum(axis=2, keepdims=True), rtol=1e-12)


@BOTH
@pytest.mark.parametrize("core", ["native", "numpy"])
def test_set_weights_is_all_or_nothing(core: str) -> None:
    with build(fast("rate_nla"), SIZES, SEEDS, core=core) as simulation:
        before = simulation.weights()
        for wrong, error in (
            ([before[0]], ConfigError),
            ([before[0] + 1, before[1][:, :, :-1]], ConfigError),
            ([before[0] + 1, before[1] * 1e4], ConvergenceError),
        ):
            with pytest.raises(error):
                simulation.set_weights(wrong)
            for a, b in zip(simulation.weights(), before, strict=True):
                np.testing.assert_array_equal(a, b)


def test_the_comparison_sees_a_wrong_weight() -> None:
    one, other = Course(weights=[np.ones((2, 2))]), Course(weights=[np.ones((2, 2))])
    equal(one, other, bound=1e-10)
    other.weights[0][0, 1] += 2e-10
    with pytest.raises(AssertionError, match="weights"):
        equal(one, other, bound=1e-10)
