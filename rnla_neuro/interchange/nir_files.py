"""Spiking networks as NIR graphs, for the simulators and chips that read them; needs the extra ``nir``.

A network becomes a chain: input → Affine → LIF → LI → Affine → … → LI → output. A LIF (or IF) is a layer of neurons,
the LI behind it the low-pass of their spikes, which our synapses transmit; the last LI is the voltage of the action
layer, whose largest is the decision. Readers of NIR differ in what they make of r and v_leak: here r is 1 and v_leak 0,
and the Affines have all that they would say. All voltages start at 0.

Simulators of NIR let a spike be an input of 1 for one step of length dt, which an Euler step weighs by dt/tau. So that
a spike adds what it adds in our model, the Affine behind an LI has the factor jump tau/dt; with ``pulse="dirac"`` it is
jump tau, for those who take a spike as a delta function in time.

Simulators of NIR pass a spike on within its step, ours at the next one: a step a layer. ``delays=True`` says so, by a
Delay of dt behind each LI; then all spikes are the same. Fewer readers know a Delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConfigError, MissingExtraError, unknown
from rnla_neuro.interchange.nir_mapping import NirMapping, map_to_nir
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.results import Results
from rnla_neuro.revisit import moment_of
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.sections import Membrane

FloatArray = npt.NDArray[np.float64]
Pulse = Literal["step", "dirac"]
Readout = Literal["voltage", "spikes"]


@dataclass(frozen=True)
class NirExport:
    """A network in NIR.

    Attributes:
        graph: The `nir.NIRGraph`; its metadata has the step and the meaning of a spike.
        dt: Step of the model, in seconds; the graph's constants hold for it if a spike is a pulse of one step.
        left_out: What the graph has not.
    """

    graph: Any
    dt: float
    left_out: tuple[str, ...]


def to_nir(
    model: ModelSpec,
    weights: Sequence[FloatArray],
    pulse: Pulse = "step",
    readout: Readout = "voltage",
    *,
    delays: bool = False,
) -> NirExport:
    """Return a network of a spiking model as a NIR graph.

    Args:
        model: The model.
        weights: One array (n_post, n_pre + 1) a projection, the bias last.
        pulse: What a spike is for who reads the graph: ``step``, an input of 1 for one step of the model's dt, or
            ``dirac``, a delta function in time.
        readout: Where the graph ends: with the ``voltage`` of the action layer, or with the ``spikes`` of the last
            hidden layer, for who has no LI.
        delays: Whether each layer sees the spikes of the one below a step later, as in our simulations.

    Raises:
        BackendError: The neurons are not those of NIR; all reasons are named.
        ConfigError: Another pulse, or weights that make no chain.
        MissingExtraError: nir is not installed.
    """
    for what, value, allowed in (("pulse", pulse, ("step", "dirac")), ("readout", readout, ("voltage", "spikes"))):
        if value not in allowed:
            raise ConfigError(unknown(what, value, allowed))
    mapping = map_to_nir(model)
    nir = _nir()
    arrays = [np.asarray(w, dtype=np.float64) for w in weights]
    if any(a.shape[0] + 1 != b.shape[1] for a, b in pairwise(arrays)):
        raise ConfigError(f"weights of shapes {[w.shape for w in arrays]}: each layer needs one more than the last has")
    dt = model.trial.dt
    chain = _chain(nir, mapping, arrays, dt if pulse == "step" else 1.0, readout, dt if delays else 0.0)
    names = [name for name, _ in chain]
    about = {"model": model.name, "dt": dt, "pulse": pulse, "made_by": "rnla_neuro"}
    graph = nir.NIRGraph(nodes=dict(chain), edges=list(pairwise(names)), metadata=about)
    return NirExport(graph, dt, mapping.left_out)


def _chain(
    nir: ModuleType,
    mapping: NirMapping,
    weights: Sequence[FloatArray],
    unit: float,
    readout: Readout,
    delay: float,
) -> list[tuple[str, Any]]:
    """Return the nodes by name; `unit` is how long a spike of height 1 lasts, `delay` of a layer, in seconds."""
    n_in, n_out = weights[0].shape[1] - 1, weights[-1].shape[0]
    chain: list[tuple[str, Any]] = [("input", nir.Input(input_type={"input": np.array([n_in])}))]
    if mapping.input.tau is not None:
        chain.append(("input_filter", _low_pass(nir, mapping.input.tau, n_in)))
    sent = mapping.input
    for k, w in enumerate(weights, start=1):
        n, last = w.shape[0], k == len(weights)
        membrane = mapping.readout if last else mapping.hidden
        height = 1.0 if sent.tau is None else sent.jump * sent.tau / unit
        bias = w[:, -1] + sent.offset * w[:, :-1].sum(axis=1)
        scaled = membrane or Membrane(None, 1.0, 0.0)
        matrix = scaled.r * sent.gain * height * w[:, :-1]
        chain.append((f"weights{k}", nir.Affine(weight=matrix, bias=scaled.r * bias + scaled.v_leak)))
        if not last:
            chain.append((f"hidden{k}", _spiking(nir, scaled.tau, n, mapping)))
            if readout == "spikes" and k == len(weights) - 1:
                n_out = n
                break
            tau = mapping.transmitted.tau
            assert tau is not None, "only inputs transmit what is no low-pass"
            chain.append((f"filter{k}", _low_pass(nir, tau, n)))
            if delay:
                chain.append((f"delay{k}", nir.Delay(delay=np.full(n, delay))))
            sent = mapping.transmitted
        elif membrane is not None:
            ones = np.ones(n)
            integrates = membrane.tau is None
            chain.append(("action", nir.I(r=ones) if integrates else _low_pass(nir, float(membrane.tau or 0.0), n)))
    return [*chain, ("output", nir.Output(output_type={"output": np.array([n_out])}))]


def export_run(
    run: Results | str | Path,
    path: str | Path,
    *,
    seed: int | None = None,
    at: str | int = "end",
    pulse: Pulse = "step",
    readout: Readout = "voltage",
    delays: bool = False,
) -> NirExport:
    """Write the network of a run to a ``.nir`` file, whole or not at all; an existing one is replaced.

    Args:
        run: The run, or its folder; its model spikes.
        path: The file.
        seed: Which of its seeds; None: the first.
        at: Moment of its learning, as for `rnla_neuro.recording.record_run`.
        pulse: As for `to_nir`.
        readout: As for `to_nir`.
        delays: As for `to_nir`.

    Raises:
        ConfigError: There is no such seed or moment.
        BackendError: The model cannot be said in NIR.
        MissingExtraError: nir is not installed.
    """
    target = Path(path)
    if target.suffix != ".nir":
        raise ConfigError(f"{target}: NIR graphs are written to a file that ends in .nir")
    results = run if isinstance(run, Results) else Results.load(run)
    config = results.config
    chosen = config.seeds[0] if seed is None else seed
    if chosen not in config.seeds:
        raise ConfigError(f"seed {chosen}: the run {results.path} has the seeds {', '.join(map(str, config.seeds))}")
    model = parse_model(config.model_text, results.path / "model.toml", dict(config.overrides))
    map_to_nir(model)
    weights = moment_of(results, at).weights
    if weights is None:
        raise ConfigError("--at start: the first weights are drawn anew at each start; take a checkpoint, such as 0")
    export = to_nir(model, [w[config.seeds.index(chosen)] for w in weights], pulse, readout, delays=delays)
    with whole_or_nothing(target) as temporary:
        _nir().write(temporary, export.graph)
    return export


def _nir() -> ModuleType:
    try:
        import nir
    except ImportError:
        raise MissingExtraError("NIR graphs need a package more: pip install 'rnla_neuro[nir]'") from None
    return nir  # type: ignore[no-any-return]


def _low_pass(nir: ModuleType, tau: float, n: int) -> Any:
    return nir.LI(tau=np.full(n, tau), r=np.ones(n), v_leak=np.zeros(n))


def _spiking(nir: ModuleType, tau: float | None, n: int, mapping: NirMapping) -> Any:
    ends = {"r": np.ones(n), "v_threshold": np.full(n, mapping.threshold), "v_reset": np.full(n, mapping.reset)}
    return nir.IF(**ends) if tau is None else nir.LIF(tau=np.full(n, tau), v_leak=np.zeros(n), **ends)
