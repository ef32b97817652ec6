"""Our templates, made known to Brian2's code generation targets; and small helps for the templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import prefs
from brian2.codegen.runtime.cython_rt import CythonCodeObject
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject
from brian2.devices.device import get_device

from rnla_neuro.errors import BackendError

PACKAGE = __name__.rpartition(".")[0]
SIMD_FLAG = "-fopenmp-simd"
_FLOAT = re.compile(r"(?<![\w.])((?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)(?![\w.])")


def real_code(code: str | list[str], real: str, variables: Mapping[str, Any] | None = None) -> str:
    """Keep generated C++ in its own precision: in C++ ``0.5*x`` is a double, whatever x is.

    Args:
        code: Generated statements.
        real: C type of the projection's variables.
        variables: Those of the code object; scalars and constants among them are doubles (not time, which needs it).

    Returns:
        The same statements; for ``float`` with literals and scalars in float.
    """
    code = code if isinstance(code, str) else "\n".join(code)
    if real != "float":
        return code
    code = _FLOAT.sub(r"\1f", code)
    for name, variable in (variables or {}).items():
        is_double = getattr(variable, "scalar", False) and np.dtype(variable.dtype) == np.float64
        if is_double and variable.name != "t":
            code = re.sub(rf"\b{name}\b(?!\s*[=(])", f"((float){name})", code)
    return code


_READ = re.compile(r"const (\w+) (\w+) = (\w+\[(?:_pre_idx|_pre_own|_agent_idx|0)\]);")


def row_reads(code: list[str], block: str) -> list[tuple[str, str, str, str]]:
    """Return what statements read that is the same for all synapses of a presynaptic neuron.

    The compiler would load it again at every synapse, since it cannot know that no store changes it.

    Args:
        code: Generated statements.
        block: Name of the block, for the names outside of the loop.

    Returns:
        For each read: the line, its type, the name outside of the loop, what it reads.
    """
    found = [(line, _READ.fullmatch(line.strip())) for line in code]
    return [(line, match[1], f"_{match[2]}_{block}", match[3]) for line, match in found if match is not None]


def row_code(code: list[str], block: str, row: int) -> list[str]:
    """Return the same statements with the reads of `row_reads` taken from outside of the loop."""
    known = {line: (kind, name) for line, kind, name, _ in row_reads(code, block)}
    done = []
    for line in code:
        if line in known:
            kind, name = known[line]
            line = f"const {kind} {line.split()[2]} = {name}_{row};"
        done.append(line)
    return done


_PYX_READ = re.compile(r"\w+ = \w+\[(?:_pre_idx|_pre_own|_agent_idx|0)\]")


def pyx_rows(code: str | list[str], inner: bool) -> str:
    """Return what Cython statements read once a presynaptic neuron, or (`inner`) all other statements."""
    lines = code.splitlines() if isinstance(code, str) else code
    return "\n".join(line for line in lines if (_PYX_READ.fullmatch(line.strip()) is None) == inner)


def once_code(code: str | list[str], real: str) -> str:
    """Compute what is the same for all synapses in double precision, as Brian2 does, and hand it on as `real`."""
    code = code if isinstance(code, str) else "\n".join(code)
    return re.sub(r"\bconst double (_lio_\w+) =", rf"const {real} \1 =", code)


def merged(scalar_code: dict[str, str | list[str]], *without: str) -> str:
    """Join the statements that run once a pass, declarations only once however many blocks make them."""
    lines: list[str] = []
    for name, block in scalar_code.items():
        if name not in without:
            block = block.splitlines() if isinstance(block, str) else block
            lines += [line for line in block if not (line.startswith("const ") and line in lines)]
    return "\n".join(lines)


def merged_of(scalar_code: dict[str, str | list[str]], blocks: Sequence[Any]) -> str:
    """Join the statements that run once for some blocks."""
    return merged({block.name: scalar_code[block.name] for block in blocks})


_GLOBALS = {
    "pyx_rows": pyx_rows,
    "merged_of": merged_of,
    "once_code": once_code,
    "real_code": real_code,
    "row_code": row_code,
    "row_reads": row_reads,
    "merged": merged,
}


def register() -> None:
    """Make our templates known to the targets that are loaded. It only adds names, and can be repeated."""
    classes: list[Any] = [NumpyCodeObject, CythonCodeObject, CPPStandaloneCodeObject]
    if type(get_device()).__module__.startswith("brian2cuda"):
        from brian2cuda.codeobject import CUDAStandaloneCodeObject

        classes.append(CUDAStandaloneCodeObject)
    for target in classes:
        if PACKAGE not in target.templater.package_names:
            target.templater = target.templater.derive(PACKAGE, env_globals=_GLOBALS)


def target_name() -> str:
    """Return what code is generated for: ``numpy``, ``cython``, ``cpp`` or ``cuda``.

    Raises:
        BackendError: There are no templates for it.
    """
    device = get_device()
    module = type(device).__module__
    if module.startswith("brian2cuda"):
        return "cuda"
    target = device.code_object_class(None)
    names = {NumpyCodeObject: "numpy", CythonCodeObject: "cython", CPPStandaloneCodeObject: "cpp"}
    if target not in names:
        raise BackendError(
            f"DenseSynapses has no templates for {target.__name__}; it has for numpy, cython, cpp_standalone "
            "and cuda_standalone"
        )
    return names[target]


def ask_for_simd() -> None:
    """Have standalone programs compiled with ``-fopenmp-simd``, so that our loops vectorise without fast-math.

    The flag only makes the compiler read ``#pragma omp simd``; it starts no threads and needs no library.
    """
    for name in ("extra_compile_args", "extra_compile_args_gcc"):
        flags = prefs[f"codegen.cpp.{name}"]
        if flags is not None and not {SIMD_FLAG, "-fopenmp"} & set(flags):
            prefs[f"codegen.cpp.{name}"] = [*flags, SIMD_FLAG]
