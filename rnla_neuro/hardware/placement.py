"""Where the neurons of a network lie on the circuits of a platform.

Circuits are filled in the order of the populations. The circuits of an analog chip are columns of halves; a synapse row
of a half has one sign for all its columns, and each column listens to one of the row's sources. A core of a digital
platform holds neurons of one population.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from rnla_neuro.hardware.demand import PopulationDemand
from rnla_neuro.hardware.spec import HardwareSpec


@dataclass(frozen=True)
class Block:
    """Neurons of one population on neighbouring circuits of one half.

    Attributes:
        population: Its name.
        unit: Number of the chip or core, from 0.
        half: Number of the half, from 0.
        first: First column within the half.
        columns: Circuits.
        neurons: Neurons; one that reaches into the next half counts where it begins.
        excitatory: Excitatory synapses of each column.
        inhibitory: Inhibitory synapses of each column.
    """

    population: str
    unit: int
    half: int
    first: int
    columns: int
    neurons: int
    excitatory: int
    inhibitory: int


@dataclass(frozen=True)
class Placement:
    """Where everything lies.

    Attributes:
        halves: Halves of a unit.
        columns: Circuits of a half.
        rows: Synapse rows of a half; None: synapses are not arranged in rows.
        blocks: Neighbouring circuits of one population each.
        left_out: Populations whose neurons find no room on any unit.
    """

    halves: int
    columns: int
    rows: int | None
    blocks: tuple[Block, ...]
    left_out: tuple[str, ...] = field(default=())

    @property
    def units(self) -> int:
        """Units that are used."""
        return len({block.unit for block in self.blocks})

    def rows_used(self, unit: int, half: int) -> tuple[int, int]:
        """Return the excitatory and inhibitory rows of a half."""
        here = [block for block in self.blocks if (block.unit, block.half) == (unit, half)]
        return max((b.excitatory for b in here), default=0), max((b.inhibitory for b in here), default=0)

    @property
    def fullest(self) -> tuple[int, int]:
        """The excitatory and inhibitory rows of the half that uses most."""
        used: dict[tuple[int, int], tuple[int, int]] = {}
        for block in self.blocks:
            place = (block.unit, block.half)
            before = used.get(place, (0, 0))
            used[place] = max(before[0], block.excitatory), max(before[1], block.inhibitory)
        return max(used.values(), key=sum, default=(0, 0))


def place(populations: Sequence[PopulationDemand], hardware: HardwareSpec) -> Placement | None:
    """Place populations on as many units as they need; None: the platform counts no circuits.

    Args:
        populations: What they ask.
        hardware: The platform.
    """
    circuits = hardware.neurons.circuits
    if circuits is None:
        return None
    total = int(circuits.number)
    fan_in = hardware.neurons.fan_in if hardware.kind == "analog" else None
    halves = 1 if fan_in is None else max(1, round(total / fan_in.number))
    rows = None if fan_in is None else int(fan_in.number)
    filling = _Filling(halves, ceil(total / halves), total, rows)
    for population in populations:
        filling.add(population)
        if hardware.kind != "analog":
            filling.next_unit()
    return Placement(halves, filling.columns, rows, tuple(filling.blocks), tuple(filling.left_out))


class _Filling:
    """Fills the circuits of one unit after the other."""

    def __init__(self, halves: int, columns: int, total: int, rows: int | None) -> None:
        self.halves, self.columns, self.total, self.rows = halves, columns, total, rows
        self.blocks: list[Block] = []
        self.left_out: list[str] = []
        self._unit = self._at = 0
        self._used: dict[tuple[int, int], tuple[int, int]] = {}

    def next_unit(self) -> None:
        """Go on with an empty unit."""
        if self._at:
            self._unit, self._at = self._unit + 1, 0

    def add(self, population: PopulationDemand) -> None:
        """Place one population."""
        left, each = population.size, population.circuits
        if each > self.total or (self.rows is not None and sum(population.rows) > self.rows):
            self.left_out.append(population.name)
            return
        while left:
            if self.total - self._at < each:
                self.next_unit()
            half = self._at // self.columns
            end = min((half + 1) * self.columns, self.total)
            if not self._has_rows(population, half):
                self._at = end  # the rows of this half have other signs: the next one
                continue
            fit = min(left, ceil((end - self._at) / each), (self.total - self._at) // each)
            self._put(population, fit)
            left -= fit

    def _has_rows(self, population: PopulationDemand, half: int) -> bool:
        """Whether the rows of a half, and of the next one where a neuron reaches into it, can have the signs asked."""
        if self.rows is None:
            return True
        reach = (self._at + population.circuits - 1) // self.columns
        wanted = population.rows
        for one in range(half, min(reach, self.halves - 1) + 1):
            used = self._used.get((self._unit, one), (0, 0))
            if max(used[0], wanted[0]) + max(used[1], wanted[1]) > self.rows:
                return False
        return True

    def _put(self, population: PopulationDemand, neurons: int) -> None:
        """Place neurons from the present column on, as a block a half."""
        start, end = self._at, self._at + neurons * population.circuits
        counted = 0
        for half in range(start // self.columns, (end - 1) // self.columns + 1):
            first, last = max(start, half * self.columns), min(end, (half + 1) * self.columns)
            begun = ceil((last - start) / population.circuits) - counted
            counted += begun
            self.blocks.append(
                Block(
                    population.name,
                    self._unit,
                    half,
                    first - half * self.columns,
                    last - first,
                    begun,
                    *population.rows,
                )
            )
            used = self._used.get((self._unit, half), (0, 0))
            self._used[self._unit, half] = (max(used[0], population.rows[0]), max(used[1], population.rows[1]))
        self._at = end
