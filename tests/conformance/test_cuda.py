"""The CUDA text of the fused kernel against its CPU text, executed without a GPU, and compiled where nvcc is.

A block of threads runs as fibers (cuda/cuda_emulation.hpp), in orders that show what lacks a synchronisation. Sums
are formed in another order than on the CPU, so float64 agrees to rounding and no better. A landing ends where
voltages change by a few units in the last place, and errors are a thousand times smaller than voltages: 1e-11 of an
array's largest value after some hundred steps is what is left, at learning rates where the weights change by about
their size. (PERFORMANCE.md asks for 1e-10.)
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from math import inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnla_neuro.backend import get_backend
from rnla_neuro.errors import BackendError, ConfigError, MissingExtraError
from rnla_neuro.events import EventBatch
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import template_dir
from rnla_neuro.spec.loader import load_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.brian2_program import cuda_toolkit
from rnla_neuro_backends.brian2_program.cuda_engine import build_program
from rnla_neuro_backends.brian2_program.cuda_kernel import CudaKernel, threads_for
from rnla_neuro_backends.explicit.kernel import Kernel, kernel_settings
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from tests.conformance.cuda.emulation import (
    HERE,
    QUICK,
    RACE,
    Call,
    CpuEngine,
    EmulatedProgramEngine,
    Replay,
    compile_program,
)
from tests.conformance.nets import events, relative, told, variant
from tests.model_lines import proven_models

MODELS = proven_models()
SIZES, SEEDS = (5, 7, 40, 4), (3, 8)
#: Of the sweeps of a landing the last one is a matter of rounding.
NOT_COMPARED = ("status",)
CLOSE = (1e-11, "")
SANITIZED = ("-std=c++17", "-O1", "-g1", "-w", "-fsanitize=thread")


def fast(name: str, **overrides: str) -> ModelSpec:
    """Load a model at a learning rate with which a few rewards change the weights by about their size."""
    known = load_model(name).parameters
    eta = {"rate_nla_poster": "0.05", "rate_nla_pulse": "0.2"}.get(name, "0.3")
    rates = {"eta": eta, "eta_hom": "0.02", "n_R": "3"}
    return load_model(name, {**{k: v for k, v in rates.items() if k in known}, **overrides})


def network(name: str, precision: str = "float64", **overrides: str) -> NetworkSpec:
    return NetworkSpec(fast(name, **overrides), SIZES, SEEDS, precision)


def live(simulation: ExplicitSimulation, trials: int = 3) -> np.ndarray:
    """Run trials with rewards at awkward times, of every channel; return the decisions."""
    rng, decisions = np.random.default_rng(5), []
    for k in range(trials):
        start = simulation.next_decision - simulation.decision_time
        rows = [
            (agent, start + share * simulation.trial_duration, 0.5 * rng.standard_normal(), channel)
            for agent, share in ((0, 0.0), (0, 0.31), (1, 0.47), (1, 0.47))
            for channel in range(len(simulation.channels))
        ]
        x = rng.uniform(size=(simulation.n_agents, simulation.sizes[0]))
        decisions.append(simulation.decide(x, events(*rows), told(simulation, k)))
    simulation.finish(EventBatch.empty())
    return np.array(decisions)


def on_cpu(spec: NetworkSpec, folder: Path, *, record: bool = True) -> list[Call]:
    """Return what an engine on the CPU kernel was given in a life, and what it made of it."""
    engine = CpuEngine(Kernel(kernel_settings(spec, record=record)), folder)
    simulation = ExplicitSimulation(spec, engine)
    before = np.concatenate([w.ravel() for w in simulation.weights()])
    live(simulation)
    change = np.concatenate([w.ravel() for w in simulation.weights()]) - before
    assert np.abs(change).max() > 0.03, "the weights hardly change: nothing is compared"
    return engine.calls


def both(spec: NetworkSpec, folder: Path, threads: int = 64, **options: Any) -> tuple[list[Call], Replay]:
    """Return what the CPU made of a life, and the CUDA text as a program; the two are compiled at the same time."""
    with ThreadPoolExecutor(1) as pool:
        replay = pool.submit(Replay, cuda(spec, threads), folder, **options)
        return on_cpu(spec, folder), replay.result()


def worst(calls: list[Call], replay: Replay) -> tuple[float, str]:
    """Return the largest difference of an array after a call, in parts of its largest value, and its name."""
    found = replay.results()
    assert len(found) == len(calls)
    scale = {name: max(np.abs(c.after[name]).max() for c in calls) for name in calls[0].after}
    off = [
        (float(np.abs(after[name] - exact).max() / (scale[name] or 1.0)), name)
        for call, after in zip(calls, found, strict=True)
        for name, exact in call.after.items()
        if name not in NOT_COMPARED
    ]
    return max(((inf if isnan(x) else x), name) for x, name in off)


def cuda(spec: NetworkSpec, threads: int = 64) -> CudaKernel:
    return CudaKernel(kernel_settings(spec, record=True), threads)


@pytest.mark.backend("brian2_cuda:emulated")
@pytest.mark.parametrize(
    "name",
    [
        n if n in ("rate_nla", "rate_nla_ou", "rate_nla_pulse") else pytest.param(n, marks=pytest.mark.slow)
        for n in MODELS
    ],
)
def test_the_cuda_text_of_every_model_equals_the_cpu_text(name, tmp_path):
    spec = network(name)
    calls, replay = both(spec, tmp_path)
    for order in ("forward", "reverse"):
        outcome = replay.run(calls, order)
        assert outcome.returncode == 0, outcome.stderr
        assert worst(calls, replay) < CLOSE


@pytest.mark.backend("brian2_cuda:emulated")
@pytest.mark.parametrize("flags", [QUICK, pytest.param(SANITIZED, marks=pytest.mark.slow)])
def test_a_rate_from_its_own_past_and_an_action_layer_of_more_than_a_warp(flags, tmp_path, request):
    if flags == SANITIZED:
        request.getfixturevalue("sanitizer")
    model = variant(
        "rate_nla",
        {"r = rbar + phi_prime": "r = rbar + tau_m*(rbar - rbar_prev)/dt : 1"},
        {"eta": "0.3", "eta_hom": "0.02"},
    )
    calls, replay = both(NetworkSpec(model, (5, 70, 36), SEEDS), tmp_path, flags=flags)
    for order in ("forward", "reverse"):
        outcome = replay.run(calls, order)
        assert outcome.returncode == 0, outcome.stderr[:3000]
        assert worst(calls, replay) < CLOSE


@pytest.mark.backend("brian2_cuda:emulated")
def test_float32_without_room_on_the_chip_and_with_frozen_layers(tmp_path):
    spec = NetworkSpec(fast("rate_nla"), SIZES, SEEDS, "float32", freeze_hidden=True)
    calls, replay = both(spec, tmp_path, 32, chip_limit=0)
    results = []
    for order in ("forward", "17"):
        outcome = replay.run(calls, order)
        assert outcome.returncode == 0, outcome.stderr
        assert worst(calls, replay) < (1e-4, "")
        results.append((tmp_path / "results").read_bytes())
    assert results[0] == results[1], "the result depends on the order of threads"


@pytest.mark.backend("brian2_cuda:emulated")
@pytest.mark.parametrize(("real", "threads"), [("double", 64), ("float", 256)])
def test_primitives_equal_plain_loops(real, threads, tmp_path):
    flags = (*QUICK, f"-DREAL={real}", f"-DTHREADS={threads}", "-I", str(template_dir()))
    compile_program(HERE / "primitives.cpp", tmp_path / "primitives", flags)
    outcome = subprocess.run([str(tmp_path / "primitives")], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stdout) == (0, "0 failures\n")


@pytest.fixture(scope="module")
def sanitizer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where the thread sanitizer does not work, as in some containers."""
    folder = tmp_path_factory.mktemp("sanitizer")
    (folder / "main.cpp").write_text("int main() {}")
    try:
        compile_program(folder / "main.cpp", folder / "main", SANITIZED)
        subprocess.run([str(folder / "main")], check=True, capture_output=True)
    except (AssertionError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no thread sanitizer here: {error}")


@pytest.mark.usefixtures("sanitizer")
@pytest.mark.parametrize(
    "name", [n if n == "rate_nla_pulse" else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]
)
def test_no_thread_reads_what_another_is_writing(name, tmp_path):
    spec = network(name)
    calls, replay = both(spec, tmp_path, flags=SANITIZED)
    outcome = replay.run(calls[:6])
    assert outcome.returncode == 0, outcome.stderr[:3000]


@pytest.mark.slow
@pytest.mark.usefixtures("sanitizer")
@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("rate_nla", r"\n    nudge\(g\.u[^;]*;\s*"),  # errors of the action layer, before they are passed down
        ("rate_nla", r"g\.basis_drive \+ k \* POST0\);\s*"),  # whether a pattern's drive is to be formed
        ("rate_nla", r"<= 4 \* EPS\) \{\s*"),  # what is read of the layer below, before it is written for this one
        ("rate_nla_ou", r"RNLA_ONCE \{ list\[slot\] = g\.tick; [^}]*\}\s*"),  # a new entry of a list
    ],
)
def test_a_missing_synchronisation_is_found(name, after, tmp_path):
    def edit(text: str) -> str:
        wrong, hits = re.subn(f"({after})RNLA_SYNC\\(\\);", r"\1", text)
        assert hits > 0, "the kernel's text has changed: choose another place"
        return wrong

    calls, replay = both(network(name), tmp_path, flags=SANITIZED, edit=edit)
    outcome = replay.run(calls)
    assert outcome.returncode in (RACE, 3), "nothing was found"


@pytest.mark.backend("brian2_cuda:emulated")
def test_without_synchronisation_the_comparison_fails(tmp_path):
    spec = network("rate_nla_ou")
    edit = "#define RNLA_SYNC() __syncthreads()", "#define RNLA_SYNC() ((void)0)"
    calls, replay = both(spec, tmp_path, edit=lambda text: text.replace(*edit))
    outcome = replay.run(calls, "reverse")
    assert outcome.returncode != 0 or not worst(calls, replay) < CLOSE


needs_brian2cuda = pytest.mark.skipif(
    importlib.util.find_spec("brian2cuda") is None, reason="brian2cuda is not installed (extra 'cuda')"
)


@needs_brian2cuda
@pytest.mark.backend("brian2_cuda:emulated")
def test_the_generated_program_runs_over_its_socket(tmp_path):
    from rnla_neuro_backends.brian2_program.cuda_project import write_project

    spec = network("rate_nla_late")
    kernel = CudaKernel(kernel_settings(spec), 64)
    write_project(kernel, tmp_path, cuda_toolkit.Toolkit(Path("/nowhere/bin/nvcc"), (13, 0), (), None), (9, 0))
    engine = EmulatedProgramEngine(kernel, tmp_path)
    try:
        program = ExplicitSimulation(spec, engine)
        reference = ExplicitSimulation(spec, CpuEngine(Kernel(kernel_settings(spec)), tmp_path))
        assert np.array_equal(live(program), live(reference))
        assert relative(program.weights(), reference.weights()) < 1e-11
        assert relative(program.traces(), reference.traces()) < 1e-10  # what is left of them after a while
    finally:
        engine.close()


@pytest.fixture(scope="module")
def toolkit() -> cuda_toolkit.Toolkit:
    try:
        cuda_toolkit.require_brian2cuda()
        return cuda_toolkit.find_toolkit()
    except (BackendError, MissingExtraError) as missing:
        pytest.skip(str(missing))


@pytest.mark.backend("brian2_cuda:compiled")
@pytest.mark.parametrize(
    ("name", "precision"),
    [("rate_nla_late", "float32"), *(pytest.param(n, "float64", marks=pytest.mark.slow) for n in MODELS)],
)
def test_programs_are_compiled_and_linked(name, precision, toolkit, tmp_path, monkeypatch):
    monkeypatch.setenv("RNLA_CACHE_DIR", str(tmp_path))
    program = build_program(CudaKernel(kernel_settings(network(name, precision))), (9, 0))
    assert os.access(program.binary, os.X_OK)
    if not cuda_toolkit.devices():
        outcome = subprocess.run([str(program.binary)], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert outcome.returncode != 0
        assert "cudaSetDevice" in outcome.stderr


@pytest.mark.skipif(not cuda_toolkit.devices(), reason="no CUDA device")
@pytest.mark.backend("brian2_cuda:device")
@pytest.mark.parametrize("name", MODELS)
def test_a_device_equals_the_cpu(name, toolkit, tmp_path):
    spec = network(name)
    reference = ExplicitSimulation(spec, CpuEngine(Kernel(kernel_settings(spec)), tmp_path))
    simulation = get_backend("brian2_cuda").build(spec)
    assert isinstance(simulation, ExplicitSimulation)
    try:
        assert np.array_equal(live(simulation), live(reference))
        assert relative(simulation.weights(), reference.weights()) < 1e-10
        assert relative(simulation.traces(), reference.traces()) < 1e-10
    finally:
        simulation.close()


@pytest.fixture
def no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_toolkit, "_ask_driver", lambda: ([], "the driver lists none"))


@needs_brian2cuda
@pytest.mark.usefixtures("no_devices")
def test_without_a_device_running_is_refused_with_the_way_out():
    with pytest.raises(BackendError, match=r"no CUDA device to run on \(the driver lists none\).*brian2_cpp"):
        get_backend("brian2_cuda").build(network("rate_nla"))


def test_without_brian2cuda_the_extra_is_named(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "brian2cuda" else find_spec(name, *more)
    )
    with pytest.raises(MissingExtraError, match=r"rnla_neuro\[cuda\]"):
        get_backend("brian2_cuda").build(network("rate_nla"))
    assert "brian2cuda" in get_backend("brian2_cuda").missing()


def test_without_nvcc_what_was_tried_is_named(monkeypatch, tmp_path):
    cuda_toolkit.find_toolkit.cache_clear()
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    with pytest.raises(BackendError, match="CUDA_PATH"):
        cuda_toolkit.find_toolkit()
    monkeypatch.delenv("CUDA_PATH")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(cuda_toolkit, "USUAL", tmp_path / "nvcc")
    with pytest.raises(BackendError, match=r"tried \$CUDA_PATH, nvcc on PATH"):
        cuda_toolkit.find_toolkit()


def test_devices_are_chosen_by_number_or_by_capability(monkeypatch):
    two = [cuda_toolkit.Device(0, "old", (7, 5)), cuda_toolkit.Device(1, "new", (9, 0))]
    monkeypatch.setattr(cuda_toolkit, "_ask_driver", lambda: (two, ""))
    assert cuda_toolkit.require_device().name == "new"
    assert cuda_toolkit.require_device(0).name == "old"
    assert cuda_toolkit.target_capability() == (9, 0)
    with pytest.raises(BackendError, match=r"no CUDA device 2: the driver lists 0 \(old\), 1 \(new\)"):
        cuda_toolkit.require_device(2)


def test_threads_are_whole_warps():
    assert threads_for((64, 100, 10)) == 256
    assert threads_for((4, 3, 2)) == 64
    assert threads_for((784, 2000, 2000, 10)) == 512
    with pytest.raises(ConfigError, match="multiple of 32"):
        cuda(network("rate_nla"), 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"road": "plain"}, "no plain road.*--backend brian2"),
        ({"road": "fuse"}, "did you mean 'fused'"),
        ({"colour": 1}, "unknown option"),
    ],
)
def test_what_the_backend_cannot_do_is_refused_by_name(options, message):
    with pytest.raises((BackendError, ConfigError), match=message):
        get_backend("brian2_cuda").build(network("rate_nla"), **options)
