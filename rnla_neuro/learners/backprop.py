"""Supervised backpropagation: the ceiling. It is told the right action, which no reward says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnla_neuro.errors import ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.learners.common import GradientLearner, LearnerOptions
from rnla_neuro.learners.settings import require_positive
from rnla_neuro.simulation import FloatArray, IntArray, Label
from rnla_neuro.spec.numeric import softmax


@dataclass(frozen=True)
class BackpropSettings:
    """Settings of `Backprop`.

    Attributes:
        eta: Learning rate, falling as ``eta / (1 + k/eta_half)`` with the number k of decisions made.
        eta_half: Decisions until the learning rate is halved; ``inf`` keeps it constant.
        lr_hidden: Hidden layers learn faster by this factor.
    """

    eta: float = 0.1
    eta_half: float = 20_000.0
    lr_hidden: float = 1.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: A value is not allowed.
        """
        require_positive(eta=self.eta, eta_half=self.eta_half, lr_hidden=self.lr_hidden)


class Backprop(GradientLearner):
    """Plain SGD on the cross-entropy of softmax(drive) with the label, one sample a trial.

    It decides greedily and learns at the decision. Events are counted and otherwise ignored.
    """

    def __init__(
        self,
        weights: Sequence[FloatArray],
        settings: BackpropSettings | None = None,
        options: LearnerOptions | None = None,
    ) -> None:
        """Start from `weights`, one array of shape (A, n_post, n_pre + 1) a projection."""
        super().__init__(weights, options or LearnerOptions())
        self.settings = settings or BackpropSettings()

    def decide(self, observation: FloatArray, events: EventBatch, label: Label = None) -> IntArray:
        """Return the greedy actions, (A,), for inputs (A, n_in), then learn the labels, (A,).

        Raises:
            ConfigError: There are no labels, or a label is not an action.
        """
        if label is None:
            raise ConfigError(
                "learner 'backprop' needs the right action of every trial, and this task has no right "
                "answers; choose r-nla, node-perturbation or reinforce"
            )
        if label.ndim != 1 or label.dtype.kind not in "iu":
            raise ConfigError(
                "learner 'backprop' learns right actions, whole numbers (A,), and this task gives targets of shape "
                f"{label.shape}; learner 'supervised' takes them"
            )
        if label.min() < 0 or label.max() >= self.sizes[-1]:
            raise ConfigError(f"label {label} is not an action; allowed: 0 to {self.sizes[-1] - 1}")
        self.receive(events)
        drive = self.network.forward(observation)
        error = self.one_hot_minus(label.astype(np.int64), softmax(drive))
        self.network.backward(error)
        eta = self.settings.eta / (1 + self.decisions / self.settings.eta_half)
        scale = np.full(self.n_agents, eta, dtype=drive.dtype)
        self.network.learn(scale, self.settings.lr_hidden)
        self.decisions += 1
        return drive.argmax(axis=-1)

    def policy(self, observation: FloatArray) -> FloatArray:
        """Return softmax(drive), (A, B, n_out), which the cross-entropy fits to the labels."""
        return softmax(self.network.drive_of(observation))
