"""The network that the options of a command describe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from rnla_neuro import resources
from rnla_neuro.channels import REWARD, parse_delays
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.inputs import parse_input, with_input
from rnla_neuro.spec.loader import available_models, load_model, parse_model
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
    units: bool = True,
) -> NetworkSpec:
    """Return the network of a model for a task.

    Without `units` the units of a packaged model are not checked: our tests have done that, and Brian2 takes seconds to
    load. A file of the user's is checked either way.
    """
    delay = parse_delays(reward_delay)[REWARD]
    asked = parse_input(input)
    trusted = not units and model in available_models()
    path = resources.models_dir() / f"{model}.toml"
    load = partial(parse_model, path.read_text(encoding="utf-8"), path) if trusted else partial(load_model, model)
    if asked.code is None:
        loaded = load(dict(overrides))
    else:
        coded = with_input(load(), asked.code, units=not trusted)
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
