"""Registers our environments with Gymnasium without importing Gymnasium (which takes half a second).

Gymnasium 1.0 gave up the entry-point group through which packages announced their environments. So either
the id names our package, ``gymnasium.make("rnla_neuro:rnla/Digits-v0")``, or it is imported somewhere; then
this module registers the ids, at once if Gymnasium is loaded, else at the moment it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def register_when_gymnasium_is_there() -> None:
    """Register the tasks now if Gymnasium is loaded, else right after it will have been."""
    if "gymnasium" in sys.modules:
        _register()
    elif not any(isinstance(finder, _GymnasiumWatch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _GymnasiumWatch())


def _register() -> None:
    from rnla_neuro.tasks import register  # a light module: it names the classes, and imports none of them

    register()


class _GymnasiumWatch(MetaPathFinder):
    """Lets the usual finders find Gymnasium, and calls `_register` once it has been executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "gymnasium":
            return None
        spec = self._from_other_finders(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader
        execute = loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            del loader.__dict__["exec_module"]  # the loader is the usual one again
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            execute(module)
            _register()

        # On the instance: a loader class of our own would hide what the usual one offers (resources, source).
        loader.__dict__["exec_module"] = execute_and_register
        return spec

    def _from_other_finders(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        found = (f.find_spec(fullname, path, target) for f in sys.meta_path if f is not self)
        return next((spec for spec in found if spec is not None), None)
