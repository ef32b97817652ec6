"""Something simple in place of the chip: leaky integrate-and-fire neurons with the programmed integer weights.

Times in ms of the hardware. One step is 0.5 µs, so a neuron of 10 µs is resolved; delays are one step, the least that
a stepwise simulation can do. Nothing here claims to be the chip's analog behaviour: no mismatch, no noise, and a
weight's strength is a round number (`LSB_PER_WEIGHT`), which on the chip has to be measured.
"""

from __future__ import annotations

import numpy as np

STEP_MS = 5e-4
#: Steady-state deflection per weight unit and spike of the synaptic input, in LSB, at the default biases.
LSB_PER_WEIGHT = 1.0
DEFAULT_GM, DEFAULT_DAC = 500.0, 600.0


class _Neurons:
    """State of one population of calibrated neurons, carried from snippet to snippet."""

    def __init__(self, parameters):
        self.v = np.array(parameters["v_rest"], dtype=float)
        self.i_exc, self.i_inh = np.zeros(len(self.v)), np.zeros(len(self.v))
        self.blocked = np.zeros(len(self.v), dtype=int)

    def step(self, parameters, exc, inh):
        gain = LSB_PER_WEIGHT * parameters["synapse_dac_bias"] / DEFAULT_DAC / DEFAULT_GM
        self.i_exc += exc * gain * parameters["i_synin_gm_E"]
        self.i_inh += inh * gain * parameters["i_synin_gm_I"]
        rest = parameters["v_rest"]
        drive = self.i_exc + self.i_inh
        self.v += (STEP_MS * 1e3 / parameters["tau_m"]) * (rest - self.v + drive)
        np.clip(self.v, 0, 255, out=self.v)
        self.i_exc *= np.exp(-STEP_MS * 1e3 / parameters["tau_syn_E"])
        self.i_inh *= np.exp(-STEP_MS * 1e3 / parameters["tau_syn_I"])
        held = self.blocked > 0
        self.v[held] = parameters["v_reset"][held]
        self.blocked[held] -= 1
        fired = (self.v >= parameters["v_thresh"]) & ~held
        self.v[fired] = parameters["v_reset"][fired]
        self.blocked[fired] = np.maximum(1, np.rint(parameters["tau_refrac"] / (STEP_MS * 1e3)))[fired].astype(int)
        return fired


def run(snippets, *, bypass):
    """Execute snippets one after the other, the neurons' state carried on; fills in their data."""
    neurons = {}
    for snippet in snippets:
        _snippet(snippet, neurons, bypass)


def _snippet(snippet, neurons, bypass):
    n_steps = max(1, round(snippet.duration / STEP_MS))
    sizes = [p["size"] for p in snippet.populations]
    fired = [np.zeros((n_steps + 1, size), dtype=int) for size in sizes]
    for index, population in enumerate(snippet.populations):
        for cell, times in enumerate(population.get("events", ())):
            at = np.floor(np.asarray(times) / STEP_MS + 1e-6).astype(int)
            np.add.at(fired[index], (at[at < n_steps], cell), 1)
            _keep(snippet, population["cells"][cell], np.asarray(times) + snippet.start)
        if population["kind"] == "calibrated" and index not in neurons:
            neurons[index] = _Neurons(population["parameters"])
    on_chip = [i for i, p in enumerate(snippet.populations) if p["kind"] in ("calibrated", "raw")]
    into = {i: [p for p in snippet.projections if p["post"] == i] for i in on_chip}
    watched = snippet.recorded.get("v", set())
    trace = {cell: [] for cell in watched}
    for step in range(n_steps):
        for i in on_chip:
            population = snippet.populations[i]
            exc, inh = np.zeros(sizes[i]), np.zeros(sizes[i])
            for projection in into[i]:
                counts = fired[projection["pre"]][step]
                if counts.any():
                    total = counts @ projection["weights"]
                    exc, inh = (exc + total, inh) if projection["sign"] > 0 else (exc, inh + total)
            if population["kind"] == "raw":  # uncalibrated: silent, but for the bypass that hands events on
                now = (exc > 0) | (inh < 0) if bypass else np.zeros(sizes[i], dtype=bool)
            else:
                now = neurons[i].step(population["parameters"], exc, inh)
                for k, cell in enumerate(population["cells"]):
                    if cell in trace:
                        trace[cell].append(neurons[i].v[k])
            fired[i][step + 1] += now
    for i in on_chip:
        for step, cell in zip(*np.nonzero(fired[i][: n_steps + 1]), strict=True):
            if step < n_steps:
                snippet.spikes.setdefault(snippet.populations[i]["cells"][cell], []).append(
                    snippet.start + step * STEP_MS
                )
    for cell, values in trace.items():  # the MADC samples when it likes: times are not a grid
        times = snippet.start + (np.arange(len(values)) + 0.3 * np.sin(np.arange(len(values)))) * STEP_MS
        snippet.voltages[cell] = (times, np.rint(values))


def _keep(snippet, cell, times):
    snippet.spikes[cell] = list(times)
