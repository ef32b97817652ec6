"""Supervised learning on the network of a model: the action layer is nudged towards a target.

Real-time error backpropagation without phases (the poster's reference 4; Senn et al. 2024, eLife 89674): the
error of the action layer is ``ebar = beta*(target - rbar)``, and everything else stays as it is: errors travel
down through the network while its input runs, the eligibility trace collects error times presynaptic rate,
and a teaching event turns it into a change of the weights.
"""

from __future__ import annotations

import tomllib
from itertools import permutations
from typing import Any

import sympy as sp
import tomli_w

from rnla_neuro.errors import BackendError, ModelError
from rnla_neuro.spec.equations import Equation, split_equations, split_statements
from rnla_neuro.spec.expressions import identifiers, parse, split_call
from rnla_neuro.spec.folding import fold
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.perturbation import drop_unread
from rnla_neuro.spec.proof import symbol
from rnla_neuro.spec.units import check_units_cached

#: The channel whose events teach; in other learners they are rewards.
CHANNEL = "reward"
#: The parameter that says how much time is between two teaching events, where targets vary in time.
LESSON = "lesson"
_LESSON_DEFAULT = "10*ms"
_BELIEF = "belief"  # the policy at the present voltage


class _Rewriter:
    """Rewrites one model; `data` is its TOML."""

    def __init__(self, model: ModelSpec, varying: bool) -> None:
        self.model, self.roles, self.varying = model, model.roles, varying
        self.file = model.path.name
        self.data: dict[str, Any] = tomllib.loads(model.text)
        self.action: dict[str, Any] = self.data["neuron"]["action"]

    def refuse(self, where: str, reason: str) -> BackendError:
        return BackendError(f"learner 'supervised' cannot use {self.file}: {where}: {reason}")

    # ---- what the error is proportional to ---------------------------------------------------------
    def strength(self) -> str | None:
        """Return the parameter that the error is proportional to and the weight change is divided by, if any."""
        name = self.roles["error"]
        where = f"{self.file}: [neuron.action] equations"
        equation = split_equations(self.action["equations"], where).get(name)
        nudging = parse(equation.text, where, symbol) if equation is not None else sp.Integer(0)
        gains = self._gains()
        found = []
        for candidate in self.model.parameters:
            parameter = symbol(candidate)
            slope = sp.diff(nudging, parameter)
            linear = slope != 0 and parameter not in slope.free_symbols
            if not linear or sp.expand(nudging - parameter * slope) != 0:
                continue
            if all(parameter not in sp.simplify(gain * parameter).free_symbols for gain in gains):
                found.append(candidate)
        return found[0] if len(found) == 1 else None

    def winner(self) -> str:
        """Return the softmax that nudges, where the nudging is the difference of two, in the error or the voltage.

        Raises:
            BackendError: There is none.
        """
        where = f"{self.file}: [neuron.action] equations"
        equations = split_equations(self.action["equations"], where)
        softmaxes = [n for n, text in self.action.get("group", {}).items() if text.strip().startswith("softmax")]
        for role in ("error", "voltage") if not self.varying else ():
            right = parse(equations[self.roles[role]].text, where, symbol)
            for sharp, soft in permutations(softmaxes, 2):
                slope = sp.diff(right, symbol(sharp))
                opposite = slope != 0 and sp.expand(slope + sp.diff(right, symbol(soft))) == 0
                if opposite and not slope.could_extract_minus_sign():
                    return str(sharp)
        raise self.refuse(
            f"[neuron.action] equations, {self.roles['error']}",
            "expected a nudging proportional to one parameter (such as beta) by which the weight change is divided"
            + ("" if self.varying else ", or the difference of two softmaxes"),
        )

    def _gains(self) -> list[sp.Expr]:
        """Return what the eligibility trace of the action layer is multiplied with in weight changes."""
        synapse, weight, trace = self.data["synapse"]["action"], self.roles["weight"], self.roles["eligibility"]
        where = f"{self.file}: [synapse.action]"
        texts = [
            statement.text
            for event in synapse.get("on_event", {}).values()
            for statement in split_statements(event, where)
            if statement.name == weight
        ]
        texts += [eq.text for name, eq in split_equations(synapse["equations"], where).items() if name == weight]
        return [sp.diff(parse(text, where, symbol), symbol(trace)) for text in texts]

    # ---- the action layer ----------------------------------------------------------------------------
    def nudge(self) -> None:
        """Nudge the action layer towards its target, and let it not explore."""
        where = f"{self.file}: [neuron.action] equations"
        error, rate, strength = self.roles["error"], self.roles["rate"], self.strength()
        told = {} if strength else {self.winner(): "target"}
        nudging = f"{strength}*(target - {rate if self.varying else self._belief()})" if strength else ""
        equations = split_equations(self.action["equations"], where)
        zeros = self._silenced(equations, where)
        lines = []
        for name, equation in equations.items():
            text = None
            if name not in zeros:
                text = fold(equation.text, frozenset(zeros), where, told if name != rate else None)
            if name == error and nudging:
                text = nudging
            elif name == rate and self.varying:
                text = self.roles["voltage"]
            if text is not None:
                lines.append(f"{equation.left} = {text} : {equation.unit}")
        self.action["equations"] = "\n".join(lines) + "\n"
        if self.varying:
            self.action.pop("phi", None)
        groups = self.action.get("group", {})
        for name, text in groups.items():
            groups[name] = fold(text, frozenset(zeros), f"{self.file}: [neuron.action] group.{name}")
        synapse = self.data["synapse"]["action"]
        after = frozenset(f"{name}_post" for name in zeros)
        synapse["equations"] = self._folded(synapse["equations"], after, f"{self.file}: [synapse.action] equations")
        exploration = self.data["exploration"]
        self.data["exploration"] = {
            "law": "none",
            "policy": exploration["policy"],
            "decision": f"argmax({self.roles['voltage']})" if self.varying else exploration["decision"],
        }
        self.data["roles"].pop("noise", None)

    def _silenced(self, equations: dict[str, Equation], where: str) -> set[str]:
        """Return the variables of the action layer that are 0 without exploration."""
        noise = self.roles.get("noise")
        zeros = {"noise"} | ({noise, f"{noise}_prev"} if noise else set())
        while True:
            more = {
                name
                for name, equation in equations.items()
                if name not in zeros
                and name != self.roles["error"]
                and not (equation.is_ode and name != noise)
                and fold(equation.text, frozenset(zeros), where) is None
            }
            if not more:
                return zeros
            zeros |= more | {f"{name}_prev" for name in more}

    def _belief(self) -> str:
        """Add the policy at the present voltage as a reduction: its cross-entropy with the target is what falls."""
        where = f"{self.file}: [exploration] policy"
        call = split_call(self.model.exploration.policy, where)
        assert call is not None, "the loader has checked it"
        if not identifiers(call[1][0], where) & {self.roles.get("drive", ""), self.roles["current"]}:
            raise self.refuse("[exploration] policy", "expected softmax(f(drive))")
        of_voltage = {
            self.roles[role]: self.roles["voltage"] for role in ("drive", "current") if role in self.roles
        }
        argument = fold(call[1][0], frozenset(), where, of_voltage)
        self.action.setdefault("group", {})[_BELIEF] = f"{call[0]}({argument})"
        return _BELIEF

    def _folded(self, equations: str, zeros: frozenset[str], where: str) -> str:
        lines = []
        for equation in split_equations(equations, where).values():
            text = fold(equation.text, zeros, where)
            if text is not None:
                lines.append(f"{equation.left} = {text} : {equation.unit}")
        return "\n".join(lines) + "\n"

    # ---- plasticity ----------------------------------------------------------------------------------
    def learn_by_error_alone(self) -> None:
        """Leave of the plasticity what the eligibility trace drives; homeostasis is for surprise."""
        for part in ("hidden", "action"):
            synapse = self.data["synapse"][part]
            where = f"{self.file}: [synapse.{part}]"
            equations = split_equations(synapse["equations"], where)
            needed, weight = {self.roles["eligibility"]}, self.roles["weight"]
            while True:
                read = set().union(*(identifiers(equations[name].text, where) for name in needed))
                if read & set(equations) - {weight} <= needed:
                    break
                needed |= read & set(equations) - {weight}
            gone = frozenset(set(equations) - needed - {weight})
            kept = "\n".join(f"{e.left} = {e.text} : {e.unit}" for n, e in equations.items() if n not in gone)
            synapse["equations"] = self._folded(kept, gone, where)
            events = synapse.get("on_event", {})
            for channel in list(events):
                statements = split_statements(events[channel], f"{where} on_event.{channel}")
                lines = [
                    f"{s.name} {s.op} {text}"
                    for s in statements
                    if s.name not in gone and (text := fold(s.text, gone, where)) is not None
                ]
                events[channel] = "\n".join(lines) + "\n"
                if not lines:
                    del events[channel]

    def teach(self) -> None:
        """Let an event of the channel that carries rewards be worth 1, whatever was done and expected."""
        where = f"[neuromodulator.{CHANNEL}]"
        table = self.data["neuromodulator"].get(CHANNEL)
        if table is None:
            raise self.refuse(where, "the section is missing; its events are what teaches")
        own = split_equations(table.get("equations", ""), f"{self.file}: {where}")
        expected = frozenset(set(table.get("initial", {})) - set(own))
        lines = []
        for statement in split_statements(table["on_event"], f"{self.file}: {where} on_event"):
            if statement.name in expected:
                continue
            worth = f"{LESSON}/T" if self.varying else "1"
            text = fold(statement.text, expected, f"{self.file}: {where} on_event", {"R": worth})
            if text is not None:
                lines.append(f"{statement.name} {statement.op} {text}")
        if not lines:
            raise self.refuse(f"{where} on_event", "nothing is left of it without the expected reward")
        table["on_event"] = "\n".join(lines) + "\n"
        table["initial"] = {name: text for name, text in table.get("initial", {}).items() if name in own}
        if not table["initial"]:
            del table["initial"]

    def run_on(self) -> None:
        """Learn for as long as the input runs, at regular intervals."""
        if LESSON in self.data["parameters"]:
            raise self.refuse("[parameters]", f"{LESSON!r} is what the time between two teaching events is called")
        self.data["parameters"][LESSON] = _LESSON_DEFAULT
        trial = self.data["trial"]
        trial["ramp"] = "0*ms"
        if "gate" in trial:
            trial["gate"] = trial["decision"]

    def result(self) -> ModelSpec:
        if self.model.kind != "rate":
            raise self.refuse("[model] kind", f"{self.model.kind!r}: allowed is 'rate'")
        self.nudge()
        self.learn_by_error_alone()
        self.teach()
        if self.varying:
            self.run_on()
        head = self.data["model"]
        head["name"] = f"{self.model.name}_supervised"
        head["summary"] = f"{self.model.summary}; nudged towards a target instead of by itself"
        drop_unread(self.data)
        text = tomli_w.dumps(self.data, multiline_strings=True)
        model = parse_model(text, self.model.path, self.model.overrides)
        check_units_cached(model)
        return model


def as_supervised(model: ModelSpec, varying: bool = False) -> ModelSpec:
    """Nudge a model's action layer towards a target; a model that is told one already stays as it is.

    Static targets (a one-hot vector for the right action): ``ebar = beta*(target - softmax(f(u)))``, with the
    softmax of the model's own policy, so that the cross-entropy falls; a teaching event comes with each decision. Where
    the error has no strength, and the nudging is the difference of two softmaxes, the target replaces the sharp one.
    Targets that vary in time: the action layer is linear, ``rbar = u``, and ``ebar = beta*(target - rbar)``, so
    that half the squared error falls; eligibility is collected all the time, and teaching events come every
    `LESSON` (a parameter), each worth ``lesson/T``. There is no exploration and no homeostasis; neurons, traces,
    and learning rates stay.

    Raises:
        BackendError: It is no rate model, its nudging is of another kind, or its policy is no softmax of the drive.
    """
    if model.takes_target:
        return model
    try:
        return _Rewriter(model, varying).result()
    except ModelError as error:
        raise BackendError(f"learner 'supervised' cannot use {model.path.name}: {error}") from None
