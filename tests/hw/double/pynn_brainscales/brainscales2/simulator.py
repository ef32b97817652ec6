"""State of the double: placement, snippets, run commands, recorded data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pyNN.common import IDMixin
from pyNN.common.control import BaseState

from . import chip, contract

name = "HX"


class ID(int, IDMixin):
    def __init__(self, n):
        int.__init__(n)
        IDMixin.__init__(self)


@dataclass
class Snippet:
    """What one `run(…, APPEND)` scheduled: a copy of the configuration, and its data once executed."""

    start: float  # ms of the hardware
    duration: float
    populations: list
    projections: list
    recorded: dict
    spikes: dict = field(default_factory=dict)  # cell -> times in ms, counted from the start of the experiment
    voltages: dict = field(default_factory=dict)


class State(BaseState):
    dt = contract.MADC_STEP_MS

    def __init__(self):
        super().__init__()
        self.mpi_rank, self.num_processes = 0, 1
        self.min_delay = self.max_delay = 0
        self.current_sources = []
        self.clear()

    def clear(self):
        self.recorders = set()
        self.populations, self.projections, self.plasticity_rules = [], [], []
        self.id_counter = 0
        self.segment_counter = -1
        self.circuits = contract.CIRCUITS
        self.background_free = contract.BACKGROUND_GENERATORS
        self.bypass = False
        self.initial_config = None
        self.calibrations = 0
        self.hardware_runs = 0
        self.analog_sources = {}
        self.reset()

    def reset(self):
        self.running = False
        self.t = self.t_start = 0
        self.runtimes, self.snippets = [], []
        self.segment_counter += 1

    # -- placement ---------------------------------------------------------------------------------------

    def place(self, size):
        if size > self.circuits:
            raise ValueError(
                f"[P1] Cannot register more than {contract.CIRCUITS} neuron circuits: {self.circuits} are left, "
                f"{size} wanted"
            )
        self.circuits -= size

    def place_background(self):
        if self.background_free == 0:
            raise ValueError(f"[C8] Cannot register more than {contract.BACKGROUND_GENERATORS} ID sets")
        self.background_free -= 1

    # -- run commands ------------------------------------------------------------------------------------

    def prepare(self):
        """Place and route, calibrate what changed."""
        fan_in = {}
        for projection in self.projections:
            projection.check_route()
            for connection in projection.connections:
                cell = projection.post_cell(connection)
                fan_in[cell] = fan_in.get(cell, 0) + connection.synapses
        worst = max(fan_in.values(), default=0)
        if worst > contract.ROWS_PER_CIRCUIT:
            raise RuntimeError(
                f"[P2] no route: a neuron circuit has {contract.ROWS_PER_CIRCUIT} synapses, one neuron needs {worst}"
            )
        for rule in self.plasticity_rules:
            rule.check()
        shared = {}
        changed = [p for p in self.populations if p.celltype.calibrated and p.changed_since_last_run]
        for population in self.populations:
            population.celltype.check_configuration(population, shared)
        if changed:
            self.calibrations += 1
        for population in self.populations:
            population.celltype.prepared(population)
            population.changed_since_last_run = False

    def add(self, runtime):
        if not runtime > 0:
            raise ValueError(f"[R6] runtime {runtime} ms: a positive number")
        start = self.t
        self.t += runtime
        self.runtimes.append(runtime)
        self.prepare()
        if int(self.t * contract.CYCLES_PER_MS) > contract.TIMER_MAX:
            raise ValueError(
                f"[R5] Total runtime of {self.t} to long. Maximum supported runtime "
                f"{contract.TIMER_MAX / contract.CYCLES_PER_MS}"
            )
        recorded = {}
        for recorder in self.recorders:
            for variable, cells in recorder.recorded.items():
                recorded.setdefault(variable, set()).update(int(c) for c in cells)
        self.snippets.append(
            Snippet(
                start,
                runtime,
                [p.celltype.snapshot(p, start, self.t) for p in self.populations],
                [p.snapshot() for p in self.projections],
                recorded,
            )
        )

    def execute(self):
        if self.running:
            raise RuntimeError(
                "[R4] Call `pynn.reset()` before calling `pynn.run()` again: the chip runs in continuous time, so "
                "stacking runs is not supported"
            )
        self.running = True
        self.hardware_runs += 1
        chip.run(self.snippets, bypass=self.bypass)

    def run_until(self, tstop):
        self.add(tstop - self.t)
        self.execute()

    def spikes_of(self, cell):
        """Times in ms of a cell in each snippet in which its spikes were recorded."""
        return [
            (s, np.asarray(s.spikes.get(int(cell), ())))
            for s in self.snippets
            if int(cell) in s.recorded.get("spikes", ())
        ]


state: State | None = None
