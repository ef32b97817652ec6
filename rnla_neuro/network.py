"""From a model and layer sizes to a network: initial weights, the credit of a trial, and whether it is well-posed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import sympy as sp

from rnla_neuro.errors import BackendError, ConfigError, ConvergenceError, ModelError
from rnla_neuro.rewards import RewardDelay
from rnla_neuro.seeding import streams
from rnla_neuro.spec.constants import Given, constant_values
from rnla_neuro.spec.credit import TraceFilter, proven_filter, read_filter
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.derive_plasticity import derive_initial
from rnla_neuro.spec.form import EquilibriumForm
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.numeric import ActionLayer, compile_expression, rate_and_slope
from rnla_neuro.spec.populations import Population, Projection, populations, projections

FloatArray = npt.NDArray[np.float64]
PRECISIONS = ("float64", "float32")
_HIGHEST = 30.0  # rate functions are looked at between this voltage and its negative


@dataclass(frozen=True)
class NetworkSpec:
    """A network of one model; it knows no simulator and no hardware.

    Attributes:
        model: The checked model.
        sizes: Neurons per layer, from the inputs to the actions.
        seeds: One seed an agent; agents are independent copies that learn side by side.
        precision: ``float64`` or ``float32`` for voltages, weights and traces.
        freeze_hidden: Only the action layer's weights learn.
        delay: When rewards arrive; it sets the credit by which the model may divide its learning rate.
        constants: What takes the place of the defaults of constants of single neurons (``k : 1 (constant)``):
            population (`Population.name`) -> constant -> values, shape (A, N).
    """

    model: ModelSpec
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    precision: str = "float64"
    freeze_hidden: bool = False
    delay: RewardDelay = field(default_factory=RewardDelay)
    constants: Given = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if len(self.sizes) < 3:
            raise ConfigError(
                f"layer sizes {self.sizes}: at least one hidden layer is needed (inputs, hidden, actions)"
            )
        if min(self.sizes) < 1 or self.sizes[-1] < 2:
            raise ConfigError(f"layer sizes {self.sizes}: every layer needs a neuron, and the last one two")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision {self.precision!r}: allowed are {', '.join(PRECISIONS)}")
        if not self.seeds:
            raise ConfigError("no seeds: at least one agent is needed")
        if self.constants:
            self.constant_values  # noqa: B018 - it refuses what does not fit

    @cached_property
    def form(self) -> EquilibriumForm:
        """The proven form of the model."""
        return derive_form(self.model)

    @property
    def plastic(self) -> tuple[bool, ...]:
        """Whether each projection learns."""
        return tuple(p.name == "action" or not self.freeze_hidden for p in self.projections)

    @cached_property
    def populations(self) -> tuple[Population, ...]:
        """The layers from the inputs to the actions, then the interneurons beside the hidden layers."""
        return populations(self.model, self.sizes)

    @cached_property
    def projections(self) -> tuple[Projection, ...]:
        """The projections from layer to layer, then those beside them."""
        return projections(self.model, self.sizes)

    @cached_property
    def constant_values(self) -> dict[tuple[int, str], FloatArray]:
        """Constants of all neurons: number of the population and constant -> values, shape (A, N)."""
        return constant_values(self.model, self.populations, len(self.seeds), self.constants)

    def initial_weights(self) -> list[FloatArray]:
        """Draw the initial weights of all agents, one array (A, *`Projection.shape`) a projection.

        Raises:
            ModelError: The model's expressions give numbers that are not finite.
        """
        model = self.model
        kinds = {p.name: derive_initial(model, p.name) for p in self.projections}
        known = {name: parameter.value for name, parameter in model.parameters.items()}
        known |= {"T": model.trial.duration, "dt": model.trial.dt, "n": float(self.sizes[-1])}
        per_agent = []
        for seed in self.seeds:
            rng = streams(seed).weights
            per_agent.append(
                [_draw_weights(kinds[p.name], known, rng, (p.n_pre, p.n_post), p.bias) for p in self.projections]
            )
        drawn = [np.stack(projection) for projection in zip(*per_agent, strict=True)]
        for projection, weights in zip(self.projections, drawn, strict=True):
            if not np.isfinite(weights).all():
                raise ModelError(f"{model.path.name}: initial weights of {projection.name!r} are not finite")
        return drawn

    @cached_property
    def credit(self) -> float:
        """Weight of the rewarded trial in the eligibility trace when its reward arrives.

        The trace of a source of 1 during the open gate (the whole trial without a gate), read after the
        delay; a random delay is averaged over its law. It is 1 for models that do not ask for it and are not
        of the proven form.

        Raises:
            BackendError: The model asks for it, and its traces do not decay at constant rates.
            ConfigError: The trace holds nothing of the trial when its reward arrives.
        """
        from scipy.linalg import expm  # takes a quarter of a second

        trial = self.model.trial
        try:
            traces = proven_filter(self.form.action)
        except BackendError:
            if not uses_credit(self.model):
                return 1.0
            traces = read_filter(self.model)
        window = trial.gate if traces.gated else trial.decision
        delays = self.delay.sample(np.random.default_rng(0), 4096, trial.duration)
        n, s = traces.B.shape
        block = np.zeros((n + s, n + s))
        block[:n, :n], block[:n, n:] = traces.A, traces.B
        source = _eligibility_source(traces)
        at_decision = expm(block * window)[:n, n + source]
        values, vectors = np.linalg.eig(traces.A + 0j)
        if np.linalg.cond(vectors) < 1e8:
            modes = np.linalg.solve(vectors, at_decision.astype(complex))
            decay = np.exp(np.outer(delays, values)) * modes
            after = (decay @ vectors[traces.eligibility]).real
        else:  # a cascade of equal time constants has no full set of eigenvectors
            after = np.array([(expm(traces.A * d) @ at_decision)[traces.eligibility] for d in np.unique(delays)[::16]])
        credit = float(after.mean())
        if not credit > 1e-6:
            raise ConfigError(
                f"model {self.model.name!r}: the eligibility trace holds nothing of a trial when its reward arrives "
                f"(credit {credit:.3g}, delay {self.delay}): use a longer tau_elig or a cascade (rate_nla_late)"
            )
        return credit


def uses_credit(model: ModelSpec) -> bool:
    """Return whether a model asks for the credit of a rewarded trial."""
    synapses = (model.synapse_hidden, model.synapse_action, *model.projections.values())
    texts = [text for s in synapses for text in (s.equations, *s.on_event.values())]
    lines = (line.split("#", 1)[0] for text in texts for line in text.splitlines())
    return any(re.search(r"\bcredit\b", line) for line in lines)


def _eligibility_source(traces: TraceFilter) -> int:
    """Return the source that drives the eligibility trace, directly or through a cascade."""
    reach = np.eye(len(traces.A)) + (traces.A != 0)
    for _ in traces.A:
        reach = reach @ reach
    driven = (reach @ np.abs(traces.B))[traces.eligibility]
    return int(np.argmax(driven))


@lru_cache(maxsize=64)
def _compiled(
    expr: sp.Expr, names: tuple[str, ...], values: tuple[tuple[str, float], ...]
) -> Callable[..., FloatArray]:
    """Compile an expression once for all agents."""
    return compile_expression(expr, names, dict(values))


def _draw_weights(
    initial: tuple[sp.Expr, sp.Expr],
    known: Mapping[str, float],
    rng: np.random.Generator,
    shape: tuple[int, int],
    bias: bool,
) -> FloatArray:
    n_pre, n_post = shape
    values = {"N_pre": float(n_pre), "N_post": float(n_post), **known}
    parts = []
    places = {"i": np.arange(n_pre, dtype=np.float64)[None, :], "j": np.arange(n_post, dtype=np.float64)[:, None]}
    sizes = [(n_post, n_pre), (n_post, 1)] if bias else [(n_post, n_pre)]
    for expr, size in zip(initial, sizes, strict=False):
        names = tuple(sorted(s.name for s in expr.free_symbols if re.fullmatch(r"randn?_\d+", s.name)))
        draws = [rng.standard_normal(size) if n.startswith("randn") else rng.random(size) for n in names]
        used = tuple(name for name in places if any(s.name == name for s in expr.free_symbols))
        function = _compiled(expr, (*names, *used), tuple(values.items()))
        parts.append(np.broadcast_to(function(*draws, *(places[name] for name in used)), size))
    return np.concatenate(parts, axis=1)


def nudging_slope(form: EquilibriumForm, n_out: int) -> float:
    """Return the largest slope of the self-nudging, b = max ‖d ebar_N / d u_N‖, over many voltages.

    Winner-take-alls are steepest where some neurons tie, so ties of 2 to n neurons at several heights are
    probed, the rates' saturation included, beside random voltages; derivatives are central differences.
    (SCIENCE 1: b ≤ β g / 2 for softmax.)
    """
    rng, layer = np.random.default_rng(0), ActionLayer(form)
    points = [rng.standard_normal(n_out) * scale for scale in np.geomspace(1e-3, 3.0, 24)]
    for tie in range(2, n_out + 1):
        for height in (*np.linspace(-1.5, 1.5, 13), 30.0):
            u = np.full(n_out, height - 3.0)
            u[:tie] = height
            points.append(u)
    u0 = np.array(points)
    step = 1e-6
    moved = u0[:, None, :] + step * np.concatenate([np.eye(n_out), -np.eye(n_out)])[None]
    silent = np.zeros_like(moved)
    drive = np.broadcast_to(u0[:, None, :], moved.shape)
    with np.errstate(all="ignore"):  # what is not finite is named by `refuse_strong_nudging`
        error = layer.nudging(moved, drive, silent)
        jacobian = (error[:, :n_out] - error[:, n_out:]) / (2 * step)
    if not np.isfinite(jacobian).all():
        return float("nan")
    return float(np.linalg.norm(jacobian, ord=2, axis=(1, 2)).max())


def steepest_rate(form: EquilibriumForm) -> float:
    """Return the largest |phi'| over a wide range of voltages; NaN where phi or phi' is not finite."""
    with np.errstate(all="ignore"):  # what is not finite is named by `refuse_strong_nudging`
        rate, slope = rate_and_slope(form)(np.linspace(-_HIGHEST, _HIGHEST, 6001))
        steepest = np.abs(slope).max()
        defined = np.isfinite(rate).all() and np.isfinite(steepest)
    return float(steepest) if defined else float("nan")


@dataclass(frozen=True)
class GainBound:
    """The bound b (1 + sum_l ‖W_N φ' … W_l φ'‖²) of one agent; below 1 the equilibrium is unique.

    Attributes:
        value: The bound.
        nudging: b alone; NaN where the nudging is not finite.
        steepest: Largest |phi'|; NaN where phi or phi' is not finite.
        layer_norms: Spectral norms of the weights after the first projection.
        agent: Which agent has it.
    """

    value: float
    nudging: float
    steepest: float
    layer_norms: tuple[float, ...]
    agent: int


def gain_bound(weights: Sequence[npt.NDArray[np.floating]], nudging: float, rate_slope: float) -> GainBound:
    """Return the largest bound over agents.

    Args:
        weights: One array (A, n_post, n_pre + 1) a projection.
        nudging: Slope of the self-nudging (`nudging_slope`).
        rate_slope: Largest slope of the rate function (`steepest_rate`).
    """
    norms = np.array([np.linalg.norm(w[:, :, :-1].astype(float), ord=2, axis=(1, 2)) for w in weights[1:]])
    factors = np.cumprod((norms * rate_slope)[::-1] ** 2, axis=0)
    bounds = nudging * (1.0 + factors.sum(axis=0))
    worst = int(np.argmax(bounds))
    return GainBound(float(bounds[worst]), nudging, rate_slope, tuple(norms[:, worst].tolist()), worst)


def _refuse_undefined(bound: GainBound, model: ModelSpec) -> None:
    """Raise if there is no bound because a function of the model is not finite."""
    if not np.isfinite(bound.steepest):
        raise ModelError(
            f"{model.path.name}: [neuron.hidden] phi = {model.hidden.phi!r}: phi or its derivative is not finite at "
            f"some voltages between -{_HIGHEST:g} and {_HIGHEST:g}; phi must be defined for every voltage, "
            "negative ones too, for example 'tanh(u)' or 'log(1 + exp(u))'"
        )
    if not np.isfinite(bound.nudging):
        error = model.roles["error"]
        raise ModelError(
            f"{model.path.name}: [neuron.action] equations: {error!r} or its derivative is not finite at some "
            "voltages; it must be defined for every voltage, negative ones too"
        )


def refuse_strong_nudging(bound: GainBound, model: ModelSpec) -> None:
    """Raise if the network is not well-posed at the start.

    Raises:
        ModelError: The rate function or the nudging is not finite at some voltages.
        ConvergenceError: It names the gain, the layer with the largest weights, and the way out.
    """
    _refuse_undefined(bound, model)
    if bound.value < 1.0:
        return
    layer = int(np.argmax(bound.layer_norms)) + 1
    name = "the action layer" if layer == len(bound.layer_norms) else f"hidden layer {layer + 1}"
    hint = ""
    if "beta" in model.parameters:
        beta = model.parameters["beta"].value
        hint = f" (beta = {beta:g} now; below {0.5 * beta / bound.value:.2g} there is room for the weights to grow)"
    raise ConvergenceError(
        f"model {model.name!r}: the nudging is too strong for one equilibrium: b (1 + sum ‖W phi'‖²) = "
        f"{bound.value:.3g}, allowed is below 1 (nudging slope b = {bound.nudging:.3g}; largest weights: {name}, "
        f"norm {max(bound.layer_norms):.3g}). Way out: a smaller beta{hint}, a smaller gain, smaller initial weights"
    )
