"""What must hold on the chip itself. The same checks run on the double in the ordinary tests; see README.md.

`-m hardware` asks for the chip: BrainScaleS-2 by pynn_brainscales, SpiNNaker by sPyNNaker with a board in its
configuration. Tolerances are wide: analog neurons differ, and spikes get lost.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import numpy as np
import pytest

from rnla_neuro_backends.pynn_adapter.plan import Cells, Link, Plan, Source, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.simulators.brainscales2 import MODULE, Brainscales2Simulator
from rnla_neuro_backends.pynn_adapter.simulators.spinnaker import SpinnakerSimulator
from rnla_neuro_backends.pynn_adapter.spinnaker_process import find_machine

ON_THE_DOUBLE = pytest.param("double", marks=pytest.mark.backend("pynn:brainscales2-double"))
ON_THE_CHIP = pytest.param("chip", marks=pytest.mark.hardware)


@pytest.fixture(params=[ON_THE_DOUBLE, ON_THE_CHIP])
def sim(request):
    """The package: the double, or the real one where the tests are asked to run on hardware."""
    if request.param == "double":
        return request.getfixturevalue("chip")
    if find_spec("pynn_brainscales") is None:
        pytest.skip("pynn_brainscales is not installed (tests/hw/README.md)")
    return importlib.import_module(MODULE)


@pytest.fixture
def simulator(sim):
    made = Brainscales2Simulator()
    yield made
    made.close()


def plan(n_in=16, n_hidden=8, n_out=4):
    def cells(name, size):
        return Cells(name, size, tau_m=10.0, tau_syn=10.0, t_ref=2.0)

    links = (Link("first", "input", "hidden1", 0.75), Link("second", "hidden1", "action", 0.75))
    parts = (cells("hidden1", n_hidden), cells("action", n_out))
    return Plan(parts, (Source("input", n_in),), links, 1, 1.0, 1.0, 100.0)


def regular(n, period=5.0):
    times = np.arange(1.0, 100.0, period)
    return Trial({"input": Spikes(np.repeat(np.arange(n), len(times)), np.tile(times, n))})


def counts(spikes, n):
    return np.bincount(spikes.index, minlength=n)


# -- the contract ----------------------------------------------------------------------------------------


def test_setup_refuses_what_it_does_not_know(sim):
    with pytest.raises(KeyError):
        sim.setup(t_flush=1.0)


def test_events_pass_the_bypass_on_time_in_each_snippet(sim):
    sim.setup(enable_neuron_bypass=True)
    population = sim.Population(1, sim.cells.HXNeuron())
    population.record("spikes")
    times = np.array([0.05, 0.15, 0.25])
    source = sim.Population(1, sim.cells.SpikeSourceArray(spike_times=times))
    synapse = sim.standardmodels.synapses.StaticSynapse(weight=63)
    sim.Projection(source, population, sim.AllToAllConnector(), synapse_type=synapse, receptor_type="excitatory")
    for _ in range(3):
        sim.run(0.1, sim.RunCommand.APPEND)
    sim.run(None, sim.RunCommand.EXECUTE)
    trains = population.get_data("spikes").segments[-1].spiketrains
    assert [len(train) for train in trains] == [1, 1, 1]
    np.testing.assert_allclose([float(train[0]) for train in trains], times, atol=0.01)
    with pytest.raises(RuntimeError):
        sim.run(0.1)
    sim.reset()
    sim.run(0.1)
    sim.end()


def test_weights_are_rounded_to_whole_numbers_of_one_sign(sim):
    sim.setup()
    pre = sim.Population(2, sim.cells.SpikeSourceArray(spike_times=[]))
    post = sim.Population(2, sim.cells.HXNeuron())
    synapse = sim.standardmodels.synapses.StaticSynapse(weight=0)
    projection = sim.Projection(pre, post, sim.AllToAllConnector(), synapse_type=synapse, receptor_type="excitatory")
    projection.set(weight=np.array([[1.4, 2.6], [42.5, 63.0]]))
    np.testing.assert_array_equal(projection.get("weight", format="array"), [[1, 3], [42, 63]])
    with pytest.raises(Exception, match=r"(?i)weight"):
        projection.set(weight=-1)
    with pytest.raises(ValueError, match=r"(?i)delay"):
        projection.set(delay=1)
    sim.end()


# -- the adapter -----------------------------------------------------------------------------------------


def test_the_measured_gain_is_that_of_a_living_synapse(simulator):
    simulator.open(plan())
    assert 30 <= min(simulator.units.gm) <= max(simulator.units.gm) <= 800
    assert simulator.units.unit > 0.05


def test_no_input_no_spikes_and_more_weight_more_spikes(simulator):
    simulator.open(plan())
    found = []
    for weight in (0.0, 0.1, 0.3):
        simulator.write("first", 0, np.full((8, 16), weight))
        found.append(counts(simulator.run(regular(16))["hidden1"], 8))
    assert found[0].sum() <= 2
    assert found[1].mean() < found[2].mean()
    assert np.all(found[2] > 0)


def test_inhibition_silences(simulator):
    simulator.open(plan())
    excited = np.full((8, 16), 0.3)
    simulator.write("first", 0, excited)
    before = counts(simulator.run(regular(16))["hidden1"], 8)
    excited[:, ::2] = -0.6
    simulator.write("first", 0, excited)
    after = counts(simulator.run(regular(16))["hidden1"], 8)
    assert after.sum() < 0.3 * before.sum()


def test_a_run_repeats_but_for_noise_and_a_batch_is_as_single_runs(simulator):
    simulator.open(plan())
    simulator.write("first", 0, np.full((8, 16), 0.3))
    single = [counts(simulator.run(regular(16))["hidden1"], 8) for _ in range(2)]
    batch = [counts(one["hidden1"], 8) for one in simulator.run_all([regular(16)] * 4)]
    assert np.max(np.abs(single[0] - single[1])) <= 3
    assert np.mean(batch) == pytest.approx(np.mean(single), rel=0.2, abs=1)


@pytest.mark.hardware
def test_spinnaker_brings_spikes_back():
    if find_spec("spynnaker") is None:
        pytest.skip("sPyNNaker is not installed: pip install 'rnla_neuro[spinnaker]'")
    if find_machine().is_virtual:
        pytest.skip("no board in sPyNNaker's configuration (tests/hw/README.md)")
    simulator = SpinnakerSimulator()
    simulator.open(plan())
    try:
        simulator.write("first", 0, np.full((8, 16), 0.3))
        found = counts(simulator.run(regular(16))["hidden1"], 8)
        mapping = simulator.map()
    finally:
        simulator.close()
    assert np.all(found > 0)
    assert sum(one.surprises for one in mapping.weights) == 0
