"""The cache of compiled programs: built once, shared by processes, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from rnla_neuro.errors import BackendError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import CACHE_VARIABLE
from rnla_neuro.spec.loader import load_model
from rnla_neuro_backends.brian2_program import build
from rnla_neuro_backends.brian2_program.build import find_or_build, load_program
from rnla_neuro_backends.explicit.kernel import Kernel, make_kernel

MAKEFILE = "main: main.cpp\n\t$(CXX) main.cpp -o main\n"


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return make_kernel(NetworkSpec(load_model("rate_nla"), (3, 4, 2), (1,)))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "brian2_cpp"


class Writer:
    """Writes a project that is compiled at once, and counts how often."""

    def __init__(self, code: str = "int main() { return 7; }", before: object = None) -> None:
        self.code, self.before, self.written = code, before, 0

    def __call__(self, kernel: Kernel, folder: Path) -> None:
        self.written += 1
        if callable(self.before):
            self.before()
        (folder / "main.cpp").write_text(self.code)
        (folder / "makefile").write_text(MAKEFILE)


def test_a_program_is_built_once(kernel: Kernel, own_cache: Path) -> None:
    write = Writer()
    first, second = find_or_build(kernel, write), find_or_build(kernel, write)
    assert first == second
    assert write.written == 1
    assert subprocess.run([first.binary], check=False).returncode == 7
    assert json.loads((first.folder / "program.json").read_text())["flags"] == list(kernel.flags)
    assert {path.suffix for path in own_cache.iterdir()} == {"", ".lock"}  # no half-built folder is left


def test_what_a_program_depends_on(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {build.program_key(kernel, "g++", "fused")}
    network = NetworkSpec(load_model("rate_nla"), (3, 4, 2), (1,), precision="float32")
    keys.add(build.program_key(make_kernel(network), "g++", "fused"))
    keys.add(build.program_key(kernel, "g++", "cuda"))
    monkeypatch.setattr(build, "compiler_identity", lambda _: "another machine")
    keys.add(build.program_key(kernel, "g++", "fused"))
    monkeypatch.setattr(build, "template_stamp", lambda: "other templates")
    keys.add(build.program_key(kernel, "g++", "fused"))
    monkeypatch.setattr(build, "version", lambda _: "0")
    keys.add(build.program_key(kernel, "g++", "fused"))
    monkeypatch.setattr(kernel, "flags", ("-O0",))
    keys.add(build.program_key(kernel, "g++", "fused"))
    assert len(keys) == 7


def test_parameters_and_seeds_are_no_part_of_it(kernel: Kernel) -> None:
    other = make_kernel(NetworkSpec(load_model("rate_nla", {"eta": "0.123"}), (3, 4, 2), (99,)))
    assert build.program_key(other, "g++", "fused") == build.program_key(kernel, "g++", "fused")


@pytest.mark.parametrize("damage", ["binary", "manifest", "no manifest", "no binary", "not executable", "a file"])
def test_a_damaged_entry_is_built_anew(kernel: Kernel, damage: str) -> None:
    write = Writer()
    folder = find_or_build(kernel, write).folder
    if damage == "binary":
        (folder / "main").write_bytes((folder / "main").read_bytes()[:-100])
    elif damage == "manifest":
        (folder / "program.json").write_text("{")
    elif damage == "not executable":
        (folder / "main").chmod(0o600)
    elif damage == "a file":
        folder.rename(folder.with_suffix(".gone"))
        folder.write_text("")
    else:
        (folder / {"no manifest": "program.json", "no binary": "main"}[damage]).unlink()
    assert load_program(folder) is None
    program = find_or_build(kernel, write)
    assert write.written == 2
    assert subprocess.run([program.binary], check=False).returncode == 7


def test_a_failed_compilation_names_its_log(kernel: Kernel, own_cache: Path) -> None:
    with pytest.raises(BackendError, match="could not be compiled") as caught:
        find_or_build(kernel, Writer("int main() { return undeclared_thing; }"))
    log = next(own_cache.glob("*.failed.log"))
    assert str(log) in str(caught.value)
    assert "undeclared_thing" in str(caught.value)
    assert "undeclared_thing" in log.read_text()
    assert not [path for path in own_cache.iterdir() if path.is_dir()]


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_sources_are_written(kernel: Kernel, own_cache: Path) -> None:
    with pytest.raises(BackendError, match=r"No space left on device.*RNLA_CACHE_DIR"):
        find_or_build(kernel, Writer(before=no_space))
    assert not [path for path in own_cache.iterdir() if path.is_dir()]
    assert find_or_build(kernel, Writer()).binary.exists()  # and it can be tried again


def test_a_full_disk_while_it_is_compiled(
    kernel: Kernel, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "full-c++"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo full; exit;; esac\n'
        "echo 'fatal error: error writing to /tmp/x.s: No space left on device' >&2\nexit 1\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    real_write = Path.write_text

    def write_text(self: Path, *args: object) -> int:
        return no_space() if self.suffix == ".log" else real_write(self, *args)

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(BackendError, match=r"log could not be written.*No space left on device") as caught:
        find_or_build(kernel, Writer())
    assert "error writing to /tmp/x.s" in str(caught.value)
    assert not [path for path in own_cache.iterdir() if path.is_dir()]


def test_a_cache_that_cannot_be_written(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache2").mkdir()
    (tmp_path / "cache2" / "brian2_cpp").write_text("a file where a folder should be")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache2"))
    with pytest.raises(BackendError, match=r"cannot be kept in .*cache2"):
        find_or_build(kernel, Writer())


@pytest.mark.parametrize("gone", ["compiler", "make"])
def test_missing_tools_are_named(kernel: Kernel, gone: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", sys.executable if gone == "make" else "no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match=f"no .*{gone} found"):
        find_or_build(kernel, Writer())


def test_ccache_is_used_where_it_is(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    script = tmp_path / "ccache"
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CXX", raising=False)
    find_or_build(kernel, Writer())
    assert "main.cpp" in log.read_text()
    monkeypatch.setenv("CXX", "ccache g++")
    assert build.find_toolchain().command == "ccache g++"  # not twice


RACE = """
import sys
from pathlib import Path
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.loader import load_model
from rnla_neuro_backends.brian2_program import build
from rnla_neuro_backends.explicit.kernel import make_kernel

def write(kernel, folder):
    with Path(sys.argv[1]).open("a") as log:
        log.write("written\\n")
    (folder / "main.cpp").write_text("int main() { return 7; }")
    (folder / "makefile").write_text("main: main.cpp\\n\\tsleep 0.5; $(CXX) main.cpp -o main\\n")

build.LOCK_TIMEOUT = float(sys.argv[2])
kernel = make_kernel(NetworkSpec(load_model("rate_nla"), (3, 4, 2), (1,)))
print("ready", flush=True)
sys.stdin.readline()
print(build.find_or_build(kernel, write).binary, flush=True)
"""


@pytest.mark.parametrize(("timeout", "builds"), [(600.0, 1), (0.0, 2)], ids=["lock", "no lock"])
def test_two_processes_at_once(own_cache: Path, tmp_path: Path, timeout: float, builds: int) -> None:
    """With the lock one builds and the other waits; without it both build, and one of them wins."""
    log = tmp_path / "log"
    path = os.pathsep.join([str(Path(__file__).parent), *(p for p in sys.path if p)])
    command = [sys.executable, "-c", textwrap.dedent(RACE), str(log), str(timeout)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **pipes) for _ in range(2)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    binaries = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(binaries) == 1
    assert subprocess.run([binaries.pop()], check=False).returncode == 7
    assert log.read_text().count("written") == builds
    assert len([path for path in own_cache.iterdir() if path.is_dir()]) == 1


def test_a_lock_dies_with_its_process(kernel: Kernel, own_cache: Path) -> None:
    own_cache.mkdir(parents=True)
    key = build.program_key(kernel, build.find_toolchain().compiler, "fused")
    hold = f"import fcntl, time; f = open({str(own_cache / key) + '.lock'!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
    holder = subprocess.Popen(
        [sys.executable, "-c", hold + "print('held', flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    began = time.monotonic()
    assert find_or_build(kernel, Writer()).binary.exists()
    assert time.monotonic() - began < 30
