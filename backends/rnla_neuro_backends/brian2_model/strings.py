"""Turns the strings of a model file into complete Brian2 equations, in the explicit form that is stable.

The file's lines stand in the result as they are. What Brian2 cannot know is added around them, and
nothing else: the summed variables, the derivative of the rate function, the reductions over the action
layer as sums over synapses, and the past values that ``…_prev`` names. Names that start with ``rnla_`` are
ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from rnla_neuro.spec.equations import Equation, split_equations
from rnla_neuro.spec.expressions import identifiers, parse, split_call, split_decision
from rnla_neuro.spec.model import ModelSpec, NeuronSpec, SynapseSpec
from rnla_neuro.spec.populations import Population, Projection
from rnla_neuro.spec.proof import Scope, derivative, symbol

#: exp of this is finite, also when summed over a layer; beyond it a softmax is 0 to the precision at hand.
_LARGEST_EXPONENT, _LARGEST_EXPONENT_FLOAT32 = 600, 80


@dataclass(frozen=True)
class NeuronStrings:
    """Everything that becomes one NeuronGroup.

    Attributes:
        equations: Brian2 equations.
        uses: For each algebraic variable, the names in its expression.
        past: Variables of which ``…_prev`` is kept.
        process: The variable that the exploration law sets, if this layer explores.
        tau: Time constant of the voltage, as an expression of parameters; None where voltages do not follow
            a jump at once.
        draws: Whether it uses ``chance``.
        timed: Whether it uses ``t_trial``.
    """

    equations: str
    uses: Mapping[str, frozenset[str]]
    past: tuple[str, ...]
    process: str | None
    tau: str | None
    draws: bool = False
    timed: bool = False


class _Printer(StrPrinter):  # type: ignore[misc]
    """Writes sympy expressions as Brian2 strings."""

    def _print_Abs(self, expr: sp.Expr) -> str:
        return f"abs({self._print(expr.args[0])})"

    def _fold(self, expr: sp.Expr, form: str) -> str:
        text = str(self._print(expr.args[0]))
        for argument in expr.args[1:]:
            text = form.format(text, self._print(argument))
        return text

    def _print_Max(self, expr: sp.Expr) -> str:
        return self._fold(expr, "clip({}, {}, inf)")

    def _print_Min(self, expr: sp.Expr) -> str:
        return self._fold(expr, "clip({}, -inf, {})")

    def _print_Infinity(self, expr: sp.Expr) -> str:
        return "inf"

    def _print_Piecewise(self, expr: sp.Expr) -> str:
        terms, before = [], ""
        for value, condition in expr.args:
            here = "" if condition == sp.true else f"*int({self._print(condition)})"
            terms.append(f"({self._print(value)}){here}{before}")
            before += "" if condition == sp.true else f"*(1 - int({self._print(condition)}))"
        return f"({' + '.join(terms)})"

    def _print_And(self, expr: sp.Expr) -> str:
        return " and ".join(f"({self._print(argument)})" for argument in expr.args)

    def _print_Or(self, expr: sp.Expr) -> str:
        return " or ".join(f"({self._print(argument)})" for argument in expr.args)

    def _print_Not(self, expr: sp.Expr) -> str:
        return f"not ({self._print(expr.args[0])})"

    def _print_atan(self, expr: sp.Expr) -> str:
        return f"arctan({self._print(expr.args[0])})"

    def _print_asin(self, expr: sp.Expr) -> str:
        return f"arcsin({self._print(expr.args[0])})"

    def _print_acos(self, expr: sp.Expr) -> str:
        return f"arccos({self._print(expr.args[0])})"


def to_string(expr: sp.Expr) -> str:
    """Write a sympy expression as Brian2 reads it."""
    text: str = _Printer().doprint(expr)
    return text


def lines(text: str, where: str, ode_flag: str = "") -> list[str]:
    """The file's equations, one a line (the file may continue a line inside brackets)."""
    equations = split_equations(text, where).values()
    pause = " (unless refractory)"
    return [f"{eq.left} = {eq.text} : {eq.unit}{ode_flag * eq.is_ode}{pause * eq.pauses}" for eq in equations]


class _Neuron:
    """Collects the lines of one neuron type."""

    def __init__(
        self, model: ModelSpec, kind: str, size: int, received: Mapping[str, Sequence[str]], fed_back: Iterable[str]
    ):
        self.size = size
        self.model, self.kind, self.roles = model, kind, model.roles
        self.file = model.path.name
        self.where = f"{self.file}: [neuron.{kind}] equations"
        self.spec: NeuronSpec = model.neurons[kind]
        self.own: dict[str, Equation] = split_equations(self.spec.equations, self.where)
        self.lines = lines(self.spec.equations, self.where)
        self.uses = {eq.name: self.names(eq.text) for eq in self.own.values() if not eq.is_ode}
        for name, parts in received.items():
            self.define(name, " + ".join(parts) or "0")
            self.lines += [f"{part} : 1" for part in parts]
        self.lines += [f"{name} : 1" for name in fed_back]

    def names(self, text: str) -> frozenset[str]:
        return frozenset(identifiers(text, self.where))

    def define(self, name: str, text: str, unit: str = "1") -> None:
        self.lines.append(f"{name} = {text} : {unit}")
        self.uses[name] = self.names(text)

    def rate_function(self) -> None:
        if self.spec.phi is None:
            return
        where = f"{self.file}: [neuron.{self.kind}] phi"
        slope = derivative(parse(self.spec.phi, where, symbol), symbol(self.roles["voltage"]))
        self.define("phi", self.spec.phi)
        self.define("phi_prime", to_string(slope))

    def reductions(self) -> None:
        for name, text in self.spec.group.items():
            kind, argument = reduction(text, self.where)
            self.define(f"rnla_{name}_of", argument)
            self.lines += [f"rnla_{name}_sum : 1"] + [f"rnla_{name}_rank : 1"] * (kind == "max")
            count = "n" if self.kind == "action" else str(self.size)
            formula = {"softmax": "1/{}", "mean": f"{{}}/{count}", "sum": "1*{}", "max": "1*{}"}[kind]
            self.define(name, formula.format(f"rnla_{name}_sum"))

    def process(self) -> str | None:
        """Declare what is set from outside: the target, the noise in the voltage, or the file's own current."""
        noise = self.roles.get("noise")
        if self.kind == "action" and self.model.takes_target:
            self.lines.append("target : 1")
            return "target"
        if self.kind != "action" or noise is None:
            return None
        name = "noise" if noise in self.own else noise
        self.lines.append(f"{name} : 1")
        return name

    def past(self) -> tuple[str, ...]:
        used = frozenset().union(*(self.names(equation.text) for equation in self.own.values()))
        found = sorted(name.removesuffix("_prev") for name in used if name.endswith("_prev"))
        for name in found:
            self.lines += [f"{name}_prev : 1", f"rnla_{name}_now : 1"]
        return tuple(found)

    def equilibrium(self, process: str | None, past: Iterable[str]) -> str:
        """Add what a proven model's voltage rests at, ``rnla_rest``, and return its time constant.

        The rest follows from the file's own ODE: with everything prospective replaced by what it is the
        prospective form of, the right side vanishes at u = rest.
        """
        roles, u = self.roles, self.roles["voltage"]
        given = {f"{name}_prev": symbol(name) for name in past} | {roles["current"]: symbol(roles["drive"])}
        if process == "noise" and roles["noise"] != "noise":
            given["noise"] = symbol(roles["noise"])
        keep = {u, roles["rate"], roles["error"], roles.get("noise", u)}
        right = Scope(self.file, f"neuron.{self.kind}", self.own, keep, given).right(u)
        slope = sp.diff(right, symbol(u))
        self.define("rnla_rest", to_string(sp.expand(-right / slope + symbol(u))))
        self.lines.append("rnla_mismatch : 1")
        return to_string(-1 / slope)

    def decision(self) -> None:
        """Add what the decision takes the argmax of, as ``rnla_decision``."""
        text, tau = split_decision(self.model.exploration.decision, f"{self.file}: [exploration] decision")
        if tau is None:
            self.define("rnla_decision", text)
        else:
            self.lines.append(f"drnla_decision/dt = ({text} - rnla_decision)/({tau}) : 1")

    def supplied(self) -> tuple[bool, bool]:
        """Declare constants, and what the engine sets at every step where it is used: ``chance`` and ``t_trial``."""
        spec = self.spec
        words = set(_words(" ".join((spec.threshold or "", *spec.group.values()))))
        words |= {word for text in (spec.equations, spec.reset) for line in text.splitlines() for word in _words(line)}
        draws, timed = "chance" in words, "t_trial" in words
        self.lines += [f"{name} : 1 (constant)" for name in spec.constants]
        self.lines += ["chance : 1"] * draws + ["t_trial : second (linked)"] * timed
        return draws, timed

    def result(self, at_once: bool) -> NeuronStrings:
        tau, process = None, None
        draws, timed = self.supplied()
        if self.kind == "input":
            self.lines.append("x : 1")
            past = self.past()
        else:
            self.rate_function()
            self.reductions()
            process, past = self.process(), self.past()
            tau = self.equilibrium(process, past) if at_once else None
        if self.kind == "action":
            self.decision()
        return NeuronStrings("\n".join(self.lines), self.uses, past, process, tau, draws, timed)


def reduction(text: str, where: str) -> tuple[str, str]:
    """Split ``softmax(g*u)`` into its kind and its argument."""
    call = split_call(text, where)
    assert call is not None, "the loader has checked it"
    return call[0], call[1][0]


def neuron_strings(
    model: ModelSpec, chain: Sequence[Population], links: Sequence[Projection], number: int, at_once: bool
) -> NeuronStrings:
    """Complete the equations of the neurons of a population.

    Args:
        model: The model.
        chain: All populations.
        links: All projections.
        number: Which population.
        at_once: The model is proven prospective, so that its voltages follow a jump at once.
    """
    kind = chain[number].kind
    received: dict[str, list[str]] = {}
    for k, link in enumerate(links):
        if chain[link.post].kind == kind:  # one of the same kind may get what this one does not
            for name in link.sums:
                received.setdefault(name, [])
                if link.post == number:
                    received[name] += parts_of(links, k, name)
    fed_back = sums(model, "pre") if kind == "hidden" else []
    return _Neuron(model, kind, chain[number].size, received, fed_back).result(at_once)


def parts_of(links: Sequence[Projection], number: int, name: str) -> list[str]:
    """Names of the variables into which a projection sums, one for the weights and one for the bias unit's."""
    link = links[number]
    prefix = f"{name}_" if link.section.startswith("synapse") else f"rnla_{name}_{link.name}_"
    return [f"{prefix}weights", *([f"{prefix}bias"] if link.bias else [])]


def sums(model: ModelSpec, side: str) -> list[str]:
    """Names of the summed variables of the chain on the ``post`` or ``pre`` side."""
    return [name.removesuffix(f"_{side}") for name in model.sums if name.endswith(f"_{side}")]


def summand(model: ModelSpec, spec: SynapseSpec, name: str, text: str, tau: str | None) -> str:
    """What one synapse adds to a sum, whose text in the file is `text`.

    Where the weight of a prospective model has an ODE, the input current also gets the term
    tau (dw/dt) rbar, so that the voltage follows the weight at once (SCIENCE 1, the moving equilibrium for
    plastic weights).
    """
    roles = model.roles
    change = split_equations(spec.equations, f"{model.path.name}: [synapse]").get(roles["weight"])
    if tau is not None and change is not None and change.is_ode and name == roles["current"]:
        return f"{text} + ({tau})*({change.text})*{roles['rate']}_pre"
    return text


def synapse_equations(
    model: ModelSpec, spec: SynapseSpec, where: str, linked: Mapping[str, str], added: Iterable[str]
) -> str:
    """Complete the equations of a projection type.

    Args:
        model: The model.
        spec: The projection type.
        where: Section, for messages.
        linked: Names that the neuromodulators and the engine supply, with their units.
        added: Lines of the summed variables.
    """
    text = [*lines(spec.equations, where, " (clock-driven)"), *added]
    names = split_equations(spec.equations, where)
    used = set().union(*(identifiers(eq.text, where) for eq in names.values()))
    for event in spec.on_event.values():
        used |= {word for line in event.splitlines() for word in _words(line)}
    text += [f"{name} : {unit} (linked)" for name, unit in linked.items() if name in used]
    if model.roles["weight"] not in names:
        text.append(f"{model.roles['weight']} : 1")
    return "\n".join(text)


def _words(line: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in line.split("#", 1)[0]).split()


def reduction_sums(name: str, kind: str, single: bool = False) -> dict[str, str]:
    """The sums over all pairs of action neurons that make a reduction: target variable -> summand.

    A softmax is 1/sum_j exp(x_j - x_i), which cannot overflow where it matters; a maximum is the value of
    the neuron that no other one exceeds (the first of equals). `single`: in float32.
    """
    x, total, rank = f"rnla_{name}_of", f"rnla_{name}_sum_post", f"rnla_{name}_rank"
    if kind == "softmax":
        bound = _LARGEST_EXPONENT_FLOAT32 if single else _LARGEST_EXPONENT
        return {total: f"exp(clip({x}_pre - {x}_post, -{bound}, {bound}))"}
    if kind == "max":
        larger = f"int({x}_pre > {x}_post) + int({x}_pre == {x}_post)*int(i < j)"
        return {f"{rank}_post": larger, total: f"int({rank}_pre == 0)*{x}_pre"}
    return {total: f"{x}_pre"}


def constant(text: str, where: str, values: Mapping[str, Any]) -> float:
    """Evaluate an expression of known values."""
    names = {name: sp.Float(value, 30) for name, value in values.items()}
    return float(parse(text, where, names).evalf(25))
