"""The environment of a Brian2 script, as a network operation: a plain ``run`` decides, acts and learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import NetworkOperation, second

from rnla_neuro.bridge import EnvironmentBridge
from rnla_neuro.errors import ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro_backends.brian2_model.groups import Brian2Network
from rnla_neuro_backends.brian2_model.player import FIRST, Player
from rnla_neuro_backends.common.told import told_by
from rnla_neuro_backends.explicit.block import Course, Planner, make_block
from rnla_neuro_backends.explicit.reading import exploration_for

FloatArray = npt.NDArray[np.float64]


class ClosedLoop:
    """Runs an environment beside a network, in the order of every engine of ours.

    At each decision the action goes to the environment; the next observation is shown, exploration drawn, the gate
    opened, and rewards are delivered at their time. A decision that falls on the end of a run is made when the run
    goes on, or by `finish`. `Brian2Network.close_loop` makes one.

    Attributes:
        actions: What was done, one a decision.
        rewards: What the environment gave for it, whenever it is delivered.
        delivered: Events applied so far.
    """

    def __init__(self, network: Brian2Network, bridge: EnvironmentBridge, seed: int) -> None:
        _check(network, bridge)
        network.jumps.prepare()
        self._network, self._bridge = network, bridge
        self._player = Player(network, seeds=[seed])
        self._planner = Planner(replace(network.model.trial, dt=self._player.clock.dt_))
        spec = NetworkSpec(network.model, network.sizes, (seed,))
        self._exploration = exploration_for(spec)
        self._last_input: FloatArray = np.zeros((1, network.sizes[0]))
        self._now = 0  # steps since the loop began, at the start of the present block
        self._decides = self._begun = False
        self.actions: list[int] = []
        self.rewards: list[float] = []
        if network.noise_stepper is not None:
            network.noise_stepper.active = False
        _, move_noise = self._player.operations
        step = NetworkOperation(
            self._begin_step, clock=self._player.clock, when="before_start", order=FIRST, name=f"{move_noise.name}_loop"
        )
        network.network.add(step, move_noise)

    @property
    def delivered(self) -> int:
        """Events applied so far."""
        return self._player.delivered

    def finish(self) -> None:
        """Make a decision that is due, and run on, the gate shut, until all rewards under way have arrived.

        Raises:
            DeliveryError: Some event was sent and not delivered.
        """
        while self._player.playing:
            self._network.run(self._player.steps_left * self._player.clock.dt_ * second)
        self._end_block()
        events = self._bridge.drain()
        last = float(events.time.max()) if len(events) else 0.0
        steps = self._planner.steps_until(self._now * self._planner.dt, last)
        self._load(self._planner.idle(steps), self._last_input, events)
        if steps:
            self._network.run(steps * self._player.clock.dt_ * second)
        self._end_block()
        self._bridge.check_delivered(self.delivered, len(self.actions))

    def _begin_step(self) -> None:
        if not self._player.playing:
            self._end_block()
            self._start_trial()
        self._player.begin_step()

    def _end_block(self) -> None:
        """Decide, if a trial ends here, and act."""
        if not self._player.loaded:
            return
        argument = self._player.end()
        if not self._decides:
            return
        action = int(np.argmax(argument))
        outcome = self._bridge.step(np.array([action]), self._now * self._planner.dt)
        self.actions.append(action)
        self.rewards.append(float(outcome.reward[0]))
        self._network.signals.trial = len(self.actions)

    def _start_trial(self) -> None:
        planner = self._planner
        follows = self._decides  # else the network has idled, or it begins
        gap = None if follows else -self._now % planner.period
        course = planner.course(gap)
        t = (self._now + course.n_steps) * planner.dt
        self._load(course, self._bridge.observation, self._bridge.events(t))

    def _load(self, course: Course, x: FloatArray, events: EventBatch) -> None:
        dt = self._planner.dt
        told = told_by(self._exploration)
        if told is not None and course.switch is not None:
            told.show(self._bridge.labels())
        block = make_block(
            course,
            dt,
            t0=self._now * dt,
            trial=len(self.actions),
            basis=np.stack([self._last_input, np.asarray(x, dtype=np.float64)], axis=1),
            noise=self._exploration.steps(course.n_steps, course.switch, dt),
            events=events,
            start="continue" if self._begun else "equilibrium",
        )
        self._player.load(block)
        self._decides, self._begun = course.switch is not None, True
        self._last_input = np.array(x, dtype=np.float64)
        self._now += course.n_steps


def _check(network: Brian2Network, bridge: EnvironmentBridge) -> None:
    """Compare a network with an environment.

    Raises:
        ConfigError: They do not fit.
    """
    model, sizes = network.model, network.sizes
    pairs = (
        ("agents", 1, bridge.n_agents),
        ("inputs", sizes[0], bridge.n_in),
        ("actions", sizes[-1], bridge.n_actions),
        ("channels", tuple(model.neuromodulators), bridge.channels),
        ("trial_duration", model.trial.duration, bridge.trial_duration),
        ("decision_time", model.trial.decision, bridge.decision_time),
    )
    for what, own, other in pairs:
        if own != other:
            raise ConfigError(f"{what}: the network has {own}, the environment {bridge.name} has {other}")
    dt = network.input.clock.dt_
    for what, time in (("T", model.trial.duration), ("decision", model.trial.decision)):
        if abs(time / dt - round(time / dt)) > 1e-6 * time / dt:
            raise ConfigError(f"the clock's dt = {dt * 1e3:g} ms does not divide {what} = {time * 1e3:g} ms of [trial]")
