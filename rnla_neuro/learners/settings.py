"""Settings of the learners: frozen dataclasses made from names and values, checked when they are made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from rnla_neuro.errors import ConfigError, unknown


class IsDataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


def settings_from[Settings: IsDataclass](
    kind: type[Settings], overrides: Mapping[str, object], learner: str
) -> Settings:
    """Make settings from names and values; text such as ``"0.05"`` is read as the field's kind.

    Args:
        kind: The dataclass to make; fields are numbers or words.
        overrides: Values by field name; fields that are not named keep their defaults.
        learner: Whose settings they are, for messages.

    Raises:
        ConfigError: A name is unknown (the message gives the nearest one) or a value cannot be read.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    values: dict[str, object] = {}
    for name, value in overrides.items():
        if name not in known:
            raise ConfigError(unknown(f"setting of the learner {learner}", name, known))
        values[name] = value if isinstance(known[name].default, str) else _number(name, value)
    return kind(**values)


def _number(name: str, value: object) -> float | None:
    """Read a number; ``None`` and ``"none"`` mean that the learner chooses."""
    if value is None or value == "none":
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"{name} = {value!r} is not a number; example: {name}=0.05") from None


def require_positive(**values: float) -> None:
    """Refuse values that are not above zero; infinity is allowed (a schedule that never falls)."""
    for name, value in values.items():
        if not isinstance(value, int | float) or not value > 0:
            raise ConfigError(f"{name} = {value!r} is not allowed: it must be a number above 0")


def require_not_negative(**values: float) -> None:
    """Refuse values that are negative, infinite or not numbers."""
    for name, value in values.items():
        if not isinstance(value, int | float) or not (value >= 0 and math.isfinite(value)):
            raise ConfigError(f"{name} = {value!r} is not allowed: it must be a finite number, 0 or above")


def require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not in the list."""
    if value not in allowed:
        raise ConfigError(unknown(name, str(value), allowed))
