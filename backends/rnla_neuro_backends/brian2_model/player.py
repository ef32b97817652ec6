"""Plays a block into Brian2 groups: everything that happens to a network between two decisions, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import Clock, NetworkOperation, second

from rnla_neuro.spec.chance import chance_key
from rnla_neuro_backends.brian2_model.build import PROCESS
from rnla_neuro_backends.brian2_model.groups import Brian2Network
from rnla_neuro_backends.explicit.engine import Block

FloatArray = npt.NDArray[np.float64]
FIRST = -1_000_000  # before all sums


class Player:
    """Applies what a block says to one network; the scheme is that of `rnla_neuro_backends.explicit.engine`.

    Two network operations, in `operations`, do it: one before everything else of a step, one where noise that
    is a process in time or a current moves.

    Args:
        network: The network; its exploration noise comes from the block alone.
        frozen: Groups of synapses that do not learn.
        seeds: Seeds of the agents, by which their neurons draw; None: the network's own.
    """

    def __init__(
        self, network: Brian2Network, frozen: Sequence[Any] = (), seeds: Sequence[int] | None = None
    ) -> None:
        self.network, self._frozen = network, tuple(frozen)
        self._keys = [chance_key(seed) for seed in (seeds or [network.seed])]
        if network.own_clock is not None:
            network.own_clock.active = False
        self.clock: Clock = network.input.clock
        self._channels = tuple(network.modulators)
        self._x = network.input.variables["x"].get_value()
        signals = network.signals.variables
        self._signals = {name: signals[name].get_value() for name in ("R", "gate", "trial")}
        action, name = network.layers[-1], network.process
        self._noise = None if name is None else action.variables[name].get_value()
        held = network.model.exploration.law != "ornstein-uhlenbeck"
        self._jumps = held and name in ("target", network.model.roles.get("noise"))
        self._block: Block | None = None
        self._agent = self._step = 0
        self._events: dict[int, list[tuple[int, float]]] = {}
        self.delivered = 0
        prefix = network.input.name
        self.operations = (
            NetworkOperation(
                self.begin_step, clock=self.clock, when="before_start", order=FIRST, name=f"{prefix}_player"
            ),
            NetworkOperation(
                self.move_noise, clock=self.clock, when="groups", order=PROCESS, name=f"{prefix}_noise"
            ),
        )

    @property
    def playing(self) -> bool:
        """Whether steps of the block are left."""
        return self.steps_left > 0

    @property
    def loaded(self) -> bool:
        """Whether there is a block that has not ended."""
        return self._block is not None

    @property
    def steps_left(self) -> int:
        """Steps of the block that are left."""
        return 0 if self._block is None else self._block.n_steps - self._step

    def load(self, block: Block, agent: int = 0) -> None:
        """Take a block; `agent` is the row of its arrays that concerns this network."""
        self._block, self._agent, self._step, self._events = block, agent, 0, {}
        for k in np.flatnonzero(block.event_agent == agent).tolist():
            event = int(block.event_channel[k]), float(block.event_value[k])
            self._events.setdefault(int(block.event_step[k]), []).append(event)

    # ---- one step -----------------------------------------------------------------------------------
    def begin_step(self) -> None:
        """Let happen what happens at the start of a step."""
        if not self.playing:
            return
        block, k = self._block, self._step
        assert block is not None
        self._signals["gate"][:] = float(block.gate[k])
        self._signals["trial"][:] = float(block.trial)
        self._supply(k)
        x = block.coefficients[k] @ block.basis[self._agent]
        noise = block.noise[self._agent, block.noise_row[k]] if self._jumps else None
        self._change(x, noise, self._events.get(k, []), block.start if k == 0 else "continue")

    def _supply(self, k: int) -> None:
        """Set what neurons get anew at every step."""
        assert self._block is not None
        if self.network.supplied.needed:
            self.network.supplied.set(self._keys[self._agent], self._block.counter + k)

    def _change(
        self, x: FloatArray, noise: FloatArray | None, events: list[tuple[int, float]], start: str
    ) -> None:
        moves = not np.array_equal(x.astype(self._x.dtype), self._x)
        if noise is not None and self._noise is not None:
            moves |= not np.array_equal(noise.astype(self._noise.dtype), self._noise)
        if start != "continue" or not self.network.at_once:
            self._apply(x, noise, events)
            if self.network.at_once:
                (self.network.jumps.settle if start == "equilibrium" else self.network.jumps.stay)()
        elif moves or self._moves_weights(events):
            with self.network.jumps.jump():
                self._apply(x, noise, events)
        elif events:
            self._apply(None, None, events)

    def _moves_weights(self, events: list[tuple[int, float]]) -> bool:
        """Whether any of the events changes weights at once; a pulse only begins, and nothing jumps."""
        return any(self.network.jumps.moves_weights(self._channels[channel]) for channel, _ in events)

    def _apply(self, x: FloatArray | None, noise: FloatArray | None, events: list[tuple[int, float]]) -> None:
        self.network.jumps.prepare()
        for channel, value in events:
            self._signals["R"][:] = value
            self.network.jumps.event(self._channels[channel], self._frozen)
        self.delivered += len(events)
        if x is not None:
            self._x[:] = x
        if noise is not None and self._noise is not None:
            self._noise[:] = noise

    def move_noise(self) -> None:
        """Let noise that is a process in time, or a current, take its value for this step."""
        block, k = self._block, self._step
        if block is not None and self.playing:
            if not self._jumps and self._noise is not None:
                self._noise[:] = block.noise[self._agent, block.noise_row[k]]
            self._step = k + 1  # nothing of the step asks for it after this

    def end(self) -> FloatArray:
        """Read what the decision takes the argmax of, then apply what comes right after it, shape (n_out,)."""
        block, jumps = self._block, self.network.jumps
        assert block is not None
        self._signals["trial"][:] = float(block.trial)
        self._supply(block.n_steps)
        jumps.look()
        decision = np.array(self.network.layers[-1].rnla_decision_[:], dtype=np.float64)
        events = self._events.get(block.n_steps, [])
        if self._moves_weights(events):
            with jumps.jump():
                self._apply(None, None, events)
        elif events:
            self._apply(None, None, events)
        self._block = None
        jumps.check_finite()
        return decision


class Stepper:
    """Runs a Brian2 network step by step, as ``Network.run`` does for one clock, without its overhead a call."""

    def __init__(self, network: Brian2Network) -> None:
        self._clock = network.input.clock
        self._timestep = self._clock.variables["timestep"].get_value()
        self._t = self._clock.variables["t"].get_value()
        with np.errstate(over="ignore"):  # Brian2 compares with 1e50, float32 or not
            network.run(0 * second)  # prepares everything, and runs nothing
        self._objects = list(network.network.sorted_objects)

    def at(self, t: float) -> None:
        """Set biological time, in seconds."""
        self._t[:] = t
        self._timestep[:] = round(t / self._clock.dt_)

    def step(self) -> None:
        """Run every active object once, in Brian2's order."""
        for thing in self._objects:
            if thing.active:
                thing.run()
