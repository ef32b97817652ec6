"""The unit in which deviations of a threshold are given: threshold minus reset, read off the strings."""

import pytest

from rnla_neuro import load_model
from rnla_neuro.hardware.emulation.effects import effects_of
from rnla_neuro.hardware.emulation.strings import emulated
from rnla_neuro.hardware.reading import load_hardware


@pytest.mark.parametrize(
    ("model", "parameters", "scale"),
    [
        ("spiking_nla", {}, 1.0),
        ("spiking_lif_nla", {}, 1.0),
        ("spiking_lif_nla", {"V_th": "3", "V_reset": "1"}, 2.0),
    ],
)
def test_a_threshold_deviates_in_units_of_threshold_minus_reset(
    model: str, parameters: dict[str, str], scale: float
) -> None:
    effects = effects_of(load_hardware("brainscales2"))
    constants = emulated(load_model(model, parameters), effects, 64).constants["hidden"]
    assert constants["k_threshold"].scale == pytest.approx(scale, abs=1e-12)
