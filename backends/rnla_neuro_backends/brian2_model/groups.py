"""A model as plain Brian2 groups, for anyone who works with Brian2: monitors, own inputs, own schedules.

The file's strings run as they stand (see `strings` for what is put around them), in the explicit
form that is stable: errors are passed directly from layer to layer, within the step.

Order of a time step (all state variables are at time t until the voltages move):

1. ``before_start``: drive, reductions of the action layer, feedback, from the voltages at t.
2. ``start``: monitors see a consistent state.
3. ``groups``: traces, input and noise of t + dt, input currents from layer to layer, voltages.
4. ``after_groups``: ``…_prev`` takes the value at t.

A jump (new input or a ramp's next step, new held noise, weights after an event) moves the voltages at once
and through all layers: the mismatch u - rest is the same before and after, which is the exact solution of
the prospective equations for a jump of any size. One Euler step over the pulse in the prospective rate
would instead use phi_prime of before the jump, and be wrong by a finite amount in every layer but the
first, at any dt. That the equations are prospective is proven first (`derive_form`); a model of which it
cannot be proven gets no such jumps, only its own equations.

Input that you drive yourself (``input.run_regularly("x = …")``) is integrated by Euler steps: u is then
off by a first-order error that decays with tau_m. Mind that it is in u - drive too, beside an error of the
order of beta: keep the eligibility gate shut until it has decayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import Clock, Network, NetworkOperation, NeuronGroup, Quantity, Synapses

from rnla_neuro.errors import BackendError, ConfigError, unknown
from rnla_neuro.network import NetworkSpec, uses_credit
from rnla_neuro.spec.chance import chance_key
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.populations import Projection
from rnla_neuro_backends.brian2_model.build import PROCESS, Builder
from rnla_neuro_backends.brian2_model.jumps import Jumps
from rnla_neuro_backends.brian2_model.strings import constant
from rnla_neuro_backends.brian2_model.supplied import Supplied

if TYPE_CHECKING:
    from rnla_neuro.bridge import EnvironmentBridge
    from rnla_neuro_backends.brian2_model.loop import ClosedLoop

FloatArray = npt.NDArray[np.float64]


class Brian2Network:
    """The groups of a model, and what an experiment does to them. `to_brian2` makes one.

    All of it is plain Brian2: add monitors with ``network.add``, run with `run` (or ``network.run``), read
    ``layers[0].u``. Voltages, rates, errors and weights are dimensionless, times have units.

    Attributes:
        model: The model.
        sizes: Neurons per layer, from the inputs to the actions.
        input: The input group; ``x`` is the input value.
        layers: Hidden layers and, last, the action layer.
        beside: The interneurons beside each hidden layer, if the model has any.
        projections: What each of `synapses` is, in the order of `Simulation.weights`.
        synapses: One all-to-all projection into each layer, then those beside them.
        bias: The unit of rate 1.
        bias_synapses: Its synapses for each projection; None for those without a bias.
        supplied: What the engine sets at every step.
        modulators: One group of one neuron a neuromodulator channel, by name.
        signals: ``R``, ``gate``, ``trial`` (decisions so far) and ``credit``, one neuron.
        parameters: The namespace that all groups share; a changed value takes effect at the next run.
        at_once: Whether voltages follow a jump at once: the model is proven prospective.
        jumps: What moves the voltages when something jumps.
        seed: What determines the network's draws.
        process: The variable of the action layer that the exploration law sets; None if there is none.
        noise_stepper: What steps noise that is a process in time by Brian2's random numbers, if anything does.
        network: The Brian2 network that holds everything.
    """

    def __init__(self, parts: Builder) -> None:
        self.model, self.sizes = parts.model, parts.sizes
        self.input: NeuronGroup = parts.groups[0]
        self.layers: tuple[NeuronGroup, ...] = tuple(parts.groups[1 : len(parts.sizes)])
        self.beside: tuple[NeuronGroup, ...] = tuple(parts.groups[len(parts.sizes) :])
        self.projections = parts.projections
        self.synapses: tuple[Synapses, ...] = tuple(parts.synapses)
        self.bias: NeuronGroup = parts.bias
        self.bias_synapses: tuple[Synapses | None, ...] = tuple(parts.bias_synapses)
        self.supplied = Supplied(parts)
        self.modulators: dict[str, NeuronGroup] = parts.modulators
        self.signals: NeuronGroup = parts.signals
        self.parameters: dict[str, Any] = parts.namespace
        self.network: Network = parts.network()
        self.at_once = parts.at_once
        self.jumps, self.process = Jumps(parts), parts.process
        self.noise_stepper: Any = parts.noise_stepper
        self.seed, self._rng = parts.seed, parts.streams.exploration
        self._ramp: tuple[FloatArray, FloatArray, float, float] | None = None
        self._shown = 0  # the step at which the present input was shown
        #: Supplies what neurons ask for at each step; a player of blocks takes its place.
        self.own_clock: NetworkOperation | None = None
        if self.supplied.needed:
            self.own_clock = NetworkOperation(
                self._supply, clock=self.input.clock, when="before_start", order=-1_000_000, name=f"{parts.name}_supply"
            )
            self.network.add(self.own_clock)
        self.network.add(
            NetworkOperation(
                self._continue_ramp,
                clock=self.input.clock,
                when="groups",
                order=PROCESS,
                name=f"{parts.name}_ramp",
            )
        )

    def _supply(self) -> None:
        """Let every neuron draw its number, and tell the time since the input was shown."""
        step = int(self.input.clock.variables["timestep"].item())
        self.supplied.set(chance_key(self.seed), step, step - self._shown)

    def run(self, duration: Quantity, **options: Any) -> None:
        """Run the network; as ``network.run``, without looking up names in the caller's variables."""
        self.network.run(duration, namespace={}, **options)

    def present(self, x: npt.ArrayLike, ramp: Quantity | float | None = None) -> None:
        """Show an input.

        Args:
            x: Input values, shape (n_in,).
            ramp: Length of the raised cosine from the present input (seconds, or with a unit); None is
                the model's own. Without a ramp all voltages jump to where the input drives them.
        """
        values = _vector(x, self.sizes[0], "input")
        length = self.model.trial.ramp if ramp is None else float(Quantity(ramp))
        self._shown = round(float(self.network.t) / self.input.clock.dt_)
        self._ramp = None
        if length > 0:
            self._ramp = (np.array(self.input.x[:]), values, float(self.network.t), length)
            return
        with self.jumps.jump():
            self.input.x = values

    def _continue_ramp(self) -> None:
        """Take the input to the end of this step."""
        if self._ramp is None:
            return
        old, new, start, length = self._ramp
        done = (self.input.clock.t_ + self.input.clock.dt_ - start) / length
        if done >= 1.0:
            self._ramp = None
        with self.jumps.jump():
            self.input.x = new + (old - new) * 0.5 * (1.0 + np.cos(np.pi * min(done, 1.0)))

    def explore(self, noise: npt.ArrayLike | None = None) -> FloatArray:
        """Set the exploration noise of the action layer and return it, shape (n_out,).

        Args:
            noise: The values; None draws them by the model's law from the network's seed. Noise that is a
                process in time goes on from there (its steps use Brian2's random numbers: `brian2.seed`).

        Raises:
            ConfigError: The model does not explore.
        """
        spec, n_out = self.model.exploration, self.sizes[-1]
        if self.process is None or self.model.takes_target:
            raise ConfigError(f"model {self.model.name!r} has no exploration noise to set (law {spec.law!r})")
        if noise is None:
            gumbel = spec.law == "gumbel"
            draw = (
                self._rng.gumbel(size=n_out) - np.euler_gamma if gumbel else self._rng.standard_normal(n_out)
            )
            noise = self._constant(spec.scale, "[exploration] scale") * draw
        values = _vector(noise, n_out, "noise")
        if self.process == self.model.roles["noise"]:
            with self.jumps.jump():
                setattr(self.layers[-1], self.process, values)
        else:  # the file low-passes it: the voltages do not jump
            setattr(self.layers[-1], self.process, values)
        return values

    def teach(self, target: npt.ArrayLike) -> None:
        """Tell the action layer what it ought to do; its error follows at once.

        Args:
            target: One value an action neuron, shape (n_out,).

        Raises:
            ConfigError: The model takes no target.
        """
        if not self.model.takes_target:
            raise ConfigError(f"model {self.model.name!r} takes no target: no equation of its action neuron uses it")
        values = _vector(target, self.sizes[-1], "target")
        with self.jumps.jump():
            self.layers[-1].target = values

    def open_gate(self, is_open: bool = True) -> None:
        """Let the eligibility traces integrate, or only decay."""
        self.signals.gate = float(is_open)

    def decide(self) -> int:
        """Return the action that the model's decision rule takes now, and count the decision."""
        self.jumps.look()
        self.signals.trial = self.signals.trial[:] + 1
        return int(np.argmax(self.layers[-1].rnla_decision[:]))

    def deliver(self, R: float, channel: str = "reward") -> None:
        """Let a neuromodulator arrive: the channel's on_event, then what each projection does on it.

        Args:
            R: Value of the event.
            channel: Name of the channel.

        Raises:
            ConfigError: The model has no such channel.
        """
        if channel not in self.modulators:
            raise ConfigError(unknown("neuromodulator channel", channel, self.modulators))
        self.jumps.prepare()
        self.signals.R = float(R)
        if not self.jumps.moves_weights(channel):
            self.jumps.event(channel)
            return
        with self.jumps.jump():
            self.jumps.event(channel)

    def settle(self) -> None:
        """Put the voltages on the moving equilibrium, without any mismatch that would decay.

        Raises:
            BackendError: The model is not proven to have one; the message names the term.
        """
        if not self.at_once:
            derive_form(self.model)  # raises
        self.jumps.settle()

    def close_loop(self, bridge: EnvironmentBridge, seed: int | None = None) -> ClosedLoop:
        """Let an environment run beside the network: afterwards a plain ``run(200*T)`` learns.

        Args:
            bridge: The environment, of one agent, with this model's times and channels.
            seed: Determines the exploration; None: the network's own.

        Raises:
            ConfigError: Inputs, actions, channels or times of both differ.
            BackendError: The device is not Brian2's runtime device, which alone runs network operations.
        """
        from rnla_neuro_backends.brian2_model.loop import ClosedLoop

        return ClosedLoop(self, bridge, self.seed if seed is None else seed)

    def synaptic(self, name: str) -> list[FloatArray]:
        """Return a variable of the synapses, one array (n_post, n_pre + 1) a projection, bias last.

        Those without a bias have the shape (n_post, n_pre).
        """
        found = []
        for synapses, bias, link in zip(self.synapses, self.bias_synapses, self.projections, strict=True):
            values = np.asarray(getattr(synapses, f"{name}_")[:]).reshape(link.n_pre, -1).T
            last = [] if bias is None else [np.asarray(getattr(bias, f"{name}_")[:])]
            found.append(np.column_stack([values, *last]))
        return found

    def weights(self) -> list[FloatArray]:
        """Return the weights, one array a projection, shaped as those of `synaptic`."""
        return self.synaptic(self.model.roles["weight"])

    def set_weights(self, weights: Sequence[npt.ArrayLike]) -> None:
        """Set the weights; the voltages follow at once."""
        arrays = _weights(weights, self.projections, self.sizes)
        with self.jumps.jump():
            self._write(arrays)

    def _write(self, arrays: list[FloatArray]) -> None:
        name = self.model.roles["weight"]
        for synapses, bias, array in zip(self.synapses, self.bias_synapses, arrays, strict=True):
            n_pre = array.shape[1] - (bias is not None)
            setattr(synapses, name, array[:, :n_pre].T.ravel())
            if bias is not None:
                setattr(bias, name, array[:, -1])

    def _constant(self, text: str, where: str) -> float:
        # The user may have put more into the namespace, such as a TimedArray.
        values = {name: float(self.parameters[name]) for name in (*self.model.parameters, "T", "n")}
        return constant(text, f"{self.model.path.name}: {where}", values)


def _vector(values: npt.ArrayLike, size: int, what: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ConfigError(f"{what} has the shape {array.shape}; allowed are {size} finite values")
    return array


def _weights(
    weights: Sequence[npt.ArrayLike], projections: Sequence[Projection], sizes: tuple[int, ...]
) -> list[FloatArray]:
    """Accept one array (n_post, n_pre + 1) a projection, or (1, n_post, n_pre + 1) as engines give them."""
    arrays = [np.asarray(weight, dtype=np.float64) for weight in weights]
    arrays = [array[0] if array.ndim == 3 and len(array) == 1 else array for array in arrays]
    wanted = [link.shape for link in projections]
    shapes = [array.shape for array in arrays]
    if shapes != wanted:
        raise ConfigError(f"weights have the shapes {shapes}; for sizes {sizes} they are {wanted}, bias last")
    return arrays


def to_brian2(
    model: ModelSpec | str,
    sizes: Sequence[int] = (64, 40, 10),
    *,
    weights: Sequence[npt.ArrayLike] | None = None,
    seed: int = 0,
    credit: float | None = None,
    name: str = "rnla",
    clock: Clock | None = None,
) -> Brian2Network:
    """Build a model as plain Brian2 groups.

    Args:
        model: A model, its name, or the path of a model file.
        sizes: Neurons per layer, from the inputs to the actions.
        weights: One array (n_post, n_pre + 1) a projection, bias weight last; None draws the model's
            initial weights from `seed`, the same as every engine's.
        seed: Determines the initial weights and the held exploration noise.
        credit: Weight of the rewarded decision in the eligibility trace, where the model divides by it;
            None takes rewards that come at once.
        name: Prefix of the names of all Brian2 objects.
        clock: Brian2 clock of all objects; None is Brian2's default clock.

    Raises:
        ConfigError: Sizes or weights do not fit.
        BackendError: The model's sums need each other, or it needs a `credit` that cannot be derived from it.
    """
    if isinstance(model, str):
        from rnla_neuro.spec.loader import load_model

        model = load_model(model)
    spec = NetworkSpec(model, tuple(int(size) for size in sizes), (seed,))
    arrays = _weights(spec.initial_weights() if weights is None else weights, spec.projections, spec.sizes)
    if credit is None:
        try:
            credit = spec.credit if uses_credit(model) else 1.0
        except BackendError as error:
            raise BackendError(f"{error}; or give to_brian2 the credit=… of such a model") from None
    network = Brian2Network(Builder(model, spec.sizes, seed, credit, name, clock))
    network._write(arrays)
    return network
