"""Spikes that the host gives to a run: of the inputs, by their own strings, and the background; the same everywhere.

Chance counts instead of drawing (`rnla_neuro.spec.chance`), so that every simulator, and Brian2 with the same strings,
gets the same numbers.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from rnla_neuro.spec.chance import chance, chance_key
from rnla_neuro.spec.proof import symbol
from rnla_neuro_backends.pynn_adapter.course import Function, Host
from rnla_neuro_backends.pynn_adapter.drive import Drive
from rnla_neuro_backends.pynn_adapter.plan import FloatArray, Spikes


class Stimulus:
    """Draws the spikes of all agents.

    Args:
        host: The equations.
        drives: Cells of each level above the inputs.
    """

    def __init__(self, host: Host, drives: list[Drive]) -> None:
        network = host.network
        self._host, self._drives = host, drives
        self._keys = np.array([chance_key(seed) for seed in network.seeds])[:, None, None]
        self._first = [population.first for population in network.populations]
        inputs = host.form.populations["input"]
        self.spiking = inputs.spikes
        self._odes, self._resets = dict(inputs.odes), dict(inputs.resets)
        if inputs.threshold is not None:
            condition = inputs.threshold
            expr = condition.xreplace({symbol(n): sp.Float(v, 17) for n, v in host.constants.items()})
            algebraic = {symbol(n): e for n, e in inputs.algebraic}
            for _ in algebraic:
                expr = expr.xreplace(algebraic)
            self._threshold = Function(expr, host.constants)
            self._states = sorted(n for n in self._threshold.names if n in self._odes)
            self._moves = {n: Function(self._odes[n], host.constants) for n in self._states}
            self._sets = {n: Function(self._resets[n], host.constants) for n in self._states if n in self._resets}

    def chance(self, level: int, step: int) -> FloatArray:
        """Return the numbers of a level for all steps of a trial that begins with `step`, (A, steps, neurons)."""
        neurons = self._first[level] + np.arange(self._host.network.sizes[level])
        steps = step + np.arange(self._host.n_steps)
        return chance(self._keys, neurons[None, None, :], steps[None, :, None])

    def inputs(self, x: FloatArray, step: int) -> FloatArray:
        """Return the spikes of the inputs in each step, (A, steps, n_in), for input values (A, n_in)."""
        shape = (len(x), self._host.n_steps, x.shape[1])
        if not self.spiking:
            return np.zeros(shape)
        time = np.arange(self._host.n_steps, dtype=np.float64)[None, :, None] * self._host.constants["dt"]
        numbers = self.chance(0, step) if "chance" in self._threshold.names else None
        if not self._states:
            given = {"x": x[:, None, :], "chance": numbers, "t_trial": time}
            return np.broadcast_to(self._threshold(given.__getitem__), shape).astype(np.float64)
        return self._stepped(x, numbers, time[0, :, 0], np.zeros(shape))

    def _stepped(self, x: FloatArray, numbers: FloatArray | None, time: FloatArray, found: FloatArray) -> FloatArray:
        """Take Euler steps: the threshold reads a state that spikes reset."""
        dt, states = self._host.constants["dt"], {name: np.zeros(x.shape) for name in self._states}
        for k, t in enumerate(time):
            given = {"x": x, "t_trial": t, "chance": None if numbers is None else numbers[:, k], **states}
            for name, move in self._moves.items():
                given[name] = states[name] + dt * move({**given, **states}.__getitem__)
            fired = np.broadcast_to(self._threshold(given.__getitem__), x.shape)
            for name in self._states:
                reset = self._sets.get(name)
                states[name] = given[name] if reset is None else np.where(fired, reset(given.__getitem__), given[name])
            found[:, k] = fired
        return found

    def background(self, level: int, step: int) -> FloatArray | None:
        """Return the background spikes of a level's cells in each step, (A, steps, neurons); None: there are none."""
        background = self._drives[level - 1].background
        if background is None:
            return None
        return (self.chance(level, step) < background.probability).astype(np.float64)


def as_spikes(counts: FloatArray, dt: float) -> Spikes:
    """Return spikes at the start of their steps, ms, for counts (A, steps, neurons) of steps of `dt` ms."""
    n = counts.shape[2]
    agent, step, neuron = np.nonzero(counts)
    return Spikes(agent * n + neuron, (step * dt).astype(np.float64))


def as_counts(spikes: Spikes, shape: tuple[int, int, int], dt: float) -> FloatArray:
    """Return how many spikes each neuron fired in each step, (A, steps, neurons).

    A spike at the end of a step is that step's; it acts from the next one on.
    """
    _, n_steps, n = shape
    step = np.ceil(spikes.time / dt - 1e-6).astype(np.int64) - 1
    counts = np.zeros(shape)
    inside = (step >= 0) & (step < n_steps)
    agent, neuron = np.divmod(spikes.index[inside], n)
    np.add.at(counts, (agent, step[inside], neuron), 1.0)
    return counts
