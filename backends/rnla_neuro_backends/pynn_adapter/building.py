"""From a network's strings to what a simulator builds, and from weights and inputs to what a run is given."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.pynn_adapter.course import Host
from rnla_neuro_backends.pynn_adapter.drive import Drive, read_drive
from rnla_neuro_backends.pynn_adapter.plan import Cells, FloatArray, Link, Plan, Source, Spikes, Trial
from rnla_neuro_backends.pynn_adapter.simulator import Simulator

#: A weight is set again when it has moved by more than this: setting is what takes time.
TOLERANCE: Final = 2.0**-10
_REST, _THRESHOLD, _CAPACITY = -65.0, -50.0, 1.0  # mV, mV, nF: how a cell's V of 0 and of V_th are written in PyNN
_BIAS_PERIOD = 1.0  # ms between the spikes that stand for a constant current, where there are no currents


class Blueprint:
    """What is built, and what each run is given.

    Attributes:
        drives: Cells of each level above the inputs.
        plan: What is built.
        names: Name of each level, the inputs first.
    """

    def __init__(self, host: Host, simulator: Simulator) -> None:
        self.host, self._simulator = host, simulator
        network = host.network
        self.names = [population.name for population in network.populations]
        self.n_agents, self.sizes = len(network.seeds), network.sizes
        self.drives: list[Drive] = [read_drive(host, level) for level in range(1, len(self.sizes))]
        self._baseline, self._links = self._read_links()
        cells = network.model.cells
        assert cells is not None, "the backend has checked it"
        dt = host.constants["dt"] * 1e3
        self.plan = Plan(
            cells=tuple(self._cells(level) for level in range(1, len(self.sizes))),
            sources=tuple(self._sources()),
            links=tuple(self._links),
            n_agents=self.n_agents,
            timestep=dt / cells.steps,
            delay=dt,
            duration=host.n_steps * dt,
        )
        self._at: dict[str, FloatArray] = {}  # weights that the simulator has, by link
        self._analog = host.signal("hidden", "sums", self._current) if self._baseline[0] is None else None

    @property
    def _current(self) -> str:
        return self.host.form.roles["current"]

    def background(self, level: int) -> str:
        """Name of the sources of a level's background spikes."""
        return f"background_{self.names[level]}"

    def _bias(self, level: int) -> str:
        return f"bias_{self.names[level]}"

    def link(self, level: int) -> str:
        """Name of the link into a level from the one below."""
        return f"{self.names[level - 1]}_{self.names[level]}"

    def amperes(self, level: int) -> float:
        """Return nA for a J of 1."""
        drive = self.drives[level - 1]
        return self._unit(drive) * _CAPACITY / (drive.tau_m * 1e3)

    @staticmethod
    def _unit(drive: Drive) -> float:
        return (_THRESHOLD - _REST) / drive.threshold

    # ---- what is built ------------------------------------------------------------------------------
    def _read_links(self) -> tuple[list[float | None], list[Link]]:
        """Return what each level sends without spikes (None: an analog value), and all links."""
        baseline: list[float | None] = []
        links: list[Link] = []
        self._tau: list[float] = []
        for level in range(1, len(self.sizes)):
            drive, taus = self.drives[level - 1], {}
            signal = self.host.signal(self.host.part(level), "sums", self._current)
            if level > 1 or self.host.form.populations["input"].spikes:
                offset, jump, tau = self.host.spike_gain(level - 1, signal)
                baseline.append(offset)
                taus[self.names[level - 1]] = tau
                scale = drive.gain * jump * self.amperes(level)
                links.append(Link(self.link(level), self.names[level - 1], self.names[level], scale))
            else:
                baseline.append(None)
            links += self._beside(level, drive, taus)
            self._tau.append(self._one_tau(level, taus))
            if not self._simulator.currents:
                spike = self.amperes(level) * _BIAS_PERIOD / (self._tau[-1] * 1e3)
                links.append(Link(self._bias(level), self._bias(level), self.names[level], spike))
        return baseline, links

    def _beside(self, level: int, drive: Drive, taus: dict[str, float]) -> list[Link]:
        """Links from cells of the same layer, and from the background."""
        name, size, links = self.names[level], self.sizes[level], []
        if drive.lateral_state:
            kept, jump, _ = self.host.neurons[self.host.kinds[level]].filter(drive.lateral_state)
            taus[name] = self.host.constants["dt"] / (1.0 - kept)
            matrix = jump * (np.full((size, size), drive.lateral) + drive.own * np.eye(size))
            for sign, what in ((-1.0, "inhibition"), (1.0, "excitation")):
                part = np.where(matrix * sign > 0, matrix, 0.0)
                if part.any():
                    links.append(Link(f"{name}_{what}", name, name, self.amperes(level), part))
        if drive.background is not None and drive.tau_background is not None:
            taus["the background"] = drive.tau_background
            fixed = drive.background.jump * np.eye(size)
            links.append(Link(self.background(level), self.background(level), name, self.amperes(level), fixed))
        return links

    def _one_tau(self, level: int, taus: dict[str, float]) -> float:
        values = list(taus.values())
        if values and max(values) - min(values) > 1e-9:
            listed = ", ".join(f"{tau * 1e3:g} ms from {name}" for name, tau in taus.items())
            raise BackendError(
                f"backend 'pynn' cannot run {self.host.form.name}: cells of {self.names[level]} would need several "
                f"synaptic time constants ({listed}); a cell has one. Way out: the same for all, for example "
                "--set tau_in=10*ms"
            )
        return values[0] if values else self.drives[level - 1].tau_m

    def _cells(self, level: int) -> Cells:
        drive = self.drives[level - 1]
        return Cells(
            name=self.names[level],
            size=self.sizes[level],
            tau_m=drive.tau_m * 1e3,
            tau_syn=self._tau[level - 1] * 1e3,
            t_ref=drive.t_ref * 1e3,
            rest=_REST,
            reset=_REST + self._unit(drive) * drive.reset,
            threshold=_THRESHOLD,
            capacity=_CAPACITY,
        )

    def _sources(self) -> list[Source]:
        found = [Source(self.names[0], self.sizes[0])] if self._baseline[0] is not None else []
        for level in range(1, len(self.sizes)):
            background = self.drives[level - 1].background
            if background is not None:
                rate = background.probability / self.host.constants["dt"]
                found.append(Source(self.background(level), self.sizes[level], rate))
            if not self._simulator.currents:
                found.append(Source(self._bias(level), 1))
        return found

    # ---- what a run is given ------------------------------------------------------------------------
    def write(self, weights: list[FloatArray]) -> None:
        """Set the weights that have moved; (A, n_post, n_pre + 1) a projection."""
        for level, w in enumerate(weights, start=1):
            if self._baseline[level - 1] is not None:
                self._write(self.link(level), w[:, :, :-1])

    def _write(self, link: str, wanted: FloatArray) -> None:
        at = self._at.get(link)
        if at is None:
            self._at[link] = wanted.copy()
            for agent in range(self.n_agents):
                self._simulator.write(link, agent, wanted[agent])
            return
        moved = np.abs(wanted - at) > TOLERANCE
        at[moved] = wanted[moved]
        for agent in np.flatnonzero(moved.any(axis=(1, 2))).tolist():
            self._simulator.write(link, agent, at[agent], moved[agent])

    def effective(self, weights: list[FloatArray]) -> list[FloatArray]:
        """Return the weights that act: those that the simulator has, and the biases, which are set for each run."""
        found = []
        for level, w in enumerate(weights, start=1):
            acting = w.copy()
            if self._baseline[level - 1] is not None:
                acting[:, :, :-1] = self._at[self.link(level)]
            found.append(acting)
        return found

    def constant_inputs(self, weights: list[FloatArray], x: FloatArray, noise: FloatArray) -> list[FloatArray]:
        """Return the constant part of each level's J, (A, n): biases, baselines, analog input, exploration."""
        found = []
        for level, w in enumerate(self.effective(weights), start=1):
            drive, offset = self.drives[level - 1], self._baseline[level - 1]
            bias = self.host.biases[self.host.part(level), self._current]
            if offset is not None:
                summed = offset * w[:, :, :-1].sum(axis=2)
            else:
                assert self._analog is not None, "inputs that do not spike are analog"
                summed = np.einsum("aij,aj->ai", w[:, :, :-1], self._sent(x))
            level_noise = drive.noise * noise if level == len(self.sizes) - 1 else 0.0
            found.append(drive.constant + drive.gain * (summed + bias * w[:, :, -1]) + level_noise)
        return found

    def _sent(self, x: FloatArray) -> FloatArray:
        """Return what analog inputs send, by the strings of [neuron.input]."""
        neurons, analog = self.host.neurons["input"], self._analog
        assert analog is not None, "inputs that do not spike are analog"

        def value(name: str) -> Any:
            return x if name == "x" else neurons.function(name)(value)

        return np.asarray(np.broadcast_to(analog(value), x.shape), dtype=np.float64)

    def trial(self, weights: list[FloatArray], x: FloatArray, noise: FloatArray, spikes: dict[str, Spikes]) -> Trial:
        """Return what a run is given.

        Args:
            weights: As the host means them; `write` has set them.
            x: Input values, (A, n_in).
            noise: Exploration, (A, n_out).
            spikes: Of inputs and background, by source.
        """
        currents = {}
        for level, constant in enumerate(self.constant_inputs(weights, x, noise), start=1):
            if self._simulator.currents:
                currents[self.names[level]] = (constant * self.amperes(level)).ravel()
                continue
            for agent in range(self.n_agents):
                self._simulator.write(self._bias(level), agent, constant[agent][:, None])
            times = np.arange(0.0, self.plan.duration, _BIAS_PERIOD)
            agents = np.repeat(np.arange(self.n_agents), len(times))
            spikes[self._bias(level)] = Spikes(agents, np.tile(times, self.n_agents))
        return Trial(spikes, currents)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights that the simulator has."""
        return {link: w.copy() for link, w in self._at.items()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Write weights that `state` returned."""
        self._at = {}
        for link, w in state.items():
            self._write(link, w)
