"""Finds what CUDA programs are built and run with: brian2cuda, nvcc, curand, a device.

Nothing here imports Brian2 or needs a GPU; what is missing is named together with the way to get it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rnla_neuro.errors import BackendError, MissingExtraError

FALLBACK_CAPABILITY = (9, 0)
"""What is compiled for where no device is found (H100, H200)."""

MINIMAL_RELEASE = (12, 0)
USUAL = Path("/usr/local/cuda/bin/nvcc")
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


@dataclass(frozen=True)
class Device:
    """A CUDA device as the driver lists it.

    Attributes:
        number: Its place in the driver's list (after ``CUDA_VISIBLE_DEVICES``).
        name: Name of the product.
        capability: Compute capability, major and minor.
    """

    number: int
    name: str
    capability: tuple[int, int]


@dataclass(frozen=True)
class Toolkit:
    """The CUDA toolkit that programs are compiled with.

    Attributes:
        nvcc: The compiler.
        release: Its release, major and minor.
        includes: Folders for ``-I`` beside the toolkit's own.
        curand: The library to link, or None: the toolkit has it and ``-lcurand`` finds it.
    """

    nvcc: Path
    release: tuple[int, int]
    includes: tuple[Path, ...]
    curand: Path | None


def require_brian2cuda() -> None:
    """Check that brian2cuda can be imported, without importing it.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("brian2cuda") is None:
        raise MissingExtraError(
            "backend 'brian2_cuda' needs brian2cuda (GPL-3.0), which is not installed: "
            "pip install 'rnla_neuro[cuda]'; backend 'brian2_cpp' runs the same program on the CPU"
        )


@lru_cache
def find_toolkit() -> Toolkit:
    """Return the CUDA toolkit: that of ``$CUDA_PATH``, else of the nvcc on PATH, else /usr/local/cuda.

    Raises:
        BackendError: No nvcc, one that is too old or does not run, or no curand; it says what was tried.
    """
    nvcc = _find_nvcc()
    release = _release(nvcc)
    if release < MINIMAL_RELEASE:
        raise BackendError(
            f"{nvcc} is CUDA {release[0]}.{release[1]}: the generated code needs CUDA "
            f"{MINIMAL_RELEASE[0]}.{MINIMAL_RELEASE[1]} or newer (C++17)"
        )
    includes, libraries = _own_folders(nvcc)
    if any((folder / "curand.h").exists() for folder in includes) and any(
        (folder / "libcurand.so").exists() for folder in libraries
    ):
        return Toolkit(nvcc, release, (), None)
    found = _packaged_curand(release[0])
    if found is None:
        package = "nvidia-curand" if release[0] >= 13 else f"nvidia-curand-cu{release[0]}"
        raise BackendError(
            f"the CUDA toolkit of {nvcc} has no curand, which brian2cuda links, and the package that has it is "
            f"not installed: pip install {package}"
        )
    return Toolkit(nvcc, release, (found[0],), found[1])


def _find_nvcc() -> Path:
    chosen = os.environ.get("CUDA_PATH", "").strip()
    if chosen:
        nvcc = Path(chosen) / "bin" / "nvcc"
        if nvcc.exists():
            return nvcc
        raise BackendError(f"CUDA_PATH = {chosen!r}: there is no compiler at {nvcc}")
    on_path = shutil.which("nvcc")
    if on_path is None and not USUAL.exists():
        raise BackendError(
            f"no CUDA compiler found (tried $CUDA_PATH, nvcc on PATH, {USUAL}): install the CUDA toolkit; "
            "backend 'brian2_cpp' needs only a C++ compiler"
        )
    return Path(on_path) if on_path is not None else USUAL


def _run(command: list[str], what: str) -> str:
    try:
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BackendError(f"{what}: {shlex.join(command)} could not be started: {error}") from error
    if outcome.returncode != 0:
        raise BackendError(f"{what}: {shlex.join(command)} failed: {outcome.stderr.strip()[-1000:]}")
    return outcome.stdout + outcome.stderr


def _release(nvcc: Path) -> tuple[int, int]:
    text = _run([str(nvcc), "--version"], "the CUDA compiler's version")
    found = re.search(r"release (\d+)\.(\d+)", text)
    if found is None:
        raise BackendError(f"{nvcc} --version names no release: {text.strip()[:200]!r}")
    return int(found[1]), int(found[2])


def _own_folders(nvcc: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders in which nvcc itself looks for headers and libraries; nothing is compiled."""
    text = _run([str(nvcc), "--dryrun", "-x", "cu", os.devnull, "-o", os.devnull], "the CUDA compiler's folders")
    headers, libraries = [], []
    for line in text.splitlines():
        if re.match(r"#\$ (SYSTEM_)?INCLUDES=", line):
            headers += [Path(path) for path in re.findall(r'"(?:-I)?([^"-][^"]*)"', line)]
        elif line.startswith("#$ LIBRARIES="):
            libraries += [Path(path) for path in re.findall(r'"-L([^"]+)"', line)]
    return headers, libraries


def _packaged_curand(major: int) -> tuple[Path, Path] | None:
    """Return the include folder and the library of the pip package with curand for this major release."""
    spec = importlib.util.find_spec("nvidia")
    for home in (spec.submodule_search_locations or ()) if spec is not None else ():
        for folder in (Path(home) / f"cu{major}", Path(home) / "curand"):
            library = folder / "lib" / "libcurand.so.10"
            if (folder / "include" / "curand.h").exists() and library.exists():
                return folder / "include", library
    return None


def devices() -> list[Device]:
    """Return the CUDA devices that the driver lists; none where there is no driver."""
    return _ask_driver()[0]


def require_device(number: int | None = None) -> Device:
    """Return a device to run on: the one asked for, else the first of the highest compute capability.

    Raises:
        BackendError: There is none; it says what the driver answered, and the way out.
    """
    found, why = _ask_driver()
    if not found:
        raise BackendError(
            f"no CUDA device to run on ({why}); the program can be built here ('rnla compile'), and backend "
            "'brian2_cpp' runs the same model on the CPU"
        )
    if number is None:
        return max(found, key=lambda device: (device.capability, -device.number))
    for device in found:
        if device.number == number:
            return device
    listed = ", ".join(f"{device.number} ({device.name})" for device in found)
    raise BackendError(f"no CUDA device {number}: the driver lists {listed}")


@lru_cache
def _ask_driver() -> tuple[list[Device], str]:
    """Return the driver's devices, and why there are none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return [], "no NVIDIA driver: libcuda.so.1 cannot be loaded"
    status = driver.cuInit(0)
    if status != 0:
        return [], f"the NVIDIA driver's cuInit failed with error {status}"
    count = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        return [], "the driver lists none" + (f"; CUDA_VISIBLE_DEVICES = {hidden!r}" if hidden is not None else "")
    return [_describe(driver, number) for number in range(count.value)], ""


def _describe(driver: ctypes.CDLL, number: int) -> Device:
    handle, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(handle), number)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, handle)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, handle)
    return Device(number, name.value.decode(errors="replace"), (major.value, minor.value))


def target_capability() -> tuple[int, int]:
    """Return the compute capability to compile for: the best device's, else `FALLBACK_CAPABILITY`."""
    return require_device().capability if devices() else FALLBACK_CAPABILITY
