"""Small networks, model variants and events that the conformance tests share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.rewards import RewardDelay
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.equilibrium import EquilibriumSimulation

Weights = list[np.ndarray]

#: The poster's literal form with a current that is held for a trial instead of one that fluctuates.
HELD_NOISE = {"law = ": 'law = "gaussian"', "hold = ": 'hold = "trial"', "tau = ": "", "tau_ou = ": ""}


def variant(
    name: str, replace: Mapping[str, str] | None = None, overrides: Mapping[str, str] | None = None
) -> ModelSpec:
    """Read a packaged model with some of its lines replaced; every replacement must hit exactly once.

    Args:
        name: Name of the model.
        replace: By what a line begins with, the line to put in its place; "" leaves it out.
        overrides: As `load_model` takes them.
    """
    path = models_dir() / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    for key, line in (replace or {}).items():
        text, hits = re.subn(rf"^{re.escape(key)}.*\n", line and line + "\n", text, flags=re.MULTILINE)
        assert hits == 1, f"{name}.toml has {hits} lines {key!r}"
    return parse_model(text, Path(f"{name}_variant.toml"), overrides)


def build(
    model: ModelSpec,
    sizes: Sequence[int],
    seeds: Sequence[int] = (1,),
    *,
    core: str = "numpy",
    weights: Weights | None = None,
    precision: str = "float64",
    freeze_hidden: bool = False,
    delay: str = "none",
    **options: object,
) -> EquilibriumSimulation:
    """Build a simulation on the equilibrium backend."""
    network = NetworkSpec(model, tuple(sizes), tuple(seeds), precision, freeze_hidden, RewardDelay.parse(delay))
    simulation = EquilibriumSimulation(network, core=core, **options)  # type: ignore[arg-type]
    if weights is not None:
        simulation.set_weights(weights)
    return simulation


def random_weights(
    rng: np.random.Generator, sizes: Sequence[int], agents: int = 1, scale: float = 0.8, bias: float = 0.3
) -> Weights:
    """Draw weights N(0, scale²/fan_in) and biases N(0, bias²), one array a projection."""
    return [
        np.concatenate(
            [
                rng.standard_normal((agents, n_post, n_pre)) * scale / np.sqrt(n_pre),
                rng.standard_normal((agents, n_post, 1)) * bias,
            ],
            axis=2,
        )
        for n_pre, n_post in pairwise(sizes)
    ]


def events(*rows: tuple[int, float, float] | tuple[int, float, float, int]) -> EventBatch:
    """Make a batch from (agent, time, value[, channel]), sorted by agent and time."""
    if not rows:
        return EventBatch.empty()
    full = sorted(((*row, 0)[:4] for row in rows), key=lambda row: (row[0], row[1]))
    agent, time, value, channel = zip(*full, strict=True)
    return EventBatch(np.array(agent), np.array(time, float), np.array(channel), np.array(value, float))


def layers(flat: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Split the last axis of a recording into layers."""
    return np.split(flat, np.cumsum(sizes[1:])[:-1], axis=-1)


def relative(new: Sequence[np.ndarray], old: Sequence[np.ndarray]) -> float:
    """Return the largest difference over the largest value, over a list of arrays."""
    size = max(float(np.abs(x).max()) for x in old)
    return max(float(np.abs(a - b).max()) for a, b in zip(new, old, strict=True)) / size


def told(simulation: Any, trial: int) -> np.ndarray | None:
    """Return what a trial's action layer ought to do, (A, n_out), for a model that is told a target."""
    if not simulation.network.model.takes_target:
        return None
    return np.random.default_rng(50 + trial).uniform(-2, 2, (simulation.n_agents, simulation.sizes[-1]))
