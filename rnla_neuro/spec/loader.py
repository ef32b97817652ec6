"""Reads a model file: TOML, completeness, parameters, names, roles, units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnla_neuro import toml_files
from rnla_neuro.errors import ModelError, shown, unknown
from rnla_neuro.spec.cells import read_cells
from rnla_neuro.spec.checks import check_names
from rnla_neuro.spec.equations import split_constants
from rnla_neuro.spec.model import (
    ExplorationSpec,
    ModelSpec,
    NeuromodulatorSpec,
    NeuronSpec,
    ProjectionSpec,
    SynapseSpec,
)
from rnla_neuro.spec.parameters import (
    TRIAL_KEYS,
    apply_overrides,
    as_text,
    make_parameters,
    make_trial,
    refuse_long_lines,
)
from rnla_neuro.spec.symbols import HOLDS, KINDS, LAWS, OPTIONAL_ROLES, PLACES, ROLES
from rnla_neuro.spec.units import check_units_cached

Table = dict[str, Any]


class _Section:
    """One table of the file, with what its messages need."""

    def __init__(self, file: str, name: str, table: Any):
        self.file, self.name = file, name
        if not isinstance(table, dict):
            raise ModelError(f"{file}: [{name}] is {shown(table)}, not a section with keys")
        self.table: Table = table

    @property
    def where(self) -> str:
        return f"{self.file}: [{self.name}]" if self.name else self.file

    def keys(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
        """Refuse unknown and missing keys."""
        what = f"key in {self.where}" if self.name else f"section in {self.file}"
        for key in self.table:
            if key not in required and key not in optional:
                raise ModelError(unknown(what, key, [*required, *optional]))
        for key in required:
            if key not in self.table:
                raise ModelError(f"{self.where}: {key!r} is missing; required: {', '.join(required)}")

    def sub(self, key: str) -> _Section:
        return _Section(self.file, f"{self.name}.{key}" if self.name else key, self.table[key])

    def text(self, key: str, default: str | None = None) -> str:
        value = self.table.get(key, default)
        if not isinstance(value, str) or (not value.strip() and default is None):
            raise ModelError(f"{self.where} {key} = {shown(value)} is not a text")
        refuse_long_lines(value, f"{self.where} {key}")
        return value

    def texts(self, key: str) -> dict[str, str]:
        """A sub-table of texts, empty if absent."""
        if key not in self.table:
            return {}
        section = self.sub(key)
        return {name: section.text(name) for name in section.table}

    def expressions(self) -> dict[str, str]:
        return {key: as_text(value, f"{self.where} {key}") for key, value in self.table.items()}


#: Keys of a neuron's section: those that it must have, and those that it may have.
_NEURONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "input": (("equations",), ()),
    "hidden": (("phi", "equations"), ()),
    "action": (("equations",), ("phi", "group")),
    "interneuron": (("equations",), ("phi", "group")),
    "interneuron_action": (("equations",), ("phi", "group")),
}
_SPIKING = ("threshold", "reset", "refractory")


def _constants(section: _Section) -> tuple[dict[str, str], str]:
    """Read what each neuron has a value of its own of, and the other equations."""
    names, equations = split_constants(section.text("equations"), f"{section.where} equations")
    initial = section.sub("initial").expressions() if "initial" in section.table else {}
    for name in names:
        if name not in initial:
            raise ModelError(f'{section.where}: initial.{name} is missing: the value of the constant, such as "1"')
    for name in initial:
        if name not in names:
            key, known = f"{section.where} initial.{name}", unknown("constant", name, names)
            raise ModelError(f"{key}: {known}; '{name} : 1 (constant)' in equations declares one")
    return initial, equations


def _neuron(section: _Section, kind: str, required: tuple[str, ...], optional: tuple[str, ...]) -> NeuronSpec:
    if kind == "spiking":
        section.keys((), (*required, *optional, *_SPIKING, "initial"))
        if "threshold" in section.table:
            required = (*required, "threshold", "reset")
            optional = (*optional, "refractory")
        for key in _SPIKING:
            if key in section.table and key not in required + optional:
                raise ModelError(f"{section.where} {key}: a neuron without a threshold has none; add threshold")
    elif any(key in section.table for key in _SPIKING):
        key = next(key for key in _SPIKING if key in section.table)
        raise ModelError(f'{section.where} {key}: only neurons of a model with kind = "spiking" spike')
    section.keys(required, (*optional, "initial"))
    constants, equations = _constants(section)
    given = {key: section.text(key) for key in ("phi", *_SPIKING) if key in section.table}
    return NeuronSpec(
        given.get("phi"),
        equations,
        section.texts("group"),
        given.get("threshold"),
        given.get("reset", ""),
        given.get("refractory"),
        constants,
    )


def _neurons(section: _Section, kind: str) -> dict[str, NeuronSpec]:
    """Read [neuron.*]."""
    section.keys(("input", "hidden", "action"), ("interneuron", "interneuron_action"))
    if "interneuron_action" in section.table and "interneuron" not in section.table:
        raise ModelError(
            f"{section.file}: [neuron.interneuron] is missing; [neuron.interneuron_action] only stands for it beside "
            "the last hidden layer"
        )
    found = {name: _neuron(section.sub(name), kind, *_NEURONS[name]) for name in _NEURONS if name in section.table}
    if kind == "spiking" and all(spec.threshold is None for spec in found.values()):
        raise ModelError(
            f'{section.file}: [model] kind = "spiking", but no neuron has a threshold; add threshold and reset to a '
            'neuron, or write kind = "rate"'
        )
    return found


def _projection(section: _Section, populations: tuple[str, ...]) -> ProjectionSpec:
    """Read [projection.NAME]."""
    section.keys(("from", "to", "initial"), ("sums", "equations", "on_event", "bias", "initial_bias"))
    for key in ("from", "to"):
        if section.text(key) not in populations:
            what = f"{section.where} {key}"
            raise ModelError(f"{what}: {unknown('population', section.text(key), populations)}")
    bias = section.table.get("bias", False)
    if not isinstance(bias, bool):
        raise ModelError(f"{section.where} bias = {shown(bias)}: allowed are true and false")
    if bias != ("initial_bias" in section.table):
        missing = "initial_bias is missing" if bias else "without bias = true there is no initial_bias"
        raise ModelError(f"{section.where}: {missing}")
    return ProjectionSpec(
        section.text("equations", ""),
        section.texts("on_event"),
        as_text(section.table["initial"], f"{section.where} initial"),
        as_text(section.table.get("initial_bias", "0"), f"{section.where} initial_bias"),
        section.text("from"),
        section.text("to"),
        section.texts("sums"),
        bias,
    )


def _projections(root: _Section, has_interneurons: bool) -> dict[str, ProjectionSpec]:
    if "projection" not in root.table:
        return {}
    section = root.sub("projection")
    populations = tuple(name for name in PLACES if name != "interneuron" or has_interneurons)
    for name in section.table:
        if name in ("hidden", "action") or not name.isidentifier():
            raise ModelError(f"{section.file}: [projection.{name}]: this name is not allowed; take another")
    return {name: _projection(section.sub(name), populations) for name in section.table}


def _synapse(section: _Section) -> SynapseSpec:
    section.keys(("initial", "initial_bias", "equations"), ("on_event",))
    return SynapseSpec(
        section.text("equations"),
        section.texts("on_event"),
        as_text(section.table["initial"], f"{section.where} initial"),
        as_text(section.table["initial_bias"], f"{section.where} initial_bias"),
    )


def _neuromodulator(section: _Section) -> NeuromodulatorSpec:
    section.keys(("on_event",), ("equations", "initial"))
    initial = section.sub("initial").expressions() if "initial" in section.table else {}
    return NeuromodulatorSpec(section.text("equations", ""), section.text("on_event"), initial)


def _exploration(section: _Section) -> ExplorationSpec:
    section.keys(("law", "policy", "decision"), ("hold", "scale", "tau"))
    law = section.text("law")
    if law not in LAWS:
        raise ModelError(f"{section.where} law: {unknown('exploration law', law, LAWS)}")
    needed = {"none": (), "ornstein-uhlenbeck": ("hold", "scale", "tau")}.get(law, ("hold", "scale"))
    for key in ("hold", "scale", "tau"):
        if key in needed and key not in section.table:
            raise ModelError(f"{section.where}: {key!r} is missing; law {law!r} needs {', '.join(needed)}")
        if key not in needed and key in section.table:
            used = ", ".join(needed) or "nothing"
            raise ModelError(f"{section.where} {key}: law {law!r} does not use it; it uses {used}")
    hold = section.text("hold", HOLDS[law])
    if hold != HOLDS[law]:
        raise ModelError(f"{section.where} hold = {hold!r}: law {law!r} allows {HOLDS[law]!r}")
    scale = as_text(section.table.get("scale", "0"), f"{section.where} scale")
    tau = as_text(section.table["tau"], f"{section.where} tau") if "tau" in section.table else None
    return ExplorationSpec(law, hold, scale, tau, section.text("policy"), section.text("decision"))


def _roles(section: _Section, law: str) -> dict[str, str]:
    optional = OPTIONAL_ROLES | ({"noise"} if law == "none" else set())
    section.keys(tuple(role for role in ROLES if role not in optional), tuple(sorted(optional)))
    names = {role: section.text(role) for role in section.table}
    for role, name in names.items():
        if not name.isidentifier():
            raise ModelError(f"{section.where} {role} = {shown(name)} is not the name of a variable")
    return names


def _root(text: str, file: str) -> _Section:
    return _Section(file, "", toml_files.parse(text, file, ModelError))


def _head(section: _Section) -> dict[str, str]:
    """Read [model]."""
    section.keys(("name", "kind", "summary"), ("source",))
    if section.text("kind") not in KINDS:
        raise ModelError(f"{section.where} kind: {unknown('kind of model', section.text('kind'), KINDS)}")
    return {key: section.text(key, "" if key == "source" else None) for key in ("name", "kind", "summary", "source")}


_SECTIONS = ("model", "parameters", "trial", "neuron", "synapse", "neuromodulator", "exploration", "roles")


def parse_model(text: str, path: Path, overrides: Mapping[str, str] | None = None) -> ModelSpec:
    """Read a model from its text; everything is checked except the units of the equations.

    Args:
        text: The TOML text.
        path: Where it comes from, for messages.
        overrides: Expressions that replace parameters or times of [trial].

    Raises:
        ModelError: The text is not a complete, consistent model.
        ConfigError: An override has an unknown name or a wrong unit.
    """
    file = path.name
    root = _root(text, file)
    root.keys(_SECTIONS, ("projection", "pynn"))
    head = _head(root.sub("model"))
    trial_section = root.sub("trial")
    trial_section.keys(("T", "dt", "ramp", "decision"), ("gate",))
    trial = {key: trial_section.expressions()[key] for key in TRIAL_KEYS if key in trial_section.table}
    parameters = root.sub("parameters").expressions()
    values = apply_overrides(file, parameters, trial, overrides or {})
    synapse, channels = root.sub("synapse"), root.sub("neuromodulator")
    neurons = _neurons(root.sub("neuron"), head["kind"])
    synapse.keys(("sums", "hidden", "action"))
    if not channels.table:
        raise ModelError(f"{file}: [neuromodulator] has no channel; add [neuromodulator.reward]")
    exploration = _exploration(root.sub("exploration"))
    sums = synapse.sub("sums")
    model = ModelSpec(
        **head,
        path=path,
        parameters=make_parameters(values, parameters),
        trial=make_trial(values),
        input=neurons["input"],
        hidden=neurons["hidden"],
        action=neurons["action"],
        sums={key: sums.text(key) for key in sums.table},
        synapse_hidden=_synapse(synapse.sub("hidden")),
        synapse_action=_synapse(synapse.sub("action")),
        neuromodulators={name: _neuromodulator(channels.sub(name)) for name in channels.table},
        exploration=exploration,
        roles=_roles(root.sub("roles"), exploration.law),
        text=text,
        overrides=dict(overrides or {}),
        interneuron=neurons.get("interneuron"),
        interneuron_action=neurons.get("interneuron_action"),
        projections=_projections(root, "interneuron" in neurons),
        cells=read_cells(file, root.table["pynn"]) if "pynn" in root.table else None,
    )
    check_names(model, has_gate="gate" in trial, read_by_values=values.read)
    return model


def _find(name_or_path: str | Path) -> Path:
    from rnla_neuro import resources

    return toml_files.find(name_or_path, "model", ModelError, resources.models_dir(), available_models())


def available_models() -> tuple[str, ...]:
    """Names of the packaged models, sorted."""
    from rnla_neuro import resources

    return tuple(sorted(path.stem for path in resources.models_dir().glob("*.toml")))


def load_model(name_or_path: str | Path, overrides: Mapping[str, str] | None = None) -> ModelSpec:
    """Load and check a model file.

    Args:
        name_or_path: Name of a packaged model (``"rate_nla"``), or the path of a file (anything with a
            ``/`` or ending in ``.toml``).
        overrides: Expressions that replace parameters or times of [trial], for example
            ``{"eta": "0.1", "T": "50*ms"}``; ``"50ms"`` is understood too.

    Raises:
        ModelError: No such model, or the file is incomplete, inconsistent or has wrong units.
        ConfigError: An override has an unknown name or a wrong unit.
    """
    path = _find(name_or_path)
    model = parse_model(toml_files.read_text(path, "model", ModelError), path, overrides)
    check_units_cached(model)
    return model
