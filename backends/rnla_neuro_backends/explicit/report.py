"""Says how the explicit form of a network would be run: what was recognised, memory, time. `rnla check` prints it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Literal

from rnla_neuro.backend import Description
from rnla_neuro.network import NetworkSpec
from rnla_neuro.spec.form import EquilibriumForm, Traces
from rnla_neuro_backends.explicit import timing
from rnla_neuro_backends.explicit.form import ExplicitForm, explicit_form
from rnla_neuro_backends.explicit.growth import refuse_growing
from rnla_neuro_backends.explicit.kernel import Kernel
from rnla_neuro_backends.explicit.roads import fused_kernel, why_not_fused
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from rnla_neuro_backends.explicit.stability import Stability, refuse_unstable
from rnla_neuro_backends.general.kernel import GeneralKernel
from rnla_neuro_backends.general.report import describe_general

Device = Literal["cpu", "numpy", "gpu"]
_MEMORY = {"w": "weights", "z": "traces", "pend_a": "factors", "pend_pre": "factors"}


def describe(
    network: NetworkSpec,
    road: str,
    *,
    device: Device = "cpu",
    ready: Callable[[], ExplicitSimulation | None] = lambda: None,
    ready_is: str = "",
    no_time: str = "",
) -> Description:
    """Describe the fused road of a model.

    Args:
        network: The network.
        road: Which way it takes, in words.
        device: What runs the kernel.
        ready: Builds the simulation if that is a matter of a moment, else returns None.
        ready_is: What `ready` runs, in words, such as ``the compiled program``.
        no_time: Why there can be no estimate of time; empty: there can.

    Raises:
        BackendError: No kernel can run the model.
        ConvergenceError: A step would not be stable.
    """
    made = fused_kernel(network)
    if isinstance(made, GeneralKernel):
        unproven = str(why_not_fused(network, general=False))
        return describe_general(made, road, unproven, ready=ready, ready_is=ready_is, no_time=no_time)
    form, kernel = explicit_form(network.model), made
    stable = refuse_unstable(network, network.initial_weights())
    seconds, basis = (None, no_time) if no_time else timing.estimate(network, kernel, device, ready, ready_is)
    return Description(
        road=road,
        recognised=tuple(_recognised(form, kernel, device)),
        fallbacks=tuple(_fallbacks(form.base, device)),
        notes=(("stability of a step", _stability(stable)),),
        memory=_memory(kernel),
        memory_where="GPU" if device == "gpu" else "",
        seconds=seconds,
        basis=basis,
    )


def describe_plain(
    network: NetworkSpec, road: str, reason: str, build: Callable[[], ExplicitSimulation]
) -> Description:
    """Describe Brian2's own road, by building it: in seconds, not in a moment.

    Args:
        network: The network.
        road: Which way it takes, in words.
        reason: Why it is not the fused one.
        build: Builds the simulation, on stock Brian2 groups.

    Raises:
        ConvergenceError: A step would not be stable.
    """
    with closing(build()) as simulation:
        stable = _measured(simulation, network)
        seconds, count = timing.decisions(simulation)
        amount = sum(values.nbytes for values in simulation.state().values())
    return Description(
        road=road,
        fallbacks=(("all of it", reason),),
        notes=(("stability of a step", stable),),
        memory={"variables that change": amount},
        seconds=seconds,
        basis=f"{count} decisions with random inputs and rewards, just now",
    )


def _measured(simulation: ExplicitSimulation, network: NetworkSpec) -> str:
    if network.model.spikes:
        return "not measured: in a network that spikes, perturbations grow and shrink with the times of spikes"
    growth = refuse_growing(simulation.engine, network)
    return f"measured: perturbations of the voltages shrink to {growth:.3g} in a step, also where two actions tie"


def _recognised(form: ExplicitForm, kernel: Kernel, device: Device) -> list[tuple[str, str]]:
    base, settings = form.base, kernel.settings
    lines = [
        ("sums", "all to all: W r, W r̄ and the errors' Wᵀē over the same weights, in contiguous loops"),
        ("errors", "passed directly from layer to layer, within a step"),
    ]
    if form.rate == "slope":
        text = "rbar + phi_prime*(I - u + err): W r is W r̄, plus a second product while voltages move"
    else:
        text = "rbar + tau*(rbar - rbar_prev)/dt: W r follows from W r̄ of two steps, without a second product"
    lines.append(("prospective rates", text))
    lines.append(("input", "piecewise constant: W x of the first layer once a trial and weight change, times a number"))
    lines += [(f"group {g.name}", _reduction(g.kind, str(g.argument))) for g in base.groups]
    lines.append(("exploration", _noise(form)))
    for name, traces in (("hidden", base.hidden), ("action", base.action)):
        lines.append((f"{name} eligibility", _eligibility(traces, settings.capacity)))
        lines.append((f"{name} weights", _changes(traces)))
    size = "-".join(map(str, settings.sizes))
    place = {"gpu": "a block of threads each", "cpu": "in the outer loop", "numpy": "an axis of the arrays"}
    agents = "one agent" if settings.n_agents == 1 else f"{settings.n_agents} agents, {place[device]}"
    text = f"sizes {size}, {agents}, {settings.precision}, up to {settings.max_steps} steps a block"
    lines.append(("made for", text))
    return lines


def _reduction(kind: str, argument: str) -> str:
    safe = ", the largest subtracted" if kind == "softmax" else ""
    return f"{kind}({argument}) over the action layer{safe}"


def _noise(form: ExplicitForm) -> str:
    return {
        "none": "none",
        "target": "none; a target is told in its place, held for a trial: errors jump with it",
        "jump": "held for a trial: voltages jump with it to where they rest",
        "process": "a process in time: values given a block at a time, the prospective current formed in a step",
        "current": "a current in time: values given a block at a time, low-passed as the file says",
    }[form.noise]


def _eligibility(traces: Traces, capacity: int) -> str:
    names = ", ".join(traces.names)
    if not traces.names:
        return "none"
    ranks = f"{len(traces.sources)} source{'s' * (len(traces.sources) > 1)} of rank one"
    gate = "while the gate is open" if all(s.gated for s in traces.sources) else "at every step"
    return f"{names}: {ranks}, kept as factors {gate} (up to {capacity}), multiplied out when an event reads them"


def _changes(traces: Traces) -> str:
    events, flows = ", ".join(traces.updates), ", ".join(traces.flows)
    parts = [f"change at events of {events}"] * bool(events) + [f"flow while a pulse of {flows} lasts"] * bool(flows)
    return "; ".join(parts) or "never change"


def _fallbacks(base: EquilibriumForm, device: Device) -> list[tuple[str, str]]:
    lines = []
    flows = sorted({*base.hidden.flows, *base.action.flows})
    if flows:
        why = "weights change at every step while it lasts, so that traces are multiplied out at every step, too"
        lines.append((f"pulse of {', '.join(flows)}", why))
    ungated = [t for t in (base.hidden, base.action) if t.sources and not all(s.gated for s in t.sources)]
    if ungated:
        lines.append(("eligibility", "no gate: every step adds a factor, and full buffers are multiplied out"))
    if device == "numpy":
        lines.append(("loops", "numpy: each sum is a call of its own; the cython core runs them in one pass"))
    return lines


def _stability(found: Stability) -> str:
    if found.loop_gain:
        gain = f"loop gain of the errors {found.loop_gain.real:.3g} at most ({found.where})"
    else:
        gain = "errors do not act on themselves"
    return (
        f"stable: {gain}; perturbations shrink to {found.radius:.3g} in a step, dt/tau_m = {found.step:.3g}, "
        f"stable below dt = {found.longest_dt * 1e3:.3g} ms"
    )


def _memory(kernel: Kernel) -> dict[str, int]:
    """Return bytes by what they hold."""
    found = dict.fromkeys(("weights", "traces", "factors", "state", "blocks in and out", "work"), 0)
    for array in kernel.arrays:
        by_role = {"state": "state", "input": "blocks in and out", "output": "blocks in and out", "scratch": "work"}
        name = _MEMORY.get(array.name, by_role[array.role])
        found[name] += array.size * kernel.dtype(array).itemsize
    return found
