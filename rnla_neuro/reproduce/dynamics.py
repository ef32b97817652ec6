"""Checks of the dynamics: no lag through layers, and errors that are those of backpropagation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.network import NetworkSpec
from rnla_neuro.reproduce.finding import Finding, Picture, Row, Series, finding
from rnla_neuro.reproduce.runs import Workshop
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.loader import load_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.numeric import compile_expression
from rnla_neuro.spec.proof import symbol

FloatArray = npt.NDArray[np.float64]
FREQUENCY = 10.0  # Hz, of the sine that is shown
DEPTH = 5
_WIDTH, _AMPLITUDE, _STEP = 8, 0.3, 0.25e-3
_PERIODS = 3  # of which the last is looked at


def rate_function(model: ModelSpec) -> Callable[[FloatArray], FloatArray]:
    """Return the hidden neurons' rate function as numpy."""
    where = f"{model.path.name}: [neuron.hidden] phi"
    values = {name: parameter.value for name, parameter in model.parameters.items()}
    assert model.hidden.phi is not None
    function = compile_expression(parse(model.hidden.phi, where, symbol), (model.roles["voltage"],), values)
    return lambda u: np.asarray(function(u), dtype=np.float64)


def phase_delays(model_name: str, seed: int, frequency: float = FREQUENCY, depth: int = DEPTH) -> FloatArray:
    """Return by how many seconds each layer lags behind what its input drives it to at this instant.

    A network of `depth` hidden layers is shown a sine, and integrated step by step by stock Brian2, which knows
    nothing of a moving equilibrium. Each voltage's phase is compared with that of the voltage which the same weights
    give without any dynamics.

    Args:
        model_name: The model.
        seed: Of the weights.
        frequency: Of the sine, in Hz.
        depth: Hidden layers.

    Returns:
        Delays, shape (depth,), positive where the layer is late.
    """
    import brian2 as b2

    from rnla_neuro import to_brian2

    model = load_model(model_name)
    b2.prefs.codegen.target, before = "numpy", b2.prefs.codegen.target
    b2.defaultclock.dt, step = _STEP * b2.second, b2.defaultclock.dt
    try:
        net = to_brian2(model_name, sizes=(2, *[_WIDTH] * depth, 2), seed=seed)
        angle_then = f"2*pi*{frequency}*Hz*(t + dt) + i*pi/2"
        wave = f"x = {_AMPLITUDE}*sin({angle_then})"
        net.input.run_regularly(wave, when="groups", order=-3000)
        name = model.roles["voltage"]
        seen = [b2.StateMonitor(layer, name, record=True) for layer in net.layers[:-1]]
        net.network.add(*net.input.contained_objects, *seen)
        net.run(_PERIODS / frequency * b2.second)
        voltages = [np.array(getattr(monitor, f"{name}_")) for monitor in seen]
        times, weights = np.array(seen[0].t_), net.weights()
    finally:
        b2.prefs.codegen.target = before
        b2.defaultclock.dt = step
    angle = 2 * np.pi * frequency * times
    rate = _AMPLITUDE * np.array([np.sin(angle), np.cos(angle)])
    phi, last, delays = rate_function(model), times >= (_PERIODS - 1) / frequency - 1e-9, []
    for u, w in zip(voltages, weights, strict=False):
        still = w[:, :-1] @ rate + w[:, -1:]
        found, wanted = (np.mean((v - v[:, last].mean(1, keepdims=True))[:, last] * np.exp(-1j * angle[last]), axis=1)
                         for v in (u, still))  # fmt: skip
        turn = np.angle(np.sum(wanted * np.conj(found)))  # the strongest responses count most
        delays.append(turn / (2 * np.pi * frequency))
        rate = phi(still)
    return np.unwrap(np.array(delays), period=1 / frequency)


def check_lag(shop: Workshop) -> Finding:
    """Check that prospective neurons do not lag, and that leaky ones do."""
    prospective, leaky = "rate_nla", "rate_leaky"
    found: dict[str, FloatArray] = {}
    seeds = shop.seeds[:3]
    for k, name in enumerate((prospective, leaky)):
        values = []
        for j, seed in enumerate(seeds):
            shop.tell(f"lag of {name}", (k * len(seeds) + j) / (2 * len(seeds)))
            values.append(phase_delays(name, seed))
        found[name] = 1e3 * np.array(values)
    tau = load_model(leaky).parameters["tau_m"].value
    omega = 2 * np.pi * FREQUENCY
    theory = 1e3 * np.arange(1, DEPTH + 1) * np.arctan(omega * tau) / omega
    layers = [str(k) for k in range(1, DEPTH + 1)]
    rows = [Row.of(f"{name}, layer {k + 1}", list(values[:, k]), "ms")
            for name, values in found.items() for k in (0, DEPTH - 1)]  # fmt: skip
    worst, slowest = np.abs(found[prospective]).max(), found[leaky][:, -1].mean()
    good = bool(worst < 1.0 and abs(slowest - theory[-1]) < 0.2 * theory[-1])
    series = [Series(name, layers, list(v.mean(0)), list(v.min(0)), list(v.max(0))) for name, v in found.items()]
    series.append(Series("leaky, arctan(ωτ)/ω a layer", layers, list(theory)))
    return finding(
        "lag",
        "reproduced" if good else "not reproduced",
        f"Through {DEPTH} layers prospective neurons are late by at most {worst:.2g} ms, leaky ones by "
        f"{slowest:.3g} ms (theory {theory[-1]:.3g} ms).",
        rows,
        Picture("lines", "hidden layer", "phase delay (ms)", tuple(series)),
        frequency=FREQUENCY,
        depth=DEPTH,
        width=_WIDTH,
        step=_STEP * 1e3,
        n=len(seeds),
    )


def error_cosines(model_name: str, depth: int, seed: int) -> list[float]:
    """Return for each hidden layer the cosine between its errors and those that backpropagation gives, by differences.

    The errors are those of the moving equilibrium at a decision. Backpropagation: the derivative of ē_N · u_N with
    respect to the layer's voltages in the feed-forward network, by central differences.

    Args:
        model_name: The model.
        depth: Hidden layers.
        seed: Of weights, input and exploration.
    """
    from rnla_neuro.backend import get_backend
    from rnla_neuro.events import EventBatch

    model = load_model(model_name)
    network = NetworkSpec(model=model, sizes=(10, *[20] * depth, 4), seeds=(seed,))
    with get_backend("equilibrium").build(network) as made:
        simulation: Any = made
        x = np.random.default_rng(seed).standard_normal((1, 10))
        _, seen = simulation.decide_recorded(x, EventBatch.empty())
        weights = [w[0] for w in simulation.weights()]
    u, ebar = _layers(seen.u[0, -1], network.sizes), _layers(seen.ebar[0, -1], network.sizes)
    phi = rate_function(model)
    return [_cosine(ebar[k], _backpropagated(u[k], ebar[-1], weights[k + 1 :], phi)) for k in range(depth)]


def _layers(flat: FloatArray, sizes: tuple[int, ...]) -> list[FloatArray]:
    return np.split(flat, np.cumsum(sizes[1:-1]))


def _cosine(a: FloatArray, b: FloatArray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _backpropagated(
    u: FloatArray, top: FloatArray, above: Sequence[FloatArray], phi: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Return the derivative of ``top · u_N`` with respect to the voltages of a layer."""
    step = 1e-5
    moved = u[:, None] + step * np.concatenate([np.eye(len(u)), -np.eye(len(u))], axis=1)
    for w in above:
        moved = w[:, :-1] @ phi(moved) + w[:, -1:]
    plus, minus = np.split(top @ moved, 2)
    return np.asarray((plus - minus) / (2 * step))


def check_errors(shop: Workshop) -> Finding:
    """Check that the errors which travel back all the time are those of backpropagation."""
    found: dict[str, FloatArray] = {}
    for name in ("rate_nla", "rate_nla_poster"):
        values = []
        for j, seed in enumerate(shop.seeds):
            shop.tell(f"errors of {name}", j / len(shop.seeds))
            values.append(error_cosines(name, DEPTH, seed))
        found[name] = np.array(values)
    worst = min(float(v.min()) for v in found.values())
    layers = [str(k) for k in range(1, DEPTH + 1)]
    series = tuple(Series(name, layers, list(v.mean(0)), list(v.min(0)), list(v.max(0))) for name, v in found.items())
    return finding(
        "errors",
        "reproduced" if worst >= 0.99 else "not reproduced",
        f"The smallest cosine of all layers and networks is {worst:.5f}.",
        [Row.of(f"{name}, mean over layers", list(v.mean(axis=1))) for name, v in found.items()],
        Picture("lines", "hidden layer", "cosine with backpropagation", series),
        depth=DEPTH,
        n=len(shop.seeds),
    )
