"""How input values become what input neurons send: codes that take the place of a model's own [neuron.input].

A code is a file of its own in models/inputs/, with the sections [input] (name, summary, source), [parameters] and
[neuron.input], whose variable ``rbar`` is what is sent. `with_input` puts it into any model.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from rnla_neuro.errors import ConfigError, ModelError, unknown
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.perturbation import drop_unread
from rnla_neuro.spec.units import check_units_cached

_RATE = "rbar"
_MOST = 1000  # neurons of a population for one value


@dataclass(frozen=True)
class InputCode:
    """What ``--input`` asks for.

    Attributes:
        population: Neurons by which each input value is represented; None: the value itself.
        code: Name of a file in models/inputs/; None: the model's own inputs.
    """

    population: int | None = None
    code: str | None = None


def available_inputs() -> tuple[str, ...]:
    """Names of the input codes, sorted."""
    from rnla_neuro import resources

    return tuple(sorted(path.stem for path in (resources.models_dir() / "inputs").glob("*.toml")))


def parse_input(text: str) -> InputCode:
    """Read what ``--input`` says: ``poisson``, ``population:8``, ``population:8,poisson``; empty: the model's own.

    Raises:
        ConfigError: It names the part, what is allowed, and the nearest known name.
    """
    population: int | None = None
    code: str | None = None
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, colon, number = part.partition(":")
        if name == "population":
            if population is not None:
                raise ConfigError(f"input {text!r}: 'population' stands there twice")
            if not number.isdigit() or not 2 <= int(number) <= _MOST:
                raise ConfigError(f"input {part!r}: expected population:N, N neurons a value, from 2 to {_MOST}")
            population = int(number)
        elif colon or name not in available_inputs():
            raise ConfigError(unknown("input", part, [*available_inputs(), "population:8"]))
        elif code is not None:
            raise ConfigError(f"input {text!r}: two codes, {code!r} and {name!r}; allowed is one, beside population:N")
        else:
            code = name
    return InputCode(population, code)


def _read(name: str) -> dict[str, Any]:
    from rnla_neuro import resources

    path = resources.models_dir() / "inputs" / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"input code {str(path)!r} cannot be read: {error}") from None
    missing = [key for key in ("input", "neuron") if key not in data]
    if missing or "input" not in data["neuron"]:
        raise ModelError(f"{path.name}: an input code has the sections [input], [parameters] and [neuron.input]")
    return data


def with_input(model: ModelSpec, name: str, *, units: bool = True) -> ModelSpec:
    """Put an input code in the place of a model's own [neuron.input].

    Parameters that the model has already keep their values; those that nothing reads any more go. The code's ``rbar``
    takes the name that the model's rate has. A model whose inputs are analog already stays as it is under ``analog``.

    Args:
        model: The model, without overrides of parameters that only the code has.
        name: Name of a code (`available_inputs`).
        units: Whether the units of the equations are checked, which takes a second for a text that is new.

    Returns:
        The model that was made, with its own text; its overrides are those of `model`.

    Raises:
        ModelError: The code does not fit the model; the message names the term.
    """
    code = _read(name)
    neuron = code["neuron"]["input"]
    if "threshold" not in neuron and model.input.threshold is None:
        return model
    data = tomllib.loads(model.text)
    data["neuron"]["input"] = _renamed(neuron, model)
    data["parameters"] = data["parameters"] | {
        key: value for key, value in code.get("parameters", {}).items() if key not in data["parameters"]
    }
    data["model"]["kind"] = "spiking"
    if "threshold" not in neuron and not any("threshold" in part for part in data["neuron"].values()):
        data["model"]["kind"] = "rate"
    drop_unread(data)
    known = {*data["parameters"], *data["trial"]}
    overrides = {key: value for key, value in model.overrides.items() if key in known}
    made = parse_model(tomli_w.dumps(data, multiline_strings=True), Path(model.path.name), overrides)
    if units:
        check_units_cached(made)
    return made


def _renamed(neuron: dict[str, Any], model: ModelSpec) -> dict[str, Any]:
    """Give the code's rate the model's name; a spike train has no prospective rate but itself."""
    rate = model.roles["rate"]
    texts = {key: re.sub(rf"\b{_RATE}\b", rate, text) for key, text in neuron.items()}
    if "prospective_rate" in model.roles:
        texts["equations"] = texts["equations"].rstrip() + f"\n{model.roles['prospective_rate']} = {rate} : 1\n"
    return texts
