"""Small projections that the unit tests of DenseSynapses share; numpy, one millisecond a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2 as b2
from brian2 import Network, NeuronGroup, ms

from rnla_neuro import DenseSynapses

TRACE = "dE/dt = (-E + v_post*u_pre)/tau : 1 (clock-driven)"
NAMES = {"tau": 10 * ms, "eta": 0.5}


@contextmanager
def short_runs() -> Iterator[None]:
    """Use numpy, which compiles nothing, and put back afterwards what was chosen."""
    before, dt = b2.prefs.codegen.target, b2.defaultclock.dt
    b2.prefs.codegen.target, b2.defaultclock.dt = "numpy", 1 * ms
    yield
    b2.prefs.codegen.target, b2.defaultclock.dt = before, dt


def groups(n_pre: int = 5, n_post: int = 3) -> tuple[NeuronGroup, NeuronGroup]:
    source = NeuronGroup(n_pre, "u = sin(0.5*i + t/(3*ms)) : 1\nfb : 1\nx : 1\nsquare = x**2 : 1", name="pre*")
    target = NeuronGroup(n_post, "v = cos(i + t/(2*ms)) : 1\nI : 1\ny : 1\nm : volt", name="post*")
    source.x, target.y = "0.1 + i", "2*i"
    return source, target


def dense(model: str, *arguments: Any, sizes: tuple[int, int] = (5, 3), **options: Any) -> DenseSynapses:
    options.setdefault("namespace", NAMES)
    options.setdefault("method", "euler")
    return DenseSynapses(*groups(*sizes), model, *arguments, **options)


def run(synapses: DenseSynapses, steps: int, *others: Any) -> Network:
    network = Network(synapses, synapses.source, synapses.target, *others)
    network.run(steps * ms)
    return network


def cause(error: BaseException) -> BaseException:
    """What a user's mistake raised, below Brian2's own wrapper."""
    return error if error.__cause__ is None else cause(error.__cause__)
