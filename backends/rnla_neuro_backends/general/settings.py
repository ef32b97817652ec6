"""What a general kernel is generated for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.model import TrialSpec
from rnla_neuro.spec.populations import Population, Projection
from rnla_neuro_backends.general.form import GeneralForm, general_form

_MOST_STEPS = 128  # whose factors wait: beyond, their bytes are more than what one pass over the traces saves


@dataclass(frozen=True)
class GeneralSettings:
    """What a kernel is generated for; see `rnla_neuro_backends.explicit.settings.KernelSettings`.

    Attributes:
        form: The model.
        places: All populations.
        links: All projections.
        sizes: Neurons per layer, inputs first.
        seeds: One an agent.
        precision: ``float64`` or ``float32``.
        plastic: Whether each projection learns.
        dt: Step in seconds.
        trial: Time course of a trial.
        credit: Weight of the credited trial in the eligibility trace.
        max_steps: Most steps of a block.
        max_basis: Most input patterns of a block.
        max_rows: Most noise rows of a block.
        max_events: Most events of a block, all agents together.
        capacity: Steps whose factors a projection's traces wait for.
        record: Keep every step.
        constants: What each neuron has a value of its own of: number of the population and name -> (A, N). They are
            data, no part of the text.
    """

    form: GeneralForm
    places: tuple[Population, ...]
    links: tuple[Projection, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    precision: str
    plastic: tuple[bool, ...]
    dt: float
    trial: TrialSpec
    credit: float
    max_steps: int
    max_basis: int
    max_rows: int
    max_events: int
    capacity: int
    record: bool = False
    constants: Mapping[tuple[int, str], npt.NDArray[np.float64]] = field(default_factory=dict)

    @property
    def n_agents(self) -> int:
        """Number A of agents."""
        return len(self.seeds)

    @property
    def period(self) -> int:
        """Steps of a trial."""
        return round(self.trial.duration / self.trial.dt)


def general_settings(network: NetworkSpec, *, record: bool = False, max_basis: int = 2) -> GeneralSettings:
    """Return the settings that suit a network and the time course of its trials.

    Raises:
        BackendError: The general kernel cannot run the model.
    """
    form, trial = general_form(network.model), network.model.trial
    steps = max(8, round(trial.duration / trial.dt))
    gated = all(p.gated for p in form.plasticity.values())
    open_steps = round(trial.gate / trial.dt) + 1 if gated else steps
    agents = len(network.seeds)
    return GeneralSettings(
        form=form,
        places=network.populations,
        links=network.projections,
        sizes=network.sizes,
        seeds=network.seeds,
        precision=network.precision,
        plastic=network.plastic,
        dt=trial.dt,
        trial=trial,
        credit=network.credit,
        max_steps=steps,
        max_basis=max_basis,
        max_rows=steps if network.model.exploration.law == "ornstein-uhlenbeck" else 2,
        max_events=4 * agents * max(1, len(form.modulators)),
        capacity=min(_MOST_STEPS, max(16, 2 * open_steps)),
        record=record,
        constants=network.constant_values,
    )
