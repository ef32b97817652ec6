"""Brian2's own groups in a compiled program: what the golden engine computes, and models that are not proven."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2

from rnla_neuro.errors import BackendError
from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.brian2 import BACKEND as IN_PROCESS
from rnla_neuro_backends.brian2_cpp import BACKEND
from rnla_neuro_backends.brian2_program.objects import refuse_callbacks
from rnla_neuro_backends.brian2_program.plain import PlainProgramEngine
from rnla_neuro_backends.brian2_program.plain_kernel import PlainKernel
from rnla_neuro_backends.brian2_program.plain_project import write_plain_project
from rnla_neuro_backends.explicit.plain import PlainEngine
from tests.conformance.blocks import course, cut, errors, follow
from tests.conformance.nets import variant

CPP = pytest.mark.backend("brian2_cpp")
SIZES = (5, 4, 4, 3)
EVENTS = [[], [(0, 1.0)], [(0, 0.0), (7, -0.5), (7, 0.3), (11, 1.0)], [], [(3, 1.0)]]


def not_proven() -> ModelSpec:
    """Input rates that are not prospective, and no credit, which only a proven model has."""
    hidden = "w += lr_hidden*eta/(1 + trial/eta_half)/beta*delta*E"
    return variant(
        "rate_nla",
        {
            "r = rbar + tau_m": "r = rbar + 0*tau_m*(rbar - rbar_prev)/dt : 1",
            'on_event.reward = "w += lr_hidden': f'on_event.reward = "{hidden}"',
            "w += eta/(1 + trial": "w += eta/(1 + trial/eta_half)/beta*delta*E",
            "w += eta_hom/credit": "w += eta_hom*abs(delta)*E_hom",
        },
    )


@CPP
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision", "bound"),
    [("rate_nla", "float64", 1e-10), ("rate_nla_ou", "float64", 1e-10), ("rate_nla_pulse", "float32", 2e-3)],
)
def test_the_program_computes_what_stock_brian2_computes(name: str, precision: str, bound: float) -> None:
    """In float32 both are rounded, on different ways; the golden one is held to 5 times its error elsewhere."""
    network = NetworkSpec(variant(name), SIZES, (1, 2), precision)
    blocks = course(network, 5, events=EVENTS)
    engine = PlainProgramEngine(PlainKernel(network))
    try:
        found = follow(engine, network, [part for block in blocks for part in cut(block, 9, network.model.trial.dt)])
    finally:
        engine.close()
    golden = follow(PlainEngine(network), network, [p for b in blocks for p in cut(b, 9, network.model.trial.dt)])
    differences = errors(found, golden, network)
    assert max(differences.values()) < bound, differences
    assert np.abs(golden["dw"]).max() > 1e-4  # the events did something


@CPP
@pytest.mark.slow
def test_a_model_that_is_not_proven_runs_all_the_same() -> None:
    """With the same results as in this process: learning, reading, recording, restoring."""
    network = NetworkSpec(not_proven(), (4, 3, 2), (1, 2), freeze_hidden=True)
    program = BACKEND.build(network, road="plain")
    assert isinstance(program.engine, PlainProgramEngine)
    simulations = [program, IN_PROCESS.build(network, target="numpy", road="plain")]
    rng, states = np.random.default_rng(3), []
    for x in rng.normal(size=(4, 2, 4)):
        t = program.next_decision
        rewards = rng.integers(2, size=2).astype(float)
        for simulation in simulations:
            actions = simulation.decide(x, EventBatch(np.arange(2), np.full(2, t - 0.004), np.zeros(2, int), rewards))
            states.append(actions)
    for one, other in zip(states[::2], states[1::2], strict=True):
        np.testing.assert_array_equal(one, other)
    first, second = (simulation.state() for simulation in simulations)
    for name, values in first.items():
        scale = np.abs(second[name]).max(initial=1.0)
        np.testing.assert_allclose(values / scale, second[name] / scale, atol=1e-10, err_msg=name)
    observation = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(*(s.predict(observation) for s in simulations))
    np.testing.assert_allclose(*(s.policy(observation) for s in simulations), rtol=1e-9)
    for name, values in program.state().items():  # reading changed nothing
        np.testing.assert_array_equal(values, first[name], err_msg=name)
    recordings = [s.decide_recorded(observation[:2], EventBatch.empty())[1] for s in simulations]
    for name in ("u", "ebar", "drive", "rate", "noise"):
        one, other = (getattr(recording, name) for recording in recordings)
        np.testing.assert_allclose(one, other, atol=1e-10, err_msg=name)
    initial = network.initial_weights()
    np.testing.assert_array_equal(program.weights()[0], initial[0])  # frozen
    assert np.abs(program.weights()[1] - initial[1]).max() > 1e-4
    program.restore(first)
    for name, values in program.state().items():
        np.testing.assert_array_equal(values, first[name], err_msg=name)
    for simulation in simulations:
        simulation.close()


@CPP
def test_the_project_contains_all_code_once_and_drops_nothing(tmp_path: Path) -> None:
    network = NetworkSpec(not_proven(), (4, 3, 2), (1, 2), freeze_hidden=True)
    write_plain_project(PlainKernel(network), tmp_path)
    text = (tmp_path / "rnla_plain.cpp").read_text()
    included = re.findall(r'#include "code_objects/(\w+)\.cpp"', text)
    assert sorted(included) == sorted(path.stem for path in (tmp_path / "code_objects").glob("*.cpp"))
    assert "code_objects" not in (tmp_path / "makefile").read_text().split("H_SRCS")[0]
    event = re.search(r"void event\(int channel\) \{.*?\n\}", text, re.DOTALL)
    assert "_run_rnla_to_action_" in event[0]
    assert "_run_rnla_to_hidden1_" not in event[0]  # frozen
    order = re.findall(r"\.add\(&\w+, _run_(\w+)\);", (tmp_path / "main.cpp").read_text())
    assert order[0] == "rnla_begin_call_codeobject"  # in its own slot, before everything else
    assert {"rnla_look_call_codeobject", "rnla_noise_call_codeobject"} < set(order)


def test_a_network_with_a_callback_is_refused_by_name() -> None:
    group = brian2.NeuronGroup(1, "v : 1", name="some_group")
    callback = brian2.NetworkOperation(lambda: None, name="my_callback")
    network = brian2.Network(group, callback)
    network.run(0 * brian2.ms)
    with pytest.raises(BackendError, match=r"my_callback.*cannot call Python functions.*--backend brian2"):
        refuse_callbacks(network)
    network.remove(callback)
    refuse_callbacks(network)
