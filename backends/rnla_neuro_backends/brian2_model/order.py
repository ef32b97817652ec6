"""Orders all sums of a network, so that each is formed after those it needs."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from rnla_neuro.errors import BackendError
from rnla_neuro.spec.expressions import identifiers
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.populations import Population, Projection
from rnla_neuro_backends.brian2_model.strings import NeuronStrings

#: A summed variable or a reduction: number of the population (0 is the input) and name.
Node = tuple[int, str]


def update_order(
    model: ModelSpec, chain: Sequence[Population], links: Sequence[Projection], strings: Sequence[NeuronStrings]
) -> tuple[list[Node], set[Node]]:
    """Order all sums so that each is formed after those it needs: no latency from layer to layer.

    Args:
        model: The model.
        chain: All populations.
        links: All projections.
        strings: The equations of each population.

    Returns:
        The order, and those that wait for the noise and the input of the next step (input currents of what is sent
        before it has settled, and what depends on them); all others are functions of the present state.

    Raises:
        BackendError: Some sums need each other.
    """
    needs: dict[Node, list[Node]] = {}
    for link in links:
        for name, text in link.sums.items():
            needs.setdefault((link.post, name), []).extend(_ends(text, link.pre, link.post))
        for name, text in link.feedback.items():
            needs.setdefault((link.pre, name), []).extend(_ends(text, link.pre, link.post))
    for number, population in enumerate(chain):
        for name in population.spec.group:
            needs[number, name] = [(number, f"rnla_{name}_of")]

    def expand(node: Node, seen: set[Node]) -> set[Node]:
        if node in needs:
            return {node}
        if node in seen:
            return set()
        seen.add(node)
        level, name = node
        return set().union(*(expand((level, used), seen) for used in strings[level].uses.get(name, ())))

    def waits(node: Node, seen: set[Node]) -> bool:
        """Whether something is a function of what is not there yet: a difference to the step before, moving noise."""
        level, name = node
        if name.endswith("_prev") or (name == strings[level].process and not _held(model, name)):
            return True
        if node in seen or node in needs:
            return False
        seen.add(node)
        return any(waits((level, used), seen) for used in strings[level].uses.get(name, ()))

    graph = {node: set().union(*(expand(end, set()) for end in ends)) for node, ends in needs.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(f"{name} of layer {level}" for level, name in error.args[1])
        raise BackendError(
            f"to_brian2 cannot run {model.path.name}: these sums need each other: {circle}; "
            "the explicit form passes errors directly from layer to layer"
        ) from None
    late: set[Node] = set()
    for node in order:
        current = node[1] == model.roles["current"] and any(waits(end, set()) for end in needs[node])
        if current or graph[node] & late:
            late.add(node)
    return order, late


def _held(model: ModelSpec, process: str) -> bool:
    """Whether what is set from outside jumps at the start of a step, and not where moving noise does."""
    law = model.exploration.law
    return law != "ornstein-uhlenbeck" and process in ("target", model.roles.get("noise"))


def _ends(text: str, pre: int, post: int) -> list[Node]:
    found: list[Node] = []
    for name in sorted(identifiers(text, "sums")):
        base, _, side = name.rpartition("_")
        if side in ("pre", "post"):
            found.append((pre if side == "pre" else post, base))
    return found
