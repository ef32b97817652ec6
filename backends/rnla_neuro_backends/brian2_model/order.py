"""Orders all sums of a network, so that each is formed after those it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    needs = _needs(chain, links)
    inside = _Inside(model, strings, needs)
    graph = {node: set().union(*(inside.sums(end, set()) for end in ends)) for node, ends in needs.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(f"{name} of {chain[number].name}" for number, name in error.args[1])
        raise BackendError(
            f"to_brian2 cannot run {model.path.name}: these sums need each other: {circle}; "
            "the explicit form passes errors directly from layer to layer"
        ) from None
    late: set[Node] = set()
    for node in order:
        current = node[1] == model.roles["current"] and any(inside.waits(end, set()) for end in needs[node])
        if current or graph[node] & late:
            late.add(node)
    return order, late


def _needs(chain: Sequence[Population], links: Sequence[Projection]) -> dict[Node, list[Node]]:
    """Return what each sum and reduction is formed of."""
    needs: dict[Node, list[Node]] = {}
    for link in links:
        for name, text in link.sums.items():
            needs.setdefault((link.post, name), []).extend(_ends(text, link.pre, link.post))
        for name, text in link.feedback.items():
            needs.setdefault((link.pre, name), []).extend(_ends(text, link.pre, link.post))
    for number, population in enumerate(chain):
        for name in population.spec.group:
            needs[number, name] = [(number, f"rnla_{name}_of")]
    return needs


class _Inside:
    """Looks into the variables of neurons: what a variable is a function of, down to the state."""

    def __init__(self, model: ModelSpec, strings: Sequence[NeuronStrings], needs: Mapping[Node, list[Node]]) -> None:
        self._model, self._strings, self._needs = model, strings, needs

    def _uses(self, node: Node) -> list[Node]:
        number, name = node
        return [(number, used) for used in self._strings[number].uses.get(name, ())]

    def sums(self, node: Node, seen: set[Node]) -> set[Node]:
        """Return the sums and reductions that a variable needs; a sum is one itself."""
        if node in self._needs:
            return {node}
        if node in seen:
            return set()
        seen.add(node)
        return set().union(*(self.sums(used, seen) for used in self._uses(node)))

    def waits(self, node: Node, seen: set[Node]) -> bool:
        """Whether something is a function of what is not there yet: a difference to the step before, moving noise."""
        number, name = node
        if name.endswith("_prev") or (name == self._strings[number].process and not _held(self._model, name)):
            return True
        if node in seen or node in self._needs:
            return False
        seen.add(node)
        return any(self.waits(used, seen) for used in self._uses(node))


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
