"""Runs traces that are formed at events: which ones, their buffers, and who makes them due."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.codegen.codeobject import create_runner_codeobj
from brian2.devices.device import RuntimeDevice

from rnla_neuro.errors import ConfigError
from rnla_neuro_backends.dense.factors import Factors, identifiers, statements
from rnla_neuro_backends.dense.fusing import Finding, network_of
from rnla_neuro_backends.dense.runners import DenseRunner, StateRunner, as_state_updater, integration_step
from rnla_neuro_backends.dense.targets import target_name
from rnla_neuro_backends.dense.traces import Refused, Trace, flush_period, recognise, without
from rnla_neuro_backends.dense.variables import LOOPS, Layout

logger = logging.getLogger("rnla_neuro")


@dataclass(frozen=True)
class Buffered:
    """A trace and the variables that hold what is not in it yet.

    Attributes:
        name: Its name.
        block: Name of the code that computes its decay.
        variable: The trace itself.
        base: What the trace is still to be multiplied by, one an agent.
        weight: What each buffered step is to be multiplied by, (A, steps).
        terms: Buffers of the post- and presynaptic factors.
    """

    name: str
    block: str
    variable: Any
    base: Any
    weight: Any
    terms: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class Buffers:
    """What the template ``dense_traces`` needs to know.

    Attributes:
        layout: Sizes.
        real: C type of the projection's float variables.
        steps: Steps that the buffers hold.
        traces: The traces.
        post: Buffers of postsynaptic factors.
        count: Buffered steps of each agent.
        period: After how many steps somebody else reads the traces; 0: nobody does.
        function: Name of the C++ function that forms the traces of an agent.
        t: Time.
        dt: Time step.
        some: One flag an agent, for CUDA.
    """

    layout: Layout
    real: str
    steps: int
    traces: tuple[Buffered, ...]
    post: tuple[Any, ...]
    count: Any
    period: int
    function: str
    t: Any
    dt: Any
    some: Any = None


class TraceRunner(DenseRunner):
    """Buffers the factors of a step of all traces that are formed at events.

    Attributes:
        buffers: The buffers in use; None where no trace is formed at events.
    """

    def __init__(self, synapses: Any, steps: int, method: Any, options: Any) -> None:
        self.steps, self.method_choice, self.method_options = steps, method, options
        self.buffers: Buffers | None = None
        self._known: tuple[Any, dict[str, Trace]] | None = None
        super().__init__(synapses, "", **as_state_updater(synapses))
        self.template = "dense_traces"

    @property
    def function(self) -> str:
        """Name of the C++ function that forms the traces of an agent: another one for other traces."""
        content = repr((self.steps, [] if self._known is None else self._known[1]))
        return f"_form_traces_of_{self.group.name}_{zlib.crc32(content.encode()):08x}"

    def find(self, namespace: Mapping[str, Any]) -> dict[str, Trace]:
        """Return the traces that can be formed at events; the projection's `findings` say why others cannot."""
        synapses = self.group
        equations = synapses.equations
        step = integration_step(synapses, equations, self.method_choice, self.method_options, namespace)
        key = (step, tuple(name for name in synapses.variables if not name.startswith("_")))
        if self._known is not None and self._known[0] == key:
            return self._known[1]
        own = {name for name, _, _ in statements(step)} - set(synapses.variables)
        names = (equations.names | equations.identifiers | identifiers(step, synapses.variables)) - own
        resolved = synapses.resolve_all(sorted(names), run_namespace=namespace, user_identifiers=set())
        found: dict[str, Trace] = {}
        for name in sorted(equations.diff_eq_names):
            try:
                found[name] = recognise(name, step, synapses, resolved)
                terms = " + ".join(f"({post})*({pre})" for post, pre in found[name].terms)
                finding = Finding(f"{name} at events", f"its step adds {terms}")
            except Refused as refused:
                finding = Finding(f"{name} in every step", str(refused))
            logger.info("%s: %s: %s", synapses.name, *finding)
            synapses.findings[name] = finding
        self._known = (key, found)
        return found

    def written(self) -> set[str]:
        """Return the traces."""
        return set() if self._known is None else set(self._known[1])

    def create_code_objects(self, run_namespace: Mapping[str, Any]) -> None:
        """Generate the code that buffers a step."""
        self.codeobj, self.buffers = None, None
        found = self.find(run_namespace)
        if found:
            self.codeobj = self._make(list(found.values()), run_namespace)
        self.code_objects[:] = [] if self.codeobj is None else [self.codeobj]

    def _make(self, traces: Sequence[Trace], namespace: Mapping[str, Any]) -> Any:
        synapses = self.group
        layout, variables = synapses.layout, synapses.variables
        longest = layout.n_agents * self.steps * max(layout.n_pre, layout.n_post)
        if longest > np.iinfo(np.int32).max:
            raise ConfigError(f"{synapses.name}: buffer_steps={self.steps} needs {longest} elements, too many to index")
        factors = Factors("trace")
        terms = [[(factors.take("post", f), factors.take("pre", g)) for f, g in trace.terms] for trace in traces]
        needed = [*LOOPS, *factors.declare(synapses, "slot", self.steps), "t", "dt"]
        self._array("_trace_count", layout.n_agents, np.int32, 0)
        if target_name() == "cuda":
            self._array("_trace_some", layout.n_agents, bool, 0)
            needed.append("_trace_some")
        buffered = [self._buffered(trace, pairs) for trace, pairs in zip(traces, terms, strict=True)]
        for trace in traces:
            needed += [f"_base_{trace.name}", f"_weight_{trace.name}", trace.name]
        code = {side: factors.code(side) for side in ("post", "pre")}
        code |= {f"decay_{trace.name}": f"_decay = {trace.decay}" for trace in traces}
        network = network_of(synapses)
        objects = [] if network is None else network.sorted_objects
        self.buffers = Buffers(
            layout,
            synapses.real_type,
            self.steps,
            tuple(buffered),
            tuple(variables[name] for name in factors.names["post"].values()),
            variables["_trace_count"],
            1 if network is None else flush_period(synapses, {trace.name for trace in traces}, objects),
            self.function,
            variables["t"],
            variables["dt"],
            variables.get("_trace_some"),
        )
        return create_runner_codeobj(
            group=synapses,
            code=code,
            user_code=dict.fromkeys(code, ""),
            template_name=self.template,
            name=f"{self.name}_codeobject*",
            check_units=False,
            needed_variables=[*needed, "_trace_count"],
            run_namespace=namespace,
            template_kwds={"_traces": self.buffers},
            codeobj_class=self.codeobj_class,
        )

    def _buffered(self, trace: Trace, pairs: Sequence[tuple[str, str]]) -> Buffered:
        layout, variables = self.group.layout, self.group.variables
        base, weight = f"_base_{trace.name}", f"_weight_{trace.name}"
        self._array(base, layout.n_agents, np.float64, 1)
        self._array(weight, layout.n_agents * self.steps, np.float64, 0)
        terms = tuple((variables[post], variables[pre]) for post, pre in pairs)
        return Buffered(
            trace.name, f"decay_{trace.name}", variables[trace.name], variables[base], variables[weight], terms
        )

    def _array(self, name: str, size: int, dtype: Any, value: float) -> None:
        variables = self.group.variables
        if name not in variables:
            variables.add_array(name, size, dtype=dtype, values=np.full(size, value, dtype=dtype))

    def after_run(self) -> None:
        """Bring the traces up to date at the end of a run."""
        super().after_run()
        self.flush()

    def flush(self) -> None:
        """Form the traces now, in runtime mode; a standalone program does it by itself."""
        buffers = self.buffers
        if buffers is None or not isinstance(buffers.count.device, RuntimeDevice):
            return
        layout, device = buffers.layout, buffers.count.device
        count = device.get_value(buffers.count)
        for trace in buffers.traces:
            base = device.get_value(trace.base)
            if not count.any() and (base == 1).all():
                continue
            matrices = device.get_value(trace.variable).reshape(layout.n_agents, layout.n_pre, layout.n_post)
            weights = device.get_value(trace.weight).reshape(layout.n_agents, buffers.steps)
            matrices *= base.astype(matrices.dtype)[:, None, None]
            for post, pre in trace.terms:
                posts = device.get_value(post).reshape(layout.n_agents, buffers.steps, layout.n_post)
                pres = device.get_value(pre).reshape(layout.n_agents, buffers.steps, layout.n_pre)
                for agent, steps in enumerate(count):
                    weighted = pres[agent, :steps] * weights[agent, :steps, None].astype(pres.dtype)
                    matrices[agent] += weighted.T @ posts[agent, :steps]
            base[:] = 1
        count[:] = 0

    def step_done(self, period: int) -> None:
        """Form the traces if the buffers are full, or somebody else reads them; the runtime templates ask."""
        buffers = self.buffers
        assert buffers is not None
        if period:
            step = round(buffers.t.item() / buffers.dt.item())
            if step % period == 0 or (step + 1) % period == 0:
                self.flush()
        if (buffers.count.device.get_value(buffers.count) == buffers.steps).any():
            self.flush()


class OtherStateRunner(StateRunner):
    """Integrates the differential equations that are not formed at events."""

    def __init__(self, synapses: Any, traces: TraceRunner) -> None:
        super().__init__(synapses, traces.method_choice, traces.method_options)
        self._name = f"{synapses.name}_stateupdater_explicit"
        self.traces = traces

    def written(self) -> set[str]:
        """Return the variables with differential equations that are not formed at events."""
        return super().written() - self.traces.written()

    def update_abstract_code(self, run_namespace: Mapping[str, Any]) -> None:
        """Leave out what is formed at events."""
        super().update_abstract_code(run_namespace)
        found = set(self.traces.find(run_namespace))
        self.abstract_code = without(found, self.abstract_code, set(self.group.equations.diff_eq_names) - found)
