"""Where the data files are: the packaged folder if it is there, else the repository's.

In an installed wheel `models/` and `hardware_configs/` lie inside the package; in a checkout, also an
editable install, they lie beside it. Nothing else in the package looks for folders on its own.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from rnla_neuro.errors import ConfigError

CACHE_VARIABLE = "RNLA_CACHE_DIR"
"""Environment variable that moves the cache."""

_PACKAGE = Path(__file__).resolve().parent


def models_dir() -> Path:
    """Return the folder of the model files that come with the package (``*.toml``)."""
    return _data_dir("models")


def hardware_dir() -> Path:
    """Return the folder of the platform files that come with the package (``*.toml``)."""
    return _data_dir("hardware_configs")


def template_dir() -> Path:
    """Return the folder of the backends' code templates.

    Raises:
        ConfigError: if the backends are not installed beside the core.
    """
    # find_spec of a top-level name does not import it, so no simulator is loaded here
    spec = importlib.util.find_spec("rnla_neuro_backends")
    homes = list(spec.submodule_search_locations or ()) if spec is not None else []
    for home in (*map(Path, homes), _PACKAGE.parent / "backends" / "rnla_neuro_backends"):
        if (home / "templates").is_dir():
            return home / "templates"
    raise ConfigError(
        "the backends' templates were found neither in the package rnla_neuro_backends "
        f"nor in {_PACKAGE.parent}: the installation is incomplete; install rnla_neuro again"
    )


def cache_dir() -> Path:
    """Return the folder for compiled code and other things that can be made again; create it if needed.

    It is the user's cache folder, or the value of ``RNLA_CACHE_DIR``.

    Raises:
        ConfigError: if the folder cannot be created or is not a folder.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        folder = Path(chosen).expanduser()
    else:
        import platformdirs  # here, because most uses of this module need no cache

        folder = Path(platformdirs.user_cache_dir("rnla_neuro", appauthor=False))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the cache folder {str(folder)!r} cannot be used ({error.strerror}): "
            f"set {CACHE_VARIABLE} to a folder that can be written"
        ) from error
    return folder


def _data_dir(name: str) -> Path:
    packaged, repository = _PACKAGE / name, _PACKAGE.parent / name
    for folder in (packaged, repository):
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"the folder {name!r} is neither in {packaged.parent} nor in {repository.parent}: "
        "the installation is incomplete; install rnla_neuro again"
    )
