"""What the gradient learners share: the layered network of A agents, its noise, and the bookkeeping.

A projection's weights are one array (A, n_post, n_pre + 1); the last column is the bias weight. All agents
go through one batched numpy call a layer, and no agent's numbers depend on which others run beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.learners.settings import require_not_negative, require_one_of, require_positive
from rnla_neuro.simulation import FloatArray, IntArray, Simulation

if TYPE_CHECKING:
    from rnla_neuro.spec.form import EquilibriumForm

RateFunction = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class LearnerOptions:
    """What every learner is told besides its own settings.

    Attributes:
        form: The model's form, for its input rate and its hidden rate function; ``None`` means tanh.
        trial_duration: Seconds from one trial to the next.
        decision_time: Seconds from the start of a trial to its decision.
        channels: Neuromodulator channels; events on others than ``"reward"`` are counted and teach nothing.
        freeze_hidden: Only the action layer learns (the floor that learning in depth has to beat).
        precision: ``"float64"`` or ``"float32"``.
    """

    form: EquilibriumForm | None = None
    trial_duration: float = 0.03
    decision_time: float = 0.03
    channels: tuple[str, ...] = ("reward",)
    freeze_hidden: bool = False
    precision: str = "float64"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: A value is not allowed.
        """
        require_positive(trial_duration=self.trial_duration)
        require_not_negative(decision_time=self.decision_time)
        require_one_of("precision", self.precision, ("float64", "float32"))
        if "reward" not in self.channels:
            raise ConfigError(f"channels = {self.channels!r} has no 'reward', the channel that teaches")


def hidden_rate(form: EquilibriumForm | None) -> RateFunction:
    """Return u -> (φ(u), φ'(u)), both elementwise, compiled from the model's own strings."""
    if form is None:
        return _tanh
    from rnla_neuro.spec.numeric import rate_and_slope

    return rate_and_slope(form)


def _tanh(voltage: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The default model's hidden rate and its slope."""
    rate = np.tanh(voltage)
    return rate, 1.0 - rate * rate


def input_rate(form: EquilibriumForm | None) -> Callable[[FloatArray], FloatArray] | None:
    """Return the input neurons' rate as a function of the input, or ``None`` where it is the input itself."""
    if form is None:
        return None
    from rnla_neuro.spec import numeric

    return None if str(form.input_rate) == "x" else numeric.input_rate(form)


class LayeredNetwork:
    """A independent feed-forward networks of one shape, with what a gradient step needs of each decision.

    Attributes:
        weights: One array (A, n_post, n_pre + 1) a projection.
        rates: Presynaptic rates of remembered decisions, (slots, A, n_pre + 1) a projection; last column 1.
        errors: Postsynaptic errors of remembered decisions, (slots, A, n_post) a projection.
        sizes: Neurons per layer.
    """

    def __init__(self, weights: Sequence[FloatArray], options: LearnerOptions, slots: int = 1) -> None:
        """Take copies of `weights`; remember `slots` decisions.

        Raises:
            ConfigError: The shapes do not fit each other.
        """
        dtype = np.dtype(options.precision)
        self.weights = [np.array(w, dtype=dtype, order="C") for w in weights]
        self.sizes = _sizes(self.weights)
        self.n_agents = len(self.weights[0])
        self.phi = hidden_rate(options.form)
        self.input_rate = input_rate(options.form)
        pre, post = self.sizes[:-1], self.sizes[1:]
        self.rates = [np.ones((slots, self.n_agents, n + 1), dtype) for n in pre]
        self.errors = [np.zeros((slots, self.n_agents, n), dtype) for n in post]
        self._outer = [np.empty_like(w) for w in self.weights]
        self._slopes: list[FloatArray] = [np.empty(0)] * (len(pre) - 1)
        self._first = len(pre) - 1 if options.freeze_hidden else 0

    def forward(self, observation: FloatArray, slot: int = 0) -> FloatArray:
        """Return the drive of the action layer, (A, n_out), for inputs (A, n_in), and remember the rates."""
        rate = observation if self.input_rate is None else self.input_rate(observation)
        for layer, w in enumerate(self.weights):
            pre = self.rates[layer][slot]
            pre[:, :-1] = rate
            drive: FloatArray = np.matmul(w, pre[:, :, None])[:, :, 0]
            if layer < len(self._slopes):
                rate, self._slopes[layer] = self.phi(drive)
        return drive

    def backward(self, error: FloatArray, slot: int = 0) -> None:
        """Pass the action layer's error (A, n_out) down: e_l = φ'(u_l) ∘ W_{l+1}ᵀ e_{l+1}; remember all."""
        self.errors[-1][slot] = error
        for layer in range(len(self.weights) - 1, self._first, -1):
            feedback = np.matmul(error[:, None, :], self.weights[layer])[:, 0, :-1]
            error = np.multiply(feedback, self._slopes[layer - 1], out=self.errors[layer - 1][slot])

    def learn(self, scale: FloatArray, lr_hidden: float, slot: int | IntArray = 0) -> None:
        """Add ``scale * error rateᵀ`` of a remembered decision to the weights.

        Args:
            scale: (A,) learning rate times what the decision was worth; 0 changes nothing.
            lr_hidden: Factor for the hidden layers.
            slot: The decision, one for all agents or one an agent, (A,).
        """
        last = len(self.weights) - 1
        index = slot if isinstance(slot, int) else (slot, np.arange(self.n_agents))
        column = scale[:, None]
        for layer in range(self._first, last + 1):
            factor = self.errors[layer][index] * (column if layer == last else lr_hidden * column)
            # einsum: twice as fast as a broadcast product for short rows
            outer = np.einsum("ai,aj->aij", factor, self.rates[layer][index], out=self._outer[layer])
            self.weights[layer] += outer

    def drive_of(self, observation: FloatArray) -> FloatArray:
        """Return the action layer's drive (A, B, n_out) for inputs (B, n_in); changes nothing."""
        rate = np.asarray(observation, dtype=self.weights[0].dtype)
        if self.input_rate is not None:
            rate = self.input_rate(rate)
        for layer, w in enumerate(self.weights):
            drive: FloatArray = np.matmul(rate, w[:, :, :-1].swapaxes(1, 2)) + w[:, None, :, -1]
            if layer < len(self.weights) - 1:
                rate = self.phi(drive)[0]
        return drive


def _sizes(weights: Sequence[FloatArray]) -> tuple[int, ...]:
    """Return the layer sizes, or say which two arrays do not fit."""
    if not weights or any(w.ndim != 3 for w in weights):
        raise ConfigError("weights must be arrays of shape (agents, n_post, n_pre + 1), one a projection")
    sizes = [weights[0].shape[2] - 1]
    for layer, w in enumerate(weights):
        if w.shape[2] != sizes[-1] + 1 or len(w) != len(weights[0]):
            expected = f"({len(weights[0])}, n_post, {sizes[-1]} + 1)"
            raise ConfigError(f"weights of projection {layer} have shape {w.shape}; {expected} is needed")
        sizes.append(w.shape[1])
    return tuple(sizes)


class GradientLearner(Simulation):
    """A `Simulation` around a `LayeredNetwork`: everything but how it decides and learns."""

    def __init__(self, weights: Sequence[FloatArray], options: LearnerOptions, slots: int = 1) -> None:
        """Copy `weights`, (A, n_post, n_pre + 1) a projection."""
        self.network = LayeredNetwork(weights, options, slots)
        self.n_agents = self.network.n_agents
        self.sizes = self.network.sizes
        self.channels = options.channels
        self.trial_duration = options.trial_duration
        self.decision_time = options.decision_time
        self.delivered = 0
        self.decisions = 0
        self._one_hot = np.eye(self.sizes[-1], dtype=options.precision)

    def one_hot_minus(self, action: IntArray, reference: FloatArray) -> FloatArray:
        """Return the error 1_a - reference, (A, n_out), overwriting `reference`."""
        return np.subtract(self._one_hot[action], reference, out=reference)

    def settle(self, events: EventBatch) -> None:
        """Learn from events between two trials; see `Simulation.settle`."""
        self._check_settled(events)
        self.receive(events)

    def finish(self, events: EventBatch) -> None:
        """Apply what is still under way after the last trial."""
        self.receive(events)
        if len(events):
            self.skip_past(float(events.time.max()))

    def receive(self, events: EventBatch) -> None:
        """Count `events`; a learner that uses them overrides this."""
        self.delivered += len(events)

    def predict(self, observation: FloatArray) -> IntArray:
        """Return the greedy actions, (A, B), for observations (B, n_in)."""
        return self.network.drive_of(observation).argmax(axis=-1)

    def weights(self) -> list[FloatArray]:
        """Return copies of the weights in float64, (A, n_post, n_pre + 1) a projection."""
        return [w.astype(np.float64) for w in self.network.weights]

    def set_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights.

        Raises:
            ConfigError: A shape differs from that of the network.
        """
        expected = [w.shape for w in self.network.weights]
        given = [w.shape for w in weights]
        if given != expected:
            raise ConfigError(f"weights of shapes {given} do not fit this network; it has {expected}")
        for own, new in zip(self.network.weights, weights, strict=True):
            own[...] = new

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes."""
        state: dict[str, npt.NDArray[Any]] = {
            "trial": np.array([self.decisions, self.skipped]),
            "delivered": np.array(self.delivered),
        }
        for layer, w in enumerate(self.network.weights):
            state[f"weights_{layer}"] = w.copy()
            state[f"rates_{layer}"] = self.network.rates[layer].copy()
            state[f"errors_{layer}"] = self.network.errors[layer].copy()
        return state

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from `state`, to the bit."""
        self.decisions, self.skipped = (int(v) for v in state["trial"])
        self.delivered = int(state["delivered"])
        for layer, w in enumerate(self.network.weights):
            w[...] = state[f"weights_{layer}"]
            self.network.rates[layer][...] = state[f"rates_{layer}"]
            self.network.errors[layer][...] = state[f"errors_{layer}"]
