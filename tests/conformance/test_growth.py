"""Stability that is measured on an engine, against what is known of the proven form, and on models that are not."""

from __future__ import annotations

import numpy as np
import pytest

from rnla_neuro.errors import BackendError, ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.explicit.growth import measured_growth, refuse_growing
from rnla_neuro_backends.explicit.numpy_kernel import NumpyEngine
from rnla_neuro_backends.explicit.plain import PlainEngine
from rnla_neuro_backends.explicit.stability import stability
from tests.conformance.nets import variant
from tests.conformance.test_stability import DIFFERENCE, weights

SIZES = (3, 6, 3)


def flat(w):
    """Weights as an engine takes them."""
    return np.concatenate([one.reshape(len(one), -1) for one in w], axis=1)


def unbiased(scale):
    """Weights without biases: without input the hidden rates are steepest."""
    w = weights(SIZES, scale=scale)
    for one in w:
        one[:, :, -1] = 0
    return w


def on_numpy(w, rate="slope", precision="float64", **overrides):
    replace = {"r = rbar + phi_prime": DIFFERENCE} if rate == "difference" else {}
    model = variant("rate_nla", replace, overrides)
    network = NetworkSpec(model, SIZES, tuple(range(1, len(w[0]) + 1)), precision)
    engine = NumpyEngine(network)
    engine.write({"w": flat(w)})
    return engine, network


def test_a_stable_network_shrinks_perturbations_as_its_slowest_mode_does():
    """dt/tau_m = 0.1: a mismatch shrinks by 0.9 in a step, all other modes faster."""
    engine, network = on_numpy(weights(SIZES))
    assert refuse_growing(engine, network) == pytest.approx(0.9, abs=0.02)
    engine, network = on_numpy(weights(SIZES), precision="float32")
    assert refuse_growing(engine, network) == pytest.approx(0.9, abs=0.05)


def test_where_the_eigenvalues_say_so_it_grows():
    """The same networks as in test_stability: stable as phi_prime, unstable as a difference, at dt/tau_m = 0.4."""
    w = unbiased(6.0)
    options = {"beta": "0.002", "dt": "4ms", "T": "32ms", "gate": "4ms"}
    for rate in ("slope", "difference"):
        engine, network = on_numpy(w, rate, **options)
        radius = stability(network.form, network.form.prospective, w, network.model.trial.dt).radius
        growth = measured_growth(engine, network)[0]
        assert (growth < 1) == (radius < 1), rate


def test_each_agent_is_looked_at_and_nothing_is_changed():
    w = [np.concatenate(pair) for pair in zip(unbiased(1.0), unbiased(6.0), strict=True)]
    engine, network = on_numpy(w, "difference", beta="0.002", dt="4ms", T="32ms", gate="4ms")
    before = engine.read()
    growth = measured_growth(engine, network)
    assert growth[0] < 1 < growth[1]
    after = engine.read()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    with pytest.raises(ConvergenceError, match=r"grow by 1\.\d+ in a step \(agent 1, .*smaller dt \(now 4 ms\)"):
        refuse_growing(engine, network)


@pytest.mark.backend("brian2:plain")
@pytest.mark.parametrize(("scale", "stable"), [(0.3, True), (4.0, False)])
def test_errors_from_the_voltages_are_found_to_diverge(scale, stable):
    """The form of SCIENCE 1 that breaks as ‖W φ'‖ grows: feedback of the voltages' mismatch, not of the errors."""
    replace = {
        "ebar = phi_prime": "ebar = phi_prime*feedback : 1\noff = u - drive : 1",
        "ebar = beta": "ebar = beta*(p - q) : 1\noff = u - drive - noise_bar : 1",
        "feedback_pre = ": 'feedback_pre = "w*off_post"',
        'on_event.reward = "w': 'on_event.reward = "w += lr_hidden*eta/(1 + trial/eta_half)/beta*delta*E"',
        "w += eta/(1": "w += eta/(1 + trial/eta_half)/beta*delta*E",
        "w += eta_hom": "w += eta_hom*abs(delta)*E_hom",
    }
    network = NetworkSpec(variant("rate_nla", replace), SIZES, (1,))
    with pytest.raises(BackendError):
        _ = network.form
    engine = PlainEngine(network)
    engine.write({"w": flat(weights(SIZES, scale=scale))})
    growth = measured_growth(engine, network)
    assert (growth[0] < 1) == stable, growth
