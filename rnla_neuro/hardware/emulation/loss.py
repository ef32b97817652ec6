"""Input spikes that do not reach the chip, because more are sent than its link carries.

The input neurons share the link evenly: one whose spike comes sooner after its last delivered one than its share
allows loses it. What a lost spike does at its sender (a reset) stays; what it does at synapses does not happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from rnla_neuro.hardware.emulation.effects import Effects
from rnla_neuro.network import NetworkSpec
from rnla_neuro.simulation import Simulation
from rnla_neuro.spec.equations import split_equations, split_statements
from rnla_neuro.spec.expressions import identifiers
from rnla_neuro.spec.model import ModelSpec

#: State of an input neuron that counts the spikes it lost.
LOST: Final = "input_lost"
_WAIT, _SHARE = "input_wait", "input_share"
# a wait that has passed but for the rounding of floats has passed
_WAITS, _READY = f"int({_WAIT} > 1e-6)", f"int({_WAIT} <= 1e-6)"


def lossy_input(model: ModelSpec, effects: Effects, n_inputs: int, data: dict[str, Any]) -> bool:
    """Let input neurons lose spikes; return whether any can be lost.

    None can where the link carries a spike of every input neuron in every step. Inputs that are no spikes (the value
    itself) are not counted.
    """
    if effects.input_rate is None or model.input.threshold is None:
        return False
    share = effects.input_rate / n_inputs
    if share * model.trial.dt >= 1.0:
        return False
    table = data["neuron"]["input"]
    where = f"{model.path.name}: [neuron.input]"
    states = [name for name, one in split_equations(table["equations"], where).items() if one.is_ode]
    watched = identifiers(table["threshold"], where)
    lines, sends = [], False
    for one in split_statements(table["reset"], where):
        if one.op == "+=" and one.name in states and one.name not in watched:
            lines.append(f"{one.name} += ({one.text})*{_READY}")
            sends = True
        else:
            lines.append(str(one))
    if not sends:
        return False
    lines += [f"{LOST} += {_WAITS}", f"{_WAIT} += {_READY}"]
    table["reset"] = "\n".join(lines) + "\n"
    table["equations"] = table["equations"].rstrip() + (
        f"\nd{_WAIT}/dt = -{_SHARE}*{_WAITS} + 0*{_SHARE}*{LOST} : 1\nd{LOST}/dt = 0*{_SHARE} : 1\n"
    )
    data["parameters"][_SHARE] = f"{share!r}*Hz"
    return True


def lost_spikes(network: NetworkSpec, inner: Simulation) -> Callable[[], float]:
    """Return a function that counts the input spikes lost so far, all agents together.

    Args:
        network: The network, as it was before `lossy_input` changed its model.
        inner: What runs the changed one.
    """
    states = [n for n, one in split_equations(network.model.input.equations, "[neuron.input]").items() if one.is_ode]
    n_in = network.sizes[0]
    first = n_in * (1 + len(states) + 1)  # the input value, the states of the file, the waiting

    def count() -> float:
        own = np.asarray(inner.state()["engine.own"], dtype=np.float64)
        return float(own[:, first : first + n_in].sum())

    return count
