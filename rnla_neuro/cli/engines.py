"""What a backend says of how it would run a network, in words and for JSON."""

from __future__ import annotations

from typing import Any

from rnla_neuro.backend import Description
from rnla_neuro.errors import BackendError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.tasks.catalogue import get


def why_not_proven(network: NetworkSpec) -> BackendError | None:
    """Return why a model is not of the proven form; None: it is."""
    try:
        _ = network.form
    except BackendError as error:
        return error
    return None


def words(run: Description, network: NetworkSpec, task: str) -> list[tuple[str, str]]:
    """Say it, a line a part."""
    rows = [*run.recognised]
    rows += [(f"falls back: {name}", reason) for name, reason in run.fallbacks]
    rows += [*run.notes]
    if run.memory:
        agents, total = len(network.seeds), sum(run.memory.values())
        where = f" of {run.memory_where} memory" if run.memory_where else ""
        parts = ", ".join(f"{name} {size(amount / agents)}" for name, amount in run.memory.items())
        rows.append(("memory of an agent", f"{size(total / agents)}: {parts}"))
        rows.append(("  in all", f"{size(total)}{where}, {agents} agent{'s' * (agents > 1)}"))
    if run.seconds is None:
        rows.append(("time", f"no estimate: {run.basis}"))
        return rows
    iterations = get(task).iterations
    each, every = duration(run.seconds), duration(run.seconds * iterations)
    whose = "" if len(network.seeds) == 1 else f" of all {len(network.seeds)} agents"
    rows.append(("time, an estimate", f"{each} a decision{whose}, without the environment"))
    rows.append(("  in all", f"{every} for the {iterations:,} decisions of {task}"))
    rows.append(("  from", run.basis))
    return rows


def as_json(run: Description, network: NetworkSpec, task: str) -> dict[str, Any]:
    """Return it for JSON; memory in bytes, times in seconds."""
    agents, total, iterations = len(network.seeds), sum(run.memory.values()), get(task).iterations
    return {
        "road": run.road,
        "recognised": [{"name": name, "text": text} for name, text in run.recognised],
        "fallbacks": [{"name": name, "reason": reason} for name, reason in run.fallbacks],
        "notes": [{"name": name, "text": text} for name, text in run.notes],
        "memory": {
            "parts": dict(run.memory),
            "total": total,
            "agent": round(total / agents),
            "agents": agents,
            "where": run.memory_where or "host",
        },
        "estimate": {
            "seconds_a_decision": run.seconds,
            "iterations": iterations,
            "seconds": None if run.seconds is None else run.seconds * iterations,
            "from": run.basis,
        },
    }


def size(amount: float) -> str:
    """Write a number of bytes.

    >>> size(512), size(1536), size(3 * 2**20)
    ('512 B', '1.5 KiB', '3.0 MiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def duration(seconds: float) -> str:
    """Write a time, with two digits: it is an estimate.

    >>> duration(1.234e-5), duration(0.0456), duration(12.3), duration(5400)
    ('12 µs', '46 ms', '12 s', '1.5 h')
    """
    for limit, unit, factor in ((1e-3, "µs", 1e6), (1.0, "ms", 1e3), (120.0, "s", 1.0), (5400.0, "min", 1 / 60)):
        if seconds < limit:
            return f"{_two_digits(seconds * factor)} {unit}"
    return f"{_two_digits(seconds / 3600)} h"


def _two_digits(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{float(f'{value:.2g}'):.0f}"
