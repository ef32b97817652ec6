"""Learners that r-nla is measured against: the same network, data, budget, seeds and exploration streams.

`make_learner` builds one by its command-line name. r-nla itself is not here: a backend runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rnla_neuro.errors import ConfigError, unknown

if TYPE_CHECKING:
    import numpy as np

    from rnla_neuro.learners.common import GradientLearner
    from rnla_neuro.simulation import FloatArray
    from rnla_neuro.spec.form import EquilibriumForm

__all__ = ["LEARNERS", "make_learner"]

LEARNERS: tuple[str, ...] = ("backprop", "reinforce")


def make_learner(
    name: str,
    weights: Sequence[FloatArray],
    exploration: Sequence[np.random.Generator],
    *,
    overrides: Mapping[str, object] | None = None,
    form: EquilibriumForm | None = None,
    trial_duration: float = 0.03,
    decision_time: float = 0.03,
    channels: Sequence[str] = ("reward",),
    freeze_hidden: bool = False,
    precision: str = "float64",
) -> GradientLearner:
    """Build the learner `name`.

    Args:
        name: One of `LEARNERS`.
        weights: Initial weights, one array of shape (A, n_post, n_pre + 1) a projection.
        exploration: One generator an agent; `backprop` does not explore and leaves them alone.
        overrides: Settings by name (as from ``--set eta=0.05``); others keep their defaults.
        form: Where the hidden rate function comes from; ``None`` means tanh.
        trial_duration: Seconds from one trial to the next.
        decision_time: Seconds from the start of a trial to its decision.
        channels: Neuromodulator channels; only ``"reward"`` teaches.
        freeze_hidden: Only the action layer learns.
        precision: ``"float64"`` or ``"float32"``.

    Raises:
        ConfigError: `name` or a setting is unknown, or a value is not allowed.
    """
    from rnla_neuro.learners.backprop import Backprop, BackpropSettings
    from rnla_neuro.learners.common import LearnerOptions
    from rnla_neuro.learners.reinforce import Reinforce, ReinforceSettings
    from rnla_neuro.learners.settings import settings_from

    options = LearnerOptions(form, trial_duration, decision_time, tuple(channels), freeze_hidden, precision)
    if name == "reinforce":
        settings = settings_from(ReinforceSettings, overrides or {}, name)
        return Reinforce(weights, exploration, settings, options)
    if name == "backprop":
        return Backprop(weights, settings_from(BackpropSettings, overrides or {}, name), options)
    raise ConfigError(unknown("learner", name, LEARNERS))
