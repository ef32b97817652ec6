"""Many copies of one spiking neuron of a model file, each with a held input: the file's own strings, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from rnla_neuro.errors import ModelError
from rnla_neuro.spec.chance import chance, chance_key
from rnla_neuro.spec.constants import default_constants
from rnla_neuro.spec.equations import Statement, assigned, split_equations, split_statements
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.numeric import compile_expression
from rnla_neuro.spec.proof import derivative, symbol

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Response:
    """What a neuron did under held inputs.

    Attributes:
        rbar: Mean of the variable with the role ``rate``, shape (n,).
        firing: Spikes a second, shape (n,).
    """

    rbar: FloatArray
    firing: FloatArray


class SingleNeuron:
    """The neuron of [neuron.hidden], without feedback, one Euler step after the other as every engine takes them.

    Args:
        model: A model whose hidden neurons spike.
        swept: Parameters that are given to `respond` as arrays.

    Raises:
        ModelError: Hidden neurons do not spike, or their equations use more than a held input can stand for.
    """

    def __init__(self, model: ModelSpec, swept: tuple[str, ...] = ()) -> None:
        spec = model.hidden
        self._where = f"{model.path.name}: [neuron.hidden]"
        if spec.threshold is None:
            raise ModelError(
                f"{self._where}: threshold is missing: these neurons do not spike, and there is no f-I curve to "
                "measure; allowed are models whose hidden neurons spike, such as spiking_lif_nla"
            )
        self._model, self._swept = model, swept
        self._parameters = {name: one.value for name, one in model.parameters.items() if name not in swept}
        self._parameters |= default_constants(model, "hidden")
        self._equations = split_equations(spec.equations, self._where)
        self._stays = [equation.pauses for equation in self._equations.values() if equation.is_ode]
        self._states = [name for name, equation in self._equations.items() if equation.is_ode]
        self._current = model.roles["current"]
        self._names = (*self._states, self._current, "chance", "t", "t_trial", "dt", "T", *swept)
        self._moves = [self._compile(self._equations[name].text) for name in self._states]
        self._spikes = self._compile(f"int({spec.threshold})")
        self._reset = [(one, self._compile(one.text)) for one in split_statements(spec.reset, self._where)]
        self._rate = self._compile(model.roles["rate"])
        self._pause = 0
        if spec.refractory is not None:
            time = parse(spec.refractory, self._where, self._constant)
            self._pause = round(float(time) / model.trial.dt)

    def _constant(self, name: str) -> sp.Expr:
        fixed = {"dt": self._model.trial.dt, "T": self._model.trial.duration, "second": 1.0, "ms": 1e-3}
        return sp.Float((self._parameters | fixed)[name], 17)

    def _symbol(self, name: str) -> sp.Expr:
        """Write algebraic variables out; without an error from above there is no feedback."""
        spec, equation = self._model.hidden, self._equations.get(name)
        if name == "phi" or name == "phi_prime":
            phi = parse(spec.phi or "", self._where, symbol)
            return phi if name == "phi" else derivative(phi, symbol(self._model.roles["voltage"]))
        if equation is not None and not equation.is_ode:
            return parse(equation.text, self._where, self._symbol)
        if name == self._model.roles.get("feedback"):
            return sp.Integer(0)
        if name not in self._names and name not in self._parameters:
            raise ModelError(f"{self._where}: {name!r} is not known for a neuron alone with a held input")
        return symbol(name)

    def _compile(self, text: str) -> Callable[..., Any]:
        return compile_expression(parse(text, self._where, self._symbol), self._names, self._parameters)

    def respond(
        self, current: FloatArray, swept: Mapping[str, FloatArray] | None = None, *,
        copies: int = 100, duration: float = 1.0, settle: float = 0.2, seed: int = 1,
    ) -> Response:  # fmt: skip
        """Hold each input for some time, and average.

        Args:
            current: Held values of the variable with the role ``current``, shape (n,).
            swept: A value for each input of each swept parameter, in SI units, shape (n,).
            copies: Neurons an input.
            duration: Seconds that are averaged.
            settle: Seconds before that.
            seed: Of ``chance``.

        Returns:
            Means over copies and time.
        """
        n, trial = len(current), self._model.trial
        fixed = [np.repeat(np.asarray((swept or {})[name], dtype=np.float64), copies) for name in self._swept]
        held = np.repeat(np.asarray(current, dtype=np.float64), copies)
        state = np.zeros((len(self._states), n * copies))
        pause = np.zeros(n * copies, dtype=np.int64)  # steps that a neuron stays refractory
        neurons, key = np.arange(n * copies), chance_key(seed)
        rbar, spikes = np.zeros(n * copies), np.zeros(n * copies)
        first, last = round(settle / trial.dt), round((settle + duration) / trial.dt)
        for step in range(last):
            time = step * trial.dt
            given = (held, chance(key, neurons, step), time, time % trial.duration, trial.dt, trial.duration, *fixed)
            sent = self._rate(*state, *given)
            with np.errstate(over="ignore"):  # a hazard may be infinite: then the neuron fires for certain
                fired = self._advance(state, pause, given)
            if step >= first:
                rbar += sent
                spikes += fired
        mean = rbar.reshape(n, copies).mean(axis=1) / (last - first)
        return Response(mean, spikes.reshape(n, copies).mean(axis=1) / ((last - first) * trial.dt))

    def _advance(self, state: FloatArray, pause: IntArray, given: tuple[Any, ...]) -> npt.NDArray[np.bool_]:
        """Take a step in place: states, threshold, reset; return who fired."""
        np.maximum(pause - 1, 0, out=pause)
        ready = pause == 0
        change = [np.broadcast_to(move(*state, *given), pause.shape) for move in self._moves]
        for row, moved, stays in zip(state, change, self._stays, strict=True):
            row += self._model.trial.dt * (np.where(ready, moved, 0.0) if stays else moved)
        fired: npt.NDArray[np.bool_] = ready & (self._spikes(*state, *given) > 0)
        for statement, text in self._reset:
            self._assign(state, statement, text(*state, *given), fired)
        pause[fired] = self._pause
        return fired

    def _assign(self, state: FloatArray, statement: Statement, value: Any, fired: npt.NDArray[np.bool_]) -> None:
        row = state[self._states.index(statement.name)]
        row[...] = np.where(fired, assigned(statement.op, row, value), row)
