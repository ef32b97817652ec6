"""SpiNNaker by sPyNNaker: `Projection.set` does not exist there, so each set of weights is a set-up of its own.

Without a machine (no ``spynnaker.cfg``) sPyNNaker has a virtual one, on which it places and routes the network and
computes the weights as the machine would hold them, but which brings no spikes back: `map` works, `run` is refused.

- Populations of more cells than a core takes are split by sPyNNaker itself: `PER_CORE` of them on a core. Weights come
  from lists, which it splits with the populations (its `ArrayConnector` fails beyond 256 targets).
- A projection has one sign: a link is an excitatory and an inhibitory one.
- Weights are 16-bit numbers with a step that sPyNNaker chooses for each projection: a power of two.
- Time goes in steps of 1 ms, whatever the plan says, and a delay is at least one.
"""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnla_neuro.errors import BackendError, MissingExtraError
from rnla_neuro_backends.pynn_adapter.plan import FloatArray, Link, Plan, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.simulator import Simulator
from rnla_neuro_backends.pynn_adapter.spinnaker_process import SpinnakerProcess, find_machine
from rnla_neuro_backends.pynn_adapter.standard import cell_parameters

STEP_MS = 1.0
PER_CORE = 128  # a core takes 256 cells at most; with half of them it keeps up with 1 ms steps at higher rates


@dataclass(frozen=True)
class Part:
    """Some cells or sources of one population, on one core."""

    population: str
    chip: tuple[int, int]
    core: int
    atoms: int


@dataclass(frozen=True)
class QuantisedWeights:
    """How the weights of one projection are held.

    Attributes:
        link: The link.
        kind: ``excitatory`` or ``inhibitory``.
        synapses: How many there are.
        step: The coarsest power of two of which they are multiples, nA; 0: there is none.
        error: Largest difference from what was asked, nA.
        surprises: How many are not what rounding to the grid gives.
    """

    link: str
    kind: str
    synapses: int
    step: float
    error: float
    surprises: int


@dataclass(frozen=True)
class Mapping:
    """Where a network lies on the machine.

    Attributes:
        parts: Parts of populations.
        cores: Cores of all kinds that are in use, sPyNNaker's own included.
        chips: Chips on which parts of the network lie.
        weights: How the weights are held.
        is_virtual: Whether there was no machine.
    """

    parts: tuple[Part, ...]
    cores: int
    chips: int
    weights: tuple[QuantisedWeights, ...]
    is_virtual: bool

    def summary(self) -> str:
        """Say it in a few lines."""
        counts = Counter(part.population for part in self.parts)
        split = ", ".join(f"{name} on {n} core{'s' * (n > 1)}" for name, n in counts.items())
        error = max((one.error for one in self.weights), default=0.0)
        where = "virtual machine" if self.is_virtual else "machine"
        return (
            f"SpiNNaker, {where}: {split}; {self.chips} chip{'s' * (self.chips > 1)}, "
            f"{sum(one.synapses for one in self.weights)} synapses, largest rounding of a weight {error:.3g} nA"
        )


def rounded(weights: FloatArray, step: float) -> FloatArray:
    """Round to whole multiples of a step, as sPyNNaker holds weights: to the nearest, halves up."""
    return np.floor(weights / step + 0.5) * step


def grid(weights: FloatArray) -> float:
    """Return the largest power of two of which all weights are multiples; 0 where there is none to see."""
    values = np.abs(weights[weights != 0])
    if len(values) == 0:
        return 0.0
    for exponent in range(math.floor(math.log2(values.min())), -40, -1):
        scaled = values * 2.0**-exponent
        if np.array_equal(scaled, np.rint(scaled)):
            return float(2.0**exponent)
    return 0.0


class SpinnakerSimulator(Simulator):
    """See the module."""

    name: ClassVar[str] = "spinnaker"
    title: ClassVar[str] = "SpiNNaker"
    extra: ClassVar[str] = "spinnaker"

    plan: Plan

    def __init__(self) -> None:
        self._process: SpinnakerProcess | None = None
        self._weights: dict[tuple[str, int], FloatArray] = {}

    def missing(self) -> str:
        """Look for sPyNNaker without importing it; see `Simulator.missing`."""
        if importlib.util.find_spec("spynnaker") is None:
            return f"sPyNNaker is not installed: pip install 'rnla_neuro[{self.extra}]'"
        return ""

    def open(self, plan: Plan) -> None:
        """Keep the plan: the network is set up for each set of weights; see `Simulator.open`."""
        if missing := self.missing():
            raise MissingExtraError(f"backend 'pynn', simulator {self.name!r}: {missing}")
        if plan.delay < STEP_MS * (1 - 1e-9):
            raise BackendError(
                f"backend 'pynn', simulator 'spinnaker': a delay of {plan.delay:g} ms; a spike takes a step of "
                f'{STEP_MS:g} ms at least: set dt = "1*ms" in [trial]'
            )
        self.plan = plan
        self._weights = {
            (link.name, agent): np.zeros((plan.size(link.post), plan.size(link.pre)))
            for link in plan.links
            for agent in range(plan.n_agents)
            if link.fixed is None
        }
        self._process = SpinnakerProcess()

    @property
    def process(self) -> SpinnakerProcess:
        """The process with sPyNNaker."""
        if self._process is None:
            raise BackendError("simulator 'spinnaker': `open` comes first")
        return self._process

    def write(self, link: str, agent: int, weights: FloatArray, changed: FloatArray | None = None) -> None:
        """Keep weights for the next set-up; see `Simulator.write`."""
        self._weights[link, agent] = np.array(weights, dtype=float)

    def run(self, trial: Trial) -> dict[str, Spikes]:
        """Set up, run, read; see `Simulator.run`.

        Raises:
            BackendError: There is no machine, so no spikes would come back.
        """
        self.check_ready()
        reply = self.process.ask(self._request(trial, weights=False, read=True))
        return {name: gathered(trains) for name, trains in reply["spikes"].items()}

    def check_ready(self) -> None:
        """Refuse to run without a machine: no spikes would come back; see `Simulator.check_ready`."""
        if self.process.machine.is_virtual:
            raise BackendError(refusal())

    def map(self) -> Mapping:
        """Place and route the network with the weights as they are, and read the weights back."""
        reply = self.process.ask(self._request(Trial(), weights=True, read=False))
        names = {cells.name for cells in self.plan.cells} | {source.name for source in self.plan.sources}
        parts = tuple(
            Part(label, (x, y), core, atoms) for label, x, y, core, atoms in reply["parts"] if label in names and atoms
        )
        weights = tuple(
            held(name, kind, self._rows(self._link(name)), back)
            for (name, kind), back in sorted(reply["weights"].items())
        )
        chips = len({part.chip for part in parts})
        return Mapping(parts, len(reply["parts"]), chips, weights, self.process.machine.is_virtual)

    def _link(self, name: str) -> Link:
        return next(link for link in self.plan.links if link.name == name)

    def _rows(self, link: Link) -> FloatArray:
        """Return rows (pre, post, nA) of all agents; a synapse whose weight is 0 is none."""
        n_pre, n_post = self.plan.size(link.pre), self.plan.size(link.post)
        rows = []
        for agent in range(self.plan.n_agents):
            weights = self._weights[link.name, agent] if link.fixed is None else link.fixed
            post, pre = np.nonzero(weights)
            amplitude = weights[post, pre] * link.scale
            rows.append(np.column_stack([pre + agent * n_pre, post + agent * n_post, amplitude]))
        return np.concatenate(rows)

    def _request(self, trial: Trial, *, weights: bool, read: bool) -> dict[str, Any]:
        plan, n = self.plan, self.plan.n_agents
        sources = {one.name: trial.spikes.get(one.name, Spikes.none()).by_cell(one.size * n) for one in plan.sources}
        return {
            "timestep": STEP_MS,
            "delay": plan.delay,
            "duration": plan.duration,
            "per_core": PER_CORE,
            "sources": sources,
            "cells": {
                one.name: (one.size * n, cell_parameters(one), trial.currents.get(one.name, np.zeros(one.size * n)))
                for one in plan.cells
            },
            "links": {link.name: (link.pre, link.post, self._rows(link)) for link in plan.links},
            "weights": weights,
            "read": read,
        }

    def close(self) -> None:
        """End the process; see `Simulator.close`."""
        if self._process is not None:
            self._process.close()
            self._process = None


def refusal() -> str:
    """Say why there is no run on the virtual machine."""
    files = find_machine().files
    found = f"{files[-1]} says virtual_board = True" if files else "there is no .spynnaker.cfg in the home directory"
    return (
        "backend 'pynn', simulator 'spinnaker': no machine, so nothing can be decided or learned: on the virtual "
        f"machine the network is mapped, and no spikes come back ({found}); way out: name your board in "
        ".spynnaker.cfg (docs/chips.md), or --core nest"
    )


def gathered(trains: list[FloatArray]) -> Spikes:
    """Put the spikes of all cells of a population together."""
    index = np.repeat(np.arange(len(trains)), [len(one) for one in trains])
    return Spikes(index.astype(np.int64), np.concatenate(trains) if trains else np.empty(0))


def held(link: str, kind: str, asked: FloatArray, back: FloatArray) -> QuantisedWeights:
    """Compare weights as they were read back with what was asked and with our own rounding.

    Args:
        link: The link.
        kind: ``excitatory`` or ``inhibitory``.
        asked: Rows (pre, post, nA) of the whole link.
        back: Rows (pre, post, nA) of this projection, without sign.
    """
    own = asked[asked[:, 2] > 0] if kind == "excitatory" else asked[asked[:, 2] < 0]
    own = own[np.lexsort((own[:, 1], own[:, 0]))]
    back = back[np.lexsort((back[:, 1], back[:, 0]))]
    if len(own) != len(back):
        raise BackendError(f"sPyNNaker: link {link!r} has {len(back)} {kind} synapses, {len(own)} were asked for")
    wanted, found = np.abs(own[:, 2]), back[:, 2]
    step = grid(found)
    surprises = int(np.sum(rounded(wanted, step) != found)) if step else 0
    return QuantisedWeights(link, kind, len(back), step, float(np.max(np.abs(wanted - found), initial=0.0)), surprises)


SIMULATOR = SpinnakerSimulator
