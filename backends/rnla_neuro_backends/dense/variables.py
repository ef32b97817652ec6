"""The variables of a dense projection: one array a matrix, references to both sides, and no index arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.core.variables import ArrayVariable, AuxiliaryVariable, Constant, Subexpression, Variables
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER, SUBEXPRESSION, Equations
from brian2.groups.group import get_dtype
from brian2.units.allunits import second

from rnla_neuro.errors import ConfigError
from rnla_neuro_backends.dense.views import MatrixExpression, MatrixVariable

IntArray = npt.NDArray[np.integer[Any]]

# Names of the loop indices in the templates: of a neuron in its group's arrays, of a neuron in arrays of the
# projection, of a neuron in the buffers of traces.
LOOPS = ("_pre_idx", "_post_idx", "_pre_own", "_post_own", "_pre_slot", "_post_slot", "_agent_idx")
RESERVED = ("i", "j", "delay", "lastupdate")


class LoopIndex(AuxiliaryVariable):  # type: ignore[misc]
    """An index that a template counts up. It visits each element once in the loops that write with it."""

    unique = True


class Layout:
    """Sizes of a projection, and where its two sides lie in their groups' arrays.

    Attributes:
        n_agents: Number A of equal blocks on the diagonal.
        n_pre: Presynaptic neurons of an agent.
        n_post: Postsynaptic neurons of an agent.
        pre_start: Where the source begins in the arrays of its group (a subgroup begins later than 0).
        post_start: The same of the target.
    """

    def __init__(self, source: Any, target: Any, n_agents: int, name: str) -> None:
        if not isinstance(n_agents, int | np.integer) or isinstance(n_agents, bool) or n_agents < 1:
            raise ConfigError(f"{name}: n_agents is {n_agents!r}; allowed is a whole number from 1")
        for side, group in (("source", source), ("target", target)):
            size = getattr(group, "variables", {}).get("N")
            if not isinstance(size, Constant):
                raise ConfigError(
                    f"{name}: the {side} is {group!r}; allowed are groups of a fixed size, such as a NeuronGroup"
                )
            if size.item() % n_agents or size.item() < 1:
                raise ConfigError(
                    f"{name}: the {side} {group.name!r} has {size.item()} neurons, which is no multiple of "
                    f"n_agents={n_agents}"
                )
        self.n_agents = int(n_agents)
        self.n_pre, self.n_post = len(source) // self.n_agents, len(target) // self.n_agents
        self.pre_start, self.post_start = int(getattr(source, "start", 0)), int(getattr(target, "start", 0))
        if self.size > np.iinfo(np.int32).max:
            raise ConfigError(f"{name}: {self.size} synapses are more than an index of 32 bits can count")

    @property
    def size(self) -> int:
        """Number of synapses."""
        return self.n_agents * self.n_pre * self.n_post

    def own(self, side: str, flat: IntArray) -> IntArray:
        """Return the neuron (from 0) on one side of the synapses with these flat indices."""
        if side == "pre":
            return flat // self.n_post
        if side == "agent":
            return flat // (self.n_pre * self.n_post)
        return flat // (self.n_pre * self.n_post) * self.n_post + flat % self.n_post

    def absolute(self, side: str, flat: IntArray) -> IntArray:
        """Return the same as the index in the arrays of the neurons' group."""
        return self.own(side, flat) + {"pre": self.pre_start, "post": self.post_start, "agent": 0}[side]


class DenseIndexing:
    """Turns what stands in ``S.w[...]`` into flat indices: integers, slices, arrays, and pairs (i, j)."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def __call__(self, item: Any = slice(None), index_var: Any = "_idx") -> Any:
        """Return the flat indices, or those of the neurons on the side that `index_var` names."""
        if isinstance(item, str) and item == "True":
            item = slice(None)
        flat = self._pair(item) if isinstance(item, tuple) else self._flat(item)
        name = getattr(index_var, "name", index_var)
        if name in (None, "_idx", "0"):
            return flat
        _, side, kind = name.split("_")
        convert = self.layout.absolute if kind == "idx" else self.layout.own
        return convert(side, flat).astype(np.int32)

    def _flat(self, item: Any) -> Any:
        if isinstance(item, slice):
            return np.arange(*item.indices(self.layout.size), dtype=np.int32)
        array = np.asarray(item)
        if array.dtype == bool:
            array = np.nonzero(array)[0]
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"synapses are indexed by integers, slices, masks or pairs of these, not by {item!r}")
        if array.size and (array.min() < -self.layout.size or array.max() >= self.layout.size):
            raise IndexError(f"index {item!r} is outside of the {self.layout.size} synapses")
        return np.where(array < 0, array + self.layout.size, array).astype(np.int32)

    def _pair(self, item: tuple[Any, ...]) -> npt.NDArray[np.int32]:
        if len(item) != 2:
            raise IndexError(f"synapses are indexed by one index or a pair (i, j), not by {len(item)}")
        layout = self.layout
        rows = np.arange(layout.n_agents * layout.n_pre)[_neurons(item[0])]
        columns = np.arange(layout.n_agents * layout.n_post)[_neurons(item[1])]
        i, j = (np.atleast_1d(x) for x in (rows, columns))
        flat = i[:, None] * layout.n_post + (j % layout.n_post)[None, :]
        exists = i[:, None] // layout.n_pre == j[None, :] // layout.n_post
        return np.asarray(flat[exists], dtype=np.int32)


def _neurons(item: Any) -> Any:
    return item if isinstance(item, slice) else np.asarray(item)


def add_matrix(variables: Variables, name: str, layout: Layout, dtype: Any, **options: Any) -> None:
    """Add an array with one element a synapse."""
    variable = MatrixVariable(
        name=name, owner=variables.owner, device=variables.device, size=layout.size, dtype=dtype, **options
    )
    variables._add_variable(name, variable)
    variables.device.init_with_zeros(variable, variable.dtype)


def create_variables(
    owner: Any, equations: Equations, layout: Layout, dtype: Any, linked: set[str], agents: Any
) -> None:
    """Make the variables of a projection.

    Args:
        owner: The projection, with ``source``, ``target`` and ``clock``.
        equations: Its equations.
        layout: Its sizes.
        dtype: Type of its float variables, or a mapping of names to types.
        linked: Filled with the names that the user links later.
        agents: Group of one neuron an agent, or None.

    Raises:
        ConfigError: A name is taken.
    """
    owner.variables = variables = Variables(owner)
    for name in LOOPS:
        variables._add_variable(name, LoopIndex(name, dtype=np.int32))
    variables.create_clock_variables(owner.clock)
    variables.add_constant("N", value=layout.size)
    _add_counters(variables, owner)
    for equation in equations.values():
        _add_equation(variables, equation, layout, get_dtype(equation, dtype), linked)
    for xi in equations.stochastic_variables:
        variables.add_auxiliary_variable(xi, dimensions=(second**-0.5).dim)
    _add_side(variables, owner.source, "pre", equations, owner.name)
    _add_side(variables, owner.target, "post", equations, owner.name)
    if agents is not None:
        _add_side(variables, agents, "agent", equations, owner.name)


def _add_counters(variables: Variables, owner: Any) -> None:
    """Add ``i`` and ``j``, which count from the start of a subgroup."""
    for name, side, group in (("i", "pre", owner.source), ("j", "post", owner.target)):
        start, index = getattr(group, "start", 0), f"_{side}_idx"
        if not start:
            variables.add_reference(name, getattr(group, "source", None) or group, "i", index=index)
            continue
        variables.add_reference(f"_{name}_absolute", group.source, "i", index=index)
        dtype = group.source.variables["i"].dtype
        variables.add_subexpression(name, dtype=dtype, expr=f"_{name}_absolute - {start}", index=index)


def _add_equation(variables: Variables, equation: Any, layout: Layout, dtype: Any, linked: set[str]) -> None:
    name = equation.varname
    if equation.type == SUBEXPRESSION:
        summed = "summed" in equation.flags
        expression = MatrixExpression(
            name=f"_summed_{name}" if summed else name,
            owner=variables.owner,
            device=variables.device,
            dimensions=equation.dim,
            expr=str(equation.expr),
            scalar="shared" in equation.flags,
            dtype=dtype,
        )
        variables._add_variable(expression.name, expression)
        return
    assert equation.type in (DIFFERENTIAL_EQUATION, PARAMETER)
    constant = "constant" in equation.flags
    if "linked" in equation.flags:
        linked.add(name)
    elif "shared" in equation.flags:
        variables.add_array(
            name, size=1, dimensions=equation.dim, dtype=dtype, constant=constant, scalar=True, index="0"
        )
    else:
        add_matrix(variables, name, layout, dtype, dimensions=equation.dim, constant=constant)


def _add_side(variables: Variables, group: Any, side: str, equations: Equations, name: str) -> None:
    """Add references to all variables of one side, ``x_pre``; those of the target also as ``x``."""
    for own in group.variables:
        if own in equations.names and own != "lastupdate" and side != "agent":
            raise ConfigError(
                f"{name}: variable {own!r} of the synapses has the name of a variable of {group.name!r}; "
                f"rename it, for example to '{own}_syn'"
            )
        if own.startswith("_"):
            continue
        index = "0" if group.variables[own].scalar else f"_{side}_idx"
        names = [f"{own}_{side}", own] if side == "post" and own not in RESERVED else [f"{own}_{side}"]
        for reference in names:
            try:
                variables.add_reference(reference, group, own, index=index)
            except TypeError:  # a variable with an index of its own in the group: not to be reached from here
                break


def depends_on(variables: Variables, name: str) -> set[str]:
    """Return what a value depends on: of ``pre``, ``post``, ``agent``, ``syn``; nothing is a constant."""
    variable = variables.get(name)
    if isinstance(variable, Subexpression):
        if variable.scalar:
            return set()
        return set().union(*(depends_on(variables, used) for used in variable.identifiers if used in variables))
    index = variables.indices[name]
    if not isinstance(variable, ArrayVariable) or variable.scalar:
        return {"syn"} if isinstance(variable, AuxiliaryVariable) and not variable.scalar else set()
    if index == "_idx":
        return {"syn"}
    return {"agent"} if index == "0" else {index.split("_")[1]}
