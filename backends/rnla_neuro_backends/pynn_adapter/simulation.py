"""A network on a PyNN simulator, chip in the loop: one run a decision; in between the host learns from its spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro.simulation import FloatArray, IntArray, Label, Simulation
from rnla_neuro.spec.chance import SILENT
from rnla_neuro.spec.expressions import parse, split_call
from rnla_neuro.spec.numeric import softmax
from rnla_neuro.spec.proof import symbol
from rnla_neuro_backends.common.readout import check_shapes
from rnla_neuro_backends.explicit.block import Planner
from rnla_neuro_backends.explicit.reading import exploration_for
from rnla_neuro_backends.general.form import general_form
from rnla_neuro_backends.pynn_adapter.building import Blueprint
from rnla_neuro_backends.pynn_adapter.course import Course, Function, Host
from rnla_neuro_backends.pynn_adapter.learning import Learning
from rnla_neuro_backends.pynn_adapter.plan import Spikes
from rnla_neuro_backends.pynn_adapter.simulator import Simulator
from rnla_neuro_backends.pynn_adapter.stimulus import Stimulus, as_counts, as_spikes

_TOGETHER = 64  # trials without learning that a simulator is given at once


class PynnSimulation(Simulation):
    """A agents side by side in one PyNN network; see `Simulation` for the protocol.

    Args:
        network: What to simulate: a model with [pynn]; its cells (`as_cells`) are what runs.
        simulator: What runs it; closed with the simulation.
    """

    def __init__(self, network: NetworkSpec, simulator: Simulator) -> None:
        model, trial = network.model, network.model.trial
        self.network, self.simulator = network, simulator
        self.n_agents, self.sizes = len(network.seeds), network.sizes
        self.channels = tuple(model.neuromodulators)
        self.trial_duration, self.decision_time = trial.duration, trial.decision
        self.delivered = self.decisions = 0
        self._dt, self._planner = trial.dt, Planner(trial)
        self._refuse()
        self.host = Host(network, general_form(model))
        weights = network.initial_weights()
        self.learning = Learning(self.host, weights)
        self.blueprint = Blueprint(self.host, simulator)
        self._stimulus = Stimulus(self.host, self.blueprint.drives)
        self._exploration = exploration_for(network)
        self._gate = self._planner.course(None).gate[-self.host.n_steps :].astype(np.float64)
        self._clock = 0.0  # until when traces have been followed
        self._counts: IntArray = np.zeros((self.n_agents, len(self.sizes)), np.int64)
        self._policy = self._expression("policy")
        self._decision = self.host.form.decision
        self._rehearse(weights)
        simulator.open(self.blueprint.plan)

    def _refuse(self) -> None:
        model = self.network.model
        where = f"backend 'pynn' cannot run {model.path.name}"
        if model.exploration.hold != "trial":
            raise BackendError(f"{where}: [exploration] hold = {model.exploration.hold!r}: a run takes held currents")
        if model.trial.ramp > 0:
            raise BackendError(f"{where}: [trial] ramp: inputs are held from the start of a run; allowed is 0*ms")
        if model.projections or model.interneuron is not None:
            raise BackendError(f"{where}: projections beside the chain from the inputs to the actions")
        if model.takes_target:
            raise BackendError(f"{where}: it is told a target; this backend learns from rewards")

    def _rehearse(self, weights: list[FloatArray]) -> None:
        """Let the host follow a trial without spikes: what it cannot compute is refused before anything runs."""
        silent = [np.zeros((self.n_agents, self.host.n_steps, size)) for size in self.sizes]
        noise = np.zeros((self.n_agents, self.sizes[-1]))
        course = Course(self.host, weights, silent, np.zeros((self.n_agents, self.sizes[0])), noise, 0.0)
        Learning(self.host, weights).follow(course, self._gate, 0, self.host.n_steps)
        self._decided(course)
        course.sent(len(self.sizes) - 1, self._policy)

    def _expression(self, key: str) -> Function:
        where = f"{self.network.model.path.name}: [exploration] {key}"
        call = split_call(getattr(self.network.model.exploration, key), where)
        assert call is not None, "the loader has checked it"
        return Function(parse(call[1][0], where, symbol), self.host.constants)

    # ---- trials -------------------------------------------------------------------------------------
    def decide(self, observation: FloatArray, events: EventBatch, label: Label = None) -> IntArray:
        """Run one trial up to its decision; see `Simulation.decide`. Events within it change weights after the run."""
        x = np.array(observation, dtype=np.float64)
        if x.shape != (self.n_agents, self.sizes[0]):
            raise ConfigError(
                f"observation of shape {x.shape}: expected {(self.n_agents, self.sizes[0])}, held for the trial"
            )
        start = self.next_decision - self.decision_time
        early = events.time <= start * (1 + 1e-12)
        self.settle(_only(events, early))
        noise = self._exploration.steps(self.host.n_steps, 0, self._dt)[0][:, -1]
        course = self._run(x, noise, round(start / self._dt), start)
        self._follow(course, _only(events, ~early), start)
        self._clock = self.next_decision
        self.decisions += 1
        self._counts += np.array([counts.sum(axis=(1, 2)) for counts in course.counts], np.int64).T
        return np.argmax(self._decided(course), axis=1)

    def _run(self, x: FloatArray, noise: FloatArray, step: int, start: float) -> Course:
        """Run a trial from rest, and return what the host makes of its spikes."""
        return self._runs([x], [noise], [step], [start])[0]

    def _runs(
        self, x: list[FloatArray], noise: list[FloatArray], steps: list[int], starts: list[float]
    ) -> list[Course]:
        """Run trials with the same weights; a chip makes one run of them."""
        weights = self.write()
        shown = [self._stimulus.inputs(one, step) for one, step in zip(x, steps, strict=True)]
        trials = [
            self.blueprint.trial(weights, *given)
            for given in zip(x, noise, map(self._given, steps, shown), strict=True)
        ]
        acting, found = self.blueprint.effective(weights), []
        for k, spikes in enumerate(self.simulator.run_all(trials)):
            counts = [shown[k]]
            for level in range(1, len(self.sizes)):
                shape = (self.n_agents, self.host.n_steps, self.sizes[level])
                counts.append(as_counts(spikes[self.blueprint.names[level]], shape, self._dt * 1e3))
            found.append(Course(self.host, acting, counts, x[k], noise[k], starts[k]))
        return found

    def write(self) -> list[FloatArray]:
        """Set the weights that have moved, as the next run would anyway; return those that the host means."""
        weights = [projection.w for projection in self.learning.projections]
        self.blueprint.write(weights)
        return weights

    def _given(self, step: int, shown: FloatArray) -> dict[str, Spikes]:
        """Return the spikes of inputs and background of a trial that begins with a step."""
        spikes = {}
        if self._stimulus.spiking:
            spikes[self.blueprint.names[0]] = as_spikes(shown, self._dt * 1e3)
        for level in range(1, len(self.sizes)):
            background = self._stimulus.background(level, step)
            if background is not None:
                spikes[self.blueprint.background(level)] = as_spikes(background, self._dt * 1e3)
        return spikes

    def _decided(self, course: Course) -> FloatArray:
        """Return what the decision takes the argmax of, (A, n_out), at the end of the trial."""
        top = len(self.sizes) - 1
        values = course.get(top, self._decision.name)
        if not self.host.form.lowpass:
            return values[:, -1]
        kept, _, drive = self.host.neurons["action"].filter(self._decision.name)
        last = course.shaped(top, drive(lambda name: course.get(top, name)))[:, -1]
        return kept * values[:, -1] + last

    def _follow(self, course: Course, events: EventBatch, start: float) -> None:
        """Let traces follow the trial; events that came in its course find the traces of their time."""
        done, n_steps = 0, self.host.n_steps
        steps = np.minimum(self._steps(events, start), n_steps)
        for step in np.unique(steps):
            self.learning.follow(course, self._gate, done, int(step))
            self._apply(_only(events, steps == step))
            done = int(step)
        self.learning.follow(course, self._gate, done, n_steps)

    def _steps(self, events: EventBatch, start: float) -> IntArray:
        """Return after how many steps from a time each event is applied."""
        return np.array([self._planner.steps_until(start, float(t)) for t in events.time], np.int64)

    def _apply(self, events: EventBatch) -> None:
        for k in range(len(events)):
            channel = self.channels[events.channel[k]]
            agent, time, value = int(events.agent[k]), float(events.time[k]), float(events.value[k])
            self.learning.event(channel, agent, value, time, self.decisions)
        self.delivered += len(events)

    def _idle(self, until: float) -> None:
        """Let the traces decay until a time; nothing runs."""
        steps = max(0, round((until - self._clock) / self._dt))
        self.learning.decay(steps)
        self._clock += steps * self._dt

    def settle(self, events: EventBatch) -> None:
        """Apply events between two trials; see `Simulation.settle`."""
        start = self._check_settled(events)
        if len(events):
            steps = self._steps(events, self._clock)
            clock = self._clock
            for step in np.unique(steps):
                self._idle(min(clock + int(step) * self._dt, start))
                self._apply(_only(events, steps == step))
        self._idle(start)

    def finish(self, events: EventBatch) -> None:
        """Let traces decay until the last event has been applied."""
        if len(events):
            steps = self._steps(events, self._clock)
            clock = self._clock
            for step in np.unique(steps):
                self._idle(clock + int(step) * self._dt)
                self._apply(_only(events, steps == step))
        self.skip_past(self._clock)

    # ---- reading ------------------------------------------------------------------------------------
    def _silent(self, observation: FloatArray) -> list[Course]:
        """Run trials without exploration and learning, one an observation, on inputs and background of their own."""
        shown = np.asarray(observation, dtype=np.float64)
        noise = np.zeros((self.n_agents, self.sizes[-1]))
        x = [np.broadcast_to(one, (self.n_agents, self.sizes[0])) for one in shown]
        steps = [SILENT + k * self.host.n_steps for k in range(len(x))]
        # without constant currents, what a held input adds is in the weights of biases: other inputs, other weights
        together = self.simulator.currents or self._stimulus.spiking
        size = _TOGETHER if together else 1
        found = []
        for first in range(0, len(x), size):
            part = x[first : first + size]
            found += self._runs(part, [noise] * len(part), steps[first : first + size], [0.0] * len(part))
        return found

    def predict(self, observation: FloatArray) -> IntArray:
        """Return greedy actions (A, B): trials without exploration and learning, on the simulator."""
        return np.array([np.argmax(self._decided(one), axis=1) for one in self._silent(observation)]).T

    def policy(self, observation: FloatArray) -> FloatArray:
        """Return the probabilities of the exploring policy, (A, B, n_out), at the end of trials without exploration."""
        top = len(self.sizes) - 1
        found = [softmax(course.sent(top, self._policy)[:, -1]) for course in self._silent(observation)]
        return np.asarray(np.stack(found, axis=1), dtype=np.float64)

    def weights(self) -> list[FloatArray]:
        """Return copies of the weights that the host means."""
        return [projection.w.copy() for projection in self.learning.projections]

    def set_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights; the next run has them.

        Raises:
            ConfigError: Shapes do not fit the network.
        """
        check_shapes([projection.w for projection in self.learning.projections], weights)
        for projection, w in zip(self.learning.projections, weights, strict=True):
            projection.w = np.array(w, dtype=np.float64)

    def write_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights alone; see `Simulation.write_weights`. There is nothing else between two runs."""
        self.set_weights(weights)

    def spike_counts(self) -> IntArray:
        """Return the spikes of each layer in all trials so far; see `Simulation.spike_counts`."""
        return self._counts.copy()

    def diagnostics(self) -> dict[str, FloatArray]:
        """Return the neuromodulators' variables, each of shape (A,)."""
        return {f"{c}.{n}": v.copy() for (c, n), v in self.learning.modulators.items()}

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes: all of it is the host's, since runs begin at rest."""
        clock = np.array([self.decisions, self.skipped, self.delivered, self._clock])
        exploration = {f"exploration.{k}": v for k, v in self._exploration.state().items()}
        learning = {f"learning.{k}": v for k, v in self.learning.state().items()}
        written = {f"written.{k}": v for k, v in self.blueprint.state().items()}
        return {**learning, **exploration, **written, "clock": clock, "spikes": self._counts.copy()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state that `state` returned, to the bit."""
        self.learning.restore(_under("learning.", state))
        self._exploration.restore(_under("exploration.", state))
        self.blueprint.restore(_under("written.", state))
        self.decisions, self.skipped, self.delivered = (int(v) for v in state["clock"][:3])
        self._clock, self._counts = float(state["clock"][3]), state["spikes"].astype(np.int64)

    def check_ready(self) -> None:
        """Refuse a run on a simulator that brings no spikes back; see `Simulation.check_ready`."""
        self.simulator.check_ready()

    def close(self) -> None:
        """Give back what the simulator holds."""
        self.simulator.close()


def _only(events: EventBatch, chosen: npt.NDArray[np.bool_]) -> EventBatch:
    if not len(events) or chosen.all():
        return events
    return EventBatch(events.agent[chosen], events.time[chosen], events.channel[chosen], events.value[chosen])


def _under(prefix: str, state: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
