"""What a dense projection does in a time step: each a `CodeRunner` with its own slot and order.

Runners of one projection that follow each other are run as one pass over the synapses (`fusing.together`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.core.variables import ArrayVariable
from brian2.equations.unitcheck import check_units_statements
from brian2.groups.group import CodeRunner
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.synapses.synapses import SummedVariableUpdater

from rnla_neuro.errors import ConfigError
from rnla_neuro_backends.dense.factors import identifiers, statements
from rnla_neuro_backends.dense.fusing import together
from rnla_neuro_backends.dense.passes import Block, make_pass
from rnla_neuro_backends.dense.variables import depends_on


class DenseRunner(CodeRunner):  # type: ignore[misc]
    """Code for every synapse of a projection.

    Args:
        synapses: The projection.
        code: Abstract code.
        condition: The code runs when this holds, and for the agents for which it holds; always by default.
        options: ``clock``, ``when``, ``order``, ``name``, ``codeobj_class``.
    """

    fusable = False

    def __init__(self, synapses: Any, code: str, condition: str | None = None, **options: Any) -> None:
        self.condition = condition
        CodeRunner.__init__(self, synapses, "dense_pass" if condition is None else "dense_event", code=code, **options)

    def blocks(self, namespace: Mapping[str, Any]) -> list[Block]:
        """Return what is to be done at the synapses."""
        self.update_abstract_code(namespace)
        if not self.abstract_code.strip():
            return []
        return [Block(f"_{self.id_in_code}", "code", self.abstract_code)]

    @property
    def what(self) -> str:
        """Its name for the user."""
        return str(self.name)

    @property
    def id_in_code(self) -> str:
        """Name of this runner within its projection's code."""
        return str(self.name).removeprefix(str(self.group.name)).strip("_") or "code"

    def written(self) -> set[str]:
        """Names of the variables that it changes."""
        return {name for name, _, _ in statements(self.abstract_code)} & set(self.group.variables)

    def sums(self) -> set[str]:
        """Names of the variables that it sums up over synapses."""
        return set()

    def read(self) -> set[str]:
        """Names of all variables that it uses."""
        names = identifiers(f"{self.abstract_code}\n{self.condition or ''}", self.group.variables)
        return names & set(self.group.variables)

    def check(self, namespace: Mapping[str, Any]) -> None:
        """Check units, and that nothing is written that belongs to a neuron.

        Raises:
            ConfigError: The code writes a variable of a neuron, or the condition differs between synapses.
        """
        synapses = self.group
        for name in sorted(self.written()):
            variable = synapses.variables[name]
            if isinstance(variable, ArrayVariable) and depends_on(synapses.variables, name) - {"syn"}:
                raise ConfigError(
                    f"{synapses.name}: code of {self.name!r} writes {name!r}, a variable of the neurons; allowed "
                    f"are the synapses' own variables. To add up over synapses, use '{name} = … (summed)'"
                )
        if self.check_units:
            self._check_units(self.abstract_code, namespace)
        if self.condition is not None:
            self._check_condition(namespace)

    def _check_units(self, code: str, namespace: Mapping[str, Any]) -> None:
        names = identifiers(code, self.group.variables) - {
            name for name, _, _ in statements(code) if name not in self.group.variables
        }
        check_units_statements(code, self.group.resolve_all(sorted(names), run_namespace=namespace))

    def _check_condition(self, namespace: Mapping[str, Any]) -> None:
        names = identifiers(self.condition or "", self.group.variables)
        self.group.resolve_all(sorted(names), run_namespace=namespace)
        found = set().union(*(depends_on(self.group.variables, n) for n in names if n in self.group.variables))
        if found - {"agent"}:
            wrong = [n for n in sorted(names) if depends_on(self.group.variables, n) - {"agent"}]
            raise ConfigError(
                f"{self.group.name}: condition {self.condition!r} depends on {wrong[0]!r}, which differs between "
                "synapses; allowed are shared variables, variables of agents (x_agent), constants and t"
            )

    def create_code_objects(self, run_namespace: Mapping[str, Any]) -> None:
        """Generate the code of this runner and of those that are fused with it."""
        self.check(run_namespace)
        if self.group.trace_updater is not None:
            self.group.trace_updater.find(run_namespace)
        self.codeobj = None
        blocks = [block for runner in together(self) for block in runner.blocks(run_namespace)]
        if blocks:
            self.codeobj = make_pass(self.group, blocks, run_namespace, self)
        self.code_objects[:] = [] if self.codeobj is None else [self.codeobj]


class SumRunner(DenseRunner, SummedVariableUpdater):  # type: ignore[misc]
    """Sums over the synapses of each neuron on one side.

    For Brian2 it is one of its own, which it checks for two sums into one variable.

    Attributes:
        target_varname: The summed variable, ``x_post`` or ``x_pre``.
        target: Group that receives the sums.
    """

    fusable = True

    def __init__(self, synapses: Any, expression: Any, name: str) -> None:
        self.target_varname, self.expression = name, expression
        self.target_var = synapses.variables[name]
        self.side = "pre" if name.endswith("_pre") else "post"
        self.target = synapses.source if self.side == "pre" else synapses.target
        DenseRunner.__init__(
            self,
            synapses,
            f"_summand = {expression}",
            clock=self.target.clock,
            when="groups",
            order=self.target.order - 1,
            name=f"{synapses.name}_summed_variable_{name}",
            needed_variables=[name],
        )

    def blocks(self, namespace: Mapping[str, Any]) -> list[Block]:
        """Return the one sum."""
        kind: Literal["pre", "post"] = "pre" if self.side == "pre" else "post"
        return [Block(f"_sum_{self.target_varname}", kind, self.abstract_code, self.target_var)]

    def written(self) -> set[str]:
        """Return the summed variable."""
        return {self.target_varname}

    @property
    def what(self) -> str:
        """The summed variable."""
        return self.target_varname

    def sums(self) -> set[str]:
        """Return the summed variable."""
        return {self.target_varname}

    def check(self, namespace: Mapping[str, Any]) -> None:
        """Nothing to do: Brian2 checks the unit of the summand before it asks for code."""


def as_state_updater(synapses: Any) -> dict[str, Any]:
    """Return how a runner takes the place of the synapses' state updater: Brian2's name and slot for it."""
    return {
        "clock": synapses.clock,
        "when": "groups",
        "order": synapses.order,
        "name": f"{synapses.name}_stateupdater",
        "check_units": False,
    }


class StateRunner(DenseRunner):
    """Integrates the synapses' differential equations by one of Brian2's methods."""

    fusable = True

    def __init__(self, synapses: Any, method: Any, options: Any) -> None:
        self.method_choice, self.method_options = method, options
        super().__init__(synapses, "", **as_state_updater(synapses))

    def update_abstract_code(self, run_namespace: Mapping[str, Any]) -> None:
        """Have Brian2 write the integration step."""
        self.abstract_code = integration_step(
            self.group, self.group.equations, self.method_choice, self.method_options, run_namespace
        )

    @property
    def what(self) -> str:
        """The variables with differential equations."""
        return ", ".join(sorted(self.written()))

    def written(self) -> set[str]:
        """Return the variables with differential equations."""
        return set(self.group.equations.diff_eq_names)

    def read(self) -> set[str]:
        """Return all variables in the differential equations."""
        equations = self.group.equations
        names = set().union(*(equations[name].identifiers for name in equations.diff_eq_names))
        variables = self.group.variables
        return (identifiers(names, variables) | set(equations.diff_eq_names) | {"dt"}) & set(variables)

    def check(self, namespace: Mapping[str, Any]) -> None:
        """Nothing to do: the equations are checked by the projection."""


def integration_step(synapses: Any, equations: Any, method: Any, options: Any, namespace: Mapping[str, Any]) -> str:
    """Return the abstract code of a step of the equations."""
    variables = synapses.resolve_all(
        equations.names | equations.identifiers | {"dt"}, run_namespace=namespace, user_identifiers=set()
    )
    step = StateUpdateMethod.apply_stateupdater(
        equations, variables, method, method_options=options, group_name=synapses.name
    )
    if not isinstance(step, str):
        raise ConfigError(
            f"{synapses.name}: method {method!r} needs code of its own; allowed are Brian2's explicit methods"
        )
    return step
