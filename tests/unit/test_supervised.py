"""Learner supervised: what becomes of a model's text, of labels and targets, and of the events that teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from rnla_neuro import Agent
from rnla_neuro.backend import get_backend
from rnla_neuro.errors import BackendError, ConfigError, ModelError, TaskError
from rnla_neuro.events import EventBatch
from rnla_neuro.experiment import run
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.session import RunRequest, Session
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.folding import fold
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.proof import symbol
from rnla_neuro.spec.supervised import as_supervised
from rnla_neuro.tasks import get
from rnla_neuro.tasks.tracking import SignalSource, largest

TEXT = (models_dir() / "rate_nla.toml").read_text(encoding="utf-8")
MODELS = [
    "rate_nla",
    "rate_nla_late",
    "rate_nla_ou",
    "rate_nla_ou_late",
    "rate_nla_perturbation",
    "rate_nla_policy",
    "rate_nla_poster",
    "rate_nla_pulse",
]


# ---- the text ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_action_layer_is_nudged_towards_its_target(name: str, varying: bool) -> None:
    model = load_model(name)
    taught = as_supervised(model, varying)
    before, after = derive_form(model), derive_form(taught)
    told = symbol("rbar" if varying else "belief")
    assert sp.expand(after.nudging - symbol("beta") * (symbol("target") - told)) == 0
    if varying:
        assert after.action_rate == symbol("u")
        assert taught.trial.gate in (0.0, taught.trial.decision), "eligibility is collected all the time"
    else:
        belief = next(group for group in after.groups if group.name == "belief")
        assert belief.argument == before.policy.argument.subs(symbol("drive"), symbol("u"))
    assert after.taught
    assert not before.taught
    assert after.phi == before.phi
    assert set(after.hidden.sources) <= set(before.hidden.sources)
    assert (after.noise, after.noise_lowpass) == ("none", False)
    factors = [s.factor.subs(symbol("noise_bar"), 0) for s in before.action.sources]
    assert {s.factor for s in after.action.sources} <= set(factors)
    worth = dict(after.modulators[0].statements)["delta"]
    assert worth == (symbol("lesson") / symbol("T") if varying else 1)


def test_what_is_learned_from_errors_stays_and_homeostasis_goes() -> None:
    before, after = (derive_form(m) for m in (load_model("rate_nla"), as_supervised(load_model("rate_nla"))))
    assert after.hidden.updates == before.hidden.updates
    assert after.action.names == ("E",)
    assert after.action.updates["reward"].gains[0] == before.action.updates["reward"].gains[before.action.eligibility]
    poster = derive_form(as_supervised(load_model("rate_nla_poster")))  # one statement for all that happens
    assert str(poster.action.updates["reward"].gains[0]) == "delta*eta/beta"
    late = derive_form(as_supervised(load_model("rate_nla_late")))
    assert late.action.names == ("E1", "E"), "the cascade is what the eligibility needs"


def test_its_text_is_a_whole_model_that_stays_as_it_is() -> None:
    model = as_supervised(load_model("rate_nla", {"eta": "0.2"}))
    again = parse_model(model.text, model.path, model.overrides)
    assert again == model
    assert as_supervised(again) is again
    assert model.name == "rate_nla_supervised"
    assert model.parameters["eta"].value == 0.2
    assert not {"c", "eta_hom", "n_R", "u_trg"} & set(model.parameters), "what nothing reads must not seem to matter"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("beta*(p - q)", "beta**2*(p - 2*q)", "ebar: expected a nudging proportional to one parameter"),
        ("softmax(drive/sigma)", "softmax(0.5*n)", "policy"),
        ("delta*E\nw += eta_hom", "delta*(E + E_hom)\nw += eta_hom", None),
        ("delta = R - R_mean", "delta = (R - R_mean)/R_mean", "divided by what is 0 without R_mean"),
    ],
)
def test_models_that_cannot(old: str, new: str, message: str | None) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new).replace('law = "gumbel"\nhold = "trial"\nscale = "sigma"', 'law = "gaussian"\n'
                                          'hold = "trial"\nscale = "sigma"')  # fmt: skip
    model = parse_model(text, Path("mine.toml"))
    if message is None:  # what homeostasis adds to a sum is left out of it
        gain = derive_form(as_supervised(model)).action.updates["reward"].gains[0]
        assert gain == derive_form(as_supervised(load_model("rate_nla"))).action.updates["reward"].gains[0]
        return
    with pytest.raises(BackendError, match=rf"mine\.toml.*{message}"):
        as_supervised(model)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rate_leaky", "ebar = beta*(target - belief) : 1"),
        ("rate_microcircuit", "ebar = target - q : 1"),
        ("rate_microcircuit_learned", "ebar = target - q : 1"),
        ("rate_predictive_coding", "du/dt = (-ebar + beta * (target - q)) / tau_x : 1"),
    ],
)
def test_models_that_are_not_proven_are_nudged_too(name: str, line: str) -> None:
    model = as_supervised(load_model(name))
    assert line in model.action.equations.splitlines()
    assert "rbar = p : 1" in model.action.equations.splitlines()


def test_spiking_models_are_refused_by_name() -> None:
    with pytest.raises(BackendError, match=r"spiking_nla\.toml: \[model\] kind: 'spiking': allowed is 'rate'"):
        as_supervised(load_model("spiking_nla"))


def test_a_model_that_is_told_a_target_must_not_explore() -> None:
    text = TEXT.replace("beta*(p - q)", "beta*(target - q)").replace('group.p = "softmax(g*u)"', "")
    text = text.replace("rbar = p :", "rbar = u :").replace('g = "50"', "")
    with pytest.raises(ModelError, match="'target' is used, and the file explores \\(law 'gumbel'\\)"):
        parse_model(text, Path("mine.toml"))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("(I + noise - u + err)/tau", "(I - u + err) / tau"),
        ("(noise - noise_bar)/tau", None),
        ("-noise + u", "u"),
        ("noise - u", "-u"),
        ("2*(noise*u)**2", None),
        ("abs(noise)*u + tanh(noise)", None),
        ("clip(noise, 0, inf)", None),
        ("clip(noise, -1, u)", "clip(0, -1, u)"),
        ("exp(noise)", "exp(0)"),
        ("int(noise > u)", "int(0 > u)"),
    ],
)
def test_folding(text: str, left: str | None) -> None:
    assert fold(text, frozenset({"noise", "noise_bar"}), "here") == left


# ---- requests ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda: RunRequest("xor", learner="supervised", reward_delay="iterations:1"), "targets, which come with"),
        (lambda: Session(RunRequest("CartPole-v1", learner="supervised")), "CartPole-v1 has none"),
        (lambda: Session(RunRequest("tracking")), "'rate_nla_tracking' is told a target, and learner 'r-nla'"),
        (lambda: Session(RunRequest("tracking", learner="backprop", model="rate_nla")), "inputs that are held"),
        (lambda: Session(RunRequest("xor", learner="supervised", overrides={"c": "2"})), "unknown parameter"),
        (
            lambda: Session(RunRequest("tracking", learner="supervised", overrides={"lesson": "0.2*second"})),
            "lesson = 0.2.*allowed is a time above 0",
        ),
    ],
)
def test_requests_that_make_no_sense(request_of: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request_of()  # type: ignore[operator]


@pytest.mark.backend("brian2:numpy")
def test_a_backend_without_sampled_signals_says_who_has_them() -> None:
    request = RunRequest("tracking", learner="supervised", backend="brian2", core="numpy", hidden=(3,))
    with Session(request) as session, pytest.raises(BackendError, match=r"'brian2'.*'equilibrium' runs sampled"):
        session.train(1)


@pytest.mark.backend("equilibrium:numpy")
def test_targets_that_do_not_fit_are_named() -> None:
    network = NetworkSpec(as_supervised(load_model("rate_nla")), (3, 4, 2), (1, 2))
    x = np.zeros((2, 3))
    with get_backend("equilibrium").build(network, core="numpy") as simulation:
        for label, message in (
            (None, "this trial has none"),
            (np.array([0, 2]), "is not an action; allowed: 0 to 1"),
            (np.zeros((2, 3)), r"target of shape \(2, 3\): expected whole numbers \(2,\), or \(2, 2\)"),
            (np.full((2, 2), np.nan), "NaN"),
        ):
            with pytest.raises(ConfigError, match=message):
                simulation.decide(x, EventBatch.empty(), label)
        one_hot = [np.array([0, 1]), np.eye(2), np.eye(2)[:, None]]
        state = simulation.state()
        found = []
        for label in one_hot:
            simulation.restore(state)
            simulation.decide(np.ones((2, 3)), EventBatch.empty(), label)
            found.append(np.concatenate([t.ravel() for t in simulation.traces()]))
        assert np.abs(found[0]).max() > 0
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])


# ---- learning ---------------------------------------------------------------------------------------
@pytest.mark.backend("equilibrium:native")
def test_an_agent_learns_is_saved_and_goes_on(tmp_path: Path) -> None:
    agent = Agent("rate_nla", "xor", seed=3, learner="supervised").learn(300)
    path = agent.save(tmp_path / "told")
    again = Agent.load(path)
    assert again.request.learner == "supervised"
    for one in (agent, again):
        one.learn(200).finish()
    pairs = zip(agent.session.simulation.weights(), again.session.simulation.weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert agent.learn(1000).evaluate()["test_accuracy"] == 1.0
    assert agent.session.simulation.delivered == agent.session.events_sent


@pytest.mark.backend("equilibrium:native")
def test_what_the_reward_is_makes_no_difference() -> None:
    weights = []
    for hit in (1.0, -5.0):
        with Session(RunRequest("xor", learner="supervised", seeds=(1, 2))) as session:
            step = session.bridge._env.step
            session.bridge._env.step = lambda a, f=step, r=hit: (lambda out: (out[0], r * out[1], *out[2:]))(f(a))  # type: ignore[method-assign]
            session.train(50)
            session.finish()
            weights.append(session.simulation.weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.backend("equilibrium:native")
def test_a_signal_is_followed_while_it_runs(tmp_path: Path) -> None:
    request = RunRequest("tracking", learner="supervised", seeds=(1, 2), iterations=300, hidden=(12,))
    results = run(request, tmp_path / "run")
    summary = results.summary
    assert summary["test_error"]["mean"] < 0.1 * summary["test_error_before"]["mean"]
    lessons = 10  # of 10 ms in a trial of 100 ms
    assert summary["delivery"] == {
        "decisions": 600,
        "events_sent": 600 * lessons,
        "events_delivered": 600 * lessons,
    }


@pytest.mark.backend("equilibrium:native")
def test_an_agent_that_follows_signals_can_be_asked() -> None:
    agent = Agent(env="tracking", learner="supervised", hidden=(12,), seeds=(1, 2)).learn(300)
    signals, labels = get("tracking").dataset("test")
    assert agent.predict(signals).shape == (2, len(labels))
    assert agent.predict(signals[0]).shape == (2,)
    assert agent.evaluate()["test_accuracy"].min() > 0.8


@pytest.mark.backend("equilibrium:native")
def test_signals_can_be_sent_by_populations(tmp_path: Path) -> None:
    request = RunRequest("tracking", learner="supervised", iterations=60, hidden=(5,), input="population:4")
    summary = run(request, tmp_path / "run").summary
    assert summary["test_error"]["mean"] < 0.3 * summary["test_error_before"]["mean"]


# ---- the signals ------------------------------------------------------------------------------------
@pytest.mark.parametrize("law", ["teacher", "product", "delay"])
def test_trials_are_stretches_of_one_signal(law: str) -> None:
    source = SignalSource(law)
    x, y = source.signals(np.random.default_rng(1), 5)
    assert (x.shape, y.shape) == ((5, 51, source.n_in), (5, 51, 2))
    assert np.abs(x).max() <= source.bound
    np.testing.assert_allclose(x[1:, 0], x[:-1, -1], atol=1e-12)
    np.testing.assert_allclose(y[1:, 0], y[:-1, -1], atol=1e-12)
    assert np.array_equal(largest(y), y[:, -1].argmax(axis=1))
    if law == "delay":  # 20 ms are 10 samples
        np.testing.assert_allclose(y[0, 10:, 0], x[0, :-10, 0], atol=1e-12)


def test_signals_that_cannot_be_made() -> None:
    with pytest.raises(TaskError, match="unknown law of rnla/Tracking-v0 'teach': did you mean 'teacher'"):
        SignalSource("teach")
    with pytest.raises(TaskError, match=r"fastest = 1\.0 Hz"):
        SignalSource(slowest=2.0, fastest=1.0)
    with pytest.raises(TaskError, match="no targets in time"):
        get("xor").tracks()
