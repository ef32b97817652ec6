"""The f-I curve of a spiking neuron, measured from the file's strings: against theory, against phi, and inverted."""

import json

import numpy as np
import pytest

from rnla_neuro import load_model
from rnla_neuro.analysis.calibration import TOLERANCE, calibrated, coefficients, invert_curve, measure_curve
from rnla_neuro.analysis.calibration_plot import curve_plot
from rnla_neuro.analysis.single_neuron import SingleNeuron
from rnla_neuro.cli.app import execute
from rnla_neuro.errors import ModelError

SPIKING = ("spiking_nla", "spiking_nla_late", "spiking_leaky_nla", "spiking_poisson_nla", "spiking_lif_nla")


@pytest.mark.parametrize("name", SPIKING)
def test_what_neurons_send_on_average_is_the_files_phi(name):
    curve = measure_curve(load_model(name), copies=60)
    assert curve.deviation < TOLERANCE
    assert abs(curve.phi).max() > 0.99  # over the whole range of rates


def test_a_wrong_calibration_is_seen():
    assert measure_curve(load_model("spiking_lif_nla", {"b1": "1"}), copies=20).deviation > 3 * TOLERANCE


def test_a_lif_neuron_without_noise_fires_as_theory_says():
    sharp = {"dt": "0.1*ms", "width": "0.005", "hazard": "10000*Hz"}
    model = load_model("spiking_lif_nla", sharp)
    current = np.array([0.9, 1.2, 1.5, 2.0, 4.0])
    names = coefficients(model)
    swept = {name: np.zeros(5) for name in names} | {names[0]: current}
    firing = SingleNeuron(model, names).respond(np.zeros(5), swept, copies=1, duration=0.5).firing
    expected = 1 / (2e-3 + 10e-3 * np.log(current[1:] / (current[1:] - 1)))
    assert firing[0] == 0
    np.testing.assert_allclose(firing[1:], expected, rtol=0.05)


def test_no_neuron_fires_within_its_refractory_time():
    model = load_model("spiking_lif_nla", {"t_ref": "5*ms", "b0": "1000"})
    curve = measure_curve(model, np.zeros(1), copies=2)
    assert curve.firing[0] == pytest.approx(1 / 5e-3, rel=0.01)


def test_the_curve_of_another_neuron_is_inverted():
    model = load_model("spiking_lif_nla", {"t_ref": "3*ms"})
    before = measure_curve(model, copies=30).deviation
    fitted = invert_curve(model, copies=30)
    assert tuple(fitted) == coefficients(model)
    after = measure_curve(calibrated(model, fitted), copies=30).deviation
    assert before > 3 * TOLERANCE
    assert after < 1.5 * TOLERANCE


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(ModelError, match="these neurons do not spike"):
        measure_curve(load_model("rate_nla"))
    with pytest.raises(ModelError, match=r"b0, b1, b2, … are missing"):
        invert_curve(load_model("spiking_nla"))


def test_pictures(tmp_path):
    curve = measure_curve(load_model("spiking_nla"), np.linspace(-1, 1, 3), copies=1)
    png, svg = curve_plot(curve, curve, tmp_path / "curve", "spiking_nla")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "f-I curve of spiking_nla" in svg.read_text() or svg.stat().st_size > 1000


def test_the_command_prints_table_and_lines_for_the_file(capsys):
    assert execute(["calibrate", "spiking_lif_nla", "--copies", "2"]) == 0
    out = capsys.readouterr().out
    assert "f-I curve of spiking_lif_nla" in out
    assert 'b0 = "1.' in out


def test_the_command_writes_json(capsys):
    assert execute(["calibrate", "spiking_nla", "--copies", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == "spiking_nla"
    assert "inverted" not in report
    assert len(report["curve"]["phi"]) == 25
