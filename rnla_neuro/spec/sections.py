"""One neuron type of a model as linear parts: membranes, and low-passes of its own spikes."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from rnla_neuro.spec.equations import Equation, split_equations, split_statements
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.model import ModelSpec, NeuronSpec
from rnla_neuro.spec.proof import equal, symbol


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


class NotOfThisForm(Exception):
    """A reason why a piece of a model is not of the form that was asked for."""


class Section:
    """One neuron type: its equations, written out to variables of state, sums and parameters by value."""

    def __init__(self, model: ModelSpec, name: str, spec: NeuronSpec) -> None:
        self.model, self.name, self.spec = model, name, spec
        self.where = f"[neuron.{name}]"
        self.place = f"{model.path.name}: {self.where}"
        self.equations: dict[str, Equation] = split_equations(spec.equations, self.where)
        known = {n: p.value for n, p in model.parameters.items()}
        self.known = known | {"T": model.trial.duration, "dt": model.trial.dt}

    def written_out(self, text: str) -> sp.Expr:
        """Return an expression without algebraic variables and parameters."""
        expression = parse(text, self.place, symbol)
        for _ in range(len(self.equations) + 1):
            algebraic = {
                s: parse(self.equations[s.name].text, self.place, symbol)
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
            raise NotOfThisForm(f"{self.where} {what}: {text.strip()!r} is not a constant (it needs {names})")
        return float(value)

    def membrane(self, name: str, current: str, silent: tuple[str, ...] = ()) -> Membrane:
        """Return the membrane of a voltage; symbols of `silent` are 0."""
        line = self.equations[name]
        u, i = symbol(name), symbol(current)
        rate = sp.expand(self.written_out(line.text).xreplace({symbol(s): sp.Integer(0) for s in silent}))
        foreign = rate.free_symbols - {u, i}
        if foreign:
            names = ", ".join(sorted(s.name for s in foreign))
            raise NotOfThisForm(f"{self.where} d{name}/dt = {line.text}: it needs {names} beside its own input")
        leak, gain = sp.diff(rate, u), sp.diff(rate, i)
        if not (leak.is_number and gain.is_number):
            raise NotOfThisForm(f"{self.where} d{name}/dt = {line.text}: it is not linear in {name} and {current}")
        rest, leak_, gain_ = float(rate.xreplace({u: sp.Integer(0), i: sp.Integer(0)})), float(leak), float(gain)
        if leak_ == 0.0:
            if rest:
                raise NotOfThisForm(
                    f"{self.where} d{name}/dt = {line.text}: an integrator has no constant current here"
                )
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
            raise NotOfThisForm(f"{self.where} {variable}{text}: it is not a low-pass of the neuron's spikes")
        s = symbol(state[0])
        gain, offset = sp.diff(expression, s), expression.xreplace({s: sp.Integer(0)})
        slope = sp.diff(sp.expand(self.written_out(self.equations[s.name].text)), s)
        decay = equal(self.written_out(self.equations[s.name].text), slope * s)
        jumps = [one for one in split_statements(self.spec.reset, self.where) if one.name == s.name]
        if not gain.is_number or not slope.is_number or not decay or slope >= 0:
            raise NotOfThisForm(
                f"{self.where} {variable}{text}: it is not a low-pass of the neuron's spikes, linear in {s.name}"
            )
        if len(jumps) != 1 or jumps[0].op != "+=":
            raise NotOfThisForm(f"{self.where} reset: a spike must add a constant to {s.name}, once")
        jump = self.constant(jumps[0].text, "reset")
        return Filter(float(offset), float(gain), float(-1 / slope), jump)
