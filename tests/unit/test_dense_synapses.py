"""What DenseSynapses and GroupReduction take, refuse and compute, on the numpy target."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2 as b2
from brian2 import Network, NeuronGroup, Synapses, linked_var, ms
from brian2.core.base import BrianObjectException

from rnla_neuro import DenseSynapses, GroupReduction
from rnla_neuro.errors import ConfigError
from rnla_neuro_backends.dense.synapses import OPTIONS
from tests.unit.dense import NAMES, TRACE, cause, dense, groups, run, short_runs

# Brian2 2.10 calls pyparsing by an old argument name.
pytestmark = pytest.mark.filterwarnings("ignore:'parseAll' argument:DeprecationWarning")


@pytest.fixture(autouse=True)
def preferences() -> Iterator[None]:
    with short_runs():
        yield


def compare_views(pair: tuple[Any, Any], item: Any) -> None:
    wanted, found = (np.sort(np.atleast_1d(synapses.w[item])) for synapses in pair)
    np.testing.assert_array_equal(found, wanted)


def test_synapses_are_set_and_read_as_those_of_brian2() -> None:
    """Random numbers, conditions, indices, pairs; from a subgroup, whose neurons count from 0."""
    pair, alive = [], []
    for kind in (Synapses, DenseSynapses):
        source, target = groups(6, 4)
        alive += [source, target, source[1:]]
        synapses = kind(alive[-1], target, "w : 1\nv_syn : volt\nq = w*x_pre + y_post : 1")
        if kind is Synapses:
            synapses.connect()
        b2.seed(3)
        synapses.w = "randn()*0.1 + i*x_pre"
        synapses.w["i < 2 and j != 1"] = "i + 100*j"
        synapses.w[3:6] = "-1"
        synapses.w[1, 2] = "x_pre"
        synapses.w[4] = 7
        synapses.v_syn = "i*mV"
        pair.append(synapses)
    for name in ("w", "v_syn_", "i", "j", "q", "x_pre", "square_pre", "y_post", "y"):
        wanted, found = (np.asarray(getattr(synapses, name)[:]) for synapses in pair)
        np.testing.assert_array_equal(found, wanted, err_msg=name)
    for item in (3, slice(2, 9), (1, 2), (slice(1, 3), slice(None)), ([0, 2], 1), "i > 2", "w > x_pre"):
        compare_views((pair[0], pair[1]), item)
    assert pair[1].v_syn[5] == pair[0].v_syn[5]


def test_a_matrix_is_a_view() -> None:
    synapses = dense("w : 1")
    synapses.w = np.arange(15)
    matrix = synapses.matrix("w")
    assert matrix.shape == (5, 3)
    np.testing.assert_array_equal(matrix[2], [6, 7, 8])
    matrix[2, 1] = -1
    assert synapses.w[2, 1] == -1
    with pytest.raises(ConfigError, match=r"unknown variable of the synapses 'u': .*known: w$"):
        synapses.matrix("u")


def test_agents_are_blocks_on_the_diagonal() -> None:
    agents = NeuronGroup(2, "a : 1")
    agents.a = [10, 20]
    synapses = dense("w : 1\nI_post = w*x_pre*a_agent : 1 (summed)", sizes=(6, 4), n_agents=2, agents=agents)
    assert (len(synapses), synapses.matrix("w").shape) == (12, (2, 3, 2))
    synapses.w = "i + 0.1*j"
    np.testing.assert_allclose(synapses.matrix("w")[1], [[3.2, 3.3], [4.2, 4.3], [5.2, 5.3]])
    np.testing.assert_array_equal(synapses.a_agent[:], [10] * 6 + [20] * 6)
    assert synapses.w[3:, 0].size == 0
    run(synapses, 1, agents)
    x = synapses.source.x[:].reshape(2, 3)
    wanted = np.einsum("aij,ai,a->aj", synapses.matrix("w"), x, [10, 20]).ravel()
    np.testing.assert_allclose(synapses.target.I[:], wanted, rtol=1e-14)


def test_a_subgroup_sums_into_its_own_part_only() -> None:
    source, target = groups(5, 6)
    target.I = -1
    synapses = DenseSynapses(source[2:], target[1:4], "w : 1\nI_post = w*x_pre : 1 (summed)")
    synapses.w = "j + 1"
    Network(source, target, synapses).run(1 * ms)
    total = source.x[2:].sum()
    np.testing.assert_allclose(target.I[:], [-1, total, 2 * total, 3 * total, -1, -1], rtol=1e-14)


def test_a_group_can_be_connected_to_itself() -> None:
    group, _ = groups(4)
    synapses = DenseSynapses(group, model="w : 1\nfb_post = w*x_pre : 1 (summed)")
    synapses.w = "i + 10*j"
    Network(group, synapses).run(1 * ms)
    np.testing.assert_allclose(group.fb[:], synapses.matrix("w").T @ group.x[:], rtol=1e-14)


def test_shared_linked_and_constant_over_dt() -> None:
    signals = NeuronGroup(1, "gate = t/ms : 1")
    synapses = dense(
        "w : 1\nscale : 1 (shared)\ngate : 1 (linked)\nheld = w*x_pre + gate : 1 (constant over dt)\n"
        "I_post = held*scale : 1 (summed)"
    )
    synapses.gate = linked_var(signals, "gate")
    synapses.w, synapses.scale = "i", 3
    run(synapses, 3, signals)
    wanted = 3 * (np.arange(5)[:, None] * synapses.source.x[:][:, None] + np.full((5, 3), 2.0))
    np.testing.assert_allclose(synapses.target.I[:], wanted.sum(0), rtol=1e-14)


def test_float32_stays_float32() -> None:
    synapses = dense(f"w : 1\nI_post = 0.1*w*u_pre : 1 (summed)\n{TRACE}", dtype=np.float32)
    synapses.w = "0.1*i"
    run(synapses, 5)
    assert synapses.matrix("w").dtype == synapses.matrix("E").dtype == np.float32


def test_code_runs_on_its_own_clock_and_at_times() -> None:
    synapses = dense("w : 1\nn : integer")
    synapses.run_regularly("w += x_pre*y_post*dt/ms", dt=2 * ms, name="mine")
    synapses.run_at("n += 1", [1 * ms, 4 * ms])
    network = run(synapses, 10)
    wanted = 5 * synapses.source.x[:][:, None] * synapses.target.y[:]
    np.testing.assert_allclose(synapses.matrix("w"), wanted, rtol=1e-13)
    assert set(synapses.n[:]) == {2}
    assert "mine" in network


def test_code_runs_only_for_the_agents_with_an_event() -> None:
    agents = NeuronGroup(3, "fires = int(timestep(t, dt) == 4 + i and i != 1) : 1\ngain = i + 1.0 : 1")
    event = {"fires_agent > 0": "w += gain_agent*x_pre", "t > 7.5*ms": "done += 1"}
    synapses = dense("w : 1\ndone : 1", event, sizes=(6, 3), n_agents=3, agents=agents)
    assert list(synapses.event_runners) == list(event)
    run(synapses, 10, agents)
    x = synapses.source.x[:].reshape(3, 2, 1)
    np.testing.assert_allclose(synapses.matrix("w"), x * np.array([1.0, 0.0, 3.0])[:, None, None], rtol=1e-14)
    assert set(synapses.done[:]) == {2.0}


def test_sums_keep_their_order() -> None:
    """The second sum uses the first one's result of the same step, and is therefore no part of its pass."""
    synapses = dense("w : 1\nI_post = w*x_pre : 1 (summed)\nfb_pre = w*I_post : 1 (summed)")
    synapses.summed_updaters["I_post"].order = -5
    synapses.w = "i - j"
    run(synapses, 1)
    w, x = synapses.matrix("w"), synapses.source.x[:]
    np.testing.assert_allclose(synapses.source.fb[:], w @ (w.T @ x), rtol=1e-13)
    assert dict(synapses.recognised)["one pass: fb_pre"] == "it uses 'I_post', which is complete only after the pass"
    synapses = dense("w : 1\nI_post = w*x_pre : 1 (summed)\nfb_pre = w*I_post : 1 (summed)")
    synapses.summed_updaters["fb_pre"].order = -5
    synapses.w = "i - j"
    run(synapses, 2)
    np.testing.assert_allclose(synapses.source.fb[:], w @ (w.T @ x), rtol=1e-13)  # of the step before
    assert dict(synapses.recognised)["one pass: I_post"] == "'I_post' is used before it is summed up anew"


def test_a_factor_of_one_side_is_computed_once_a_neuron() -> None:
    calls: list[int] = []

    def count(x: np.ndarray) -> np.ndarray:
        calls.append(np.size(x))
        return np.sqrt(x)

    counted = b2.Function(count, arg_units=[1], return_unit=1)
    counted.implementations.add_numpy_implementation(count)
    names = NAMES | {"counted": counted}
    synapses = dense("w : 1\nI_post = w*counted(square_pre)*counted(y_post) : 1 (summed)", namespace=names)
    synapses.w = 1
    run(synapses, 1)
    assert sorted(calls) == [3, 5]
    wanted = synapses.source.x[:].sum() * np.sqrt(synapses.target.y[:])
    np.testing.assert_allclose(synapses.target.I[:], wanted, rtol=1e-14)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("w : 1", {"n_agents": 2}, r"the source 'pre.*' has 5 neurons, which is no multiple of n_agents=2"),
        ("w : 1", {"n_agents": 0}, r"n_agents is 0; allowed is a whole number from 1"),
        ("w : 1", {"on_pre": "w += 1"}, r"DenseSynapses has no 'on_pre': it knows no spikes and no delays"),
        ("w : 1", {"on_event": "w += 1"}, r"on_event is 'w \+= 1'; allowed is a mapping of conditions to code"),
        ("w : 1", {"trace": "at_events"}, r"unknown option 'trace': did you mean 'traces'\?"),
        ("w : 1", {"traces": "at_event"}, r"unknown value of traces 'at_event': did you mean 'at_events'\?"),
        (TRACE, {"traces": "at_events", "buffer_steps": 0}, r"buffer_steps is 0; allowed is a whole number from 1"),
        ("K = w : 1 (summed)\nw : 1", {}, r"summed variable 'K'; allowed are names that end in _pre or _post"),
        ("w : 1\nJ_post = w : 1 (summed)", {}, r"unknown parameter of 'post.*' 'J': .*known: I, m, y"),
        ("w : 1\nv_post = w : 1 (summed)", {}, r"unknown parameter of 'post.*' 'v'"),
        ("dw/dt = -w/tau : 1 (event-driven)", {}, r"'w' is event-driven; dense synapses know no spikes"),
        ("x : 1", {}, r"variable 'x' of the synapses has the name of a variable of 'pre.*'x_syn'"),
        ("delay : 1", {}, r"'delay' is the name of something that all synapses have"),
    ],
)
def test_what_dense_synapses_cannot_be_is_refused(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dense(model, **options)


def test_connect_is_not_needed() -> None:
    with pytest.raises(ConfigError, match=r"leave connect\(\) out"):
        dense("w : 1").connect(j="i")


def test_the_options_named_in_messages_are_those_there_are() -> None:
    taken = set(inspect.signature(DenseSynapses.__init__).parameters)
    assert taken - {"self", "source", "target", "model", "other"} == set(OPTIONS)


def test_units_are_checked_as_everywhere_in_brian2() -> None:
    with pytest.raises(b2.DimensionMismatchError):
        dense("w : 1\nm_post = w : 1 (summed)")
    synapses = dense("w : 1\nm_post = w*x_pre : volt (summed)")
    with pytest.raises(BrianObjectException) as error:
        run(synapses, 1)
    assert isinstance(cause(error.value), b2.DimensionMismatchError)
    synapses = dense("w : volt", {"t > 1*ms": "w += 1"})
    with pytest.raises(BrianObjectException) as error:
        run(synapses, 1)
    assert isinstance(cause(error.value), b2.DimensionMismatchError)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"y_post > 1": "w += 1"}, "condition 'y_post > 1' depends on 'y_post', which differs between synapses"),
        ({"t > 1*ms": "y_post += w"}, "writes 'y_post', a variable of the neurons"),
    ],
)
def test_events_of_the_wrong_kind_are_refused(event: dict[str, str], message: str) -> None:
    synapses = dense("w : 1", event)
    with pytest.raises(BrianObjectException) as error:
        run(synapses, 1)
    assert isinstance(cause(error.value), ConfigError)
    assert message in str(cause(error.value))


def test_two_sums_into_one_variable_are_refused() -> None:
    source, target = groups()
    model = "w : 1\nI_post = w : 1 (summed)"
    network = Network(source, target, DenseSynapses(source, target, model), DenseSynapses(source, target, model))
    with pytest.raises(NotImplementedError, match="Multiple 'summed variables' target the variable 'I'"):
        network.run(1 * ms)


def test_indices_outside_are_refused() -> None:
    synapses = dense("w : 1")
    with pytest.raises(IndexError, match="index 15 is outside of the 15 synapses"):
        synapses.w[15]
    with pytest.raises(IndexError):
        synapses.w[5, 0]
    assert synapses.w[-1].shape == ()


def test_reductions_are_those_of_each_agent() -> None:
    group = NeuronGroup(12, "u : 1\np : 1\ns : 1\nm : 1\nlargest : volt", namespace={"g": 50})
    group.u = np.random.default_rng(0).normal(size=12) * 100
    GroupReduction(group, "p", "g*u", n_agents=3)
    GroupReduction(group, "s", "2*u", "sum", n_agents=3)
    GroupReduction(group, "m", "u", "mean", n_agents=3)
    GroupReduction(group, "largest", "u*volt", "max", n_agents=3)
    Network(group).run(1 * ms)
    u = group.u[:].reshape(3, 4)
    e = np.exp(50 * (u - u.max(1, keepdims=True)))
    np.testing.assert_allclose(group.p[:].reshape(3, 4), e / e.sum(1, keepdims=True), rtol=1e-13)
    for name, wanted in (("s", 2 * u.sum(1)), ("m", u.mean(1)), ("largest_", u.max(1))):
        np.testing.assert_allclose(getattr(group, name)[:].reshape(3, 4), np.repeat(wanted[:, None], 4, 1), rtol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("p", "u", "median"), "unknown reduction 'median'"),
        (("q", "u"), "unknown parameter for the reduction 'q'"),
        (("i", "u"), "unknown parameter for the reduction 'i'"),
    ],
)
def test_reductions_of_the_wrong_kind_are_refused(arguments: tuple[str, ...], message: str) -> None:
    group = NeuronGroup(4, "u : 1\np : 1")
    with pytest.raises(ConfigError, match=message):
        GroupReduction(group, *arguments)
    with pytest.raises(ConfigError, match="over a whole group of neurons"):
        GroupReduction(group[1:], "p", "u")
    with pytest.raises(ConfigError, match="4 neurons are no multiple of n_agents=3"):
        GroupReduction(group, "p", "u", n_agents=3)
