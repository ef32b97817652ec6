"""Compile generated C++ to a shared library, once per source: the cache is safe under many processes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from rnla_neuro.errors import BackendError
from rnla_neuro.resources import cache_dir

FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp-simd", "-fno-math-errno", "-fPIC", "-shared")


def find_compiler() -> str | None:
    """Return the C++ compiler's command: `$CXX`, else the first of c++, g++, clang++; None if there is none."""
    chosen = os.environ.get("CXX", "").strip()
    if chosen:
        return chosen if shutil.which(shlex.split(chosen)[0]) else None  # options may follow
    return next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def no_compiler() -> str:
    """Say why `find_compiler` found none."""
    chosen = os.environ.get("CXX", "").strip()
    if chosen:
        return f"no C++ compiler found: CXX is {chosen!r}, which cannot be run; unset it, or name another one"
    return "no C++ compiler found (tried $CXX, c++, g++, clang++)"


@lru_cache
def compiler_identity(compiler: str) -> str:
    """Return what a compiled file depends on beside its source: compiler version and processor."""
    version = subprocess.run(
        [*shlex.split(compiler), "--version"], capture_output=True, text=True, check=False
    )
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else platform.processor()
    flags = [line for line in text.splitlines() if line.startswith(("flags", "Features", "model name"))]
    return version.stdout + "".join(sorted(set(flags))) + platform.platform()


def compile_library(source: str) -> ctypes.CDLL:
    """Compile `source`, or load what an earlier process compiled from the same source.

    Raises:
        BackendError: No compiler, or the compiler refused; the message holds its output.
    """
    compiler = find_compiler()
    if compiler is None:
        raise BackendError(no_compiler())
    key = hashlib.sha256("\0".join([source, *FLAGS, compiler, compiler_identity(compiler)]).encode()).hexdigest()[:32]
    folder = cache_dir() / "equilibrium"
    library = folder / f"{key}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _build(compiler, source, library)
    return ctypes.CDLL(str(library))


def _build(compiler: str, source: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        code, built = Path(work) / "core.cpp", Path(work) / "core.so"
        code.write_text(source)
        command = [*shlex.split(compiler), *FLAGS, str(code), "-o", str(built)]
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        if outcome.returncode != 0:
            kept = library.with_suffix(".failed.cpp")
            kept.write_text(source)
            raise BackendError(
                f"{shlex.join(command)} failed on generated code (kept as {kept}):\n{outcome.stderr[-3000:]}"
            )
        built.replace(library)  # whole or not at all, whoever else is building it
