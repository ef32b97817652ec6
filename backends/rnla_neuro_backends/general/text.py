"""What the templates of the general kernel are filled in with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from rnla_neuro.spec.chance import CPP
from rnla_neuro.spec.proof import symbol
from rnla_neuro_backends.general.form import Signal
from rnla_neuro_backends.general.layout import GeneralLayout
from rnla_neuro_backends.general.plan import ALWAYS, GATED, Node, Plan, Sent
from rnla_neuro_backends.general.settings import GeneralSettings
from rnla_neuro_backends.general.writer import GeneralWriter

_INCLUDES = "\n".join(f"#include <{name}>" for name in ("cmath", "cstdint", "limits", "type_traits"))
_WHEN = {ALWAYS: "", GATED: "look || g.gate != 0"}


def context(settings: GeneralSettings, plan: Plan, layout: GeneralLayout, writer: GeneralWriter) -> dict[str, Any]:
    """Return the names that the templates use."""
    form, sizes = settings.form, layout.sizes
    return {
        "includes": _INCLUDES + CPP,
        "real": {"float64": "double", "float32": "float"}[settings.precision],
        "sizes": sizes,
        "n_in": settings.sizes[0],
        "n_out": settings.sizes[-1],
        "n_params": len(writer.parameters),
        "n_neuron": layout.n_neuron,
        "n_all": layout.n_all,
        "n_valid": layout.n_valid,
        "n_seen": len(writer.seen_names),
        "own_size": layout.own_size,
        "fixed": [(at, values.shape[1]) for at, values in sorted(layout.fixed_values().items())],
        "stream_size": layout.stream_size,
        "max_steps": settings.max_steps,
        "max_trace": max(1, *(len(p.names) for p in form.plasticity.values())),
        "projections": layout.projections,
        "traces": {p.k: _trace(p.k, plan, layout, writer) for p in layout.projections if p.n_trace},
        "growing": [_growing(p.k, plan, layout, writer) for p in layout.projections if _grows(p.k, plan, settings)],
        "signals": [_sent(sent, plan, layout, writer) for sent in plan.sent],
        "streams": [_stream(k, plan, layout, writer) for k in range(len(layout.streams))],
        "keeping": [name for name, traces in form.plasticity.items() if traces.keeps],
        "kinds": [{"name": kind, **writer.events(kind)} for kind in form.plasticity],
        "modulate": writer.modulate(),
        "pulses": _pulses(settings, writer),
        "nodes": [_node(node, plan, layout, writer) for node in plan.order],
        "levels": [
            {
                "number": level,
                "neurons": writer.neurons(level),
                "spikes": plan.population(level).spikes,
                "marks": layout.marks.get(level, 0),
                "chain": level <= plan.top,
                "index": layout.index_of(level),
            }
            for level in range(len(sizes))
        ],
    } | _places(settings, plan, layout, writer)


def _places(settings: GeneralSettings, plan: Plan, layout: GeneralLayout, writer: GeneralWriter) -> dict[str, Any]:
    """Return where things are, and what is read from neurons."""
    form, noise = settings.form, plan.population(plan.top).process
    return {
        "x_at": layout.own[0, "x"],
        "noise_at": None if noise is None else layout.own[plan.top, noise],
        "noise_jumps": form.noise_jumps,
        "voltage": layout.parts(form.roles["voltage"]),
        "record": settings.record,
        "recorded": _recorded(plan, writer) if settings.record else [],
        "decision": writer.assign(plan.top, [("decision[i]", form.decision)]),
        "seen": writer.assign(
            plan.top, [(f"seen[{k} * N_OUT + i]", symbol(name)) for k, name in enumerate(writer.seen_names)]
        ),
        "work": layout.work,
        "work_size": layout.work_size,
        "numbers": layout.numbers,
        "valid_size": layout.valid_size,
    }


def _trace(k: int, plan: Plan, layout: GeneralLayout, writer: GeneralWriter) -> dict[str, Any]:
    mode, a, b, train = plan.trace_mode(k)
    traces = plan.plasticity(k)
    text = {
        "gated": traces.gated,
        "factors": writer.factors(k),
        "sent": writer.sent_factors(k) if mode != "spikes" else "",
        "keep": "real(0)",
        "raise": "real(0)",
        "a": writer.constant(a),
        "b": writer.constant(b),
        "bias": writer.constant(traces.bias[0] * plan.links[k].bias) if traces.bias else "real(0)",
        "train_at": 0,
    }
    if mode == "spikes" and train is not None:
        text |= {"keep": _keep(writer, train.rate), "raise": writer.constant(train.jump)}
        text["train_at"] = layout.own[plan.links[k].pre, train.name]
    return text


def _grows(k: int, plan: Plan, settings: GeneralSettings) -> bool:
    return settings.plastic[k] and plan.plasticity(k).grows


def _growing(k: int, plan: Plan, layout: GeneralLayout, writer: GeneralWriter) -> dict[str, Any]:
    """What flows into weights at every step."""
    traces = plan.plasticity(k)
    made = len(plan.sent)
    valid = [sent.slot for sent in plan.sent if sent.link == k]
    valid += [made + stream.number for stream in layout.streams if stream.link == k]
    return {
        "k": k,
        "source": plan.links[k].pre,
        "count": len(traces.growth),
        "decay_at": sum(p.A.size for p in plan.form.plasticity.values())
        + list(plan.form.plasticity).index(plan.links[k].name),
        "text": writer.growth(k),
        "valid": valid,
    }


def _keep(writer: GeneralWriter, rate: sp.Expr) -> str:
    return writer.constant(1 + symbol("dt") * rate)


def _sent(sent: Sent, plan: Plan, layout: GeneralLayout, writer: GeneralWriter) -> dict[str, Any]:
    """What a population sends: of spikes the constant part, for the train has a product of its own."""
    spikes, link = sent.mode == "spikes", plan.links[sent.link]
    expr = sent.a if spikes else sent.signal.expr
    return {
        "slot": sent.slot,
        "link": sent.link,
        "mode": sent.mode,
        "text": str(sent.signal.expr),
        "at": layout.product_at[sent.slot],
        "stream": layout.stream(sent).number if spikes else None,
        "send": writer.send(link.pre, expr, sent.signal.bias * link.bias),
    }


def _stream(k: int, plan: Plan, layout: GeneralLayout, writer: GeneralWriter) -> dict[str, Any]:
    stream = layout.streams[k]
    return {
        "number": k,
        "link": stream.link,
        "source": plan.links[stream.link].pre,
        "at": stream.at,
        "train_at": layout.own[plan.links[stream.link].pre, stream.train.name],
        "keep": _keep(writer, stream.train.rate),
        "raise": writer.constant(stream.train.jump),
    }


def _node(node: Node, plan: Plan, layout: GeneralLayout, writer: GeneralWriter) -> dict[str, str]:
    level, name = node
    population = plan.population(level)
    reductions = [group.name for group in population.groups]
    if name in reductions:
        text = writer.reduction(level, reductions.index(name))
    else:
        parts = [_received(node, sent, first, layout, writer) for sent, first in _numbered(plan.received.get(node, []))]
        more = len(parts)
        parts += [
            _fed_back(node, link, signal, first and not more, layout, writer)
            for (link, signal), first in _numbered(plan.fed_back.get(node, []))
        ]
        text = "\n".join(parts)
    part = "late" if node in plan.late else "early"
    return {"part": part, "when": _WHEN.get(plan.needs[node], "look"), "text": text}


def _numbered(parts: Sequence[Any]) -> list[tuple[Any, bool]]:
    """Say of each part whether it is the first one, which sets a sum: the others add to it."""
    return [(part, k == 0) for k, part in enumerate(parts)]


def _received(node: Node, sent: Sent, first: bool, layout: GeneralLayout, writer: GeneralWriter) -> str:
    value = f"product[{layout.product_at[sent.slot]} + i]"
    lines = ["{", f"    signal_{sent.slot}(g);", "    const real* RNLA_RESTRICT product = g.product;"]
    if sent.mode == "spikes":
        lines.append(f"    const real* RNLA_RESTRICT stream = g.stream + {layout.stream(sent).at};")
        lines.append(f"    const real factor = {writer.constant(sent.b)};")
        value += " + factor * stream[i]"
    to = f"own[{layout.own[node]} + i] {'=' if first else '+='} {value};"
    return "\n".join([*lines, f"    RNLA_FOR(i, N{node[0]}) {to}", "    RNLA_SYNC();", "}"])


def _fed_back(node: Node, link: int, signal: Signal, first: bool, layout: GeneralLayout, writer: GeneralWriter) -> str:
    p = layout.projections[link]
    at = layout.own[node]
    into = f"own + {at}" if first else "g.scratch"
    lines = [
        "{",
        writer.assign(p.target, [("g.sent[i]", signal.expr)]),
        f"    RNLA_FOR(i, ROW{link} - N{p.target}) g.sent[N{p.target} + i] = 0;",
        "    RNLA_SYNC();",
        f"    matvec<N{p.source}, ROW{link}>(g.w + W_AT{link}, g.sent, {into});",
        "    RNLA_SYNC();",
    ]
    if not first:
        lines += [f"    RNLA_FOR(i, N{p.source}) own[{at} + i] += g.scratch[i];", "    RNLA_SYNC();"]
    return "\n".join([*lines, "}"])


def _pulses(settings: GeneralSettings, writer: GeneralWriter) -> list[dict[str, int]]:
    position = {name: k for k, name in enumerate(writer.variables)}
    return [
        {"channel": k, "at": position[m.channel, m.pulse.variable]}
        for k, m in enumerate(settings.form.modulators)
        if m.pulse is not None
    ]


def _recorded(plan: Plan, writer: GeneralWriter) -> list[str]:
    """Loops that keep what a recording shows of a step."""
    texts, at = [], 0
    names = writer.recorded_names
    for level in range(1, plan.top + 1):
        own = {**dict(plan.population(level).algebraic), **dict(plan.population(level).odes)}
        known = {*own, *(name for at_, name in plan.order if at_ == level)}
        targets = [
            (f"all.rec_{what}[row * N_NEURON + {at} + i]", symbol(name))
            for what, name in names.items()
            if name in known and what != "noise"
        ]
        texts.append(writer.assign(level, targets))
        at += writer.layout.sizes[level]
    noise = names.get("noise")
    top = plan.population(plan.top)
    if noise is not None and (noise == top.process or noise in dict(top.odes)):
        texts.append(writer.assign(plan.top, [("all.rec_noise[row * N_OUT + i]", symbol(noise))]))
    return texts
