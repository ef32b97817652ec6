"""Networks on an emulated chip: strings, dynamics, loop, states, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rnla_neuro import Agent, load_model
from rnla_neuro.errors import ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.hardware.emulation.build import on_chip
from rnla_neuro.hardware.emulation.chip import Chip
from rnla_neuro.hardware.emulation.effects import effects_of
from rnla_neuro.hardware.emulation.simulation import ChipSimulation, OnChip
from rnla_neuro.hardware.emulation.strings import affected, emulated
from rnla_neuro.hardware.emulation.weights import Fixed, IntegerWeights
from rnla_neuro.hardware.reading import load_hardware, parse_hardware
from rnla_neuro.session import RunRequest, Session
from rnla_neuro.simulation import Simulation
from rnla_neuro.spec.equations import split_equations
from rnla_neuro.spec.inputs import with_input

BSS2 = load_hardware("brainscales2")
NO_STRINGS = ("tau_m", "tau_syn", "readout")
PLAIN = {"backend": "brian2", "road": "plain", "core": "numpy"}


def session(task="xor", model="rate_nla", off=NO_STRINGS, hardware="brainscales2", chip=(3,), **more):
    return Session(RunRequest(task=task, model=model, hardware=hardware, chip_seed=chip, chip_off=off, **more))


def only(*effects, file=BSS2):
    """Return what to switch off so that only these effects are left."""
    everything = ("quantisation", "tau_m", "tau_syn", "threshold", "reset", "leak", "weight", "trial", "readout")
    return tuple(name for name in (*everything, "inputs", "between_runs") if name not in effects)


# ---- strings --------------------------------------------------------------------------------------------
def test_time_constants_membranes_and_readings_are_found_in_the_strings():
    made = emulated(load_model("spiking_lif_nla"), effects_of(BSS2), 64)
    hidden = split_equations(made.model.hidden.equations, "")
    assert hidden["u"].text == "(I - u) / (tau_m * k_tau_m)"
    assert hidden["V"].text == "(J - (V - k_leak)) / (tau_mem * k_tau_mem)"
    assert hidden["s"].text == "-s / (tau_s * k_tau_s)"
    assert "V - k_threshold - V_th" in made.model.hidden.threshold
    assert made.model.hidden.reset.splitlines() == ["V = V_reset + k_reset", "s += 1/(r_max*tau_s)"]
    kinds = {name: one.quantity for name, one in made.constants["hidden"].items()}
    assert kinds == {
        "k_tau_m": "tau_m", "k_tau_mem": "tau_m", "k_tau_s": "tau_syn",
        "k_threshold": "threshold", "k_reset": "reset", "k_leak": "leak",
    }  # fmt: skip
    assert "u_read" in hidden["ebar"].text
    assert "u_read_post" in made.model.synapse_action.equations
    assert made.model.action.group == {"p": "softmax(g*(I + noise))", "soft": "softmax(u_read / (c * sigma))"}
    assert not made.at_bias
    assert affected(made) == ("tau_m", "tau_syn", "threshold", "reset", "leak")


def test_neurons_without_a_membrane_have_their_threshold_in_their_bias():
    for name in ("rate_nla", "spiking_poisson_nla"):
        made = emulated(load_model(name), effects_of(BSS2), 64)
        assert made.at_bias == {"hidden": ("threshold", "leak"), "action": ("threshold", "leak")}
        assert affected(made)[0] == "tau_m"


def test_a_threshold_that_is_a_number_and_a_reset_by_subtraction_move_too():
    made = emulated(load_model("spiking_nla"), effects_of(BSS2, off=("readout",)), 64)
    assert made.model.hidden.threshold == "q - k_threshold >= 1"
    assert "q -= 1 + k_reset" in made.model.hidden.reset
    assert made.constants["hidden"]["k_threshold"].scale == 1.0
    assert "k_leak" not in made.constants["hidden"]  # an integrator does not leak


def test_a_reading_is_a_staircase_of_the_converter():
    made = emulated(load_model("spiking_lif_nla"), effects_of(BSS2), 64)
    text = split_equations(made.model.hidden.equations, "")["u_read"].text
    step = 16 / 180
    u = np.linspace(-12, 12, 40_001)
    chance = np.random.default_rng(0).random(u.size)
    names = {"floor": np.floor, "clip": np.clip, "u": u, "chance": chance}
    read = eval(text, {"__builtins__": {}}, names)
    whole = (read + 8) / step
    assert np.abs(whole - np.rint(whole)).max() < 1e-9  # whole LSB
    assert read.min() == pytest.approx(-8)
    assert read.max() == pytest.approx(8)
    inside = np.abs(u) < 7.5
    error = (read - u)[inside] / step
    # a noise of 1 LSB and a rounding, uniform over an LSB: variance 1 + 1/12
    assert error.std() == pytest.approx(np.sqrt(1 + 1 / 12), rel=0.02)
    assert abs(error.mean()) < 0.03
    calm = re.sub(r"\+ [\d.]+\*\(4096\*chance.*?0\.5\)", "", text)
    exact = eval(calm, {"__builtins__": {}}, names)
    assert np.abs(exact - u)[inside].max() <= step / 2 + 1e-12


def test_a_model_whose_threshold_is_no_number_is_refused():
    model = load_model("spiking_nla")
    text = model.text.replace('threshold = "q >= 1"', 'threshold = "q >= 1 + u**2"', 1)
    from rnla_neuro.spec.loader import parse_model

    changed = parse_model(text, model.path)
    with pytest.raises(ConfigError, match=r"cannot be emulated because .* way out: --chip-off threshold,reset,leak"):
        emulated(changed, effects_of(BSS2), 64)
    assert emulated(changed, effects_of(BSS2, off=("threshold", "reset", "leak")), 64).constants


# ---- dynamics -------------------------------------------------------------------------------------------
def record(run, x):
    simulation = run.simulation
    return simulation.decide_recorded(np.tile(x, (simulation.n_agents, 1)), EventBatch.empty())[1]


def test_a_leaky_voltage_has_the_time_constant_of_its_circuit():
    x = np.array([1.0, -1.0])
    with session(model="spiking_lif_nla", off=only("tau_m", "weight"), hidden=(5,), **PLAIN) as run:
        seen = record(run, x)
        weights = run.simulation.effective()[0][0]
        chip = Chip(BSS2, effects_of(BSS2, off=only("tau_m", "weight")), 3)
    current = weights[:, :2] @ x + weights[:, 2]
    factor = 1.0 + chip.deviations("tau_m", "hidden1", 5)
    steps = np.arange(100)[:, None]
    # Euler steps of 1 ms towards a constant current; where the drive is zero nothing could be seen
    expected = current * (1 - (1 - 1e-3 / (10e-3 * factor)) ** steps)
    assert np.abs(current).min() > 0.05
    assert factor.std() > 0.05
    np.testing.assert_allclose(seen.u[0][:, :5], expected, rtol=1e-9, atol=1e-12)


def test_thresholds_rests_and_resets_are_those_of_the_circuits():
    """The spikes of leaky neurons under a held current, beside the same membrane written out here."""
    off, x = only("threshold", "reset", "leak"), np.array([1.0, 1.0])
    with session(model="spiking_nir_nla", off=off, calibrated=False, hidden=(12,), **PLAIN) as run:
        spikes = record(run, x).spikes[0][:, 2:14]
        weights, made = run.simulation.effective()[0][0], run.network.model.parameters
    chip = Chip(BSS2, effects_of(BSS2, off=off, calibrated=False), 3)
    theta, reset, leak = (chip.deviations(name, "hidden1", 12) for name in ("threshold", "reset", "leak"))
    current = made["rest"].value + made["slope"].value * (weights[:, :2] @ x + weights[:, 2])
    v, expected = np.zeros(12), []
    for _ in range(len(spikes)):
        v += 0.5e-3 * (current - (v - leak)) / made["tau_mem"].value
        expected.append(v >= 1.0 + theta)
        v = np.where(expected[-1], reset, v)
    assert np.array_equal(spikes, np.array(expected))
    assert spikes.sum() > 20
    assert len({int(one) for one in spikes.sum(axis=0)}) > 4


def test_input_spikes_above_the_limit_are_lost_and_counted():
    limited = parse_hardware(BSS2.text.replace('value = 125\nunit = "MHz"', 'value = 0.4\nunit = "MHz"'), BSS2.path)
    rate = limited.inputs.rate.number / limited.speed_up / 2  # a neuron's share, in biological time
    assert rate == 200.0
    model = with_input(load_model("spiking_lif_nla"), "regular")
    with session(model="spiking_lif_nla", input="regular", off=only("inputs"), hidden=(3,), **PLAIN) as run:
        network, options = run.network, {"road": "plain", "target": "numpy"}
    assert network.model.input.threshold == model.input.threshold
    from rnla_neuro.backend import get_backend

    backend = get_backend("brian2")
    simulation = on_chip(network, limited, lambda n: backend.build(n, **options), off=only("inputs"))
    x = np.array([[1.0, 0.2]])
    spikes = simulation.decide_recorded(x, EventBatch.empty())[1].spikes[0][:, :2]
    sent, lost = int(spikes.sum()), 0
    for neuron in spikes.T:
        wait = 0.0
        for fired in neuron:  # a share of 200 Hz is a spike in 5 steps
            wait -= rate * 1e-3 * (wait > 1e-6)
            if fired:
                lost += int(wait > 1e-6)
                wait += float(wait <= 1e-6)
    told = simulation.hardware()["input_spikes_lost"]
    assert told == lost
    assert 0 < lost < sent
    counts = simulation.spike_counts()
    assert counts is not None
    assert counts[0, 0] == sent
    simulation.close()


# ---- the loop -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {"model": "rate_nla"},
        {"model": "rate_nla_late", "reward_delay": "gamma:2,15ms"},
        {"model": "rate_nla", "learner": "reinforce"},
        {"model": "spiking_lif_nla", **PLAIN},
    ],
    ids=str,
)
def test_the_ideal_platform_gives_the_plain_run_to_the_bit(options):
    n = 3 if "road" in options else 150
    with session(hardware="ideal", off=(), seeds=(1, 2), **options) as chip:
        chip.train(n)
        chip.finish()
    with Session(RunRequest(task="xor", seeds=(1, 2), **options)) as plain:
        plain.train(n)
        plain.finish()
    assert isinstance(chip.simulation, ChipSimulation)
    for a, b in zip(chip.simulation.weights(), plain.simulation.weights(), strict=True):
        assert np.array_equal(a, b)


def test_weights_stay_on_the_grid_and_change_between_runs_only():
    with session(model="rate_nla_late", reward_delay="gamma:2,15ms", off=(*NO_STRINGS, "trial")) as run:
        simulation = run.simulation
        for _ in range(100):
            run.train(1)
            for w, inner in zip(simulation.effective(), simulation.inner.weights(), strict=True):
                assert np.array_equal(w, inner)  # what was written before the run is what there is after it
        run.finish()
        step = BSS2.weight_step
        for w in simulation.weights():
            assert np.abs(w / step - np.rint(w / step)).max() < 1e-9
        assert simulation.delivered == 100


class Inner(Simulation):
    """A simulation whose weights each event moves by its value."""

    def __init__(self, weights, channels=("reward",)):
        self.n_agents, self.sizes, self.channels = len(weights[0]), (2, 3, 4), channels
        self.trial_duration = self.decision_time = 0.1
        self.decisions = self.delivered = self.skipped = 0
        self.own = [w.copy() for w in weights]

    def settle(self, events):
        for agent, value in zip(events.agent, events.value, strict=True):
            for w in self.own:
                w[agent] += value
        self.delivered += len(events)

    def decide(self, observation, events, label=None):
        assert not len(events)
        self.decisions += 1
        return np.zeros(self.n_agents, dtype=np.int64)

    finish = settle

    def weights(self):
        return [w.copy() for w in self.own]

    def set_weights(self, weights):
        self.own = [w.copy() for w in weights]

    predict = policy = state = restore = decide


def test_the_change_of_the_weights_is_right_on_average_whatever_the_synapses_are():
    """The mean over agents is what the events asked for, though synapses are weaker or stronger by half."""
    n, shape = 300, (3, 4)
    rng = np.random.default_rng(2)
    start = [np.zeros((n, *shape))]
    fixed = [Fixed(0.5 * rng.normal(size=start[0].shape), 0.5 * rng.normal(size=start[0].shape))]
    effects = effects_of(BSS2, off=("trial",))
    seeds = tuple(range(n))
    weights = IntegerWeights(effects.grid, start, fixed, [np.random.SeedSequence(k) for k in seeds])
    chip = ChipSimulation(Inner(start), OnChip(effects, seeds, seeds, weights, [None]))
    asked = 0.3 * effects.grid.step
    agents = np.arange(n)
    for k in range(20):
        events = EventBatch(agents, np.full(n, 0.1 * k), np.zeros(n, np.int64), np.full(n, asked))
        chip.decide(np.zeros((n, 2)), events)
    got = chip.weights()[0] / effects.grid.step
    assert np.array_equal(got, np.rint(got))
    error = np.sqrt(20 * 0.3 * 0.7 / got.size)
    assert abs(got.mean() - 6.0) < 4 * error
    assert chip.hardware()["updates"] == 20 * n == chip.delivered


def test_an_event_during_a_run_waits_for_its_end():
    effects = effects_of(BSS2, off=("trial",))
    start = [np.zeros((1, 3, 4))]
    weights = IntegerWeights(effects.grid, start, [Fixed(start[0], start[0])], [np.random.SeedSequence(1)])
    inner = Inner(start)
    inner.decision_time = 0.05  # events may come after a trial has begun
    chip = ChipSimulation(inner, OnChip(effects, (1,), (1,), weights, [None]))
    late = EventBatch(np.zeros(1, np.int64), np.array([0.03]), np.zeros(1, np.int64), np.array([effects.grid.step]))
    chip.decide(np.zeros((1, 2)), late)
    assert not chip.weights()[0].any()
    assert chip.delivered == 0
    state = dict(chip._held.state().items())
    assert state["time"].tolist() == [0.03]
    chip.decide(np.zeros((1, 2)), EventBatch.empty())
    assert (chip.weights()[0] == effects.grid.step).all()
    assert chip.delivered == 1


def test_trial_noise_is_new_in_each_trial_and_has_its_spread():
    with session(off=only("trial"), hidden=(40,), seeds=(1, 2), chip=(1, 2)) as run:
        simulation, seen = run.simulation, []
        clean = [w[:, :, -1] for w in simulation.effective()]
        for _ in range(60):
            run.simulation.decide(np.ones((2, 2)), EventBatch.empty())
            seen.append(
                np.concatenate([w[:, :, -1] - c for w, c in zip(simulation.inner.weights(), clean, strict=True)], 1)
            )
        noise = np.array(seen)
        assert noise.std() == pytest.approx(0.05, rel=4 / np.sqrt(2 * noise.size))
        assert abs(noise.mean()) < 4 * 0.05 / np.sqrt(noise.size)
        flat = noise.reshape(60, -1)
        assert np.abs(np.corrcoef(flat)[~np.eye(60, dtype=bool)]).max() < 0.5  # 84 numbers a trial
        simulation.policy(np.ones((1, 2)))
        for w, c in zip(simulation.inner.weights(), clean, strict=True):
            assert np.array_equal(w[:, :, -1], c)


def test_looking_changes_nothing():
    looked, straight = (session(off=NO_STRINGS) for _ in range(2))
    with looked, straight:
        for run in (looked, straight):
            run.train(20)
        looked.simulation.predict(np.ones((3, 2)))
        looked.simulation.policy(np.ones((3, 2)))
        for run in (looked, straight):
            run.train(20)
        for a, b in zip(looked.simulation.weights(), straight.simulation.weights(), strict=True):
            assert np.array_equal(a, b)


def test_a_chip_is_the_same_again_and_agents_do_not_see_each_other():
    def weights(seeds, chips):
        with session(seeds=seeds, chip=chips) as run:
            run.train(30)
            return run.simulation.effective()

    both, second, other = weights((1, 2), (5, 6)), weights((2,), (6,)), weights((2,), (7,))
    for a, b, c in zip(both, second, other, strict=True):
        assert np.array_equal(a[1], b[0])
        assert not np.array_equal(b, c)


@pytest.mark.parametrize("delay", ["none", "gamma:2,15ms"])
def test_an_agent_goes_on_to_the_bit_where_it_was_saved(tmp_path, delay):
    made = {"hardware": "brainscales2", "chip_seed": 3, "chip_off": NO_STRINGS, "reward_delay": delay}
    with Agent("rate_nla_late", "xor", **made) as straight, Agent("rate_nla_late", "xor", **made) as first:
        straight.learn(40).finish().learn(40).finish()
        first.learn(40).save(tmp_path / "a")
    with Agent.load(tmp_path / "a") as again:
        assert again.request.chip_seed == (3,)
        assert "[weights" in again.request.hardware_text
        again.learn(40).finish()
        for a, b in zip(straight.session.simulation.weights(), again.session.simulation.weights(), strict=True):
            assert np.array_equal(a, b)
        assert again.session.simulation.hardware() == straight.session.simulation.hardware()


def test_the_python_door_takes_what_the_command_line_takes():
    with Agent("rate_nla", "xor", hardware="brainscales2", chip_seed=np.int64(3), chip_off="tau_m,readout") as agent:
        assert agent.request.chip_seed == (3,)
        assert agent.request.chip_off == ("tau_m", "readout")
    for seed in (1.5, "3", True):
        with pytest.raises(ConfigError, match="chip seed"):
            Agent("rate_nla", "xor", hardware="brainscales2", chip_seed=seed, chip_off="tau_m,readout")


def test_trained_weights_are_rounded_when_they_are_loaded():
    with session(off=NO_STRINGS) as run:
        wanted = [np.full_like(w, 0.3333) for w in run.simulation.weights()]
        run.simulation.set_weights(wanted)
        for w in run.simulation.weights():
            assert np.abs(w - 0.3333).max() <= BSS2.weight_step
        with pytest.raises(ConfigError, match="do not fit this network"):
            run.simulation.set_weights([w[:, :1] for w in wanted])


def test_reinforce_learns_on_the_same_weights():
    with session(learner="reinforce", seeds=(1,), off=NO_STRINGS) as run:
        run.train(300)
        run.finish()
        told = run.simulation.hardware()
    assert told["updates"] == 300
    assert told["rounded"] > 0


# ---- what is refused ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"chip_seed": (3,)}, "--chip-seed: there is no chip without --hardware"),
        ({"calibrated": False}, "--uncalibrated: there is no chip without --hardware"),
        ({"chip_off": ("trial",)}, "--chip-off: there is no chip without --hardware"),
        ({"hardware": "brainscales3"}, "unknown platform 'brainscales3': did you mean 'brainscales2'"),
        ({"hardware": "brainscales2", "chip_seed": (1, 2)}, "2 chips for 1 seeds"),
        ({"hardware": "brainscales2", "chip_off": ("noise",)}, "--chip-off: unknown effect 'noise'"),
        ({"hardware": "brainscales2", "learner": "backprop"}, "learner 'backprop' on --hardware brainscales2"),
        ({"hardware": "brainscales2"}, "backend 'equilibrium' cannot emulate tau_m, readout of .*way out"),
        ({"hardware": "brainscales2", "learner": "reinforce"}, "learner 'reinforce' cannot emulate tau_m, readout"),
        ({"hardware": "brainscales2", "model": "rate_nla_pulse"}, "its weights move at every moment"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(request_, message):
    with pytest.raises(ConfigError, match=message):
        Session(RunRequest(**({"task": "xor", "model": "rate_nla"} | request_))).close()
