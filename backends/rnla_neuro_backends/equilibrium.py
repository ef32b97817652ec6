"""Backend `equilibrium`: the moving equilibrium of rate models, exact in time and fast.

On the trajectory of the prospective dynamics u = W r̄ + ē(u) + ξ̄ holds at every instant (SCIENCE 1), so a
trial is solved only at the instants that something reads. See docs/equilibrium.md.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rnla_neuro.backend import Backend, Capabilities
from rnla_neuro.errors import ConfigError
from rnla_neuro.events import EventBatch
from rnla_neuro.network import GainBound, NetworkSpec
from rnla_neuro.seeding import streams
from rnla_neuro.simulation import FloatArray, IntArray, Label, Simulation
from rnla_neuro_backends.common.exploration import make_exploration
from rnla_neuro_backends.common.readout import (
    WATCH_EVERY,
    GainWatch,
    Readout,
    StrongNudgingWarning,
    check_shapes,
)
from rnla_neuro_backends.common.told import Told
from rnla_neuro_backends.moving_equilibrium.columns import Columns, input_coefficients, plan, rest_of_trial, waiting
from rnla_neuro_backends.moving_equilibrium.compiler import find_compiler, no_compiler
from rnla_neuro_backends.moving_equilibrium.core import (
    Call,
    Core,
    CoreSettings,
    Recording,
    initial_modulators,
    modulator_state,
)

CoreName = Literal["auto", "native", "numpy"]
RTOL = {"float64": 1e-9, "float32": 1e-5}


class NoCompilerWarning(UserWarning):
    """There is no C++ compiler: the numpy core runs instead, with the same results, slower."""


class EquilibriumSimulation(Simulation):
    """A agents on the moving equilibrium; see `Simulation` for the protocol.

    Args:
        network: What to simulate.
        core: ``native`` (generated C++), ``numpy``, or ``auto``: native where there is a compiler.
        start: ``equilibrium``, or ``rest``: all voltages start at 0, and the mismatch decays with tau_m.
        rtol: Relative accuracy of the errors at which sweeps end; default by precision.
        max_sweeps: Sweeps after which convergence is judged.
    """

    def __init__(
        self,
        network: NetworkSpec,
        core: CoreName = "auto",
        start: Literal["equilibrium", "rest"] = "equilibrium",
        rtol: float | None = None,
        max_sweeps: int = 200,
    ) -> None:
        form, trial = network.form, network.model.trial
        self.network = network
        self.n_agents, self.sizes = len(network.seeds), network.sizes
        self.channels = tuple(m.channel for m in form.modulators)
        self.trial_duration, self.decision_time = trial.duration, trial.decision
        self.delivered = 0
        self._gain, self._readout = GainWatch(network), Readout(form, network.sizes)
        settings = CoreSettings(
            form=form,
            sizes=network.sizes,
            n_agents=self.n_agents,
            precision=network.precision,
            plastic=network.plastic,
            dt=trial.dt,
            credit=network.credit,
            rtol=RTOL[network.precision] if rtol is None else rtol,
            rounding=float(np.finfo(network.precision).eps) * self._gain.nudging,
            max_sweeps=max_sweeps,
        )
        self.core_name, self._core = _make_core(settings, core)
        for target, drawn in zip(self._core.state.weights, network.initial_weights(), strict=True):
            target[...] = drawn
        self._core.state.modulators[...] = initial_modulators(form, self.sizes[-1])
        rngs = [streams(seed).exploration for seed in network.seeds]
        told = Told(self.n_agents, network.sizes[-1], network.model) if form.taught else None
        explores = told or make_exploration(network.model.exploration, form, rngs, network.sizes[-1])
        self._told, self._exploration = told, explores
        self._plans: dict[tuple[bool, int, int, bool, float, bool], tuple[Columns, FloatArray]] = {}
        self.decisions = 0
        self._last_input: FloatArray = np.zeros((self.n_agents, 1, network.sizes[0]))  # its samples
        self._waits: dict[float, Columns] = {}
        self._start = start
        self._clock, self._waited = 0.0, True  # until when the network has been advanced
        self._sweeps: FloatArray = np.zeros(self.n_agents)
        self._gain.accept(self._core.state.weights)

    # ---- trials -------------------------------------------------------------------------------------
    def decide(self, observation: FloatArray, events: EventBatch, label: Label = None) -> IntArray:
        """Run one trial up to its decision; see `Simulation.decide`.

        Args:
            observation: Held input, shape (A, n_in), or S samples of a signal over the trial, linearly
                interpolated, shape (A, S, n_in).
            events: Events up to the decision.
            label: The right actions or targets, for a model that is told a target (`Told.show`).
        """
        return self._run(observation, events, label, record=False)[0]

    def decide_recorded(
        self, observation: FloatArray, events: EventBatch, label: Label = None
    ) -> tuple[IntArray, Recording]:
        """Run one trial as `decide` does, solving and returning every step.

        Noise that is a process in time is drawn at every step then, not only while the gate is open: the trial
        is another realisation of the same process. With held noise the decision is that of `decide`.
        """
        action, recording = self._run(observation, events, label, record=True)
        assert recording is not None
        return action, recording

    def _run(
        self, observation: FloatArray, events: EventBatch, label: Label, record: bool
    ) -> tuple[IntArray, Recording | None]:
        signal = observation[:, None, :] if observation.ndim == 2 else observation
        expected = (self.n_agents, self.sizes[0])
        if signal.ndim != 3 or (signal.shape[0], signal.shape[2]) != expected:
            raise ConfigError(
                f"observation of shape {observation.shape}: expected {expected}, or with samples in time "
                f"({expected[0]}, S, {expected[1]})"
            )
        if self._told is not None:
            self._told.show(label)
        from_rest = self.decisions == 0 and self._start == "rest"
        rest = from_rest or bool(self._core.state.mismatch.any())
        columns, coefficients = self._plan(signal.shape[1], record or rest)
        basis = signal
        if coefficients.shape[1] > signal.shape[1]:
            basis = np.concatenate([self._last_input, signal], axis=1)
        start = (self.decisions + self.skipped) * self.trial_duration
        call = Call(
            columns=columns,
            coefficients=coefficients,
            basis=self._readout.input_rate(basis),
            noise=self._exploration.columns(columns),
            t0=self._clock,
            trial=self.decisions,
            events=events,
            record=record,
        )
        if from_rest:  # a ramp begins at the input before
            at_start = self._last_input[:, -1] if self.network.model.trial.ramp > 0 else signal[:, 0]
            self._start_at_rest(self._readout.input_rate(at_start), call.noise[:, 0])
        outcome = self._core.advance(call)
        self._after(signal, outcome.delivered, outcome.sweeps, rest)
        action = np.argmax(outcome.decision, axis=1)
        if not record:
            return action, None
        return action, self._recording(start + columns.time, columns.solve == 1, call.noise, outcome.recording)

    def _recording(
        self, time: FloatArray, solved: npt.NDArray[np.bool_], noise: FloatArray, values: dict[str, FloatArray]
    ) -> Recording:
        """Keep what was solved: the network may have idled before the trial."""
        noise = noise[:, solved] if self._told is None else np.zeros_like(noise[:, solved])
        u, ebar, drive = (values[name][:, solved] for name in ("u", "ebar", "drive"))
        rate = self._readout.rates(u, drive, noise)
        return Recording(time[solved], u, ebar, drive, rate, noise)

    def _after(self, signal: FloatArray, delivered: int, sweeps: IntArray, rest: bool) -> None:
        self._last_input = signal.copy()  # the caller may write into it
        self._clock, self._waited = self.next_decision, False
        self.decisions += 1
        self.delivered += delivered
        self._sweeps = sweeps.astype(np.float64)
        mismatch = self._core.state.mismatch
        if rest and np.abs(mismatch).max() < 1e-14:
            mismatch[...] = 0.0
        if self.decisions % WATCH_EVERY == 0:
            self._gain.look(self._core.state.weights, self.decisions)

    def _plan(self, samples: int, full: bool) -> tuple[Columns, FloatArray]:
        start = self.next_decision - self.decision_time
        gap = start - self._clock if self._waited else 0.0
        before = self._last_input.shape[1]
        sampled = samples > 1 or (self._told is not None and self._told.samples > 1)
        key = (self._waited, samples, before, full, gap, sampled)
        if key not in self._plans:
            trial, form = self.network.model.trial, self.network.form
            columns = plan(trial, form, first=self._waited, sampled=sampled, full=full, gap=gap)
            coefficients = np.ascontiguousarray(input_coefficients(columns, trial, samples, before))
            if not self._readout.linear_input() and (coefficients % 1.0).any():
                raise ConfigError(
                    f"model {self.network.model.name!r}: ramps and sampled signals need the input rate rbar = x"
                )
            self._plans[key] = columns, coefficients
        return self._plans[key]

    def _start_at_rest(self, rate: FloatArray, noise: FloatArray) -> None:
        """Let all voltages be 0, whatever drives them: the mismatch is what the equilibrium would add."""
        if self.network.form.noise_lowpass and self.network.form.noise_tau is None:
            noise = np.zeros_like(noise)  # a current that starts to flow has not yet charged the membrane
        drives = []
        for w in self._core.state.weights:
            drives.append(np.einsum("aij,aj->ai", w[:, :, :-1], rate) + w[:, :, -1])
            rate = self._readout.rate(np.zeros_like(drives[-1]))[0]
        rest = np.zeros_like(noise)
        errors = [self._readout.action.nudging(rest, drives[-1], noise)]
        for w in self._core.state.weights[:0:-1]:
            error = np.einsum("aij,ai->aj", w[:, :, :-1], errors[0])
            errors.insert(0, self._readout.rate(np.zeros_like(error))[1] * error)
        equilibrium = [d + e for d, e in zip(drives, errors, strict=True)]
        if self._told is None:
            equilibrium[-1] = equilibrium[-1] + noise
        self._core.state.mismatch[...] = -np.concatenate(equilibrium, axis=1)

    def settle(self, events: EventBatch) -> None:
        """Apply events between two trials; see `Simulation.settle`.

        What a decision in the middle of a trial leaves of its time passes first, as it would in the next `decide`.
        """
        start = self._check_settled(events)
        if not len(events):
            return
        gap = start - self._clock
        passed = gap < 1e-9 * self.network.model.trial.dt
        if self._waited or passed:
            self._idle(0.0 if passed else gap, events)
        else:
            self._pass_rest(events)
        self._clock, self._waited = start, True

    def _pass_rest(self, events: EventBatch) -> None:
        """Let the time between a decision and the end of its trial pass, as `decide` does."""
        model, samples, rest = self.network.model, self._last_input.shape[1], bool(self._core.state.mismatch.any())
        columns, coefficients = rest_of_trial(model.trial, self.network.form, samples, full=rest)
        basis, noise = self._readout.input_rate(self._last_input), self._exploration.columns(columns)
        call = Call(columns, coefficients, basis, noise, self._clock, self.decisions, events)
        self.delivered += self._core.advance(call).delivered

    def finish(self, events: EventBatch) -> None:
        """Let all agents idle, their gates shut, until the last event has been applied and has decayed."""
        last = float(events.time.max()) if len(events) else self._clock
        self._idle(max(0.0, last - self._clock), events)
        while self._pulsing():
            self._idle(self.trial_duration, EventBatch.empty())
        self._waited = True
        self.skip_past(self._clock)

    def _idle(self, duration: float, events: EventBatch) -> None:
        if duration not in self._waits:
            self._waits = {duration: waiting(duration)}
        noise = np.zeros((self.n_agents, 1, self.sizes[-1]))
        basis = np.zeros((self.n_agents, 1, self.sizes[0]))
        call = Call(self._waits[duration], np.zeros((1, 1)), basis, noise, self._clock, self.decisions, events)
        self.delivered += self._core.advance(call).delivered
        self._exploration.idle(duration)
        self._clock += duration

    def _pulsing(self) -> bool:
        names = modulator_state(self.network.form)
        pulses = [names.index((m.channel, m.pulse.variable)) for m in self.network.form.modulators if m.pulse]
        return bool(self._core.state.modulators[:, pulses].any())

    @property
    def bound(self) -> GainBound:
        """The gain bound as it was when last looked at."""
        return self._gain.bound

    # ---- reading ------------------------------------------------------------------------------------
    def predict(self, observation: FloatArray) -> IntArray:
        """Return greedy actions (A, B): the decision without exploration, in the limit of weak nudging."""
        return self._readout.predict(self._core.state.weights, observation)

    def policy(self, observation: FloatArray) -> FloatArray:
        """Return the probabilities of the exploring policy, shape (A, B, n_out)."""
        return self._readout.policy(self._core.state.weights, observation)

    def weights(self) -> list[FloatArray]:
        """Return copies of the weights."""
        return [w.astype(np.float64) for w in self._core.state.weights]

    def set_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights; the gain is checked again.

        Raises:
            ConfigError: Shapes do not fit the network.
            ConvergenceError: The nudging is too strong for these weights; the old ones are kept.
        """
        check_shapes(self._core.state.weights, weights)
        self._gain.accept(weights)
        self.write_weights(weights)

    def write_weights(self, weights: list[FloatArray]) -> None:
        """Replace the weights alone; see `Simulation.write_weights`.

        Raises:
            ConfigError: Shapes do not fit the network.
        """
        own = self._core.state.weights
        check_shapes(own, weights)
        for target, new in zip(own, weights, strict=True):
            target[...] = new

    def traces(self) -> list[FloatArray]:
        """Return copies of the traces, one array (A, n_trace, n_post, n_pre + 1) a projection."""
        self._core.settle()
        return [z.astype(np.float64) for z in self._core.state.traces]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of everything that changes."""
        self._core.settle()
        exploration = {f"exploration.{k}": v for k, v in self._exploration.state().items()}
        clock = np.array([self.decisions, self.skipped, self.delivered, self._waited, self._clock])
        return {
            **self._core.state.copy(),
            **exploration,
            "clock": clock,
            "last_input": self._last_input.copy(),
        }

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a state that `state` returned, to the bit."""
        self._core.settle()
        self._core.state.restore(state)
        prefix = "exploration."
        self._exploration.restore(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        self.decisions, self.skipped, self.delivered = (int(v) for v in state["clock"][:3])
        self._waited, self._clock = bool(state["clock"][3]), float(state["clock"][4])
        self._last_input = state["last_input"].copy()

    def diagnostics(self) -> dict[str, FloatArray]:
        """Return the sweeps of the last trial and the neuromodulators' variables, each of shape (A,)."""
        names = modulator_state(self.network.form)
        values = self._core.state.modulators
        return {"sweeps": self._sweeps} | {f"{c}.{v}": values[:, k].copy() for k, (c, v) in enumerate(names)}

    def close(self) -> None:
        """Free the compiled engine."""
        self._core.close()


def _make_core(settings: CoreSettings, name: CoreName) -> tuple[str, Core]:
    if name not in ("auto", "native", "numpy"):
        raise ConfigError(f"core {name!r}: allowed are auto, native, numpy")
    if name == "auto" and find_compiler() is None:
        warnings.warn(
            f"{no_compiler()}: the numpy core runs, with the same results "
            "but slower; install a C++ compiler such as g++",
            NoCompilerWarning,
            stacklevel=4,
        )
        name = "numpy"
    if name == "numpy":
        from rnla_neuro_backends.moving_equilibrium.reference import ReferenceCore

        return "numpy", ReferenceCore(settings)
    from rnla_neuro_backends.moving_equilibrium.native import NativeCore

    return "native", NativeCore(settings)


class EquilibriumBackend(Backend):
    """See the module."""

    name = "equilibrium"
    summary = "moving equilibrium of rate models: whole trials at once, exact in time, the reference"
    capabilities = Capabilities(
        kinds=("rate",),
        precisions=("float64", "float32"),
        options=("core", "start", "rtol", "max_sweeps"),
    )

    def build(self, network: NetworkSpec, **options: Any) -> EquilibriumSimulation:
        """Build a simulation; options are those of `EquilibriumSimulation`."""
        self.check(network, options)
        return EquilibriumSimulation(network, **options)


BACKEND = EquilibriumBackend()
__all__ = [
    "BACKEND",
    "EquilibriumBackend",
    "EquilibriumSimulation",
    "NoCompilerWarning",
    "StrongNudgingWarning",
]
