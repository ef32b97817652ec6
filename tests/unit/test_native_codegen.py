"""Generated C++: the compiler and its cache, and what the printer makes of expressions."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import CACHE_VARIABLE
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.loader import load_model
from rnla_neuro.spec.numeric import compile_expression
from rnla_neuro.spec.proof import derivative, symbol
from rnla_neuro_backends.common.cpp import Printer
from rnla_neuro_backends.equilibrium import EquilibriumSimulation, NoCompilerWarning
from rnla_neuro_backends.moving_equilibrium import compiler
from rnla_neuro_backends.moving_equilibrium.codegen import generate
from rnla_neuro_backends.moving_equilibrium.compiler import compile_library, find_compiler
from tests.model_lines import proven_models

NATIVE = pytest.mark.backend("equilibrium:native")
NUMPY = pytest.mark.backend("equilibrium:numpy")
SOURCE = 'extern "C" int answer() { return %d; }\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "equilibrium"


@pytest.fixture
def network() -> NetworkSpec:
    return NetworkSpec(load_model("rate_nla"), (3, 4, 2), (1,))


def hide_compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def wrapper(folder: Path, body: str) -> Path:
    """Make a compiler that does something before it calls the real one."""
    real = subprocess.run(["sh", "-c", "command -v c++ || command -v g++"], capture_output=True, text=True, check=True)
    script = folder / "wrapped-c++"
    script.write_text(f'#!/bin/sh\n{body}\nexec {real.stdout.strip()} "$@"\n')
    script.chmod(0o755)
    return script


# ---- the compiler --------------------------------------------------------------------------------------


@NUMPY
def test_without_a_compiler_the_numpy_core_runs(
    network: NetworkSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hide_compilers(monkeypatch, tmp_path)
    assert find_compiler() is None
    with pytest.warns(NoCompilerWarning, match="the numpy core runs"), EquilibriumSimulation(network) as simulation:
        assert simulation.core_name == "numpy"
    with pytest.raises(BackendError, match=r"no C\+\+ compiler found"):
        EquilibriumSimulation(network, core="native")


@NATIVE
def test_with_a_compiler_the_compiled_core_runs(network: NetworkSpec) -> None:
    with EquilibriumSimulation(network) as simulation:
        assert simulation.core_name == "native"


def test_cxx_chooses_the_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = wrapper(tmp_path, "")
    for text in (str(chosen), f"{chosen} -DSOMETHING=1", f"  {chosen}  "):
        monkeypatch.setenv("CXX", text)
        assert find_compiler() == text.strip()
    monkeypatch.setenv("CXX", "no-such-compiler-anywhere")
    assert find_compiler() is None


@NATIVE
def test_what_the_compiler_says_is_in_the_error(own_cache: Path) -> None:
    with pytest.raises(BackendError) as caught:
        compile_library("int main( { this is not C++ }\n")
    message = str(caught.value)
    assert "failed on generated code" in message
    assert "error:" in message
    kept = list(own_cache.glob("*.failed.cpp"))
    assert len(kept) == 1
    assert str(kept[0]) in message
    assert not list(own_cache.glob("*.so"))


@NATIVE
def test_compiled_code_is_used_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("CXX", str(wrapper(tmp_path, f'case "$*" in *--version*) ;; *) echo run >> {log} ;; esac')))
    for _ in range(3):
        assert compile_library(SOURCE % 42).answer() == 42
    assert log.read_text().count("run") == 1
    assert compile_library(SOURCE % 43).answer() == 43
    assert log.read_text().count("run") == 2
    assert len(list(own_cache.iterdir())) == 2  # nothing is left over


@NATIVE
def test_another_processor_compiles_anew(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    compile_library(SOURCE % 1)
    monkeypatch.setattr(compiler, "compiler_identity", lambda _: "another machine")
    compile_library(SOURCE % 1)
    assert len(list(own_cache.glob("*.so"))) == 2


@NATIVE
def test_two_processes_compile_at_once(tmp_path: Path, own_cache: Path) -> None:
    """Both begin before either has ended, both load a whole library, one file remains."""
    slow = wrapper(tmp_path, 'case "$*" in *--version*) ;; *) sleep 0.5 ;; esac')
    program = textwrap.dedent(
        f"""
        from rnla_neuro_backends.moving_equilibrium.compiler import compile_library
        assert compile_library({SOURCE % 7!r}).answer() == 7
        """
    )
    environment = {**os.environ, "CXX": str(slow), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    running = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert [path.suffix for path in own_cache.iterdir()] == [".so"]


# ---- what is generated ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", proven_models())
def test_parameters_are_not_in_the_source(name: str, precision: str) -> None:
    """Other values, the same code: nothing is compiled again for another learning rate."""
    form = NetworkSpec(load_model(name), (3, 4, 2), (1,)).form
    other = NetworkSpec(load_model(name, {"eta": "0.012345"}), (3, 4, 2), (1,)).form
    first, second = generate(form, precision), generate(other, precision)
    assert first.code == second.code
    assert "0.012345" not in first.code
    assert "[[" not in first.code
    assert f"using real = {'double' if precision == 'float64' else 'float'};" in first.code


EXPRESSIONS = [
    "clip(u, 0, inf)", "clip(u, -0.5, 0.5)", "clip(u, -inf, a)", "clip(2*u, a, 1)*u", "abs(u)", "abs(u - a)**3",
    "sign(u)", "sign(u)*sqrt(abs(u))", "log1p(exp(-abs(u)/a))", "log1p(abs(u))", "expm1(u)", "exp(-u**2/2)",
    "tanh(u)", "u**2", "u**3", "(1 + abs(u))**-1", "1/(1 + u**2)", "(1 + u**2)**0.5", "(1 + u**2)**-0.5",
    "(1 + abs(u))**a", "(1 + abs(u))**(1/3)", "pi*u", "u/3", "2*u + 7", "1/(1 + exp(-u/a))", "sin(u) + cos(a)",
    "int(u > 0)*u", "int(u > 0 and u < a)", "int(u <= -0.25 or u >= a)", "int(not (u > a))*2", "arctan(u)",
    "int(u == 0)", "log(1 + u**2)", "log10(2 + u)*sinh(u)/cosh(u)", "clip(tanh(u), -a, a)**2", "7", "0*u + a",
]  # fmt: skip
SMOOTH = [text for text in EXPRESSIONS if not any(word in text for word in ("int(", "sign", "7"))][:24]


def expressions() -> list[sp.Expr]:
    names = {"u": symbol("u"), "a": symbol("a")}
    parsed = [parse(text, "test", names) for text in EXPRESSIONS]
    slopes = [derivative(parse(text, "test", names), symbol("u")) for text in SMOOTH]
    return [*parsed, *slopes]


POINTS = np.array([-60.0, -3.7, -1.0, -0.5, -0.25, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 0.3, 0.5, 0.7, 1.0, 2.9, 60.0])


@NATIVE
@pytest.mark.parametrize(("real", "bound"), [("double", 2e-15), ("float", 2e-6)])
def test_the_printer_against_numpy_and_sympy(real: str, bound: float) -> None:
    """Every function that a model may use, at ordinary, extreme and touching points.

    Bounds are a few units in the last place, times the largest intermediate value (1 beside the result).
    float32 rounds its argument: the reference gets the rounded one.
    """
    printer = Printer({"u": "u", "a": "a"}, "real")
    exprs = expressions()
    cases = "\n".join(f"case {k}: return {printer.doprint(e)};" for k, e in enumerate(exprs))
    code = f"""#include <algorithm>
#include <cmath>
#include <limits>
using real = {real};
template <class T> inline T sq(T x) {{ return x * x; }}
static real value(int k, real u, real a) {{ switch (k) {{ {cases} }} return 0; }}
extern "C" double evaluate(int k, double u, double a) {{ return value(k, real(u), real(a)); }}
"""
    library = compile_library(code)
    library.evaluate.restype = ctypes.c_double
    library.evaluate.argtypes = [ctypes.c_int, ctypes.c_double, ctypes.c_double]
    dtype = np.float64 if real == "double" else np.float32
    points = POINTS.astype(dtype).astype(np.float64)
    points = points[np.abs(points) < 50] if real == "float" else points
    a = float(dtype(0.3))
    for k, expr in enumerate(exprs):
        reference = compile_expression(expr, ("u", "a"), {})
        for u in points:
            if real == "float" and abs(u) < 1e-6 and expr.has(sp.Pow):
                continue
            got = library.evaluate(k, u, a)
            with np.errstate(all="ignore"):
                expected = float(reference(np.float64(u), np.float64(a)))
            if not np.isfinite(expected):
                continue
            assert abs(got - expected) <= bound * (10 + 10 * abs(expected)), f"{expr} at u = {u}: {got}, {expected}"
            exact = expr.xreplace({symbol("u"): sp.Float(u, 40), symbol("a"): sp.Float(a, 40)})
            value = complex(sp.N(exact, 30))
            assert abs(got - value) <= bound * (10 + 10 * abs(value)), f"{expr} at u = {u}: {got}, {value}"


@NATIVE
def test_numbers_are_printed_to_the_last_digit() -> None:
    numbers = [sp.Rational(1, 3), sp.pi, sp.Float("0.1", 17), sp.Integer(7), sp.E, sp.Rational(-2, 7), sp.sqrt(2)]
    printer = Printer({}, "double")
    cases = "\n".join(f"case {k}: return {printer.doprint(x)};" for k, x in enumerate(numbers))
    library = compile_library(
        f'#include <cmath>\nextern "C" double number(int k) {{ switch (k) {{ {cases} }} return 0; }}\n'
    )
    library.number.restype = ctypes.c_double
    assert [library.number(k) for k in range(len(numbers))] == [float(x) for x in numbers]
