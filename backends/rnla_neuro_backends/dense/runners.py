"""What a dense projection does in a time step: each a `CodeRunner` with its own slot and order.

Runners of one projection that follow each other are run as one pass over the synapses (`fusing.together`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.codegen.codeobject import create_runner_codeobj
from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.functions import Function
from brian2.core.variables import ArrayVariable, Variables
from brian2.devices.device import get_device
from brian2.equations.unitcheck import check_units_statements
from brian2.groups.group import CodeRunner
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.synapses.synapses import SummedVariableUpdater

from rnla_neuro.errors import BackendError, ConfigError
from rnla_neuro_backends.dense.factors import Factors, hoist, identifiers, statements
from rnla_neuro_backends.dense.fusing import together
from rnla_neuro_backends.dense.targets import target_name
from rnla_neuro_backends.dense.variables import LOOPS, Layout, depends_on

# Presynaptic neurons that a compiled loop does together: as many as there are registers for.
ROWS, ROWS_OF_SUMS_ALONE = 4, 8


@dataclass(frozen=True)
class Block:
    """One thing that a pass does at every synapse.

    Attributes:
        name: Its name in the generated code.
        kind: ``post`` and ``pre``: sum over the synapses of a postsynaptic or presynaptic neuron; ``set``:
            set a variable where a condition holds; ``code``: anything.
        code: Abstract code. A sum's assigns ``_summand``, that of ``set`` assigns ``_where`` and ``_value``.
        target: Variable that receives the sum or is set.
    """

    name: str
    kind: Literal["post", "pre", "code", "set"]
    code: str
    target: Any = None


@dataclass(frozen=True)
class Pass:
    """What the template ``dense_pass`` needs to know.

    Attributes:
        layout: Sizes.
        blocks: What is done, in this order.
        real: C type of the projection's float variables.
        rows: Presynaptic neurons done together.
        simd: Whether the order of the synapses does not matter.
        condition: Whether it runs only for agents for which a condition holds.
        flush: C++ function that forms traces of an agent before they are used; empty: they are not used.
        fires: Variable with one flag an agent, for CUDA.
    """

    layout: Layout
    blocks: Sequence[Block]
    real: str
    rows: int
    simd: bool
    condition: bool
    flush: str = ""
    fires: Any = None

    @property
    def kernels(self) -> list[tuple[str, list[Block]]]:
        """The blocks as CUDA kernels: kind and blocks. What follows each other and suits one kernel is in one."""
        found: list[tuple[str, list[Block]]] = []
        for block in self.blocks:
            if found and (found[-1][0] == "rows") == (block.kind == "pre"):
                found[-1][1].append(block)
            else:
                found.append(("rows" if block.kind == "pre" else "columns", [block]))
        sums = [any(block.kind == "post" for block in blocks) for _, blocks in found]
        return [
            (kind if has_sum or kind == "rows" else "synapses", blocks)
            for (kind, blocks), has_sum in zip(found, sums, strict=True)
        ]

    def pragma(self, rows: int) -> str:
        """Return what makes the compiler vectorise the loop over postsynaptic neurons."""
        if not self.simd:
            return ""
        sums = [f"_pre_{b.name}_{row}" for b in self.blocks if b.kind == "pre" for row in range(rows)]
        return "#pragma omp simd" + (f" reduction(+: {', '.join(sums)})" if sums else "")


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


class StateRunner(DenseRunner):
    """Integrates the synapses' differential equations by one of Brian2's methods."""

    fusable = True

    def __init__(self, synapses: Any, method: Any, options: Any) -> None:
        self.method_choice, self.method_options = method, options
        super().__init__(
            synapses,
            "",
            clock=synapses.clock,
            when="groups",
            order=synapses.order,
            name=f"{synapses.name}_stateupdater",
            check_units=False,
        )

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


def make_pass(synapses: Any, blocks: Sequence[Block], namespace: Mapping[str, Any], runner: DenseRunner) -> Any:
    """Generate the code of a pass over the synapses."""
    factors = Factors(f"factor_{runner.id_in_code}")
    code = {block.name: hoist(synapses, block.code, namespace, factors) for block in blocks}
    code |= {side: factors.code(side) for side in ("pre", "post") if factors.names[side]}
    needed = [*LOOPS, *factors.declare(synapses)]
    if runner.condition is not None:
        code["condition"] = f"_event = {runner.condition}"
    needed += [block.name.removeprefix("_sum_") for block in blocks if block.kind in ("pre", "post")]
    simd = _order_free(synapses, code.values(), namespace)
    fires = None
    if target_name() == "cuda":
        _check_for_cuda(runner, simd)
        if runner.condition is not None:
            fires = _flags(synapses)
            needed.append("_fires")
    plan = Pass(
        synapses.layout,
        blocks,
        synapses.real_type,
        _rows(blocks) if simd else 1,
        simd,
        runner.condition is not None,
        synapses.flush_before(code.values(), namespace),
        fires,
    )
    return create_runner_codeobj(
        group=synapses,
        code=code,
        user_code=dict.fromkeys(code, ""),
        template_name=runner.template,
        name=f"{runner.name}_codeobject*",
        check_units=False,
        needed_variables=needed,
        run_namespace=namespace,
        template_kwds={"_pass": plan},
        codeobj_class=runner.codeobj_class,
    )


def _rows(blocks: Sequence[Block]) -> int:
    return ROWS_OF_SUMS_ALONE if all(block.kind == "pre" for block in blocks) else ROWS


def _flags(synapses: Any) -> Any:
    if "_fires" not in synapses.variables:
        synapses.variables.add_array("_fires", synapses.layout.n_agents, dtype=bool)
    return synapses.variables["_fires"]


def _check_for_cuda(runner: DenseRunner, order_free: bool) -> None:
    if not order_free:
        raise BackendError(f"{runner.name!r} draws random numbers in every step; the CUDA templates cannot")
    shared = [name for name in runner.written() if runner.group.variables[name].scalar]
    if shared:
        raise BackendError(f"{runner.name!r} writes the shared variable {shared[0]!r}; the CUDA templates cannot")


def set_values(
    synapses: Any,
    name: str,
    variable: Any,
    condition: str,
    expression: str,
    namespace: Mapping[str, Any],
    check_units: bool,
    more: Variables,
) -> None:
    """Set a variable of the synapses by an expression where a condition holds, now.

    Args:
        synapses: The projection.
        name: Name of the variable.
        variable: The variable.
        condition: Boolean expression, ``True`` for all synapses.
        expression: The value.
        namespace: Where names are looked up that are not variables.
        check_units: Whether the value has to have the variable's unit.
        more: Variables beside those of the projection.
    """
    if check_units:
        names = identifiers(f"{condition} {expression} {name}", synapses.variables)
        known = synapses.resolve_all(sorted(names), run_namespace=namespace, additional_variables=more)
        check_units_statements(f"{name} = {expression}", known)
    more.add_auxiliary_variable("_where", dtype=bool)
    more.add_auxiliary_variable("_value", dtype=variable.dtype)
    block = Block("set", "set", f"_where = {condition}\n_value = {expression}", variable)
    device = get_device()
    create_runner_codeobj(
        group=synapses,
        code={"set": block.code},
        user_code={"set": ""},
        template_name="dense_pass",
        check_units=False,
        needed_variables=[*LOOPS, name],
        additional_variables=more,
        run_namespace=namespace,
        template_kwds={"_pass": Pass(synapses.layout, [block], str(c_data_type(variable.dtype)), 1, False, False)},
        codeobj_class=device.code_object_class(fallback_pref="codegen.string_expression_target"),
    )()


def _order_free(synapses: Any, codes: Any, namespace: Mapping[str, Any]) -> bool:
    """Whether it does not matter in which order synapses are visited: nothing draws random numbers."""
    names = set().union(*(identifiers(code, synapses.variables) for code in codes))
    for name in names:
        found = synapses.variables.get(name)
        if found is None:
            try:
                found = synapses._resolve(name, run_namespace=namespace, user_identifier=False)
            except KeyError:  # a name that the code defines
                continue
        if isinstance(found, Function) and not found.stateless:
            return False
    return True
