"""Help, errors and values of options; nothing here runs a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from rnla_neuro import __version__
from rnla_neuro.cli import app, values
from rnla_neuro.cli.app import COMMANDS, execute
from rnla_neuro.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def rnla(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder; returns code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNLA_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = execute(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def commands() -> dict[str, click.Command]:
    ctx = click.Context(app.app)
    return {name: app.app.get_command(ctx, name) for name in COMMANDS}


def test_version(rnla):
    assert rnla("--version") == (0, f"rnla {__version__}\n", "")


def test_help_names_every_command_and_loads_none_of_them(rnla):
    code, out, err = rnla("--help")
    assert (code, err) == (0, "")
    for name, text in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", out, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_examples_and_says_something_of_each_option(rnla, name):
    code, out, _ = rnla(name, "--help")
    assert code == 0
    assert "Examples:" in out
    assert f"rnla {name}" in out
    for parameter in commands()[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in out
            assert parameter.help


def test_help_imports_nothing_heavy():
    heavy = ("numpy", "rich", "sympy", "brian2", "matplotlib", "gymnasium", "sklearn", "scipy", "pyarrow")
    code = (
        "import sys\nfrom rnla_neuro.cli.app import execute\n"
        "for line in (['--help'], ['run', '--help'], ['align', '--help']):\n    execute(line)\n"
        f"sys.exit(','.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_colours_only_where_they_are_wanted(rnla, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in rnla("--help")[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in rnla("run", "--help")[1]
    assert "\x1b[" in rnla("lst")[2]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in rnla("run", "--help")[1]


def test_every_example_is_a_command_line_that_parses(tmp_path):
    for name, command in commands().items():
        assert command.examples
        for _, line in command.examples:
            words = line.split()
            assert words[:2] == ["rnla", name]
            command.make_context(f"rnla {name}", words[2:])


WRONG = [
    # command line, what the message must say
    (["lst"], ["unknown command 'lst'", "did you mean 'list'?", "rnla --help"]),
    (["run"], ["Missing argument 'TASK'", "rnla run --help"]),
    (["run", "xor", "extra"], ["unexpected extra argument", "extra"]),
    (["run", "digts"], ["unknown task 'digts'", "did you mean 'digits'?", "bars"]),
    (["run", "no/such.csv"], ["no/such.csv"]),
    (["run", "xor", "--iteration", "5"], ["--iteration", "--iterations"]),
    (["run", "xor", "--model", "rate_nal"], ["unknown model 'rate_nal'", "did you mean 'rate_nla'?"]),
    (["run", "xor", "--model", "./mine.toml"], ["./mine.toml", "does not exist"]),
    (["run", "xor", "--hardware", "brainscales3"], ["unknown platform", "did you mean 'brainscales2'?"]),
    (["run", "xor", "--chip-seed", "3"], ["--chip-seed", "no chip without --hardware"]),
    (["run", "xor", "--chip-seed", "1,x"], ["--chip-seed 1,x", "'x' is not a chip seed", "1-5"]),
    (["run", "xor", "--uncalibrated"], ["--uncalibrated", "no chip without --hardware"]),
    (["run", "xor", "--hardware", "ideal", "--chip-off", "readot"], ["--chip-off", "did you mean 'readout'?"]),
    (["run", "xor", "--hardware", "brainscales2"], ["'equilibrium' cannot emulate tau_m, readout", "--backend brian2"]),
    (["compare", "xor", "--models", "rate_nla", "--hardware", "brainscales3"], ["did you mean 'brainscales2'?"]),
    (["compare", "xor", "--models", "rate_nla", "--hardware", "brainscales2"], ["cannot emulate tau_m, readout"]),
    (["compare", "xor", "--models", "rate_nla", "--chip-seed", "1-2"], ["--chip-seed: 2 chips", "give one"]),
    (["compare", "xor", "--models", "rate_nla", "--chip-off", "trial"], ["--chip-off", "no chip without --hardware"]),
    (["calibrate", "rate_nla", "--chip-seed", "3"], ["--chip-seed", "rate_nla is a model", "brainscales2"]),
    (["calibrate", "brainscales2", "--set", "a=1"], ["--set", "brainscales2 is a platform"]),
    (["calibrate", "ideal"], ["'ideal' has no [mismatch]"]),
    (["run", "xor", "--learner", "reinforced"], ["unknown learner", "did you mean 'reinforce'?", "backprop"]),
    (["run", "xor", "--backend", "equilibrum"], ["unknown backend", "did you mean 'equilibrium'?"]),
    (["run", "xor", "--learner", "reinforce", "--core", "numpy"], ["--core", "'reinforce'", "no backend"]),
    (["run", "xor", "--seeds", "0"], ["--seeds 0", "1 to 10,000", "901-905"]),
    (["run", "xor", "--seeds", "-3"], ["--seeds -3", "901-905"]),
    (["run", "xor", "--seeds", "1000000"], ["--seeds 1000000", "10,000"]),
    (["run", "xor", "--seeds", "1-99999999"], ["more than 10,000 seeds"]),
    (["run", "xor", "--seeds", "5-1"], ["'5-1' runs backwards"]),
    (["run", "xor", "--seeds", "1-3,2"], ["seed 2 comes twice"]),
    (["run", "xor", "--seeds", "1,x"], ["'x' is not a seed"]),
    (["run", "xor", "--seeds", ""], ["--seeds", "901-905"]),
    (["run", "xor", "--iterations", "0"], ["--iterations 0", "whole number from 1", "--iterations 20000"]),
    (["run", "xor", "--iterations", "1e4"], ["--iterations 1e4", "whole number from 1"]),
    (["run", "xor", "--evaluation-episodes", "-1"], ["--evaluation-episodes -1", "whole number from 1"]),
    (["run", "xor", "--checkpoints", "10,-1"], ["--checkpoints 10,-1", "moments of training"]),
    (["run", "xor", "--hidden", "40,"], ["--hidden 40,", "--hidden 40,20"]),
    (["run", "xor", "--hidden", "0"], ["--hidden 0", "from 1"]),
    (["run", "xor", "--hidden", "40x20"], ["--hidden 40x20"]),
    (["run", "xor", "--reward-delay", "gamma:2"], ["gamma:2", "gamma:SHAPE,SCALE"]),
    (["run", "xor", "--reward-delay", "iteration:1"], ["iteration:1", "iterations"]),
    (["run", "xor", "--set", "eta"], ["--set eta", "name=value", "--set eta=0.05"]),
    (["run", "xor", "--set", "=3"], ["--set =3", "name=value"]),
    (["run", "xor", "--set", "eta=1", "--set", "eta=2"], ["--set eta=2", "set twice"]),
    (["run", "xor", "--set", "etta=1"], ["setting 'etta'", "did you mean 'eta'?"]),
    (["run", "xor", "--set", "tau_m=0ms"], ["[parameters] tau_m = '0*ms' (0 ms)", "must be above 0"]),
    (["run", "xor", "--set", "tau_m=3"], ["setting tau_m=3", "tau_m", "10*ms"]),
    (["run", "xor", "--learner", "reinforce", "--set", "etta=1"], ["learner reinforce 'etta'", "did you mean 'eta"]),
    (["run", "xor", "--precision", "float16"], ["float16", "float64, float32"]),
    (["run", "xor", "--core", "nativ"], ["'nativ'", "native", "numpy"]),
    (["run", "xor", "--road", "fusd"], ["unknown road 'fusd'", "did you mean 'fused'?", "plain"]),
    (["run", "xor", "--road", "plain"], ["road 'plain'", "'equilibrium' has only one road", "allowed is auto"]),
    (["run", "xor", "--out", "."], [". exists already", "--out"]),
    (["run", "xor", "--input", "poison"], ["unknown input 'poison'", "did you mean 'poisson'?"]),
    (["list", "task"], ["unknown kind of list 'task'", "did you mean 'tasks'?"]),
    (["check", "rate_nal"], ["did you mean 'rate_nla'?"]),
    (["check", "rate_nla", "--backend", "equilibrum"], ["did you mean 'equilibrium'?"]),
    (["check", "rate_nla", "--task", "digts"], ["did you mean 'digits'?"]),
    (["check", "rate_nla", "--hidden", "a"], ["--hidden a"]),
    (["check", "rate_nla", "--seeds", "a"], ["--seeds a"]),
    (["check", "rate_nla", "--reward-delay", "late"], ["'late'", "iterations:K"]),
    (["check", "rate_nla", "--precision", "half"], ["precision 'half'", "float64, float32"]),
    (["check", "rate_nla", "--hardware", "brainscale2"], ["'brainscale2'", "did you mean 'brainscales2'?"]),
    (["check", "rate_nla", "--hardware", "loihi1", "--hidden", "100000,100000"], ["64-100000-100000-10", "weights"]),
    (["check", "rate_nla", "--hardware", "./no.toml"], ["./no.toml", "does not exist"]),
    (["check", "rate_nal", "--hardware", "brainscales2"], ["did you mean 'rate_nla'?"]),
    (["check", "rate_nla", "--hardware", "loihi1", "--run", "nowhere"], ["nowhere is not a run folder"]),
    (["check", "rate_nla", "--hardware", "loihi1", "--picture", "a.pdf"], ["--picture a.pdf", "placement.png"]),
    (["check", "rate_nla", "--hardware", "loihi1", "--picture", "no/a.png"], ["--picture no/a.png", "no folder no"]),
    (["check", "rate_nla", "--hardware", "ideal", "--picture", "a.png"], ["ideal counts no circuits"]),
    (["check", "rate_nla", "--run", "x"], ["--run x", "--hardware"]),
    (["check", "rate_nla", "--picture", "a.png"], ["--picture a.png", "--hardware"]),
    (["compile", "rate_nla"], ["Missing option '--out'", "rnla compile --help"]),
    (["compile", "rate_nal", "--out", "x"], ["did you mean 'rate_nla'?"]),
    (["compile", "rate_nla", "--out", "x", "--backend", "brian2_cp"], ["did you mean 'brian2_cpp'?"]),
    (
        ["compile", "rate_nla", "--out", "x", "--backend", "equilibrium"],
        ["'equilibrium' makes no program", "brian2_cpp"],
    ),
    (["compile", "rate_nla", "--out", "x", "--task", "digts"], ["did you mean 'digits'?"]),
    (["compile", "rate_nla", "--out", "x", "--hidden", "a"], ["--hidden a"]),
    (["compile", "rate_nla", "--out", "x", "--seeds", "a"], ["--seeds a"]),
    (["compile", "rate_nla", "--out", "x", "--precision", "half"], ["precision 'half'"]),
    (["compile", "rate_nla", "--out", "x", "--set", "etta=1"], ["setting 'etta'"]),
    (["compile", "rate_nla", "--out", "/proc/x/y"], ["--out /proc/x/y", "cannot write there"]),
    (["check", "rate_nla", "--set", "beta=0.5"], ["nudging is too strong", "beta = 0.5", "action layer"]),
    (["show"], ["Missing argument 'RUN...'"]),
    (["show", "nowhere"], ["nowhere is not a run folder", "no such folder"]),
    (["show", "."], [". is not a run folder", "config.toml"]),
    (["show", "x", "--out", "a.pdf"], ["a.pdf", "a.png"]),
    (["show", "x", "--out", "."], ["--out .", "folder"]),
    (["show", "x", "--out", "no/where.png"], ["no folder no"]),
    (["check", "rate_nla", "--input", "poison"], ["did you mean 'poisson'?"]),
    (["compile", "rate_nla", "--out", "x", "--input", "poison"], ["did you mean 'poisson'?"]),
    (["report", "nowhere", "--out", "a.pdf"], ["--out a.pdf", "a.html"]),
    (["reproduce", "poster", "--only", "lags"], ["unknown check 'lags'", "did you mean 'lag'?"]),
    (["reproduce", "pong", "--only", "learn"], ["unknown check 'learn'", "did you mean 'learning'?"]),
    (["reproduce", "poster", "--seeds", "a"], ["--seeds a"]),
    (["reproduce", "poster", "--out", "/proc/version"], ["--out /proc/version", "is a file"]),
    (["compare", "xor"], ["Missing option '--models'", "rnla compare --help"]),
    (["compare", "xor", "--models", "rate_nal"], ["cannot compare rate_nal", "did you mean 'rate_nla'?"]),
    (["compare", "xor", "--models", "backprop", "--backends", "a,b"], ["2 backends for 1 models"]),
    (["compare", "xor", "--models", "rate_nla", "--backends", "brain2"], ["did you mean 'brian2'?"]),
    (["compare", "xor", "--models", "backprop", "--reward-delays", "none,gama:2,15ms"], ["did you mean 'gamma'?"]),
    (["compare", "xor", "--models", "rate_nla", "--input", "poison"], ["did you mean 'poisson'?"]),
    (["compare", "xor", "--models", "rate_nla", "--set", "etta=1"], ["setting 'etta'", "did you mean 'eta'?"]),
    (["compare", "xor", "--models", "backprop", "--hidden", "a"], ["--hidden a"]),
    (["compare", "xor", "--models", "backprop", "--seeds", "a"], ["--seeds a"]),
    (["compare", "xor", "--models", "backprop", "--iterations", "0"], ["--iterations 0"]),
    (["compare", "xor", "--models", "backprop", "--evaluation-episodes", "0"], ["--evaluation-episodes 0"]),
    (["compare", "xor", "--models", "backprop", "--precision", "half"], ["precision 'half'"]),
    (["compare", "xor", "--models", "backprop", "--jobs", "0"], ["--jobs 0"]),
    (["compare", "xor", "--models", "backprop", "--out", "/proc/x/y"], ["cannot make the folder /proc/x/y"]),
    (["compare", "xor", "--models", "backprop", "--out", "/proc/version"], ["/proc/version is a file"]),
    (["calibrate", "rate_nla"], ["rate_nla.toml", "these neurons do not spike", "spiking_lif_nla"]),
    (["calibrate", "spiking_lif_nla", "--set", "t_rif=3ms"], ["t_rif", "did you mean 't_ref'?"]),
    (["calibrate", "spiking_lif_nla", "--copies", "0"], ["--copies 0"]),
    (["calibrate", "spiking_lif_nla", "--out", "no/where"], ["no folder no"]),
    (["align", "nowhere"], ["nowhere is not a run folder"]),
    (["align", "x", "--trials", "1,-2"], ["--trials 1,-2", "0,1000,5000"]),
    (["align", "x", "--inputs", "0"], ["--inputs 0"]),
    (["align", "x", "--samples", "few"], ["--samples few"]),
    (["align", "x", "--seeds", "few"], ["--seeds few"]),
    (["record", "nowhere"], ["nowhere is not a run folder"]),
    (["record", "x", "--trials", "0"], ["--trials 0", "a count (5)"]),
    (["record", "x", "--trials", "1,-2"], ["--trials 1,-2", "0,10,20"]),
    (["record", "x", "--seeds", "few"], ["--seeds few"]),
    (["record", "x", "--out", "a.hdf"], ["a.hdf", "known: .nix, .npz, .nwb"]),
    (["record", "nowhere", "--at", "begin"], ["nowhere is not a run folder"]),
    (["record", "x", "--backend", "equilibrum"], ["did you mean 'equilibrium'?"]),
    (["animate", "nowhere"], ["nowhere is not a run folder"]),
    (["animate", "nowhere.npz"], ["there is no recording nowhere.npz"]),
    (["animate", "x", "--trials", "0"], ["--trials 0", "a count"]),
    (["animate", "x", "--seed", "few"], ["--seed few", "whole number from 0"]),
    (["animate", "x", "--frames", "0"], ["--frames 0"]),
    (["animate", "x", "--fps", "0"], ["--fps 0"]),
    (["animate", "x", "--out", "a.avi"], ["a.avi", "known: .gif, .mp4"]),
    (["animate", "nowhere", "--at", "begin"], ["nowhere is not a run folder"]),
    (["convert", "x"], ["Missing option '--to'", "rnla convert --help"]),
    (["convert", "nowhere", "--to", "rate_nla"], ["nowhere is not a run folder"]),
    (["convert", "x", "--to", "spiking_nal"], ["did you mean 'spiking_nla'?"]),
    (["convert", "x", "--to", "rate_nla", "--learn", "-1"], ["--learn -1", "whole number from 0"]),
    (["convert", "x", "--to", "rate_nla", "--set", "etta=1"], ["setting 'etta'", "did you mean 'eta'?"]),
    (["convert", "nowhere", "--to", "rate_nla", "--at", "x"], ["nowhere is not a run folder"]),
    (["convert", "x", "--to", "rate_nla", "--backend", "equilibrum"], ["did you mean 'equilibrium'?"]),
    (["convert", "x", "--to", "nir", "--seed", "few"], ["--seed few"]),
    (["convert", "x", "--to", "rate_nla", "--out", "."], [". exists already"]),
    (["convert", "x", "--to", "nir", "--out", "x.h5"], ["--out x.h5", ".nir"]),
]


@pytest.mark.parametrize(("line", "says"), WRONG, ids=[" ".join(line) for line, _ in WRONG])
def test_a_mistake_is_one_readable_message(rnla, line, says, tmp_path):
    code, out, err = rnla(*line)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    for text in says:
        assert text in err
    assert not list(tmp_path.iterdir())  # nothing is left behind


ANY_TEXT = ("method", "title")


def test_the_table_of_mistakes_has_every_option_with_a_value():
    tried = {(line[0], word) for line, _ in WRONG for word in line if word.startswith("--")}
    for name, command in commands().items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.is_flag and parameter.name not in ANY_TEXT:
                assert (name, parameter.opts[0]) in tried


def test_debug_shows_the_traceback(rnla, monkeypatch):
    monkeypatch.setenv("RNLA_DEBUG", "1")
    code, _, err = rnla("run", "digts")
    assert code == 2
    assert "Traceback" in err
    assert "error: unknown task 'digts'" in err


def test_an_error_that_is_no_mistake_of_the_users_keeps_its_traceback(rnla, monkeypatch):
    monkeypatch.setattr(app.app, "invoke", lambda ctx: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rnla("list")


def test_warnings_are_one_line(rnla, monkeypatch):
    import warnings

    warnings.simplefilter("default")
    monkeypatch.setattr(app.app, "invoke", lambda ctx: warnings.warn("the weights have grown", stacklevel=1))
    assert rnla("list") == (0, "", "warning: the weights have grown\n")


def test_help_of_run_names_all_learners():
    from rnla_neuro.session import LEARNERS

    text = next(p.help for p in commands()["run"].params if p.name == "learner")
    for learner in LEARNERS:
        assert learner in text


def test_defaults_are_those_of_a_request():
    from rnla_neuro.session import RunRequest

    ctx = commands()["run"].make_context("rnla run", ["xor"])
    request = RunRequest("xor")
    for name, value in ctx.params.items():
        if hasattr(request, name):
            assert value == getattr(request, name), name


def test_list_tables_and_json_agree(rnla):
    code, out, _ = rnla("list", "tasks")
    assert code == 0
    tasks = json.loads(rnla("list", "tasks", "--json")[1])["tasks"]
    assert [task["name"] for task in tasks][:2] == ["xor", "parity4"]
    for task in tasks:
        assert task["name"] in out
        assert task["summary"]
    everything = json.loads(rnla("list", "--json")[1])
    assert list(everything) == ["models", "inputs", "tasks", "backends", "hardware"]
    files = {path.stem: tomllib.loads(path.read_text()) for path in (ROOT / "models").glob("*.toml")}
    assert {row["name"]: row["summary"] for row in everything["models"]} == {
        name: content["model"]["summary"] for name, content in files.items()
    }
    equilibrium = next(row for row in everything["backends"] if row["name"] == "equilibrium")
    assert equilibrium["precisions"] == ["float64", "float32"]
    assert equilibrium["here"] == "yes"


def test_list_says_what_a_backend_lacks_here_without_importing_brian2(rnla, monkeypatch):
    from rnla_neuro_backends import brian2_cpp

    monkeypatch.setattr(brian2_cpp, "find_compiler", lambda: None)
    rows = {row["name"]: row for row in json.loads(rnla("list", "backends", "--json")[1])["backends"]}
    assert rows["brian2_cpp"]["here"] == "no C++ compiler"
    assert rows["brian2"]["here"] == "yes"  # numpy needs nothing
    code = (
        "import sys\nfrom rnla_neuro.cli.app import execute\nexecute(['list', 'backends'])\n"
        "sys.exit(','.join(name for name in ('brian2', 'brian2cuda') if name in sys.modules) or 0)"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "brian2_cpp" in done.stdout


def test_check_says_what_was_proven(rnla):
    code, out, err = rnla("check", "rate_nla", "--task", "xor", "--hidden", "6,5", "--set", "tau_elig=12ms")
    assert (code, err) == (0, "")
    for text in ("tanh(u)", "1 - tanh(u)**2", "softmax(g*u)", "gumbel, scale", "tau 12 ms", "2-6-5-2"):
        assert text in out
    assert "while the gate is open" in out


def test_check_json_has_the_bound(rnla):
    about = json.loads(rnla("check", "rate_nla", "--json")[1])
    assert about["sizes"] == [64, 40, 10]
    start = about["start"]
    expected = start["nudging_slope"] * (1 + sum(norm**2 for norm in start["layer_norms"]))
    assert start["gain_bound"] == pytest.approx(expected)  # one hidden layer, slope of tanh at most 1
    assert start["room"] == pytest.approx(1 / start["nudging_slope"] - 1)
    assert {"name": "hidden rate φ(u)", "text": "tanh(u)"} in about["proven"]


def test_check_refuses_a_form_that_it_cannot_prove(rnla, tmp_path):
    text = (ROOT / "models" / "rate_nla.toml").read_text()
    changed = text.replace("err = ebar + tau_m*(ebar - ebar_prev)/dt : 1", "err = ebar : 1", 1)
    assert changed != text
    (tmp_path / "mine.toml").write_text(changed)
    code, out, err = rnla("check", "./mine.toml")
    assert (code, out) == (2, "")
    assert "mine.toml: [neuron.hidden]" in err
    assert "ebar*tau_m/dt" in err


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", (1, 2, 3)), ("901-903", (901, 902, 903)), ("7,", (7,)), ("7-7", (7,)), ("3,7-8", (3, 7, 8))],
)
def test_seeds(text, expected):
    assert values.seeds(text) == expected


def test_assignments_keep_equal_signs_and_units():
    assert values.assignments(["a=1", " b = 2*ms ", "c=x==1"]) == {"a": "1", "b": "2*ms", "c": "x==1"}


def test_trials_are_sorted_and_single():
    assert values.moments("--trials")("5000,0,5000") == (0, 5000)
    with pytest.raises(ConfigError, match="--trials"):
        values.moments("--trials")("")
