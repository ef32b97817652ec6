"""Says how the general kernel would run a network: what was recognised, memory, time. `rnla check` prints it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from rnla_neuro.backend import Description
from rnla_neuro_backends.explicit import timing
from rnla_neuro_backends.explicit.simulation import ExplicitSimulation
from rnla_neuro_backends.general.kernel import GeneralKernel
from rnla_neuro_backends.general.plan import ALWAYS, GATED, Plan

_MEMORY = {"w": "weights", "z": "traces", "hist": "factors", "pre": "factors"}
_MODES = {
    "held": "W x formed once for each input and weight change",
    "spikes": "W s kept and raised by the rows of the neurons that spike; formed anew after a weight change",
    "dense": "a product in every step",
}
_TRACES = {
    "held": "sum of the postsynaptic factors, multiplied out with the held input when an event reads them",
    "spikes": "postsynaptic factors filtered backwards in time, a row for each spike, when an event reads them",
    "dense": "rank-one factors of each step, multiplied out when an event reads them",
}


def describe_general(
    kernel: GeneralKernel,
    road: str,
    unproven: str,
    *,
    ready: Callable[[], ExplicitSimulation | None],
    ready_is: str,
    no_time: str = "",
) -> Description:
    """Describe the general kernel of a network; see `rnla_neuro_backends.explicit.report.describe`.

    Args:
        kernel: The kernel.
        road: Which way it takes, in words.
        unproven: Why the model is not of the proven form.
        ready: Builds the simulation if that is a matter of a moment, else returns None.
        ready_is: What `ready` runs, in words.
        no_time: Why there can be no estimate of time; empty: there can.
    """
    seconds, basis = None, no_time
    if not no_time:
        simulation = ready()
        basis = "its program is not built yet; after a first run there is one to measure"
        if simulation is not None:
            with closing(simulation):
                seconds, count = timing.decisions(simulation)
            basis = f"{count} decisions of {ready_is} with random inputs and rewards, just now"
    return Description(
        road=road.replace("fused kernel", "general kernel"),
        recognised=tuple(_recognised(kernel)),
        fallbacks=tuple(_fallbacks(kernel)),
        notes=(("not of the proven form", unproven),),
        memory=_memory(kernel),
        memory_where="GPU" if "CUDA" in road else "",
        seconds=seconds,
        basis=basis,
    )


def _recognised(kernel: GeneralKernel) -> list[tuple[str, str]]:
    plan, layout, s = kernel.plan, kernel.places, kernel.general
    names = [place.name for place in plan.places]
    lines = [
        (f"{names[link.pre]} to {names[link.post]}", f"sends {sent.signal.expr}: {_MODES[sent.mode]}")
        for sent in plan.sent
        if sent.mode != "dense"
        for link in [plan.links[sent.link]]
    ]
    for k, place in enumerate(plan.places):
        if plan.population(k).spikes:
            lines.append((f"{place.name} spikes", f"when {place.spec.threshold}, reset in the same pass"))
    for p in layout.projections:
        if p.n_trace:
            traces = plan.plasticity(p.k)
            gate = "while the gate is open" if traces.gated else "in every step"
            text = f"{', '.join(traces.names)}: {_TRACES[p.mode]} ({gate}, up to {p.capacity} steps)"
            lines.append((f"{names[p.source]} to {names[p.target]} eligibility", text))
    for (k, name), how in plan.needs.items():
        if how < ALWAYS:
            when = "while the gate is open" if how == GATED else "for decisions and recordings"
            lines.append((f"{names[k]} {name}", f"formed only {when}"))
    agents = "one agent" if s.n_agents == 1 else f"{s.n_agents} agents"
    size = "-".join(map(str, s.sizes))
    lines.append(("made for", f"sizes {size}, {agents}, {s.precision}, up to {s.max_steps} steps a block"))
    return lines


def _fallbacks(kernel: GeneralKernel) -> list[tuple[str, str]]:
    plan: Plan = kernel.plan
    names = [place.name for place in plan.places]
    return [
        (f"{names[link.pre]} to {names[link.post]}", f"sends {sent.signal.expr}: {_MODES['dense']}")
        for sent in plan.sent
        if sent.mode == "dense"
        for link in [plan.links[sent.link]]
    ]


def _memory(kernel: GeneralKernel) -> dict[str, int]:
    """Return bytes by what they hold."""
    found = dict.fromkeys(("weights", "traces", "factors", "state", "blocks in and out", "work"), 0)
    by_role = {"state": "state", "input": "blocks in and out", "output": "blocks in and out", "scratch": "work"}
    for array in kernel.arrays:
        found[_MEMORY.get(array.name, by_role[array.role])] += array.size * kernel.dtype(array).itemsize
    return found
