"""The course of the neuromodulators between events, by the model's own strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.spec.equations import assigned, split_equations, split_statements
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.numeric import compile_expression
from rnla_neuro.spec.proof import symbol

FloatArray = npt.NDArray[np.float64]


class Modulation:
    """What events do to a model's neuromodulators, and how these change by themselves.

    Args:
        model: The model.
        n_actions: Neurons of the action layer, the model's ``n``.
    """

    def __init__(self, model: ModelSpec, n_actions: int) -> None:
        known = {name: parameter.value for name, parameter in model.parameters.items()}
        self._known = known | {"T": model.trial.duration, "dt": model.trial.dt, "n": float(n_actions)}
        self.channels = tuple(model.neuromodulators)
        self._events = {name: split_statements(spec.on_event, name) for name, spec in model.neuromodulators.items()}
        self._equations = {
            name: [e for e in split_equations(spec.equations, name).values() if e.is_ode]
            for name, spec in model.neuromodulators.items()
        }
        self._compiled: dict[str, tuple[tuple[str, ...], Any]] = {}

    def _value(self, text: str, where: str, names: Mapping[str, float]) -> float:
        if text not in self._compiled:
            expression = parse(text, where, symbol)
            free = tuple(sorted({s.name for s in expression.free_symbols} - set(self._known)))
            self._compiled[text] = free, compile_expression(expression, free, self._known)
        free, function = self._compiled[text]
        return float(function(*(names[name] for name in free)))

    def course(
        self,
        start: Mapping[str, float],
        events: list[tuple[float, int, float]],
        begin: float,
        time: FloatArray,
        trial: int,
    ) -> dict[str, FloatArray]:
        """Follow all variables of one agent through a trial.

        Args:
            start: Values at `begin`, by ``channel.variable``; 0 for what is missing.
            events: Time in seconds, index of the channel, value; sorted by time.
            begin: Time in seconds at which `start` holds.
            time: Times in seconds at which the variables are wanted, rising, shape (S,).
            trial: Decisions made before.

        Returns:
            By ``channel.variable``, shape (S,); an event counts from its own time on.
        """
        set_by_events = {f"{name}.{one.name}": 0.0 for name, rows in self._events.items() for one in rows}
        values, now = set_by_events | dict(start), begin
        course = {name: np.empty(len(time)) for name in values}
        waiting = sorted(events, key=lambda event: event[0])
        slack = 1e-6 * (time[1] - time[0]) if len(time) > 1 else 0.0
        for k, t in enumerate(time):
            while waiting and waiting[0][0] <= t + slack:
                at, channel, value = waiting.pop(0)
                self._pass(values, max(0.0, at - now), now, trial)
                now = max(now, at)
                self._apply(values, self.channels[channel], value, now, trial)
            self._pass(values, t - now, now, trial)
            now = max(now, float(t))
            for name, value in values.items():
                course[name][k] = value
        return course

    def _apply(self, values: dict[str, float], channel: str, value: float, t: float, trial: int) -> None:
        prefix = f"{channel}."
        mine = {name.removeprefix(prefix): v for name, v in values.items() if name.startswith(prefix)}
        names = mine | {"R": value, "t": t, "trial": float(trial)}
        for statement in self._events[channel]:
            new = self._value(statement.text, f"[neuromodulator.{channel}] on_event", names)
            names[statement.name] = assigned(statement.op, names.get(statement.name, 0.0), new)
            values[prefix + statement.name] = names[statement.name]

    def _pass(self, values: dict[str, float], duration: float, t: float, trial: int) -> None:
        """Let pulses decay: exactly where the equation is linear in its own variable, as all proven ones are."""
        if duration <= 0.0:
            return
        for channel, equations in self._equations.items():
            prefix, where = f"{channel}.", f"[neuromodulator.{channel}] equations"
            for equation in equations:
                name = prefix + equation.name
                mine = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
                names = mine | {"t": t, "trial": float(trial)}
                rates = [self._value(equation.text, where, names | {equation.name: x}) for x in (0.0, 1.0)]
                slope = rates[1] - rates[0]
                grown = np.expm1(slope * duration)
                values[name] += values[name] * grown + (rates[0] * (grown / slope if slope else duration))
