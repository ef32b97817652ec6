"""The network that the options of a command describe."""

from __future__ import annotations

from collections.abc import Mapping

from rnla_neuro.channels import REWARD, parse_delays
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.inputs import parse_input, with_input
from rnla_neuro.spec.loader import load_model, parse_model
from rnla_neuro.tasks.catalogue import Task, get


def build(
    model: str,
    overrides: Mapping[str, str],
    task: str,
    hidden: tuple[int, ...] | None,
    seeds: tuple[int, ...],
    *,
    reward_delay: str = "none",
    precision: str = "float64",
    input: str = "",
) -> NetworkSpec:
    """Return the network of a model for a task."""
    delay = parse_delays(reward_delay)[REWARD]
    asked = parse_input(input)
    if asked.code is None:
        loaded = load_model(model, dict(overrides))
    else:
        coded = with_input(load_model(model), asked.code)
        loaded = parse_model(coded.text, coded.path, dict(overrides))
    about = get(task)
    n_in, n_actions = _sizes(about, asked.population, loaded.trial.duration)
    sizes = (n_in, *(about.hidden if hidden is None else hidden), n_actions)
    return NetworkSpec(loaded, sizes, seeds, precision, delay=delay)


def _sizes(task: Task, population: int | None, duration: float) -> tuple[int, int]:
    """Return the number of inputs and of actions; an environment is opened only where it has to be."""
    if task.sizes is not None:
        return task.sizes[0] * (population or 1), task.sizes[1]
    from rnla_neuro.bridge import EnvironmentBridge

    with EnvironmentBridge(
        task, 1, [1], trial_duration=duration, decision_time=duration, population=population
    ) as bridge:
        return bridge.n_in, bridge.n_actions
