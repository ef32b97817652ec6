"""Each part of a model file: a wrong unit is found, with file, section, line and Brian2's words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rnla_neuro.errors import ModelError
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.brian2_model.units import check_units

MODELS = Path(__file__).parents[2] / "models"
FILE = MODELS / "rate_nla.toml"

WRONG = [
    (
        "du/dt = (I - u + err)/tau_m",
        "du/dt = I - u + err",
        "[neuron.hidden] equations",
        "expected unit hertz",
    ),
    (
        "r = rbar + tau_m*(rbar",
        "r = rbar + (rbar",
        "[neuron.input] equations",
        "'(rbar - rbar_prev) / dt' has unit Hz",
    ),
    ("tanh(u)", "tanh(tau_m*u)", "[neuron.hidden] phi", "has units (s), but should be (1)"),
    ("softmax(g*u)", "softmax(g*tau_m*u)", "[neuron.action] group.p", "expected unit 1 (unit is s)"),
    ("ebar = beta*(p - q)", "ebar = beta*(p - q - tau_m)", "[neuron.action] equations", "'tau_m' has unit s"),
    ('I_post = "w*r_pre"', 'I_post = "w*r_pre/tau_m"', "[neuron.hidden] equations", "inconsistent units"),
    ("*rbar_pre)/tau_elig : 1", "*rbar_pre)/n : 1", "[synapse.hidden] equations", "hertz"),
    (
        "(u_trg - u_post)",
        "(u_trg*tau_elig - u_post)",
        "[synapse.action] equations",
        "'u_trg * tau_elig' has unit s",
    ),
    (
        "(beta*credit)*delta*E\n",
        "(beta*credit)*delta*E/tau_m\n",
        "[synapse.action] on_event.reward",
        "inconsistent",
    ),
    ("R_mean += delta/n_R", "R_mean += delta/n_R/tau_m", "[neuromodulator.reward] on_event", "has unit Hz"),
    ('R_mean = "1/n"', 'R_mean = "tau_m"', "[neuromodulator.reward] on_event", "'R_mean' has unit s"),
    ('"0.1*randn()/sqrt(N_pre)"', '"tau_m*randn()"', "[synapse.action] initial", "unit is s"),
    ('scale = "sigma"', 'scale = "tau_m"', "[exploration] scale", "unit is s"),
    (
        'policy = "softmax(drive/sigma)"',
        'policy = "softmax(drive/tau_m)"',
        "[exploration] policy",
        "unit is Hz",
    ),
    ('"argmax(u)"', '"argmax(lowpass(u, g))"', "[exploration] decision", "expected unit second (unit is 1)"),
]


def changed(old: str, new: str) -> ModelSpec:
    text = FILE.read_text()
    assert old in text
    return parse_model(text.replace(old, new, 1), FILE)


@pytest.mark.parametrize(("old", "new", "where", "reason"), WRONG, ids=[row[1] for row in WRONG])
def test_wrong_unit_is_named(old: str, new: str, where: str, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_units(changed(old, new))
    assert str(caught.value).startswith(f"rate_nla.toml: {where}")
    assert reason in str(caught.value)
    assert "radian" not in str(caught.value)


def test_unit_that_is_no_base_unit_is_named() -> None:
    with pytest.raises(ModelError, match=r"'ebar = phi_prime\*feedback : ms'.*not a base unit. Use 'second'"):
        check_units(changed("ebar = phi_prime*feedback : 1", "ebar = phi_prime*feedback : ms"))


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_models_pass(path: Path) -> None:
    check_units(parse_model(path.read_text(), path))


def test_import_leaves_hooks_and_warnings_alone() -> None:
    code = (  # in a process of its own: the first import counts
        "import sys, warnings; a = sys.excepthook, warnings.showwarning\n"
        "import rnla_neuro_backends.brian2_model.units\n"
        "assert (sys.excepthook, warnings.showwarning) == a"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
