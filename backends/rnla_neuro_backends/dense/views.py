"""Synaptic variables as seen from Python: ``S.w``, ``S.w[i, j]``, ``S.w = 'randn()*0.1'``, ``S.w['i < 3']``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.core.variables import ArrayVariable, Subexpression, Variables, VariableView
from brian2.devices.device import RuntimeDevice, get_device, reset_device, set_device
from brian2.units.fundamentalunits import DIMENSIONLESS


class DenseView(VariableView):  # type: ignore[misc]
    """A view whose string expressions run by the templates for dense matrices."""

    def set_with_expression_conditional(
        self, cond: str, code: str, run_namespace: Mapping[str, Any], check_units: bool = True
    ) -> None:
        """Set the values of all synapses for which a condition holds."""
        self._set(cond, code, run_namespace, check_units, Variables(self.group))

    def set_with_expression(
        self, item: Any, code: str, run_namespace: Mapping[str, Any], check_units: bool = True
    ) -> None:
        """Set the values of the synapses with these indices."""
        chosen = np.zeros(self.group.layout.size, dtype=bool)
        chosen[self.indexing(item)] = True
        variables = Variables(self.group)
        variables.add_array("_chosen", size=len(chosen), dtype=bool, values=chosen)
        self._set("_chosen", code, run_namespace, check_units, variables)

    def _set(self, cond: str, code: str, namespace: Mapping[str, Any], check_units: bool, more: Variables) -> None:
        from rnla_neuro_backends.dense.passes import set_values

        self.variable.get_value() if isinstance(get_device(), RuntimeDevice) else None
        set_values(self.group, self.name, self.variable, cond, code, namespace, check_units, more)

    def get_with_expression(self, code: str, run_namespace: Mapping[str, Any]) -> npt.NDArray[Any]:
        """Return the values of all synapses for which a condition holds."""
        mask = self._evaluate(code, bool, run_namespace)
        return np.asarray(self._values(run_namespace)[mask])

    def get_subexpression_with_index_array(self, item: Any, run_namespace: Mapping[str, Any]) -> Any:
        """Return the values of a subexpression."""
        return self._values(run_namespace)[self.indexing(item)]

    def _values(self, namespace: Mapping[str, Any]) -> npt.NDArray[Any]:
        if isinstance(self.variable, Subexpression):
            return self._evaluate(self.name, self.variable.dtype, namespace)
        return np.asarray(self.variable.get_value())

    def _evaluate(self, expression: str, dtype: Any, namespace: Mapping[str, Any]) -> npt.NDArray[Any]:
        from rnla_neuro_backends.dense.passes import set_values

        device = get_device()
        if isinstance(device, RuntimeDevice):
            more = Variables(self.group)
            more.add_array("_result", size=self.group.layout.size, dtype=dtype)
            set_values(self.group, "_result", more["_result"], "True", expression, namespace, False, more)
            return np.array(more["_result"].get_value())
        if not device.has_been_run:
            raise NotImplementedError(f"'{self.group_name}.{self.name}' has values only after the program has run")
        set_device("runtime")  # from the values that the program has left on the disk
        try:
            return self._evaluate(expression, dtype, namespace)
        finally:
            reset_device()


class _Viewed:
    """Gives a variable our view."""

    def get_addressable_value(self, name: str, group: Any) -> DenseView:
        """Return a view without units."""
        dimensions = DIMENSIONLESS if isinstance(self, Subexpression) else None
        return DenseView(name=name, variable=self, group=group, dimensions=dimensions)

    def get_addressable_value_with_unit(self, name: str, group: Any) -> DenseView:
        """Return a view with units."""
        return DenseView(name=name, variable=self, group=group, dimensions=self.dim)  # type: ignore[attr-defined]


class MatrixVariable(_Viewed, ArrayVariable):  # type: ignore[misc]
    """One value a synapse. Who looks at it from Python first has it brought up to date (traces at events)."""

    def get_value(self) -> Any:
        """Return the values, shape (N,)."""
        flush = getattr(self.owner, "flush_traces", None)
        if flush is not None:
            flush(self.name)
        return super().get_value()


class MatrixExpression(_Viewed, Subexpression):  # type: ignore[misc]
    """An expression with one value a synapse."""
