"""What to change where a network does not fit: a change that is called enough is enough, one that is not is not."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from rnla_neuro.hardware.fit import fit
from rnla_neuro.hardware.reading import load_hardware
from rnla_neuro.hardware.remedies import Remedy, remedies
from rnla_neuro.hardware.spec import Figure, HardwareSpec
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.inputs import with_input
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.model import ModelSpec


@cache
def model(name: str, code: str = "") -> ModelSpec:
    loaded = load_model(name)
    return with_input(loaded, code) if code else loaded


def network(*sizes: int, name: str = "spiking_lif_nla", code: str = "poisson", **overrides: str) -> NetworkSpec:
    chosen = model(name, code)
    if overrides:
        chosen = parse_model(chosen.text, chosen.path, overrides)
    return NetworkSpec(chosen, sizes, (1,))


def found(net: NetworkSpec, hardware: HardwareSpec, code: str = "poisson") -> dict[str, Remedy]:
    return {one.change: one for one in remedies(fit(net, hardware), net, hardware, None, code)}


def bss2() -> HardwareSpec:
    return load_hardware("brainscales2")


def test_nothing_is_to_be_changed_where_it_fits():
    assert found(network(64, 40, 10), bss2()) == {}


def test_the_largest_hidden_layer_that_fits_is_the_largest():
    changes = found(network(64, 1000, 10), bss2())
    change = next(one for one in changes.values() if one.change.startswith("--hidden"))
    assert change.enough
    best = int(change.change.removeprefix("--hidden "))
    assert fit(network(64, best, 10), bss2()).fits
    assert not fit(network(64, best + 1, 10), bss2()).fits
    assert change.leaves == ()
    assert "circuits" in change.solves


def test_hidden_layers_shrink_together():
    changes = found(network(64, 600, 300, 10), bss2())
    sizes = next(re.fullmatch(r"--hidden (\d+),(\d+)", one) for one in changes if one.startswith("--hidden"))
    first, second = int(sizes[1]), int(sizes[2])
    assert first == pytest.approx(2 * second, abs=1)
    assert fit(network(64, first, second, 10), bss2()).fits


def test_more_chips_are_as_many_as_the_placement_needs():
    changes = found(network(64, 1000, 10), bss2())
    count = fit(network(64, 1000, 10), bss2()).line("units").used
    assert changes[f"{count} chips"].enough
    assert count == 3  # 1000 circuits of 81 sources and 10 of 1001: 8 circuits each


def test_a_change_that_leaves_something_is_not_enough():
    hardware = bss2()
    slow = replace(hardware, inputs=replace(hardware.inputs, rate=Figure(100e6, None, None, "Hz", "a test")))
    changes = found(network(1000, 100, 10), slow)
    hidden = next(one for one in changes.values() if one.change.startswith("--hidden"))
    assert not hidden.enough
    assert hidden.leaves == ("input",)
    fewer = next(one for one in changes.values() if one.change.endswith("inputs") and one.enough)
    assert fit(network(int(fewer.change.split()[0]), 100, 10), slow).fits


def test_a_smaller_population_code_is_offered_where_there_is_one():
    changes = found(network(64 * 200, 40, 10), bss2(), "population:200,poisson")
    enough = [one.change for one in changes.values() if one.enough]
    assert len(enough) == 1
    each = int(re.fullmatch(r"--input population:(\d+),poisson", enough[0])[1])
    assert fit(network(64 * each, 40, 10), bss2()).fits
    assert not fit(network(64 * (each + 1), 40, 10), bss2()).fits


def test_another_input_code_for_analog_input():
    changes = found(network(64, 40, 10, code=""), bss2(), "")
    assert [one.change for one in changes.values() if one.enough] == ["--input poisson", "--input regular"]
    assert changes["--input latency"].leaves == ("tau_syn",)  # T/3 is 33 ms, and 30 ms is the longest


def test_a_rate_network_needs_both_neurons_and_input_changed():
    changes = found(network(64, 40, 10, name="rate_nla", code=""), bss2(), "")
    assert [one.change for one in changes.values() if one.enough] == ["MODEL spiking_lif_nla and --input poisson"]
    assert changes["MODEL spiking_lif_nla"].leaves == ("input",)
    assert changes["--input poisson"].leaves == ("neuron",)


def test_what_a_joined_change_leaves_is_changed_too():
    changes = found(network(64, 40, 10, name="rate_nla", code=""), load_hardware("brainscales1"), "")
    together = next(one for one in changes.values() if one.why == "together")
    assert together.enough
    assert together.change == "MODEL spiking_lif_nla and --input poisson and --set tau_s=5ms"


@pytest.mark.parametrize(
    ("overrides", "option"),
    [({"tau_mem": "100*ms"}, "--set tau_mem=60ms"), ({"tau_s": "0.2*ms", "dt": "0.1*ms"}, "--set tau_s=0.3ms")],
)
def test_a_time_constant_goes_to_the_nearest_end_of_its_range(overrides, option):
    changes = found(network(64, 40, 10, **overrides), bss2())
    assert changes[option].enough
    name, value = option.removeprefix("--set ").split("=")
    repaired = network(64, 40, 10, **(overrides | {name: value.replace("ms", "*ms")}))
    assert fit(repaired, bss2()).fits


def test_of_two_time_constants_each_is_changed():
    changes = found(network(64, 40, 10, tau_s="50*ms", tau_in="0.1*ms"), bss2())
    assert changes["--set tau_s=30ms"].leaves == changes["--set tau_in=0.3ms"].leaves == ("tau_syn",)
    together = next(one for one in changes.values() if one.why == "together")
    assert together.enough
    assert set(together.change.split(" and ")) == {"--set tau_s=30ms", "--set tau_in=0.3ms"}


def test_another_clock_only_where_one_factor_brings_all_times_into_range():
    changes = found(network(64, 40, 10, tau_mem="100*ms"), bss2())
    assert changes["[time.speed_up] value = 1700"].enough  # 100 ms / 1700 = 59 µs, and 60 is the longest
    both = found(network(64, 40, 10, tau_mem="100*ms", tau_s="0.2*ms", dt="0.1*ms"), bss2())
    assert not any("speed_up" in one for one in both)
    assert any(one.why == "together" and one.enough for one in both.values())


def test_a_coarser_grid_for_weights_beyond_the_range():
    net = network(64, 40, 10)
    weights = net.initial_weights()
    weights[0] *= 40
    hardware = bss2()
    report = fit(net, hardware, weights)
    assert not report.fits
    changes = remedies(report, net, hardware, weights, "poisson")
    value = float(changes[0].change.removeprefix("[weights.range] value = "))
    assert changes[0].enough
    assert value >= np.abs(weights[0]).max()
    assert "the step grows" in changes[0].why


def test_a_wider_span_for_a_high_threshold():
    readout = replace(bss2().readout, span=Figure(8, None, None, "1", "a test"))
    changes = found(network(64, 40, 10, V_th="9"), replace(bss2(), readout=readout))
    (only,) = changes.values()
    assert only.change == "[readout.span] value = 9.6"  # 9 * 180 LSB / 9.6 = 169 LSB, and there are 170
    assert only.enough


def test_slower_input_neurons_where_spikes_are_too_many():
    hardware = bss2()
    slow = replace(hardware, inputs=replace(hardware.inputs, rate=Figure(8e6, None, None, "Hz", "a test")))
    changes = found(network(64, 40, 10), slow)
    assert changes["--set r_in=250Hz"].enough  # 64 * 125 Hz * 1000 for inputs of 0
    assert changes["--input latency"].leaves == ("tau_syn",)
    late = found(network(64, 40, 10, code="latency", tau_in="20*ms"), changed_rate(hardware, 0.32e6), "latency")
    assert late["--set T=0.2second"].enough


def changed_rate(hardware: HardwareSpec, rate: float) -> HardwareSpec:
    return replace(hardware, inputs=replace(hardware.inputs, rate=Figure(rate, None, None, "Hz", "a test")))
