"""What every engine of the explicit form is given and gives back: one *block*, the time between two decisions.

The discrete scheme, the same on every engine. A step k goes from t_k = t0 + k dt to t_{k+1}:

A model that is not of the proven form has no jumps: in 1, events, input and held noise change, and the voltages stay.
In 6, only currents that need what 5 moves, or ``…_prev``, are formed; the others are formed in 2. After 7,
neurons whose threshold is passed spike (Brian2's order), and then their resets are run.

1. Whatever jumps at t_k: events of step k; the input, where its coefficients differ from those of the step
   before; held noise, where its row differs (`ExplicitForm.noise` is ``jump``). All of it is one jump: the
   mismatch m = u - rest is measured before, and the voltages land where u = rest + m afterwards, by
   sweeps forward, nudging, backward. ``…_prev`` moves by as much, so that what changed over the last step
   stays what it was: errors may move with the noise while the input is ramped by a jump at every step. After a
   start from ``equilibrium`` or ``rest`` it takes the present value.
2. Sums of the present: drive = W rbar, reductions of the action layer, feedback = W^T ebar from layer to layer.
3. Recordings.
4. Traces, by an Euler step, from the values of 2; the gate of this step.
5. Noise that is a process in time or a current takes the row of this step, without a jump.
6. Input currents I = W r, from layer to layer (r of the layer below needs its own current first).
7. Voltages, noise_bar, a low-passed decision, decaying neuromodulators: Euler steps. ``…_prev`` takes the
   value of 2.

After the last step the sums of 2 are formed once more, the decision is read, and then the events of step
``n_steps`` are applied, as a jump.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Start = Literal["continue", "equilibrium", "rest"]


@dataclass(frozen=True)
class Block:
    """Everything that happens to A agents between two decisions, on a grid of S steps.

    Attributes:
        n_steps: Number S of steps.
        t0: Biological time of step 0, in seconds.
        trial: Decisions made before; the model's ``trial``.
        basis: Input *rates* (rbar of the input neurons), K patterns an agent, shape (A, K, n_in).
        coefficients: The input of step k is ``coefficients[k] @ basis``, shape (S, K).
        noise: Rows of exploration noise, shape (A, M, n_out).
        noise_row: Which row step k has, shape (S,).
        gate: 1 where the eligibility gate is open, shape (S,).
        event_agent: Whose event, shape (E,); sorted by agent, then step, then order of arrival.
        event_step: At the start of which step it is applied, 0 to S (S: after the decision), shape (E,).
        event_channel: Index of its channel, shape (E,).
        event_value: Its value, shape (E,).
        start: ``equilibrium``: at step 0 the voltages land without any mismatch. ``rest``: what changes at step
            0 moves no voltage. ``continue``: neither.
        record: Keep voltages, errors, drives, noise and spikes of every step.
        counter: Number of step 0 since the start of the run, from `rnla_neuro.spec.chance.SILENT` on in silent trials:
            what ``chance`` and ``t_trial`` follow from (`Supplied` in `brian2_model`).
    """

    n_steps: int
    t0: float
    trial: int
    basis: FloatArray
    coefficients: FloatArray
    noise: FloatArray
    noise_row: IntArray
    gate: IntArray
    event_agent: IntArray
    event_step: IntArray
    event_channel: IntArray
    event_value: FloatArray
    start: Start = "continue"
    record: bool = False
    counter: int = 0


@dataclass
class BlockResult:
    """What a block gives back.

    Attributes:
        decision: What the decision takes the argmax of, shape (A, n_out).
        delivered: Events applied, all agents together.
        sweeps: Most sweeps that a landing took, shape (A,).
        recording: ``u``, ``ebar``, ``drive`` of shape (A, S, sum of layers after the input) and ``noise`` of
            shape (A, S, n_out), and of a spiking model ``spikes``, shape (A, S, inputs and layers), if asked for.
    """

    decision: FloatArray
    delivered: int
    sweeps: IntArray
    recording: dict[str, FloatArray] = field(default_factory=dict)


class Engine(ABC):
    """A agents of one network, advanced block by block.

    `read` and `write` use one canonical form, whatever the engine's own layout; float64 throughout (an engine
    in float32 loses nothing by it):

    ========== ===============================================================================
    w          weights (A, total): projections one after the other, each (n_post, n_pre + 1), bias last
    z          traces (A, total): projections one after the other, each (n_trace, n_post, n_pre + 1)
    modulators (A, variables) in the order of `modulator_state`
    lowpass    low-passed decision argument (A, n_out)
    u          voltages after the inputs (A, sum of layers)
    ebar_prev  errors of the step before (A, sum of layers)
    rbar_prev  rates of the step before (A, sum of layers)
    drive_prev W rbar_prev (A, sum of layers), kept since W may have changed since
    noise_bar  noise in the voltage (A, n_out)
    noise      noise of the last step (A, n_out): the current, or noise_bar itself
    input      rates of the input neurons (A, n_in)
    spikes     of a spiking model: spikes so far (A, layers), the inputs' first
    ========== ===============================================================================

    An engine that keeps more (or less) says so in `STATE`; all of it together continues a run to the bit.
    """

    STATE: tuple[str, ...] = (
        "w", "z", "modulators", "lowpass", "u", "ebar_prev", "rbar_prev", "drive_prev", "noise_bar", "noise", "input",
    )  # fmt: skip
    #: Whether `Block.basis` holds the rates of the input neurons, or their input values ``x``.
    INPUT: Literal["rate", "value"] = "rate"
    max_steps: int
    max_events: int

    @abstractmethod
    def advance(self, block: Block) -> BlockResult:
        """Advance all agents by a block.

        Raises:
            ConvergenceError: A landing did not settle, or voltages are not finite.
        """

    @abstractmethod
    def read(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the state by its canonical names."""

    def read_weights(self) -> FloatArray:
        """Return a copy of the weights alone, ``w`` of `read`."""
        return np.asarray(self.read()["w"], dtype=np.float64)

    @abstractmethod
    def write(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Replace the parts of the state that are given. Voltages do not move by it."""

    def close(self) -> None:  # noqa: B027 - most engines hold nothing outside Python
        """Give back what the engine holds outside Python (a process, a socket, a device)."""
