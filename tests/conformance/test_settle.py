"""Events applied between two trials: the same network as if they had come with the decision, on every engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.learners import make_learner
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.simulation import Simulation
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.equilibrium import EquilibriumSimulation
from rnla_neuro_backends.explicit.kernel import Kernel, kernel_settings
from rnla_neuro_backends.explicit.numpy_kernel import NumpyEngine
from rnla_neuro_backends.explicit.plain import PlainEngine
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from rnla_neuro_backends.general.kernel import make_general_kernel
from tests.conformance.blocks import LibraryEngine
from tests.conformance.general_nets import CompiledEngine, altered
from tests.conformance.nets import events, told

SIZES, SEEDS = (5, 4, 3), (3, 8)
EARLY = {r'(?m)^decision = "T"': 'decision = "0.6*T"'}
NINE = {r'(?m)^decision = "T"': 'decision = "9*ms"'}  # of 12


def packaged(name: str, changes: dict[str, str] | None = None) -> ModelSpec:
    text = (models_dir() / f"{name}.toml").read_text(encoding="utf-8")
    for pattern, new in (changes or {}).items():
        text, hits = re.subn(pattern, new, text)
        assert hits == 1, pattern
    return parse_model(text, Path(f"{name}_altered.toml"), {"eta": "3"})


def program(network: NetworkSpec) -> Any:
    from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine

    return StandaloneEngine(make_general_kernel(network))


def plain_program(network: NetworkSpec) -> Any:
    from rnla_neuro_backends.brian2_program.plain import PlainProgramEngine
    from rnla_neuro_backends.brian2_program.plain_kernel import PlainKernel

    return PlainProgramEngine(PlainKernel(network))


ENGINES: dict[str, Callable[[NetworkSpec], Simulation]] = {
    "native": lambda network: EquilibriumSimulation(network, "native"),
    "numpy": lambda network: EquilibriumSimulation(network, "numpy"),
    "plain": lambda network: ExplicitSimulation(network, PlainEngine(network)),
    "explicit": lambda network: ExplicitSimulation(network, LibraryEngine(Kernel(kernel_settings(network)))),
    "explicit numpy": lambda network: ExplicitSimulation(network, NumpyEngine(network)),
    "general": lambda network: ExplicitSimulation(network, CompiledEngine(make_general_kernel(network))),
    "program": lambda network: ExplicitSimulation(network, program(network)),
    "plain program": lambda network: ExplicitSimulation(network, plain_program(network)),
}
MODELS: dict[str, Callable[[], ModelSpec]] = {
    "rate": lambda: packaged("rate_nla"),
    "rate early": lambda: packaged("rate_nla", EARLY),
    "noise in time": lambda: packaged("rate_nla_ou", EARLY),
    "pulse": lambda: packaged("rate_nla_pulse"),
    "leaky": lambda: packaged("rate_leaky", EARLY),
    "spiking": lambda: altered("spiking_small", overrides={"eta": "3"}),
    "spiking early": lambda: altered("spiking_small", NINE, {"eta": "3"}),
}
QUICK = [
    ("native", "rate"), ("native", "rate early"), ("native", "noise in time"), ("numpy", "rate early"),
    ("numpy", "noise in time"), ("explicit numpy", "rate early"), ("explicit", "rate early"), ("explicit", "pulse"),
    ("general", "spiking early"), ("general", "leaky"), ("plain", "spiking early"),
]  # fmt: skip
SLOW = [
    ("native", "pulse"), ("plain", "rate early"), ("explicit", "noise in time"), ("general", "spiking"),
    ("program", "spiking early"), ("plain program", "spiking early"),
]  # fmt: skip
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


def until(batch: EventBatch, t: float) -> tuple[EventBatch, EventBatch]:
    """Divide events into those up to a time and those after it."""
    early = batch.time <= t * (1 + 1e-12)
    columns = batch.agent, batch.time, batch.channel, batch.value
    return EventBatch(*(x[early] for x in columns)), EventBatch(*(x[~early] for x in columns))


def rewards(simulation: Simulation, trial: int) -> EventBatch:
    """Events of all ages: at the last decision, behind it, at the start of the trial, twice there, and in the trial."""
    if trial == 0:
        return EventBatch.empty()
    end, duration = simulation.next_decision, simulation.trial_duration
    start = end - simulation.decision_time
    last = max(start - duration + simulation.decision_time, 0.0)
    middle = 0.5 * (last + start)
    times = [[last], [middle, start, start], [start, start + 0.3 * simulation.decision_time], [last, end]][trial % 4]
    rows = [(agent, t, 1.0 + 0.5 * k + agent, 0) for agent in (0, 1) for k, t in enumerate(times[: 3 - agent])]
    return events(*rows)


def life(simulation: Simulation, settles: bool, between: Callable[[], None] = lambda: None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    seen = []
    for trial in range(6):
        x = rng.uniform(-1, 1, (simulation.n_agents, SIZES[0]))
        batch = rewards(simulation, trial)
        if settles and trial:
            now, batch = until(batch, simulation.next_decision - simulation.decision_time)
            before = simulation.weights()
            simulation.settle(now)
            moved = any(np.abs(a - b).max() > 0 for a, b in zip(simulation.weights(), before, strict=True))
            pulses = "rate_nla_pulse" in str(simulation.network.model.path)  # type: ignore[attr-defined]
            assert moved or not len(now) or pulses
            between()
        action = simulation.decide(x, batch, told(simulation, trial))
        counted = simulation.spike_counts()
        spikes = np.zeros(0) if counted is None else counted.ravel()
        seen.append(np.concatenate([action, *(w.ravel() for w in simulation.weights()), spikes]))
    if settles:
        simulation.settle(events((0, simulation.next_decision - simulation.decision_time, 1.0)))
        simulation.finish(EventBatch.empty())
    else:
        simulation.finish(events((0, simulation.next_decision - simulation.decision_time, 1.0)))
    return {"seen": np.array(seen), "delivered": np.array(simulation.delivered), **simulation.state()}


@pytest.mark.parametrize(("engine", "model"), CASES)
def test_settling_first_equals_deciding_with_the_events(engine: str, model: str) -> None:
    network = NetworkSpec(MODELS[model](), SIZES, SEEDS)
    with ENGINES[engine](network) as one, ENGINES[engine](network) as other:
        expected, found = life(one, False), life(other, True)
    for name, values in expected.items():
        if name in ("clock", "engine.moved", "engine.spikes"):  # spikes of the last idle time: of a trial, or of none
            continue
        scale = np.abs(values).max(initial=1e-300)
        assert np.abs(found[name] - values).max(initial=0.0) <= 1e-10 * scale, name
    assert np.ptp(expected["seen"][:, 2:10], axis=0).max() > 0.01, "the weights hardly change: nothing is compared"


@pytest.mark.parametrize("engine", ["native", "explicit numpy", "general"])
def test_weights_written_between_trials_are_those_of_the_next(engine: str) -> None:
    network = NetworkSpec(MODELS["leaky" if engine == "general" else "rate"](), SIZES, SEEDS)
    with ENGINES[engine](network) as one, ENGINES[engine](network) as other:
        expected = life(one, False)
        found = life(other, True, lambda: other.write_weights(other.weights()))
        exact = 1e-10 if engine != "explicit numpy" else 1e-4  # there voltages land without a mismatch
        assert np.abs(found["seen"] - expected["seen"]).max() < exact * np.abs(expected["seen"]).max()
        kept, clock = other.state(), other.next_decision
        weights = [w + 0.1 for w in other.weights()]
        other.write_weights(weights)
        assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(other.weights(), weights, strict=True))
        changed = {name for name, v in other.state().items() if not np.array_equal(v, kept[name])}
        assert changed <= {"w", "engine.w", "clock", "engine.moved"}
        assert other.next_decision == clock
        with pytest.raises(ConfigError, match="shape"):
            other.write_weights([w[:1] for w in weights])


def test_events_after_the_start_of_the_trial_are_refused() -> None:
    simulation = EquilibriumSimulation(NetworkSpec(packaged("rate_nla"), SIZES, SEEDS), "numpy")
    simulation.decide(np.zeros((2, 5)), EventBatch.empty())
    with pytest.raises(ConfigError, match=r"t = 0\.031 s is later than the start of the next trial, t = 0\.03 s"):
        simulation.settle(events((0, 0.031, 1.0)))
    assert simulation.delivered == 0


def test_learners_of_another_kind_settle_too_and_others_refuse_by_name() -> None:
    network = NetworkSpec(packaged("rate_nla"), SIZES, SEEDS)
    one, other = (
        make_learner("reinforce", network.initial_weights(), [np.random.default_rng(k) for k in (1, 2)])
        for _ in range(2)
    )
    x, event = np.ones((2, 5)), events((0, 0.03, 1.0), (1, 0.03, 0.0))
    for simulation in (one, other):
        simulation.decide(x, EventBatch.empty())
    other.settle(event)
    assert np.array_equal(one.decide(x, event), other.decide(x, EventBatch.empty()))
    assert all(np.array_equal(a, b) for a, b in zip(one.weights(), other.weights(), strict=True))
    with pytest.raises(BackendError, match="Reinforce takes events with a decision only"):
        Simulation.settle(other, event)
