"""Turns the strings of a model file into complete Brian2 equations, in the explicit form that is stable.

The file's lines stand in the result as they are. What Brian2 cannot know is added around them, and
nothing else: the summed variables, the derivative of the rate function, the reductions over the action
layer as sums over synapses, and the past values that ``…_prev`` names. Names that start with ``rnla_`` are
ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.equations import Equation, split_equations
from rnla_neuro.spec.expressions import identifiers, parse, split_call
from rnla_neuro.spec.model import ModelSpec, NeuronSpec, SynapseSpec
from rnla_neuro.spec.proof import Scope, derivative, symbol

#: A summed variable or a reduction: layer (0 is the input) and name.
Node = tuple[int, str]
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
    """

    equations: str
    uses: Mapping[str, frozenset[str]]
    past: tuple[str, ...]
    process: str | None
    tau: str | None


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
    return [f"{eq.left} = {eq.text} : {eq.unit}{ode_flag * eq.is_ode}" for eq in equations]


class _Neuron:
    """Collects the lines of one neuron type."""

    def __init__(self, model: ModelSpec, kind: str, received: Iterable[str], fed_back: Iterable[str]):
        self.model, self.kind, self.roles = model, kind, model.roles
        self.file = model.path.name
        self.where = f"{self.file}: [neuron.{kind}] equations"
        self.spec: NeuronSpec = getattr(model, kind)
        self.own: dict[str, Equation] = split_equations(self.spec.equations, self.where)
        self.lines = lines(self.spec.equations, self.where)
        self.uses = {eq.name: self.names(eq.text) for eq in self.own.values() if not eq.is_ode}
        for name in received:
            self.define(name, f"{name}_weights + {name}_bias")
            self.lines += [f"{name}_weights : 1", f"{name}_bias : 1"]
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
            formula = {"softmax": "1/{}", "mean": "{}/n", "sum": "1*{}", "max": "1*{}"}[kind]
            self.define(name, formula.format(f"rnla_{name}_sum"))

    def process(self) -> str | None:
        """Declare what the exploration law sets: the noise in the voltage, or the file's own current."""
        noise = self.roles.get("noise")
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
        where = f"{self.file}: [exploration] decision"
        call = split_call(self.model.exploration.decision, where)
        assert call is not None, "the loader has checked it"
        inner = split_call(call[1][0], where)
        if inner is not None and inner[0] == "lowpass":
            self.lines.append(f"drnla_decision/dt = ({inner[1][0]} - rnla_decision)/({inner[1][1]}) : 1")
        else:
            self.define("rnla_decision", call[1][0])

    def result(self, at_once: bool) -> NeuronStrings:
        tau, process = None, None
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
        return NeuronStrings("\n".join(self.lines), self.uses, past, process, tau)


def reduction(text: str, where: str) -> tuple[str, str]:
    """Split ``softmax(g*u)`` into its kind and its argument."""
    call = split_call(text, where)
    assert call is not None, "the loader has checked it"
    return call[0], call[1][0]


def neuron_strings(model: ModelSpec, kind: str, at_once: bool) -> NeuronStrings:
    """Complete the equations of a neuron type.

    Args:
        model: The model.
        kind: ``input``, ``hidden`` or ``action``.
        at_once: The model is proven prospective, so that its voltages follow a jump at once.
    """
    received = [] if kind == "input" else sums(model, "post")
    return _Neuron(model, kind, received, sums(model, "pre") if kind == "hidden" else []).result(at_once)


def sums(model: ModelSpec, side: str) -> list[str]:
    """Names of the summed variables on the ``post`` or ``pre`` side."""
    return [name.removesuffix(f"_{side}") for name in model.sums if name.endswith(f"_{side}")]


def summand(model: ModelSpec, spec: SynapseSpec, name: str, tau: str | None) -> str:
    """What one synapse adds to a sum.

    Where the weight of a prospective model has an ODE, the input current also gets the term
    tau (dw/dt) rbar, so that the voltage follows the weight at once (SCIENCE 1, the moving equilibrium for
    plastic weights).
    """
    text, roles = model.sums[name], model.roles
    change = split_equations(spec.equations, f"{model.path.name}: [synapse]").get(roles["weight"])
    if tau is not None and change is not None and change.is_ode and name == f"{roles['current']}_post":
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


def update_order(model: ModelSpec, layers: Sequence[NeuronStrings]) -> tuple[list[Node], set[Node]]:
    """Order all sums so that each is formed after those it needs: no latency from layer to layer.

    Returns:
        The order, and those that wait for the noise and the input of the next step (the input current and
        what depends on it); all others are functions of the voltages.

    Raises:
        BackendError: Some sums need each other.
    """
    last = len(layers) - 1
    needs: dict[Node, list[Node]] = {}
    for level in range(1, last + 1):
        for name in sums(model, "post"):
            needs[level, name] = _ends(model.sums[f"{name}_post"], level - 1, level)
    for level in range(1, last):
        for name in sums(model, "pre"):
            needs[level, name] = _ends(model.sums[f"{name}_pre"], level, level + 1)
    for name in model.action.group:
        needs[last, name] = [(last, f"rnla_{name}_of")]

    def expand(node: Node, seen: set[Node]) -> set[Node]:
        if node in needs:
            return {node}
        if node in seen:
            return set()
        seen.add(node)
        level, name = node
        return set().union(*(expand((level, used), seen) for used in layers[level].uses.get(name, ())))

    graph = {node: set().union(*(expand(end, set()) for end in ends)) for node, ends in needs.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(f"{name} of layer {level}" for level, name in error.args[1])
        raise BackendError(
            f"to_brian2 cannot run {model.path.name}: these sums need each other: {circle}; "
            "the explicit form passes errors directly from layer to layer"
        ) from None
    late: set[Node] = set()
    for node in order:
        if node[1] == model.roles["current"] or graph[node] & late:
            late.add(node)
    return order, late


def _ends(text: str, pre: int, post: int) -> list[Node]:
    found: list[Node] = []
    for name in sorted(identifiers(text, "sums")):
        base, _, side = name.rpartition("_")
        if side in ("pre", "post"):
            found.append((pre if side == "pre" else post, base))
    return found


def constant(text: str, where: str, values: Mapping[str, Any]) -> float:
    """Evaluate an expression of known values."""
    names = {name: sp.Float(value, 30) for name, value in values.items()}
    return float(parse(text, where, names).evalf(25))
