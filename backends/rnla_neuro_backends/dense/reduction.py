"""Reductions over a group of neurons: softmax, sum, mean, maximum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.variables import ArrayVariable, Constant
from brian2.groups.group import CodeRunner
from brian2.groups.subgroup import Subgroup
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.units.fundamentalunits import DIMENSIONLESS, Quantity, fail_for_dimension_mismatch

from rnla_neuro.errors import ConfigError, unknown
from rnla_neuro_backends.dense.factors import identifiers
from rnla_neuro_backends.dense.targets import register, target_name

KINDS = ("softmax", "sum", "mean", "max")


@dataclass(frozen=True)
class Reduced:
    """What the template ``dense_reduction`` needs to know: kind, target, A, neurons of an agent, C type."""

    kind: str
    target: Any
    n_agents: int
    n: int
    real: str


class GroupReduction(CodeRunner):  # type: ignore[misc]
    """Computes a reduction over a group of neurons once a step, such as ``p = softmax(g*u)``.

    It becomes a part of the group: a network that has the group has the reduction too.

    Args:
        group: The neurons.
        target: A parameter of theirs (``p : 1``). Each neuron gets its share of the softmax; each gets the same
            sum, mean or maximum.
        expression: What is reduced, in the names of the group.
        kind: ``softmax`` (the maximum is subtracted first, so that nothing overflows), ``sum``, ``mean``, ``max``.
        n_agents: Number of equal populations in the group, one after the other, each reduced by itself.
        when: Slot of the time step; by default just before the slot of sums and integration.
        order: Order within the slot.
        name: Name of the object.

    Raises:
        ConfigError: The target is no parameter of the group, the kind is unknown, sizes do not fit.
        BackendError: There are no templates for the target or device.

    Example:
        ``GroupReduction(action, "p", "g*u")`` in place of a Synapses object over all pairs of neurons.
    """

    def __init__(
        self,
        group: Any,
        target: str,
        expression: str,
        kind: str = "softmax",
        *,
        n_agents: int = 1,
        when: str = "before_groups",
        order: int = 0,
        name: str | None = None,
    ) -> None:
        register()
        target_name()
        self.expression = expression
        self.reduced = _checked(group, target, kind, n_agents)
        self._target = target
        taken = {obj.name for obj in group.contained_objects}
        wanted = name or f"{group.name}_{kind}_{target}"
        if wanted in taken:
            raise ConfigError(f"{group.name!r} has a {wanted!r} already; allowed is a name of its own")
        super().__init__(
            group,
            "dense_reduction",
            code=f"_value = {expression}",
            clock=group.clock,
            when=when,
            order=order,
            name=wanted,
            check_units=False,
            needed_variables=[target],
            template_kwds={"_reduced": self.reduced},
        )
        group.contained_objects.append(self)

    def before_run(self, run_namespace: Mapping[str, Any]) -> None:
        """Check the units of the expression, then generate its code."""
        names = sorted(identifiers(self.expression, self.group.variables))
        known = self.group.resolve_all(names, run_namespace=run_namespace)
        unit = parse_expression_dimensions(self.expression, known)
        wanted = Quantity(1, dim=DIMENSIONLESS) if self.reduced.kind == "softmax" else self.reduced.target
        fail_for_dimension_mismatch(
            Quantity(1, dim=unit), wanted, f"{self.name}: '{self.expression}' does not have the right unit"
        )
        super().before_run(run_namespace)


def _checked(group: Any, target: str, kind: str, n_agents: int) -> Reduced:
    if kind not in KINDS:
        raise ConfigError(unknown("reduction", kind, KINDS))
    variables = getattr(group, "variables", {})
    if isinstance(group, Subgroup) or not isinstance(variables.get("N"), Constant):
        raise ConfigError(f"a reduction is over a whole group of neurons, such as a NeuronGroup, not over {group!r}")
    variable: Any = variables.get(target)
    parameters = [
        name
        for name, found in variables.items()
        if isinstance(found, ArrayVariable) and not (found.read_only or found.scalar or name.startswith("_"))
    ]
    if target not in parameters:
        raise ConfigError(f"{group.name}: " + unknown("parameter for the reduction", target, parameters))
    size = len(group)
    if not isinstance(n_agents, int) or n_agents < 1 or size % n_agents:
        raise ConfigError(f"{group.name}: {size} neurons are no multiple of n_agents={n_agents!r}")
    return Reduced(kind, variable, n_agents, size // n_agents, str(c_data_type(variable.dtype)))
