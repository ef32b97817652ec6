"""What every engine and every baseline offers: many agents, one biological clock, decisions and events."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.events import EventBatch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: What a trial ought to give: the right actions, or targets of the action layer (see `Simulation.decide`).
Label = IntArray | FloatArray | None


class Simulation(ABC):
    """A network, or A independent copies of one (the *agents*), that decides and learns from events.

    Trial k occupies the biological time from ``k * trial_duration`` to ``(k + 1) * trial_duration``;
    its decision falls at ``k * trial_duration + decision_time``. Times are in seconds.

    Attributes:
        n_agents: Number A of agents; they never interact.
        sizes: Neurons per layer, from the inputs to the actions.
        channels: Names of the neuromodulator channels; an event's `channel` is an index into it.
        trial_duration: Seconds from one trial to the next.
        decision_time: Seconds from the start of a trial to its decision.
        delivered: Number of events applied so far, all agents together.
        decisions: Number of decisions made so far.
        skipped: Trials' time that passed without a decision, while the last rewards were awaited.
    """

    n_agents: int
    sizes: tuple[int, ...]
    channels: tuple[str, ...]
    trial_duration: float
    decision_time: float
    delivered: int
    decisions: int
    skipped: int = 0

    @property
    def next_decision(self) -> float:
        """Biological time of the next decision, in seconds."""
        return (self.decisions + self.skipped) * self.trial_duration + self.decision_time

    def skip_past(self, t: float) -> None:
        """Let the next trial begin no earlier than time `t` (seconds)."""
        begun = math.ceil(t / self.trial_duration - 1e-9)
        self.skipped = max(self.skipped, begun - self.decisions)

    @abstractmethod
    def decide(self, observation: FloatArray, events: EventBatch, label: Label = None) -> IntArray:
        """Run one trial up to its decision, exploring and learning.

        Args:
            observation: Input of each agent, shape (A, n_in).
            events: All events with a time up to the decision of this trial that were not given before.
            label: For supervised learners, others ignore it: the right action of each agent, whole numbers (A,);
                or what the action layer ought to do, (A, n_out), or samples of that over the trial, (A, S, n_out).

        Returns:
            The action of each agent, shape (A,).
        """

    def settle(self, events: EventBatch) -> None:
        """Apply events between two trials, before the next `decide`: `weights` are the updated ones afterwards.

        No time passes that a later `decide` would not let pass: ``settle(ev); decide(x, none)`` gives what
        ``decide(x, ev)`` gives. Weights may be replaced in between (`write_weights`).

        Args:
            events: Events from the last decision up to the start of the next trial that were not given before.

        Raises:
            BackendError: The simulation only takes events with a decision.
            ConfigError: An event is later than the start of the next trial.
        """
        raise BackendError(
            f"{type(self).__name__} takes events with a decision only: it cannot apply them between two trials"
        )

    def _check_settled(self, events: EventBatch) -> float:
        """Return the start of the next trial, in seconds; refuse events that are later."""
        start = self.next_decision - self.decision_time
        last = float(events.time.max(initial=0.0))
        if last > start + 1e-9 * max(start, self.trial_duration):
            raise ConfigError(
                f"an event at t = {last:.9g} s is later than the start of the next trial, t = {start:.9g} s: settle "
                "takes events up to there; later ones go to decide"
            )
        return start

    @abstractmethod
    def finish(self, events: EventBatch) -> None:
        """Let time pass after the last trial until the last of `events` has been applied."""

    @abstractmethod
    def predict(self, observation: FloatArray) -> IntArray:
        """Return greedy actions, shape (A, B), for observations of shape (B, n_in); learns nothing."""

    @abstractmethod
    def policy(self, observation: FloatArray) -> FloatArray:
        """Return the probabilities of the exploring policy, shape (A, B, n_out)."""

    @abstractmethod
    def weights(self) -> list[FloatArray]:
        """Return copies of the weights, one array of shape (A, n_post, n_pre + 1) a projection.

        First those from layer to layer, then those of further projections (`NetworkSpec.projections`), which may be
        without a bias, shape (A, n_post, n_pre). The last column is the weight from the bias unit, whose rate is 1.
        """

    def named_weights(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the weights by the names they have in files, ``projection0`` and so on."""
        return {f"projection{k}": w for k, w in enumerate(self.weights())}

    @abstractmethod
    def set_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights; shapes as `weights` returns them."""

    def write_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights alone, at any time between two trials: for who changes them after every trial.

        Unlike `set_weights` it does not look at whether the network is well-posed with them. Traces, modulators and
        the clock stay; voltages of a model of the proven form follow at once, as they follow every jump, others stay.

        Args:
            weights: Shapes as `weights` returns them.

        Raises:
            ConfigError: Shapes do not fit the network.
        """
        self.set_weights(weights)

    @abstractmethod
    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes: `restore` continues from it to the bit."""

    @abstractmethod
    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state that `state` returned."""

    def spike_counts(self) -> IntArray | None:
        """Return the spikes of each layer in all trials made by `decide` so far, shape (A, layers), inputs first.

        None: the model does not spike.
        """
        return None

    def hardware(self) -> dict[str, Any] | None:
        """Return what hardware, real or emulated, did to the run so far, as plain data; None: there is none."""
        return None

    def diagnostics(self) -> dict[str, FloatArray]:
        """Return figures for the records, one value an agent, shape (A,)."""
        return {}

    def check_ready(self) -> None:  # noqa: B027 - most simulations are
        """Refuse a run before anything of it is kept, where the network can be looked at but nothing decided.

        Raises:
            BackendError: Why, and the way out.
        """

    def close(self) -> None:  # noqa: B027 - most simulations hold nothing that needs closing
        """Give back what the simulation holds outside Python (a process, a library, a device)."""

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
