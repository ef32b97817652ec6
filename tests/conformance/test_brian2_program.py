"""A compiled program against the same kernel in this process, and everything that can happen to it."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from gymnasium import Env, spaces

from rnla_neuro.errors import BackendError, ConfigError, TaskError
from rnla_neuro.events import EventBatch
from rnla_neuro.experiment import run
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import CACHE_VARIABLE
from rnla_neuro.results import Results
from rnla_neuro.session import RunRequest, Session
from rnla_neuro.spec.loader import load_model
from rnla_neuro_backends.brian2_cpp import BACKEND
from rnla_neuro_backends.brian2_program import link
from rnla_neuro_backends.brian2_program.link import ProgramLink
from rnla_neuro_backends.brian2_program.runtime import RuntimeEngine
from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine
from rnla_neuro_backends.explicit.engine import Block, BlockResult
from rnla_neuro_backends.explicit.kernel import Kernel, make_kernel
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from tests.conformance.nets import variant

CPP = pytest.mark.backend("brian2_cpp")
CYTHON = pytest.mark.backend("brian2:cython")
SIZES, AGENTS = (2, 5, 2), 2  # those of the task xor with 5 hidden neurons


def make_network(**parameters: str) -> NetworkSpec:
    return NetworkSpec(load_model("rate_nla", parameters), SIZES, (1, 2))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for this file, so that its program is compiled once, and really compiled."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def kernel(cache: Path) -> Kernel:
    return make_kernel(make_network())


@pytest.fixture
def engine(kernel: Kernel) -> Iterator[StandaloneEngine]:
    with_program = StandaloneEngine(kernel)
    start(with_program)
    yield with_program
    with_program.close()


def start(engine: StandaloneEngine | RuntimeEngine) -> None:
    rng = np.random.default_rng(5)
    size = sum(a * (b + 1) for b, a in pairwise(SIZES))
    engine.write({"w": rng.normal(size=(AGENTS, size))})


def block(seed: int = 0, steps: int = 20) -> Block:
    rng, gate = np.random.default_rng(seed), np.zeros(steps, np.int64)
    gate[steps // 2 :] = 1
    return Block(
        n_steps=steps,
        t0=0.0,
        trial=seed,
        basis=rng.normal(size=(AGENTS, 1, SIZES[0])),
        coefficients=np.ones((steps, 1)),
        noise=rng.normal(size=(AGENTS, 1, SIZES[-1])),
        noise_row=np.zeros(steps, np.int64),
        gate=gate,
        event_agent=np.array([0, 1]),
        event_step=np.array([3, steps]),
        event_channel=np.array([0, 0]),
        event_value=np.array([1.0, 0.5]),
        start="equilibrium" if seed == 0 else "continue",
    )


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} outlived its parent"
        time.sleep(0.05)


def nothing_left(engine: StandaloneEngine) -> None:
    assert not Path(f"/proc/{engine.link.pid}").exists()  # nor a zombie
    assert not engine.link.folder.exists()


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


# ---- the same results ----------------------------------------------------------------------------------


@CPP
@CYTHON
def test_the_program_computes_what_cython_computes(kernel: Kernel, engine: StandaloneEngine) -> None:
    """One text, one set of flags: not a bit differs, in decisions, in the state, and across write and read."""
    runtime = RuntimeEngine(kernel)
    start(runtime)
    before = engine.read()["w"]
    for k in range(5):
        mine, other = engine.advance(block(k)), runtime.advance(block(k))
        np.testing.assert_array_equal(mine.decision, other.decision)
        assert mine.delivered == other.delivered == 2
        if k == 2:
            engine.write(runtime.read())
    state = engine.read()
    same(state, runtime.read())
    assert np.abs(state["w"] - before).max() > 1e-6  # the events did something
    assert np.abs(state["z"]).max() > 0


@CPP
def test_the_cache_is_used_and_programs_are_apart(kernel: Kernel, engine: StandaloneEngine, cache: Path) -> None:
    """A second start does not compile; two programs in one process share nothing but the binary."""
    built = {path: path.stat().st_mtime_ns for path in (cache / "brian2_cpp").rglob("main")}
    other = StandaloneEngine(kernel)
    try:
        assert {path: path.stat().st_mtime_ns for path in (cache / "brian2_cpp").rglob("main")} == built
        assert other.link.pid != engine.link.pid
        before = engine.read()
        other.advance(block())
        assert np.abs(other.read()["w"] - before["w"]).max() > 0.1
        same(engine.read(), before)
    finally:
        other.close()
    nothing_left(other)
    engine.advance(block())  # undisturbed


@CPP
def test_parameters_reach_a_program_that_was_built_with_others(kernel: Kernel, cache: Path) -> None:
    other = make_kernel(make_network(eta="0.5"))
    binaries = set((cache / "brian2_cpp").rglob("main"))
    weights = []
    for k in (kernel, other):
        engine = StandaloneEngine(k)
        try:
            start(engine)
            engine.advance(block())
            weights.append(engine.read()["w"])
        finally:
            engine.close()
    assert set((cache / "brian2_cpp").rglob("main")) == binaries
    assert np.abs(weights[0] - weights[1]).max() > 1e-6


@CPP
def test_a_simulation_in_closed_loop(cache: Path) -> None:
    """The backend as a user starts it: as a run of its task, with the program's folder gone afterwards."""
    network = make_network()
    with BACKEND.build(network) as simulation:
        runtime = ExplicitSimulation(network, RuntimeEngine(make_kernel(network)))
        rng = np.random.default_rng(1)
        for x in rng.normal(size=(20, AGENTS, SIZES[0])):
            t = simulation.next_decision
            events = EventBatch(np.arange(2), np.full(2, t), np.zeros(2, int), rng.normal(size=2))
            actions = [s.decide(x, EventBatch.empty()) for s in (simulation, runtime)]
            np.testing.assert_array_equal(*actions)
            simulation.finish(events)
            runtime.finish(events)
        same(simulation.state(), runtime.state())
    assert simulation.engine.link._finalizer.alive is False


# ---- ends ----------------------------------------------------------------------------------------------


@CPP
def test_closing_leaves_nothing_behind(kernel: Kernel) -> None:
    engine = StandaloneEngine(kernel)
    folder = engine.link.folder
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(folder.glob("socket"))  # removed as soon as the program had connected
    engine.close()
    engine.close()
    nothing_left(engine)
    with pytest.raises(BackendError, match="was closed"):
        engine.read()


@CPP
def test_an_engine_that_is_forgotten_ends_its_program(kernel: Kernel) -> None:
    engine = StandaloneEngine(kernel)
    pid, folder = engine.link.pid, engine.link.folder
    del engine
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()


@CPP
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_program_is_named(engine: StandaloneEngine, number: signal.Signals) -> None:
    engine.advance(block())
    os.kill(engine.link.pid, number)
    with pytest.raises(BackendError, match=f"ended after .* messages .killed by signal {int(number)}, {number.name}"):
        engine.read()
    with pytest.raises(BackendError, match=number.name):  # and so does every later call
        engine.advance(block())
    nothing_left(engine)
    engine.close()


@CPP
def test_a_program_that_is_silent_is_given_up(kernel: Kernel) -> None:
    engine = StandaloneEngine(kernel, timeout=1.0)
    os.kill(engine.link.pid, signal.SIGSTOP)
    with pytest.raises(BackendError, match=r"has not answered for 1 s.*was killed"):
        engine.advance(block())
    nothing_left(engine)


@CPP
def test_ctrl_c_waits_for_the_block(kernel: Kernel, engine: StandaloneEngine) -> None:
    """The exception comes after the answer: whoever catches it can still save the weights."""
    pid = engine.link.pid
    os.kill(pid, signal.SIGSTOP)
    timers = [
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)),
        threading.Timer(0.9, os.kill, (pid, signal.SIGCONT)),
    ]
    for timer in timers:
        timer.start()
    with pytest.raises(KeyboardInterrupt):
        engine.advance(block())
    for timer in timers:
        timer.join()
    other = StandaloneEngine(kernel)
    start(other)
    other.advance(block())
    same(engine.read(), other.read())
    other.close()


@CPP
def test_ctrl_c_twice_does_not_wait(engine: StandaloneEngine) -> None:
    os.kill(engine.link.pid, signal.SIGSTOP)
    timers = [threading.Timer(t, os.kill, (os.getpid(), signal.SIGINT)) for t in (0.3, 0.6)]
    for timer in timers:
        timer.start()
    with pytest.raises(KeyboardInterrupt):
        engine.advance(block())
    with pytest.raises(BackendError, match="was interrupted"):
        engine.read()
    nothing_left(engine)


ORPHAN = """
import json, os, sys, time
sys.path.insert(0, {tests!r})
from test_brian2_program import block, make_network, start
from rnla_neuro_backends.brian2_program.standalone import StandaloneEngine
from rnla_neuro_backends.explicit.kernel import make_kernel

engine = StandaloneEngine(make_kernel(make_network()))
start(engine)
child = os.fork()
if child == 0:  # holds the socket too, and outlives its parent
    engine.close()
    time.sleep(5)
    os._exit(0)
engine.advance(block())  # the child's close did no harm
print(json.dumps([engine.link.pid, str(engine.link.folder)]), flush=True)
time.sleep(60)
"""


@CPP
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_program_does_not_outlive_its_parent(cache: Path, kernel: Kernel, number: signal.Signals) -> None:
    program = textwrap.dedent(ORPHAN).format(tests=str(Path(__file__).parent))
    path = os.pathsep.join(p for p in sys.path if p)
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    pid, folder = json.loads(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(number)
    parent.wait(timeout=30)
    parent.stdout.close()
    wait_until_gone(pid)
    assert not Path(folder).exists()


class Broken(Env):
    """Its third step fails."""

    observation_space = spaces.Box(-1.0, 1.0, SIZES[:1])
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[np.ndarray, dict]:
        return np.zeros(SIZES[0], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        if self.steps == 3:
            raise RuntimeError("the environment broke")
        return np.zeros(SIZES[0], np.float32), 1.0, True, False, {}


@CPP
def test_an_environment_error_ends_the_program(cache: Path) -> None:
    request = RunRequest("environment", backend="brian2_cpp", seeds=(1, 2), hidden=(5,))
    with Session(request, env=Broken) as session:
        engine = session.simulation.engine
        with pytest.raises(TaskError, match="the environment broke"):
            session.train(10)
        assert alive(engine.link.pid)
    nothing_left(engine)


@CPP
@pytest.mark.parametrize("what", ["program", "environment"])
def test_a_run_that_breaks_off_can_be_read(
    cache: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder holds what was recorded, and says how it ended."""
    engines: list[StandaloneEngine] = []
    advance = StandaloneEngine.advance

    def watched(self: StandaloneEngine, block: Block) -> BlockResult:
        engines.append(self)
        if len(engines) == 30 and what == "program":
            os.kill(self.link.pid, signal.SIGKILL)
        if len(engines) == 30 and what == "environment":
            raise TaskError("the environment broke")
        return advance(self, block)

    monkeypatch.setattr(StandaloneEngine, "advance", watched)
    request = RunRequest("xor", backend="brian2_cpp", seeds=(1, 2), hidden=(5,), iterations=100)
    with pytest.raises(BackendError if what == "program" else TaskError) as caught:
        run(request, tmp_path / "run")
    results = Results.load(tmp_path / "run")
    assert results.status == "failed"
    assert ("SIGKILL" if what == "program" else "environment broke") in str(caught.value)
    assert results.iterations == 29
    nothing_left(engines[0])


# ---- the project for reading ---------------------------------------------------------------------------


@CPP
def test_the_project_that_is_left_builds_and_says_how_to_run_it(cache: Path, tmp_path: Path) -> None:
    network = make_network()
    files = BACKEND.leave_project(network, tmp_path)
    assert all((tmp_path / name).is_file() for name, _ in files)
    readme = (tmp_path / "README.md").read_text()
    for array in make_kernel(network).arrays:
        assert f"| `{array.name}` |" in readme
    assert (tmp_path / "model.toml").read_text() == network.model.text
    assert "cpp_standalone" not in (tmp_path / "makefile").read_text()
    assert str(cache) not in "".join(path.read_text() for path in tmp_path.rglob("*.*"))  # no path of this machine


@CPP
def test_a_directory_keeps_project_and_results(cache: Path, kernel: Kernel, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with BACKEND.build(make_network(), directory=folder) as simulation:
        weights = np.concatenate([w.reshape(AGENTS, -1) for w in simulation.weights()], axis=1)
    (written,) = (folder / "results").glob("_array_rnla_w_*")
    assert (folder / "README.md").exists()
    np.testing.assert_array_equal(kernel.layout.strip("w", np.fromfile(written)), weights)
    with pytest.raises(ConfigError, match="not an empty folder"):
        BACKEND.build(make_network(), directory=folder)


@CPP
def test_results_on_a_full_disk(cache: Path, tmp_path: Path) -> None:
    """Brian2 prints that it could not write, and ends with 0: it is an error here."""
    simulation = BACKEND.build(make_network(), directory=tmp_path / "kept")
    (tmp_path / "kept" / "results").rename(tmp_path / "kept" / "elsewhere")
    with pytest.raises(BackendError, match=r"could not write its results.*Error writing"):
        simulation.close()
    nothing_left(simulation.engine)


@CPP
def test_the_program_takes_arrays_from_its_command_line(cache: Path, kernel: Kernel, tmp_path: Path) -> None:
    weights = np.arange(kernel.arrays[0].size, dtype=np.float64)
    weights.tofile(tmp_path / "w")
    program = StandaloneEngine(kernel)
    command = [str(program.program.binary), "--results_dir", "{run}/", f"rnla.w={tmp_path / 'w'}", "rnla.z=0.5"]
    arrays = {array.name: kernel.dtype(array) for array in kernel.arrays}
    other = ProgramLink(command, program.program.folder, kernel.key, arrays, tmp_path)
    read = other.exchange({}, {"w": weights.size, "z": 3})
    np.testing.assert_array_equal(read["w"], weights)
    np.testing.assert_array_equal(read["z"], 0.5)
    other.close()
    program.close()


@CPP
def test_what_it_cannot_run_is_refused_by_name(cache: Path) -> None:
    squared = "dE/dt = (-E**2 + gate*(u_post - drive_post)*rbar_pre)/tau_elig : 1"
    unproven = variant("rate_nla", {"dE/dt = (-E + gate*(u_post - drive_post)*": squared})
    with pytest.raises(BackendError, match=r"\[synapse.hidden\]"):
        BACKEND.build(NetworkSpec(unproven, SIZES, (1,)), road="fused")
    with pytest.raises(ConfigError, match=r"unknown road 'fusde'.*did you mean 'fused'"):
        BACKEND.build(make_network(), road="fusde")
    with pytest.raises(BackendError, match=r"unknown option of backend 'brian2_cpp' 'core'"):
        BACKEND.build(make_network(), core="numpy")


# ---- the program's own end -----------------------------------------------------------------------------


def talk_to(binary: Path, answer: bytes | None, folder: Path) -> tuple[int, str]:
    """Start a program by hand, send it something, close the socket, and return how it ended."""
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        process = subprocess.Popen(
            [binary], env={"RNLA_SOCKET": str(path)}, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            if answer is not None:
                connection.sendall(answer)
                time.sleep(0.1)
    _, said = process.communicate(timeout=10)
    path.unlink()
    return process.returncode, said


@CPP
def test_a_peer_that_fails_ends_the_program(engine: StandaloneEngine) -> None:
    binary, header = engine.program.binary, struct.Struct("=IIQQ")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        for answer, message in (
            (None, "the peer closed the connection without ending the run"),
            (b"HTTP/1.1 200 OK" * 10, "does not speak rnla's protocol"),
            (header.pack(link.MAGIC, link.EXCHANGE, 7, 8) + bytes(8), "lost or sent twice"),
            (header.pack(link.MAGIC, 99, 1, 8) + bytes(8), "unknown command 99"),
            (header.pack(link.MAGIC, link.EXCHANGE, 1, 4) + bytes(4), "shorter than it says"),
            (header.pack(link.MAGIC, link.EXCHANGE, 1, 8) + bytes(9), "more than a message"),
            (
                header.pack(link.MAGIC, link.EXCHANGE, 1, 24) + struct.pack("=IIIIQ", 1, 0, 99, 0, 1),
                "that there is not",
            ),
            (
                header.pack(link.MAGIC, link.EXCHANGE, 1, 24) + struct.pack("=IIIIQ", 1, 0, 0, 0, 9**9),
                "than the array w",
            ),
        ):
            code, said = talk_to(binary, answer, Path(name))
            assert code == 3
            assert said.startswith("rnla: ")
            assert message in said


@CPP
def test_without_a_peer_the_program_says_so(engine: StandaloneEngine, tmp_path: Path) -> None:
    for environment, message in (
        ({}, "RNLA_SOCKET is not set"),
        ({"RNLA_SOCKET": str(tmp_path / "none")}, "cannot connect to the socket"),
        ({"RNLA_SOCKET": "/" + "x" * 200}, "path is too long"),
    ):
        done = subprocess.run([engine.program.binary], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert message in done.stderr
