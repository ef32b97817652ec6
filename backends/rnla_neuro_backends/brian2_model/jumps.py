"""Moves the voltages of a network of Brian2 groups when something jumps: through all layers, at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.devices.device import RuntimeDevice, get_device

from rnla_neuro.errors import BackendError, ConvergenceError
from rnla_neuro_backends.brian2_model.build import Builder

_MAX_SWEEPS = 500
_ROUNDING = 4.0  # rounding errors of the largest voltage by which a settled one may still change
_SETTLED = 500.0  # … and from which on changes that no longer shrink are taken for rounding


class Jumps:
    """Runs the code of a network's groups outside the order of a time step.

    Attributes:
        at_once: Whether voltages follow a jump at once: the model is proven prospective.
        sweeps: Most sweeps that a landing took since it was last set to 0.
    """

    def __init__(self, parts: Builder) -> None:
        self._model, self._layers = parts.model, parts.groups[1 : len(parts.sizes)]
        self._schedule = parts.schedule
        self._parameters: Mapping[str, Any] = parts.namespace
        self.at_once = parts.at_once
        self.sweeps = 0
        self._prepared: dict[str, Any] | None = None

    def prepare(self) -> None:
        """Compile the code for jumps, once and again when a parameter was changed."""
        if not isinstance(get_device(), RuntimeDevice):
            raise BackendError(
                "present, explore, deliver, decide and set_weights need Brian2's runtime device; a "
                "standalone program has to contain the whole experiment in its own equations"
            )
        if self._prepared != self._parameters:
            for runner in self._schedule.all():
                runner.before_run({})
            self._prepared = dict(self._parameters)

    @staticmethod
    def run(runners: Sequence[Any]) -> None:
        """Run some code."""
        for runner in runners:
            runner.run()

    def look(self) -> None:
        """Form the sums that follow from the voltages."""
        self.prepare()
        self.run(self._schedule.early)

    def event(self, channel: str, skipped: Sequence[Any] = ()) -> None:
        """Run what a channel does on an event, then what the synapses do, but for those of some groups."""
        self.run([self._schedule.modulators[channel]])
        self.run([runner for runner in self._schedule.synapses[channel] if runner.group not in skipped])

    def moves_weights(self, channel: str) -> bool:
        """Whether an event of the channel changes weights."""
        return bool(self._schedule.synapses[channel])

    @contextmanager
    def jump(self) -> Iterator[None]:
        """Whatever jumps inside moves the voltages so that the mismatch stays what it was.

        What a variable has changed by over the last step stays what it was, too: ``…_prev`` moves with it. The
        errors may be moving, with noise, while the input is ramped by a jump at every step.
        """
        self.prepare()
        if not self.at_once:
            yield
            return
        self.run(self._schedule.early)
        self.run(self._schedule.measure)
        self.run(self._schedule.capture)
        yield
        self.land()
        self.run(self._schedule.shift)

    def settle(self) -> None:
        """Put the voltages of a proven model on the moving equilibrium, without any mismatch."""
        self.prepare()
        for group in self._layers:
            group.rnla_mismatch = 0
        self.run(self._schedule.early)
        self.land()
        self._forget()

    def stay(self) -> None:
        """Let what has changed move no voltage: the past is what it would be if it had always been so."""
        self.prepare()
        self.run(self._schedule.early)
        self._forget()

    def _forget(self) -> None:
        """Let every ``…_prev`` take the present value."""
        self.run(self._schedule.capture)
        self.run(self._schedule.keep)

    def land(self) -> None:
        """Sweep forward, nudging, backward until the voltages rest where their equations say, to rounding.

        The eligibility traces see u - drive, which is of the order of beta: a voltage that is off by 1e-13 is an
        error of 1e-10 in them.
        """
        schedule, name = self._schedule, self._model.roles["voltage"]
        voltages = [group.variables[name].get_value() for group in self._layers]
        eps = float(np.finfo(voltages[0].dtype).eps)
        previous = np.inf
        for sweep in range(1, _MAX_SWEEPS + 1):
            change = scale = 0.0
            for drives, settle, u in zip(schedule.drives, schedule.settle, voltages, strict=True):
                self.run(drives)
                before = u.copy()
                settle.run()
                change = max(change, float(np.abs(u - before).max()))
                scale = max(scale, float(np.abs(u).max()))
            self.run(schedule.early)
            settled = change <= _SETTLED * eps * (1.0 + scale) and change >= previous
            if change <= _ROUNDING * eps * scale or settled:
                self.sweeps = max(self.sweeps, sweep)
                break
            if not all(np.isfinite(u).all() for u in voltages):
                raise self._not_finite()
            previous = change
        else:
            raise ConvergenceError(
                f"model {self._model.name!r}: {_MAX_SWEEPS} sweeps did not find the voltages after a jump "
                f"(last change {change:.2g}): the nudging is too strong for these weights; use a smaller beta"
            )
        self.run(schedule.late)

    def check_finite(self) -> None:
        """Look whether the voltages still mean anything.

        Raises:
            ConvergenceError: They do not.
        """
        name = self._model.roles["voltage"]
        if not all(np.isfinite(group.variables[name].get_value()).all() for group in self._layers):
            raise self._not_finite()

    def _not_finite(self) -> ConvergenceError:
        return ConvergenceError(
            f"model {self._model.name!r}: voltages are no longer finite: the weights have diverged. Way out: a smaller "
            "learning rate (eta), weaker homeostasis, or a smaller dt"
        )
