"""rate_in_loop_nla: the same on Brian2's own groups and on the general kernel, and all a host needs it can read."""

from __future__ import annotations

import numpy as np
import pytest

from rnla_neuro.backend import get_backend
from rnla_neuro.hardware.emulation.effects import effects_of
from rnla_neuro.hardware.emulation.strings import emulated
from rnla_neuro.hardware.reading import load_hardware
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.equations import split_equations
from rnla_neuro.spec.expressions import identifiers
from rnla_neuro.spec.loader import load_model
from tests.conformance.nets import events

SIZES, SEEDS = (3, 4, 2), (1, 2)


def learned(**options: str) -> list[np.ndarray]:
    network = NetworkSpec(load_model("rate_in_loop_nla"), SIZES, SEEDS)
    x = np.random.default_rng(0).uniform(-1, 1, (3, len(SEEDS), SIZES[0]))
    seen = []
    with get_backend("brian2").build(network, **options) as simulation:
        for trial in range(3):
            start = simulation.next_decision - simulation.decision_time
            batch = events((0, start, 1.0), (1, start, 0.0)) if trial else events()
            seen += [simulation.decide(x[trial], batch), *simulation.weights()]
    return seen


@pytest.mark.slow
def test_the_general_kernel_does_what_brian2_does() -> None:
    for ours, plain in zip(learned(), learned(road="plain", target="numpy"), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-12)


def test_the_host_needs_nothing_that_it_cannot_read() -> None:
    model = emulated(load_model("rate_in_loop_nla"), effects_of(load_hardware("brainscales2")), SIZES[0]).model
    for kind in ("hidden", "action"):
        host = split_equations(model.neurons[kind].equations, kind)
        assert all("u" not in identifiers(host[name].text, kind) for name in ("seen", "ebar"))
        assert "u_read" not in identifiers(host["u"].text, kind)  # the chip itself does not read
    for text in model.action.group.values():
        assert "u_read" in text
    for synapse in (model.synapse_hidden, model.synapse_action):
        for trace in split_equations(synapse.equations, "synapse").values():
            assert not {"u_post", "u_pre", "rbar_pre"} & identifiers(trace.text, "synapse")
