"""One tree of errors: everything a user can cause is an `RnlaError` with a message that helps."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr


class RnlaError(Exception):
    """Base of all errors that `rnla_neuro` raises on purpose."""


class ConfigError(RnlaError):
    """An option, parameter or setting has a value that is not allowed."""


class ModelError(RnlaError):
    """A model file is incomplete, inconsistent or has wrong units."""


class TaskError(RnlaError):
    """A task, table or environment cannot be used."""


class BackendError(RnlaError):
    """A backend cannot do what was asked for, and says so by name."""


class ConvergenceError(RnlaError):
    """The moving equilibrium is not unique, or the sweeps did not find it."""


class DeliveryError(RnlaError):
    """Decisions or rewards were sent but not delivered."""


class RunFolderError(RnlaError):
    """A run folder exists already, is not one of ours, or cannot be read."""


class MissingExtraError(RnlaError):
    """An optional dependency is not installed; the message names the extra."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` did you mean 'x'?`` for the nearest known name, or an empty string."""
    match = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" did you mean {match[0]!r}?" if match else ""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Word the message for an unknown name: the value, what is allowed, the nearest known name."""
    names = sorted(known)
    allowed = ", ".join(names) or "none"
    return f"unknown {what} {shown(name)}:{did_you_mean(name, names)} known: {allowed}"


def shown(value: object) -> str:
    """Return a value as a message shows it: its `repr`, cut where it is long.

    Example:
        >>> shown([1, 2]), len(shown("x" * 10_000))
        ('[1, 2]', 80)
    """
    short = Repr()
    short.maxstring = short.maxother = 80
    try:
        return short.repr(value)
    except ValueError:  # Python does not write out an integer of thousands of digits
        return f"a huge {type(value).__name__}"
