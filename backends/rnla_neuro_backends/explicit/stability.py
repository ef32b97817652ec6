"""Is the explicit form stable for this network, this gain, this dt? Asked before a run, not after it.

The discrete scheme of `engine` (its steps 2, 6 and 7, without noise, with fixed weights) is linearised where the
network rests: for several inputs, at the voltages of the action layer at which its nudging is steepest, those
where neurons tie. It is stable where no mode grows from step to step; see `linearised` for the algebra.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import ConvergenceError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.form import EquilibriumForm, Prospective
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.explicit.linearised import Chain, FloatArray, Functions, Linearised, step_radius

Weights = Sequence[npt.NDArray[Any]]

_INPUTS = (0.0, 1.0, 3.0)  # scales of the random inputs; 0 is no input
_AGENTS = 2  # how many are looked at closely, those with the largest weights first
_WORK = 30_000  # bounds points times n_out² in one look at the action layer
_MANY = 300  # action neurons from which on one input is enough: it takes seconds
_HEIGHTS = (0.0, 30.0, -1.5, 1.5)


@dataclass(frozen=True)
class Stability:
    """How modes grow in a step of the explicit form; below 1 all of them decay.

    Attributes:
        radius: Spectral radius of a step.
        where: What it belongs to, in words.
        step: dt over the time constant, ``tau_m`` unless `where` names another one.
        loop_gain: Eigenvalue mu of the error loop, if it is the loop that decides; else 0.
        agent: Which agent.
        longest_dt: Seconds below which no mode grows; 0: none of any length.
        beta_factor: By what the nudging would have to be multiplied to be stable at this dt; 1: it is already.
    """

    radius: float
    where: str
    step: float
    loop_gain: complex = 0.0
    agent: int = 0
    longest_dt: float = np.inf
    beta_factor: float = 1.0


def refuse_unstable(network: NetworkSpec, weights: Weights) -> Stability:
    """Judge the explicit form of a network, and raise if some mode grows.

    Args:
        network: Its model must be of the proven form.
        weights: One array (A, n_post, n_pre + 1) a projection.

    Raises:
        ConvergenceError: It names the radius, where, dt/tau, the loop's gain, and the way out.
        BackendError: The model is not of the proven form.
    """
    form = network.form
    found = stability(form, form.prospective, weights, network.model.trial.dt)
    if not found.radius < 1.0:
        raise ConvergenceError(_message(found, network.model, form.prospective))
    return found


def stability(form: EquilibriumForm, rate: Prospective, weights: Weights, dt: float) -> Stability:
    """Return how stable a step is, and the place where its errors act on themselves most.

    Args:
        form: The proven form.
        rate: How the prospective rate of the hidden neurons is written.
        weights: One array (A, n_post, n_pre + 1) a projection.
        dt: Step in seconds.
    """
    functions, h = Functions(form), dt / form.tau_m
    slowest = _slowest(form, dt)
    if slowest.radius >= 1:
        return slowest
    places: list[Place] = []
    for agent in _strongest(functions, weights):
        network = Linearised(functions, rate, [w[agent].astype(np.float64) for w in weights])
        places += _places(network, agent)
    if not places:
        return slowest
    worst = max(places, key=lambda place: _danger(place.gains, h).max())
    # looked at again with the bend of the hidden rates
    gains = np.concatenate([worst.network.all_gains(worst.chain, worst.u), worst.gains])
    gain = complex(gains[int(_danger(gains, h).argmax())])
    radius = float(step_radius(gains, h).max())
    factor = _beta_factor(worst, h) if radius >= 1 else 1.0
    longest = min(_longest_step(gain) * form.tau_m, slowest.longest_dt)
    return Stability(max(radius, slowest.radius), worst.where, h, gain, worst.agent, longest, factor)


def _danger(gains: npt.NDArray[np.complex128], h: float) -> FloatArray:
    """Rank loop gains: those whose modes grow by how much they do, the others by their size."""
    radius = step_radius(gains, h)
    return np.where(radius >= 1, 1e6 + radius, np.abs(gains))


def _slowest(form: EquilibriumForm, dt: float) -> Stability:
    """Look at everything that follows without feedback: an Euler step must not be longer than 2 tau."""
    found = [(abs(1 - dt / form.tau_m), "the membrane, tau_m", form.tau_m)]
    for name, traces in (("hidden", form.hidden), ("action", form.action)):
        decay = np.diag(traces.A)
        if decay.any():
            values = np.linalg.eigvals(np.eye(len(decay)) + dt * traces.A)
            fastest = int(np.argmin(decay))
            radius = max((abs(v) for v in values if abs(v - 1) > 1e-12), default=0.0)
            found.append(
                (float(radius), f"trace {traces.names[fastest]} of the {name} synapses", float(-1 / decay[fastest]))
            )
    if form.decision.tau is not None:
        found.append((abs(1 - dt / form.decision.tau), "the low-pass of the decision", form.decision.tau))
    for modulator in form.modulators:
        if modulator.pulse is not None:
            tau = modulator.pulse.tau
            found.append((abs(1 - dt / tau), f"the pulse of neuromodulator {modulator.channel}", tau))
    radius, where, tau = max(found, key=lambda one: one[0])
    return Stability(float(radius), where, dt / tau, longest_dt=2 * tau)


def _strongest(functions: Functions, weights: Weights) -> list[int]:
    """Return the agents whose errors act on themselves most, where there is no input."""
    agents, _, columns = weights[0].shape
    rate = functions.encode(np.zeros((agents, columns - 1)))
    slopes = []
    for w in weights[:-1]:
        rate, slope = functions.phi(np.matmul(w[:, :, :-1], rate[..., None])[..., 0] + w[:, :, -1])
        slopes.append(slope)
    back = weights[-1][:, :, :-1] * slopes[-1][:, None]
    total = np.square(back).sum(axis=(1, 2))
    for w, slope in zip(weights[-2:0:-1], slopes[-2::-1], strict=True):
        back = np.matmul(back, w[:, :, :-1]) * slope[:, None]
        total += np.square(back).sum(axis=(1, 2))
    order: list[int] = np.argsort(-total, kind="stable")[:_AGENTS].tolist()
    return order


@dataclass(frozen=True)
class Place:
    """Where a network is linearised: voltages `u` (n_out,) of the action layer over a chain of hidden layers.

    `by_u` and `by_drive` are the nudging's derivatives there, shape (1, n_out, n_out); `gains` the loop gains mu.
    """

    network: Linearised
    agent: int
    where: str
    chain: Chain
    u: FloatArray
    by_u: FloatArray
    by_drive: FloatArray
    gains: npt.NDArray[np.complex128]


def _places(network: Linearised, agent: int) -> Iterator[Place]:
    """Linearise for several inputs, at several voltages of the action layer."""
    rng = np.random.default_rng(0)
    n_in = network.weights[0].shape[1] - 1
    many = len(network.weights[-1]) > _MANY
    for scale in _INPUTS[: 1 if many else None]:
        x = network.functions.encode(scale * rng.standard_normal(n_in))
        chain = network.chain(np.broadcast_to(x, (n_in,)))
        words, points = zip(*_points(chain), strict=True)
        u = np.array(points)
        with np.errstate(all="ignore"):
            by_u, by_drive = network.nudging_jacobians(u, np.broadcast_to(chain.drive, u.shape))
        if not (np.isfinite(by_u).all() and np.isfinite(by_drive).all()):
            continue  # `refuse_strong_nudging` names what is not finite
        gains = network.action_gains(chain, by_u, by_drive)
        given = "without input" if scale == 0 else f"with a random input of scale {scale:g}"
        for k, word in enumerate(words):
            here = slice(k, k + 1)
            yield Place(network, agent, f"{word}, {given}", chain, u[k], by_u[here], by_drive[here], gains[k])


def _points(chain: Chain) -> Iterator[tuple[str, FloatArray]]:
    """Yield voltages of the action layer: where it is driven to, and ties, the steepest places of a winner-take-all.

    Of two neurons that tie, errors grow with the difference of what they do to themselves and to each other.
    """
    n = len(chain.drive)
    budget = max(2, min(100, _WORK // n**2 // len(chain.gains)))
    yield "at rest", chain.drive
    total = chain.gains.sum(axis=0)
    own = np.diag(total)
    first = np.argsort(-own, kind="stable")[:12]
    pairs = sorted(combinations(first, 2), key=lambda p: 2 * total[p] - own[p[0]] - own[p[1]])
    groups: list[tuple[int, ...]] = [*pairs[:6], tuple(range(n)), *(tuple(first[:k]) for k in (3, 4, 6)), *pairs[6:12]]
    made = 1
    for height in _HEIGHTS:
        for group in groups:
            if made == budget:
                return
            made += 1
            u = np.full(n, height - 3.0)
            u[list(group)] = height
            yield f"where {len(group)} action neurons tie at u = {height:g}", u


def _longest_step(mu: complex) -> float:
    """Return the h = dt/tau_m below which the modes of a loop gain decay; 0 if they grow at any."""
    if mu == 0:
        return 2.0
    steps = np.geomspace(1e-4, 1.999, 400)
    stable = np.array([float(step_radius(mu, h)) < 1.0 for h in steps])
    return 0.0 if not stable[0] else float(steps[-1] if stable.all() else steps[int(np.argmin(stable)) - 1])


def _beta_factor(place: Place, h: float) -> float:
    """Return by what the nudging must be multiplied for a place to be stable; 0 if that does not help."""
    if h >= 2:
        return 0.0
    low, high = -12.0, 0.0  # powers of ten
    for _ in range(24):
        middle = 0.5 * (low + high)
        by_u, by_drive = (x * 10**middle for x in (place.by_u, place.by_drive))
        gains = place.network.action_gains(place.chain, by_u, by_drive)
        low, high = (middle, high) if step_radius(gains, h).max() < 1 else (low, middle)
    return float(10**low)


def _message(found: Stability, model: ModelSpec, rate: Prospective) -> str:
    """Word a refusal."""
    ways = []
    dt = model.trial.dt
    if found.longest_dt > 0:
        ways.append(f"a dt below {found.longest_dt * 1e3:.3g} ms (now {dt * 1e3:g} ms)")
    if found.loop_gain:
        if 0 < found.beta_factor < 1:
            beta = model.parameters.get("beta")
            now = f" below {beta.value * found.beta_factor:.2g} (now {beta.value:g})" if beta is not None else ""
            ways.append(f"a smaller beta{now}, a smaller gain of the nudging, or smaller weights")
        if rate == "difference":
            ways.append("the prospective rate as rbar + phi_prime*(I - u + err), which allows stronger nudging")
    loop = ""
    if found.loop_gain:
        gain = found.loop_gain
        text = f"{gain.real:.3g}" if abs(gain.imag) < 1e-9 else f"{gain.real:.3g}{gain.imag:+.3g}i"
        loop = f", loop gain of the errors {text} (agent {found.agent})"
    return (
        f"model {model.name!r}: the explicit form would not be stable: in a step, perturbations grow by "
        f"{found.radius:.4g} (spectral radius; it must be below 1): {found.where}, dt/tau = {found.step:.3g}{loop}. "
        f"Way out: {'; '.join(ways) or 'another backend, such as equilibrium'}"
    )
