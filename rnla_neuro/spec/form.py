"""The mathematical form that the `equilibrium` backend solves, as sympy expressions.

`rnla_neuro.spec.derive.derive_form` proves that a model file has this form and fills it in. Nothing
here is written by hand for a particular model: the strings of the file are the only source.

Canonical symbols (all real): ``x`` input, ``u`` somatic voltage, ``drive`` = W r̄ (bias included),
``noise_bar`` exploration as it appears in u, ``ebar`` error, ``mismatch`` = u - drive - ebar - noise_bar
(decays with tau_m), ``rbar`` rate of the action layer, ``n`` number of neurons in the action layer, the
names of group reductions, and the names of the model's parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import sympy as sp

#: How a hidden neuron's prospective rate is written: by the chain rule (``rbar + phi_prime*(I - u + err)``),
#: or by the change of the rate over the last step. In continuous time both are the same.
Prospective = Literal["slope", "difference"]


@dataclass(frozen=True)
class GroupReduction:
    """A reduction over the action layer: ``softmax`` (elementwise result), ``sum``, ``mean`` or ``max``."""

    name: str
    kind: str
    argument: sp.Expr


@dataclass(frozen=True)
class Source:
    """What drives a trace: ``factor(u, drive, ebar, noise_bar, mismatch) * rbar_pre``."""

    factor: sp.Expr
    gated: bool


@dataclass(frozen=True)
class Update:
    """What an event does to a projection: ``w += sum_k gains[k]*trace_k``, then ``trace_k = 0`` where reset.

    A gain may use the channel's variables and ``R``, parameters, ``t`` (seconds), ``trial`` (decisions made
    before) and ``credit`` (weight of the credited trial in the eligibility trace).
    """

    gains: tuple[sp.Expr, ...]
    resets: tuple[bool, ...]


@dataclass(frozen=True)
class Traces:
    """Traces of one projection: ``dz/dt = A z + B F``, F the rank-one sources (A, B in 1/s).

    Attributes:
        names: Names of the traces, one row of A and B each.
        A: Decay and coupling of the traces, shape (traces, traces), 1/s.
        B: Weight of each source in each trace, shape (traces, sources), 1/s.
        sources: The rank-one sources.
        eligibility: Index of the trace with the role eligibility.
        updates: By channel, what an event of this channel does to the weights.
        flows: By channel with a `Pulse`, what flows into the weights while the pulse lasts:
            ``dw/dt = sum_k gains[k] * trace_k``, each gain homogeneous of degree 1 in the pulse variable.
        initial: Initial weights in the symbols ``randn_1``, ``rand_1``, … (one random number a synapse each),
            ``N_pre``, ``N_post``, ``n`` and parameters.
        initial_bias: The same for the weights from the bias unit.
    """

    names: tuple[str, ...]
    A: npt.NDArray[np.float64]
    B: npt.NDArray[np.float64]
    sources: tuple[Source, ...]
    eligibility: int
    updates: Mapping[str, Update]
    flows: Mapping[str, Update]
    initial: sp.Expr
    initial_bias: sp.Expr


@dataclass(frozen=True)
class Pulse:
    """A neuromodulator that decays: after an event `variable` decays with `tau` seconds."""

    variable: str
    tau: float


@dataclass(frozen=True)
class Modulator:
    """A channel: statements run in order on each event of value ``R``."""

    channel: str
    variables: tuple[str, ...]
    initial: tuple[sp.Expr, ...]
    statements: tuple[tuple[str, sp.Expr], ...]
    pulse: Pulse | None


@dataclass(frozen=True)
class DecisionRule:
    """``argmax`` of an expression of the action layer, at once or low-passed with `tau` seconds."""

    argument: sp.Expr
    tau: float | None


@dataclass(frozen=True)
class EquilibriumForm:
    """Everything that a solver of the moving equilibrium needs from a model.

    `noise` is the exploration law (held for a trial, or ``ornstein-uhlenbeck``: a process in time). With
    `noise_lowpass` the law gives the current, and ``noise_bar`` is its low-pass with tau_m; otherwise it
    gives ``noise_bar`` itself. `parameters` are the file's, and ``T`` and ``dt`` of [trial], in SI units.
    """

    parameters: Mapping[str, float]
    tau_m: float
    input_rate: sp.Expr
    phi: sp.Expr
    phi_prime: sp.Expr
    prospective: Prospective
    groups: tuple[GroupReduction, ...]
    action_rate: sp.Expr
    nudging: sp.Expr
    noise: str
    hidden: Traces
    action: Traces
    modulators: tuple[Modulator, ...]
    decision: DecisionRule
    policy: GroupReduction
    noise_scale: float
    noise_tau: float | None
    noise_lowpass: bool

    @property
    def taught(self) -> bool:
        """Whether the action layer is told a target, the symbol ``target`` of the nudging.

        Such a model does not explore. Engines carry the target in the rows that exploration has in other
        models: there ``noise_bar`` is what stands in for ``target``, and it is no part of the voltage.
        """
        return any(s.name == "target" for s in self.nudging.free_symbols)
