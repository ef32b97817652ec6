"""derive_form: what it reads from the strings, whatever they are called and however they are written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro.resources import models_dir
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.form import EquilibriumForm, GroupReduction, Pulse, Source
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.proof import symbol
from tests.model_lines import fingerprint

TEXT = (models_dir() / "rate_nla.toml").read_text(encoding="utf-8")
u, drive, ebar, noise_bar, mismatch = (symbol(n) for n in ("u", "drive", "ebar", "noise_bar", "mismatch"))


def form_of(text: str) -> EquilibriumForm:
    return derive_form(parse_model(text, Path("test.toml")))


def print_of(text: str) -> object:
    model = parse_model(text, Path("test.toml"))
    return fingerprint(model, derive_form(model))


def replaced(old: str, new: str, text: str = TEXT, count: int = 1) -> str:
    assert old in text
    return text.replace(old, new, count)


def test_the_default_model() -> None:
    form = derive_form(load_model("rate_nla"))
    p, q = symbol("p"), symbol("q")
    beta, g, c, sigma, u_trg = (symbol(n) for n in ("beta", "g", "c", "sigma", "u_trg"))
    assert form.tau_m == 0.01
    assert form.input_rate == symbol("x")
    assert (form.phi, form.phi_prime) == (sp.tanh(u), 1 - sp.tanh(u) ** 2)
    assert form.groups == (
        GroupReduction("p", "softmax", g * u),
        GroupReduction("q", "softmax", u / (c * sigma)),
    )
    assert form.action_rate == p
    assert sp.expand(form.nudging - beta * (p - q)) == 0
    assert form.hidden.sources == (Source(ebar + mismatch, True),)
    assert form.action.sources == (Source(ebar + mismatch, True), Source(u_trg - u, True))
    np.testing.assert_allclose(form.action.A, [[-100, 0], [0, -100]], rtol=1e-15)
    np.testing.assert_allclose(form.action.B, [[100, 0], [0, 100]], rtol=1e-15)
    assert (form.noise, form.noise_scale) == ("gumbel", form.parameters["sigma"])
    assert (form.noise_tau, form.noise_lowpass) == (None, False)
    assert form.policy == GroupReduction("policy", "softmax", drive / sigma)
    assert (form.decision.argument, form.decision.tau) == (u, None)
    assert form.modulators[0].statements[0] == ("delta", symbol("R") - symbol("R_mean"))
    assert form.parameters["T"] == 0.03


def test_the_error_in_the_trace_has_no_difference_of_large_numbers() -> None:
    for name in ("rate_nla", "rate_nla_poster", "rate_nla_ou_late"):
        form = derive_form(load_model(name))
        for traces in (form.hidden, form.action):
            factor = traces.sources[0].factor
            assert factor == ebar + mismatch, name


def test_a_trace_that_forgets_the_noise_holds_it() -> None:
    form = form_of(replaced("u_post - drive_post - noise_bar_post", "u_post - drive_post"))
    assert sp.expand(form.action.sources[0].factor - ebar - mismatch - noise_bar) == 0


RENAMED = {
    "u": "v", "rbar": "rate", "r": "rate_ahead", "ebar": "teach", "err": "teach_ahead", "I": "current",
    "drive": "forward", "feedback": "apical", "noise_bar": "wander", "w": "weight", "E": "trace",
}  # fmt: skip


def rename(text: str) -> str:
    """The default model with other names for all variables that have a role."""
    lines = []
    for line in text.splitlines():
        if line.startswith(("#", "name", "kind", "summary", "source")):
            lines.append(line)
            continue
        for old, new in RENAMED.items():
            line = re.sub(
                rf'\b{old}(?=_(post|pre|prev)\b)|\bd{old}(?=/dt)|\b{old}\b(?! = ")',
                lambda m, n=new: "d" + n if m[0].startswith("d") and m[0] != "drive" else n,
                line,
            )
        lines.append(line)
    return "\n".join(lines)


def test_names_are_free() -> None:
    text = rename(TEXT)
    assert 'voltage = "v"' in text
    assert "dv/dt = (current - v + teach_ahead)/tau_m" in text
    assert print_of(text) == print_of(TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("du/dt = (I - u + err)/tau_m", "du/dt = I/tau_m - (u - err)/tau_m"),
        ("du/dt = (I - u + err)/tau_m", "du/dt = -(u - I - ebar - tau_m*(ebar - ebar_prev)/dt)/tau_m"),
        ("r = rbar + phi_prime*(I - u + err)", "r = rbar + tau_m*(rbar - rbar_prev)/dt"),
        ("r = rbar + phi_prime*(I - u + err)", "r = phi + (1 - tanh(u)**2)*(I + err - u)"),
        ("r = rbar + phi_prime*(I - u + err)", "r = rbar + (1 - rbar**2)*(I + err - u)"),
        ("ebar = phi_prime*feedback", "ebar = feedback - feedback*rbar**2"),
        ("err = ebar + tau_m*(ebar - ebar_prev)/dt", "err = ebar*(1 + tau_m/dt) - tau_m*ebar_prev/dt"),
        ("phi = \"tanh(u)\"", "phi = \"(exp(u) - exp(-u))/(exp(u) + exp(-u))\""),
        ("ebar = beta*(p - q)", "ebar = -beta*q + beta*rbar"),
        ("dE/dt = (-E + gate*(u_post - drive_post)*rbar_pre)/tau_elig",
         "dE/dt = -E/tau_elig + gate*u_post*rbar_pre/tau_elig - gate*drive_post*rbar_pre/tau_elig"),
        ("R_mean += delta/n_R", "R_mean = R_mean + delta/n_R"),
        ("on_event.reward = \"w += ", "on_event.reward = \"w = w + "),
    ],
)  # fmt: skip
def test_the_same_equation_in_other_words(old: str, new: str) -> None:
    form, other = form_of(TEXT), form_of(replaced(old, new))
    values = {symbol("rbar"): symbol("p"), u: sp.Rational(3, 7)}
    for name in ("phi", "phi_prime", "nudging", "action_rate"):
        difference = getattr(form, name).xreplace(values) - getattr(other, name).xreplace(values)
        assert abs(sp.N(sp.simplify(difference), 30)) < 1e-25
    assert [s.gated for s in other.hidden.sources] == [True]
    assert sp.expand(other.hidden.sources[0].factor * other.hidden.B[0, 0] - 100 * (ebar + mismatch)) == 0
    np.testing.assert_allclose(other.hidden.A, form.hidden.A)
    assert [
        sp.simplify(a - b)
        for a, b in zip(
            form.hidden.updates["reward"].gains, other.hidden.updates["reward"].gains, strict=True
        )
    ] == [0]
    assert other.modulators == form.modulators


def test_softplus_and_its_slope_are_finite_everywhere() -> None:
    form = derive_form(load_model("rate_nla_poster"))
    values = {symbol(name): value for name, value in form.parameters.items()}
    points = np.array([-1e4, -80.0, -1.0, -1e-6, 0.0, 1e-6, 0.4, 80.0, 1e4], dtype=np.float32)
    phi = sp.lambdify(
        [u], form.phi.xreplace(values).replace(sp.Max, lambda *a: (a[0] + a[1] + sp.Abs(a[0] - a[1])) / 2)
    )
    slope = sp.lambdify([u], form.phi_prime.xreplace(values), "numpy")
    exact = np.logaddexp(0, points.astype(np.float64) / 0.3) * 0.3
    np.testing.assert_allclose(phi(points), exact, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(slope(points), (1 + np.tanh(points.astype(np.float64) / 0.6)) / 2, atol=1e-6)


def test_the_nudging_of_the_poster_is_m_times_the_rates() -> None:
    form = derive_form(load_model("rate_nla_poster"))
    assert form.groups == (GroupReduction("total", "sum", form.phi),)
    rates, n = np.array([0.3, 1.2, 0.1, 0.7]), 4
    matrix = np.full((n, n), -0.8 / (n - 1))
    np.fill_diagonal(matrix, 0.8)
    values = {symbol(name): value for name, value in form.parameters.items()} | {symbol("n"): n}
    nudging = sp.lambdify([symbol("rbar"), symbol("total")], form.nudging.xreplace(values), "numpy")
    np.testing.assert_allclose(nudging(rates, rates.sum()), 0.01 * matrix @ rates, rtol=1e-12)


def test_border_homeostasis_is_an_integral_since_the_last_reward() -> None:
    traces = derive_form(load_model("rate_nla_poster")).hidden
    row = traces.names.index("B")
    assert not traces.A[row].any()
    assert traces.B[row].tolist() == [0.0, 0.0, pytest.approx(1 / 0.03)]
    assert traces.updates["reward"].resets == (False, False, True)
    assert traces.updates["reward"].gains[row] == symbol("eta_border")


def test_a_cascade() -> None:
    traces = derive_form(load_model("rate_nla_late")).hidden
    rate = 1 / 0.03
    assert traces.names == ("E1", "E")
    assert traces.eligibility == 1
    np.testing.assert_allclose(traces.A, [[-rate, 0], [rate, -rate]])
    np.testing.assert_allclose(traces.B, [[rate], [0]])
    assert traces.updates["reward"].gains[0] == 0


def test_a_pulse_flows_into_the_weights() -> None:
    form = derive_form(load_model("rate_nla_pulse"))
    modulator = form.modulators[0]
    assert modulator.pulse == Pulse("D", pytest.approx(0.005))
    assert modulator.variables == ("R_mean", "D")
    assert modulator.initial[1] == 0
    gains = form.action.flows["reward"].gains
    assert symbol("D") in gains[0].free_symbols
    assert gains[1] == symbol("eta_hom") * sp.Abs(symbol("D")) / symbol("credit")
    assert not form.action.updates


def test_two_channels() -> None:
    text = replaced("[exploration]", '[neuromodulator.novelty]\non_event = "surprise = R"\n\n[exploration]')
    text = replaced(
        'on_event.reward = "w +=', 'on_event.novelty = "w += eta*surprise*E"\non_event.reward = "w +=', text
    )
    form = form_of(text)
    assert set(form.hidden.updates) == {"reward", "novelty"}
    assert [modulator.channel for modulator in form.modulators] == ["reward", "novelty"]
    assert form.hidden.updates["novelty"].gains == (symbol("eta") * symbol("surprise"),)


def test_exploration_in_time() -> None:
    form = derive_form(load_model("rate_nla_ou"))
    assert (form.noise, form.noise_lowpass, form.noise_tau) == ("ornstein-uhlenbeck", True, 0.01)
    assert form.noise_scale == pytest.approx(1.2825 * 0.25 * np.sqrt(2))


def test_a_low_passed_decision() -> None:
    form = derive_form(load_model("rate_nla_poster"))
    assert (form.decision.argument, form.decision.tau) == (symbol("rbar"), form.parameters["tau_elig"])


def test_random_numbers_of_the_initial_weights_are_separate() -> None:
    form = form_of(replaced('initial = "randn()/sqrt(N_pre)"', 'initial = "randn() + rand() - randn()"'))
    assert {str(s) for s in form.hidden.initial.free_symbols} == {"randn_1", "rand_1", "randn_2"}


def test_a_group_may_read_the_rate_but_not_in_a_circle() -> None:
    text = replaced(
        'group.q = "softmax(u/(c*sigma))"', 'group.q = "softmax(u/(c*sigma))"\ngroup.top = "max(rbar)"'
    )
    form = form_of(replaced("ebar = beta*(p - q)", "ebar = beta*(p - q)*top", text))
    assert form.groups[-1] == GroupReduction("top", "max", symbol("p"))


def test_a_quiet_model() -> None:
    text = replaced('law = "gumbel"\nhold = "trial"\nscale = "sigma"\n', 'law = "none"\n')
    text = replaced("noise = noise_bar + tau_m*(noise_bar - noise_bar_prev)/dt : 1\n", "", text)
    text = (
        replaced("I + noise - u", "I - u", text)
        .replace(" - noise_bar_post", "")
        .replace('noise = "noise_bar"\n', "")
    )
    form = form_of(text)
    assert (form.noise, form.noise_scale) == ("none", 0.0)
    assert form.action.sources[0].factor == ebar + mismatch


def test_the_refusal_names_file_equation_and_term() -> None:
    with pytest.raises(
        BackendError, match=r"test\.toml: \[neuron\.hidden\] equations, du/dt: term '-?2\*u' does not"
    ):
        form_of(replaced("du/dt = (I - u + err)/tau_m", "du/dt = (I - 2*u + err)/tau_m"))
