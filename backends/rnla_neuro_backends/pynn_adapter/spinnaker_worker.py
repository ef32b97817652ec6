"""The process that talks to sPyNNaker. It is started by path, imports nothing of this package, and never prints.

sPyNNaker takes the root logger, writes folders into the working directory and a file into the home directory, and
holds one network a process: all that stays in a process, a working directory and, without a machine, a home of its own.

Requests and answers are pickled dictionaries, each after its length in 8 bytes, over stdin and stdout.
"""

from __future__ import annotations

import os
import pickle
import struct
import traceback
from typing import IO, Any

import numpy as np


def receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read one message; None at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    message: dict[str, Any] = pickle.loads(stream.read(struct.unpack("<q", head)[0]))
    return message


def send(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Write one message."""
    body = pickle.dumps(message)
    stream.write(struct.pack("<q", len(body)) + body)
    stream.flush()


def build(sim: Any, request: dict[str, Any]) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """Build the network of a request; return populations and projections by name."""
    sim.setup(timestep=request["timestep"], min_delay=request["timestep"])
    sim.set_number_of_neurons_per_core(sim.IF_curr_exp, request["per_core"])
    sim.set_number_of_neurons_per_core(sim.SpikeSourceArray, request["per_core"])
    populations = {}
    for name, times in request["sources"].items():
        if not any(times):  # sPyNNaker 7.4 fails where no source has a spike: one after the end
            times = [[10 * request["duration"]], *times[1:]]
        populations[name] = sim.Population(len(times), sim.SpikeSourceArray(spike_times=times), label=name)
    for name, (size, parameters, currents) in request["cells"].items():
        population = sim.Population(size, sim.IF_curr_exp(**parameters), label=name)
        population.set(i_offset=currents)
        population.initialize(v=parameters["v_rest"])
        population.record("spikes")
        populations[name] = population
    projections = {}
    for name, (pre, post, rows) in request["links"].items():
        for kind, sign in (("excitatory", 1), ("inhibitory", -1)):
            chosen = rows[np.sign(rows[:, 2]) == sign]
            if len(chosen) == 0:
                continue
            listed = np.column_stack([chosen[:, 0], chosen[:, 1], np.abs(chosen[:, 2])])
            delays = np.full((len(listed), 1), request["delay"])
            connector = sim.FromListConnector(np.hstack([listed, delays]), column_names=["weight", "delay"])
            projections[name, kind] = sim.Projection(
                populations[pre], populations[post], connector, sim.StaticSynapse(), receptor_type=kind
            )
    return populations, projections


def placed() -> list[tuple[str, int, int, int, int]]:
    """Return where the populations' parts lie: (label, chip x, chip y, core, number of atoms)."""
    from spinn_front_end_common.data import FecDataView

    parts = []
    for placement in FecDataView.iterate_placemements():
        vertex = placement.vertex
        application = getattr(vertex, "app_vertex", None)
        label = str(application.label) if application is not None else str(vertex.label)
        atoms = int(vertex.vertex_slice.n_atoms) if application is not None else 0
        parts.append((label, int(placement.x), int(placement.y), int(placement.p), atoms))
    return parts


def read_back(projections: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    """Return the weights as the machine holds them, rows (pre, post, weight) of each projection."""
    back = {}
    for key, projection in projections.items():
        rows = projection.get("weight", format="list", with_address=True)
        back[key] = np.array([tuple(row) for row in rows], dtype=float).reshape(-1, 3)
    return back


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Set up, run, read and end, as a request says."""
    import pyNN.spiNNaker as sim

    populations, projections = build(sim, request)
    try:
        sim.run(request["duration"])
        reply: dict[str, Any] = {"parts": placed(), "weights": {}, "spikes": {}}
        if request["weights"]:
            reply["weights"] = read_back(projections)
        for name in request["cells"] if request["read"] else ():
            trains = populations[name].get_data("spikes").segments[-1].spiketrains
            reply["spikes"][name] = [np.asarray(train.rescale("ms").magnitude, dtype=float) for train in trains]
    finally:
        sim.end()
    return reply


def main() -> None:
    """Answer requests until stdin ends."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):  # whatever sPyNNaker prints goes to the log
        os.dup2(log, descriptor)
    while (request := receive(requests)) is not None:
        try:
            send(answers, answer(request))
        except Exception as error:  # noqa: BLE001 - of whatever kind: the parent reports it
            traceback.print_exc()
            send(answers, {"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
