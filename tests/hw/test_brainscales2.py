"""The adapter of BrainScaleS-2 against the double: each call that it makes keeps to CONTRACT.md, or fails."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.errors import BackendError, MissingExtraError
from rnla_neuro.hardware.reading import load_hardware
from rnla_neuro_backends.pynn_adapter import brainscales2_units as units
from rnla_neuro_backends.pynn_adapter.plan import Cells, Link, Plan, Source, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.simulators import brainscales2
from rnla_neuro_backends.pynn_adapter.simulators.brainscales2 import Brainscales2Simulator, ClippedWeightsWarning

pytestmark = pytest.mark.backend("pynn:brainscales2-double")
SCALE = 0.75  # nA a unit of weight: a spike of weight 1 holds up half of threshold minus rest


def cells(name, size, **changes):
    return Cells(name, size, **({"tau_m": 10.0, "tau_syn": 10.0, "t_ref": 2.0} | changes))


def plan(n_in=8, n_hidden=4, n_out=3, *, n_agents=1, noise=0.0, **changes):
    sources = [Source("input", n_in)]
    links = [
        Link("first", "input", "hidden1", SCALE),
        Link("second", "hidden1", "action", SCALE),
        Link("inhibition", "action", "action", SCALE, fixed=-(1.0 - np.eye(n_out))),
    ]
    if noise:
        sources.append(Source("noise", n_out, rate=noise))
        links.append(Link("noise", "noise", "action", SCALE, fixed=np.eye(n_out)))
    return Plan(
        (cells("hidden1", n_hidden, **changes), cells("action", n_out)),
        tuple(sources),
        tuple(links),
        n_agents,
        1.0,
        1.0,
        100.0,
    )


def regular(n, period=5.0):
    times = np.arange(1.0, 100.0, period)
    return Spikes(np.repeat(np.arange(n), len(times)), np.tile(times, n))


@pytest.fixture
def simulator(chip):
    made = Brainscales2Simulator()
    yield made
    made.close()


# -- what it does ----------------------------------------------------------------------------------------


def test_the_gain_is_measured_and_the_biases_follow(chip, simulator):
    simulator.open(plan())
    from pynn_brainscales.brainscales2 import chip as emulated

    measured = simulator.units.unit / simulator.units.gm[0] * units.DEFAULT_GM
    assert measured == pytest.approx(emulated.LSB_PER_WEIGHT, rel=0.05)
    step = load_hardware("brainscales2").weight_step
    assert simulator.units.unit == pytest.approx(0.5 * step * 45)  # 1 on the chip is one step of the host's weights
    assert simulator.populations["hidden1"].get("i_synin_gm_E") == simulator.units.gm[0]


def test_a_weaker_chip_gets_a_stronger_bias(chip, simulator, monkeypatch):
    from pynn_brainscales.brainscales2 import chip as emulated

    simulator.open(plan())
    strong = simulator.units.gm[0]
    simulator.close()
    monkeypatch.setattr(emulated, "LSB_PER_WEIGHT", 0.6)
    simulator.open(plan())
    assert simulator.units.gm[0] == pytest.approx(strong / 0.6, rel=0.05)
    simulator.close()
    monkeypatch.setattr(emulated, "LSB_PER_WEIGHT", 0.25)  # out of reach: threshold and rest come closer instead
    simulator.open(plan())
    assert simulator.units.gm[0] == 800
    assert 20 <= simulator.units.span < 45


def test_weights_are_pairs_of_whole_numbers(simulator):
    simulator.open(plan())
    step = simulator.units.step
    weights = np.arange(-16, 16).reshape(4, 8) * step
    simulator.write("first", 0, weights)
    on = simulator.projections["first", 0, "excitatory"][0].get("weight", format="array")
    off = simulator.projections["first", 0, "inhibitory"][0].get("weight", format="array")
    np.testing.assert_array_equal(on + off, np.arange(-16, 16).reshape(4, 8).T)
    assert on.min() == 0
    assert off.max() == 0
    with pytest.warns(ClippedWeightsWarning, match=r"weights of first are beyond 2, the most that 1 synapses"):
        simulator.write("first", 0, weights * 10)
    assert simulator.projections["first", 0, "excitatory"][0].get("weight", format="array").max() == 63
    assert simulator.clipped == np.sum(np.abs(np.arange(-16, 16) * 10) > 63)


def test_only_what_changed_is_set(simulator, monkeypatch):
    simulator.open(plan())
    weights = np.full((4, 8), 5.0 * simulator.units.step)
    simulator.write("first", 0, weights)
    calls = []
    for key, (projection,) in simulator.projections.items():
        monkeypatch.setattr(projection, "set", lambda key=key, **given: calls.append(key))
    simulator.write("first", 0, weights)
    assert calls == []
    weights[0, 0] += simulator.units.step
    simulator.write("first", 0, weights)
    assert calls == [("first", 0, "excitatory")]


def test_a_decision_is_one_run_and_runs_repeat(simulator):
    simulator.open(plan())
    simulator.write("first", 0, np.full((4, 8), 0.3))
    simulator.write("second", 0, np.full((3, 4), 1.0))
    before = simulator.runs
    first, second = (simulator.run(Trial({"input": regular(8)})) for _ in range(2))
    assert simulator.runs == before + 2
    assert set(first) == {"hidden1", "action"}
    assert len(first["hidden1"].time) > 8
    assert 0 < first["hidden1"].time.min() < first["hidden1"].time.max() <= 100.0  # biological ms
    for name in first:
        np.testing.assert_array_equal(first[name].time, second[name].time)
        np.testing.assert_array_equal(first[name].index, second[name].index)
    assert len(simulator.run(Trial())["hidden1"].time) == 0


def test_trials_with_the_same_weights_share_a_hardware_run(simulator, monkeypatch):
    simulator.open(plan())
    simulator.write("first", 0, np.full((4, 8), 0.3))
    given = [Trial({"input": regular(8, period)}) for period in (5.0, 50.0, 10.0)]
    alone = [simulator.run(trial) for trial in given]
    before = simulator.runs
    together = simulator.run_all(given)
    assert simulator.runs == before + 1
    for one, other in zip(alone, together, strict=True):
        assert len(other["hidden1"].time) == pytest.approx(len(one["hidden1"].time), abs=4)
        if len(one["hidden1"].time):
            assert np.max(np.abs(np.sort(one["hidden1"].time)[:4] - np.sort(other["hidden1"].time)[:4])) < 1.5
    monkeypatch.setattr(brainscales2, "SNIPPETS", 2)
    simulator.run_all(given)
    assert simulator.runs == before + 3


def test_agents_do_not_touch_each_other(simulator):
    simulator.open(plan(n_agents=2))
    simulator.write("first", 1, np.full((4, 8), 0.3))
    spikes = simulator.run(Trial({"input": regular(16)}))["hidden1"]
    assert len(spikes.index) > 8
    assert spikes.index.min() == 4  # cells of the second agent alone


def test_noise_comes_from_the_generators_of_the_chip(simulator):
    simulator.open(plan(noise=400.0))
    simulator.write("first", 0, np.zeros((4, 8)))
    counts = [len(simulator.run(Trial())["action"].time) for _ in range(6)]
    assert sum(counts) > 0
    assert len(set(counts)) > 1  # new noise in each run
    assert simulator.populations["noise"].get("rate") == 400e3  # hardware time


def test_inhibition_that_is_fixed_may_take_several_synapses(simulator):
    wide = plan()
    strong = dataclasses.replace(wide.links[2], fixed=wide.links[2].fixed * 5)
    simulator.open(dataclasses.replace(wide, links=(*wide.links[:2], strong)))
    numbers = simulator.projections["inhibition", 0, "inhibitory"][0].get("weight", format="list")
    assert {row[2] for row in numbers} == {-round(5 / simulator.units.step)}
    assert -min(row[2] for row in numbers) > 63


def test_a_weight_that_does_more_takes_several_synapses(simulator):
    """The host's step is 1 where a unit of weight does least; where it does three times as much, it is 3 in all."""
    one = plan()
    second = dataclasses.replace(one.links[1], scale=3 * SCALE)
    simulator.open(dataclasses.replace(one, links=(one.links[0], second, one.links[2])))
    assert dict(simulator.units.parts) == {"first": 1, "second": 3}
    numbers = np.arange(-6, 6).reshape(3, 4)
    simulator.write("second", 0, numbers * simulator.units.step)
    pair = simulator.projections["second", 0, "excitatory"], simulator.projections["second", 0, "inhibitory"]
    shares = np.array([[one.get("weight", format="array").T for one in kind] for kind in pair])
    np.testing.assert_array_equal(shares.sum(axis=(0, 1)), 3 * numbers)
    assert np.ptp(shares, axis=1).max() <= 1
    with pytest.warns(ClippedWeightsWarning, match="12 weights of second"):
        simulator.write("second", 0, np.full((3, 4), 100.0))
    assert simulator.clipped == 12
    assert sum(one.get("weight", format="array")[0, 0] for one in pair[0]) == 3 * 63


def test_fewer_synapses_a_weight_where_rows_are_short(simulator):
    one = plan(n_hidden=60)
    second = dataclasses.replace(one.links[1], scale=3 * SCALE)
    simulator.open(dataclasses.replace(one, links=(one.links[0], second)))
    assert simulator.units.parts["second"] == 2  # 2 * 60 * 3 is more than 256


def test_a_bias_does_not_set_the_scale(simulator):
    one = plan()
    bias = Link("bias", "bias", "hidden1", SCALE / 20)
    simulator.open(dataclasses.replace(one, sources=(*one.sources, Source("bias", 1)), links=(*one.links, bias)))
    assert simulator.units.unit == pytest.approx(0.5 * simulator.units.step * 45)
    assert simulator.units.parts["bias"] == 2


def test_two_simulations_share_the_package(chip):
    """It holds one network; ours is built again, with its weights, when its turn comes."""
    one, two = Brainscales2Simulator(), Brainscales2Simulator()
    one.open(plan())
    one.write("first", 0, np.full((4, 8), 0.3))
    before = one.run(Trial({"input": regular(8)}))["hidden1"]
    two.open(plan(3, 2, 2))
    assert len(two.run(Trial({"input": regular(3)}))["hidden1"].time) == 0
    after = one.run(Trial({"input": regular(8)}))["hidden1"]
    np.testing.assert_array_equal(before.time, after.time)
    two.close()
    one.close()


def test_a_kernel_text_becomes_a_rule(pynn):
    rule = brainscales2.plasticity_rule(
        pynn, "void PLASTICITY_RULE_KERNEL(auto& synapses, auto& neurons) {}", start=0.1, period=0.1, count=2
    )
    assert isinstance(rule, pynn.PlasticityRule)
    population = pynn.Population(1, pynn.cells.CalibHXNeuronCuba())
    source = pynn.Population(1, pynn.cells.SpikeSourceArray(spike_times=[0.01]))
    synapse = pynn.synapses.PlasticSynapse(weight=3, plasticity_rule=rule)
    pynn.Projection(source, population, pynn.AllToAllConnector(), synapse, receptor_type="excitatory")
    pynn.run(0.3)
    assert rule.checked == 1
    assert len(rule.projections) == 1


def test_our_three_factor_kernel_is_a_rule_of_a_pair_of_projections(pynn):
    """The text of rnla_neuro.hardware.ppu, shared by the excitatory and the inhibitory projection of a layer."""
    from rnla_neuro.hardware.ppu import PpuRule, kernel_text

    text = kernel_text(PpuRule(n_pre=8, n_post=4, step=2 / 63, name="hidden"))
    rule = brainscales2.plasticity_rule(pynn, text, start=0.1, period=0.1, count=1)
    pre = pynn.Population(8, pynn.cells.SpikeSourceArray(spike_times=[0.01]))
    post = pynn.Population(4, pynn.cells.CalibHXNeuronCuba())
    pair = []
    for kind in ("excitatory", "inhibitory"):
        synapse = pynn.synapses.PlasticSynapse(weight=0, plasticity_rule=rule)
        pair.append(pynn.Projection(pre, post, pynn.AllToAllConnector(), synapse, receptor_type=kind))
    pynn.run(0.2)
    assert rule.checked == 1
    assert rule.projections == pair


# -- what it refuses -------------------------------------------------------------------------------------


def test_without_the_package_it_says_where_to_get_it():
    made = Brainscales2Simulator()
    with pytest.raises(MissingExtraError, match=r"(?s)no package index has it.*container.*EBRAINS.*docs/chips\.md"):
        made.open(plan())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tau_m": 100.0}, r"tau_m of 'hidden1' would be 100 µs.*0\.5 to 60"),
        ({"tau_syn": 0.1}, r"tau_syn of 'hidden1'.*0\.3 to 30"),
        ({"t_ref": 40.0}, r"t_ref of 'hidden1'.*0\.04 to 32"),
        ({"reset": -80.0}, r"reset of 'hidden1' would be 35 LSB.*50 to 160"),
    ],
)
def test_parameters_out_of_range(simulator, changes, says):
    with pytest.raises(BackendError, match=says):
        simulator.open(plan(**changes))


def test_a_layer_with_too_many_sources(simulator):
    with pytest.raises(BackendError, match=r"'hidden1' needs 258 synapses.*a circuit has 256.*fewer sources"):
        simulator.open(plan(129))
    simulator.open(plan(128))


def test_too_many_neurons(simulator):
    with pytest.raises(BackendError, match=r"525 neurons, a chip has 512 circuits: no more than 73 agents"):
        simulator.open(plan(n_agents=75))


def test_a_weight_range_that_the_chip_cannot_make(simulator):
    simulator.hardware = with_figure(simulator.hardware, "weights", "range", 200.0)
    with pytest.raises(BackendError, match=r"\[weights\.range\]"):
        simulator.open(plan())


def test_too_many_input_spikes(simulator):
    simulator.hardware = with_figure(simulator.hardware, "inputs", "rate", 1e6)
    simulator.open(plan())
    with pytest.raises(BackendError, match=r"160 input spikes in a trial of 100 µs; the chip takes 1e\+06 a second"):
        simulator.run(Trial({"input": regular(8)}))


def test_constant_currents_are_refused(simulator):
    simulator.open(plan())
    with pytest.raises(BackendError, match="no constant currents"):
        simulator.run(Trial({}, {"hidden1": np.ones(4)}))


def test_a_chip_that_does_not_answer(simulator, monkeypatch):
    from pynn_brainscales.brainscales2 import chip as emulated

    monkeypatch.setattr(emulated, "LSB_PER_WEIGHT", 0.0)
    with pytest.raises(BackendError, match="is the chip connected and calibrated"):
        simulator.open(plan())


def with_figure(hardware, section, key, value):
    whole = getattr(hardware, section)
    figure = dataclasses.replace(getattr(whole, key), value=value)
    return dataclasses.replace(hardware, **{section: dataclasses.replace(whole, **{key: figure})})


# -- that the double is what is tested -------------------------------------------------------------------


def test_the_adapter_uses_no_name_that_the_contract_does_not_have(chip):
    """Every attribute that the adapter takes from the package exists in the double, which has the public names only."""
    tree = ast.parse(Path(brainscales2.__file__).read_text())
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, (ast.Name, ast.Attribute)):
            base = node.value
            if (isinstance(base, ast.Name) and base.id == "sim") or (
                isinstance(base, ast.Attribute) and base.attr == "sim"
            ):
                used.add(node.attr)
    assert {"setup", "run", "reset", "end", "Population", "Projection", "RunCommand"} <= used
    assert [name for name in used if not hasattr(chip, name)] == []
