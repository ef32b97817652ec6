"""The rows of the speed table: what is timed, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from benchmarks.speed.brian2_hand import HandProgram
from benchmarks.speed.brian2_kernel import KernelLibrary
from benchmarks.speed.brian2_numpy import NumpyNet
from benchmarks.speed.brian2_programs import Brian2Program
from benchmarks.speed.brian2_roof import Roof
from benchmarks.speed.brian2_workload import Workload


class Runner(Protocol):
    """Something that runs the workload."""

    def run(self) -> float:
        """Return seconds of processor time a step (and agent)."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        key: Short name, for the aims.
        label: What the table says.
        precision: ``float64`` or ``float32``.
        make: Builds it for a net; called before anything is timed.
        same: Whether it follows the same scheme as stock Brian2, so that its result is compared.
        once: It is slow: the run that is compared is the only one that is timed.
    """

    key: str
    label: str
    precision: str
    make: Callable[[Path, Workload, str], Runner]
    same: bool = True
    once: bool = False


class _Fresh:
    """Starts anew for each run."""

    def __init__(self, kind: Callable[[Workload, str], Any], work: Workload, precision: str):
        self.kind, self.work, self.precision = kind, work, precision

    def run(self) -> float:
        self.last = self.kind(self.work, self.precision)
        return float(self.last.run())

    def state(self) -> Any:
        return self.last.state()


def _stock(style: str) -> Callable[[Path, Workload, str], Runner]:
    return lambda root, work, precision: Brian2Program(root, work, style, precision)


def _hand(held: bool) -> Callable[[Path, Workload, str], Runner]:
    return lambda root, work, precision: HandProgram(root, work, precision, held)


def _fused(held: bool) -> Callable[[Path, Workload, str], Runner]:
    return lambda root, work, precision: KernelLibrary(root, work, precision, held)


def _torch(work: Workload, precision: str) -> Any:
    from benchmarks.speed.brian2_torch import TorchNet

    return TorchNet(work, precision)


HAS_TORCH = find_spec("torch") is not None
BOTH = ("float64", "float32")


def rows() -> Iterator[Row]:
    """Yield the rows in the table's order."""
    yield Row("usual", "Brian2 cpp_standalone, as usually written", "float64", _stock("usual"), once=True)
    yield Row("careful", "**the same, careful: the reference**", "float64", _stock("careful"))
    yield Row("one sum", "the same, careful, W r from W r̄", "float64", _stock("one sum"))
    for precision in BOTH:
        yield Row("dense", "Brian2 + dense templates", precision, _stock("dense"))
    for precision in BOTH:
        style = "dense, traces at events"
        yield Row("dense events", "the same, traces formed at events", precision, _stock(style))
    for precision in BOTH:
        yield Row("fused", "fused kernel, W₁ read at every step", precision, _fused(False), same=False)
    for precision in BOTH:
        yield Row("fused held", "fused kernel", precision, _fused(True), same=False)
    for precision in BOTH:
        yield Row("hand", "C++ by hand, W₁ read at every step", precision, _hand(False))
    for precision in BOTH:
        yield Row("hand held", "C++ by hand, input held", precision, _hand(True))
    for precision in BOTH:
        make = lambda root, work, precision: _Fresh(NumpyNet, work, precision)  # noqa: E731
        yield Row("numpy", "numpy with BLAS", precision, make)
    if HAS_TORCH:
        for precision in BOTH:
            make = lambda root, work, precision: _Fresh(_torch, work, precision)  # noqa: E731
            yield Row("torch", "torch, eager", precision, make)
    for precision in BOTH:
        yield Row("roof", "roof: W read once a step, GEMM at a reward", precision, Roof, same=False)
