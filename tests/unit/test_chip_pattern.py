"""The fixed pattern of a chip and its calibration: spreads, independence, what is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.emulation import pattern
from rnla_neuro.hardware.emulation.calibration import Converter, converter_of, measured
from rnla_neuro.hardware.emulation.chip import Chip
from rnla_neuro.hardware.emulation.effects import QUANTITIES, RELATIVE, effects_of
from rnla_neuro.hardware.reading import load_hardware

BSS2 = load_hardware("brainscales2")
N = 4000


def chip(seed=3, hardware=BSS2, **options):
    return Chip(hardware, effects_of(hardware, **options), seed)


@pytest.mark.parametrize("quantity", QUANTITIES[:-1])
def test_deviations_have_the_spread_of_the_platform(quantity):
    made = chip(calibrated=False).deviations(quantity, "hidden1", N)
    assert stats.kstest(made / 0.2, "norm").pvalue > 1e-4
    assert abs(made.std() - 0.2) < 4 * 0.2 / np.sqrt(2 * N)  # standard error of a standard deviation


def test_a_neuron_does_not_depend_on_sizes_or_neighbours():
    for calibrated in (True, False):
        one, other = chip(calibrated=calibrated), chip(calibrated=calibrated)
        for quantity in QUANTITIES[:-1]:
            wide, narrow = (c.deviations(quantity, "hidden1", n) for c, n in ((one, 100), (other, 7)))
            assert np.array_equal(wide[:7], narrow)
        wide = one.synapses("hidden:input-hidden1", "positive", (9, 65), True)
        narrow = other.synapses("hidden:input-hidden1", "positive", (4, 11), True)
        assert np.array_equal(wide[:4, :10], narrow[:, :10])
        assert np.array_equal(wide[:4, -1], narrow[:, -1])  # the bias


def test_chips_quantities_populations_and_signs_are_independent():
    one = chip(calibrated=False)
    drawn = [
        one.deviations("tau_m", "hidden1", N), one.deviations("tau_m", "hidden2", N),
        one.deviations("tau_syn", "hidden1", N), chip(4, calibrated=False).deviations("tau_m", "hidden1", N),
        *(one.synapses("p", sign, (1, N), False)[0] for sign in ("positive", "negative")),
    ]  # fmt: skip
    off = np.corrcoef(drawn)[~np.eye(len(drawn), dtype=bool)]
    assert np.abs(off).max() < 4.5 / np.sqrt(N)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_calibration_leaves_the_stated_fraction(quantity):
    one = chip()
    if quantity == "weight":
        made, left = (c.synapses("p", "positive", (40, N // 40), False) for c in (chip(calibrated=False), one))
    else:
        made, left = (c.deviations(quantity, "hidden1", N) for c in (chip(calibrated=False), one))
    fraction = getattr(BSS2.calibration, quantity).number
    how = one.plan(quantity)
    assert how is not None
    # 4 standard errors; time constants are lognormal-like in the ratio, so a tenth more
    assert left.std() == pytest.approx(0.2 * fraction, rel=4 / np.sqrt(2 * N) + 0.1)
    assert abs(left.mean()) < 0.01 + 4 * 0.2 * fraction / np.sqrt(N)
    if fraction < 0.5:  # what is left has little to do with what was
        assert abs(np.corrcoef(made.ravel(), left.ravel())[0, 1]) < 0.2


def test_many_readings_are_averaged_where_one_is_not_enough():
    noisy = replace(BSS2, noise=replace(BSS2.noise, readout=replace(BSS2.noise.readout, value=15.0)))
    calm, rough = chip().plan("threshold"), chip(hardware=noisy).plan("threshold")
    assert calm is not None
    assert rough is not None
    assert calm.repeats < rough.repeats
    assert rough.error <= rough.target * 1.0001
    assert calm.error <= calm.target


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_measuring_finds_what_is_there(quantity):
    deviation = np.linspace(-0.3, 0.3, 200)
    converter = converter_of(BSS2)
    assert converter is not None
    found = measured(quantity, deviation, converter, 64, np.random.default_rng(0))
    # 64 readings of 1 LSB noise and a rounding each: 1.04/8 LSB of 45, 3.5 standard errors; a decay's fit: 1 %
    tolerance = 0.02 if quantity.startswith("tau") else 3.5 * 1.04 / 8 / converter.swing
    assert np.abs(found - deviation).max() < tolerance


def test_a_reading_is_a_whole_number_within_the_range():
    converter = Converter(30, 210, 1.0, 45)
    seen = converter.read(np.linspace(-50, 400, 1000), np.random.default_rng(0))
    assert np.array_equal(seen, np.rint(seen))
    assert seen.min() == 30
    assert seen.max() == 210
    still = replace(converter, noise=0.0).read(np.linspace(30, 210, 1000), np.random.default_rng(0))
    assert np.abs(still - np.linspace(30, 210, 1000)).max() <= 0.5  # half an LSB


def test_factors_stay_above_zero():
    assert pattern.limited(np.array([-1.0, 0.01, 0.9])).tolist() == [0.05, 0.05, 0.9]
    assert set(RELATIVE) <= set(QUANTITIES)


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**63, "3"])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ConfigError, match=r"chip seed .* allowed is a whole number from 0"):
        chip(seed)


def test_an_absent_key_is_ideal():
    bare = load_hardware("ideal")
    effects = effects_of(bare)
    assert effects.grid is None
    assert effects.readout is None
    assert not effects.spreads
    assert not effects.trial
    assert not chip(hardware=bare).deviations("tau_m", "hidden1", 5).any()


def test_effects_are_switched_off_by_name():
    assert not effects_of(BSS2, off=("mismatch",)).spreads
    assert set(effects_of(BSS2, off=("tau_m", "weight")).spreads) == set(QUANTITIES) - {"tau_m", "weight"}
    off = effects_of(BSS2, off=("quantisation", "trial", "readout", "inputs", "between_runs"))
    assert off.grid is None
    assert off.readout is None
    assert off.input_rate is None
    assert not off.trial
    assert not off.between_runs
    with pytest.raises(ConfigError, match="unknown effect 'readot': did you mean 'readout'"):
        effects_of(BSS2, off=("readot",))
