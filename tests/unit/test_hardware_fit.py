"""Whether a network fits a platform: cases counted by hand from the platforms' public figures, and properties."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.cells import baseline, input_rate, read_cells, trace_time
from rnla_neuro.hardware.demand import demands
from rnla_neuro.hardware.fit import fit
from rnla_neuro.hardware.placement import place
from rnla_neuro.hardware.reading import available_hardware, load_hardware
from rnla_neuro.hardware.report import Verdict, quantity
from rnla_neuro.hardware.spec import Figure, HardwareSpec
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.inputs import with_input
from rnla_neuro.spec.loader import available_models, load_model, parse_model
from rnla_neuro.spec.model import ModelSpec

PLATFORMS = [name for name in available_hardware() if name != "ideal"]


@cache
def model(name: str = "spiking_lif_nla", code: str = "poisson") -> ModelSpec:
    loaded = load_model(name)
    return with_input(loaded, code) if code else loaded


@cache
def chip(name: str = "brainscales2") -> HardwareSpec:
    return load_hardware(name)


def network(*sizes: int, name: str = "spiking_lif_nla", code: str = "poisson", **overrides: str) -> NetworkSpec:
    chosen = model(name, code)
    if overrides:
        chosen = parse_model(chosen.text, chosen.path, overrides)
    return NetworkSpec(chosen, sizes, (1,))


def figure(value: float | None = None, low: float | None = None, high: float | None = None) -> Figure:
    return Figure(value, low, high, "1", "a test")


def changed(hardware: HardwareSpec, section: str, **figures: Figure | None) -> HardwareSpec:
    return replace(hardware, **{section: replace(getattr(hardware, section), **figures)})


def test_digits_on_brainscales2_counted_by_hand():
    report = fit(network(64, 40, 10), chip())
    # a hidden neuron: 64 inputs, bias, noise, each of both signs; an action neuron: 40 hidden, bias, noise of both
    # signs, and 9 others that inhibit
    hidden, action = 2 * (64 + 1 + 1), 2 * (40 + 1 + 1) + 9
    assert [report.line(key).used for key in ("circuits", "synapses", "rows", "units", "merging", "fan_in")] == [
        40 + 10,
        40 * hidden + 10 * action,
        hidden,  # the rows of an action neuron, 42 and 51, are no more than those of a hidden one, 66 and 66
        1,
        1,
        66,
    ]
    assert (report.line("circuits").high, report.line("synapses").high, report.line("rows").high) == (512, 131072, 256)
    assert report.fits


def test_feedback_that_only_learning_reads_is_the_hosts_as_in_backend_pynn():
    line = fit(network(64, 40, 10), chip()).line("feedback")
    assert line.verdict == Verdict.HOST
    # 10 action neurons, a pair of synapses each, to 40 hidden neurons
    assert "10 more sources and 20 more synapses a neuron of the last hidden layer, 800 synapses in all" in line.note
    assert "up to 20 more rows of a half" in line.note
    assert "400 synapses in all" in fit(network(64, 40, 10), chip("loihi1")).line("feedback").note
    moved = network(64, 40, 10, name="rate_nla", code="")  # errors move these neurons: du/dt has them
    assert fit(moved, chip()).line("feedback").verdict == Verdict.FITS
    assert ("feedback", 10) in [(one.name, one.count) for one in demands(moved, chip())[0].sources]


def test_an_image_of_784_pixels_merges_seven_circuits():
    # ceil((784 + 1 + 1) / 128) = 7, and floor(512 / 7) = 73 such neurons find room
    report = fit(network(784, 100, 10), chip())
    line = report.line("merging")
    assert line.used == math.ceil(786 / 128) == 7
    assert "73 such neurons" in line.note
    assert report.line("circuits").used == 7 * 100 + 10
    assert report.line("circuits").verdict == report.line("units").verdict == Verdict.EXCEEDS
    assert fit(network(784, 71, 10), chip()).line("units").used == 1
    with pytest.raises(ConfigError, match=r"784-100-10 does not fit BrainScaleS-2.*neuron circuits: 710 asked, 512"):
        report.refuse(emulated=True)


@pytest.mark.parametrize(("n_in", "circuits"), [(126, 1), (127, 2), (254, 2), (255, 3)])
def test_fan_in_at_the_limit_of_a_circuit(n_in, circuits):
    # 128 signed sources a circuit, of which bias and noise take one each
    found = demands(network(n_in, 5, 10), chip())
    assert found[0].circuits == circuits
    assert found[0].rows[0] <= 128


def test_a_platform_whose_synapses_have_signs_of_their_own():
    found = demands(network(64, 40, 10), chip("loihi1"))
    assert [one.synapses for one in found] == [66, 40 + 1 + 1 + 9]
    assert [one.inhibitory for one in found] == [0, 0]


def test_populations_of_a_microcircuit_are_counted():
    found = demands(network(64, 40, 10, name="rate_microcircuit", code=""), chip())
    assert [(one.name, one.size) for one in found] == [("hidden1", 40), ("action", 10), ("interneuron1", 10)]
    assert {source.name for source in found[0].sources} == {"input", "action", "interneuron1", "bias"}


@settings(max_examples=60, deadline=None)
@given(
    n_in=st.integers(1, 900),
    hidden=st.lists(st.integers(1, 300), min_size=1, max_size=3),
    n_out=st.integers(2, 40),
    name=st.sampled_from(["brainscales2", "brainscales1", "spinnaker1", "loihi1"]),
)
def test_a_placement_holds_every_neuron_once_and_keeps_the_limits(n_in, hidden, n_out, name):
    hardware = chip(name)
    found = demands(network(n_in, *hidden, n_out), hardware)
    placement = place(found, hardware)
    assert placement is not None
    assert not placement.left_out
    taken: set[tuple[int, int, int]] = set()
    for block in placement.blocks:
        columns = {(block.unit, block.half, c) for c in range(block.first, block.first + block.columns)}
        assert len(columns) == block.columns
        assert block.first + block.columns <= placement.columns
        assert not columns & taken
        taken |= columns
    for one in found:
        own = [block for block in placement.blocks if block.population == one.name]
        assert sum(block.neurons for block in own) == one.size
        assert sum(block.columns for block in own) == one.size * one.circuits
    if placement.rows is not None:
        assert all(sum(placement.rows_used(block.unit, block.half)) <= placement.rows for block in placement.blocks)
    # never more units than with a unit for each neuron, never fewer than the circuits need
    assert placement.units >= math.ceil(len(taken) / (placement.columns * placement.halves))


@settings(max_examples=12, deadline=None)
@given(n_in=st.integers(1, 600), hidden=st.integers(1, 400), more=st.integers(0, 300))
def test_a_larger_network_never_fits_where_a_smaller_one_does_not(n_in, hidden, more):
    small, large = fit(network(n_in, hidden, 10), chip()), fit(network(n_in + more, hidden + more, 10), chip())
    assert small.fits_emulated or not large.fits_emulated
    for key in ("circuits", "synapses", "fan_in"):
        assert small.line(key).used <= large.line(key).used


def test_weights_are_rounded_and_clipped_by_as_much_as_is_said():
    net, hardware = network(2, 1, 2), chip()
    step = hardware.weight_step
    first = np.array([[[0.3 * step, 10.5 * step + 1e-9, 0.0]]])
    second = np.array([[[70 * step, 0.0], [-1.2 * step, 0.0]]])
    report = fit(net, hardware, [first, second])
    one, two = (
        next(r for r in report.roundings if r.key == f"weights {k}") for k in ("input to hidden1", "hidden1 to action")
    )
    assert one.largest == pytest.approx(0.5 * step, rel=1e-6)
    assert one.rms == pytest.approx(step * math.sqrt((0.3**2 + 0.5**2) / 2), rel=1e-6)
    assert two.largest == pytest.approx(7 * step)  # 70 is clipped to 63
    line = report.line("weight_range")
    assert line.used == pytest.approx(70 * step)
    assert line.verdict == Verdict.EXCEEDS  # one of seven is more than 1 %
    assert "1 of 7 weights" in line.note
    assert "or take 1 synapses more" in line.note


def test_a_few_clipped_weights_are_a_rounding():
    net, hardware = network(64, 40, 10), chip()
    weights = net.initial_weights()
    weights[0][0, 0, :3] = 1.2 * hardware.weights.range.number  # 3 of 3010
    report = fit(net, hardware, weights)
    assert report.line("weight_range").verdict == Verdict.ROUNDED
    assert report.fits


@pytest.mark.parametrize(
    ("overrides", "key", "fits"),
    [
        ({"tau_mem": "60*ms"}, "tau_m", True),
        ({"tau_mem": "60.1*ms"}, "tau_m", False),
        ({"tau_s": "0.3*ms", "dt": "0.1*ms"}, "tau_syn", True),
        ({"tau_s": "0.2*ms", "dt": "0.1*ms"}, "tau_syn", False),
        ({"t_ref": "32*ms"}, "tau_refrac", True),
        ({"t_ref": "33*ms"}, "tau_refrac", False),
    ],
)
def test_times_after_the_speed_up(overrides, key, fits):
    report = fit(network(64, 40, 10, **overrides), chip())
    assert all(line.verdict == Verdict.FITS for line in report.lines if line.key == key) is fits


def test_a_refractory_time_that_the_platform_cannot_make_so_short_is_a_rounding():
    report = fit(network(64, 40, 10, t_ref="0.01*ms"), chip())
    line = report.line("tau_refrac")
    assert line.verdict == Verdict.ROUNDED
    rounding = next(one for one in report.roundings if one.key == "tau_refrac")
    assert rounding.largest == pytest.approx(0.03e-3)  # 0.04 ms is the shortest


def test_time_constants_of_a_digital_platform_are_decays_of_some_bits():
    report = fit(network(64, 40, 10), chip("loihi1"))
    rounding = next(one for one in report.roundings if one.key == "tau_m_decay")
    decay = round(4096 * (1 - math.exp(-0.1)))  # 12 bit, 1 ms of 10 ms
    assert f"a decay of {decay}/4096" in rounding.note
    assert rounding.largest == pytest.approx(abs(-1e-3 / math.log(1 - decay / 4096) - 0.01))


def test_a_coarser_step_than_the_models_is_a_rounding():
    report = fit(network(64, 40, 10, dt="0.1*ms", t_ref="1.5*ms"), chip("spinnaker1"))
    assert report.line("dt").verdict == Verdict.ROUNDED
    assert next(one for one in report.roundings if one.key == "dt").largest == pytest.approx(0.5e-3)
    assert next(one for one in report.roundings if one.key == "tau_refrac_step").largest == pytest.approx(0.5e-3)
    assert fit(network(64, 40, 10), chip("spinnaker1")).line("dt").verdict == Verdict.FITS


def test_threshold_and_readout_in_steps_of_the_converter():
    hardware = changed(chip(), "readout", low=figure(30), high=figure(210), span=figure(6))
    report = fit(network(64, 40, 10), hardware)
    line = report.line("threshold")
    assert (line.used, line.high) == (30, 170)  # 180 LSB for 6, from 50 to 220
    rounding = next(one for one in report.roundings if one.key == "readout")
    assert rounding.largest == pytest.approx(0.5 * 6 / 180)
    assert rounding.rms == pytest.approx(6 / 180 / math.sqrt(12))
    assert fit(network(64, 40, 10, V_th="6"), hardware).line("threshold").verdict == Verdict.EXCEEDS


@pytest.mark.parametrize(("tau", "verdict"), [("50*ms", "host"), ("30*ms", "fits"), ("1*ms", "host")])
def test_the_eligibility_trace_beside_the_correlation_sensors(tau, verdict):
    line = fit(network(64, 40, 10, tau_elig=tau), chip()).line("trace")
    assert line.verdict == verdict
    assert (line.low, line.high) == pytest.approx((2e-3, 30e-3))


def test_the_memory_that_a_trace_takes():
    hardware = changed(chip(), "plasticity", processors=figure(2), memory=figure(16384))
    # 8 bit a weight, biases included
    assert f"{40 * 65 + 10 * 41:,} of their 32,768 bytes" in fit(network(64, 40, 10), hardware).line("trace").note
    assert fit(network(900, 40, 10), hardware).line("trace").note.endswith("have 32,768) keeps the trace")


def test_input_spikes_against_the_bandwidth():
    hardware = changed(chip(), "inputs", rate=figure(32e6))
    assert fit(network(64, 40, 10), hardware).line("input").verdict == Verdict.FITS  # 64 * 500 Hz * 1000
    assert fit(network(65, 40, 10), hardware).line("input").verdict == Verdict.ROUNDED  # lost where all inputs are 1
    assert fit(network(129, 40, 10), hardware).line("input").verdict == Verdict.EXCEEDS  # and where they are 0


def test_analog_input_needs_current_sources():
    report = fit(network(64, 40, 10, code=""), chip())
    assert report.line("input").verdict == Verdict.EMULATED
    assert "--input poisson" in report.line("input").note
    assert not report.fits
    assert report.fits_emulated
    report.refuse(emulated=True)
    with pytest.raises(ConfigError, match="analog input needs current sources"):
        report.refuse()
    with_currents = changed(chip(), "inputs", currents=figure(1))
    assert fit(network(64, 40, 10, code=""), with_currents).fits


@pytest.mark.parametrize(
    ("name", "hardware", "verdict", "words"),
    [
        ("spiking_lif_nla", "brainscales2", "rounded", "leaky integrate-and-fire"),
        ("spiking_nla", "brainscales2", "emulated", "adds up q without leak"),
        ("spiking_poisson_nla", "brainscales2", "emulated", "spikes by chance alone"),
        ("spiking_nir_nla", "brainscales2", "emulated", "action adds up q"),
        ("spiking_nla", "loihi2", "fits", "programmed"),
        ("rate_nla", "brainscales2", "emulated", "rates (hidden, action)"),
        ("rate_nla", "ideal", "fits", "any"),
    ],
)
def test_which_neurons_a_platform_has(name, hardware, verdict, words):
    line = fit(network(64, 40, 10, name=name, code=""), chip(hardware)).line("neuron")
    assert line.verdict == verdict
    assert words in line.note


def test_the_bias_holds_the_baseline_of_centred_spikes():
    net = network(3, 2, 2)
    weights = [np.array([[[0.1, 0.2, -0.4, 0.05], [1.0, 1.0, 1.0, 0.0]]]), np.zeros((1, 2, 3))]
    # inputs send 2*s - 1, so that the constant of the second neuron is 0 - (1 + 1 + 1)
    hardware = changed(chip(), "weights", range=figure(2))
    line = fit(net, hardware, weights).line("bias")
    assert line.used == pytest.approx(3.0)
    assert "2 synapses of the largest weight (2)" in line.note
    analog = network(3, 2, 2, code="")  # the input is a current, without a baseline; hidden spikes have one
    assert fit(analog, hardware, weights).line("bias").used == pytest.approx(0.05)


def test_delays_that_cannot_be_set_are_a_rounding():
    report = fit(network(64, 40, 10), chip("brainscales1"))
    assert report.line("delays").verdict == Verdict.ROUNDED
    rounding = next(one for one in report.roundings if one.key == "delays")
    assert rounding.largest == pytest.approx(4e-3)
    assert rounding.relative == pytest.approx(0.04)  # of a trial of 100 ms


def test_mismatch_is_what_calibration_leaves():
    hardware = changed(changed(chip(), "mismatch", tau_m=figure(0.2)), "calibration", tau_m=figure(0.45))
    rounding = next(one for one in fit(network(64, 40, 10), hardware).roundings if one.key == "mismatch_tau_m")
    assert rounding.rms == pytest.approx(0.09)


def test_unverified_figures_are_marked():
    hardware = chip()
    assert hardware.inputs.rate.unverified
    assert fit(network(64, 40, 10), hardware).line("input").unverified
    verified = changed(hardware, "inputs", rate=replace(hardware.inputs.rate, unverified=False))
    assert not fit(network(64, 40, 10), verified).line("input").unverified
    assert not fit(network(64, 40, 10), hardware).line("tau_m").unverified


@pytest.mark.parametrize("hardware", available_hardware())
@pytest.mark.parametrize("name", available_models())
def test_every_model_can_be_compared_with_every_platform(name, hardware):
    report = fit(network(64, 40, 10, name=name, code=""), chip(hardware))
    assert report.line("neuron") is not None
    assert len({line.key for line in report.lines}) >= 5
    assert all(line.note or line.used is not None for line in report.lines)
    if hardware == "ideal":
        assert report.fits
        assert not report.roundings


@pytest.mark.parametrize("hardware", PLATFORMS)
def test_every_platform_takes_the_lif_network_for_digits_in_counts(hardware):
    report = fit(network(64, 40, 10), chip(hardware))
    keys = {"circuits", "merging", "fan_in", "synapses", "rows", "units", "readout"}
    assert all(line.verdict == Verdict.FITS for line in report.lines if line.key in keys)


def test_what_the_strings_say_of_a_neuron():
    cell = read_cells(model("spiking_lif_nla", ""))["hidden"]
    assert (cell.state, cell.tau, cell.threshold, cell.reset, cell.refractory) == ("V", 0.01, 1.0, 0.0, 0.002)
    assert (cell.chance, cell.linear, cell.filters, cell.voltages) == (True, False, {"s": 0.01}, {"u": 0.01})
    cells = read_cells(model("spiking_nir_nla", ""))
    assert (cells["hidden"].tau, cells["hidden"].linear, cells["hidden"].is_lif) == (pytest.approx(0.02), True, True)
    assert (cells["action"].state, cells["action"].tau, cells["action"].is_lif) == ("q", None, False)
    assert not cells["action"].linear  # a softmax drives it
    assert trace_time(model("spiking_lif_nla", "")) == pytest.approx(0.05)
    assert baseline(model(), model().hidden) == pytest.approx(-1.0)


def test_constants_of_single_neurons_count_by_their_defaults():
    text = model("spiking_lif_nla", "").text
    text = text.replace(
        "dV/dt = (J - V)/tau_mem : 1 (unless refractory)", "dV/dt = (J - V)/(k*tau_mem) : 1\nk : 1 (constant)"
    )
    text = text.replace('refractory = "t_ref"', 'refractory = "t_ref*k"\ninitial.k = "3"')
    cell = read_cells(parse_model(text.split("[pynn]")[0], model("spiking_lif_nla", "").path))["hidden"]
    assert (cell.tau, cell.refractory) == (pytest.approx(0.03), pytest.approx(0.006))


@pytest.mark.parametrize(
    ("code", "peak", "middle"), [("poisson", 500, 250), ("regular", 500, 250), ("latency", 10, 10), ("", 0, 0)]
)
def test_rates_of_input_neurons(code, peak, middle):
    rate = input_rate(model(code=code))
    assert (rate.peak, rate.middle, rate.exact) == (pytest.approx(peak), pytest.approx(middle), True)


def test_a_rate_that_the_strings_do_not_say_is_bounded_by_the_step():
    chosen = model()
    strange = replace(chosen, input=replace(chosen.input, threshold="chance*chance < r_in*dt*(1 + x)/2"))
    rate = input_rate(strange)
    assert (rate.peak, rate.exact) == (pytest.approx(1000), False)


def test_quantities_are_written_with_a_prefix():
    assert [quantity(v, "s") for v in (0.1, 0.01, 40e-6, 0.0)] == ["0.1 s", "10 ms", "40 µs", "0 s"]
    assert quantity(1e6, "1") == "1,000,000"
