"""Traces that DenseSynapses forms at events, against the same ones integrated in every step."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2 as b2
from brian2 import Network, StateMonitor, ms, network_operation

from rnla_neuro import DenseSynapses
from tests.unit.dense import TRACE, dense, run, short_runs

# Brian2 2.10 calls pyparsing by an old argument name.
pytestmark = pytest.mark.filterwarnings("ignore:'parseAll' argument:DeprecationWarning")


@pytest.fixture(autouse=True)
def preferences() -> Iterator[None]:
    with short_runs():
        yield


def both(model: str, *arguments: Any, steps: int = 4, **options: Any) -> tuple[DenseSynapses, DenseSynapses]:
    return tuple(  # type: ignore[return-value]
        dense(model, *arguments, traces=traces, buffer_steps=steps, **options) for traces in ("every_step", "at_events")
    )


def assert_equal(first: DenseSynapses, second: DenseSynapses, name: str = "E") -> None:
    np.testing.assert_allclose(second.matrix(name), first.matrix(name), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("equation", [
    "dE/dt = (-E + v_post*u_pre)/tau : 1 (clock-driven)",
    "dE/dt = (-E + (v_post - y_post)*u_pre*exp(-x_pre))/tau : 1 (clock-driven)",
    "dE/dt = (-E + (v_post + u_pre)**2)/tau : 1 (clock-driven)",
    "dE/dt = (-2*E + (v_post*u_pre)**3 - 1)/tau : 1 (clock-driven)",
    "mixed = v_post*u_pre : 1\ndE/dt = (-E + mixed)/tau : 1 (clock-driven)",
    "dE/dt = -E/tau : 1 (clock-driven)",
])  # fmt: skip
@pytest.mark.parametrize("method", ["euler", "exponential_euler", "rk2"])
def test_traces_of_the_form_are_recognised_and_exact(equation: str, method: str) -> None:
    first, second = both(f"w : 1\n{equation}", method=method)
    for synapses in (first, second):
        synapses.E = "0.1*i - j"
        run(synapses, 11)
    assert_equal(first, second)
    assert [what for what, _ in second.recognised] == ["E at events"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("w : 1\ndE/dt = (-E + w*u_pre)/tau : 1 (clock-driven)", "'dt*u_pre*w/tau' differs from synapse to synapse"),
        (
            "dE/dt = (-E + exp(u_pre*v_post))/tau : 1 (clock-driven)",
            "is no product of a pre- and a postsynaptic factor",
        ),
        ("dE/dt = (-E**2 + u_pre)/tau : 1 (clock-driven)", "its equation is not linear in E"),
        ("dE/dt = (-E*x_pre + u_pre)/tau : 1 (clock-driven)", "is not the same for all synapses"),
        (f"{TRACE}\nI_post = E : 1 (summed)", "the sum 'I_post' reads it in every step"),
        (f"{TRACE}\ndF/dt = (E - F)/tau : 1 (clock-driven)", "the equation of 'F' reads it in every step"),
        ("dE/dt = -E/tau + xi*tau**-0.5 : 1 (clock-driven)", "'randn()' is different every time"),
        ("dE/dt = (-E + (v_post + u_pre)**5)/tau : 1 (clock-driven)", "6 products a step are more than 4"),
    ],
)
def test_other_traces_are_integrated_in_every_step_and_it_says_why(
    model: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    synapses = dense(model, traces="at_events")
    if "w" in synapses.variables:
        synapses.w = 1
    with caplog.at_level(logging.INFO, "rnla_neuro"):
        run(synapses, 3)
    found = dict(synapses.recognised)
    assert reason in found["E in every step"]
    assert reason in caplog.text
    assert np.abs(synapses.matrix("E")).max() > 0


def test_only_some_traces_at_events() -> None:
    model = f"w : 1\n{TRACE}\ndF/dt = (-F + w*v_post)/tau : 1 (clock-driven)"
    first, second = both(model, {"t > 5*ms": "w += eta*(E + F)"})
    for synapses in (first, second):
        synapses.w = "i - j"
        run(synapses, 9)
    for name in ("E", "F", "w"):
        assert_equal(first, second, name)
    assert {"E at events", "F in every step"} <= {what for what, _ in second.recognised}


def handle(synapses: DenseSynapses, values: list[np.ndarray]) -> Any:
    """Look at the traces now and then, and change them in every way that there is."""

    @network_operation(when="end")
    def handle_traces(t: Any) -> None:
        step = round(t / ms)
        if step % 3 == 1:
            values.append(synapses.E[:].copy())
        if step == 5:
            synapses.E["i == 1"] = "7 + j"
        if step == 7:
            synapses.E[2, :] = -1
        if step == 8:
            synapses.E = synapses.E[:] / 2

    return handle_traces


def test_python_reads_and_writes_traces_between_steps() -> None:
    """A network operation sees the present values, and what it sets is not overwritten by what is buffered."""
    seen: list[list[np.ndarray]] = []
    for synapses in both(f"w : 1\n{TRACE}", steps=100):
        values: list[np.ndarray] = []
        run(synapses, 12, handle(synapses, values))
        seen.append([*values, synapses.E[:].copy()])
    assert len(seen[0]) == 5
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-12)


@pytest.mark.parametrize("period", [1, 3, 2.5, 0.5])
def test_monitors_read_traces_at_any_clock(period: float) -> None:
    recorded = []
    for synapses in both(f"w : 1\n{TRACE}", steps=100):
        early = StateMonitor(synapses, ["w", "E"], record=True, dt=period * ms)
        late = StateMonitor(synapses, "E", record=[1, 4], dt=period * ms, when="end")
        run(synapses, 13, early, late)
        recorded.append((early.E, late.E))
    for first, second in zip(*recorded, strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-12)


def test_the_time_step_may_change_between_runs() -> None:
    first, second = both(f"w : 1\n{TRACE}", steps=100)
    for synapses in (first, second):
        network = run(synapses, 5)
        b2.defaultclock.dt = 0.5 * ms
        network.run(5 * ms)
        b2.defaultclock.dt = 1 * ms
    assert_equal(first, second)


def test_a_stored_state_is_restored_with_what_was_buffered() -> None:
    first, second = both(f"w : 1\n{TRACE}", steps=100)
    for synapses in (first, second):
        network = run(synapses, 5)
        network.store()
        stored = synapses.E[:].copy()
        network.run(4 * ms)
        network.restore()
        np.testing.assert_array_equal(synapses.E[:], stored)
        network.run(3 * ms)
    assert_equal(first, second)


def test_a_shut_gate_costs_no_buffer() -> None:
    model = "gate : 1 (shared)\ndE/dt = (-E + gate*v_post*u_pre)/tau : 1 (clock-driven)"
    first, second = both(model, steps=1000)
    for synapses in (first, second):
        synapses.E, synapses.gate = 1, 0
        runner = Network(synapses, synapses.source, synapses.target)
        runner.run(5 * ms)
        synapses.gate = 1
        runner.run(3 * ms)
    assert_equal(first, second)
    count = second.trace_updater.buffers.count
    steps: list[int] = []

    @network_operation(when="end")
    def look() -> None:
        steps.append(int(count.get_value()[0]))

    runner.add(look)
    runner.run(2 * ms)
    second.gate = 0
    runner.run(2 * ms)
    assert steps == [1, 2, 0, 0]
