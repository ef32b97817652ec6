"""Spiking models on Brian2's own groups: against a loop written by hand, and the compiled program against them."""

from __future__ import annotations

import functools
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro import to_brian2
from rnla_neuro.backend import get_backend
from rnla_neuro.errors import BackendError
from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.chance import SILENT, chance, chance_key
from rnla_neuro.spec.loader import load_model
from rnla_neuro_backends.explicit.block import Planner, make_block
from rnla_neuro_backends.explicit.engine import Block, Engine
from rnla_neuro_backends.explicit.plain import PlainEngine
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from tests.conformance.nets import events

MODEL = Path(__file__).parents[1] / "models" / "spiking_small.toml"
SIZES, SEEDS = (3, 4, 5, 2), (7, 2**40 + 3)
PLAIN = pytest.mark.backend("brian2:plain")


def network(precision: str = "float64", sizes: tuple[int, ...] = SIZES) -> NetworkSpec:
    return NetworkSpec(load_model(MODEL), sizes, SEEDS, precision)


def blocks(net: NetworkSpec, trials: int = 6, idles: bool = True) -> list[Block]:
    """Trials with new inputs, noise and rewards; before one of them the network may idle for some steps."""
    planner, rng = Planner(net.model.trial), np.random.default_rng(5)
    agents, found, t, last = len(net.seeds), [], 0.0, np.zeros((len(net.seeds), net.sizes[0]))
    for trial in range(trials):
        course = planner.course(0 if trial == 0 else planner.period if trial == 3 and idles else None)
        x = rng.uniform(-1, 1, last.shape)
        noise = rng.standard_normal((agents, 2, net.sizes[-1]))
        row = (np.arange(course.n_steps) >= course.switch).astype(np.int64)
        end = course.n_steps * planner.dt
        due = events((0, t + 0.2 * end, 1.0), (1, t + 0.3 * end, -0.5), (1, t + 0.3 * end, 0.7), (0, t + end, -1.0))
        found.append(
            make_block(
                course, planner.dt, t0=t, trial=trial, basis=np.stack([last, x], axis=1), noise=(noise, row),
                events=due if trial else EventBatch.empty(), record=True,
            )
        )  # fmt: skip
        t, last = t + end, x
    return found


class ByHand:
    """The model of tests/models/spiking_small.toml, written out: one agent."""

    def __init__(self, net: NetworkSpec, agent: int) -> None:
        value = {name: p.value for name, p in net.model.parameters.items()}
        self.p, self.dt, self.agent = value, net.model.trial.dt, agent
        self.key, self.sizes = chance_key(net.seeds[agent]), net.sizes
        self.period = round(net.model.trial.duration / self.dt)
        self.w = [w[agent].copy() for w in net.initial_weights()]
        self.e = [np.zeros_like(w) for w in self.w]
        self.u, self.q, self.s = ([np.zeros(n) for n in net.sizes] for _ in range(3))
        self.since = [np.full(n, 10**6) for n in net.sizes]  # steps since the last spike
        self.decision, self.mean, self.noise = np.zeros(net.sizes[-1]), 1 / net.sizes[-1], np.zeros(net.sizes[-1])

    def rates(self) -> list[np.ndarray]:
        return [2 * s - 1 for s in self.s[:-1]] + [self.s[-1]]

    def sums(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Currents and errors of the layers after the input."""
        rates = self.rates()
        current = [w[:, :-1] @ r + w[:, -1] for w, r in zip(self.w, rates[:-1], strict=True)]
        soft = np.exp(self.u[-1] / self.p["sigma"])
        errors = [self.p["beta"] * (self.s[-1] - soft / soft.sum())]
        for w, u in zip(self.w[:0:-1], self.u[-2:0:-1], strict=True):
            errors.insert(0, (1 - np.tanh(u) ** 2) * (w[:, :-1].T @ errors[0]))
        return current, errors

    def events(self, block: Block, k: int) -> None:
        here = (block.event_agent == self.agent) & (block.event_step == k)
        for value in block.event_value[here]:
            delta = value - self.mean
            self.mean += delta / self.p["n_R"]
            for w, e in zip(self.w, self.e, strict=True):
                w += self.p["eta"] * delta * e

    def step(self, block: Block, k: int) -> tuple[np.ndarray, ...]:
        p, dt = self.p, self.dt
        self.events(block, k)
        x = block.coefficients[k] @ block.basis[self.agent]
        self.noise = block.noise[self.agent, block.noise_row[k]]
        counter = block.counter + k
        first = np.cumsum([0, *self.sizes])
        drawn = [chance(self.key, np.arange(a, b), counter) for a, b in pairwise(first)]
        current, errors = self.sums()
        rates = self.rates()
        seen = np.concatenate(self.u[1:]), np.concatenate(errors), np.concatenate(rates[1:]), np.concatenate(current)
        for e, error, rate in zip(self.e, errors, rates[:-1], strict=True):
            e += dt / p["tau_elig"] * (-e + block.gate[k] * np.outer(error, np.append(rate, 1.0)))
        self.decision = self.decision + dt / p["tau_s"] * (self.s[-1] - self.decision)
        may = [since >= 2 for since in self.since]  # refractory for 1 ms
        sharp = np.exp(p["g"] * (current[-1] + self.noise))
        flow = [(1 + np.tanh(i)) / 2 * free for i, free in zip(current[:-1], may[1:-1], strict=True)]
        flow.append(sharp / sharp.sum())
        for layer, i in enumerate(current, 1):
            i = i + self.noise if layer == len(current) else i
            self.u[layer] = self.u[layer] + dt / p["tau_m"] * (i - self.u[layer])
            self.q[layer] = self.q[layer] + dt * p["r_max"] * flow[layer - 1]
        self.s = [s - dt / p["tau_s"] * s for s in self.s]
        late = counter % self.period * dt >= p["late"]
        spikes = [drawn[0] < p["r_max"] * dt * np.clip((1 + x) / 2, 0, 1) * late]
        hidden = range(1, len(self.sizes) - 1)
        spikes += [(self.q[k] >= 1 + 0.2 * (drawn[k] - 0.5)) & may[k] for k in hidden]
        spikes.append(self.q[-1] >= 1)
        for layer, fired in enumerate(spikes):
            self.q[layer] -= fired
            self.s[layer] += fired / (p["r_max"] * p["tau_s"])
            self.since[layer] = np.where(fired, 1, self.since[layer] + 1)
        return *seen, np.concatenate(spikes)

    def play(self, block: Block) -> list[np.ndarray]:
        """Return u, ebar, rate, drive and spikes of a block."""
        seen = [self.step(block, k) for k in range(block.n_steps)]
        self.at_decision = self.decision.copy()
        self.events(block, block.n_steps)
        return [np.array(one) for one in zip(*seen, strict=True)]


@functools.cache
def engine() -> PlainEngine:
    """Preparing one takes seconds."""
    return PlainEngine(network(), "numpy")


@functools.cache
def start() -> dict[str, np.ndarray]:
    state, weights = engine().read(), network().initial_weights()
    return state | {"w": np.concatenate([w.reshape(len(SEEDS), -1) for w in weights], axis=1)}


def played(one: Engine, net: NetworkSpec, idles: bool = True) -> tuple[list[object], dict[str, np.ndarray]]:
    results = [one.advance(block) for block in blocks(net, idles=idles)]
    return results, one.read()


@PLAIN
def test_stock_brian2_does_what_a_loop_by_hand_does() -> None:
    net = network()
    engine().write(start())
    results, end = played(engine(), net)
    count = 0
    for agent in range(len(SEEDS)):
        hand = ByHand(net, agent)
        for block, result in zip(blocks(net), results, strict=True):
            seen = hand.play(block)
            for name, values in zip(("u", "ebar", "rate", "drive"), seen[:4], strict=True):
                assert np.abs(result.recording[name][agent] - values).max() < 1e-10, name
            assert np.array_equal(result.recording["spikes"][agent], seen[4])
            assert np.abs(result.decision[agent] - hand.at_decision).max() < 1e-10
            count += int(seen[4].sum())
        assert np.abs(end["w"][agent] - np.concatenate([w.ravel() for w in hand.w])).max() < 1e-10
        assert np.abs(end["z"][agent] - np.concatenate([e.ravel() for e in hand.e])).max() < 1e-10
    assert np.abs(end["w"] - start()["w"]).max() > 1e-3
    assert end["spikes"].sum() == count > 300
    assert (end["spikes"] > 10).all()


@PLAIN
def test_agents_do_not_depend_on_each_other() -> None:
    """The second of two agents does what it does alone; the two do not draw the same."""
    net = network()
    engine().write(start())
    both, _ = played(engine(), net)
    assert not np.array_equal(both[1].recording["spikes"][0], both[1].recording["spikes"][1])


def simulation() -> ExplicitSimulation:
    engine().write(start() | {"spikes": np.zeros((len(SEEDS), len(SIZES)), np.int64)})
    return ExplicitSimulation(network(), engine())


@PLAIN
def test_looking_does_not_disturb_and_repeats() -> None:
    one = simulation()
    rng = np.random.default_rng(2)
    shown = rng.uniform(-1, 1, (5, SIZES[0]))
    for _ in range(3):
        one.decide(rng.uniform(-1, 1, (2, SIZES[0])), events())
    before = one.state()
    first, policy = one.predict(shown), one.policy(shown)
    assert np.array_equal(first[:, 2:3], one.predict(shown[2:3]))  # whatever stands beside it
    assert np.array_equal(policy, one.policy(shown))
    assert np.allclose(policy.sum(axis=2), 1.0)
    after = one.state()
    assert all(np.array_equal(after[name], values) for name, values in before.items())


@PLAIN
def test_spikes_are_counted_in_trials_alone() -> None:
    one = simulation()
    total = np.zeros((2, len(SIZES)), np.int64)
    ends = np.cumsum([0, *SIZES])
    for _ in range(3):
        _, seen = one.decide_recorded(np.full((2, SIZES[0]), 0.5), events())
        assert seen.spikes is not None
        assert seen.spikes.shape == (2, len(seen.time), sum(SIZES))
        assert seen.spikes.dtype == np.bool_
        total += np.stack([seen.spikes[:, :, a:b].sum(axis=(1, 2)) for a, b in pairwise(ends)], axis=1)
        assert np.array_equal(one.spike_counts(), total)
    one.finish(events((0, one.next_decision - one.trial_duration + 0.004, 1.0)))
    assert np.array_equal(one.spike_counts(), total)


def test_the_equilibrium_refuses_spikes_and_says_what_to_do() -> None:
    with pytest.raises(BackendError, match=r"of kind 'spiking': it runs rate; way out: --backend brian2"):
        get_backend("equilibrium").build(network())


def test_chance_is_uniform_and_independent() -> None:
    drawn = chance(chance_key(3), np.arange(300)[:, None], np.arange(1000))
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    assert np.array_equal(drawn, drawn.astype(np.float32))  # 24 bits
    assert abs(drawn.mean() - 0.5) < 3 / np.sqrt(12 * drawn.size)
    counts = np.histogram(drawn, bins=100, range=(0, 1))[0]
    assert ((counts - drawn.size / 100) ** 2 / (drawn.size / 100)).sum() < 150  # chi square, 99 degrees of freedom
    others = (
        chance(chance_key(4), np.arange(300)[:, None], np.arange(1000)),
        chance(chance_key(3 + 2**32), np.arange(300)[:, None], np.arange(1000)),
        chance(chance_key(3), np.arange(300)[:, None], SILENT + np.arange(1000)),
        chance(chance_key(3), 1 + np.arange(300)[:, None], np.arange(1000)),
        chance(chance_key(3), np.arange(300)[:, None], 1 + np.arange(1000)),
    )
    for other in others:
        assert abs(np.corrcoef(drawn.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(drawn.size)


@PLAIN
def test_to_brian2_runs_a_spiking_model() -> None:
    """In a plain script: the same draws as everywhere, time in the trial from `present` on."""
    import brian2 as b2

    b2.prefs.codegen.target = "numpy"
    b2.defaultclock.dt = 0.5 * b2.ms
    net = to_brian2(load_model(MODEL), (2, 3, 2), seed=1, name="scripted")
    spikes = b2.SpikeMonitor(net.input)
    net.network.add(spikes)
    net.run(5 * b2.ms)
    net.present([1.0, -1.0])
    net.run(12 * b2.ms)
    steps = np.round(np.asarray(spikes.t_) / 0.5e-3).astype(int)
    assert set(spikes.i[:]) == {0}  # x = -1 is silent
    expected = [k for k in range(10, 34) if k >= 14 and chance(chance_key(1), 0, k) < 400 * 0.5e-3]
    assert [k for k in steps if k >= 10] == expected


@pytest.mark.backend("brian2_cpp")
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "bound"), [("float64", 1e-10), ("float32", 1e-4)])
def test_the_program_spikes_as_stock_brian2_does(precision: str, bound: float) -> None:
    from rnla_neuro_backends.brian2_program.plain import PlainProgramEngine
    from rnla_neuro_backends.brian2_program.plain_kernel import PlainKernel

    net = network(precision)
    golden = PlainEngine(net, "numpy")
    program = PlainProgramEngine(PlainKernel(net))
    try:
        weights = {"w": start()["w"]}
        golden.write(weights)
        program.write(weights)
        found, end = played(program, net, idles=False)
        wanted, golden_end = played(golden, net, idles=False)
        for one, other in zip(found, wanted, strict=True):
            assert np.array_equal(one.recording["spikes"], other.recording["spikes"])
            for name in ("u", "ebar", "rate", "drive"):
                assert np.abs(one.recording[name] - other.recording[name]).max() < bound, name
        for name in ("w", "z"):
            assert np.abs(end[name] - golden_end[name]).max() < bound, name
        assert np.array_equal(end["spikes"], golden_end["spikes"])
        shown = np.random.default_rng(3).uniform(-1, 1, (4, SIZES[0]))
        assert np.abs(program.silent(shown, ["I"])[1]["I"] - golden.silent(shown, ["I"])[1]["I"]).max() < bound
        assert np.array_equal(program.read()["spikes"], end["spikes"])
    finally:
        program.close()
