"""What is done at every synapse in one pass, and its code for Brian2's targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.codegen.codeobject import create_runner_codeobj
from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from brian2.core.functions import Function
from brian2.core.variables import Variables
from brian2.devices.device import get_device
from brian2.equations.unitcheck import check_units_statements

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.dense.factors import Factors, hoist, identifiers, product
from rnla_neuro_backends.dense.targets import target_name
from rnla_neuro_backends.dense.variables import LOOPS, Layout

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
        product: For numpy, if the sum is a matrix product: the matrix, and the factors of both sides, or None.
    """

    name: str
    kind: Literal["post", "pre", "code", "set"]
    code: str
    target: Any = None
    product: tuple[Any, Any, Any] | None = None


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
    def all_products(self) -> bool:
        """Whether numpy needs no indices."""
        return all(block.product is not None for block in self.blocks)

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


def make_pass(synapses: Any, blocks: Sequence[Block], namespace: Mapping[str, Any], runner: Any) -> Any:
    """Generate the code of a pass over the synapses."""
    factors = Factors(f"factor_{runner.id_in_code}")
    code = {block.name: hoist(synapses, block.code, namespace, factors) for block in blocks}
    matrices = {}
    if get_device().code_object_class(runner.codeobj_class) is NumpyCodeObject:
        matrices = _products(synapses, code, factors)
    code |= {side: factors.code(side) for side in ("pre", "post") if factors.names[side]}
    needed = [*LOOPS, *factors.declare(synapses)]
    if runner.condition is not None:
        code["condition"] = f"_event = {runner.condition}"
    needed += [block.name.removeprefix("_sum_") for block in blocks if block.kind in ("pre", "post")]
    needed += [matrix for matrix, _, _ in matrices.values()]
    blocks = [_with_product(block, synapses.variables, matrices) for block in blocks]
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


def _products(synapses: Any, code: dict[str, str], factors: Factors) -> dict[str, tuple[str, str, str]]:
    """Replace code that is a matrix product by nothing; return the names of matrix and factors."""
    found = {}
    for name, text in code.items():
        parts = product(synapses, text, factors) if name.startswith("_sum_") else None
        if parts is not None:
            matrix, pre, post = parts
            found[name] = (matrix, _factor(factors, "pre", pre), _factor(factors, "post", post))
            code[name] = ""
    return found


def _factor(factors: Factors, side: str, expression: str) -> str:
    if not expression or expression in factors.names[side].values():
        return expression
    return factors.take(side, expression)


def _with_product(block: Block, variables: Any, matrices: Mapping[str, tuple[str, str, str]]) -> Block:
    if block.name not in matrices:
        return block
    matrix, pre, post = matrices[block.name]
    return replace(block, product=(variables[matrix], pre and variables[pre], post and variables[post]))


def _rows(blocks: Sequence[Block]) -> int:
    return ROWS_OF_SUMS_ALONE if all(block.kind == "pre" for block in blocks) else ROWS


def _flags(synapses: Any) -> Any:
    if "_fires" not in synapses.variables:
        synapses.variables.add_array("_fires", synapses.layout.n_agents, dtype=bool)
    return synapses.variables["_fires"]


def _check_for_cuda(runner: Any, order_free: bool) -> None:
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
