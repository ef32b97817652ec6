"""Rewards in biological time against closed forms: the kernel of each eligibility trace, each delay, pulses.

With a held input and held noise the source of a trace is constant while the gate is open. A window from a to
b before the reward then leaves G(b) - G(a) in the trace, G the integral of the kernel: 1 - exp(-t/tau) for
one stage, 1 - (1 + t/tau) exp(-t/tau) for two.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from rnla_neuro.network import NetworkSpec
from rnla_neuro.rewards import RewardChannel, RewardDelay
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.equilibrium import EquilibriumSimulation
from tests.conformance.nets import build, events, layers, variant

CORES = pytest.mark.parametrize("core", ["numpy", "native"])
BOTH = pytest.mark.backend("equilibrium:native", "equilibrium:numpy")
SIZES, MS = (4, 6, 3), 1e-3
TAU, GATE, T = 12 * MS, 5 * MS, 30 * MS
VALUES = {
    "tau_m": "10*ms", "tau_elig": "12*ms", "beta": "0.01", "g": "5", "c": "4", "sigma": "0.25", "eta": "0.2",
    "eta_half": "1e12", "lr_hidden": "2", "eta_hom": "0", "u_trg": "0", "n_R": "4",
    "T": "30*ms", "dt": "1*ms", "ramp": "0*ms", "gate": "5*ms", "decision": "T",
}  # fmt: skip
STAGES = {"one stage": "rate_nla", "two stages": "rate_nla_late"}


def model_of(stages: str, **overrides: str) -> ModelSpec:
    return variant(STAGES[stages], None, {**VALUES, **overrides})


def kernel_integral(stages: str, t: float, tau: float = TAU) -> float:
    t = max(t, 0.0)
    return 1 - np.exp(-t / tau) * (1.0 if stages == "one stage" else 1 + t / tau)


def held_trials(
    simulation: EquilibriumSimulation, n: int
) -> tuple[list[float], list[list[np.ndarray]], list[list[np.ndarray]]]:
    """Run trials without rewards; return decision times, initial weights and the sources ebar rbar^T by trial."""
    times, sources, before = [], [], simulation.weights()
    for k in range(n):
        x = np.random.default_rng(k).standard_normal((1, SIZES[0]))
        times.append(simulation.next_decision)
        _, seen = simulation.decide_recorded(x, events())
        u, ebar = (layers(values[0, -1], SIZES) for values in (seen.u, seen.ebar))
        rates = [x[0], np.tanh(u[0])]
        sources.append([np.outer(e, np.append(r, 1.0)) for e, r in zip(ebar, rates, strict=True)])
    return times, [w[0] for w in before], sources


def expected_change(
    stages: str, times: list[float], sources: list[list[np.ndarray]], t: float, delta: float, credit: float
) -> list[np.ndarray]:
    held = [kernel_integral(stages, t - d + GATE) - kernel_integral(stages, t - d) for d in times]
    rate = 0.2 / (0.01 * credit) * delta
    total = [sum(h * s[l] for h, s in zip(held, sources, strict=True)) for l in range(2)]
    return [2 * rate * total[0], rate * total[1]]


@BOTH
@CORES
@pytest.mark.parametrize("delay", ["none", "iterations:1", "iterations:2", "fixed:7ms", "fixed:41.3ms", "gamma:2,0.5T"])
@pytest.mark.parametrize("stages", STAGES)
def test_each_delay(stages: str, delay: str, core: str) -> None:
    """A reward for the second of four trials lands on the eligibility of its own time, among the others'."""
    law = RewardDelay.parse(delay)
    with build(model_of(stages), SIZES, core=core, delay=delay, rtol=1e-13) as simulation:
        channel = RewardChannel(law, 1, T, [np.random.default_rng(5)])
        credit = simulation.network.credit
        times, before, sources = held_trials(simulation, 2)
        channel.send(None, times[1], [1.5])
        t, delta = None, 1.5 - 1 / 3
        for k in (2, 3):
            batch = channel.due(simulation.next_decision)
            if len(batch):
                t = float(batch.time[0])
            x = np.random.default_rng(k).standard_normal((1, SIZES[0]))
            decision = simulation.next_decision
            _, seen = simulation.decide_recorded(x, batch)
            u, ebar = (layers(values[0, -1], SIZES) for values in (seen.u, seen.ebar))
            rates = [x[0], np.tanh(u[0])]
            times.append(decision)
            sources.append([np.outer(e, np.append(r, 1.0)) for e, r in zip(ebar, rates, strict=True)])
            assert t is None or not decision - GATE < t < decision - 1e-12, "it must not arrive inside a gate"
        rest = channel.drain()
        t = float(rest.time[0]) if t is None else t
        simulation.finish(rest)
        assert simulation.delivered == channel.delivered_out == 1
        after = [w[0] for w in simulation.weights()]
    used = [k for k, d in enumerate(times) if d <= t + 1e-12]  # trials that were over when it arrived
    expected = expected_change(stages, [times[k] for k in used], [sources[k] for k in used], t, delta, credit)
    for old, new, change in zip(before, after, expected, strict=True):
        np.testing.assert_allclose(new - old, change, rtol=0, atol=1e-9 * np.abs(change).max())
        assert np.abs(change).max() > 1e-3


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize(
    ("delay", "bound"), [("none", 1e-12), ("iterations:1", 1e-12), ("fixed:7ms", 1e-12), ("gamma:2,0.5T", 0.03)]
)
def test_credit_is_the_weight_of_the_rewarded_trial(stages: str, delay: str, bound: float) -> None:
    """A random delay is averaged over 4096 draws: their standard error is about 1 %."""
    law = RewardDelay.parse(delay)

    def held(d: float) -> float:
        return kernel_integral(stages, d + GATE) - kernel_integral(stages, d)

    if law.kind == "gamma":
        scale = 0.5 * T
        expected, _ = quad(lambda d: d * np.exp(-d / scale) / scale**2 * held(d), 0, 40 * scale)
    else:
        expected = held(law.mean(T))
    network = NetworkSpec(model_of(stages), SIZES, (1,), delay=law)
    assert network.credit == pytest.approx(expected, rel=bound)


@BOTH
@CORES
@pytest.mark.parametrize("stages", STAGES)
def test_several_rewards_under_way_across_trials(stages: str, core: str) -> None:
    """Three rewards of which two cross, each on the weights and the trace of its own time."""
    with build(model_of(stages), SIZES, core=core, rtol=1e-13) as simulation:
        times, before, sources = held_trials(simulation, 2)
        last = times[-1]
        rewards = [(last + 4.2 * MS, 1.0), (last + 9.9 * MS, -0.5), (last + 10.0 * MS, 2.0)]
        simulation.finish(events(*((0, t, value) for t, value in rewards)))
        after = [w[0] for w in simulation.weights()]
        mean, total = 1 / 3, [np.zeros_like(w) for w in before]
        for t, value in rewards:
            delta = value - mean
            mean += delta / 4
            change = expected_change(stages, times, sources, t, delta, simulation.network.credit)
            total = [a + b for a, b in zip(total, change, strict=True)]
        assert simulation.diagnostics()["reward.R_mean"][0] == pytest.approx(mean, rel=1e-12)
        assert simulation.delivered == 3
    for old, new, change in zip(before, after, total, strict=True):
        np.testing.assert_allclose(new - old, change, rtol=0, atol=1e-9 * np.abs(change).max())


# ---- a neuromodulator that decays ---------------------------------------------------------------------


def pulse_change(core: str, dt: str, tau_elig: float, tau_d: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the weight change after the pulse has decayed, and what the event alone would have made of it."""
    values = {**VALUES, "dt": dt, "tau_elig": f"{tau_elig}*ms", "tau_D": f"{tau_d}*ms"}
    with build(variant("rate_nla_pulse", None, values), SIZES, core=core, rtol=1e-13) as simulation:
        times, before, sources = held_trials(simulation, 1)
        simulation.finish(events((0, times[0], 1.5)))
        credit, after = simulation.network.credit, simulation.weights()
        assert not simulation.diagnostics()["reward.D"].any()
    held = 1 - np.exp(-GATE / (tau_elig * MS))
    rate = 0.2 / (0.01 * credit) * (1.5 - 1 / 3) * held
    event = [2 * rate * sources[0][0], rate * sources[0][1]]
    return [new[0] - old for old, new in zip(before, after, strict=True)], event


@BOTH
@CORES
def test_a_pulse_is_a_convolution(core: str) -> None:
    """The integral of exp(-t/tau_D)/tau_D exp(-t/tau_elig) is tau_elig/(tau_elig + tau_D); midpoint: order 2."""
    found = []
    for dt in ("1*ms", "0.5*ms", "0.25*ms"):
        got, event = pulse_change(core, dt, 12.0, 5.0)
        exact = [12 / 17 * e for e in event]
        found.append(max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(got, exact, strict=True)))
    orders = [np.log2(a / b) for a, b in pairwise(found)]
    assert orders == pytest.approx([2.0, 2.0], abs=0.05)
    assert found[-1] < 2e-4


@BOTH
@CORES
def test_a_short_pulse_does_what_the_event_does(core: str) -> None:
    """tau_elig = 1000 tau_D: all but a thousandth."""
    got, event = pulse_change(core, "0.5*ms", 2000.0, 2.0)
    for a, b in zip(got, event, strict=True):
        np.testing.assert_allclose(a, b * 2000 / 2002, rtol=0, atol=1e-5 * np.abs(b).max())


@BOTH
@CORES
def test_pulses_add_up(core: str) -> None:
    """Two pulses that overlap change the weights by the sum of what each would: D is linear."""
    model = variant("rate_nla_pulse", None, {**VALUES, "tau_D": "8*ms", "n_R": "1e12", "dt": "0.1*ms"})
    changes = []
    for chosen in ([0], [1], [0, 1]):
        with build(model, SIZES, core=core, rtol=1e-13) as simulation:
            times, before, _ = held_trials(simulation, 1)
            both = [(0, times[0] + 1 * MS, 1.0), (0, times[0] + 4 * MS, -2.0)]
            simulation.finish(events(*(both[k] for k in chosen)))
            changes.append([w[0] - b for w, b in zip(simulation.weights(), before, strict=True)])
    for one, other, sum_ in zip(*changes, strict=True):
        np.testing.assert_allclose(one + other, sum_, rtol=0, atol=2e-5 * np.abs(sum_).max())


# ---- several channels -----------------------------------------------------------------------------------

NOVELTY = {
    "[neuromodulator.reward]": '[neuromodulator.novelty]\non_event = "amount = 2*R"\n\n[neuromodulator.reward]',
    "[synapse.action]": '[synapse.action]\non_event.novelty = "w += amount*E"',
}


@BOTH
@CORES
def test_several_channels(core: str) -> None:
    """A channel acts where the file says so, by its own rule, and leaves the others' variables alone."""
    model = variant("rate_nla", NOVELTY, VALUES)
    with build(model, SIZES, core=core, rtol=1e-13) as simulation:
        novelty, reward = simulation.channels.index("novelty"), simulation.channels.index("reward")
        times, before, sources = held_trials(simulation, 1)
        t = times[0] + 3 * MS
        simulation.finish(events((0, t, 5.0, novelty)))
        after = simulation.weights()
        held = kernel_integral("one stage", 8 * MS) - kernel_integral("one stage", 3 * MS)
        np.testing.assert_array_equal(after[0][0], before[0])
        np.testing.assert_allclose(after[1][0] - before[1], 10.0 * held * sources[0][1], rtol=0, atol=1e-10)
        assert simulation.diagnostics()["reward.R_mean"][0] == 1 / 3
        simulation.finish(events((0, t + 10 * MS, 1.0, reward), (0, t + 10 * MS, 1.0, novelty)))
        assert simulation.delivered == 3
        assert simulation.diagnostics()["reward.R_mean"][0] == pytest.approx(1 / 3 + (1 - 1 / 3) / 4)


# ---- between two runs -----------------------------------------------------------------------------------


@BOTH
@CORES
@pytest.mark.parametrize("stages", STAGES)
def test_time_goes_on_between_two_runs(stages: str, core: str) -> None:
    """After finish() the next trial begins on the grid of trials; what the trace held has decayed until then.

    All agents wait for the last event of any, and their traces wait with them.
    """
    with build(model_of(stages), SIZES, (1, 2), core=core, rtol=1e-13) as simulation:
        simulation.decide(np.zeros((2, SIZES[0])), events())
        before = simulation.traces()
        late = T + 47.7 * MS
        simulation.finish(events((1, late, 0.7)))
        after = simulation.traces()
        waited = late - T
        for z0, z1 in zip(before, after, strict=True):
            decay = np.exp(-waited / TAU)
            if stages == "one stage":
                expected = [z0[:, k] * decay for k in range(z0.shape[1])]
            else:
                expected = []
                for k in range(0, z0.shape[1], 2):
                    expected += [z0[:, k] * decay, (z0[:, k + 1] + z0[:, k] * waited / TAU) * decay]
            np.testing.assert_allclose(z1, np.stack(expected, axis=1), rtol=1e-9, atol=1e-18)
        assert simulation.next_decision == pytest.approx(4 * T)  # 77.7 ms lies in the third trial
        simulation.decide(np.zeros((2, SIZES[0])), events())
        simulation.finish(events())
        assert simulation.next_decision == pytest.approx(5 * T)
        assert simulation.delivered == 1
        assert simulation.decisions == 2


@BOTH
@CORES
def test_a_pulse_is_over_when_finish_returns(core: str) -> None:
    model = variant("rate_nla_pulse", None, {**VALUES, "tau_D": "20*ms"})
    with build(model, SIZES, (1, 2), core=core) as simulation:
        simulation.decide(np.zeros((2, SIZES[0])), events())
        simulation.finish(events((0, T + 1 * MS, 1.0)))
        assert not simulation.diagnostics()["reward.D"].any()
        # it has taken time: 20 ms times the logarithm of some millions
        assert simulation.next_decision > T + 0.2
        assert simulation.delivered == 1
