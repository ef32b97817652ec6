"""Every engine of the explicit form against stock Brian2 (numpy, float64, its own templates): the golden one.

Voltages, errors, traces and weight changes are compared separately, and traces one by one: a difference in
the weights alone proves nothing while the learning rate is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.explicit.engine import Block, Engine
from rnla_neuro_backends.explicit.kernel import Kernel, kernel_settings
from rnla_neuro_backends.explicit.plain import PlainEngine
from tests.conformance.blocks import LibraryEngine, course, cut, errors, follow
from tests.conformance.nets import variant
from tests.model_lines import proven_models

SIZES = (5, 4, 4, 3)
#: The other way to write a prospective rate; it has a step of latency a layer.
DIFFERENCE = {"r = rbar + phi_prime": "r = rbar + tau_m*(rbar - rbar_prev)/dt : 1"}
#: Variants of the action layer's noise that no packaged model has.
PROCESS = {
    "law = ": 'law = "ornstein-uhlenbeck"\ntau = "0.8*tau_m"',
    "hold = ": 'hold = "step"',
    "policy = ": 'policy = "softmax(drive/sigma)"',
}


def models() -> dict[str, ModelSpec]:
    """The packaged models, and variants that take other ways through the kernels."""
    found = {name: variant(name) for name in proven_models()}
    found["difference"] = variant("rate_nla_ou", DIFFERENCE)
    found["pulse and difference"] = variant("rate_nla_pulse", DIFFERENCE)
    found["process"] = variant("rate_nla", PROCESS)
    return found


MODELS = models()


def network_of(name: str, precision: str = "float64", sizes: tuple[int, ...] = SIZES) -> NetworkSpec:
    return NetworkSpec(MODELS[name], sizes, (1, 2), precision)


EVENTS = [[], [(0, 1.0)], [(0, 0.0), (7, -0.5), (7, 0.3), (11, 1.0)], [], [(3, 1.0)]]


def blocks_of(network: NetworkSpec) -> list[Block]:
    """Five trials: no event, one on the border, several inside (two at once), an input change without one."""
    return course(network, 5, events=EVENTS)


@cache
def golden(name: str, precision: str = "float64") -> dict[str, np.ndarray]:
    network = network_of(name, precision)
    return follow(PlainEngine(network), network, blocks_of(network))


def library(network: NetworkSpec, record: bool = True) -> Engine:
    return LibraryEngine(Kernel(kernel_settings(network, record=record)))


def in_numpy(network: NetworkSpec) -> Engine:
    from rnla_neuro_backends.explicit.numpy_kernel import NumpyEngine

    return NumpyEngine(network)


def quick(names: Iterable[str], *first: str) -> list[Any]:
    """Mark all but the first names slow: each costs a network of stock Brian2 and a kernel to compile."""
    return [pytest.param(name, marks=() if name in first else pytest.mark.slow) for name in names]


ENGINES: dict[str, Callable[[NetworkSpec], Engine]] = {"numpy": in_numpy, "library": library}


@pytest.mark.backend("brian2:numpy")
@pytest.mark.parametrize(
    "name", quick(MODELS, "rate_nla", "rate_nla_ou", "rate_nla_poster", "rate_nla_pulse", "difference")
)
@pytest.mark.parametrize("engine", ENGINES)
def test_float64_agrees_to_rounding(engine: str, name: str) -> None:
    network = network_of(name)
    found = follow(ENGINES[engine](network), network, blocks_of(network))
    wrong = errors(found, golden(name), network)
    assert max(wrong.values()) < 1e-10, wrong
    assert np.abs(golden(name)["dw"]).max() > 1e-3  # something was learned, or the comparison is idle


@pytest.mark.parametrize(
    "name", quick(["rate_nla", "rate_nla_ou", "rate_nla_poster", "rate_nla_pulse"], "rate_nla", "rate_nla_ou")
)
@pytest.mark.parametrize("engine", ENGINES)
def test_float32_is_as_near_as_plain_float32(engine: str, name: str) -> None:
    network = network_of(name, "float32")
    plain = errors(golden(name, "float32"), golden(name), network)
    found = errors(follow(ENGINES[engine](network), network, blocks_of(network)), golden(name), network)
    worse = {key: (found[key], plain[key]) for key in found if found[key] > 5 * plain[key] + 1e-6}
    assert not worse, worse


@pytest.mark.parametrize("engine", ENGINES)
def test_a_long_run_with_large_weight_changes(engine: str) -> None:
    """2010 steps, 66 rewards, |dW| of the size of |W|."""
    model = replace(MODELS["rate_nla"], parameters={
        **MODELS["rate_nla"].parameters,
        "eta": replace(MODELS["rate_nla"].parameters["eta"], value=0.1),
    })  # fmt: skip
    network = NetworkSpec(model, SIZES, (1,))
    blocks = course(network, 67)
    assert sum(b.n_steps for b in blocks) >= 2000
    if not LONG:
        LONG.append(follow(PlainEngine(network), network, blocks, every=20))
    change, weight = np.abs(LONG[0]["dw"]).max(), np.abs(LONG[0]["w"]).max()
    assert 0.3 < change / weight < 3
    found = follow(ENGINES[engine](network), network, blocks, every=20)
    wrong = errors(found, LONG[0], network)
    assert max(wrong.values()) < 1e-10, wrong


LONG: list[dict[str, np.ndarray]] = []


@pytest.mark.parametrize(
    "name",
    quick(
        ["rate_nla", "rate_nla_ou", "rate_nla_late", "rate_nla_poster", "rate_nla_pulse"],
        "rate_nla_ou",
        "rate_nla_late",
        "rate_nla_poster",
    ),
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_is_split_inside_a_block_and_read_there(engine: str, name: str) -> None:
    """Reading traces in the middle of a trial neither shows nor changes another trial."""
    network = network_of(name)
    dt = network.model.trial.dt
    blocks = [part for block in blocks_of(network) for part in cut(block, block.n_steps - 1, dt)]
    found = follow(ENGINES[engine](network), network, blocks)
    whole = follow(ENGINES[engine](network), network, blocks_of(network))
    wrong = errors({**found, "z": found["z"][1::2], "dw": found["dw"][1::2], "decision": found["decision"][:, 1::2]},
                   whole, network)  # fmt: skip
    assert max(wrong.values()) < 1e-10, wrong
    # In the middle of a trial the open gate has left something in the traces that the end of the trial before had not.
    assert np.abs(found["z"][0]).max() > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_state_that_is_written_back_goes_on_to_the_bit(engine: str) -> None:
    network = network_of("rate_nla_ou")
    blocks = blocks_of(network)
    one = ENGINES[engine](network)
    follow(one, network, blocks[:3])
    state = one.read()
    expected = [one.advance(b) for b in blocks[3:]]
    other = ENGINES[engine](network)
    other.write(state)
    for a, b in zip(expected, (other.advance(b) for b in blocks[3:]), strict=True):
        assert np.array_equal(a.decision, b.decision)
        assert np.array_equal(a.recording["u"], b.recording["u"])
    for name, values in one.read().items():
        assert np.array_equal(values, other.read()[name]), name


@pytest.mark.parametrize("engine", ENGINES)
def test_agents_do_not_meet(engine: str) -> None:
    """An agent's course is the same alone and beside another one."""
    both = network_of("rate_nla_ou")
    alone = replace(both, seeds=(2,))
    blocks = blocks_of(both)
    second = [
        replace(b, basis=b.basis[1:], noise=b.noise[1:], event_agent=np.zeros(len(b.event_agent) // 2, np.int64),
                event_step=b.event_step[b.event_agent == 1], event_channel=b.event_channel[b.event_agent == 1],
                event_value=b.event_value[b.event_agent == 1])
        for b in blocks
    ]  # fmt: skip
    together, single = follow(ENGINES[engine](both), both, blocks), follow(ENGINES[engine](alone), alone, second)
    assert np.allclose(together["u"][1], single["u"][0], rtol=1e-13, atol=1e-15)
    assert np.allclose(together["dw"][:, 1], single["dw"][:, 0], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("engine", ENGINES)
def test_frozen_hidden_layers_stay(engine: str) -> None:
    network = replace(network_of("rate_nla"), freeze_hidden=True)
    blocks = blocks_of(network)
    found = follow(ENGINES[engine](network), network, blocks)
    n_hidden = sum(b * (a + 1) for a, b in pairwise(SIZES[:-1]))
    assert not found["dw"][:, :, :n_hidden].any()
    assert found["dw"][:, :, n_hidden:].any()
    reference = follow(PlainEngine(network), network, blocks)
    assert np.allclose(found["dw"], reference["dw"], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("sizes", [(1, 1, 2), (3, 9, 2), (17, 33, 5), (6, 5, 12, 4, 7)], ids=str)
def test_sizes_on_and_off_the_vector_grid(sizes: tuple[int, ...]) -> None:
    """Rows are padded to whole vectors; numpy knows nothing of that."""
    network = network_of("rate_nla_ou", sizes=sizes)
    blocks = blocks_of(network)
    one, other = (follow(ENGINES[engine](network), network, blocks) for engine in ("numpy", "library"))
    wrong = errors(other, one, network)
    assert max(wrong.values()) < 1e-9, wrong


def test_a_small_buffer_is_emptied_in_time() -> None:
    """The list of contributions may fill up in the middle of a trial."""
    network = network_of("rate_nla_poster")
    blocks = blocks_of(network)
    settings = kernel_settings(network, record=True)
    found = follow(LibraryEngine(Kernel(replace(settings, capacity=3))), network, blocks)
    wrong = errors(found, golden("rate_nla_poster"), network)
    assert max(wrong.values()) < 1e-10, wrong
