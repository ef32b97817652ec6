"""State units wired to all action units, in PyNN on NEST: the network of the published Pong experiment.

T. Wunderlich et al. 2019, Front. Neurosci. 13:260; neuron constants of github.com/electronicvisions/model-sw-pong,
in the units of the chip's membrane (a threshold of 1278 mV above a rest of 616 mV).

Cells, sources, synapses and noise are plain PyNN. What is done at every decision goes through the NEST handles behind
them, since PyNN's own calls take many times as long as the 200 ms of simulation: `Projection.set` writes every weight,
and `get_data` copies spikes into Neo objects.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import MissingExtraError
from rnla_neuro_backends.pynn_adapter.quiet import quiet

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# ms, mV, nF (PyNN's units)
CELL = {
    "tau_m": 28.53,
    "v_thresh": 1278.0,
    "v_rest": 616.0,
    "v_reset": 355.0,
    "tau_refrac": 3.98,
    "tau_syn_E": 1.8,
    "cm": 2.36e-3,
}
_STEP, _DELAY = 0.1, 1.0  # ms
_LEAST, _FULL = 32.0, 0.4  # a weight w > 0 is (w + 32)/63 of 0.4 nA
_NOISE_STEP = 1.0  # ms that a value of the noise current is held
_FIRST = 2.0  # ms from the start of a decision to its first input spike: NEST's sources need a delay ahead


def current(weights: FloatArray) -> FloatArray:
    """Return the synaptic currents, nA, for whole-numbered weights 0…63, as the published simulation has them."""
    return np.where(weights > 0, (weights + _LEAST) * (_FULL / 63.0), 0.0)


class Response(NamedTuple):
    """What came of a decision.

    Attributes:
        pre: Times of the input spikes, ms from the start of the decision, shape (n_pre,).
        agent: Whose neuron spiked, shape (n_post,).
        neuron: Which, shape (n_post,).
        times: When, ms from the start of the decision, shape (n_post,).
    """

    pre: FloatArray
    agent: IntArray
    neuron: IntArray
    times: FloatArray


class StateActionNetwork:
    """A networks side by side; the chosen state unit of each sends a regular spike train to its action neurons.

    Args:
        weights: Whole numbers, shape (A, n_states, n_actions).
        duration: Of a decision, ms.
        spikes: Input spikes in a decision, and the interval between them in ms.
        noise: Standard deviation of the noise current into each neuron, nA; published: 0.1.
        mismatch: Relative standard deviation of each neuron's time constants, and of its distances from rest to
            threshold and from threshold to reset: fixed-pattern noise; 0 as in the published simulation.
        chip: Seed of the mismatch: the same one is the same neurons again, for each agent its own.
        seed: Of the noise.

    Raises:
        MissingExtraError: PyNN or NEST is not installed.
    """

    def __init__(
        self,
        weights: FloatArray,
        duration: float = 200.0,
        spikes: tuple[int, float] = (20, 10.0),
        noise: float = 0.1,
        mismatch: float = 0.0,
        chip: int = 1,
        seed: int = 1,
    ) -> None:
        for package in ("pyNN", "nest"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(
                    f"Pong on NEST needs {package}, which is not installed: pip install 'rnla-neuro[pynn]'"
                )
        with quiet():
            self._sim: Any = importlib.import_module("pyNN.nest")
            self._nest: Any = importlib.import_module("nest")
        self.n_agents, self.n_states, self.n_actions = weights.shape
        self._duration = duration
        count, interval = spikes
        self._pre: FloatArray = _FIRST + interval * np.arange(count, dtype=np.float64)
        with quiet():
            self._build(weights, noise, _varied(self.n_agents * self.n_actions, mismatch, chip), seed)

    def _build(self, weights: FloatArray, noise: float, cell: dict[str, Any], seed: int) -> None:
        sim = self._sim
        sim.setup(timestep=_STEP, min_delay=_DELAY, max_delay=_DELAY, rng_seed=seed, spike_precision="on_grid")
        n_cells = self.n_agents * self.n_actions
        cells = sim.Population(n_cells, sim.IF_curr_exp(**cell), initial_values={"v": CELL["v_rest"]})
        cells.record("spikes")
        if noise > 0:  # one source: NEST draws for each target anew
            source = sim.NoisyCurrentSource(mean=0.0, stdev=noise, start=0.0, stop=1e12, dt=_NOISE_STEP)
            source.inject_into(cells)
        sources = sim.Population(self.n_agents * self.n_states, sim.SpikeSourceArray(spike_times=[]))
        amplitude = current(weights)
        for a in range(self.n_agents):
            states = sources[a * self.n_states : (a + 1) * self.n_states]
            actions = cells[a * self.n_actions : (a + 1) * self.n_actions]
            synapse = sim.StaticSynapse(weight=amplitude[a], delay=_DELAY)
            sim.Projection(states, actions, sim.AllToAllConnector(), synapse, receptor_type="excitatory")
        sim.run(_DELAY)  # connects what PyNN puts off until the first run
        self._cells = cells.node_collection
        self._generators = sources.node_collection_source
        self._rest = float(CELL["v_rest"])
        # The `set` of NEST's collections asks first for the status of what is to be set and of the whole kernel, which
        # costs more than the 200 ms of simulation; this is what it calls then.
        kernel = importlib.import_module("nest.nestkernel_api")
        self._set_synapses, self._set_nodes = kernel.llapi_set_connection_status, kernel.llapi_set_nc_status
        self._time = float(self._nest.biological_time)
        self._first_id = int(self._cells[0].global_id)
        self._recorder = _recorder_of(self._nest, self._cells)
        parrots = sources.node_collection
        self._synapses = [self._nest.GetConnections(parrots[k], self._cells) for k in range(len(parrots))]

    def decide(self, states: IntArray) -> Response:
        """Show a state to each agent, (A,), for the duration of a decision; every neuron starts at rest."""
        start = self._time
        # the relay behind the source adds a delay, and so does the synapse: spikes *leave* the unit at `pre`
        train = (start + self._pre - _DELAY).tolist()
        for a, state in enumerate(states.tolist()):  # an earlier train of another source is over
            self._set_nodes(self._generators[a * self.n_states + state]._datum, [{"spike_times": train}])
        self._set_nodes(self._cells._datum, [{"V_m": self._rest}])
        self._nest.Simulate(self._duration)
        self._time += self._duration
        events = self._recorder.events
        self._set_nodes(self._recorder._datum, [{"n_events": 0}])
        index = np.asarray(events["senders"], dtype=np.int64) - self._first_id  # floats where there are none
        return Response(self._pre, index // self.n_actions, index % self.n_actions, events["times"] - start)

    def write(self, states: IntArray, weights: FloatArray, changed: BoolArray) -> None:
        """Set the weights from one state of each agent.

        Args:
            states: Which, shape (A,).
            weights: Whole numbers, shape (A, n_actions).
            changed: Where they differ from those of before, shape (A, n_actions).
        """
        amplitude = 1e3 * current(weights)  # NEST's pA
        for a in np.flatnonzero(changed.any(axis=1)).tolist():
            handle = self._synapses[int(a * self.n_states + states[a])]
            self._set_synapses(handle._datum, [{"weight": value} for value in amplitude[a].tolist()])

    def close(self) -> None:
        """End PyNN's session."""
        with quiet():
            self._sim.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _varied(n: int, mismatch: float, chip: int) -> dict[str, Any]:
    """Return the cells' parameters, the same for all or, with mismatch, each its own."""
    if mismatch <= 0:
        return dict(CELL)
    rng = np.random.default_rng([chip, 260])

    def factor() -> FloatArray:
        return np.maximum(1.0 + mismatch * rng.standard_normal(n), 0.2)  # none vanishes or turns over

    threshold = CELL["v_rest"] + (CELL["v_thresh"] - CELL["v_rest"]) * factor()
    return {
        "tau_m": CELL["tau_m"] * factor(),
        "v_thresh": threshold,
        "v_rest": CELL["v_rest"],
        "v_reset": threshold - (CELL["v_thresh"] - CELL["v_reset"]) * factor(),
        "tau_refrac": np.maximum(CELL["tau_refrac"] * factor(), _STEP),
        "tau_syn_E": CELL["tau_syn_E"] * factor(),
        "cm": CELL["cm"],
    }


def _recorder_of(nest: Any, cells: Any) -> Any:
    """Return the NEST device with which PyNN records the spikes of cells."""
    targets = nest.GetConnections(cells[:1]).target
    found = nest.NodeCollection([targets] if isinstance(targets, int) else sorted(set(targets)))
    return next(one for one in found if one.model == "spike_recorder")
