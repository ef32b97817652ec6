"""The CUDA templates of DenseSynapses: executed on the CPU by fibers (cuda/cuda_emulation.hpp), compiled where nvcc is.

Some steps are compared with Brian2's numpy target: sums on both sides, an ODE, code of a clock, an event of one agent,
a conditional assignment before the run, and a softmax; with traces in every step, and with traces at events.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.brian2_program import cuda_toolkit
from tests.conformance.cuda import dense_project
from tests.conformance.cuda.emulation import compile_program

pytestmark = pytest.mark.skipif(importlib.util.find_spec("brian2cuda") is None, reason="brian2cuda is not installed")

ORDERS = ("forward", "reverse", "5")
CTYPES = {"float64": "double", "float32": "float", "int32": "int32_t", "int64": "int64_t", "bool": "char"}
#: What Brian2's support code names and no kernel of ours calls.
STUBS = """
#include "cuda_emulation.hpp"
#include <cstring>
typedef double randomNumber_t;
template <class T, class U> T atomicAdd(T* at, U value) { T old = *at; *at += (T)value; return old; }
template <class T, class U, class V> T atomicCAS(T* at, U, V) { std::abort(); return *at; }
inline long long __double_as_longlong(double) { std::abort(); return 0; }
inline double __longlong_as_double(long long) { std::abort(); return 0; }
inline int __float_as_int(float) { std::abort(); return 0; }
inline float __int_as_float(int) { std::abort(); return 0; }
#define CUDA_CHECK_ERROR(name)
"""
MAIN = """
int main(int, char** arguments)
{{
    std::FILE* file = std::fopen(arguments[1], "rb");
{read}
    std::fclose(file);
{before}
    for (int step = 0; step < {steps}; step++)
    {{
        brian::_array_defaultclock_t[0] = step*0.001;
{step}
    }}
{after}
    file = std::fopen(arguments[2], "wb");
{write}
    std::fclose(file);
    return 0;
}}
"""


@pytest.fixture(scope="module", params=["float64 every_step", "float64 at_events", "float32 at_events"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "_"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, dense_project.__file__, str(folder), *request.param.split()]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return folder


def host_text(path: Path) -> str:
    """Return the text of a code object for the emulation, in a namespace of its own.

    Headers are left out, launches get a form that C++ reads, and the function that forms traces is called through
    the one outside of all namespaces.
    """
    text = re.sub(r"^#include.*$", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"///// HOST_PARAMETERS /////|void _form_traces_\w+\(const char\* _which\);", "", text)
    text = re.sub(r"(?<!void )\b(_form_traces_\w+\()", r"::\1", text)
    launch = re.compile(r"(\w+)<<<(.*?)>>>\((.*?)\);", re.DOTALL)
    text = launch.sub(r"RNLA_LAUNCH(\1, \2, 0, \3);", text)
    space = f"unit_{path.stem}"
    formed = re.search(r"void (_form_traces_\w+)\(const char\* _which\)\s*\{", text)
    outside = "" if formed is None else f"void {formed[1]}(const char* which) {{ {space}::{formed[1]}(which); }}\n"
    return f"namespace {space} {{\n{text}\n}}\n{outside}"


def emulated(folder: Path) -> tuple[dict[str, Any], str]:
    """Return what is known of the project, and one C++ program that does what the project's would do."""
    known = json.loads((folder / "project.json").read_text())
    arrays = known["arrays"].items()
    declared = "".join(
        f"{CTYPES[dtype]} {name}[{size}];\n{CTYPES[dtype]}* dev{name} = {name};\n" for name, (dtype, size) in arrays
    )
    names = [*known["before"], *known["step"], *(f"after_run_{name}" for name in known["after"])]
    units = "".join(host_text(folder / "project" / "code_objects" / f"{name}.cu") for name in names)
    forms = {f"void {name}(const char* which);\n" for name in re.findall(r"::(_form_traces_\w+)\(", units)}
    calls = {when: "".join(f"    unit_{name}::_run_{name}();\n" for name in known[when]) for when in ("before", "step")}
    calls["after"] = "".join(f"    unit_after_run_{name}::_after_run_{name}();\n" for name in known["after"])
    transfer = "    std::f{what}(brian::{name}, 1, sizeof brian::{name}, file);\n"
    for what in ("read", "write"):
        calls[what] = "".join(transfer.format(what=what, name=name) for name in known["arrays"])
    main = MAIN.format(steps=dense_project.STEPS, **calls)
    return known, f"{STUBS}\nnamespace brian {{\n{declared}}}\n{''.join(forms)}{units}\n{main}"


def initial(arrays: dict[str, tuple[str, int]]) -> bytes:
    given = dense_project.values() | {"defaultclock_dt": np.array([0.001])}
    content = []
    for name, (dtype, size) in arrays.items():
        value = given.get(name.removeprefix("_array_"), np.full(size, 77))  # what is not set must not matter
        if name.startswith("_array_syn__base"):
            value = np.ones(size)
        elif name.endswith("_count"):
            value = np.zeros(size)
        elif name.endswith("_i"):
            value = np.arange(size)
        elif name.endswith(("_t", "_n", "timestep")):
            value = np.zeros(size)
        content.append(np.asarray(value).astype(dtype).tobytes())
    return b"".join(content)


@pytest.mark.backend("dense:cuda-text")
def test_the_kernels_do_what_numpy_does(project: Path) -> None:
    known, text = emulated(project)
    assert [what for what, _ in known["recognised"]] in (
        ["one pass: E, I_post, J_post, fb_pre"],
        ["E at events", "one pass: I_post, J_post, fb_pre"],
    )
    source, program = project / "emulated.cpp", project / "emulated"
    source.write_text(text)
    compile_program(source, program, ("-std=c++17", "-O0", "-w"))
    (project / "given").write_bytes(initial(known["arrays"]))
    wanted = dict(np.load(project / "wanted.npz"))
    close = 1e-12 if wanted["syn_w"].dtype == np.float64 else 3e-6  # sums in another order
    for order in ORDERS:
        environment = os.environ | {"CUDA_EMULATION_ORDER": order}
        command = [str(program), str(project / "given"), str(project / "found")]
        outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stderr
        content, start, found = (project / "found").read_bytes(), 0, {}
        for name, (dtype, size) in known["arrays"].items():
            found[name.removeprefix("_array_")] = np.frombuffer(content, dtype, size, start)
            start += size * np.dtype(dtype).itemsize
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, rtol=close, atol=close, err_msg=name)
        assert np.abs(found["syn_w"] - dense_project.values()["syn_w"]).max() > 0.1


@pytest.mark.slow
@pytest.mark.backend("dense:cuda-compiled")
def test_the_project_is_compiled_and_linked(project: Path) -> None:
    try:
        toolkit = cuda_toolkit.find_toolkit()
    except BackendError as error:
        pytest.skip(str(error))
    libraries = project / "libraries"
    libraries.mkdir(exist_ok=True)
    environment = dict(os.environ)
    if toolkit.curand is not None:
        (libraries / "libcurand.so").symlink_to(toolkit.curand)
        environment |= {"CPATH": str(toolkit.includes[0]), "LIBRARY_PATH": str(libraries)}
    command = ["make", "-j2", f"NVCC={toolkit.nvcc} -ccbin $(CXX)"]
    outcome = subprocess.run(
        command, cwd=project / "project", env=environment, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout[-2000:] + outcome.stderr[-2000:]
    assert (project / "project" / "main").is_file()
