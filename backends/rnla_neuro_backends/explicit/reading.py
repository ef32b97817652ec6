"""What a simulation reads from a network beside its engine: from the proven form, or from the strings alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro.network import GainBound, NetworkSpec
from rnla_neuro.seeding import streams
from rnla_neuro.spec.expressions import identifiers, parse, split_call
from rnla_neuro.spec.numeric import compile_expression, softmax
from rnla_neuro.spec.proof import number, symbol
from rnla_neuro_backends.common.exploration import Exploration, exploration_of, make_exploration
from rnla_neuro_backends.common.readout import WATCH_EVERY, GainWatch, Readout, Weights
from rnla_neuro_backends.common.told import Told
from rnla_neuro_backends.explicit.engine import Engine
from rnla_neuro_backends.explicit.growth import Stepped, refuse_growing
from rnla_neuro_backends.explicit.names import decaying_names, modulator_names, trace_names
from rnla_neuro_backends.explicit.stability import refuse_unstable
from rnla_neuro_backends.moving_equilibrium.core import initial_modulators

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_PULSE_END = 1e-9  # a neuromodulator pulse of which less than this is left has ended


def _constants(network: NetworkSpec) -> dict[str, float]:
    """Return what an expression of constants may use, in SI units."""
    model = network.model
    known = {name: parameter.value for name, parameter in model.parameters.items()}
    return known | {"T": model.trial.duration, "dt": model.trial.dt, "n": float(network.sizes[-1])}


def exploration_for(network: NetworkSpec) -> Exploration:
    """Return the exploration of a network's agents, for engines that integrate; any model has one."""
    spec, n_out = network.model.exploration, network.sizes[-1]
    if network.model.takes_target:
        return Told(len(network.seeds), n_out, network.model)
    rngs = [streams(seed).exploration for seed in network.seeds]
    try:
        return make_exploration(spec, network.form, rngs, n_out, current=True)
    except BackendError:  # not of the proven form: by the strings
        known, where = _constants(network), f"{network.model.path.name}: [exploration]"

        def constant(text: str, key: str) -> float:
            return number(parse(text, f"{where} {key}", symbol), known, f"{where} {key}")

        tau = None if spec.tau is None else constant(spec.tau, "tau")
        return exploration_of(spec.law, constant(spec.scale, "scale"), tau, rngs, n_out)


class Silent(Stepped, Protocol):
    """An engine that can run a trial without noise and learning, on a copy."""

    def silent(self, observation: FloatArray, names: list[str]) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Return the decision's argument and variables of the action layer, each (A, B, n_out)."""


class Reading(ABC):
    """What depends on whether the form of a model is known.

    Attributes:
        exploration: The noise of all agents.
        traces: Number of traces of each projection.
        modulators: (channel, variable) of all that neuromodulators keep.
    """

    exploration: Exploration

    def __init__(self, network: NetworkSpec) -> None:
        model = network.model
        self.network, self.model = network, model
        self.modulators = modulator_names(model)
        self.traces = [len(trace_names(link.spec, model.roles["weight"])) for link in network.projections]

    @abstractmethod
    def accept(self, weights: list[FloatArray]) -> None:
        """Look at weights that are about to be used.

        Raises:
            ConvergenceError: The network is not well-posed, or a step not stable, with them.
        """

    def look(self, weights: Callable[[], Weights], decisions: int) -> None:  # noqa: B027 - nothing to look at
        """Look now and then at weights that grow."""

    def initial_modulators(self) -> FloatArray | None:
        """Return what neuromodulators start with; None: the engine knows."""
        return None

    @abstractmethod
    def input_rate(self, x: FloatArray) -> FloatArray:
        """Return the rate of input neurons."""

    @abstractmethod
    def rates(self, recorded: dict[str, FloatArray]) -> FloatArray:
        """Return the rates of all layers after the input of a recording."""

    @abstractmethod
    def decaying(self, values: FloatArray) -> tuple[bool, FloatArray]:
        """Return whether a pulse lasts among modulators (A, n), and the values with those that have ended at 0."""

    @abstractmethod
    def predict(self, weights: Weights, observation: FloatArray) -> IntArray:
        """Return greedy actions (A, B)."""

    @abstractmethod
    def policy(self, weights: Weights, observation: FloatArray) -> FloatArray:
        """Return the probabilities of the exploring policy, shape (A, B, n_out)."""


class ProvenReading(Reading):
    """By the form."""

    def __init__(self, network: NetworkSpec) -> None:
        super().__init__(network)
        form, model = network.form, network.model
        self.exploration = exploration_for(network)
        self._gain, self._readout = GainWatch(network), Readout(form, network.sizes)
        if model.trial.ramp > 0 and not self._readout.linear_input():
            raise ConfigError(f"model {model.name!r}: ramps need the input rate rbar = x")
        index = {name: k for k, name in enumerate(self.modulators)}
        pulses = [(index[m.channel, m.pulse.variable], m.pulse.tau) for m in form.modulators if m.pulse]
        self._pulses, self._taus = [k for k, _ in pulses], [tau for _, tau in pulses]

    @property
    def bound(self) -> GainBound:
        """The gain bound as it was when last looked at."""
        return self._gain.bound

    def accept(self, weights: list[FloatArray]) -> None:
        """See `Reading.accept`."""
        self._gain.accept(weights)
        refuse_unstable(self.network, weights)

    def look(self, weights: Callable[[], Weights], decisions: int) -> None:
        """See `Reading.look`."""
        if decisions % WATCH_EVERY == 0:
            self._gain.look(weights(), decisions)

    def initial_modulators(self) -> FloatArray | None:
        """See `Reading.initial_modulators`."""
        return initial_modulators(self.network.form, self.network.sizes[-1])

    def input_rate(self, x: FloatArray) -> FloatArray:
        """See `Reading.input_rate`."""
        return np.asarray(self._readout.input_rate(x), dtype=np.float64)

    def rates(self, recorded: dict[str, FloatArray]) -> FloatArray:
        """See `Reading.rates`."""
        return self._readout.rates(recorded["u"], recorded["drive"], recorded["noise"])

    def decaying(self, values: FloatArray) -> tuple[bool, FloatArray]:
        """See `Reading.decaying`."""
        left = np.abs(values[:, self._pulses]) * self._taus
        if (left >= _PULSE_END).any():
            return True, values
        ended = values.copy()
        ended[:, self._pulses] = 0.0
        return False, ended

    def predict(self, weights: Weights, observation: FloatArray) -> IntArray:
        """See `Reading.predict`; the decision without exploration, in the limit of weak nudging."""
        return self._readout.predict(weights, observation)

    def policy(self, weights: Weights, observation: FloatArray) -> FloatArray:
        """See `Reading.policy`."""
        return self._readout.policy(weights, observation)


class SilentReading(Reading):
    """By running a copy of the network without noise and learning: for models whose form is not known."""

    def __init__(self, network: NetworkSpec, engine: Silent) -> None:
        super().__init__(network)
        self._engine, self._largest = engine, 0.0
        self.exploration, self._known = exploration_for(network), _constants(network)
        self._decaying = [self.modulators.index(name) for name in decaying_names(network.model)]

    def accept(self, weights: list[FloatArray]) -> None:
        """See `Reading.accept`; a perturbation is followed, since nothing is known of the gain.

        Not of spikes: a perturbation grows wherever it makes one come a step earlier, whether or not a step is stable.
        """
        if self.model.spikes:
            return
        before = self._engine.read()
        flat = [np.reshape(w, (len(w), -1)) for w in weights]
        self._engine.write({"w": np.concatenate(flat, axis=1)})
        try:
            refuse_growing(self._engine, self.network)
        finally:
            self._engine.write(before)

    def input_rate(self, x: FloatArray) -> FloatArray:
        """Never asked for: the engine takes input values."""
        raise AssertionError("the engine takes input values")

    def rates(self, recorded: dict[str, FloatArray]) -> FloatArray:
        """See `Reading.rates`."""
        return recorded["rate"]

    def decaying(self, values: FloatArray) -> tuple[bool, FloatArray]:
        """See `Reading.decaying`; what is left is compared with the largest value that was there."""
        left = float(np.abs(values[:, self._decaying]).max(initial=0.0))
        self._largest = max(self._largest, left)
        return left > _PULSE_END * self._largest, values

    def predict(self, weights: Weights, observation: FloatArray) -> IntArray:
        """See `Reading.predict`."""
        return np.argmax(self._engine.silent(observation, [])[0], axis=2)

    def policy(self, weights: Weights, observation: FloatArray) -> FloatArray:
        """See `Reading.policy`; the file's expression, at the end of a silent trial."""
        where = f"{self.model.path.name}: [exploration] policy"
        call = split_call(self.model.exploration.policy, where)
        assert call is not None, "the loader has checked it"
        names = sorted(identifiers(call[1][0], where) - set(self._known) - {"pi"})
        values = self._engine.silent(observation, names)[1]
        function = compile_expression(parse(call[1][0], where, symbol), tuple(names), self._known)
        argument = function(*(values[name] for name in names))
        return np.asarray(softmax(np.broadcast_to(argument, next(iter(values.values())).shape)), dtype=np.float64)


def reading_of(network: NetworkSpec, engine: Engine) -> Reading:
    """Return how to read a network on an engine.

    Raises:
        BackendError: The form of the model is not known, and the engine needs it.
    """
    try:
        network.form  # noqa: B018 - it raises where the model is not of the form
    except BackendError:
        if not hasattr(engine, "silent"):
            raise
        return SilentReading(network, engine)
    return ProvenReading(network)
