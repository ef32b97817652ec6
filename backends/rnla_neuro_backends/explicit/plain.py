"""The explicit form on stock Brian2: `NeuronGroup`, `Synapses`, the file's strings, nothing of our own code.

It is what the other engines are compared with, and what runs models that are not proven. It is slow: some
milliseconds a step, whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import Clock, StateMonitor, prefs, second

from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.brian2_model.build import Builder
from rnla_neuro_backends.brian2_model.groups import Brian2Network
from rnla_neuro_backends.brian2_model.player import Player, Stepper
from rnla_neuro_backends.brian2_model.spikes import SpikeCounts
from rnla_neuro_backends.brian2_model.state import StateNames, changing, divide, join
from rnla_neuro_backends.explicit.block import Planner, quiet_block
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine, FloatArray

Target = Literal["numpy", "cython"]


class PlainEngine(Engine):
    """A agents, one after the other, on one network of stock Brian2 groups.

    Beside the canonical state it keeps ``own``: all variables of the groups as they stand; and ``spikes`` of a spiking
    model.

    Args:
        network: What to simulate.
        target: Brian2's code generation target.

    Attributes:
        net: The Brian2 network. It holds the agent that was advanced last.
    """

    STATE = (*Engine.STATE, "own")
    INPUT = "value"
    max_steps = max_events = 2**62

    def __init__(self, network: NetworkSpec, target: Target = "numpy") -> None:
        self._target, self.sizes, self.n_agents = target, network.sizes, len(network.seeds)
        with self._as_configured():
            parts = Builder(
                network.model,
                network.sizes,
                seed=network.seeds[0],
                credit=network.credit,
                name="rnla",
                clock=Clock(network.model.trial.dt * second),
                dtype=np.dtype(network.precision).type,
                own_noise=False,
            )
            self.net = Brian2Network(parts)
            given = network.constant_values
            self._fixed = [(variable, given[key]) for key, variable in parts.fixed]
            self._set_constants(0)
            frozen = [
                synapses
                for pair, learns in zip(
                    zip(self.net.synapses, self.net.bias_synapses, strict=True), network.plastic, strict=True
                )
                for synapses in pair
                if not learns and synapses is not None
            ]
            for synapses in frozen:
                if synapses.state_updater is not None:
                    synapses.state_updater.active = False
            self._player = Player(self.net, frozen, network.seeds)
            self._monitors = self._watch()
            self.net.network.add(*self._player.operations, *self._monitors)
            self._stepper = Stepper(self.net)
            self.net.jumps.prepare()
        self._names, self._spikes = StateNames(self.net), SpikeCounts(self.net, self.n_agents)
        if self._spikes.model_spikes:
            self.STATE = (*self.STATE, "spikes")
        self._own = [v for group in self._names.neurons for v in changing(group)]
        self._synaptic = [v for group in self._names.synapses for v in changing(group)]
        start = [v.get_value().copy() for v in (*self._own, *self._synaptic)]
        self._at_start = start[: len(self._own)]
        self._agents = [[v.copy() for v in start] for _ in range(self.n_agents)]
        self._planner = Planner(network.model.trial)
        self._loaded = 0

    @contextmanager
    def _as_configured(self) -> Iterator[None]:
        before = prefs.codegen.target
        prefs.codegen.target = self._target
        try:
            yield
        finally:
            prefs.codegen.target = before

    def _watch(self) -> list[StateMonitor]:
        """Monitors of all layers, which look before the voltages move."""
        roles, monitors = self.net.model.roles, []
        for group in self.net.layers:
            names = [roles[role] for role in ("voltage", "error", "rate")] + [_drive(roles)]
            if group is self.net.layers[-1] and "noise" in roles:
                names.append(roles["noise"])
            monitor = StateMonitor(group, names, record=True, clock=self._player.clock, name=f"{group.name}_seen")
            monitors.append(monitor)
        return monitors

    # ---- running ------------------------------------------------------------------------------------
    def advance(self, block: Block) -> BlockResult:
        """See `Engine.advance`."""
        decisions, sweeps, seen = [], [], []
        self._player.delivered = 0
        for agent in range(self.n_agents):
            self._load(agent)
            self.net.jumps.sweeps = 0
            decisions.append(self._play(block, agent, self._spikes.of(agent, block)))
            sweeps.append(self.net.jumps.sweeps)
            if block.record:
                seen.append(self._seen() | self._spikes.seen())
        recording = {name: np.stack([one[name] for one in seen]) for name in (seen[0] if seen else ())}
        return BlockResult(np.array(decisions), self._player.delivered, np.array(sweeps), recording)

    def _play(self, block: Block, agent: int, count: Callable[[int], None] = lambda k: None) -> FloatArray:
        dt = self._player.clock.dt_
        self._player.load(block, agent)
        for monitor in self._monitors:
            monitor.resize(0)
            monitor.active = block.record
        for k in range(block.n_steps):
            self._stepper.at(block.t0 + k * dt)
            self._stepper.step()
            count(k)
        self._stepper.at(block.t0 + block.n_steps * dt)
        return self._player.end()

    def _seen(self) -> dict[str, FloatArray]:
        """What the monitors saw of one agent, steps first."""
        roles = self.net.model.roles
        names = {"u": roles["voltage"], "ebar": roles["error"], "drive": _drive(roles), "rate": roles["rate"]}
        seen = {
            what: np.concatenate([_values(m, name).T for m in self._monitors], axis=1) for what, name in names.items()
        }
        top = self._monitors[-1]
        noise = _values(top, roles["noise"]).T if "noise" in roles else np.zeros((len(seen["u"]), self.sizes[-1]))
        return {name: np.array(value, dtype=np.float64) for name, value in (seen | {"noise": noise}).items()}

    def silent(self, observation: FloatArray, names: list[str]) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Run one trial for each observation from rest, without noise and learning; the agents do not notice.

        Args:
            observation: Input values, shape (B, n_in).
            names: Variables of the action layer that are wanted, as they are at the decision.

        Returns:
            The decision's argument and the variables, each of shape (A, B, n_out).
        """
        quiet, dt = self._planner.course(0), self._planner.dt
        updaters = [s.state_updater for s in self._names.synapses]
        learning = [updater for updater in updaters if updater is not None and updater.active]
        changing_variables = (*self._own, *self._synaptic)
        decisions: list[list[FloatArray]] = []
        seen: dict[str, list[list[FloatArray]]] = {name: [] for name in names}
        for agent in range(self.n_agents):
            self._load(agent)
            before = [v.get_value().copy() for v in changing_variables]
            for updater in learning:
                updater.active = False
            decisions.append([])
            for name in names:
                seen[name].append([])
            try:
                for x in observation:
                    _put(self._own, self._at_start)
                    block = quiet_block(quiet, dt, x, self.n_agents, self.sizes[-1])
                    decisions[-1].append(self._play(block, agent))
                    for name in names:
                        seen[name][-1].append(np.array(getattr(self.net.layers[-1], f"{name}_")[:], float))
            finally:
                for updater in learning:
                    updater.active = True
                _put(changing_variables, before)
        return np.array(decisions), {name: np.array(values) for name, values in seen.items()}

    # ---- state --------------------------------------------------------------------------------------
    def _load(self, agent: int) -> None:
        """Put an agent's values into the groups, and keep those of the one before."""
        if agent == self._loaded:
            return
        for variable, mine, next_ in zip(
            (*self._own, *self._synaptic), self._agents[self._loaded], self._agents[agent], strict=True
        ):
            value = variable.get_value()
            mine[...] = value
            value[...] = next_
        self._set_constants(agent)
        self._loaded = agent

    def _set_constants(self, agent: int) -> None:
        for variable, values in self._fixed:
            variable.get_value()[...] = values[agent]

    def read(self) -> dict[str, npt.NDArray[Any]]:
        """See `Engine.read`."""
        read = []
        for agent in range(self.n_agents):
            self._load(agent)
            read.append(self._names.read() | {"own": join(self._own)})
        return {name: np.stack([one[name] for one in read]) for name in read[0]} | self._spikes.read()

    def read_weights(self) -> FloatArray:
        """See `Engine.read_weights`."""
        weights = []
        for agent in range(self.n_agents):
            self._load(agent)
            synaptic = self.net.synaptic(self.net.model.roles["weight"])
            weights.append(np.concatenate([np.asarray(w, np.float64).ravel() for w in synaptic]))
        return np.stack(weights)

    def write(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """See `Engine.write`."""
        state = self._spikes.write(state)
        for agent in range(self.n_agents):
            self._load(agent)
            mine = {name: values[agent] for name, values in state.items()}
            if "own" in mine:
                divide(mine["own"], self._own)
            self._names.write(mine, whole="own" in mine)


def _drive(roles: Mapping[str, str]) -> str:
    """Name of what is recorded as the drive: without that role, the summed current."""
    return roles.get("drive", roles["current"])


def _put(variables: Sequence[Any], values: Sequence[npt.NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.get_value()[...] = value


def _values(monitor: StateMonitor, name: str) -> FloatArray:
    return np.asarray(getattr(monitor, f"{name}_"))
