"""What a run was asked to do, with which versions, on which machine: ``config.toml`` of a run folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from rnla_neuro.errors import RunFolderError

FORMAT: Final = 1
_PACKAGES: Final = (
    *("rnla_neuro", "numpy", "scipy", "gymnasium", "brian2", "sympy", "scikit-learn", "numba"),
    *("cython", "brian2cuda"),
)


@dataclass(frozen=True)
class RunConfig:
    """What determines the result of a run, apart from the versions of the packages.

    Attributes:
        task: Name of the task, environment id, or path of a table.
        model: Name or path of the model.
        learner: ``r-nla``, ``node-perturbation``, ``supervised``, ``reinforce`` or ``backprop``.
        backend: Which engine ran it.
        seeds: One an agent.
        iterations: Decisions asked for, an agent.
        hidden: Neurons of the hidden layers.
        reward_delay: As `RewardDelay.parse` reads it.
        freeze_hidden: Whether only the action layer learned.
        precision: ``float32`` or ``float64``.
        core: What was to compute, where the backend has several.
        road: How a Brian2 backend was to integrate.
        input: How input values became what input neurons send; empty: as the model says.
        overrides: Parameters of the model that were set by hand.
        task_options: Further options of the task.
        data_sha256: Hash of the user's table, empty for our tasks.
        hardware: Name or path of the platform whose chip was emulated.
        chip_seed: Which chip all agents were on, or one an agent.
        calibrated: Whether the chips had been calibrated.
        chip_off: Effects of the platform that were left out.
        model_text: The whole model file; it stands in ``model.toml``.
        hardware_text: The whole platform file; it stands in ``hardware.toml``.
    """

    task: str
    model: str
    learner: str
    backend: str
    seeds: tuple[int, ...]
    iterations: int
    hidden: tuple[int, ...] = ()
    reward_delay: str = "none"
    freeze_hidden: bool = False
    precision: str = "float64"
    core: str = "auto"
    road: str = "auto"
    input: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)
    task_options: Mapping[str, Any] = field(default_factory=dict)
    data_sha256: str = ""
    hardware: str = ""
    chip_seed: tuple[int, ...] = ()
    calibrated: bool = True
    chip_off: tuple[str, ...] = ()
    model_text: str = field(default="", repr=False)
    hardware_text: str = field(default="", repr=False)

    def sha256(self, versions: Mapping[str, str]) -> str:
        """Return the hash over all settings, the model's text and the versions of the packages.

        Two runs with the same hash give the same result, to the bit, on one machine.
        """
        canonical = json.dumps([plain(asdict(self)), dict(versions)], sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()


def key_without_seeds(config: RunConfig, versions: Mapping[str, str]) -> str:
    """Return a hash as `RunConfig.sha256` makes it, for all seeds alike: an agent does not depend on its neighbours.

    It is the same for a configuration and for what was read back from its folder.
    """
    settings = _without_none(plain(asdict(replace(config, seeds=()))))
    canonical = json.dumps([settings, dict(versions)], sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def versions_in_use() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if "rnla_neuro" not in found:  # run from a source tree that is not installed
        from rnla_neuro import __version__

        found["rnla_neuro"] = __version__
    return found


def config_text(config: RunConfig) -> str:
    """Write the configuration as TOML."""
    import tomli_w

    versions = versions_in_use()
    settings = plain(asdict(config))
    del settings["model_text"], settings["hardware_text"]
    if not config.hardware:  # a run on no chip says nothing of chips
        for name in ("hardware", "chip_seed", "calibrated", "chip_off"):
            del settings[name]
    about = {
        "run": {
            "format": FORMAT,
            "sha256": config.sha256(versions),
            "created": datetime.now(UTC).replace(microsecond=0),
        },
        "settings": _without_none(settings),
        "versions": versions,
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1,
        },
    }
    return tomli_w.dumps(about)


def read_config(folder: Path) -> tuple[RunConfig, dict[str, Any]]:
    """Read config.toml and model.toml."""
    path = folder / "config.toml"
    try:
        about = tomllib.loads(path.read_text(encoding="utf-8"))
        version = about["run"]["format"]
        settings = dict(about["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is not the configuration of a run, or corrupted: {error!r}") from error
    if not isinstance(version, int) or version > FORMAT:
        raise RunFolderError(
            f"{folder} has the run format {version}, and this version of rnla_neuro reads up to {FORMAT}: "
            "update rnla_neuro"
        )
    for name in ("model", "hardware"):
        text = folder / f"{name}.toml"
        settings[f"{name}_text"] = text.read_bytes().decode() if text.exists() else ""  # line ends as they are
    try:
        known = {one.name for one in fields(RunConfig)}
        config = RunConfig(**{name: value for name, value in settings.items() if name in known})
        listed = ("seeds", "hidden", "chip_seed", "chip_off")
        lists: dict[str, Any] = {name: tuple(getattr(config, name)) for name in listed}
        config = replace(config, **lists)
    except TypeError as error:
        raise RunFolderError(f"{path}: the settings are incomplete: {error}") from error
    return config, about


def plain(value: Any) -> Any:
    """Turn numpy values, tuples and NaN into what JSON and TOML can say."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _without_none(value: Any) -> Any:
    """Leave out what has no value: TOML cannot say it."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
