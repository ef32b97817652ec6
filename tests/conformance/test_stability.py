"""The stability of the explicit form, against the step itself: its Jacobian, its trajectories, known algebra."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

import numpy as np
import pytest

from rnla_neuro.errors import ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.spec.numeric import ActionLayer, rate_and_slope
from rnla_neuro_backends.explicit.form import explicit_form
from rnla_neuro_backends.explicit.linearised import Functions, Linearised, step_radius
from rnla_neuro_backends.explicit.stability import refuse_unstable, stability

DIFFERENCE = "r = rbar + tau_m*(rbar - rbar_prev)/dt : 1"


def model(name: str = "rate_nla", rate: str = "slope", **overrides: str):
    path = models_dir() / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    if rate == "difference":
        text, hits = re.subn(r"r = rbar \+ phi_prime\*\(I - u \+ err\) : 1", DIFFERENCE, text)
        assert hits == 1
    return parse_model(text, path, overrides)


def network(sizes=(3, 4, 3), **options):
    return NetworkSpec(model(**options), sizes, (1,))


def weights(sizes, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return [scale * rng.standard_normal((1, post, pre + 1)) / np.sqrt(pre) for pre, post in pairwise(sizes)]


class Step:
    """One explicit step of one network, written down once more: state is u, ebar_prev, rbar_prev of all layers."""

    def __init__(self, form, rate, weights, x, noise, h):
        self.phi, self.nudging = rate_and_slope(form), ActionLayer(form).nudging
        self.rate, self.weights, self.x, self.noise, self.h = rate, weights, x, noise, h
        self.cuts = np.cumsum([len(w) for w in weights])[:-1]

    def rest(self, sweeps=400):
        """Find where it rests, by sweeps."""
        u = [np.zeros(len(w)) for w in self.weights]
        for _ in range(sweeps):
            rbar, drive, ebar = self.present(u)
            u = [d + e for d, e in zip(drive, ebar, strict=True)]
            u[-1] = u[-1] + self.noise
        return np.concatenate([*u, *ebar, *rbar])

    def present(self, u):
        rbar = [self.phi(v)[0] for v in u[:-1]]
        drive = [w[:, :-1] @ r + w[:, -1] for w, r in zip(self.weights, [self.x, *rbar], strict=True)]
        ebar = [self.nudging(u[-1], drive[-1], self.noise)]
        for w, v in zip(self.weights[:0:-1], u[-2::-1], strict=True):
            ebar.insert(0, self.phi(v)[1] * (w[:, :-1].T @ ebar[0]))
        return rbar, drive, ebar

    def __call__(self, state):
        n = sum(len(w) for w in self.weights)
        u, ebar_prev = (np.split(part, self.cuts) for part in (state[:n], state[n : 2 * n]))
        rbar_prev = np.split(state[2 * n :], self.cuts[:-1])
        rbar, _, ebar = self.present(u)
        r, new = self.x, []
        for k, w in enumerate(self.weights):
            err = ebar[k] + (ebar[k] - ebar_prev[k]) / self.h
            v = w[:, :-1] @ r + w[:, -1] - u[k] + err + (self.noise if k == len(u) - 1 else 0.0)
            new.append(u[k] + self.h * v)
            if k < len(u) - 1:
                forms = {
                    "slope": lambda k=k, v=v: rbar[k] + self.phi(u[k])[1] * v,
                    "difference": lambda k=k: rbar[k] + (rbar[k] - rbar_prev[k]) / self.h,
                }
                r = forms[self.rate]()
        return np.concatenate([*new, *ebar, *rbar])


def radius_of(step, state, eps=1e-6):
    """Spectral radius of the Jacobian of a map, by central differences."""
    move = eps * np.eye(len(state))
    jacobian = np.array([(step(state + d) - step(state - d)) / (2 * eps) for d in move]).T
    return float(np.abs(np.linalg.eigvals(jacobian)).max())


@pytest.mark.parametrize("rate", ["slope", "difference"])
@pytest.mark.parametrize(
    ("name", "beta", "sizes"),
    [
        ("rate_nla", "0.004", (3, 4, 3)),
        ("rate_nla", "0.02", (3, 5, 4, 3)),
        ("rate_nla", "-0.03", (3, 4, 3)),
        ("rate_nla_policy", "0.01", (3, 4, 3)),
        ("rate_nla_policy", "0.015", (2, 4, 3, 2, 3)),
        ("rate_nla_poster", "0.3", (3, 4, 3)),
    ],
)
@pytest.mark.parametrize("h", [0.05, 0.4, 1.9])
def test_the_radius_is_that_of_the_steps_jacobian(rate, name, beta, sizes, h):
    form = explicit_form(model(name, rate, beta=beta))
    own = [w[0] for w in weights(sizes)]
    x = np.random.default_rng(3).standard_normal(sizes[0])
    linear = Linearised(Functions(form.base), form.rate, own)
    chain = linear.chain(x)
    noise = np.full(sizes[-1], chain.drive.max()) - chain.drive  # it drives the action layer to a tie
    noise += 0.01 * np.arange(sizes[-1])
    step = Step(form.base, rate, own, x, noise, h)
    state = step.rest()
    assert np.abs(step(state) - state).max() < 1e-10
    top = sum(sizes[1:])
    mu = linear.all_gains(chain, state[top - sizes[-1] : top])
    expected = radius_of(step, state)
    found = max(float(step_radius(mu, h).max()), abs(1 - h))
    assert np.abs(mu).max() > 0.01
    assert found == pytest.approx(expected, abs=2e-4)


def test_hidden_slopes_that_change_matter_little_and_are_counted():
    own = [w[0] for w in weights((3, 4, 3))]
    linear = Linearised(Functions(explicit_form(model(beta="0.02")).base), "slope", own)
    chain = linear.chain(np.array([1.0, -1.0, 0.5]))
    u = np.array([0.0, -1.0, 0.01])
    by_u, by_drive = linear.nudging_jacobians(u[None], chain.drive[None])
    most = np.abs(linear.action_gains(chain, by_u, by_drive)).max()
    every = np.abs(linear.all_gains(chain, u)).max()
    assert every == pytest.approx(most, rel=0.1)
    assert every != pytest.approx(most, rel=1e-4)


def tie(form, rate, w, h):
    """The step of a network at the least stable tie of two action neurons without input, held by noise, its state
    there, and the hidden voltages.
    """
    own = [one[0] for one in w]
    linear = Linearised(Functions(form), rate, own)
    n_out = len(own[-1])
    found = []
    for pair in combinations(range(n_out), 2):
        u = np.full(n_out, -3.0)
        u[list(pair)] = 0.0
        step = Step(form, rate, own, np.zeros(own[0].shape[1] - 1), np.zeros(n_out), h)
        hidden, drive, _ = linear._rest(linear.chain(step.x), u)
        step.noise = u - drive - step.nudging(u, drive, np.zeros(n_out))
        rbar, _, ebar = step.present([*hidden, u])
        state = np.concatenate([*hidden, u, *ebar, *rbar])
        found.append((radius_of(step, state), step, state))
    return max(found, key=lambda one: one[0])[1:]


def border(rate):
    """Weights, and the beta at which their network is about to become unstable."""
    w = weights((3, 4, 3), scale=2.0)
    strong = stability(explicit_form(model(rate=rate, beta="1")).base, rate, w, 0.001)
    assert strong.radius > 1
    return w, strong.beta_factor


def kicked(spec, w):
    """The step, where the network rests, and a state near it."""
    form = explicit_form(spec)
    step, rest = tie(form.base, form.rate, w, spec.trial.dt / form.base.tau_m)
    return step, rest, rest + 1e-7 * np.random.default_rng(1).standard_normal(len(rest))


@pytest.mark.parametrize("rate", ["slope", "difference"])
@pytest.mark.parametrize("factor", [0.9, 1.15])
def test_trajectories_grow_where_it_says_so(rate, factor):
    """The proposed beta is the border: below it perturbations die out, above it they grow."""
    w, beta = border(rate)
    spec = model(rate=rate, beta=repr(factor * beta))
    found = stability(explicit_form(spec).base, rate, w, spec.trial.dt)
    assert (found.radius < 1) == (factor < 1)
    step, rest, state = kicked(spec, w)
    for _ in range(150):
        state, rest = step(state), step(rest)
    distance = np.abs(state - rest).max()
    assert distance > 1e-6 if factor > 1 else distance < 1e-8


@pytest.mark.parametrize("rate", ["slope", pytest.param("difference", marks=pytest.mark.slow)])
@pytest.mark.parametrize("factor", [0.9, 1.15])
def test_brian2_steps_as_they_are_judged(rate, factor):
    """The model's own strings on Brian2 follow the same trajectory, to its rest or away from it."""
    w, beta = border(rate)
    spec = model(rate=rate, beta=repr(factor * beta))
    step, rest, state = kicked(spec, w)
    found = on_brian2(spec, w, step, state)
    for _ in range(150):
        state = step(state)
    distance = np.abs(found - rest[: len(found)]).max()
    assert distance > 1e-6 if factor > 1 else distance < 1e-8
    assert np.abs(found - state[: len(found)]).max() < 1e-3 * max(distance, 1e-8)


def on_brian2(spec, w, step, state):
    """Run 150 steps of the model's own strings from a state; return the voltages."""
    import rnla_neuro_backends.brian2_model.importing  # noqa: F401

    # isort: split
    import brian2 as b2

    from rnla_neuro import to_brian2

    sizes = (w[0].shape[2] - 1, *(one.shape[1] for one in w))
    n = sum(sizes[1:])
    b2.prefs.codegen.target = "numpy"
    clock = b2.Clock(spec.trial.dt * b2.second)
    net = to_brian2(spec, sizes, weights=[one[0] for one in w], clock=clock)
    u, ebar = (np.split(part, step.cuts) for part in (state[:n], state[n : 2 * n]))
    rbar = [*np.split(state[2 * n :], step.cuts[:-1]), None]
    for group, voltage, error, rate in zip(net.layers, u, ebar, rbar, strict=True):
        group.u, group.ebar_prev = voltage, error
        if "rbar_prev" in group.variables and rate is not None:
            group.rbar_prev = rate
    net.layers[-1].noise_bar = net.layers[-1].noise_bar_prev = step.noise
    net.run(150 * spec.trial.dt * b2.second)
    return np.concatenate([group.u[:] for group in net.layers])


def test_a_step_longer_than_two_time_constants_is_refused():
    with pytest.raises(ConvergenceError, match=r"the membrane, tau_m.*dt/tau = 2\.5.*a dt below 20 ms") as error:
        refuse_unstable(network(dt="25ms", T="50ms", gate="25ms", tau_elig="40ms"), weights((3, 4, 3)))
    assert "beta" not in str(error.value)
    refuse_unstable(network(dt="15ms", T="30ms", gate="15ms", tau_elig="40ms"), weights((3, 4, 3)))


def test_a_trace_faster_than_half_a_step_is_refused():
    with pytest.raises(ConvergenceError, match=r"trace E.* of the hidden synapses, dt/tau = 2\.5"):
        refuse_unstable(network(tau_elig="0.4ms"), weights((3, 4, 3)))
    found = refuse_unstable(network(name="rate_nla_poster", rate="slope"), weights((3, 4, 3)))
    assert found.radius < 1  # its trace B does not decay, and needs not


def test_a_pulse_and_a_low_pass_count():
    with pytest.raises(ConvergenceError, match="pulse of neuromodulator reward"):
        refuse_unstable(network(name="rate_nla_pulse", tau_D="0.4ms"), weights((3, 4, 3)))


def test_strong_nudging_is_refused_with_a_way_out_that_works():
    w = weights((64, 40, 10))
    with pytest.raises(ConvergenceError, match="where 2 action neurons tie") as error:
        refuse_unstable(network((64, 40, 10), beta="0.1", g="50"), w)
    text = str(error.value)
    assert "spectral radius" in text
    assert "dt/tau = 0.1" in text
    beta = re.search(r"smaller beta below ([0-9.e-]+) \(now 0\.1\)", text)
    assert beta is not None
    for factor, stable in ((0.97, True), (1.06, False)):
        below = network((64, 40, 10), beta=repr(factor * float(beta[1])), g="50")
        if stable:
            assert refuse_unstable(below, w).radius < 1
        else:
            with pytest.raises(ConvergenceError):
                refuse_unstable(below, w)


def test_the_prospective_rate_from_differences_is_less_stable():
    """At positive gains both have the same border; at negative ones the difference breaks first."""
    sizes = (3, 6, 3)
    w = weights(sizes, scale=6.0)
    found = {
        rate: stability(explicit_form(model(rate=rate, beta="0.002")).base, rate, w, 0.004)
        for rate in ("slope", "difference")
    }
    assert found["slope"].radius < 1 < found["difference"].radius
    spec = NetworkSpec(model(rate="difference", beta="0.002", dt="4ms", T="32ms", gate="4ms"), sizes, (1,))
    with pytest.raises(ConvergenceError, match=r"the prospective rate as rbar \+ phi_prime"):
        refuse_unstable(spec, w)


def test_errors_from_the_voltage_mismatch_are_known_to_diverge():
    """SCIENCE 1: that form has the eigenvalues of [[-K'K, K'], [K, 0]] and breaks at ‖K‖ = 0.707 at every dt.

    It shows that a Jacobian of the step, as the tests above take it, tells stable from unstable: hidden
    voltage u and action voltage v, errors from v - K u - e, the derivative of the previous step.
    """
    for norm, stable in ((0.6, True), (0.72, False)):
        k = np.array([[norm]])
        block = np.block([[-k.T @ k, k.T], [k, np.zeros((1, 1))]])
        assert (np.abs(np.linalg.eigvals(block)).max() < 1) == stable
        for h in (0.01, 0.1):

            def step(state, k=k, h=h):
                u, v, pu, pv = (state[i : i + 1] for i in range(4))  # pu, pv: tau du/dt of the step before
                now_u = -u + k.T @ (v + pv - k @ (u + pu))
                now_v = -v + k @ (u + pu)
                return np.concatenate([u + h * now_u, v + h * now_v, now_u, now_v])

            assert (radius_of(step, np.zeros(4)) < 1) == stable, (norm, h)


def test_it_takes_the_agent_with_the_largest_weights():
    sizes = (5, 6, 3)
    small, large = weights(sizes, 0.5), weights(sizes, 3.0)
    spec = NetworkSpec(model(), sizes, (1, 2, 3))
    both = [np.concatenate([a, b, a]) for a, b in zip(small, large, strict=True)]
    found = refuse_unstable(spec, both)
    assert found.agent == 1
    alone = refuse_unstable(NetworkSpec(model(), sizes, (1,)), large)
    assert found.loop_gain == alone.loop_gain


def test_a_large_network_is_looked_at_by_iteration():
    """More neurons than a dense matrix takes: the same gain as by the action layer alone, to three digits."""
    sizes = (20, 300, 120, 4)
    w = weights(sizes)
    found = refuse_unstable(NetworkSpec(model(), sizes, (1,)), w)
    linear = Linearised(Functions(explicit_form(model()).base), "slope", [one[0] for one in w])
    chain = linear.chain(np.zeros(20))
    total = chain.gains.sum(axis=0)
    assert total.shape == (4, 4)
    bound = 0.025 * np.linalg.norm(total, 2)
    assert 0.3 * bound < abs(found.loop_gain) <= 1.05 * bound


@pytest.mark.parametrize("name", ["rate_nla", "rate_nla_late", "rate_nla_ou", "rate_nla_poster", "rate_nla_pulse",
                                  "rate_nla_policy", "rate_nla_perturbation"])  # fmt: skip
def test_the_packaged_models_are_stable_at_the_start(name):
    spec = NetworkSpec(load_model(name), (64, 40, 10), (1, 2))
    assert refuse_unstable(spec, spec.initial_weights()).radius < 0.99
