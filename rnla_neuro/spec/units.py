"""Unit check by Brian2's own parser, remembered so that a second run need not import Brian2."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version

from rnla_neuro.errors import MissingExtraError
from rnla_neuro.spec.model import ModelSpec

#: Raise when the unit check itself changes, so that remembered results are not reused.
_FORMAT = 1


def _key(model: ModelSpec, brian2_version: str) -> str:
    parts = [_FORMAT, model.text, sorted(model.overrides.items()), brian2_version]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def check_units_cached(model: ModelSpec) -> None:
    """Check the units of all equations unless the same text has passed before.

    Only success is remembered. A cache folder that cannot be written is no error.

    Raises:
        ModelError: Units do not agree; the message names section, equation and units.
        MissingExtraError: Brian2 is not installed.
    """
    from rnla_neuro import resources

    try:
        mark = resources.cache_dir() / "unit_checks" / _key(model, version("brian2"))
    except PackageNotFoundError:
        raise MissingExtraError(
            "the unit check of model files needs brian2; install rnla-neuro with it"
        ) from None
    if mark.exists():
        return
    from rnla_neuro_backends.brian2_model.units import check_units

    check_units(model)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        return  # a read-only home only costs time
