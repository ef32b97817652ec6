"""The general kernel equals stock Brian2, for models that are not of the proven form.

Voltages, errors, traces and weight changes are compared separately, in float64 to 1e-10 of an array's largest value;
spikes are the same ones.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.explicit.plain import PlainEngine
from rnla_neuro_backends.general.kernel import GeneralKernel, make_general_kernel
from rnla_neuro_backends.general.settings import general_settings
from tests.conformance.general_nets import ANALOG_INPUT, TWO_STAGES, CompiledEngine, altered, blocks, life, start
from tests.conformance.nets import relative, variant

pytestmark = pytest.mark.usefixtures("numpy_target")

Seen = dict[str, list[np.ndarray]]
TWO_STAGES_OPEN = {pattern.replace(r"gate\*", ""): new.replace("gate*", "") for pattern, new in TWO_STAGES.items()}
SIZES = (5, 7, 6, 4)
SEEDS = (3, 8)


def compare(model: ModelSpec, sizes: tuple[int, ...] = SIZES, **options: Any) -> None:
    network = NetworkSpec(model, sizes, SEEDS, **options)
    same(life(network, CompiledEngine(make_general_kernel(network))), life(network, PlainEngine(network)))


def same(fast: Seen, plain: Seen) -> None:
    assert set(plain) <= set(fast)
    for name, values in plain.items():
        if name in ("spikes", "counts"):
            assert all(np.array_equal(a, b) for a, b in zip(fast[name], values, strict=True)), name
        elif max(np.abs(v).max() for v in values) > 0:
            assert relative(fast[name], values) < 1e-10, name
    assert max(np.abs(v).max() for v in plain["dw"]) > 0.02, "the weights hardly change: nothing is compared"
    if "counts" in plain:
        assert plain["counts"][-1][:, 1:].min() > 0


@pytest.mark.backend("brian2:general")
def test_spikes_by_chance_with_a_refractory_time() -> None:
    compare(altered("spiking_small"))


@pytest.mark.backend("brian2:general")
def test_a_held_input_two_stages_of_traces_and_weights_that_are_forgotten() -> None:
    forget = {r'on_event.reward = "w \+= eta\*delta\*E"': 'on_event.reward = "w += eta*delta*E; w -= 0.1*delta**2*w"'}
    compare(altered("spiking_small", {**ANALOG_INPUT, **TWO_STAGES, **forget}))


@pytest.mark.backend("brian2:general")
def test_interneurons_and_further_projections() -> None:
    compare(altered("beside_small"))


def half(name: str, overrides: dict[str, str], replace: dict[str, str] | None = None) -> ModelSpec:
    """A model of the proven form, made half prospective: of no proven form. Nothing knows its credit."""
    model = variant(name, {"r = rbar + phi_prime": "r = rbar + 0.5*phi_prime*(I - u + err) : 1", **(replace or {})})
    free = re.sub(r"\(beta\*credit\)", "beta", model.text).replace("eta_hom/credit", "eta_hom")
    return parse_model(free, model.path, overrides)


@pytest.mark.slow
@pytest.mark.backend("brian2:general")
def test_rates_with_differences_in_time_ramps_and_noise_that_moves() -> None:
    """Input currents wait for the noise of the step, and are read in the next one; traces have several sources."""
    compare(half("rate_nla_ou_late", {"T": "16*ms", "ramp": "6*ms", "eta": "20", "eta_hom": "0.1"}))


@pytest.mark.slow
@pytest.mark.backend("brian2:general")
def test_weights_that_flow_while_a_pulse_lasts() -> None:
    compare(half("rate_nla_pulse", {"T": "8*ms", "gate": "3*ms", "eta": "2", "eta_hom": "0.2"}), (3, 5, 2))


@pytest.mark.slow
@pytest.mark.backend("brian2:general")
def test_traces_without_a_gate_of_which_more_wait_than_there_is_room_for() -> None:
    model = altered("spiking_small", {r"gate = .*\n": "", r"gate\*": "", **TWO_STAGES_OPEN}, {"T": "16*ms"})
    network = NetworkSpec(model, SIZES, SEEDS)
    settings = replace(general_settings(network), capacity=5)
    fast = life(network, CompiledEngine(GeneralKernel(settings)))
    same(fast, life(network, PlainEngine(network)))


@pytest.mark.slow
@pytest.mark.backend("brian2:general")
def test_only_the_action_layer_learns() -> None:
    compare(altered("spiking_small", None, {"eta": "1"}), (4, 6, 3), freeze_hidden=True)


@pytest.mark.slow
@pytest.mark.backend("brian2:general")
def test_float32_is_as_near_as_float32_gets() -> None:
    """Spikes may come a step earlier: a model of rates is compared, against float32 on stock Brian2."""
    model = altered("beside_small")
    exact = life(NetworkSpec(model, SIZES, SEEDS), PlainEngine(NetworkSpec(model, SIZES, SEEDS)))
    network = NetworkSpec(model, SIZES, SEEDS, "float32")
    fast, plain = life(network, CompiledEngine(make_general_kernel(network))), life(network, PlainEngine(network))
    for name in ("u", "ebar", "z", "dw"):
        assert relative(fast[name], exact[name]) < 5 * relative(plain[name], exact[name]), name


@pytest.mark.backend("brian2:general")
def test_a_state_goes_on_to_the_bit() -> None:
    network = NetworkSpec(altered("spiking_small", TWO_STAGES), SIZES, SEEDS)
    engine, made = CompiledEngine(make_general_kernel(network)), blocks(network, 6)
    start(network, engine)
    for block in made[:4]:
        engine.advance(block)
    state, ends = engine.read(), []
    for _ in range(2):
        ends.append([engine.advance(block) for block in made[4:]])
        last = engine.read()
        engine.write(state)
    other = CompiledEngine(make_general_kernel(network))
    other.write(state)
    ends.append([other.advance(block) for block in made[4:]])
    for results in ends[1:]:
        for one, two in zip(ends[0], results, strict=True):
            assert np.array_equal(one.decision, two.decision)
            assert all(np.array_equal(values, two.recording[name]) for name, values in one.recording.items())
    for name, values in other.read().items():
        assert np.array_equal(values, last[name]), name


@pytest.mark.backend("brian2:general")
def test_silent_trials_change_nothing() -> None:
    network = NetworkSpec(altered("spiking_small"), SIZES, SEEDS)
    ends = []
    for looks in (False, True):
        engine = CompiledEngine(make_general_kernel(network))
        start(network, engine)
        for block in blocks(network, 4, record=False):
            result = engine.advance(block)
            if looks:
                values, named = engine.silent(np.ones((2, SIZES[0])), ["I", "u"])
                assert values.shape == named["I"].shape == (2, 2, SIZES[-1])
                assert np.array_equal(values[:, 0], values[:, 1])
        ends.append((result, engine.read()))
    assert np.array_equal(ends[0][0].decision, ends[1][0].decision)
    for name, values in ends[0][1].items():
        assert np.array_equal(values, ends[1][1][name]), name
