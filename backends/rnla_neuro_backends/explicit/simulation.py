"""A simulation on any engine of the explicit form: it plans blocks, and counts what was delivered."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro.simulation import FloatArray, IntArray, Label, Simulation
from rnla_neuro_backends.common.readout import check_arrays, check_shapes
from rnla_neuro_backends.common.told import told_by
from rnla_neuro_backends.explicit.block import Course, Planner, make_block, split
from rnla_neuro_backends.explicit.engine import Block, BlockResult, Engine, Start
from rnla_neuro_backends.explicit.names import decaying_names
from rnla_neuro_backends.explicit.reading import reading_of
from rnla_neuro_backends.moving_equilibrium.core import Recording, views


class ExplicitSimulation(Simulation):
    """A agents on an engine of the explicit form; see `Simulation` for the protocol.

    Args:
        network: What to simulate.
        engine: What integrates it; closed with the simulation.
        start: ``equilibrium``, or ``rest``: all voltages start at 0, and the mismatch decays with tau_m.
        backend: Name of the backend, for messages.
    """

    def __init__(
        self,
        network: NetworkSpec,
        engine: Engine,
        start: Literal["equilibrium", "rest"] = "equilibrium",
        backend: str = "brian2",
    ) -> None:
        if start not in ("equilibrium", "rest"):
            raise ConfigError(f"start {start!r}: allowed are equilibrium, rest")
        trial = network.model.trial
        self.network, self.engine, self._backend = network, engine, backend
        self.n_agents, self.sizes = len(network.seeds), network.sizes
        self.channels = tuple(network.model.neuromodulators)
        self.trial_duration, self.decision_time = trial.duration, trial.decision
        self.delivered = self.decisions = 0
        self._planner = Planner(trial)
        self._clock, self._waited = 0.0, True  # until when the network has been advanced
        self._start: Start = start
        self._last_input: FloatArray = np.zeros((self.n_agents, self.sizes[0]))
        self._sweeps: FloatArray = np.zeros(self.n_agents)
        self._known: dict[str, npt.NDArray[Any]] | None = None
        self._shapes = [link.shape for link in network.projections]
        self._reading = reading_of(network, engine)
        self._exploration = self._reading.exploration
        self._told = told_by(self._exploration)
        weights = network.initial_weights()
        self._reading.accept(weights)
        state = {"w": self._flat(weights)}
        first = self._reading.initial_modulators()
        if first is not None:
            state["modulators"] = np.tile(first, (self.n_agents, 1))
        self._write(state)

    # ---- trials -------------------------------------------------------------------------------------
    def decide(self, observation: FloatArray, events: EventBatch, label: Label = None) -> IntArray:
        """Run one trial up to its decision; see `Simulation.decide`.

        Args:
            observation: Held input, shape (A, n_in).
            events: Events up to the decision.
            label: The right actions or targets, for a model that is told a target (`Told.show`).
        """
        self._tell(label)
        return np.argmax(self._trial(observation, events, record=False)[1].decision, axis=1)

    def decide_recorded(
        self, observation: FloatArray, events: EventBatch, label: Label = None
    ) -> tuple[IntArray, Recording]:
        """Run one trial as `decide` does, and return every step since the last decision."""
        self._tell(label)
        waited, clock = self._waited, self._clock
        course, result = self._trial(observation, events, record=True)
        first = course.switch if waited else 0  # the network may have idled before the trial
        time = clock + np.arange(course.n_steps, dtype=np.float64)[first:] * self._planner.dt
        seen = {name: values[:, first:] for name, values in result.recording.items()}
        u, ebar, drive, noise = (seen[name] for name in ("u", "ebar", "drive", "noise"))
        if self._told is not None:  # the engine has the target in its place
            noise = np.zeros_like(noise)
        spikes = seen["spikes"].astype(np.bool_) if "spikes" in seen else None
        recording = Recording(time, u, ebar, drive, self._reading.rates(seen), noise, spikes)
        return np.argmax(result.decision, axis=1), recording

    def _tell(self, label: Label) -> None:
        if self._told is None:
            return
        self._told.show(label)
        if self._told.samples > 1:
            raise BackendError(
                f"backend {self._backend!r} takes a target that is held for a trial, not one that is sampled in time: "
                "the backend 'equilibrium' runs sampled targets"
            )

    def _trial(self, observation: FloatArray, events: EventBatch, record: bool) -> tuple[Course, BlockResult]:
        x = self._input(observation)
        start = self.next_decision - self.decision_time
        gap = round((start - self._clock) / self._planner.dt) if self._waited else None
        course, end = self._planner.course(gap), self.next_decision
        result = self._advance(course, x, events, record)
        self._last_input = x
        self._clock, self._waited, self._start = end, False, "continue"
        self.decisions += 1
        self._sweeps = result.sweeps.astype(np.float64)
        self._reading.look(self._weights, self.decisions)
        return course, result

    def _input(self, observation: FloatArray) -> FloatArray:
        expected = (self.n_agents, self.sizes[0])
        x = np.array(observation, dtype=np.float64)  # the caller may write into his own
        if x.ndim == 3 and (x.shape[0], x.shape[2]) == expected:
            raise BackendError(
                f"backend {self._backend!r} takes an input that is held for a trial, shape {expected}, not one that is "
                f"sampled in time, shape {x.shape}: the backend 'equilibrium' runs sampled input"
            )
        if x.shape != expected:
            raise ConfigError(f"observation of shape {x.shape}: expected {expected}")
        return x

    def _advance(self, course: Course, x: FloatArray, events: EventBatch, record: bool = False) -> BlockResult:
        basis: FloatArray = np.empty((self.n_agents, 2, self.sizes[0]))
        basis[:, 0], basis[:, 1] = self._last_input, x
        if self.engine.INPUT == "rate":
            basis = self._reading.input_rate(basis)
        block = make_block(
            course,
            self._planner.dt,
            t0=self._clock,
            trial=self.decisions,
            basis=basis,
            noise=self._exploration.steps(course.n_steps, course.switch, self._planner.dt),
            events=events,
            start=self._start,
            record=record,
        )
        self._known = None
        engine = self.engine
        parts = list(split(block, self._planner.dt, engine.max_steps, engine.max_events))
        result = self._join([self._counted(part) for part in parts], parts)
        if result.delivered != len(events):
            raise BackendError(
                f"backend {self._backend!r} applied {result.delivered} of {len(events)} events: please report it"
            )
        return result

    def _counted(self, part: Block) -> BlockResult:
        result = self.engine.advance(part)
        self.delivered += result.delivered
        return result

    @staticmethod
    def _join(results: list[BlockResult], parts: list[Block]) -> BlockResult:
        """Make one result of those of a block's parts."""
        if len(results) == 1:
            return results[0]
        moving = [r for r, part in zip(results, parts, strict=True) if part.n_steps] or results
        recording = {
            name: np.concatenate([r.recording[name] for r in moving], axis=1) for name in moving[0].recording
        }
        sweeps: IntArray = np.maximum.reduce([r.sweeps for r in results])
        return BlockResult(moving[-1].decision, sum(r.delivered for r in results), sweeps, recording)

    def settle(self, events: EventBatch) -> None:
        """Apply events between two trials; see `Simulation.settle`.

        What a decision in the middle of a trial leaves of its time passes first, as it would in the next `decide`.
        """
        start = self._check_settled(events)
        if not len(events):
            return
        n_steps, first = round((start - self._clock) / self._planner.dt), self._start
        self._start = first if n_steps else "continue"  # a block without steps starts nothing
        self._advance(self._planner.idle(n_steps), self._last_input, events)
        self._start = "continue" if n_steps else first
        self._clock, self._waited = start, True

    def finish(self, events: EventBatch) -> None:
        """Let all agents idle, their gates shut, until the last event has been applied and has decayed."""
        last = float(events.time.max()) if len(events) else self._clock
        self._idle(self._planner.steps_until(self._clock, last), events)
        while self._pulsing():
            self._idle(self._planner.period, EventBatch.empty())
        self._waited = True
        self.skip_past(self._clock)

    def _idle(self, n_steps: int, events: EventBatch) -> None:
        if n_steps or len(events):
            counted = self.spike_counts()
            self._advance(self._planner.idle(n_steps), self._last_input, events)
            self._clock += n_steps * self._planner.dt
            if counted is not None:  # only those of trials count
                self._write({"spikes": counted})

    def _pulsing(self) -> bool:
        """Whether a pulse lasts; one that has ended is set to 0."""
        if not decaying_names(self.network.model):
            return False
        values = self._read()["modulators"]
        lasts, left = self._reading.decaying(values)
        if left is not values:
            self._write({"modulators": left})
        return lasts

    # ---- reading ------------------------------------------------------------------------------------
    def _read(self) -> dict[str, npt.NDArray[Any]]:
        """Return the engine's state, read at most once between two blocks."""
        if self._known is None:
            self._known = self.engine.read()
        return self._known

    def _write(self, state: dict[str, npt.NDArray[Any]]) -> None:
        self._known = None
        self.engine.write(state)

    def _flat(self, weights: list[FloatArray]) -> FloatArray:
        return np.concatenate([np.reshape(w, (self.n_agents, -1)) for w in weights], axis=1, dtype=np.float64)

    def _weights(self) -> list[FloatArray]:
        known = self._known
        return views(self.engine.read_weights() if known is None else known["w"], self._shapes)

    def predict(self, observation: FloatArray) -> IntArray:
        """Return greedy actions (A, B): the decision without exploration, in the limit of weak nudging."""
        return self._reading.predict(self._weights(), observation)

    def policy(self, observation: FloatArray) -> FloatArray:
        """Return the probabilities of the exploring policy, shape (A, B, n_out)."""
        return self._reading.policy(self._weights(), observation)

    def weights(self) -> list[FloatArray]:
        """Return copies of the weights."""
        return [w.astype(np.float64) for w in self._weights()]

    def set_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights; the gain is checked again, and the voltages follow at the next step.

        Raises:
            ConfigError: Shapes do not fit the network.
            ConvergenceError: The nudging is too strong, or a step not stable, with these weights; the old
                ones are kept.
        """
        check_shapes(self._weights(), weights)
        self._reading.accept(weights)
        self._write({"w": self._flat(weights)})
        if self.decisions:
            self._start = "equilibrium"

    def write_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights alone; see `Simulation.write_weights`.

        Voltages of the proven form land on the moving equilibrium of the new weights when the next trial starts.

        Raises:
            ConfigError: Shapes do not fit the network.
        """
        check_arrays([(self.n_agents, *shape) for shape in self._shapes], weights)
        self._write({"w": self._flat(weights)})
        if self.decisions:
            self._start = "equilibrium"

    def spike_counts(self) -> IntArray | None:
        """Return the spikes of each layer in all trials so far; see `Simulation.spike_counts`."""
        if not self.network.model.spikes:
            return None
        return np.array(self._read()["spikes"], dtype=np.int64)

    def traces(self) -> list[FloatArray]:
        """Return copies of the traces, one array (A, n_trace, n_post, n_pre + 1) a projection."""
        shapes = [(n, *shape) for n, shape in zip(self._reading.traces, self._shapes, strict=True)]
        return [z.astype(np.float64) for z in views(self._read()["z"], shapes)]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes."""
        exploration = {f"exploration.{k}": v for k, v in self._exploration.state().items()}
        engine = {f"engine.{k}": v.copy() for k, v in self._read().items()}
        lands = self._start != "continue"
        clock = [self.decisions, self.skipped, self.delivered, self._waited, self._clock, lands]
        return {**engine, **exploration, "clock": np.array(clock), "last_input": self._last_input.copy()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state that `state` returned, to the bit."""
        self._write(_under("engine.", state))
        self._exploration.restore(_under("exploration.", state))
        self.decisions, self.skipped, self.delivered = (int(v) for v in state["clock"][:3])
        self._waited, self._clock = bool(state["clock"][3]), float(state["clock"][4])
        if not state["clock"][5]:
            self._start = "continue"
        elif self.decisions:
            self._start = "equilibrium"
        self._last_input = state["last_input"].copy()

    def diagnostics(self) -> dict[str, FloatArray]:
        """Return the sweeps of the last trial and the neuromodulators' variables, each of shape (A,)."""
        values = self._read()["modulators"]
        named = {f"{c}.{v}": values[:, k].astype(np.float64) for k, (c, v) in enumerate(self._reading.modulators)}
        return {"sweeps": self._sweeps} | named

    def close(self) -> None:
        """Give back what the engine holds."""
        self.engine.close()


def _under(prefix: str, state: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
