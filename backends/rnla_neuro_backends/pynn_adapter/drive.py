"""What cells take from the model's strings: constants of the membrane, and what its input J is made of.

A cell of PyNN is ``dV/dt = (J - V)/tau (unless refractory)``, a threshold ``V > …``, ``V = …`` at a spike, and a J that
is linear in low-passed spikes of one time constant, in constant currents, and in background spikes. The strings are
compared with that, piece by piece; what differs is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.proof import symbol
from rnla_neuro_backends.general.form import Population
from rnla_neuro_backends.pynn_adapter.course import Host


@dataclass(frozen=True)
class Background:
    """Spikes of a source for each cell, at most one a dt, that ``chance`` draws.

    Attributes:
        probability: Of a spike in a dt.
        jump: What a spike adds to J.
    """

    probability: float
    jump: float


@dataclass
class Drive:
    """What a cell is.

    Attributes:
        tau_m: Membrane time constant, s.
        t_ref: Refractory time, s.
        reset: V after a spike.
        threshold: V of a spike.
        constant: J without any input.
        gain: J for each unit of the summed input I.
        noise: J for each unit of exploration.
        lateral: J for each unit of the summed signal of all cells of the layer: inhibition if below 0.
        own: J for each unit of the cell's own signal.
        lateral_state: The state whose sum that is.
        background: Spikes beside the network's.
        tau_background: Time constant of J after a background spike, s; None: there are none.
    """

    tau_m: float
    t_ref: float
    reset: float
    threshold: float
    constant: float = 0.0
    gain: float = 0.0
    noise: float = 0.0
    lateral: float = 0.0
    own: float = 0.0
    lateral_state: str = ""
    background: Background | None = None
    tau_background: float | None = field(default=None)


def read_drive(host: Host, level: int) -> Drive:
    """Read what a cell of a level is; see the module.

    Raises:
        BackendError: The strings say something that a cell cannot do; the message names it.
    """
    return _Reader(host, level).read()


class _Reader:
    def __init__(self, host: Host, level: int) -> None:
        self.host, self.level, self.kind = host, level, host.kinds[level]
        self.population: Population = host.form.populations[self.kind]
        cells = host.network.model.cells
        assert cells is not None, "the backend has checked it"
        self.membrane = cells.membrane
        self.values = {symbol(n): sp.Float(v, 17) for n, v in host.constants.items()}

    def refuse(self, key: str, reason: str) -> BackendError:
        return BackendError(
            f"backend 'pynn' cannot run {self.host.form.name}: [neuron.{self.kind}] {key}: {reason}. A "
            "cell is dV/dt = (J - V)/tau (unless refractory), threshold 'V > …', reset 'V = …', with J linear in what "
            "it is sent (docs/pynn.md)"
        )

    def number(self, key: str, expr: sp.Expr) -> float:
        value = sp.sympify(expr).xreplace(self.values)
        if not value.is_number:
            names = ", ".join(sorted(s.name for s in value.free_symbols))
            raise self.refuse(key, f"{expr} is not a constant (it needs {names})")
        return float(value)

    def read(self) -> Drive:
        v, population = symbol(self.membrane), self.population
        odes, key = dict(population.odes), f"d{self.membrane}/dt"
        if self.membrane not in odes or population.threshold is None:
            raise self.refuse(key, f"no membrane {self.membrane!r} with a threshold ([pynn] membrane)")
        if self.membrane not in population.resting:
            raise self.refuse(key, "it has to rest after a spike, '(unless refractory)'")
        right = self.host.written_out(self.level, odes[self.membrane])
        leak = self.number(key, sp.diff(right, v))
        if leak >= 0:
            raise self.refuse(key, "no leak: V has to decay")
        drive = Drive(
            tau_m=-1.0 / leak,
            t_ref=population.refractory,
            reset=self.reset(),
            threshold=self.threshold(v),
        )
        self.terms(sp.expand(right.xreplace({v: sp.Integer(0)}) * drive.tau_m), drive)
        return drive

    def threshold(self, v: sp.Symbol) -> float:
        condition = self.population.threshold
        if isinstance(condition, sp.Gt | sp.Ge) and condition.lhs == v:
            return self.number("threshold", condition.rhs)
        if isinstance(condition, sp.Lt | sp.Le) and condition.rhs == v:
            return self.number("threshold", condition.lhs)
        raise self.refuse("threshold", f"{condition} is not 'V > …'")

    def reset(self) -> float:
        resets = dict(self.population.resets)
        if self.membrane not in resets:
            raise self.refuse("reset", f"it does not set {self.membrane}")
        return self.number("reset", resets[self.membrane])

    def terms(self, whole: sp.Expr, drive: Drive) -> None:
        """Sort the terms of J."""
        current = self.host.form.roles["current"]
        rest = whole.xreplace({s: sp.Integer(0) for s in whole.free_symbols})
        for name in sorted(s.name for s in whole.free_symbols):
            slope = sp.diff(whole, symbol(name))
            value = self.number("its input J", slope)
            if name == current:
                drive.gain = value
            elif name == self.population.process:
                drive.noise = value
            elif name in {group.name for group in self.population.groups}:
                self.lateral(name, value, drive)
            elif name in dict(self.population.odes):
                self.state(name, value, drive)
            else:
                raise self.refuse("its input J", f"{name!r}: cells are not sent it")
        drive.constant = self.number("its input J", rest)

    def lateral(self, name: str, value: float, drive: Drive) -> None:
        group = next(one for one in self.population.groups if one.name == name)
        argument = group.argument
        if group.kind != "sum" or not argument.is_Symbol or argument.name not in dict(self.population.odes):
            raise self.refuse(f"group.{name}", "cells know a sum of their low-passed spikes only, such as 'sum(s)'")
        self.same(argument.name, drive)
        drive.lateral = value

    def same(self, state: str, drive: Drive) -> None:
        if drive.lateral_state not in ("", state):
            raise self.refuse("its input J", f"cells send {drive.lateral_state!r} or {state!r} to each other, not both")
        drive.lateral_state = state

    def state(self, name: str, value: float, drive: Drive) -> None:
        """A state in J: the cell's own low-passed spikes, or background spikes."""
        right = sp.expand(dict(self.population.odes)[name].xreplace(self.values))
        if symbol("chance") not in right.free_symbols:
            self.same(name, drive)
            drive.own = value
            return
        if drive.background is not None:
            raise self.refuse(f"d{name}/dt", "a second background")
        key = f"d{name}/dt"
        rate = self.number(key, sp.diff(right, symbol(name)))
        steps = list(right.atoms(sp.Piecewise))
        if len(steps) != 1 or rate >= 0 or name in dict(self.population.resets):
            raise self.refuse(key, "background spikes are 'k*int(chance < p)/dt - B/tau'")
        condition = steps[0].args[0][1]
        if not isinstance(condition, sp.Lt | sp.Le) or condition.lhs != symbol("chance"):
            raise self.refuse(key, f"background spikes come where 'chance < p', not where {condition}")
        height = right.xreplace({symbol(name): sp.Integer(0), steps[0]: symbol("chance")})
        per_spike = sp.diff(height, symbol("chance"))
        if height.xreplace({symbol("chance"): sp.Integer(0)}) != 0:
            raise self.refuse(key, "background spikes are 'k*int(chance < p)/dt - B/tau'")
        jump = self.number(key, per_spike) * self.host.constants["dt"] * value
        drive.background = Background(self.number(key, condition.rhs), jump)
        drive.tau_background = -1.0 / rate
