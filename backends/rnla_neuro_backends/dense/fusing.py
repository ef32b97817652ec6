"""Which runners of a projection are done in one pass over the synapses."""

from __future__ import annotations

from typing import Any

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import Network
from brian2.core.network import _get_all_objects


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
    earlier one sums up is not used by the later one: the sums are complete only after the pass.
    """
    synapses = runner.group
    if not (synapses.fuse and runner.fusable):
        return [runner]
    network = network_of(synapses)
    if network is None:
        return [runner]
    groups: list[list[Any]] = []
    separated = True
    for obj in network.sorted_objects:
        if not obj.active or not (obj.code_objects or getattr(obj, "template", None) or hasattr(obj, "function")):
            continue  # a group by itself does nothing in a step
        ours = getattr(obj, "fusable", False) and obj.group.id == synapses.id
        if not ours:
            separated = True
            continue
        if not separated and _may_join(groups[-1], obj):
            groups[-1].append(obj)
        else:
            groups.append([obj])
        separated = False
    for group in groups:
        if runner in group:
            return group if group[0] is runner else []
    return [runner]


def _may_join(group: list[Any], new: Any) -> bool:
    """Whether it makes no difference if sums are set to zero before, and complete only after the pass."""
    if new.clock is not group[0].clock:
        return False
    variables = new.group.variables

    def ids(names: set[str]) -> set[int]:
        return {id(variables[name]) for name in names}

    used = set().union(*(ids(member.read() | member.written()) for member in group))
    sums = set().union(*(ids(member.sums()) for member in group))
    return not sums & ids(new.read() | new.written()) and not ids(new.sums()) & used
