"""Whether a spiking model's neurons are those that NIR knows, by its own strings: constants, or the reasons why not.

NIR's neurons are linear in their voltage and input, spike where the voltage passes a constant, and are set to a
constant then (Pedersen et al. 2024, Nature Communications 15:8122). What a spike does to synapses is another low-pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import sympy as sp

from rnla_neuro.errors import BackendError, ModelError
from rnla_neuro.spec.equations import Equation, split_equations, split_statements
from rnla_neuro.spec.expressions import parse, split_call
from rnla_neuro.spec.model import ModelSpec, NeuronSpec
from rnla_neuro.spec.proof import equal, symbol

_THRESHOLD = re.compile(r"^(?P<left>.+?)(?P<sign>>=?)(?P<right>[^>=]+)$")


@dataclass(frozen=True)
class Membrane:
    """``tau dv/dt = v_leak - v + r I``, or ``dv/dt = r I`` where `tau` is None."""

    tau: float | None
    r: float
    v_leak: float


@dataclass(frozen=True)
class Filter:
    """What is transmitted: ``offset + gain*s`` with ``ds/dt = -s/tau``, and ``s += jump`` at a spike.

    Where `tau` is None, `s` is the input value itself.
    """

    offset: float
    gain: float
    tau: float | None = None
    jump: float = 0.0


@dataclass(frozen=True)
class NirMapping:
    """A model in NIR's words.

    Attributes:
        input: What the input transmits.
        hidden: Membrane of a hidden neuron.
        threshold: Voltage at which it spikes.
        reset: Voltage that it is set to.
        transmitted: What it transmits.
        readout: Membrane of the action layer whose voltage is the decision's argument; None: the current itself.
        left_out: What the graph has not, since it is no part of a greedy decision.
    """

    input: Filter
    hidden: Membrane
    threshold: float
    reset: float
    transmitted: Filter
    readout: Membrane | None
    left_out: tuple[str, ...]


class _No(Exception):
    """A reason why a piece of the model does not map."""


class _Section:
    """One neuron type: its equations, written out to variables of state, sums and parameters by value."""

    def __init__(self, model: ModelSpec, name: str, spec: NeuronSpec) -> None:
        self.model, self.name, self.spec = model, name, spec
        self.where = f"[neuron.{name}]"
        self.equations: dict[str, Equation] = split_equations(spec.equations, self.where)
        known = {n: p.value for n, p in model.parameters.items()}
        self.known = known | {"T": model.trial.duration, "dt": model.trial.dt}

    def written_out(self, text: str) -> sp.Expr:
        """Return an expression without algebraic variables and parameters."""
        expression = parse(text, self.where, symbol)
        for _ in range(len(self.equations) + 1):
            algebraic = {
                s: parse(self.equations[s.name].text, self.where, symbol)
                for s in expression.free_symbols
                if s.name in self.equations and not self.equations[s.name].is_ode
            }
            if not algebraic:
                break
            expression = expression.xreplace(algebraic)
        return expression.xreplace({symbol(n): sp.Float(v, 17) for n, v in self.known.items()})

    def constant(self, text: str, what: str) -> float:
        """Return the value of an expression of parameters."""
        value = self.written_out(text)
        if not value.is_number:
            names = ", ".join(sorted(s.name for s in value.free_symbols))
            raise _No(f"{self.where} {what}: {text.strip()!r} is not a constant (it needs {names})")
        return float(value)

    def membrane(self, name: str, current: str, silent: tuple[str, ...] = ()) -> Membrane:
        """Return the membrane of a voltage; symbols of `silent` are 0."""
        line = self.equations[name]
        u, i = symbol(name), symbol(current)
        rate = sp.expand(self.written_out(line.text).xreplace({symbol(s): sp.Integer(0) for s in silent}))
        foreign = rate.free_symbols - {u, i}
        if foreign:
            names = ", ".join(sorted(s.name for s in foreign))
            raise _No(f"{self.where} d{name}/dt = {line.text}: it needs {names}, and a neuron of NIR its input alone")
        leak, gain = sp.diff(rate, u), sp.diff(rate, i)
        if not (leak.is_number and gain.is_number):
            raise _No(f"{self.where} d{name}/dt = {line.text}: it is not linear in {name} and {current}, as in NIR")
        rest, leak_, gain_ = float(rate.xreplace({u: sp.Integer(0), i: sp.Integer(0)})), float(leak), float(gain)
        if leak_ == 0.0:
            if rest:
                raise _No(f"{self.where} d{name}/dt = {line.text}: NIR's IF has no constant current")
            return Membrane(None, gain_, 0.0)
        tau = -1.0 / leak_
        return Membrane(tau, gain_ * tau, rest * tau)

    def filter(self, variable: str) -> Filter:
        """Return what a variable transmits of the neuron's own spikes."""
        line = self.equations.get(variable)
        expression = sp.expand(self.written_out(variable))
        state = [s.name for s in expression.free_symbols]
        text = "" if line is None else f" = {line.text}"
        if len(state) != 1 or state[0] not in self.equations:
            raise _No(f"{self.where} {variable}{text}: it is not a low-pass of the neuron's spikes")
        s = symbol(state[0])
        gain, offset = sp.diff(expression, s), expression.xreplace({s: sp.Integer(0)})
        slope = sp.diff(sp.expand(self.written_out(self.equations[s.name].text)), s)
        decay = equal(self.written_out(self.equations[s.name].text), slope * s)
        jumps = [one for one in split_statements(self.spec.reset, self.where) if one.name == s.name]
        if not gain.is_number or not slope.is_number or not decay or slope >= 0:
            raise _No(f"{self.where} {variable}{text}: it is not a low-pass of the neuron's spikes, linear in {s.name}")
        if len(jumps) != 1 or jumps[0].op != "+=":
            raise _No(f"{self.where} reset: a spike must add a constant to {s.name}, once")
        jump = self.constant(jumps[0].text, "reset")
        return Filter(float(offset), float(gain), float(-1 / slope), jump)


def map_to_nir(model: ModelSpec) -> NirMapping:
    """Say a model in NIR's words.

    Raises:
        BackendError: It does not map; all reasons are named.
    """
    if model.kind != "spiking":
        raise _refusal(model, [f"it is of kind {model.kind!r}: NIR's networks spike"])
    reasons: list[str] = []

    def tried[T](step: Callable[[ModelSpec], T]) -> T | None:
        try:
            return step(model)
        except (_No, ModelError) as no:
            reasons.extend(str(no).split("\n"))
            return None

    tried(_sums)
    sent, hidden, transmitted = tried(_input), tried(_hidden), tried(_transmitted)
    readout = tried(_readout)
    if reasons or sent is None or hidden is None or transmitted is None or readout is None:
        raise _refusal(model, list(dict.fromkeys(reasons)))
    left_out = ["learning: traces, neuromodulators, errors", "exploration", "spikes of the action layer"]
    if sent.tau is not None:
        left_out.append("what makes the input spike: the graph's input are its spikes")
    membrane, threshold, reset = hidden
    return NirMapping(sent, membrane, threshold, reset, transmitted, readout[0], tuple(left_out))


def _refusal(model: ModelSpec, reasons: list[str]) -> BackendError:
    return BackendError(f"model {model.name!r} cannot be said in NIR: {'; '.join(reasons)}")


def _sums(model: ModelSpec) -> None:
    """Refuse other sums than w*rbar, and populations beside the chain."""
    beside = [name for name in ("interneuron", "projections") if getattr(model, name, None)]
    if beside:
        raise _No(f"it has {' and '.join(beside)} beside the chain of layers")
    current = f"{model.roles['current']}_post"
    text, expected = model.sums.get(current, ""), f"w*{model.roles['rate']}_pre"
    weight = model.roles["weight"]
    if not text or not equal(parse(text, "sums", symbol), parse(expected.replace("w", weight, 1), "sums", symbol)):
        raise _No(f"[synapse.sums] {current} = {text!r}: {expected!r} is needed")


def _input(model: ModelSpec) -> Filter:
    section = _Section(model, "input", model.input)
    rate = model.roles["rate"]
    if model.input.threshold:
        return section.filter(rate)
    x = symbol("x")
    expression = sp.expand(section.written_out(rate))
    gain = sp.diff(expression, x)
    if expression.free_symbols - {x} or not gain.is_number:
        raise _No(f"[neuron.input] {rate} = {section.equations[rate].text}: it is not linear in x")
    return Filter(float(expression.xreplace({x: sp.Integer(0)})), float(gain))


def _hidden(model: ModelSpec) -> tuple[Membrane, float, float]:
    """Return membrane, threshold and reset of a hidden neuron."""
    section = _Section(model, "hidden", model.hidden)
    reasons: list[str] = []
    where, text = section.where, model.hidden.threshold or ""
    if model.hidden.refractory:
        reasons.append(f"{where} refractory = {model.hidden.refractory!r}: NIR has no refractory time")
    match = _THRESHOLD.match(text.strip())
    name = match["left"].strip() if match else ""
    if "chance" in text:
        reasons.append(f"{where} threshold = {text!r}: NIR's thresholds are not random")
    elif name not in section.equations or not section.equations[name].is_ode:
        reasons.append(f"{where} threshold = {text!r}: a voltage above a constant is needed, such as 'u >= 1'")
    reset = threshold = 0.0
    membrane = Membrane(None, 1.0, 0.0)
    name = name if name in section.equations else _voltage_of(section)
    try:
        reset = _reset(section, name)
    except _No as no:
        reasons.append(str(no))
    try:
        membrane = section.membrane(name, model.roles["current"])
        threshold = 0.0 if reasons or match is None else section.constant(match["right"], "threshold")
    except _No as no:
        reasons.append(str(no))
    if reasons:
        raise _No("\n".join(reasons))
    return membrane, threshold, reset


def _voltage_of(section: _Section) -> str:
    """Return the variable of state that a spike sets, or else the model's voltage."""
    changed = [s.name for s in split_statements(section.spec.reset, section.where)]
    states = [name for name in changed if name in section.equations and section.equations[name].is_ode]
    return states[0] if states else section.model.roles["voltage"]


def _reset(section: _Section, name: str) -> float:
    for statement in split_statements(section.spec.reset, section.where):
        if statement.name != name:
            continue
        if statement.op != "=":
            raise _No(f"{section.where} reset {str(statement)!r}: NIR sets the voltage to a constant at a spike")
        return section.constant(statement.text, "reset")
    raise _No(f"{section.where} reset: nothing is done to {name}, which NIR sets to a constant at a spike")


def _transmitted(model: ModelSpec) -> Filter:
    return _Section(model, "hidden", model.hidden).filter(model.roles["rate"])


def _readout(model: ModelSpec) -> tuple[Membrane | None]:
    """Return the membrane whose voltage the decision compares; None: it compares the current."""
    section, decision = _Section(model, "action", model.action), model.exploration.decision
    call = split_call(decision, "[exploration] decision")
    text = call[1][0] if call is not None and call[0] == "argmax" else ""
    current, noise = model.roles["current"], model.roles.get("noise", "noise")
    lowpass = split_call(text, "[exploration] decision") if text else None
    where = f"[exploration] decision = {decision!r}"
    if lowpass is not None or not text:
        raise _No(f"{where}: the graph ends with the voltage of the action layer, 'argmax(u)', or its current")
    if text == current:
        return (None,)
    if text not in section.equations or not section.equations[text].is_ode:
        raise _No(f"{where}: {text} is no voltage with an equation of its own")
    return (section.membrane(text, current, silent=(noise, "noise")),)
