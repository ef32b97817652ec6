"""Checks of [projection.NAME]: where it begins and ends, its sums, its plasticity."""

from __future__ import annotations

from collections.abc import Callable

from rnla_neuro.errors import ModelError, did_you_mean, unknown
from rnla_neuro.spec.expressions import identifiers
from rnla_neuro.spec.model import ProjectionSpec
from rnla_neuro.spec.names import Names
from rnla_neuro.spec.symbols import reserved_reason


def check_projections(
    names: Names, pulses: set[str], check_update: Callable[[Names, str, str, str], None]
) -> None:
    """Check the projections beside the chain.

    Args:
        names: All names of the model; what is read is noted there.
        pulses: Names of the neuromodulators' pulses, which synapses may read.
        check_update: Checks what an event of a channel does to the synapses of a section.

    Raises:
        ModelError: It names section and key, what is allowed there, and the nearest known name.
    """
    for name, spec in names.model.projections.items():
        section = f"projection.{name}"
        _check_sums(names, section, spec)
        own = set(names.equations[section]) | {names.roles["weight"]}
        allowed = own | _ends(names, spec) | set(names.engine("synapse")) | pulses
        for equation in names.equations[section].values():
            where = names.where(section, f"equations, {equation.left}")
            names.check(equation.text, where, allowed, section)
        read = {name: identifiers(eq.text, section) for name, eq in names.equations[section].items()}
        for channel, text in spec.on_event.items():
            if channel not in names.model.neuromodulators:
                what = f"neuromodulator channel in {names.file}: [{section}] on_event"
                raise ModelError(unknown(what, channel, names.model.neuromodulators))
            check_update(names, section, channel, text)
        for trace in set(read) - {names.roles["weight"]}:
            others = set().union(*(used for name, used in read.items() if name != trace))
            if trace not in others | names.used_in.get(f"{section}:events", set()):
                raise ModelError(f"{names.file}: [{section}] equations: nothing reads {trace!r}")
        start = set(names.engine("initial")) | set(names.engine("projection.initial"))
        names.check(spec.initial, names.where(section, "initial"), start, section)
        if spec.bias:
            names.check(spec.initial_bias, names.where(section, "initial_bias"), names.engine("initial"), section)


def _ends(names: Names, spec: ProjectionSpec) -> set[str]:
    """Names of presynaptic and postsynaptic variables."""
    pre, post = names.common(spec.source), names.common(spec.target)
    chain = {names.roles[role] for role in ("current", "drive") if role in names.roles}
    if spec.target != "interneuron":
        post = post | chain
    if spec.source != "interneuron":
        pre = pre | chain
    return {f"{name}_pre" for name in pre} | {f"{name}_post" for name in post}


def _check_sums(names: Names, section: str, spec: ProjectionSpec) -> None:
    if not spec.sums and not spec.on_event and not names.equations[section]:
        raise ModelError(f"{names.file}: [{section}]: it has no sums, so that nothing comes of it; add sums.X_post")
    chain = {key.removesuffix("_post").removesuffix("_pre") for key in names.model.sums}
    for key, text in spec.sums.items():
        where = names.where(section, f"sums.{key}")
        name = key.removesuffix("_post")
        if name == key or not name.isidentifier():
            raise ModelError(f"{where}: a sum of a projection ends in _post, for example {key}_post")
        reason = None if name in names.roles.values() else reserved_reason(name)
        if reason:
            raise ModelError(f"{where}: the name {name!r} is not allowed: {reason}")
        for target in names.sections(spec.target):
            taken = names.variables(target) | set(names.model.parameters)
            if target != "neuron.interneuron" and target != "neuron.interneuron_action":
                taken |= chain
            if name in taken:
                raise ModelError(f"{where}: {name!r} has a value in [{target}] already; take another name")
        if name not in _read(names, spec.target) and not _read_by_synapses(names, name):
            nearest = did_you_mean(name, _read(names, spec.target))
            raise ModelError(f"{where}: nothing reads {name!r} in {_listed(names, spec.target)};{nearest}".rstrip(";"))
        pre = {f"{variable}_pre" for variable in names.common(spec.source)}
        names.check(text, where, pre | {names.roles["weight"]}, "sums")


def _read_by_synapses(names: Names, name: str) -> bool:
    sections = [s for s in names.equations if s.startswith(("synapse", "projection"))]
    return any(
        f"{name}{end}" in equation.text
        for section in sections
        for equation in names.equations[section].values()
        for end in ("_post", "_pre")
    )


def _read(names: Names, place: str) -> set[str]:
    """Names that the neurons at a place read."""
    return set().union(*(names.used_in.get(section, set()) for section in names.sections(place)))


def _listed(names: Names, place: str) -> str:
    return " or ".join(f"[{section}]" for section in names.sections(place))
