"""Builds the compiled program of a kernel, once per structure: a cache that many processes may share.

A program is built in a folder of its own and then renamed into place, so nobody ever sees half of one. A lock
keeps two processes from building the same program twice; where it cannot be had, both build, and one wins.
Brian2 is imported only when a program has to be built.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rnla_neuro.errors import BackendError
from rnla_neuro.resources import cache_dir
from rnla_neuro_backends.brian2_program.texts import template_stamp
from rnla_neuro_backends.explicit.kernel import KernelArray
from rnla_neuro_backends.moving_equilibrium.compiler import compiler_identity, find_compiler, no_compiler

MANIFEST, BINARY = "program.json", "main"
STALE = 3600.0
"""Seconds after which a build without a finished program is taken for one whose process was killed."""
LOCK_TIMEOUT = 900.0
"""Seconds to wait for another process that builds the same program, before building it too."""


class Recipe(Protocol):
    """What a program is built from, such as a `rnla_neuro_backends.explicit.kernel.Kernel`."""

    flags: tuple[str, ...]
    arrays: tuple[KernelArray, ...]
    real: np.dtype[Any]

    @property
    def key(self) -> str:
        """Tells it apart from others."""

    @property
    def source(self) -> str:
        """Text that the program depends on."""

    @property
    def call(self) -> str:
        """How the text is called."""


Writer = Callable[[Any, Path], None]


@dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes:
        key: What it was built from: kernel, flags, compiler, processor, versions.
        folder: Its project: sources, makefile, binary.
    """

    key: str
    folder: Path

    @property
    def binary(self) -> Path:
        """The executable."""
        return self.folder / BINARY


@dataclass(frozen=True)
class Toolchain:
    """What compiles a project.

    Attributes:
        compiler: Its command, without ccache.
        command: The command that make is told.
        make: Path of make.
    """

    compiler: str
    command: str
    make: str


def find_toolchain() -> Toolchain:
    """Return compiler and make; ccache is used where it is installed.

    Raises:
        BackendError: There is no compiler, or no make.
    """
    compiler, make = find_compiler(), shutil.which("make") or shutil.which("gmake")
    if compiler is None:
        raise BackendError(f"{no_compiler()}: brian2_cpp needs one")
    if make is None:
        raise BackendError("no make found: brian2_cpp builds its program with make")
    has_cache = "ccache" in Path(shlex.split(compiler)[0]).name
    command = f"ccache {compiler}" if shutil.which("ccache") and not has_cache else compiler
    return Toolchain(compiler, command, make)


def programs_dir() -> Path:
    """Return the folder of all compiled programs."""
    folder = cache_dir() / "brian2_cpp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def program_key(kernel: Recipe, compiler: str, kind: str) -> str:
    """Hash everything that a program depends on; parameters, weights and seeds are not among it."""
    about = {
        "kind": kind,
        "kernel": [kernel.key, kernel.source, kernel.call],
        "arrays": [[a.name, a.dtype, a.size, a.role] for a in kernel.arrays],
        "precision": str(kernel.real),
        "flags": list(kernel.flags),
        "compiler": [compiler, compiler_identity(compiler)],
        "brian2": version("brian2"),
        "templates": template_stamp(),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def find_or_build(kernel: Recipe, write: Writer, kind: str = "fused") -> Program:
    """Return the program of a kernel, built if no process has built it before.

    Args:
        kernel: The kernel.
        write: Writes the sources and a makefile into a folder.
        kind: Tells apart programs that different writers make of one kernel.

    Raises:
        BackendError: It cannot be compiled or written; the message names the reason, and where the log is.
    """
    tools = find_toolchain()
    key = program_key(kernel, tools.compiler, kind)
    try:
        folder = programs_dir() / key
        found = load_program(folder)
        if found is not None:
            return found
        with _locked(folder.with_suffix(".lock")):
            found = load_program(folder)
            if found is not None:
                return found
            _clear(folder)
            return _build(kernel, write, tools, folder)
    except OSError as error:
        raise BackendError(
            f"the compiled program cannot be kept in {cache_dir()}: {error.strerror or error}; "
            "free space there, or set RNLA_CACHE_DIR to another folder"
        ) from error


def find_built(kernel: Recipe, kind: str = "fused") -> Program | None:
    """Return the program of a kernel if it has been built before; see `find_or_build`."""
    tools = find_toolchain()
    return load_program(programs_dir() / program_key(kernel, tools.compiler, kind))


def load_program(folder: Path) -> Program | None:
    """Return the program in a folder if it is there and whole."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["sha256"] == _sha256(folder / BINARY) and os.access(folder / BINARY, os.X_OK):
            return Program(manifest["key"], folder)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or damaged: built anew
    return None


def _clear(folder: Path) -> None:
    """Remove what builds of this program left behind whose process was killed."""
    for left in folder.parent.glob(f"{folder.name}.*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE:  # without a lock, others may be building
                shutil.rmtree(left, ignore_errors=True)


def _end_with_parent() -> None:
    """Ask Linux to end this process (a build) when the thread that waits for it is gone."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _build(kernel: Recipe, write: Writer, tools: Toolchain, folder: Path) -> Program:
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        write(kernel, work)
        _compile(tools, work, folder.with_suffix(".failed.log"))
        manifest = {
            "key": folder.name,
            "sha256": _sha256(work / BINARY),
            "arrays": [asdict(array) for array in kernel.arrays],
            "flags": list(kernel.flags),
            "brian2": version("brian2"),
        }
        (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        _publish(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    program = load_program(folder)
    if program is None:
        raise BackendError(f"the compiled program vanished from {folder}: is another process clearing the cache?")
    return program


def _compile(tools: Toolchain, work: Path, log: Path) -> None:
    # inherited from a make around us, these would make ours wait for its job server
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    jobs = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, 8)
    outcome = subprocess.run(
        [tools.make, f"-j{jobs}", f"CXX={tools.command}"],
        cwd=work,
        env={**environment, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    text = outcome.stdout.decode(errors="replace")
    if outcome.returncode == 0 and (work / BINARY).is_file():
        for left in (*work.rglob("*.o"), work / "make.deps"):
            left.unlink(missing_ok=True)
        return
    where = f"the whole log is {log}"
    try:
        log.write_text(text)
    except OSError as error:
        where = f"the log could not be written to {log}: {error.strerror}"
    raise BackendError(
        f"the generated program could not be compiled (make CXX={tools.command!r} ended with "
        f"{outcome.returncode}); {where}; it ends with:\n{text[-2000:].strip()}"
    )


def _publish(work: Path, folder: Path) -> None:
    """Rename a finished project into place; another process may have been faster."""
    work.chmod(0o755)
    for _ in range(3):
        try:
            work.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        if load_program(folder) is not None:
            return
        damaged = Path(tempfile.mkdtemp(suffix=".tmp", dir=folder.parent))
        folder.rename(damaged / "damaged")  # a rename, so that nobody finds half of it
        shutil.rmtree(damaged, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, which the system takes back if this process dies; without one after `LOCK_TIMEOUT`."""
    with path.open("w") as lock:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    break  # a file system without locks: go on without one
                time.sleep(0.1)
        yield


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
