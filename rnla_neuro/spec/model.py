"""What a model file says, as frozen data: equation strings, parameters with units, roles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rnla_neuro.spec.cells import CellsSpec


@dataclass(frozen=True)
class Parameter:
    """A constant of a model file.

    Attributes:
        name: The name used in the equations.
        text: The expression as written, for example ``"10*ms"`` or ``"0.6*T"``.
        value: The value in SI units.
        unit: The SI unit as Brian2 writes it, ``"1"`` for dimensionless, ``"s"`` for a time.
    """

    name: str
    text: str
    value: float
    unit: str


@dataclass(frozen=True)
class TrialSpec:
    """The time course of one decision, in seconds.

    Attributes:
        duration: Length T of a trial.
        dt: Width of a column of the equilibrium, step of an integrating backend.
        ramp: Length of the raised-cosine transition from the previous input to the next.
        gate: The eligibility gate is open during the last `gate` seconds before the decision.
        decision: Time of the decision within the trial, at most `duration`.
    """

    duration: float
    dt: float
    ramp: float
    gate: float
    decision: float


@dataclass(frozen=True)
class NeuronSpec:
    """A neuron type: its rate function, its Brian2 equations, its group reductions, when it spikes.

    Attributes:
        phi: The rate function, of the voltage.
        equations: Brian2 equations.
        group: Reductions over the layer, by name.
        threshold: Condition of a spike, looked at after the state has moved; None: it does not spike.
        reset: Statements that are run for neurons that spiked.
        refractory: Time after a spike in which a neuron does not spike again; None: it may at once.
        constants: What each neuron has a value of its own of (``k : 1 (constant)``), with the default; dimensionless.
            Their declarations are no part of `equations`.
    """

    phi: str | None
    equations: str
    group: Mapping[str, str]
    threshold: str | None = None
    reset: str = ""
    refractory: str | None = None
    constants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SynapseSpec:
    """A projection type: eligibility equations, what happens on an event, initial weights.

    Attributes:
        equations: Brian2 equations of the traces, one ODE a trace.
        on_event: Statements by neuromodulator channel (``{"reward": "w += …"}``).
        initial: Expression for the initial weight; may use ``randn()`` and ``N_pre``.
        initial_bias: The same for the weight from the bias unit.
    """

    equations: str
    on_event: Mapping[str, str]
    initial: str
    initial_bias: str


@dataclass(frozen=True)
class ProjectionSpec(SynapseSpec):
    """A projection beside the chain from the inputs to the actions; there is one for each hidden layer.

    Attributes:
        source: Where it comes from: ``hidden``, the layer itself; ``interneuron``, the population beside it; ``above``,
            the next layer of the chain.
        target: Where it goes to, in the same words.
        sums: What a synapse adds to which variable of the target, by its name with ``_post``.
        bias: Whether the bias unit projects to the target too.
    """

    source: str
    target: str
    sums: Mapping[str, str]
    bias: bool


@dataclass(frozen=True)
class NeuromodulatorSpec:
    """A neuromodulator channel: state, what an event does, and an optional decaying pulse."""

    equations: str
    on_event: str
    initial: Mapping[str, str]


@dataclass(frozen=True)
class ExplorationSpec:
    """How the action layer explores, and how a decision is read from it.

    Attributes:
        law: ``gumbel``, ``gaussian``, ``ornstein-uhlenbeck`` or ``none``.
        hold: ``trial`` for a value held for a trial, ``step`` for a process in time.
        scale: Expression for the scale (Gumbel) or standard deviation, dimensionless.
        tau: Expression for the correlation time of Ornstein-Uhlenbeck noise.
        policy: Group expression of the policy, for example ``softmax(drive/sigma)``.
        decision: ``argmax(expression)`` or ``argmax(lowpass(expression, tau))``.
    """

    law: str
    hold: str
    scale: str
    tau: str | None
    policy: str
    decision: str


@dataclass(frozen=True)
class ModelSpec:
    """A checked model file. `rnla_neuro.load_model` makes one."""

    name: str
    kind: str
    summary: str
    source: str
    path: Path
    parameters: Mapping[str, Parameter]
    trial: TrialSpec
    input: NeuronSpec
    hidden: NeuronSpec
    action: NeuronSpec
    sums: Mapping[str, str]
    synapse_hidden: SynapseSpec
    synapse_action: SynapseSpec
    neuromodulators: Mapping[str, NeuromodulatorSpec]
    exploration: ExplorationSpec
    roles: Mapping[str, str]
    text: str
    overrides: Mapping[str, str]
    interneuron: NeuronSpec | None = None
    interneuron_action: NeuronSpec | None = None
    projections: Mapping[str, ProjectionSpec] = field(default_factory=dict)
    cells: CellsSpec | None = None

    @property
    def neurons(self) -> dict[str, NeuronSpec]:
        """Neuron types by the names of their sections, without ``neuron.``; only those that the file has."""
        named = {"input": self.input, "hidden": self.hidden, "action": self.action}
        others = {"interneuron": self.interneuron, "interneuron_action": self.interneuron_action}
        return named | {name: spec for name, spec in others.items() if spec is not None}

    @property
    def spikes(self) -> bool:
        """Whether any neuron of the model spikes."""
        return any(spec.threshold is not None for spec in self.neurons.values())

    @property
    def takes_target(self) -> bool:
        """Whether the action layer is told a target: its equations use the engine's ``target``."""
        lines = (line.split("#", 1)[0] for line in self.action.equations.splitlines())
        return any(re.search(r"\btarget\b", line) for line in lines)
