"""The closed list of names that an engine supplies to a model file, and the names that nobody may define.

Everything else that an equation uses must be a variable of its section or a parameter of the file.
Voltages, rates and errors are dimensionless in rate models. A name in angle brackets stands for the
variable that has this role (``<rate>_prev`` is ``rbar_prev`` where ``rate = "rbar"``).
"""

from __future__ import annotations

import keyword
from dataclasses import dataclass

from rnla_neuro.spec.expressions import FUNCTIONS
from rnla_neuro.spec.quantities import UNITS


@dataclass(frozen=True)
class EngineSymbol:
    """A name that every engine supplies.

    Attributes:
        name: The name, or a pattern with a role in angle brackets.
        unit: Its unit as Brian2 writes it.
        meaning: One line.
        where: The parts of a model file that may use it.
    """

    name: str
    unit: str
    meaning: str
    where: tuple[str, ...]


_NEURON = ("neuron.input", "neuron.hidden", "neuron.action")
_BESIDE = ("neuron.interneuron",)
_EVENT = ("on_event",)

ENGINE_SYMBOLS: tuple[EngineSymbol, ...] = (
    EngineSymbol("x", "1", "input value of this unit, ramped in time", ("neuron.input",)),
    EngineSymbol("phi", "1", "the section's rate function phi at the present voltage", (*_NEURON[1:], *_BESIDE)),
    EngineSymbol("phi_prime", "1", "its derivative, derived from the string phi", (*_NEURON[1:], *_BESIDE)),
    EngineSymbol("<current>", "1", "sum of w*r_pre over all inputs, bias included", (*_NEURON[1:], "group", "read")),
    EngineSymbol(
        "<drive>", "1", "sum of w*rbar_pre over all inputs, bias included", (*_NEURON[1:], "group", "read")
    ),
    EngineSymbol("<feedback>", "1", "sum of w*ebar_post over the next layer", ("neuron.hidden",)),
    EngineSymbol("<noise>", "1", "exploration as it appears in the voltage", ("neuron.action", "group")),
    EngineSymbol("noise", "1", "exploration current where the file low-passes it itself", ("neuron.action",)),
    EngineSymbol("<noise>_prev", "1", "<noise> one step earlier", ("neuron.action",)),
    EngineSymbol(
        "target", "1", "what a supervised learner is told: what this neuron ought to do", ("neuron.action",)
    ),
    EngineSymbol("<error>_prev", "1", "<error> one step earlier", (*_NEURON[1:], *_BESIDE)),
    EngineSymbol("<rate>_prev", "1", "<rate> one step earlier", (*_NEURON, *_BESIDE)),
    EngineSymbol("gate", "1", "1 during the last [trial] gate before the decision, else 0", ("synapse",)),
    EngineSymbol("R", "1", "value of the event, for example the reward", ("neuromodulator", *_EVENT)),
    EngineSymbol("trial", "1", "decisions made so far by this agent", ("neuromodulator", "synapse", *_EVENT)),
    EngineSymbol(
        "credit", "1", "weight of the rewarded decision in the eligibility trace", ("synapse", *_EVENT)
    ),
    EngineSymbol(
        "n",
        "1",
        "number of neurons in the action layer",
        ("neuron.action", *_BESIDE, "group", "read", "synapse", "neuromodulator", *_EVENT, "initial"),
    ),
    EngineSymbol(
        "chance", "1", "a random number in [0, 1), new for every neuron at every step", (*_NEURON, *_BESIDE)
    ),
    EngineSymbol("t_trial", "second", "time since the start of the present trial", (*_NEURON, *_BESIDE)),
    EngineSymbol("N_pre", "1", "number of presynaptic neurons, bias unit not counted", ("initial",)),
    EngineSymbol("N_post", "1", "number of postsynaptic neurons", ("initial",)),
    EngineSymbol("i", "1", "index of the presynaptic neuron, from 0", ("projection.initial",)),
    EngineSymbol("j", "1", "index of the postsynaptic neuron, from 0", ("projection.initial",)),
    EngineSymbol("t", "second", "biological time", (*_NEURON, *_BESIDE, "synapse", "neuromodulator", *_EVENT)),
    EngineSymbol(
        "dt", "second", "[trial] dt", (*_NEURON, *_BESIDE, "synapse", "neuromodulator", *_EVENT, "parameters")
    ),
    EngineSymbol(
        "T",
        "second",
        "[trial] T, length of a trial",
        (*_NEURON, *_BESIDE, "synapse", "neuromodulator", *_EVENT, "parameters"),
    ),
)

#: Roles that a model file assigns, and what each of them is.
ROLES: dict[str, str] = {
    "voltage": "somatic voltage, an ODE of the hidden and the action neuron",
    "rate": "rate of every neuron type",
    "prospective_rate": "rate plus tau times its change, what a neuron sends",
    "error": "error of the hidden and the action neuron",
    "prospective_error": "error plus tau times its change",
    "current": "summed input current, from [synapse.sums]",
    "drive": "summed input of the present rates, from [synapse.sums]",
    "feedback": "summed error of the next layer, from [synapse.sums]",
    "noise": "exploration as it appears in the voltage of the action neuron",
    "weight": "synaptic weight",
    "eligibility": "eligibility trace of both projections",
}
#: Roles that a file may leave out: what is not of the proven form need not have them.
OPTIONAL_ROLES = frozenset({"prospective_rate", "prospective_error", "drive", "feedback", "eligibility"})

KINDS = ("rate", "spiking")
#: Where a [projection.NAME] begins and ends, seen from one hidden layer.
PLACES = ("hidden", "interneuron", "above")

LAWS = ("gumbel", "gaussian", "ornstein-uhlenbeck", "none")
HOLDS = {"gumbel": "trial", "gaussian": "trial", "ornstein-uhlenbeck": "step", "none": "trial"}
REDUCTIONS = ("softmax", "sum", "mean", "max")

#: Names with a meaning in Brian2: no variable or parameter may have them.
RESERVED = frozenset(
    {"e", "xi", "i", "j", "N", "pi", "inf", "rand", "randn", "poisson", "lastspike", "not_refractory",
     "t_in_timesteps", "softmax", "argmax", "lowpass", "floor", "ceil", "exprel", "timestep", "log10",
     "kg", "metre", "meter", "kelvin", "mole", "candela"}
)  # fmt: skip


def reserved_reason(name: str) -> str | None:
    """Say why a variable or parameter may not have this name; None if it may."""
    fixed = {symbol.name for symbol in ENGINE_SYMBOLS if "<" not in symbol.name} - {"noise"}
    if name in RESERVED or name.startswith("xi_"):
        return "the name is reserved in Brian2"
    if name in FUNCTIONS:
        return "it is a function"
    if name in UNITS:
        return "it is a unit"
    if keyword.iskeyword(name) or name.startswith("_"):
        return "it is not a name that Brian2 allows"
    if name in fixed:
        return "the engine supplies it"
    if name.endswith(("_pre", "_post", "_prev")):
        return "_pre, _post and _prev are endings of the engine's"
    return None


def engine_place(section: str) -> str:
    """Return the place of `ENGINE_SYMBOLS` that a neuron's section is: both kinds of interneuron are one."""
    return "neuron.interneuron" if section.startswith("neuron.interneuron") else section


def engine_names(where: str, roles: dict[str, str]) -> dict[str, str]:
    """Names that the engine supplies in a part of the file, with their units.

    Args:
        where: One of the places in `ENGINE_SYMBOLS`.
        roles: Variable names by role, to fill in the angle brackets.
    """
    names = {}
    for symbol in ENGINE_SYMBOLS:
        if where not in symbol.where:
            continue
        name = symbol.name
        if name.startswith("<"):
            role, _, ending = name[1:].partition(">")
            if role not in roles:
                continue
            name = roles[role] + ending
        names[name] = symbol.unit
    return names
