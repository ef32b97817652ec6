"""Recording: which cells, by which converter, and the data as Neo objects."""

from __future__ import annotations

from collections import defaultdict

import neo
import numpy as np
import pyNN.errors
import quantities as pq

from . import contract, simulator


class Recorder:
    def __init__(self, population, file=None):
        self.population, self.file = population, file
        self.recorded = defaultdict(set)
        self.devices = {}
        self.cache = []
        self.cleared = False
        simulator.state.recorders.add(self)

    def record(self, variables, ids, sampling_interval=None, locations=None, *, device="madc"):
        if sampling_interval:
            raise NotImplementedError("[D1] Sampling interval not implemented.")
        if locations is not None:
            raise RuntimeError("[D6] Can not extract recording locations for this celltype.")
        names = [variables] if isinstance(variables, str) else list(variables)
        for name in names:
            if not self.population.celltype.can_record(name):
                raise pyNN.errors.RecordingError(name, self.population.celltype)
        analog = [name for name in names if name in contract.ANALOG]
        if analog:
            self._check_analog(analog, ids, device)
        for name in names:
            self.recorded[name] |= set(ids)

    def _check_analog(self, analog, ids, device):
        parts = device.split("_")
        pad = parts[0] == "pad" and parts[1:2] in (["0"], ["1"]) and parts[2:] in ([], ["buffered"], ["unbuffered"])
        if device not in ("madc", "cadc") and not pad:
            raise ValueError(f'[D2] Device "{device}" is not supported')
        if len(analog) > 1:
            raise ValueError("[D3] Can only set 1 analog record type per neuron.")
        sources = simulator.state.analog_sources
        for cell in ids:
            if sources.get(int(cell), (analog[0],))[0] != analog[0]:
                raise ValueError("[D3] Only one source can be recorded per neuron.")
        on_madc = {cell for cell, (_, used) in sources.items() if used == "madc"}
        wanted = on_madc | {int(cell) for cell in ids} if device == "madc" else on_madc
        if len(wanted) > 2:
            raise ValueError("[D4] Can only record at most two neurons/locations via MADC")
        if len(wanted) == 2 and len({cell % 2 for cell in wanted}) == 1:
            raise RuntimeError("[D4] the MADC reads one even and one odd neuron circuit, not two of a kind")
        for cell in ids:
            sources[int(cell)] = (analog[0], device)

    def reset(self):
        for cells in self.recorded.values():
            for cell in cells:
                simulator.state.analog_sources.pop(int(cell), None)
        self.recorded = defaultdict(set)

    def clear(self):
        self.cache, self.cleared = [], True

    def store_to_cache(self, annotations=None):
        if simulator.state.running and not self.cleared:
            self.cache.append(self._segment(None, "all"))
        self.cleared = False

    def get(self, variables, gather=False, filter_ids=None, clear=False, annotations=None, locations=None):
        names = "all" if variables == "all" else [variables] if isinstance(variables, str) else list(variables)
        block = neo.Block(name=self.population.label)
        block.segments.extend(self.cache)
        if simulator.state.running and not self.cleared:
            block.segments.append(self._segment(filter_ids, names))
        if clear:
            self.clear()
        return block

    def count(self, variable, gather=True, filter_ids=None):
        return {int(c): sum(len(t) for _, t in simulator.state.spikes_of(c)) for c in self.recorded[variable]}

    def _segment(self, filter_ids, names):
        wanted = None if filter_ids is None else {int(c) for c in filter_ids}
        segment = neo.Segment(name=f"segment{simulator.state.segment_counter:03d}")
        for snippet in simulator.state.snippets:
            start, stop = snippet.start * pq.ms, (snippet.start + snippet.duration) * pq.ms
            for k, cell in enumerate(self.population.all_cells):
                if wanted is not None and int(cell) not in wanted:
                    continue
                if (names == "all" or "spikes" in names) and int(cell) in snippet.recorded.get("spikes", ()):
                    times = np.asarray(snippet.spikes.get(int(cell), ()), dtype=float)
                    segment.spiketrains.append(
                        neo.SpikeTrain(times * pq.ms, t_start=start, t_stop=stop, source_id=int(cell), source_index=k)
                    )
                if (names == "all" or "v" in names) and int(cell) in snippet.voltages:
                    times, values = snippet.voltages[int(cell)]
                    segment.irregularlysampledsignals.append(
                        neo.IrregularlySampledSignal(
                            times * pq.ms, values, units="dimensionless", name="v", source_ids=[int(cell)]
                        )
                    )
        return segment
