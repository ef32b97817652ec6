"""What both cores share: the arrays that change, one call's input, and what a call gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConvergenceError
from rnla_neuro.events import EventBatch
from rnla_neuro.spec.form import EquilibriumForm, Traces
from rnla_neuro.spec.numeric import compile_expression
from rnla_neuro_backends.moving_equilibrium.columns import Columns

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CoreSettings:
    """What a core is built for.

    Attributes:
        form: The model.
        sizes: Neurons per layer, inputs first.
        n_agents: Number of agents A.
        precision: ``float64`` or ``float32``.
        plastic: Whether each projection learns.
        dt: Step in seconds, for pulses and for the tolerance of times.
        credit: Weight of the credited trial in the eligibility trace.
        rtol: Sweeps end when no error changes by more than this part of the largest one.
        rounding: What a unit of voltage, rounded, makes of the errors: machine precision times nudging slope.
            Errors cannot settle below it, however many sweeps there are.
        max_sweeps: Sweeps after which convergence is judged.
    """

    form: EquilibriumForm
    sizes: tuple[int, ...]
    n_agents: int
    precision: str
    plastic: tuple[bool, ...]
    dt: float
    credit: float
    rtol: float
    rounding: float
    max_sweeps: int

    def traces(self, projection: int) -> Traces:
        """Return the traces of a projection: the last one has the action layer's."""
        return self.form.action if projection == len(self.sizes) - 2 else self.form.hidden


def modulator_state(form: EquilibriumForm) -> list[tuple[str, str]]:
    """Return (channel, variable) of all that neuromodulators keep: state first, then values set on an event."""
    out: list[tuple[str, str]] = []
    for m in form.modulators:
        assigned = [name for name, _ in m.statements]
        out += [(m.channel, name) for name in dict.fromkeys([*m.variables, *assigned])]
    return out


def initial_modulators(form: EquilibriumForm, n_out: int) -> FloatArray:
    """Return what `modulator_state` names holds before the first event; at least one value."""
    known, index = {"n": float(n_out), **form.parameters}, modulator_state(form)
    values = np.zeros(max(1, len(index)))
    for m in form.modulators:
        for variable, expr in zip(m.variables, m.initial, strict=True):
            values[index.index((m.channel, variable))] = compile_expression(expr, (), known)()
    return values


class CoreState:
    """Everything of a simulation's network that changes, agent-major and contiguous.

    Attributes:
        w: Weights, shape (A, total): projections one after the other, each (n_post, n_pre + 1).
        z: Traces, shape (A, total): projections one after the other, each (n_trace, n_post, n_pre + 1).
        modulators: Neuromodulator variables, all channels, shape (A, n).
        lowpass: Low-passed decision argument, shape (A, n_out).
        mismatch: u - drive - ebar - noise_bar per neuron after the inputs, shape (A, sum of layers).
    """

    def __init__(self, settings: CoreSettings) -> None:
        a, dtype = settings.n_agents, np.dtype(settings.precision)
        shapes = [(m, n + 1) for n, m in zip(settings.sizes[:-1], settings.sizes[1:], strict=True)]
        traces = [(len(settings.traces(k).names), *s) for k, s in enumerate(shapes)]
        self.w = np.zeros((a, sum(int(np.prod(s)) for s in shapes)), dtype)
        self.z = np.zeros((a, sum(int(np.prod(s)) for s in traces)), dtype)
        self.modulators = np.zeros((a, max(1, len(modulator_state(settings.form)))))
        self.lowpass = np.zeros((a, settings.sizes[-1]))
        self.mismatch = np.zeros((a, sum(settings.sizes[1:])))
        self.weights = views(self.w, shapes)
        self.traces = views(self.z, traces)

    ARRAYS = ("w", "z", "modulators", "lowpass", "mismatch")

    def copy(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all arrays."""
        return {name: getattr(self, name).copy() for name in self.ARRAYS}

    def restore(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Write arrays that `copy` returned back in place."""
        for name in self.ARRAYS:
            getattr(self, name)[...] = arrays[name]


def views(flat: npt.NDArray[Any], shapes: Sequence[tuple[int, ...]]) -> list[npt.NDArray[Any]]:
    """Return the arrays that stand one after the other in each row of `flat`, shape (A, total): (A, *shape) each."""
    out, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        out.append(flat[:, at : at + size].reshape(flat.shape[0], *shape))
        at += size
    return out


@dataclass(frozen=True)
class Call:
    """One call of a core: the time from one decision to the next.

    Attributes:
        columns: The columns, C of them.
        coefficients: Weights of the basis inputs in each column, shape (C, K).
        basis: Rates of the basis inputs, shape (A, K, n_in).
        noise: noise_bar in each column, shape (A, C, n_out).
        t0: Biological time at which the call starts, in seconds.
        trial: Decisions made before.
        events: Events to apply during the call, sorted by agent and time.
        record: Keep voltages, errors and drives of all columns.
    """

    columns: Columns
    coefficients: FloatArray
    basis: FloatArray
    noise: FloatArray
    t0: float
    trial: int
    events: EventBatch
    record: bool = False


@dataclass
class Recording:
    """Solved columns of one trial, C of them (steps, where an engine integrates); layers one after the other.

    Attributes:
        time: Biological seconds, shape (C,).
        u: Somatic voltages, shape (A, C, sum of layers).
        ebar: Errors, same shape.
        drive: W r̄ with bias, same shape.
        rate: Rates r̄, same shape.
        noise: noise_bar, shape (A, C, n_out).
        spikes: Which neurons spiked at the end of each step, the inputs first, shape (A, C, n_in + sum of layers);
            None for models without spikes.
    """

    time: FloatArray
    u: FloatArray
    ebar: FloatArray
    drive: FloatArray
    rate: FloatArray
    noise: FloatArray
    spikes: npt.NDArray[np.bool_] | None = None


@dataclass
class Outcome:
    """What a call gives back: the decision's argument (A, n_out) and the most sweeps a column took (A,)."""

    decision: FloatArray
    sweeps: npt.NDArray[np.int64]
    delivered: int
    recording: dict[str, FloatArray] = field(default_factory=dict)


class Core(ABC):
    """Advances the network of all agents from one decision to the next."""

    state: CoreState

    @abstractmethod
    def advance(self, call: Call) -> Outcome:
        """Process the columns and events of a call; raises ConvergenceError if sweeps do not settle."""

    def settle(self) -> None:  # noqa: B027 - a core without pending contributions has nothing to do
        """Bring the traces in `state` up to date."""

    def close(self) -> None:  # noqa: B027 - only the compiled core holds something
        """Give back what the core holds outside Python."""


def rounding_slack(sweep: int) -> float:
    """Return how many rounding errors the errors may still change by; more when they have circled for long.

    Deep layers magnify the rounding of the action layer's voltages by their weights. A network without a
    unique equilibrium still fails, by orders of magnitude.
    """
    return 4.0 if sweep <= 20 else 64.0


def no_convergence(
    settings: CoreSettings, agent: int, layer: int, ratio: float, t: float
) -> ConvergenceError:
    """Word the error: the layer, the gain, and the way out."""
    top = layer == len(settings.sizes) - 1
    name = "the action layer" if top else f"hidden layer {layer}"
    if not np.isfinite(ratio):
        return ConvergenceError(
            f"the errors of {name} (agent {agent}, t = {t:.4g} s) are no longer finite: the weights have diverged. "
            "Way out: a smaller learning rate (eta), or weaker homeostasis"
        )
    return ConvergenceError(
        f"no equilibrium after {settings.max_sweeps} sweeps: the errors of {name} (agent {agent}, t = {t:.4g} s) "
        f"still change, by a factor of {ratio:.3g} a sweep. The nudging is too strong for the weights, which may "
        "have several equilibria. Way out: a smaller beta (the learning rate is per unit of error/beta, so "
        "nothing is lost), a smaller gain of the winner-take-all, or smaller weights"
    )
