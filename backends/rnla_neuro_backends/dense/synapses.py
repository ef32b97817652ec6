"""`DenseSynapses`: an all-to-all projection without delays, in place of Brian2's `Synapses`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.names import find_name
from brian2.core.preferences import prefs
from brian2.equations.equations import (
    DIFFERENTIAL_EQUATION,
    PARAMETER,
    SUBEXPRESSION,
    Equations,
    check_subexpressions,
)
from brian2.groups.group import Group
from brian2.groups.neurongroup import check_identifier_pre_post, extract_constant_subexpressions
from brian2.units.fundamentalunits import fail_for_dimension_mismatch

from rnla_neuro.errors import ConfigError, unknown
from rnla_neuro_backends.dense.factors import identifiers
from rnla_neuro_backends.dense.fusing import Finding
from rnla_neuro_backends.dense.runners import DenseRunner, StateRunner, SumRunner
from rnla_neuro_backends.dense.targets import ask_for_simd, register, target_name
from rnla_neuro_backends.dense.trace_runner import OtherStateRunner, TraceRunner
from rnla_neuro_backends.dense.variables import RESERVED, DenseIndexing, Layout, create_variables
from rnla_neuro_backends.dense.views import MatrixVariable

OF_SYNAPSES = ("on_pre", "on_post", "pre", "post", "delay", "multisynaptic_index", "connect")
OPTIONS = (
    "on_event", "n_agents", "agents", "namespace", "method", "method_options", "dtype", "dt", "clock", "order", "fuse",
    "traces", "buffer_steps", "codeobj_class", "name",
)  # fmt: skip


class DenseSynapses(Group):  # type: ignore[misc]
    """All-to-all synapses between two groups of neurons, run by templates of our own for dense matrices.

    Takes the place of ``S = Synapses(source, target, model); S.connect()``: the same equations, names and
    order of synapses (``i*n_post + j``), the same scheduling. What it does not have: spikes (``on_pre``,
    ``on_post``, event-driven equations), delays, other patterns of connection.

    Args:
        source: Presynaptic neurons: a NeuronGroup, or a subgroup.
        target: Postsynaptic neurons; the source by default.
        model: Equations in Brian2's syntax: parameters, ``(clock-driven)`` differential equations,
            subexpressions, sums ``x_post = … (summed)`` and ``x_pre = … (summed)``; flags ``(shared)``,
            ``(constant)``, ``(constant over dt)`` and ``(linked)``.
        on_event: Code that runs only when something has happened: condition -> code. A condition depends on
            shared variables, variables of agents or ``t``. It is looked at in every step, in the slot ``end``.
        n_agents: Number A of equal networks that do not know each other: source and target hold their
            populations one after the other, and only neurons of the same agent are connected.
        agents: A group with one neuron an agent; its variables are called ``x_agent`` in the synapses.
        namespace: Names for the equations, as everywhere in Brian2.
        method: Integration method, or several to choose from; as for `Synapses`.
        method_options: Options of the method.
        dtype: Type of float variables (or a mapping of names to types); Brian2's preference by default.
        dt: Time step of the integration; or give `clock`.
        clock: Clock of the integration.
        order: Order of the integration within the slot ``groups``.
        fuse: Do sums and the integration in one pass over the synapses where nothing else stands between.
        traces: ``at_events`` forms a trace such as ``dE/dt = (-E + f_post*g_pre)/tau`` only when an event, a monitor
            or a user reads it; `recognised` says which traces are of this kind, and why others are not.
        buffer_steps: After how many steps traces are formed at the latest.
        codeobj_class: Brian2 target, if not the preferred one.
        name: Name of the object.
        other: Refused: options of `Synapses` for what dense synapses do not have.

    Raises:
        ConfigError: The equations need something that dense synapses do not have, or sizes do not fit.
        BackendError: There are no templates for the target or device.
    """

    add_to_magic_network = True

    def __init__(
        self,
        source: Any,
        target: Any = None,
        model: Any = None,
        on_event: Mapping[str, str] | None = None,
        *,
        n_agents: int = 1,
        agents: Any = None,
        namespace: Mapping[str, Any] | None = None,
        method: Any = ("exact", "euler", "heun"),
        method_options: Mapping[str, Any] | None = None,
        dtype: Any = None,
        dt: Any = None,
        clock: Any = None,
        order: int = 0,
        fuse: bool = True,
        traces: Literal["every_step", "at_events"] = "every_step",
        buffer_steps: int = 128,
        codeobj_class: Any = None,
        name: str = "synapses*",
        **other: Any,
    ) -> None:
        _refuse(other, on_event)
        Group.__init__(self, dt=dt, clock=clock, when="start", order=order, namespace=namespace, name=name)
        register()
        if target_name() in ("cpp", "cuda"):
            ask_for_simd()
        self.codeobj_class = codeobj_class
        self.source, self.target = source, source if target is None else target
        self.layout = Layout(self.source, self.target, n_agents, self.name)
        for group in (self.source, self.target, agents):
            if group is not None:
                self.add_dependency(group)
        self.fuse = fuse
        self.findings: dict[str, Finding] = {}
        equations, constant = extract_constant_subexpressions(_checked(model, self.name))
        self._add_variables(equations, dtype, agents)
        self.state_updater: StateRunner | None = None
        self.trace_updater: TraceRunner | None = None
        self._add_integration(traces, buffer_steps, method, method_options)
        self.summed_updaters: dict[str, SumRunner] = {}
        for equation in equations.values():
            if "summed" in equation.flags:
                self.summed_updaters[equation.varname] = self._sum(equation)
        self.contained_objects.extend(self.summed_updaters.values())
        if len(constant):
            lines = [f"{eq.varname} = {eq.expr}" for eq in constant.ordered]
            name = self._free_name("subexpression_update")
            self._add_runner("\n".join(lines), name, when="before_start", order=order)
        self.event_runners: dict[str, DenseRunner] = {}
        self._enable_group_attributes()
        for condition, code in (on_event or {}).items():
            self.run_on_event(condition, code)

    def _add_variables(self, equations: Equations, dtype: Any, agents: Any) -> None:
        self.equations = Equations([eq for eq in equations.values() if "summed" not in eq.flags])
        default = dtype if dtype is not None and not isinstance(dtype, Mapping) else None
        self.real = np.dtype(prefs["core.default_float_dtype"] if default is None else default)
        self._linked_variables: set[str] = set()
        create_variables(self, equations, self.layout, dtype, self._linked_variables, agents)
        self.variables.add_auxiliary_variable("_summand", dtype=self.real)
        self.variables.add_auxiliary_variable("_event", dtype=bool)
        self._indices = DenseIndexing(self.layout)
        self._flat: Any = None

    @property
    def real_type(self) -> str:
        """C type of the float variables."""
        return str(c_data_type(self.real))

    @property
    def recognised(self) -> list[Finding]:
        """What was recognised in the equations, and what was not: (what, reason). Known from the first run on."""
        return list(self.findings.values())

    def _add_integration(self, traces: str, steps: int, method: Any, options: Any) -> None:
        if traces not in ("every_step", "at_events"):
            raise ConfigError(f"{self.name}: " + unknown("value of traces", traces, ("every_step", "at_events")))
        if not isinstance(steps, int) or steps < 1:
            raise ConfigError(f"{self.name}: buffer_steps is {steps!r}; allowed is a whole number from 1")
        if not self.equations.diff_eq_names:
            return
        if traces == "at_events":
            self.variables.add_auxiliary_variable("_decay", dtype=np.float64)
            self.trace_updater = TraceRunner(self, steps, method, options)
            self.state_updater = OtherStateRunner(self, self.trace_updater)
            self.contained_objects.append(self.trace_updater)
        else:
            self.state_updater = StateRunner(self, method, options)
        self.contained_objects.append(self.state_updater)

    def _sum(self, equation: Any) -> SumRunner:
        name = equation.varname
        base, _, side = name.rpartition("_")
        group = {"pre": self.source, "post": self.target}.get(side)
        if group is None:
            raise ConfigError(f"{self.name}: summed variable {name!r}; allowed are names that end in _pre or _post")
        own = getattr(group, "equations", None) or {}
        if base not in own or own[base].type != PARAMETER:
            parameters = [known for known, eq in own.items() if eq.type == PARAMETER]
            hint = unknown(f"parameter of {group.name!r}", base, parameters)
            raise ConfigError(
                f"{self.name}: {name!r} sums into a parameter of the neurons, such as '{base} : 1'; {hint}"
            )
        fail_for_dimension_mismatch(
            self.variables[f"_summed_{name}"].dim,
            self.variables[name].dim,
            f"{self.name}: the sum {name!r} and the variable {base!r} of {group.name!r} have different units",
        )
        return SumRunner(self, equation.expr, name)

    def _add_runner(self, code: str, name: str, condition: str | None = None, **options: Any) -> DenseRunner:
        options.setdefault("clock", self.clock)
        options.setdefault("codeobj_class", self.codeobj_class)
        runner = DenseRunner(self, code, condition, name=name, **options)
        self.contained_objects.append(runner)
        return runner

    def _free_name(self, ending: str) -> str:
        return str(find_name(f"{self.name}_{ending}*", {obj.name for obj in self.contained_objects}))

    def connect(self, *_: Any, **__: Any) -> None:
        """Refuse: dense synapses are connected from the beginning.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{self.name}: dense synapses connect all to all from the beginning; leave connect() out")

    def run_on_event(self, condition: str, code: str, when: str = "end", order: int = 0, **options: Any) -> DenseRunner:
        """Run code for the synapses of those agents for which a condition holds, whenever it holds.

        Args:
            condition: Boolean expression of shared variables, variables of agents (``x_agent``) and ``t``.
            code: What to do at every synapse, such as ``w += gain_agent*E``.
            when: Slot of the time step.
            order: Order within the slot.
            options: ``clock`` and ``name`` of the runner.

        Returns:
            The runner; also in ``event_runners``, by its condition.
        """
        options.setdefault("name", self._free_name("event"))
        runner = self._add_runner(code, condition=condition, when=when, order=order, **options)
        self.event_runners[condition] = runner
        return runner

    def run_on_clock(
        self,
        code: str,
        clock: Any = None,
        when: str = "start",
        order: int = 0,
        name: str | None = None,
        codeobj_class: Any = None,
    ) -> DenseRunner:
        """Run code for every synapse in each step of a clock (`run_regularly` and `run_at` come here)."""
        options: dict[str, Any] = {"clock": clock} if clock is not None else {}
        if codeobj_class is not None:
            options["codeobj_class"] = codeobj_class
        return self._add_runner(code, name or self._free_name("run_custom"), when=when, order=order, **options)

    def before_run(self, run_namespace: Mapping[str, Any]) -> None:
        """Check units."""
        self.equations.check_units(self, run_namespace=run_namespace)
        check_subexpressions(self, self.equations, run_namespace)
        super().before_run(run_namespace)

    def matrix(self, name: str) -> npt.NDArray[Any]:
        """Return a synaptic variable as a matrix, shape (n_pre, n_post), or (A, n_pre, n_post) with agents.

        In runtime mode it is a view: what is written into it is in the synapses.

        Raises:
            ConfigError: There is no such variable.
        """
        known = {own: found for own, found in self.variables.items() if isinstance(found, MatrixVariable)}
        if name not in known:
            raise ConfigError(f"{self.name}: " + unknown("variable of the synapses", name, known))
        layout = self.layout
        shape = (layout.n_agents, layout.n_pre, layout.n_post)
        return np.asarray(known[name].get_value()).reshape(shape[1:] if layout.n_agents == 1 else shape)

    def flat_indices(self, flat: npt.NDArray[np.int32] | None = None) -> Any:
        """Return neuron on either side and agent of synapses (all by default); for the numpy templates."""
        if flat is not None:
            return tuple(self.layout.own(side, flat) for side in ("pre", "post", "agent"))
        if self._flat is None:
            every = np.arange(self.layout.size, dtype=np.int32)
            self._flat = tuple(self.layout.own(side, every) for side in ("pre", "post", "agent"))
        return self._flat

    def synapses_of(self, agents: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return the flat indices of the synapses of some agents; for the numpy templates."""
        one = self.layout.n_pre * self.layout.n_post
        return (agents[:, None] * one + np.arange(one)).ravel().astype(np.int32)

    def flush_traces(self, name: str | None = None) -> None:
        """Bring traces up to date that are formed at events: those all, or if `name` is one of them."""
        runner = self.__dict__.get("trace_updater")
        if runner is not None and (name is None or name in runner.written()):
            runner.flush()

    def flush_before(self, codes: Iterable[str], namespace: Mapping[str, Any]) -> str:
        """Return the C++ function that forms the traces if some code uses them, or nothing."""
        if self.trace_updater is None or not self.trace_updater.active:
            return ""
        used = set().union(*(identifiers(code, self.variables) for code in codes))
        found = self.trace_updater.find(namespace)
        return self.trace_updater.function if used & set(found) else ""

    def trace_step_done(self, period: int) -> None:
        """Form the traces if they are due; for the runtime templates."""
        assert self.trace_updater is not None
        self.trace_updater.step_done(period)

    def _check_for_invalid_values(self, k: str, v: Any) -> None:
        super()._check_for_invalid_values(k, np.asarray(v, dtype=np.float64))  # float32 cannot hold the bound

    def _full_state(self) -> Any:
        self.flush_traces()
        return super()._full_state()


def _refuse(other: Mapping[str, Any], on_event: Any) -> None:
    if on_event is not None and not isinstance(on_event, Mapping):
        raise ConfigError(f"DenseSynapses: on_event is {on_event!r}; allowed is a mapping of conditions to code")
    for name in other:
        if name in OF_SYNAPSES:
            raise ConfigError(f"DenseSynapses has no {name!r}: it knows no spikes and no delays; use Synapses for them")
        raise ConfigError("DenseSynapses: " + unknown("option", name, OPTIONS))


def _checked(model: Any, name: str) -> Equations:
    """Return the equations, if dense synapses can have them."""
    if model is None or isinstance(model, str):
        model = Equations(model or "")
    if not isinstance(model, Equations):
        raise ConfigError(f"{name}: the model is {model!r}; allowed are a string or Equations")
    model.check_flags(
        {
            DIFFERENTIAL_EQUATION: ["event-driven", "clock-driven"],
            SUBEXPRESSION: ["summed", "shared", "constant over dt"],
            PARAMETER: ["constant", "shared", "linked"],
        },
        incompatible_flags=[("event-driven", "clock-driven"), ("summed", "shared", "constant over dt")],
    )
    for equation in model.values():
        if equation.varname in RESERVED:
            raise ConfigError(f"{name}: {equation.varname!r} is the name of something that all synapses have")
        if "event-driven" in equation.flags:
            raise ConfigError(
                f"{name}: {equation.varname!r} is event-driven; dense synapses know no spikes, use Synapses for them"
            )
        if "summed" not in equation.flags:
            check_identifier_pre_post(equation.varname)
    return model
