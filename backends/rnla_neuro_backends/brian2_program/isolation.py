"""Works with Brian2 without touching what the user has set up in it.

Brian2's active device and its preferences are global. Whoever uses this package may have a device of their own
active, half a standalone project described, and preferences set; none of it may change, and none of it may
change what we generate. So our standalone projects are described on a device object of our own, and the
active device and the preferences are exchanged only inside `isolated`. The attribute ``active_device`` is
internal to Brian2 (2.10); its public ``set_device`` would activate, and so alter, the user's device on the
way back. tests/unit/test_brian2_program.py watches over it.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.core.preferences import prefs
from brian2.devices.cpp_standalone.device import CPPStandaloneDevice
from brian2.devices.device import RuntimeDevice, all_devices

_devices: Any = importlib.import_module("brian2.devices.device")  # brian2.devices.device is also a proxy object
_lock = threading.RLock()


@contextmanager
def isolated(device: CPPStandaloneDevice | RuntimeDevice, settings: Mapping[str, Any]) -> Iterator[None]:
    """Make a device active, with Brian2's default preferences and the given ones, for the length of a block.

    Args:
        device: Becomes the active device.
        settings: Preferences by full name, such as ``codegen.target``.
    """
    with _lock:
        active, kept, unvalidated = _devices.active_device, dict(prefs.prefs), dict(prefs.prefs_unvalidated)
        try:
            for category, (known, _) in list(prefs.pref_register.items()):
                if category != "logging":  # what the user sees of Brian2's log stays theirs
                    prefs.prefs.update({f"{category}.{key}": pref.default for key, pref in known.items()})
            prefs.prefs_unvalidated.clear()
            for name, value in settings.items():
                prefs[name] = value
            _devices.active_device = device
            if device.defaultclock is None:
                device.activate(build_on_run=False)
            yield
        finally:
            _devices.active_device = active
            prefs.prefs.clear()
            prefs.prefs.update(kept)
            prefs.prefs_unvalidated.clear()
            prefs.prefs_unvalidated.update(unvalidated)


def runtime_device() -> RuntimeDevice:
    """Return Brian2's runtime device, whatever is active now."""
    return all_devices["runtime"]


def standalone_device() -> CPPStandaloneDevice:
    """Return a new, empty standalone device, which nobody else holds."""
    return CPPStandaloneDevice()
