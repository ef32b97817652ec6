"""What a run on an emulated chip tells of it, and which of its options a refusal names."""

from __future__ import annotations

import re

import pytest

from rnla_neuro.backend import get_backend
from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.emulation.request import simulate
from rnla_neuro.hardware.reading import load_hardware, parse_hardware
from rnla_neuro.session import RunRequest, Session


def session(model, **more):
    return Session(RunRequest(task="xor", model=model, hardware="brainscales2", **more))


def test_the_summary_tells_what_acts():
    # an equilibrium has no synaptic time constants, no reset, and no spikes that a link could lose
    with session("rate_nla", chip_off=("tau_m", "readout")) as run:
        told = run.simulation.hardware()
    assert set(told["spread"]) == {"threshold", "leak", "weight"}
    assert not {"input_rate", "readout_step"} & set(told)
    with session("spiking_lif_nla", input="poisson", backend="brian2", road="plain", core="numpy") as run:
        told = run.simulation.hardware()
    assert set(told["spread"]) == {"tau_m", "tau_syn", "threshold", "reset", "leak", "weight"}
    assert "readout_step" in told


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"chip_seed": (3,)}, "--chip-seed: backend 'pynn' emulates no chip; leave it out"),
        ({"chip_off": ("trial",)}, "--chip-off: backend 'pynn' emulates no chip; leave it out"),
        ({"calibrated": False, "chip_seed": (3,)}, "--chip-seed, --uncalibrated: backend 'pynn' emulates no chip"),
    ],
)
def test_a_refusal_names_the_options_that_were_given(given, words):
    request = RunRequest(task="xor", model="spiking_lif_nla", hardware="brainscales2", backend="pynn", **given)
    with pytest.raises(ConfigError, match=f"^{re.escape(words)}"):
        simulate(request, None, get_backend("pynn"), lambda _: {}, lambda _: None)


def test_the_largest_spread_is_calibrated(tmp_path):
    from rnla_neuro.hardware.emulation.chip import Chip
    from rnla_neuro.hardware.emulation.effects import effects_of

    text = load_hardware("brainscales2").text
    with pytest.raises(ConfigError, match=r"\[mismatch.tau_m\] value = 1e\+300: allowed is 0, or 0.0001 % to 100 %"):
        parse_hardware(text.replace("[mismatch.tau_m]\nvalue = 20", "[mismatch.tau_m]\nvalue = 1e300"), tmp_path / "b")
    widest = parse_hardware(text.replace('value = 20\nunit = "%"', 'value = 100\nunit = "%"'), tmp_path / "b")
    found = Chip(widest, effects_of(widest), 1).calibration()
    assert all(abs(one.after).max() < 100 for one in found.values())
