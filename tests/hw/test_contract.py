"""The double keeps to CONTRACT.md: each rule has a test here, named by `rule`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

CONTRACT = Path(__file__).parent / "CONTRACT.md"
TESTED: set[str] = set()


def rule(*numbers):
    """Say which rules a test is about."""
    TESTED.update(numbers)
    return pytest.mark.backend("pynn:brainscales2-double")


def test_each_rule_of_the_contract_has_a_test():
    written = set(re.findall(r"^\| ([A-Z]\d+) \|", CONTRACT.read_text(), flags=re.M))
    assert len(written) > 35
    assert written == TESTED


def test_each_rule_names_a_source_and_how_sure_it_is():
    for line in CONTRACT.read_text().splitlines():
        if re.match(r"\| [A-Z]\d+ \|", line):
            source = line.rsplit("|", 2)[1]
            assert re.match(r" (read|derived|unverified)", source), line


def test_the_double_raises_no_rule_that_is_not_written():
    written = set(re.findall(r"^\| ([A-Z]\d+) \|", CONTRACT.read_text(), flags=re.M))
    for path in (Path(__file__).parent / "double").rglob("*.py"):
        assert set(re.findall(r"\[([A-Z]\d+)\]", path.read_text())) <= written, path


def neurons(pynn, n=2, **parameters):
    population = pynn.Population(n, pynn.cells.CalibHXNeuronCuba(**parameters))
    population.record("spikes")
    return population


def source(pynn, n=2, times=(0.01, 0.02, 0.03)):
    return pynn.Population(n, pynn.cells.SpikeSourceArray(spike_times=list(times)))


def project(pynn, pre, post, weight=63, kind="excitatory", connector=None, **synapse):
    return pynn.Projection(
        pre,
        post,
        connector or pynn.AllToAllConnector(),
        synapse_type=pynn.synapses.StaticSynapse(weight=weight, **synapse),
        receptor_type=kind,
    )


def trains(population):
    return population.get_data("spikes").segments[-1].spiketrains


# -- setup -----------------------------------------------------------------------------------------------


@rule("S1")
def test_nothing_before_setup_and_after_end(chip):
    with pytest.raises(AttributeError):
        chip.run(1)
    with pytest.raises(AttributeError):
        chip.Population(1, chip.cells.HXNeuron())
    chip.setup()
    chip.run(None, chip.RunCommand.PREPARE)
    chip.end()
    with pytest.raises(AttributeError):
        chip.run(1)


@rule("S2")
@pytest.mark.parametrize("argument", ["t_flush", "threads", "rng_seed"])
def test_setup_refuses_arguments_of_other_simulators(chip, argument):
    with pytest.raises(KeyError, match=argument):
        chip.setup(**{argument: 1})


def test_setup_takes_its_own_arguments(chip):
    chip.setup(initial_config=chip.helper.chip_from_nightly(), calibration_cache="cache", injected_calib_options=None)


@rule("S3")
@pytest.mark.parametrize("values", [[8, 8], [-1], [512], range(513)])
def test_a_permutation_has_different_numbers_in_range(chip, values):
    with pytest.raises(ValueError, match=r"\[S3\]"):
        chip.setup(neuronPermutation=values)


@rule("S4")
def test_the_bypass_hands_events_on(chip):
    chip.setup(enable_neuron_bypass=True)
    population = chip.Population(1, chip.cells.HXNeuron())
    population.record("spikes")
    project(chip, source(chip, 1), population, weight=1)
    chip.run(0.1)
    np.testing.assert_allclose(trains(population)[0].magnitude, [0.0105, 0.0205, 0.0305], atol=1e-9)


# -- run -------------------------------------------------------------------------------------------------


@rule("R1")
def test_an_unknown_command(pynn):
    with pytest.raises(ValueError, match=r"\[R1\]"):
        pynn.run(1, "execute")
    with pytest.raises(TypeError):
        pynn.run(1, callbacks=[print])


@rule("R2")
def test_append_needs_a_time_and_copies_the_weights(pynn):
    with pytest.raises(ValueError, match=r"\[R2\]"):
        pynn.run(None, pynn.RunCommand.APPEND)
    population = neurons(pynn, 1)
    projection = project(pynn, source(pynn, 4, np.arange(0.001, 0.3, 0.002)), population)
    for weight in (63, 0, 63):
        projection.set(weight=weight)
        pynn.run(0.1, pynn.RunCommand.APPEND)
    projection.set(weight=0)
    pynn.run(None)
    counts = [len(train) for train in trains(population)]
    assert counts[0] > 5
    assert counts[1] < counts[0]  # a few may follow from the synaptic current of the snippet before
    assert counts[2] == pytest.approx(counts[0], abs=1)


@rule("R3")
def test_execute_without_anything_scheduled(pynn):
    neurons(pynn)
    with pytest.raises(ValueError, match=r"\[R3\]"):
        pynn.run(None)


@rule("R4", "R8")
def test_a_second_run_needs_a_reset(pynn):
    population = neurons(pynn)
    project(pynn, source(pynn), population)
    pynn.run(0.1)
    first = [train.magnitude for train in trains(population)]
    with pytest.raises(RuntimeError, match=r"\[R4\]"):
        pynn.run(0.1)
    pynn.reset()
    assert pynn.get_current_time() == 0
    pynn.run(0.1)
    assert len(population.get_data().segments) == 2
    np.testing.assert_array_equal(first[0], trains(population)[0].magnitude)


@rule("R5")
def test_all_snippets_together_fit_the_timer(pynn):
    neurons(pynn)
    pynn.run(34000, pynn.RunCommand.APPEND)
    with pytest.raises(ValueError, match=r"\[R5\]"):
        pynn.run(1000, pynn.RunCommand.APPEND)


@rule("R6")
@pytest.mark.parametrize("time", [0, -1])
def test_a_snippet_lasts(pynn, time):
    with pytest.raises(ValueError, match=r"\[R6\]"):
        pynn.run(time)


@rule("R7", "C6")
def test_times_count_from_the_start_of_the_run_through_all_snippets(chip):
    chip.setup(enable_neuron_bypass=True)
    population = chip.Population(1, chip.cells.HXNeuron())
    population.record("spikes")
    project(chip, source(chip, 1, [0.05, 0.15, 0.25]), population)
    for _ in range(3):
        chip.run(0.1, chip.RunCommand.APPEND)
    chip.run(None)
    found = trains(population)
    assert [len(train) for train in found] == [1, 1, 1]
    np.testing.assert_allclose([t.magnitude[0] for t in found], [0.0505, 0.1505, 0.2505], atol=1e-9)


@rule("C6")
def test_no_spikes_before_the_start(pynn):
    source(pynn, 1, [-0.1])
    with pytest.raises(ValueError, match=r"\[C6\]"):
        pynn.run(1)


# -- cells -----------------------------------------------------------------------------------------------


@rule("C1")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("v_rest", 49),
        ("v_reset", 161),
        ("v_thresh", 221),
        ("tau_m", 0.4),
        ("tau_m", 61),
        ("tau_syn_E", 31),
        ("tau_syn_I", 0.2),
        ("tau_refrac", 33),
        ("cm", 64),
        ("i_synin_gm_E", 801),
        ("synapse_dac_bias", 29),
    ],
)
def test_ranges_of_the_calibrated_cell(pynn, name, value):
    neurons(pynn, **{name: value})
    with pytest.raises(ValueError, match=rf"\[C1\] {name}"):
        pynn.run(None, pynn.RunCommand.PREPARE)


@rule("C2")
def test_the_conductance_based_cell(pynn):
    population = pynn.Population(1, pynn.cells.CalibHXNeuronCoba())
    assert population.get("v_thresh") == 160
    with pytest.raises(pynn.errors.ConnectionError):
        project(pynn, source(pynn), population, weight=-3, kind="inhibitory")
    population.set(tau_m=100.0)
    with pytest.raises(ValueError, match=r"\[C2\]"):
        pynn.run(None, pynn.RunCommand.PREPARE)


@rule("C3")
@pytest.mark.parametrize("name", ["i_synin_gm_E", "i_synin_gm_I", "synapse_dac_bias"])
def test_what_all_populations_share(pynn, name):
    neurons(pynn, 1, **{name: 400})
    neurons(pynn, 1, **{name: 401})
    with pytest.raises(AttributeError, match=rf"\[C3\] {name}"):
        pynn.run(None, pynn.RunCommand.PREPARE)


@rule("C4")
def test_the_raw_neuron(pynn):
    population = pynn.Population(2, pynn.cells.HXNeuron(leak_v_leak=1022, threshold_enable=True))
    population.record("spikes")
    project(pynn, source(pynn), population)
    pynn.run(0.1)
    assert [len(train) for train in trains(population)] == [0, 0]
    population.set(leak_v_leak=1024)
    pynn.reset()
    with pytest.raises(ValueError, match=r"\[C4\] leak_v_leak"):
        pynn.run(0.1)


@rule("C5")
def test_a_calibration_is_read_after_prepare_and_not_repeated(pynn):
    population = neurons(pynn)
    for name in ("calib_target", "calib_hwparams", "actual_hwparams"):
        with pytest.raises(AttributeError, match=r"\[C5\]"):
            getattr(population, name)
    pynn.run(None, pynn.RunCommand.PREPARE)
    assert population.actual_hwparams is not None
    project(pynn, source(pynn), population).set(weight=7)
    pynn.run(0.1)
    assert pynn.simulator.state.calibrations == 1
    population.set(tau_m=12.0)
    pynn.reset()
    pynn.run(0.1)
    assert pynn.simulator.state.calibrations == 2


@rule("C7")
def test_poisson_sources_of_the_chip_are_uniform(pynn):
    with pytest.raises(TypeError):
        pynn.cells.SpikeSourcePoissonOnChip(rate=1e4)
    population = pynn.Population(2, pynn.cells.SpikeSourcePoissonOnChip(rate=1e4, seed=1))
    population.set(rate=[1e4, 2e4])
    with pytest.raises(AssertionError, match=r"\[C7\]"):
        pynn.run(1)
    population.set(rate=1e8)
    with pytest.raises(RuntimeError, match=r"\[C7\]"):
        pynn.run(1)


def test_poisson_sources_of_the_chip_have_their_rate(pynn):
    population = pynn.Population(64, pynn.cells.SpikeSourcePoissonOnChip(rate=1e4, seed=5))
    population.record("spikes")
    pynn.run(10)
    counts = [len(train) for train in trains(population)]
    assert np.mean(counts) == pytest.approx(100, abs=5)
    assert np.var(counts) == pytest.approx(100, abs=50)


@rule("C8")
def test_there_are_few_generators(pynn):
    for seed in range(1, 5):
        pynn.Population(64, pynn.cells.SpikeSourcePoissonOnChip(rate=1e4, seed=seed))
    with pytest.raises(ValueError, match=r"\[C8\]"):
        pynn.Population(1, pynn.cells.SpikeSourcePoissonOnChip(rate=1e4, seed=9))


@rule("C9")
def test_off_chip_sources_have_labels(pynn):
    with pytest.raises(ValueError, match=r"\[C9\]"):
        pynn.cells.OffChipSource()
    pynn.Population(2, pynn.cells.OffChipSource(label=[3, 3]))
    with pytest.raises(ValueError, match=r"\[C9\]"):
        pynn.run(1)


@rule("C10")
def test_poisson_sources_of_the_host_have_no_seed(pynn):
    with pytest.raises(TypeError):
        pynn.cells.SpikeSourcePoisson(start=0, rate=1e4, duration=1, seed=1)
    with pytest.raises(TypeError):
        pynn.cells.SpikeSourcePoisson(rate=1e4)
    population = pynn.Population(3, pynn.cells.SpikeSourcePoisson(start=0, rate=1e5, duration=1))
    population.record("spikes")
    pynn.run(1)
    assert all(60 < len(train) < 140 for train in trains(population))


# -- placement -------------------------------------------------------------------------------------------


@rule("P1")
def test_there_are_512_circuits(pynn):
    neurons(pynn, 500)
    with pytest.raises(ValueError, match=r"\[P1\]"):
        neurons(pynn, 13)


@rule("P2")
@pytest.mark.parametrize(("n", "weight", "fits"), [(256, 63, True), (257, 1, False), (129, 64, False)])
def test_fan_in_of_a_circuit(pynn, n, weight, fits):
    project(pynn, source(pynn, n), neurons(pynn, 1), weight=weight)
    if fits:
        pynn.run(None, pynn.RunCommand.PREPARE)
    else:
        with pytest.raises(RuntimeError, match=r"\[P2\]"):
            pynn.run(None, pynn.RunCommand.PREPARE)


@rule("P3")
def test_initial_values_are_ignored(pynn):
    population = neurons(pynn, 1)
    population[0:1].record("v")
    population.initialize(v=200)
    pynn.run(0.1)
    assert population.get_data("v").segments[-1].irregularlysampledsignals[0].magnitude.max() == 80


@rule("P4")
def test_there_are_no_current_sources(pynn):
    for name in ("DCSource", "StepCurrentSource", "NoisyCurrentSource"):
        assert not hasattr(pynn, name)
    with pytest.raises(TypeError, match=r"\[P4\]"):
        neurons(pynn).inject(object())
    with pytest.raises(pynn.errors.NonExistentParameterError):
        pynn.cells.CalibHXNeuronCuba(i_offset=0.1)


# -- projections -----------------------------------------------------------------------------------------


@rule("J1")
def test_delays_are_zero(pynn):
    pre, post = source(pynn), neurons(pynn)
    with pytest.raises((ValueError, pynn.errors.ConnectionError)):
        project(pynn, pre, post, delay=1.0)
    projection = project(pynn, pre, post)
    assert not projection.get("delay", format="array").any()
    with pytest.raises(ValueError, match=r"\[J1\]"):
        projection.set(delay=0.1)


@rule("J2")
def test_signs_are_those_of_the_receptor(pynn):
    pre, post = source(pynn), neurons(pynn)
    for weight, kind in ((-3, "excitatory"), (3, "inhibitory")):
        with pytest.raises(pynn.errors.ConnectionError):
            project(pynn, pre, post, weight=weight, kind=kind)
        with pytest.raises(pynn.errors.ConnectionError):
            project(pynn, pre, post, weight=-weight, kind=kind).set(weight=weight)


@rule("J3", "J6")
def test_weights_are_whole_numbers(pynn):
    projection = project(pynn, source(pynn), neurons(pynn))
    projection.set(weight=42.5)
    assert (projection.get("weight", format="array") == 42).all()
    projection.set(weight=np.array([[1.4, 2.6], [3.5, 70.0]]))
    np.testing.assert_array_equal(projection.get("weight", format="array"), [[1, 3], [4, 70]])
    assert [c.synapses for c in projection.connections] == [1, 1, 1, 2]


@rule("J4")
def test_connectors(pynn):
    pre, post = source(pynn), neurons(pynn)
    for connector in (pynn.MapConnector(), pynn.FixedNumberPreConnector(1), pynn.SmallWorldConnector(1, 0.5)):
        with pytest.raises(NotImplementedError):
            project(pynn, pre, post, connector=connector)
    import pyNN.connectors

    with pytest.raises(AttributeError, match=r"\[J4\]"):
        project(pynn, pre, post, connector=pyNN.connectors.AllToAllConnector())
    one = project(pynn, pre, post, connector=pynn.OneToOneConnector())
    assert one.get("weight", format="list") == [(0, 0, 63), (1, 1, 63)]


@rule("J5")
def test_an_assembly_is_no_source(pynn):
    assembly = pynn.Assembly(source(pynn), source(pynn))
    project(pynn, assembly, neurons(pynn))
    with pytest.raises(NotImplementedError, match=r"\[J5\]"):
        pynn.run(None, pynn.RunCommand.PREPARE)


@rule("J7")
def test_a_source_takes_no_synapses(pynn):
    with pytest.raises(AssertionError):  # PyNN's own: it has no receptors
        project(pynn, source(pynn), source(pynn))


# -- recording -------------------------------------------------------------------------------------------


@rule("D1")
def test_no_sampling_interval(pynn):
    with pytest.raises(NotImplementedError, match=r"\[D1\]"):
        neurons(pynn, 1).record("v", sampling_interval=0.1)


@rule("D2")
def test_devices(pynn):
    population = neurons(pynn, 6)
    population[0:3].record("v", device="cadc")
    population[3:4].record("v", device="pad_0_buffered")
    for device in ("scope", "pad_2", "pad_0_loud"):
        with pytest.raises(ValueError, match=r"\[D2\]"):
            population[4:5].record("v", device=device)


@rule("D3")
def test_one_analog_source_a_neuron(pynn):
    population = neurons(pynn, 2)
    with pytest.raises(ValueError, match=r"\[D3\]"):
        population[0:1].record(["v", "exc_synin"])
    population[0:1].record("v")
    with pytest.raises(ValueError, match=r"\[D3\]"):
        population[0:1].record("exc_synin")
    with pytest.raises(pynn.errors.RecordingError):
        population.record("gsyn_exc")


@rule("D4")
def test_the_madc_reads_one_even_and_one_odd(pynn):
    population = neurons(pynn, 4)
    with pytest.raises(ValueError, match=r"\[D4\]"):
        population.record("v")
    population[0:1].record("v")
    with pytest.raises(RuntimeError, match=r"\[D4\]"):
        population[2:3].record("v")
    population[3:4].record("v")
    with pytest.raises(ValueError, match=r"\[D4\]"):
        population[1:2].record("v")


@rule("D5")
def test_what_is_read_back(pynn):
    population = neurons(pynn, 2)
    population[1:2].record("v")
    project(pynn, source(pynn, 4), population)
    pynn.run(0.1, pynn.RunCommand.APPEND)
    pynn.run(0.1)
    segment = population.get_data().segments[-1]
    assert [t.annotations["source_index"] for t in segment.spiketrains] == [0, 1, 0, 1]
    assert len(segment.spiketrains[0]) > 0
    signal = segment.irregularlysampledsignals[0]
    steps = np.diff(signal.times.magnitude)
    assert steps.min() > 0
    assert steps.max() > 1.2 * steps.min()
    assert set(np.unique(signal.magnitude % 1)) == {0}


@rule("D6")
def test_recording_ends_and_data_is_forgotten(pynn):
    population = neurons(pynn)
    project(pynn, source(pynn), population)
    pynn.run(0.1)
    assert len(population.get_data(clear=True).segments[-1].spiketrains) == 2
    assert len(population.get_data().segments) == 0
    pynn.reset()
    population.record(None)
    pynn.run(0.1)
    assert len(population.get_data().segments[-1].spiketrains) == 0


# -- plasticity ------------------------------------------------------------------------------------------


def kernel_rule(pynn, text, **arguments):
    class Rule(pynn.PlasticityRule):
        def generate_kernel(self):
            return text

    return Rule(pynn.Timer(start=0, period=0.1, num_periods=3), **arguments)


@rule("L1")
def test_a_timer_has_three_numbers(pynn):
    with pytest.raises(KeyError, match=r"\[L1\]"):
        pynn.Timer(start=0, period=1)
    rule_ = kernel_rule(pynn, "void PLASTICITY_RULE_KERNEL(auto& s, auto& n) {}")
    rule_.timer.period = 0
    with pytest.raises(ZeroDivisionError, match=r"\[L1\]"):
        pynn.run(1)


@rule("L2", "L3")
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("void kernel() {}", "L2"),
        ("void PLASTICITY_RULE_KERNEL(auto& s, auto& n) { float x; }", "L3"),
        ("// no float here\nvoid PLASTICITY_RULE_KERNEL(auto& s, auto& n) {}", ""),
    ],
)
def test_what_a_kernel_is(pynn, text, number):
    made = kernel_rule(pynn, text)
    if number:
        with pytest.raises(RuntimeError, match=rf"\[{number}\]"):
            pynn.run(1)
    else:
        pynn.run(1)
        assert made.checked == 1


@rule("L4")
def test_observables_of_a_rule(pynn):
    observables = {"w": pynn.PlasticityRule.ObservablePerSynapse(), "all": pynn.PlasticityRule.ObservableArray()}
    text = "void PLASTICITY_RULE_KERNEL(auto& s, auto& n, Recording& r) {}"
    made = kernel_rule(pynn, text, observables=observables, same_id=1)
    pre, post = source(pynn), neurons(pynn)
    synapse = pynn.synapses.PlasticSynapse(weight=3, plasticity_rule=made)
    plastic = pynn.Projection(pre, post, pynn.AllToAllConnector(), synapse, receptor_type="excitatory")
    assert made.projections == [plastic]
    with pytest.raises(RuntimeError, match=r"\[L4\]"):
        plastic.get_data("w")  # before a run
    pynn.run(1)
    assert plastic.get_data("w") == [None]
    for call in (lambda: plastic.get_data("v"), lambda: made.get_observable_array("v")):
        with pytest.raises(RuntimeError, match=r"\[L4\]"):
            call()
    with pytest.raises(TypeError, match=r"\[L4\]"):
        made.get_observable_array("w")
    with pytest.raises(RuntimeError, match=r"\[L4\]"):
        project(pynn, pre, post).get_data("w")


@rule("L5")
def test_what_a_recording_synapse_observes(pynn):
    timer = pynn.Timer(start=0, period=0.1, num_periods=3)
    pynn.synapses.StaticRecordingSynapse(timer, weight=3, observables={"weights", "correlation_causal"})
    with pytest.raises(AttributeError, match=r"\[L5\]"):
        pynn.synapses.StaticRecordingSynapse(timer, weight=3, observables={"voltage"})


# -- what the double computes ----------------------------------------------------------------------------


@rule("J6")
def test_it_integrates_and_fires_as_the_equations_say(pynn):
    """A regular input gives a mean synaptic current; the f-I curve of the neuron is known."""
    population = neurons(pynn, 1, tau_refrac=2.0, tau_m=10.0, tau_syn_E=10.0, v_reset=80)
    times = np.arange(0.0, 5.0, 0.001)
    project(pynn, source(pynn, 1, times), population, weight=10)
    pynn.run(5.0)
    spikes = trains(population)[0].magnitude
    rate = (spikes > 1).sum() / 4.0
    drive = 10 * 1.0 / 0.001 * 0.010  # LSB: weight * rate * tau_syn
    period = 0.002 + 0.010 * np.log(drive / (drive - 45))
    assert rate == pytest.approx(1 / period, rel=0.05)
