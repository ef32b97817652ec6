"""What a model that is not of the proven form is made of: populations, sums, traces, as sympy expressions.

`general_form` reads it from the strings of the file alone. Whatever the generated kernel cannot run is refused by
name, and the caller takes Brian2's own groups. Names in expressions are those of the file; nothing is written here
for a particular model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.derive_plasticity import derive_modulators
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.form import Modulator, Update
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.proof import symbol


@dataclass(frozen=True)
class Group:
    """A reduction over the action layer: ``softmax``, ``sum``, ``mean`` or ``max`` of an argument."""

    name: str
    kind: str
    argument: sp.Expr


@dataclass(frozen=True)
class Population:
    """A neuron type.

    Attributes:
        kind: Name of its section, without ``neuron.``.
        algebraic: Variables that are expressions of others, each after those that it reads.
        odes: Right sides of the state variables, in the order of the file.
        resting: State variables that stand still while the neuron is refractory.
        past: Variables of which ``…_prev`` is kept.
        groups: Reductions over the layer.
        process: The variable that the exploration law (or a teacher) sets, if any.
        threshold: When a neuron spikes; None: it does not.
        resets: What a spike changes, in order.
        refractory: Seconds without a spike after a spike; an expression where they are a neuron's own.
        constants: What each neuron has a value of its own of.
    """

    kind: str
    algebraic: tuple[tuple[str, sp.Expr], ...]
    odes: tuple[tuple[str, sp.Expr], ...]
    resting: frozenset[str]
    past: tuple[str, ...]
    groups: tuple[Group, ...]
    process: str | None
    threshold: sp.Basic | None
    resets: tuple[tuple[str, sp.Expr], ...]
    refractory: float | sp.Expr
    constants: tuple[str, ...] = ()

    @property
    def spikes(self) -> bool:
        """Whether its neurons spike."""
        return self.threshold is not None

    @property
    def rests(self) -> bool:
        """Whether its neurons are refractory after a spike."""
        return isinstance(self.refractory, sp.Expr) or self.refractory > 0


@dataclass(frozen=True)
class Signal:
    """What a neuron sends: into a sum over synapses, ``w*expr``.

    Attributes:
        expr: In variables of the sending neuron.
        bias: What the bias unit sends: all that a synapse reads of it is 1.
    """

    expr: sp.Expr
    bias: sp.Expr


@dataclass(frozen=True)
class Plasticity:
    """Traces of a projection type: ``dz_r/dt = sum_q A_rq z_q + sum_g post[r, g] * pre[g]``.

    Attributes:
        names: Names of the traces.
        A: Decay and coupling, 1/s, shape (traces, traces).
        pre: The presynaptic factors G that occur.
        bias: What each of them is for the bias unit.
        post: Postsynaptic factor of each trace with each G; ``gate`` may be in it.
        updates: By channel, what an event adds to the weights.
        keeps: By channel, the factor by which an event multiplies the weights before, where that is not 1.
        flows: By channel with a pulse, what flows into the weights while it lasts.
        growth: What flows into the weights at every step without a trace: postsynaptic factor, presynaptic factor, and
            what that is for the bias unit.
        decay: By which the weights themselves grow or decay, 1/s.
    """

    names: tuple[str, ...]
    A: npt.NDArray[np.float64]
    pre: tuple[sp.Expr, ...]
    bias: tuple[sp.Expr, ...]
    post: tuple[tuple[sp.Expr, ...], ...]
    updates: Mapping[str, Update]
    keeps: Mapping[str, sp.Expr]
    flows: Mapping[str, Update]
    growth: tuple[tuple[sp.Expr, sp.Expr, sp.Expr], ...] = ()
    decay: float = 0.0

    @property
    def grows(self) -> bool:
        """Whether weights change at every step."""
        return bool(self.growth) or self.decay != 0

    @property
    def gated(self) -> bool:
        """Whether the traces only decay while the gate is shut."""
        shut = {symbol("gate"): sp.Integer(0)}
        return all(sp.expand(factor.xreplace(shut)) == 0 for row in self.post for factor in row)


@dataclass(frozen=True)
class GeneralForm:
    """Everything that the generated kernel needs from a model.

    Attributes:
        name: Name of the model's file, for messages.
        parameters: Values in SI units, with ``T`` and ``dt``.
        populations: By kind.
        sums: By the name of a projection: what its neurons send into which variable of the neuron after them.
        feedback: The same for the neuron before them.
        plasticity: By the name of a projection.
        modulators: Neuromodulator channels.
        decision: What the decision takes the argmax of, an expression of the action layer.
        lowpass: Whether `decision` is a state, which follows its argument.
        roles: Variable names by role.
        noise_jumps: Exploration is set at the start of a step, not within it.
    """

    name: str
    parameters: Mapping[str, float]
    populations: Mapping[str, Population]
    sums: Mapping[str, Mapping[str, Signal]]
    feedback: Mapping[str, Mapping[str, Signal]]
    plasticity: Mapping[str, Plasticity]
    modulators: tuple[Modulator, ...]
    decision: sp.Expr
    lowpass: bool
    roles: Mapping[str, str]
    noise_jumps: bool

    @property
    def spikes(self) -> bool:
        """Whether any neuron spikes."""
        return any(population.spikes for population in self.populations.values())


def refuse(file: str, where: str, reason: str) -> BackendError:
    """Word the refusal of a model that the general kernel does not run."""
    return BackendError(f"the general kernel cannot run {file}: {where}: {reason}")


def general_form(model: ModelSpec) -> GeneralForm:
    """Read a model.

    Raises:
        BackendError: The model has something that the kernel cannot run, or is of the proven form, whose voltages
            follow a jump at once: the kernel of the explicit form is for it.
    """
    from rnla_neuro_backends.general.reading import DECISION, plasticity_of, population_of

    file = model.path.name
    _refuse_proven(model)
    parameters = {name: parameter.value for name, parameter in model.parameters.items()}
    parameters |= {"T": model.trial.duration, "dt": model.trial.dt}
    populations = {kind: population_of(model, kind, parameters) for kind in model.neurons}
    action, held = populations["action"], model.exploration.law != "ornstein-uhlenbeck"
    lowpass = any(name == DECISION for name, _ in action.odes)
    parts = ("hidden", "action", *model.projections)
    return GeneralForm(
        name=file,
        parameters=parameters,
        populations=populations,
        sums={part: _signals(model, part, "post") for part in parts},
        feedback={part: _signals(model, part, "pre") for part in parts},
        plasticity={part: plasticity_of(model, part, parameters) for part in parts},
        modulators=derive_modulators(model, parameters),
        decision=symbol(DECISION) if lowpass else dict(action.algebraic)[DECISION],
        lowpass=lowpass,
        roles=dict(model.roles),
        noise_jumps=held and action.process in ("target", model.roles.get("noise")),
    )


def _refuse_proven(model: ModelSpec) -> None:
    try:
        derive_form(model)
    except BackendError:
        return
    raise refuse(model.path.name, "its equations", "they are prospective: voltages follow a jump at once")


def _signals(model: ModelSpec, part: str, side: str) -> dict[str, Signal]:
    """Return what a projection adds to variables of the neurons at one of its sides."""
    extra = model.projections.get(part)
    sums = model.sums if extra is None else extra.sums
    found = {}
    for key, text in sums.items():
        if key.endswith(f"_{side}"):
            found[key.removesuffix(f"_{side}")] = _signal(model, key, text, "_pre" if side == "post" else "_post")
    return found


def _signal(model: ModelSpec, name: str, text: str, ending: str) -> Signal:
    where, key = f"{model.path.name}: [synapse.sums] {name}", f"sum {name}"
    expr, weight = parse(text, where, symbol), symbol(model.roles["weight"])
    signal = sp.diff(expr, weight)
    rest = sp.expand(expr - weight * signal)
    if weight in signal.free_symbols or rest != 0:
        raise refuse(model.path.name, key, f"{text!r} is not the weight times a signal")
    names = {s.name for s in signal.free_symbols} - {*model.parameters, "T", "dt"}
    foreign = sorted(n for n in names if not n.endswith(ending))
    if foreign:
        raise refuse(model.path.name, key, f"{text!r} uses {foreign[0]!r}; expected names ending in {ending}")
    return Signal(*stripped(signal, ending))


def stripped(expr: sp.Expr, ending: str) -> tuple[sp.Expr, sp.Expr]:
    """Return an expression in a neuron's own names, and what it is for the bias unit."""
    names = {s: s.name.removesuffix(ending) for s in expr.free_symbols if s.name.endswith(ending)}
    own = expr.xreplace({s: symbol(name) for s, name in names.items()})
    return own, expr.xreplace(dict.fromkeys(names, sp.Integer(1)))
