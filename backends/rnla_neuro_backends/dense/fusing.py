"""Which runners of a projection are done in one pass over the synapses."""

from __future__ import annotations

from typing import Any, NamedTuple

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import Network
from brian2.core.base import BrianObject
from brian2.core.network import _get_all_objects


class Finding(NamedTuple):
    """What was done with a part of a projection, and why."""

    what: str
    reason: str


def network_of(obj: Any) -> Any | None:
    """Return the one network that runs an object, or None where several could."""
    networks = [found for found in (ref() for ref in Network.__instances__()) if found is not None]
    if obj._network is not None:
        return next((net for net in networks if net.id == obj._network), None)
    holding = [net for net in networks if any(one.id == obj.id for one in _get_all_objects(net.objects))]
    return holding[0] if len(holding) == 1 else None


def together(runner: Any) -> list[Any]:
    """Return the runners whose work is done when `runner` is run; none if it is done by one before it.

    Two runners of a projection that follow each other on the same clock are done in one pass, if what the
    earlier one sums up is not used by the later one: the sums are complete only after the pass. The projection
    is told (`findings`) what was done and why.
    """
    if not runner.fusable:
        return [runner]
    synapses = runner.group
    for group, reason in _passes(synapses):
        if any(member.name == runner.name for member in group):
            if group[0].name != runner.name:
                synapses.findings.pop(runner.name, None)
                return []
            names = ", ".join(member.what for member in group)
            synapses.findings[runner.name] = Finding(f"one pass: {names}", reason)
            return group
    return [runner]


def _passes(synapses: Any) -> list[tuple[list[Any], str]]:
    """Return all fusable runners by pass, each with the reason why it does not belong to the one before."""
    ours = [runner for runner in synapses.contained_objects if runner.fusable and runner.active and runner.written()]
    if not synapses.fuse:
        return [([runner], "fuse=False") for runner in ours]
    network = network_of(synapses)
    if network is None:
        return [([runner], "it is not known which network runs it") for runner in ours]
    passes: list[tuple[list[Any], str]] = []
    between = None
    for obj in network.sorted_objects:
        if not any(runner.name == obj.name for runner in ours):
            between = obj.name if obj.active and _acts(obj) else between
            continue
        reason = "the first of the step"
        if passes:
            reason = f"{between!r} stands before it" if between is not None else _conflict(passes[-1][0], obj)
        if not passes or reason:
            passes.append(([obj], reason))
        else:
            passes[-1][0].append(obj)
        between = None
    return passes


def _acts(obj: Any) -> bool:
    """Whether an object does something in a time step; a group by itself does not."""
    return bool(obj.code_objects) or hasattr(obj, "template") or type(obj).run is not BrianObject.run


def _conflict(group: list[Any], new: Any) -> str:
    """Return why a pass cannot take one more: sums are zero at its beginning, and complete only after it."""
    if new.clock is not group[0].clock:
        return "it has another clock"
    variables = new.group.variables

    def ids(names: set[str]) -> dict[int, str]:
        return {id(variables[name]): name for name in names}

    uses = ids(new.read() | new.written())
    sums = ids(new.sums())
    for member in group:
        for key in ids(member.sums()).keys() & uses.keys():
            return f"it uses {uses[key]!r}, which is complete only after the pass"
        for key in ids(member.read() | member.written()).keys() & sums.keys():
            return f"{sums[key]!r} is used before it is summed up anew"
    return ""
