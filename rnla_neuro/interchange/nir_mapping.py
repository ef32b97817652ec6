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
from rnla_neuro.spec.equations import split_statements
from rnla_neuro.spec.expressions import parse, split_call
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.proof import equal, symbol
from rnla_neuro.spec.sections import Filter, Membrane, NotOfThisForm, Section

_THRESHOLD = re.compile(r"^(?P<left>.+?)(?P<sign>>=?)(?P<right>[^>=]+)$")


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
        except (NotOfThisForm, ModelError) as no:
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
        raise NotOfThisForm(f"it has {' and '.join(beside)} beside the chain of layers")
    current = f"{model.roles['current']}_post"
    text, expected = model.sums.get(current, ""), f"w*{model.roles['rate']}_pre"
    weight = model.roles["weight"]
    if not text or not equal(parse(text, "sums", symbol), parse(expected.replace("w", weight, 1), "sums", symbol)):
        raise NotOfThisForm(f"[synapse.sums] {current} = {text!r}: {expected!r} is needed")


def _input(model: ModelSpec) -> Filter:
    section = Section(model, "input", model.input)
    rate = model.roles["rate"]
    if model.input.threshold:
        return section.filter(rate)
    x = symbol("x")
    expression = sp.expand(section.written_out(rate))
    gain = sp.diff(expression, x)
    if expression.free_symbols - {x} or not gain.is_number:
        raise NotOfThisForm(f"[neuron.input] {rate} = {section.equations[rate].text}: it is not linear in x")
    return Filter(float(expression.xreplace({x: sp.Integer(0)})), float(gain))


def _hidden(model: ModelSpec) -> tuple[Membrane, float, float]:
    """Return membrane, threshold and reset of a hidden neuron."""
    section = Section(model, "hidden", model.hidden)
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
    except NotOfThisForm as no:
        reasons.append(str(no))
    try:
        membrane = section.membrane(name, model.roles["current"])
        threshold = 0.0 if reasons or match is None else section.constant(match["right"], "threshold")
    except NotOfThisForm as no:
        reasons.append(str(no))
    if reasons:
        raise NotOfThisForm("\n".join(reasons))
    return membrane, threshold, reset


def _voltage_of(section: Section) -> str:
    """Return the variable of state that a spike sets, or else the model's voltage."""
    changed = [s.name for s in split_statements(section.spec.reset, section.where)]
    states = [name for name in changed if name in section.equations and section.equations[name].is_ode]
    return states[0] if states else section.model.roles["voltage"]


def _reset(section: Section, name: str) -> float:
    for statement in split_statements(section.spec.reset, section.where):
        if statement.name != name:
            continue
        if statement.op != "=":
            raise NotOfThisForm(
                f"{section.where} reset {str(statement)!r}: NIR sets the voltage to a constant at a spike"
            )
        return section.constant(statement.text, "reset")
    raise NotOfThisForm(f"{section.where} reset: nothing is done to {name}, which NIR sets to a constant at a spike")


def _transmitted(model: ModelSpec) -> Filter:
    return Section(model, "hidden", model.hidden).filter(model.roles["rate"])


def _readout(model: ModelSpec) -> tuple[Membrane | None]:
    """Return the membrane whose voltage the decision compares; None: it compares the current."""
    section, decision = Section(model, "action", model.action), model.exploration.decision
    call = split_call(decision, "[exploration] decision")
    text = call[1][0] if call is not None and call[0] == "argmax" else ""
    current, noise = model.roles["current"], model.roles.get("noise", "noise")
    lowpass = split_call(text, "[exploration] decision") if text else None
    where = f"[exploration] decision = {decision!r}"
    if lowpass is not None or not text:
        raise NotOfThisForm(
            f"{where}: the graph ends with the voltage of the action layer, 'argmax(u)', or its current"
        )
    if text == current:
        return (None,)
    if text not in section.equations or not section.equations[text].is_ode:
        raise NotOfThisForm(f"{where}: {text} is no voltage with an equation of its own")
    return (section.membrane(text, current, silent=(noise, "noise")),)
