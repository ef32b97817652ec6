"""A network on an emulated chip, with a host in the loop: run, read, change the weights, write them, run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.hardware.emulation.effects import Effects, describe
from rnla_neuro.hardware.emulation.held import Held
from rnla_neuro.hardware.emulation.pattern import stream
from rnla_neuro.hardware.emulation.weights import ChipWeights
from rnla_neuro.simulation import FloatArray, IntArray, Label, Simulation
from rnla_neuro.spec.chance import chance

_TRIAL, _TEST = "trial noise", "trial noise of tests"
#: Half a step of `chance`, so that no number is 0.
_HALF: Final = 2.0**-25


@dataclass(frozen=True)
class OnChip:
    """What a chip does to the weights of a network.

    Attributes:
        effects: What is emulated.
        chip_seeds: Which chip each agent is on, A of them.
        agent_seeds: Seed of each agent.
        weights: The weights as the chips have them.
        offsets: What is added to the biases of each projection, (A, n_post); None where nothing is.
        noisy: Numbers of the projections that bring the biases which trial noise moves, with the population's name.
        notes: What else is to be told in the summary.
        lost: Counts the input spikes that were lost; None: none can be.
        acting: What changes something in this network, as `describe` takes it; None: everything.
    """

    effects: Effects
    chip_seeds: tuple[int, ...]
    agent_seeds: tuple[int, ...]
    weights: ChipWeights
    offsets: Sequence[FloatArray | None]
    noisy: tuple[tuple[int, str], ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    lost: Callable[[], float] | None = None
    acting: frozenset[str] | None = None


class ChipSimulation(Simulation):
    """A simulation whose weights are those of a chip; see `Simulation` for the protocol.

    The host keeps the weights it means (`weights`), which for a chip with whole numbers are whole numbers of its step.
    Between two runs it applies the events that have arrived, rounds, and writes. An event during a run waits for its
    end, where weights change between runs only. What the synapses have differs from what the host means (`effective`).

    Args:
        inner: What runs the network. It belongs to this object from now on, and is closed with it.
        chip: What the chip does.
    """

    def __init__(self, inner: Simulation, chip: OnChip) -> None:
        self.inner, self.chip = inner, chip
        self.n_agents, self.sizes, self.channels = inner.n_agents, inner.sizes, inner.channels
        self.trial_duration, self.decision_time = inner.trial_duration, inner.decision_time
        effects = chip.effects
        self._weights, self._held = chip.weights, Held(moves=effects.between_runs)
        # nothing to round, to wait for or to move: events go where they would go without a chip
        self._direct = (
            effects.grid is None and "weight" not in effects.spreads and not effects.between_runs
            and not effects.trial and all(one is None for one in chip.offsets)
        )  # fmt: skip
        self._noises = {use: _Noise(inner.weights(), chip, use) for use in (_TRIAL, _TEST) if effects.trial}
        self._written: list[FloatArray] = []
        self._stale = False
        if not self._direct:
            self._written = self._weights.effective_with(chip.offsets)
            inner.set_weights(self._written)

    # ---- what the inner simulation counts ---------------------------------------------------------------
    @property
    def decisions(self) -> int:
        """Number of decisions made so far."""
        return self.inner.decisions

    @decisions.setter
    def decisions(self, value: int) -> None:
        self.inner.decisions = value

    @property
    def delivered(self) -> int:
        """Number of events applied so far."""
        return self.inner.delivered

    @delivered.setter
    def delivered(self, value: int) -> None:
        self.inner.delivered = value

    @property
    def skipped(self) -> int:
        """Trials' time that passed without a decision."""
        return self.inner.skipped

    @skipped.setter
    def skipped(self, value: int) -> None:
        self.inner.skipped = value

    # ---- trials -----------------------------------------------------------------------------------------
    def decide(self, observation: FloatArray, events: EventBatch, label: Label = None) -> IntArray:
        """Change the weights by what has arrived, write them, and run one trial; see `Simulation.decide`."""
        during = self._between(events)
        action = self.inner.decide(observation, during, label)
        self._collect(during)
        return action

    def decide_recorded(self, observation: FloatArray, events: EventBatch, label: Label = None) -> tuple[IntArray, Any]:
        """Run one trial as `decide` does, and return every step.

        Raises:
            BackendError: What runs the network cannot record.
        """
        record = getattr(self.inner, "decide_recorded", None)
        if record is None:
            raise BackendError(f"{type(self.inner).__name__}, which runs the emulated chip, cannot record")
        during = self._between(events)
        action, recording = record(observation, during, label)
        self._collect(during)
        return action, recording

    def settle(self, events: EventBatch) -> None:
        """Apply events between two trials, and round; see `Simulation.settle`."""
        if self._direct:
            self.inner.settle(events)
        elif len(events):
            self.inner.settle(events)
            self._collect(events)

    def _between(self, events: EventBatch) -> EventBatch:
        """Do what a host does between two runs; return the events that happen in the coming run."""
        if self._direct:
            return events
        start = self.next_decision - self.decision_time
        due, later = self._held.split(events, start)
        self.settle(due)
        if self.chip.effects.between_runs:
            self._held.keep(later)
            later = EventBatch.empty()
        self._write(self._noise(_TRIAL, self.decisions))
        return later

    def _collect(self, events: EventBatch) -> None:
        """Take the change of the weights that events made, and round it."""
        if self._direct or not len(events):
            return
        now = self.inner.weights()
        changes = [after - before for after, before in zip(now, self._written, strict=True)]
        self._weights.update(changes, np.unique(events.agent).tolist())
        self._written, self._stale = now, True

    def _write(self, noise: list[FloatArray | None] | None) -> None:
        """Write the weights of the coming run."""
        if noise is None and not self._stale:
            return
        self._written = self._weights.effective_with(self.chip.offsets, noise)
        self.inner.write_weights(self._written)
        self._stale = noise is not None  # the next run has other noise

    def _noise(self, use: str, number: int) -> list[FloatArray | None] | None:
        """Return the currents that are new in a trial, (A, n_post) a projection or None; None: there are none."""
        return self._noises[use].of(number) if use in self._noises else None

    def finish(self, events: EventBatch) -> None:
        """Let time pass until the last event, held ones first, has been applied; see `Simulation.finish`."""
        if self._direct:
            self.inner.finish(events)
            return
        last = self.next_decision - self.trial_duration if self.decisions else 0.0
        everything = EventBatch.merge([self._held.take(last), events])
        self.inner.finish(everything)
        self._collect(everything)

    # ---- reading ----------------------------------------------------------------------------------------
    def predict(self, observation: FloatArray) -> IntArray:
        """Return greedy actions, shape (A, B), each run with a trial noise of its own; learns nothing."""
        if self._direct:
            return self.inner.predict(observation)
        if not self.chip.effects.trial:
            self._write(None)
            return self.inner.predict(observation)
        actions = []
        for k, one in enumerate(np.asarray(observation)):
            self._write(self._noise(_TEST, k))
            actions.append(self.inner.predict(one[None]))
        return np.concatenate(actions, axis=1) if actions else self.inner.predict(observation)

    def policy(self, observation: FloatArray) -> FloatArray:
        """Return the probabilities of the exploring policy, shape (A, B, n_out), without trial noise."""
        if not self._direct:
            self._write(None)
        return self.inner.policy(observation)

    def weights(self) -> list[FloatArray]:
        """Return copies of the weights that the host means."""
        return self.inner.weights() if self._direct else self._weights.nominal()

    def effective(self) -> list[FloatArray]:
        """Return copies of the weights that the synapses have, offsets of the biases included, without trial noise."""
        return self.inner.weights() if self._direct else self._weights.effective_with(self.chip.offsets)

    def set_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights; they are rounded to those that the chip can have.

        Raises:
            ConfigError: Shapes do not fit the network.
        """
        if self._direct:
            self.inner.set_weights(weights)
            return
        own, given = [w.shape for w in self._written], [np.shape(w) for w in weights]
        if own != given:
            raise ConfigError(f"weights of shapes {given} do not fit this network; it has {own}")
        self._weights.put(weights)
        self._written, self._stale = self._weights.effective_with(self.chip.offsets), False
        self.inner.set_weights(self._written)

    def write_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights between two trials; they are rounded as by `set_weights`."""
        if self._direct:
            self.inner.write_weights(weights)
            return
        self._weights.put(weights)
        self._stale = True
        self._write(None)

    # ---- keeping ----------------------------------------------------------------------------------------
    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes."""
        own = {f"chip.{name}": value for name, value in self._weights.state().items()}
        own |= {f"chip.held.{name}": value for name, value in self._held.state().items()}
        return {**self.inner.state(), **own, "chip.stale": np.array(self._stale)}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state that `state` returned, to the bit."""
        self.inner.restore({name: value for name, value in state.items() if not name.startswith("chip.")})
        own = {name.removeprefix("chip."): v for name, v in state.items() if name.startswith("chip.")}
        if not self._direct and own:
            self._weights.restore(own)
            self._held.restore({name.removeprefix("held."): v for name, v in own.items() if name.startswith("held.")})
            self._stale = bool(own["stale"])
            self._written = self.inner.weights()

    def spike_counts(self) -> IntArray | None:
        """Return the spikes of each layer in all trials so far; see `Simulation.spike_counts`."""
        return self.inner.spike_counts()

    def diagnostics(self) -> dict[str, FloatArray]:
        """Return figures for the records, one value an agent, shape (A,)."""
        return self.inner.diagnostics()

    def hardware(self) -> dict[str, Any]:
        """Return what was emulated, and what it did: counts of all agents, one value an agent in lists."""
        return {
            **describe(self.chip.effects, self.chip.acting),
            "chips": list(self.chip.chip_seeds),
            **self._weights.counts(),
            "input_spikes_lost": 0 if self.chip.lost is None else round(self.chip.lost()),
            **self.chip.notes,
        }

    def check_ready(self) -> None:
        """Refuse a run that what runs the network refuses."""
        self.inner.check_ready()

    def close(self) -> None:
        """Give back what runs the network."""
        self.inner.close()


class _Noise:
    """Currents that are new in each trial: a hash of chip, agent, population, neuron and number of the trial.

    Args:
        weights: What projections are like.
        chip: What the chip does.
        use: Name of the use, each with other numbers.
    """

    def __init__(self, weights: Sequence[FloatArray], chip: OnChip, use: str) -> None:
        self._std, self._places = chip.effects.trial, [None] * len(weights)
        keys, neurons, ends = [], [], [0]
        seeds = list(zip(chip.chip_seeds, chip.agent_seeds, strict=True))
        for k, name in chip.noisy:
            size = weights[k].shape[1]
            key = [stream(*both, use, name).generate_state(1, dtype=np.uint32)[0] for both in seeds]
            keys.append(np.repeat(np.array(key, dtype=np.int64)[:, None], size, axis=1))
            neurons.append(np.arange(size))
            ends.append(ends[-1] + size)
        self._keys, self._neurons = np.concatenate(keys, axis=1), np.concatenate(neurons)
        self._parts = [(k, a, b) for (k, _), a, b in zip(chip.noisy, ends[:-1], ends[1:], strict=True)]

    def of(self, number: int) -> list[FloatArray | None]:
        """Return the currents of a trial, (A, n_post) a projection, or None where there are none."""
        drawn = self._std * ndtri(chance(self._keys, self._neurons, number) + _HALF)
        found: list[FloatArray | None] = [*self._places]
        for k, a, b in self._parts:
            found[k] = drawn[:, a:b]
        return found
