"""Which instants of a trial have to be solved.

On the moving equilibrium all instants of a trial are independent (SCIENCE: no lag through any number of
layers), so only those that something reads are computed, and a stretch in which input and noise are held
is one *column*. A call of the core covers the time from one decision to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.model import TrialSpec


@dataclass(frozen=True)
class Columns:
    """The columns of one call, C of them, in order of time.

    Attributes:
        duration: Seconds, shape (C,).
        time: Instant at which input and noise are evaluated, in seconds from the start of the new trial;
            negative before it. Shape (C,).
        gate: 1 where the eligibility gate is open, int64, shape (C,).
        solve: 1 where the column has to be solved, int64, shape (C,).
    """

    duration: npt.NDArray[np.float64]
    time: npt.NDArray[np.float64]
    gate: npt.NDArray[np.int64]
    solve: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.duration)

    @property
    def before(self) -> npt.NDArray[np.bool_]:
        """Columns that still belong to the trial before, shape (C,)."""
        return self.time < 0


def _stretches(trial: TrialSpec, first: bool) -> list[tuple[float, float]]:
    start = 0.0 if first else trial.decision - trial.duration
    inner = {0.0, trial.ramp, trial.decision - trial.gate}
    bounds = sorted({start, trial.decision} | {b for b in inner if start < b < trial.decision})
    return [(a, b) for a, b in pairwise(bounds) if b - a > 1e-9 * trial.dt]


def plan(
    trial: TrialSpec,
    form: EquilibriumForm,
    *,
    first: bool,
    sampled: bool = False,
    full: bool = False,
    gap: float = 0.0,
) -> Columns:
    """Divide the time from the last decision to the next into columns.

    Args:
        trial: Time course of a trial.
        form: The model; ungated sources, noise in time and low-passed decisions need every step.
        first: There is no trial right before: the call starts with the trial.
        sampled: The input is a signal in time rather than held.
        full: Solve every step, for recordings or while an initial mismatch decays.
        gap: Seconds before the trial in which the network idled, if it is the first.
    """
    gated = all(s.gated for t in (form.hidden, form.action) for s in t.sources)
    always = full or not gated or form.decision.tau is not None
    noisy = form.noise_tau is not None or form.noise_lowpass
    rows: list[tuple[float, float, bool, bool]] = [(gap, -0.5 * gap, False, False)] if gap > 0 else []
    stretches = _stretches(trial, first)
    for start, end in stretches:
        is_open = start >= trial.decision - trial.gate - 1e-9 * trial.dt
        needed = always or is_open
        moving = full or noisy or sampled or (0 <= start < trial.ramp)
        steps = max(1, round((end - start) / trial.dt)) if needed and moving else 1
        width = (end - start) / steps
        rows += [(width, start + (k + 0.5) * width, is_open, needed) for k in range(steps)]
    duration, time, gate, solve = (np.array(column) for column in zip(*rows, strict=True))
    solve[-1] = True  # the decision reads it
    return Columns(duration, time, gate.astype(np.int64), solve.astype(np.int64))


def waiting(duration: float) -> Columns:
    """Return one column in which nothing is solved."""
    nothing = np.zeros(1, np.int64)
    return Columns(np.array([duration]), np.array([-0.5 * duration]), nothing, nothing)


def rest_of_trial(
    trial: TrialSpec, form: EquilibriumForm, samples: int, *, full: bool
) -> tuple[Columns, npt.NDArray[np.float64]]:
    """Return the columns from a decision to the end of its trial, and their weights of the trial's input samples."""
    whole = plan(trial, form, first=False, sampled=samples > 1, full=full)
    n = int(whole.before.sum())
    columns = Columns(whole.duration[:n], whole.time[:n], whole.gate[:n], whole.solve[:n])
    phases = 1.0 + columns.time / trial.duration
    weights = np.array([interpolation(samples, phase) for phase in phases])
    return columns, weights * columns.solve[:, None]


def input_coefficients(
    columns: Columns, trial: TrialSpec, samples: int, before: int = 1
) -> npt.NDArray[np.float64]:
    """Weights of the basis inputs in each column, shape (C, K).

    The basis is the `before` inputs of the trial before if anything reads them, then the `samples` inputs of
    this trial. A held input has one sample; a signal is interpolated linearly between its samples.
    """
    weights = np.zeros((len(columns), before + samples))
    for c, t in enumerate(columns.time):
        if t < 0:
            weights[c, :before] = interpolation(before, 1.0 + t / trial.duration)
            continue
        weights[c, before:] = interpolation(samples, t / trial.duration)
        if t < trial.ramp:
            mix = 0.5 * (1.0 - np.cos(np.pi * t / trial.ramp))
            weights[c] *= mix
            weights[c, before - 1] += 1.0 - mix
    weights[columns.solve == 0] = 0.0
    return weights if weights[:, :before].any() else weights[:, before:]


def interpolation(samples: int, phase: float) -> npt.NDArray[np.float64]:
    """Return the weights of a signal's samples at a phase of its trial, from 0 to 1; shape (samples,)."""
    weights = np.zeros(samples)
    last = samples - 1
    place = min(max(phase, 0.0), 1.0) * last
    left = min(int(place), max(last - 1, 0))
    weights[min(left + 1, last)] += place - left
    weights[left] += 1.0 - (place - left)
    return weights
