"""Describing a program changes nothing that a user of Brian2 has set up, and is changed by none of it."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
import brian2
from brian2.core.names import Nameable
from brian2.devices.cpp_standalone.device import cpp_standalone_device

from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model
from rnla_neuro_backends.brian2_program.isolation import isolated, runtime_device, standalone_device
from rnla_neuro_backends.brian2_program.objects import KernelGroup
from rnla_neuro_backends.brian2_program.project import write_project
from rnla_neuro_backends.explicit.kernel import Kernel, make_kernel

devices = importlib.import_module("brian2.devices.device")


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return make_kernel(NetworkSpec(load_model("rate_nla"), (3, 4, 2), (1,)))


@pytest.fixture
def standalone_user() -> Iterator[brian2.NeuronGroup]:
    """A user with half a standalone project, and preferences."""
    kept = dict(brian2.prefs.prefs)
    brian2.set_device("cpp_standalone", build_on_run=False, directory="theirs")
    brian2.prefs.codegen.cpp.extra_compile_args_gcc = ["-O0", "-fno-such-flag"]
    brian2.prefs.codegen.cpp.headers = ["<no_such_header>"]
    brian2.prefs.core.default_float_dtype = np.float32
    brian2.prefs.devices.cpp_standalone.openmp_threads = 7
    brian2.defaultclock.dt = 0.05 * brian2.ms
    group = brian2.NeuronGroup(3, "dv/dt = -v/(10*ms) : 1", name="theirs", method="exact")
    group.v = 1
    yield group
    devices.reset_device()
    cpp_standalone_device.reinit()
    brian2.prefs.prefs.update(kept)


def sources(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_users_device_and_preferences_are_untouched(
    kernel: Kernel, tmp_path: Path, standalone_user: brian2.NeuronGroup
) -> None:
    active, before = devices.active_device, list(devices.previous_devices)
    prefs, queue = dict(brian2.prefs.prefs), list(cpp_standalone_device.main_queue)
    arrays = dict(cpp_standalone_device.arrays)
    write_project(kernel, tmp_path)
    assert devices.active_device is active is cpp_standalone_device
    assert devices.previous_devices == before
    assert dict(brian2.prefs.prefs) == prefs
    assert cpp_standalone_device.main_queue == queue
    assert cpp_standalone_device.arrays == arrays
    assert not cpp_standalone_device.code_objects
    assert cpp_standalone_device.build_options == {"directory": "theirs"}
    assert brian2.defaultclock.dt == 0.05 * brian2.ms


def test_a_users_preferences_do_not_reach_the_program(
    kernel: Kernel, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write_project(kernel, tmp_path / "plain")
    request.getfixturevalue("standalone_user")
    write_project(kernel, tmp_path / "theirs")
    plain, theirs = sources(tmp_path / "plain"), sources(tmp_path / "theirs")
    assert plain.keys() == theirs.keys()
    for name, text in plain.items():
        if name != "main.cpp":  # it sets Brian2's default clock, which ours is not
            assert theirs[name] == text, name
    assert "no_such" not in theirs["main.cpp"]


def test_everything_is_put_back_after_an_error() -> None:
    active, prefs = devices.active_device, dict(brian2.prefs.prefs)

    def fail() -> None:
        with isolated(standalone_device(), {"codegen.target": "numpy"}):
            assert devices.active_device is not active
            assert brian2.prefs.codegen.target == "numpy"
            with isolated(runtime_device(), {}):  # one in another
                assert devices.active_device is runtime_device()
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert devices.active_device is active
    assert dict(brian2.prefs.prefs) == prefs


def test_no_object_is_left_in_brian2(kernel: Kernel, tmp_path: Path) -> None:
    gc.collect()
    before = {reference().name for reference in Nameable.__instances__() if reference() is not None}
    write_project(kernel, tmp_path)
    gc.collect()
    after = {reference().name for reference in Nameable.__instances__() if reference() is not None}
    assert after == before
    assert not [thing for thing in gc.get_objects() if isinstance(thing, KernelGroup)]


def test_two_projects_of_one_kernel_are_the_same_text(kernel: Kernel, tmp_path: Path) -> None:
    """As ccache needs it."""
    for name in ("a", "b"):
        write_project(kernel, tmp_path / name)
    assert sources(tmp_path / "a") == sources(tmp_path / "b")
