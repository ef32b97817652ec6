"""load_model: names, paths, overrides, values, the remembered unit check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnla_neuro.errors import ConfigError, ModelError
from rnla_neuro.resources import models_dir
from rnla_neuro.spec import units
from rnla_neuro.spec.loader import available_models, load_model, parse_model
from rnla_neuro.spec.quantities import UNITS, Quantity, evaluate, normalise
from rnla_neuro.spec.symbols import ENGINE_SYMBOLS, ROLES, engine_names, reserved_reason

TEXT = (models_dir() / "rate_nla.toml").read_text(encoding="utf-8")


def test_packaged_models() -> None:
    assert len(available_models()) >= 7
    for name in available_models():
        assert load_model(name).name == name


def test_a_model_by_path_equals_the_packaged_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT, encoding="utf-8")
    mine, packaged = load_model(str(path)), load_model("rate_nla")
    assert mine.path == path
    assert (mine.parameters, mine.trial, mine.text) == (packaged.parameters, packaged.trial, packaged.text)


def test_unknown_names() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'rate_nal': did you mean 'rate_nla'\?.*path"):
        load_model("rate_nal")
    with pytest.raises(ModelError, match=r"model file './nowhere.toml' does not exist"):
        load_model("./nowhere.toml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="is not a text in UTF-8"):
        load_model(path)


def test_values_are_in_si_units() -> None:
    model = load_model("rate_nla")
    tau = model.parameters["tau_m"]
    assert (tau.value, tau.unit, tau.text) == (0.01, "s", "10*ms")
    assert (model.parameters["g"].value, model.parameters["g"].unit) == (50.0, "1")
    assert (model.trial.duration, model.trial.dt, model.trial.gate) == (0.03, 0.001, 0.005)
    assert model.trial.decision == model.trial.duration


def test_overrides_reach_what_refers_to_them() -> None:
    model = load_model("rate_nla_late", {"T": "100ms", "gate": "0.1T", "eta": "2*beta"})
    assert model.trial.duration == pytest.approx(0.1)
    assert model.trial.gate == pytest.approx(0.01)
    assert model.parameters["tau_elig"].value == pytest.approx(0.06)
    assert model.parameters["eta"].value == pytest.approx(0.002)
    assert model.overrides == {"T": "100ms", "gate": "0.1T", "eta": "2*beta"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"etta": "1"}, r"setting .etta.: unknown parameter 'etta': did you mean 'eta'\?"),
        ({"eta": "1*ms"}, r"setting eta=1\*ms: the unit is s, but eta is a plain number"),
        ({"tau_m": "10"}, r"setting tau_m=10: the unit is 1, but tau_m is a value in s"),
        ({"tau_m": "ten"}, r"setting tau_m=ten: .*unknown parameter or unit 'ten'"),
        ({"eta": "eta"}, r"setting eta=eta: .*cycle: eta -> eta"),
        ({"eta": "1 +"}, r"setting eta=1 \+: .*not an expression"),
    ],
)
def test_wrong_overrides(override: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_model("rate_nla", override)


def test_an_override_must_leave_the_timing_sane() -> None:
    with pytest.raises(ModelError, match="dt must divide"):
        load_model("rate_nla", {"dt": "0.7ms"})


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("10*ms", 0.01, "s"),
        ("2*mV", 0.002, "V"),
        ("50*Hz", 50.0, "Hz"),
        ("1/(20*ms)", 50.0, "Hz"),
        ("-3e-2", -0.03, "1"),
        ("2**3 - 1", 7.0, "1"),
        ("sqrt(16)", 4.0, "1"),
        ("mV/Mohm", 1e-9, "A"),
        ("2*tau", 0.02, "s"),
        ("(1*ms)**2", 1e-6, "s**2"),
    ],
)
def test_quantities(text: str, value: float, unit: str) -> None:
    tau = Quantity(0.01, UNITS["second"][1])
    result = evaluate(text, "here", lambda name: tau if name == "tau" else None, {"tau": None})
    assert result.value == pytest.approx(value, rel=1e-12)
    assert result.unit == unit


@pytest.mark.parametrize(
    ("short", "text"),
    [("50ms", "50*ms"), ("0.5T", "0.5*T"), ("1e-3", "1e-3"), ("-2 mV", "-2*mV"), ("T", "T")],
)
def test_short_forms(short: str, text: str) -> None:
    assert normalise(short) == text


def test_every_engine_symbol_is_documented_and_reserved() -> None:
    assert len({symbol.name for symbol in ENGINE_SYMBOLS}) == len(ENGINE_SYMBOLS)
    for symbol in ENGINE_SYMBOLS:
        assert symbol.meaning
        assert symbol.where
        assert symbol.unit in ("1", "second")
        if "<" not in symbol.name and symbol.name != "noise":
            assert reserved_reason(symbol.name)
    roles = {role: f"v_{role}" for role in ROLES}
    assert "v_rate_prev" in engine_names("neuron.input", roles)
    assert "v_feedback" not in engine_names("neuron.action", roles)


def test_a_passed_unit_check_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNLA_CACHE_DIR", str(tmp_path))
    load_model("rate_nla")
    assert len(list((tmp_path / "unit_checks").iterdir())) == 1
    load_model("rate_nla", {"eta": "0.1"})
    assert len(list((tmp_path / "unit_checks").iterdir())) == 2
    code = "import sys, rnla_neuro; rnla_neuro.load_model('rate_nla'); print('brian2' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=_environment(), check=True
    )
    assert run.stdout.strip() == "False"


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_a_failed_unit_check_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNLA_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "wrong.toml"
    path.write_text(TEXT.replace("(I - u + err)/tau_m", "I - u + err", 1), encoding="utf-8")
    for _ in range(2):
        with pytest.raises(ModelError, match="hertz"):
            load_model(path)
    assert not (tmp_path / "cache" / "unit_checks").exists()


def test_the_key_of_the_check_holds_text_overrides_and_version() -> None:
    model = load_model("rate_nla")
    other = load_model("rate_nla", {"eta": "0.1"})
    commented = parse_model(TEXT + "# more\n", model.path)
    keys = {units._key(model, "2.10.1"), units._key(other, "2.10.1"), units._key(model, "2.10.2")}
    assert len(keys | {units._key(commented, "2.10.1")}) == 4


def test_an_unwritable_cache_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNLA_CACHE_DIR", str(tmp_path))
    (tmp_path / "unit_checks").write_text("a file where the folder should be", encoding="utf-8")
    assert load_model("rate_nla").name == "rate_nla"


def test_a_model_without_exploration_needs_no_noise_role() -> None:
    text = TEXT.replace('law = "gumbel"\nhold = "trial"\nscale = "sigma"\n', 'law = "none"\n')
    text = text.replace("noise = noise_bar + tau_m*(noise_bar - noise_bar_prev)/dt : 1\n", "")
    text = (
        text.replace("I + noise - u", "I - u")
        .replace(" - noise_bar_post", "")
        .replace('noise = "noise_bar"\n', "")
    )
    model = parse_model(text, Path("quiet.toml"))
    assert (model.exploration.law, model.exploration.scale) == ("none", "0")
