"""What a network sends in a decision: spikes, and synaptic operations.

Synaptic operations are the transmissions of a trial, learning left out:

* rates: every weight is used in every step of the model's ``dt``, forward, and backward wherever errors descend (all
  projections but the first): multiply-accumulates;
* spikes: each spike goes to its targets, the neurons of the layer above, or, from the action layer, the apical
  dendrites of the hidden layer below; an analog input, which is a held current, costs one operation a weight;
* baselines: one pass forward and one backward.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnla_neuro.network import NetworkSpec
from rnla_neuro.simulation import FloatArray, Simulation


def spikes_per_decision(simulation: Simulation) -> FloatArray | None:
    """Return mean spikes of each layer, inputs included, in a trial so far, (A, n_layers); None: no spikes."""
    counts = simulation.spike_counts()
    return None if counts is None else counts / max(simulation.decisions, 1)


def synaptic_operations(
    network: NetworkSpec, weights: Sequence[FloatArray], spikes: FloatArray | None, *, baseline: bool
) -> FloatArray:
    """Return the synaptic operations of a decision, shape (A,).

    Args:
        network: What was simulated.
        weights: As `Simulation.weights` returns them.
        spikes: As `spikes_per_decision` returns them.
        baseline: Whether it is a baseline, which has no time within a trial.

    >>> from rnla_neuro.analysis.operations import fan_outs
    >>> fan_outs((64, 40, 10))
    [40.0, 10.0, 40.0]
    """
    if spikes is not None and not baseline:
        sent: FloatArray = spikes @ np.array(fan_outs(network.sizes))
        held = network.sizes[0] * network.sizes[1]  # an analog input is silent
        return np.where(spikes[:, 0] > 0, sent, sent + held)
    forward = sum(float(w[0].size) for w in weights)
    backward = sum(float(n * m) for n, m in zip(network.sizes[1:-1], network.sizes[2:], strict=True))
    trial = network.model.trial
    steps = 1 if baseline else max(1, round(trial.duration / trial.dt))
    return np.full(len(network.seeds), (forward + backward) * steps)


def fan_outs(sizes: Sequence[int]) -> list[float]:
    """Return the targets of a spike from each layer, inputs first."""
    return [float(n) for n in (*sizes[1:], sizes[-2])]
