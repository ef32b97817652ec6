"""Does self-nudging follow the policy gradient? Cosines per layer, with baseline <R> and with V(x).

The expected reward of one decision is J = <sum_a π(a|x) R(x, a)> over the inputs x, π the model's own policy;
its gradient with respect to the weights is computed exactly, over all actions. The direction in which
self-nudging learns is E[(R - b) ē_l r̄_{l-1}ᵀ]/β, the expectation over exploration. What the winner decides is
summed exactly; the rest is sampled (see `align`). Everything about the neurons comes from the model's form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnla_neuro.analysis._nudging import NudgedLayers
from rnla_neuro.errors import ConfigError, unknown
from rnla_neuro.simulation import FloatArray, IntArray
from rnla_neuro.spec.form import EquilibriumForm

BASELINES = ("mean", "value")
METHODS = ("auto", "exact", "sampled")
_COLUMNS = 40_000  # columns solved at once: some ten MB


@dataclass(frozen=True)
class AlignmentRow:
    """One line of the table.

    Attributes:
        trial: When in training the weights were taken.
        layer: ``"hidden 1"``, …, ``"action"``, or ``"all"`` for all weights as one vector.
        baseline: ``"mean"``: b = <R>; ``"value"``: b = V(x), the expected reward of this input.
        cosine: Between the self-nudging direction and the exact policy gradient.
        standard_error: Of the cosine, from sampling the exploration; 0 where nothing was sampled.
        norm_ratio: Length of the self-nudging direction over that of the policy gradient.
    """

    trial: int
    layer: str
    baseline: str
    cosine: float
    standard_error: float
    norm_ratio: float


def label_rewards(labels: IntArray, n_actions: int, right: float = 1.0, wrong: float = 0.0) -> FloatArray:
    """Return the rewards R(x, a), shape (N, n_actions), of a task with one right action an input."""
    return np.where(np.arange(n_actions) == np.asarray(labels)[:, None], right, wrong).astype(np.float64)


def policy_gradient(
    form: EquilibriumForm, weights: Sequence[FloatArray], inputs: FloatArray, rewards: FloatArray
) -> list[FloatArray]:
    """Return the exact gradient of the expected reward, one array (n_post, n_pre + 1) a projection.

    Args:
        form: The model.
        weights: One agent's weights, (n_post, n_pre + 1) a projection.
        inputs: (N, n_in).
        rewards: R(x, a), (N, n_out).

    Raises:
        ConfigError: The shapes do not fit, or the policy is not a softmax of the drive.
    """
    layers = NudgedLayers(form, weights)
    _check(layers, inputs, rewards)
    return layers.outer(*layers.policy_errors(inputs, rewards))


def align(
    form: EquilibriumForm,
    weights: Sequence[FloatArray],
    inputs: FloatArray,
    rewards: FloatArray,
    mean_reward: float,
    *,
    trial: int = 0,
    samples: int = 16,
    seed: int = 0,
    method: str = "auto",
) -> list[AlignmentRow]:
    """Compare the self-nudging direction with the exact policy gradient.

    Two methods. ``"exact"``: in the limit of a winner that takes all (the gain of the sharpest softmax to
    infinity, β to 0) the nudging of the poster's form M depends on exploration through the winner alone, and
    Gumbel noise makes the winner's law the policy itself; so the sum over winners is exact. ``"sampled"``,
    for every nudging: Gumbel noise is drawn given the winner, exactly (Maddison et al. 2014), the winners
    are weighed by the policy, and each draw's equilibrium is solved by sweeps with the model's own gain
    and β; other noise is drawn as it comes. Draws come in antithetic pairs shared by all winners and by both
    baselines; the standard error is a jackknife over pairs. ``"auto"`` is ``"exact"`` where that is possible.

    Args:
        form: The model.
        weights: One agent's weights, (n_post, n_pre + 1) a projection.
        inputs: (N, n_in).
        rewards: R(x, a), (N, n_out), as `label_rewards` makes them.
        mean_reward: The model's <R> at this moment.
        trial: Written into the rows.
        samples: Draws an input (and winner), an even number of at least 4.
        seed: Of the draws.
        method: ``"auto"``, ``"exact"`` or ``"sampled"``.

    Returns:
        A row for each layer, and for all weights together, with each baseline.

    Raises:
        ConfigError: A value or shape is not allowed, or the model has no self-nudging.
        ConvergenceError: The sweeps do not find an equilibrium.
    """
    layers = NudgedLayers(form, weights)
    _check(layers, inputs, rewards)
    if method not in METHODS:
        raise ConfigError(unknown("method", method, METHODS))
    if samples < 4 or samples % 2:
        raise ConfigError(f"samples = {samples} is not allowed: an even number of at least 4")
    obstacle = layers.obstacle_to_exact()
    if method == "exact" and obstacle:
        raise ConfigError(f"method 'exact' is not possible here: {obstacle}; allowed: 'sampled'")
    values = (layers.policy(inputs) * rewards).sum(axis=1)
    baselines = {"mean": np.full(len(inputs), float(mean_reward)), "value": values}
    if method == "exact" or (method == "auto" and not obstacle):
        pairs = {name: _exact(layers, inputs, rewards, b) for name, b in baselines.items()}
    else:
        rng = np.random.default_rng(seed)
        pairs = _sampled(layers, inputs, rewards, baselines, samples // 2, rng)
    gradient = layers.outer(*layers.policy_errors(inputs, rewards))
    return [row for name in BASELINES for row in _rows(trial, name, pairs[name], gradient)]


def scalar_product_with_reinforce(
    form: EquilibriumForm, drive: FloatArray, noise_bar: FloatArray, *, winner_takes_all: bool = False
) -> FloatArray:
    """Return ē/β · (1_a - π) for single decisions, shape (N,): never negative for forms M and S.

    The winner a has the largest u = drive + noise (β to 0). ē is largest at a wherever the sharp softmax and
    the soft one are of the same voltage, and then Σ_k π_k (ē_a - ē_k) ≥ 0. For form W, whose reference is
    the policy of the drive, it holds in the limit of infinite gain.

    Args:
        form: The model.
        drive: The action layer's drive, (N, n).
        noise_bar: Exploration as it enters u, (N, n).
        winner_takes_all: Take the sharpest softmax to the limit of infinite gain.
    """
    layers = NudgedLayers(form, None)
    u = drive + noise_bar
    error = layers.nudging(u, drive, noise_bar, winner=u.argmax(axis=1) if winner_takes_all else None)
    reference = layers.policy_of(drive)
    one_hot = np.eye(drive.shape[1])[layers.decision(u, drive, noise_bar)]
    product: FloatArray = (error * (one_hot - reference)).sum(axis=1)
    return product


def _check(layers: NudgedLayers, inputs: FloatArray, rewards: FloatArray) -> None:
    """Refuse arrays that do not fit the network."""
    n_in, n_out = layers.sizes[0], layers.sizes[-1]
    if inputs.ndim != 2 or inputs.shape[1] != n_in:
        raise ConfigError(f"inputs have shape {inputs.shape}; (N, {n_in}) is needed")
    if rewards.shape != (len(inputs), n_out):
        raise ConfigError(f"rewards have shape {rewards.shape}; {(len(inputs), n_out)} is needed")


def _exact(
    layers: NudgedLayers, inputs: FloatArray, rewards: FloatArray, baseline: FloatArray
) -> list[list[FloatArray]]:
    """Sum over winners, their law being the policy; one estimate, without sampling error."""
    rates, slopes, drive = layers.forward(inputs)
    policy = layers.policy_of(drive)
    error = np.zeros_like(drive)
    for a in range(drive.shape[1]):
        winner = np.full(len(inputs), a)
        nudging = layers.nudging(drive, drive, np.zeros_like(drive), winner=winner)
        error += (policy[:, a] * (rewards[:, a] - baseline))[:, None] * nudging
    # β to 0: the hidden errors are linear in the action layer's, so the expectation goes through
    return [layers.outer(rates, layers.backward(error, slopes))]


def _sampled(
    layers: NudgedLayers,
    inputs: FloatArray,
    rewards: FloatArray,
    baselines: dict[str, FloatArray],
    pairs: int,
    rng: np.random.Generator,
) -> dict[str, list[list[FloatArray]]]:
    """Draw noise in antithetic pairs; return one estimate of the direction a pair, by baseline."""
    n_out = layers.sizes[-1]
    winners = range(n_out) if layers.noise == "gumbel" else (None,)
    size = max(1, _COLUMNS // len(winners) // 2)
    estimates: dict[str, list[list[FloatArray]]] = {name: [] for name in baselines}
    for _ in range(pairs):
        total = {name: [np.zeros(w.shape) for w in layers.weights] for name in baselines}
        for start in range(0, len(inputs), size):
            part = slice(start, start + size)
            uniform = rng.uniform(1e-12, 1 - 1e-12, size=(len(inputs[part]), n_out + 1))
            for draw in (uniform, 1 - uniform):
                for winner in winners:
                    _add(
                        layers,
                        inputs[part],
                        rewards[part],
                        {k: b[part] for k, b in baselines.items()},
                        draw,
                        winner,
                        total,
                    )
        for name, arrays in total.items():
            estimates[name].append([array / (2 * len(inputs)) for array in arrays])
    return estimates


def _add(
    layers: NudgedLayers,
    inputs: FloatArray,
    rewards: FloatArray,
    baselines: dict[str, FloatArray],
    uniform: FloatArray,
    winner: int | None,
    total: dict[str, list[FloatArray]],
) -> None:
    """Add one draw's (R - b) ē r̄ᵀ/β, weighed with the probability of its winner, to `total`."""
    drive = layers.forward(inputs)[2]
    noise_bar = layers.draw_noise(drive, uniform, winner)
    rates, errors, action = layers.equilibrium(inputs, noise_bar)
    rows = np.arange(len(inputs))
    if winner is None:
        reward, weight = rewards[rows, action], np.ones(len(inputs))
    else:
        reward, weight = rewards[:, winner], layers.policy_of(drive)[:, winner]
    for name, baseline in baselines.items():
        factor = (weight * (reward - baseline))[:, None]
        for sums, rate, error in zip(total[name], rates, errors, strict=True):
            sums += (factor * error).T @ rate


def _rows(
    trial: int, baseline: str, estimates: list[list[FloatArray]], gradient: list[FloatArray]
) -> list[AlignmentRow]:
    """Turn estimates of the direction into rows, the jackknife over estimates giving the standard error."""
    depth = len(gradient)
    names = [f"hidden {layer + 1}" for layer in range(depth - 1)] + ["action", "all"]
    flat = [[np.ravel(g) for g in estimate] for estimate in estimates]
    exact = [np.ravel(g) for g in gradient]
    rows = []
    for index, name in enumerate(names):
        if name == "all":
            draws, target = np.array([np.concatenate(f) for f in flat]), np.concatenate(exact)
        else:
            draws, target = np.array([f[index] for f in flat]), exact[index]
        direction = draws.mean(axis=0)
        cosine, error = _cosine(direction, target), 0.0
        n = len(draws)
        if n > 1:
            left_out = np.array([_cosine((n * direction - draw) / (n - 1), target) for draw in draws])
            error = float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))
        ratio = float(np.linalg.norm(direction) / max(float(np.linalg.norm(target)), 1e-300))
        rows.append(AlignmentRow(trial, name, baseline, cosine, error, ratio))
    return rows


def _cosine(a: FloatArray, b: FloatArray) -> float:
    """Return the cosine between two vectors; nan where one of them is zero."""
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms > 0 else float("nan")
