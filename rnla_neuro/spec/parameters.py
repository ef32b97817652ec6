"""Evaluates [parameters] and [trial]: expressions that may refer to each other, overrides, timing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnla_neuro.errors import ConfigError, ModelError, shown, unknown
from rnla_neuro.spec.model import Parameter, TrialSpec
from rnla_neuro.spec.quantities import NONE, TIME, Quantity, evaluate, normalise

TRIAL_KEYS = ("T", "dt", "ramp", "gate", "decision")
#: Names of [trial] that other expressions may use.
_VISIBLE = ("T", "dt")
#: No number of a model, and Python does not write out an integer of thousands of digits.
_TOO_LARGE = 1e300
#: Characters of a line of a model file.
LONGEST_LINE = 1000


def refuse_long_lines(text: str, where: str) -> None:
    """Refuse a line that no reader would read, and no message could show.

    Raises:
        ModelError: There is one.
    """
    longest = max(map(len, text.splitlines()), default=0)
    if longest > LONGEST_LINE:
        raise ModelError(f"{where}: a line has {longest:,} characters; allowed are {LONGEST_LINE:,}")


def as_text(value: Any, where: str) -> str:
    """Return a parameter's expression; plain numbers are allowed beside strings."""
    if isinstance(value, str) and value.strip():
        refuse_long_lines(value, where)
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE:
        return repr(value)
    raise ModelError(f'{where} = {shown(value)} is not an expression; write a string such as "10*ms" or "0.1"')


class Values:
    """Values of [parameters] and [trial], each evaluated when first asked for."""

    def __init__(self, file: str, parameters: Mapping[str, str], trial: Mapping[str, str]):
        self.file = file
        self.texts = {**parameters, **trial}
        self.section = {**dict.fromkeys(parameters, "parameters"), **dict.fromkeys(trial, "trial")}
        self.visible = [*parameters, *(key for key in _VISIBLE if key in trial)]
        self.done: dict[str, Quantity] = {}
        self.pending: list[str] = []
        self.read: set[str] = set()

    def where(self, name: str) -> str:
        """File, section and key of a value."""
        return f"{self.file}: [{self.section[name]}] {name}"

    def _lookup(self, name: str) -> Quantity | None:
        if name not in self.visible:
            return None
        self.read.add(name)
        return self[name]

    def __getitem__(self, name: str) -> Quantity:
        """Evaluate a value; a cycle of references is an error."""
        if name in self.done:
            return self.done[name]
        if name in self.pending:
            chain = " -> ".join([*self.pending[self.pending.index(name) :], name])
            raise ModelError(f"{self.where(name)}: parameters refer to each other in a cycle: {chain}")
        self.pending.append(name)
        text = normalise(self.texts[name])
        self.done[name] = evaluate(text, self.where(name), self._lookup, dict.fromkeys(self.visible))
        self.pending.pop()
        return self.done[name]


def apply_overrides(
    file: str, parameters: dict[str, str], trial: dict[str, str], overrides: Mapping[str, str]
) -> Values:
    """Put overrides in place of the file's expressions; each must keep the unit of what it replaces.

    Raises:
        ConfigError: An unknown name, or a value with another unit.
        ModelError: The file's own expressions are wrong.
    """
    original = Values(file, parameters, trial)
    units = {name: original[name] for name in original.texts}
    if not overrides:
        return original
    for name in overrides:
        if name not in units:
            raise ConfigError(f"setting {name!r}: {unknown('parameter', name, units)} (model {file})")
    new = {name: normalise(str(text)) for name, text in overrides.items()}
    changed = Values(
        file,
        {name: new.get(name, text) for name, text in parameters.items()},
        {name: new.get(name, text) for name, text in trial.items()},
    )
    for name in overrides:
        try:
            value = changed[name]
        except ModelError as error:
            raise ConfigError(f"setting {name}={overrides[name]}: {error}") from None
        wanted = units[name]
        if value.dimension != wanted.dimension:
            example = "a plain number" if wanted.dimension == NONE else f"a value in {wanted.unit}"
            raise ConfigError(
                f"setting {name}={overrides[name]}: the unit is {value.unit}, but {name} is {example} "
                f"({name} = {original.texts[name]!r} in {file})"
            )
    return changed


def make_parameters(values: Values, names: Mapping[str, str]) -> dict[str, Parameter]:
    """Evaluate [parameters]."""
    return {name: Parameter(name, values.texts[name], values[name].value, values[name].unit) for name in names}


def make_trial(values: Values) -> TrialSpec:
    """Evaluate and check [trial].

    Raises:
        ModelError: A value is not a time, or the times do not fit each other.
    """
    seconds = {}
    for key in TRIAL_KEYS:
        if key not in values.texts:
            continue
        quantity = values[key]
        if quantity.dimension != TIME:
            raise ModelError(f"{values.where(key)} = {values.texts[key]!r} has the unit {quantity.unit}, not a time")
        seconds[key] = quantity.value
    duration, dt = seconds["T"], seconds["dt"]
    decision = seconds["decision"]
    ramp, gate = seconds["ramp"], seconds.get("gate", decision)

    def require(condition: bool, key: str, rule: str) -> None:
        if not condition:
            raise ModelError(f"{values.where(key)} = {values.texts[key]!r} ({seconds[key] * 1e3:g} ms): {rule}")

    slack = 1e-9 * max(duration, dt)
    require(duration > 0, "T", "a trial must be longer than 0")
    require(0 < dt <= duration + slack, "dt", f"dt must be above 0 and at most T = {duration * 1e3:g} ms")
    steps = duration / dt
    require(abs(steps - round(steps)) < 1e-6 * steps, "dt", f"dt must divide T = {duration * 1e3:g} ms")
    require(0 < decision <= duration + slack, "decision", f"must be above 0 and at most T = {duration * 1e3:g} ms")
    index = decision / dt
    require(abs(index - round(index)) < 1e-6 * steps, "decision", f"must be a multiple of dt = {dt * 1e3:g} ms")
    limit = f"must be at least 0 and at most decision = {decision * 1e3:g} ms"
    require(0 <= ramp <= decision + slack, "ramp", limit)
    if "gate" in seconds:
        limit = f"must be above 0 and at most decision = {decision * 1e3:g} ms"
        require(0 < gate <= decision + slack, "gate", limit)
    return TrialSpec(duration, dt, ramp, min(gate, decision), decision)
