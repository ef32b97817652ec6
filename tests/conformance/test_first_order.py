"""The explicit form against the moving equilibrium: what differs is the Euler steps, of first order in dt.

Both get the same inputs, held noise and rewards. From rest the mismatch decays in both, and shows in voltages and
errors; traces differ by their own Euler steps; with ramps and without a gate, traces integrate what moves.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.equilibrium import EquilibriumSimulation
from rnla_neuro_backends.explicit.numpy_kernel import NumpyEngine
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from tests.conformance.nets import HELD_NOISE, events, variant

SIZES = (5, 4, 4, 3)
FINE = 32  # the equilibrium's own columns are of second order, and finer than the finest Euler step


def measure(simulation: ExplicitSimulation | EquilibriumSimulation, rewards: bool) -> dict[str, np.ndarray]:
    """Return what three trials leave: voltages and errors at the decisions, traces, weight changes."""
    rng = np.random.default_rng(3)
    start = simulation.weights()
    u, ebar = [], []
    for k in range(3):
        before = simulation.next_decision - simulation.decision_time
        mine = events((0, before, 1.0), (0, before + 0.008, -0.5)) if rewards and k else events()
        _, seen = simulation.decide_recorded(rng.standard_normal((1, SIZES[0])), mine)
        # The last column of the equilibrium is solved at its middle; here both are interpolated to the same instant.
        at = simulation.next_decision - simulation.trial_duration - 0.002
        u.append([np.interp(at, seen.time, x) for x in seen.u[0].T])
        ebar.append([np.interp(at, seen.time, x) for x in seen.ebar[0].T])
    state = {"u": np.array(u), "ebar": np.array(ebar)}
    state["traces"] = np.concatenate([z.ravel() for z in simulation.traces()])
    state["dw"] = np.concatenate([(a - b).ravel() for a, b in zip(simulation.weights(), start, strict=True)])
    return state


def network(name: str, replace: Mapping[str, str], dt: float) -> NetworkSpec:
    overrides = {"dt": f"{dt}*ms", "T": "12*ms", "decision": "12*ms"}
    if name != "rate_nla_poster":  # a soft winner-take-all: errors are smooth on the scale of these steps
        overrides["g"] = "5"
    return NetworkSpec(variant(name, replace, overrides), SIZES, (1,))


@pytest.mark.backend("brian2:numpy", "equilibrium:native")
@pytest.mark.parametrize(
    ("name", "replace", "start"),
    [
        pytest.param("rate_nla", {}, "rest", id="mismatch decays"),
        pytest.param("rate_nla_late", {}, "equilibrium", id="gated traces, ramps"),
        pytest.param("rate_nla_poster", HELD_NOISE, "equilibrium", id="ungated traces, ramps"),
    ],
)
def test_what_differs_is_of_first_order(name: str, replace: Mapping[str, str], start: str) -> None:
    rewards = start == "equilibrium"  # the mismatch of a start at rest would be learned, a thousandfold
    fine = EquilibriumSimulation(network(name, replace, 1 / FINE), core="native", start=start)  # type: ignore[arg-type]
    exact = measure(fine, rewards)
    distance = []
    for steps in (4, 8, 16):
        net = network(name, replace, 1 / steps)
        found = measure(ExplicitSimulation(net, NumpyEngine(net), start), rewards)  # type: ignore[arg-type]
        distance.append({k: np.abs(v - exact[k]).max() / (np.abs(exact[k]).max() or 1.0) for k, v in found.items()})
    for quantity in ("u", "ebar", "traces", "dw"):
        d = np.array([x[quantity] for x in distance])
        if (d < 1e-9).all():
            continue  # nothing of it is integrated: both solve the same equation
        order = np.log2(d[:-1] / d[1:])
        assert (np.abs(order - 1) < 0.25).all(), (quantity, d, order)
        assert d[-1] < 0.03, (quantity, d)
