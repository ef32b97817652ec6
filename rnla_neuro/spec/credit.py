"""How the eligibility trace of a model follows its source, read from the strings alone: for models of any form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sympy as sp

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.equations import split_equations
from rnla_neuro.spec.expressions import parse
from rnla_neuro.spec.form import Traces
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.proof import symbol


@dataclass(frozen=True)
class TraceFilter:
    """Traces of the action layer's projection as a filter: ``dz/dt = A z + B f``, f the sources.

    Attributes:
        A: Decay and coupling of the traces, shape (traces, traces), 1/s.
        B: Weight of each source in each trace, shape (traces, sources), 1/s.
        gated: Whether all sources are there only while the gate is open.
        eligibility: Index of the trace with the role eligibility.
    """

    A: npt.NDArray[np.float64]
    B: npt.NDArray[np.float64]
    gated: bool
    eligibility: int


def proven_filter(traces: Traces) -> TraceFilter:
    """Return the filter of traces that were proven."""
    gated = bool(traces.sources) and all(source.gated for source in traces.sources)
    return TraceFilter(traces.A, traces.B, gated, traces.eligibility)


def read_filter(model: ModelSpec) -> TraceFilter:
    """Read the filter from [synapse.action] equations; what is not a trace in them is a source.

    Raises:
        BackendError: The model has no eligibility trace, or its traces are not linear with constant coefficients.
    """
    where = f"{model.path.name}: [synapse.action] equations"
    equations = split_equations(model.synapse_action.equations, where)
    weight, role = model.roles["weight"], model.roles.get("eligibility")
    names = [name for name, equation in equations.items() if equation.is_ode and name != weight]
    if role not in names:
        raise BackendError(f"{model.path.name}: 'credit' is asked for, and no trace has the role 'eligibility'")
    values = {symbol(name): sp.Float(parameter.value, 30) for name, parameter in model.parameters.items()}
    values |= {symbol("T"): sp.Float(model.trial.duration, 30), symbol("dt"): sp.Float(model.trial.dt, 30)}
    algebraic = {
        symbol(name): parse(equation.text, where, symbol) for name, equation in equations.items() if not equation.is_ode
    }
    traces = [symbol(name) for name in names]
    decay, entries, gated = np.zeros((len(names), len(names))), np.zeros((len(names), len(names))), True
    for row, name in enumerate(names):
        right = parse(equations[name].text, where, symbol)
        for _ in algebraic:
            right = right.xreplace(algebraic)
        right = sp.expand(right.xreplace(values))
        for column, trace in enumerate(traces):
            coefficient = sp.diff(right, trace)
            if coefficient.free_symbols:
                raise BackendError(
                    f"{where}, d{name}/dt: 'credit' needs traces that are linear, with constant coefficients; that of "
                    f"{trace} is {coefficient}"
                )
            decay[row, column] = float(coefficient)
        source = right.xreplace(dict.fromkeys(traces, sp.Integer(0)))
        entries[row, row] = _weight(source)
        gated = gated and sp.expand(source.xreplace({symbol("gate"): sp.Integer(0)})) == 0
    return TraceFilter(decay, entries, gated, names.index(role))


def _weight(source: sp.Expr) -> float:
    """Return the constant that a source is multiplied by: the largest one of its terms."""
    terms = sp.Add.make_args(source)
    return max((abs(float(term.as_coeff_Mul()[0])) for term in terms), default=0.0)
