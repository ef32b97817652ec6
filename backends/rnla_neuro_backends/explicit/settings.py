"""What a kernel of the explicit form is generated for, and the arrays that it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.form import Traces
from rnla_neuro_backends.explicit.form import ExplicitForm, explicit_form

Role = Literal["state", "input", "output", "scratch"]
DType = Literal["real", "double", "int32"]
_CTYPES = {"double": "double", "int32": "int32_t", "real": "real"}


@dataclass(frozen=True)
class KernelArray:
    """An array that the kernel touches.

    Attributes:
        name: Its name in the kernel's call.
        dtype: ``real`` (the network's precision), ``double`` or ``int32``.
        size: Number of elements, all agents together.
        role: ``state`` changes and is kept, ``input`` is given for each block, ``output`` comes back, ``scratch``
            is working memory.
        stride: Elements of one agent; 0 for what all agents share.
    """

    name: str
    dtype: DType
    size: int
    role: Role
    stride: int = 0

    @property
    def ctype(self) -> str:
        """Its C++ type."""
        return _CTYPES[self.dtype]


@dataclass(frozen=True)
class KernelSettings:
    """What a kernel is generated for.

    Attributes:
        form: The recognised model.
        sizes: Neurons per layer, inputs first.
        n_agents: Number A of agents.
        precision: ``float64`` or ``float32``.
        plastic: Whether each projection learns.
        dt: Step in seconds.
        credit: Weight of the credited trial in the eligibility trace.
        max_steps: Most steps of a block.
        max_basis: Most input patterns of a block.
        max_rows: Most noise rows of a block.
        max_events: Most events of a block, all agents together.
        capacity: Rank-one contributions that a projection's traces wait for.
        record: Keep voltages, errors and drives of every step.
    """

    form: ExplicitForm
    sizes: tuple[int, ...]
    n_agents: int
    precision: str
    plastic: tuple[bool, ...]
    dt: float
    credit: float
    max_steps: int
    max_basis: int
    max_rows: int
    max_events: int
    capacity: int
    record: bool = False

    def traces(self, projection: int) -> Traces:
        """Return the traces of a projection: the last one has the action layer's."""
        return self.form.base.action if projection == len(self.sizes) - 2 else self.form.base.hidden


def kernel_settings(network: NetworkSpec, *, record: bool = False, max_basis: int = 2) -> KernelSettings:
    """Return the settings that suit a network and the time course of its trials.

    Args:
        network: The network.
        record: Keep voltages, errors and drives of every step.
        max_basis: Most input patterns of a block; 2 are the trial before and this one.

    Raises:
        BackendError: The model is not of the form that the kernels run.
    """
    form, trial = explicit_form(network.model), network.model.trial
    steps = max(8, round(trial.duration / trial.dt))
    gated = all(s.gated for t in (form.base.hidden, form.base.action) for s in t.sources)
    open_steps = round(trial.gate / trial.dt) if gated else steps
    agents = len(network.seeds)
    return KernelSettings(
        form=form,
        sizes=network.sizes,
        n_agents=agents,
        precision=network.precision,
        plastic=network.plastic,
        dt=trial.dt,
        credit=network.credit,
        max_steps=steps,
        max_basis=max_basis,
        max_rows=steps if form.base.noise_tau is not None else 2,
        max_events=4 * agents * max(1, len(form.base.modulators)),
        capacity=max(min(128, max(16, 2 * open_steps)), max_basis + 1),
        record=record,
    )
