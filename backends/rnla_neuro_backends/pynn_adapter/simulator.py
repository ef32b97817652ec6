"""What every simulator behind PyNN offers here, and how plain PyNN does it; its peculiarities are in `simulators`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from rnla_neuro.hardware.spec import HardwareSpec
from rnla_neuro_backends.pynn_adapter.plan import FloatArray, Plan, Spikes, Trial


class Simulator(ABC):
    """One PyNN simulator. A run begins with all cells at rest: what lasts between decisions is kept by the host.

    Attributes:
        name: As ``--core`` says it.
        title: What it is, in a few words.
        extra: The extra of this package that installs it; empty: none does.
        currents: Whether cells take constant currents that change from run to run.
        signed: Whether one synapse takes either sign; else a link is an excitatory and an inhibitory projection.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    extra: ClassVar[str] = "pynn"
    currents: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    @classmethod
    def on(cls, hardware: HardwareSpec | None) -> Simulator:
        """Make one; a chip's is driven by a platform file, None: the one of this package. Others ignore it."""
        return cls()

    @abstractmethod
    def missing(self) -> str:
        """Say in a few words what this machine lacks for it; empty: nothing. Imports nothing heavy."""

    @abstractmethod
    def open(self, plan: Plan) -> None:
        """Build what `plan` says.

        Raises:
            MissingExtraError: A package is missing.
            BackendError: The simulator cannot build it.
        """

    @abstractmethod
    def write(self, link: str, agent: int, weights: FloatArray, changed: FloatArray | None = None) -> None:
        """Set the weights of a link of one agent.

        Args:
            link: Its name.
            agent: Whose.
            weights: In the model's units, shape (n_post, n_pre).
            changed: Where they differ from those of before, bool (n_post, n_pre); None: everywhere.
        """

    @abstractmethod
    def run(self, trial: Trial) -> dict[str, Spikes]:
        """Run for `Plan.duration` from rest, and return the spikes of all cells by population."""

    def run_all(self, trials: list[Trial]) -> list[dict[str, Spikes]]:
        """Run several trials with the same weights; a platform may have a faster way than one after the other."""
        return [self.run(trial) for trial in trials]

    def check_ready(self) -> None:  # noqa: B027 - most are
        """Refuse runs where there is nothing that could run.

        Raises:
            BackendError: Why, and the way out.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what it holds."""
