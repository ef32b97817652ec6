"""[pynn]: how plain integrate-and-fire cells play a model's neurons; and the model that they play, in strings again.

Cells of PyNN know a membrane, synaptic currents that decay, a threshold, and no more. Where a model's neurons do
something else (an escape noise, a polynomial of the input, a softmax), the section says which line is meant, and by
what line cells do it. The line that is meant is quoted, and so are parameters that only stood there: after a change of
either of them the section no longer fits, and is refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomli_w

from rnla_neuro.errors import BackendError, ModelError, shown, unknown
from rnla_neuro.spec.equations import split_equations

if TYPE_CHECKING:
    from rnla_neuro.spec.model import ModelSpec

_KEYS = ("membrane", "steps", "instead", "parameters", "hidden", "action")
_WHOLE = ("phi", "threshold", "reset", "refractory")  # keys of a neuron's section that are one text


@dataclass(frozen=True)
class Line:
    """A line of a neuron's section.

    Attributes:
        instead_of: The text that it takes the place of; None: it is new.
        takes: What cells do; None: the line goes.
    """

    instead_of: str | None
    takes: str | None


@dataclass(frozen=True)
class CellsSpec:
    """What [pynn] says.

    Attributes:
        membrane: The variable that is a cell's membrane.
        steps: Steps of a simulator in one [trial] dt.
        instead: Parameters, with the texts that they had when the section was written, that are changed or go.
        parameters: Parameters that are new or take the place of others.
        lines: By kind of neuron and name of a variable (or key): the line.
    """

    membrane: str
    steps: int
    instead: Mapping[str, str]
    parameters: Mapping[str, str]
    lines: Mapping[str, Mapping[str, Line]]


def read_cells(file: str, table: Any) -> CellsSpec:
    """Read [pynn].

    Raises:
        ModelError: It names the key, what is allowed, and the nearest known name.
    """
    where = f"{file}: [pynn]"
    if not isinstance(table, dict):
        raise ModelError(f"{where} is {shown(table)}, not a section with keys")
    for key in table:
        if key not in _KEYS:
            raise ModelError(unknown(f"key in {where}", key, _KEYS))
    membrane, steps = table.get("membrane"), table.get("steps", 1)
    if not isinstance(membrane, str):
        raise ModelError(
            f"{where} membrane = {shown(membrane)}: expected the name of the variable that is a cell's membrane"
        )
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= 1000:
        raise ModelError(f"{where} steps = {shown(steps)}: expected a whole number from 1 to 1000")
    return CellsSpec(
        membrane,
        steps,
        _texts(table.get("instead", {}), f"{file}: [pynn.instead]"),
        _texts(table.get("parameters", {}), f"{file}: [pynn.parameters]"),
        {kind: _lines(table.get(kind, {}), f"{file}: [pynn.{kind}]") for kind in ("hidden", "action")},
    )


def _texts(table: Any, where: str) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise ModelError(f"{where}: expected texts by name")
    return dict(table)


def _lines(table: Any, where: str) -> dict[str, Line]:
    if not isinstance(table, dict):
        raise ModelError(f"{where} is {shown(table)}, not a section with keys")
    found = {}
    for name, line in table.items():
        if not isinstance(line, dict) or not line:
            raise ModelError(f'{where} {name} = {shown(line)}: expected {{ instead_of = "…", takes = "…" }}')
        for key in line:
            if key not in ("instead_of", "takes"):
                raise ModelError(unknown(f"key in {where} {name}", key, ("instead_of", "takes")))
        found[name] = Line(line.get("instead_of"), line.get("takes"))
    return found


def as_cells(model: ModelSpec) -> ModelSpec:
    """Return what cells do of a model, as a model without [pynn]: every engine for spikes can run it.

    Raises:
        BackendError: The model has no [pynn], or a line or parameter is no longer what the section was written for.
    """
    from rnla_neuro.spec.loader import parse_model
    from rnla_neuro.spec.perturbation import drop_unread
    from rnla_neuro.spec.units import check_units_cached

    spec, file = model.cells, model.path.name
    if spec is None:
        raise BackendError(
            f"backend 'pynn' cannot run model {model.name!r}: {file} has no section [pynn], which says how "
            "integrate-and-fire cells play its neurons (docs/pynn.md); spiking_lif_nla has one"
        )
    data = tomllib.loads(model.text)
    data.pop("pynn")
    for kind, lines in spec.lines.items():
        _put(data["neuron"][kind], lines, f"{file}: [pynn.{kind}]", f"[neuron.{kind}]")
    before = dict(data["parameters"])
    data["parameters"] = {**before, **{k: v for k, v in spec.parameters.items() if k in before or _used(k, data, spec)}}
    data["model"]["name"] = f"{model.name}_cells"
    drop_unread(data)
    gone = [name for name in before if data["parameters"].get(name) != before[name]]
    _check_instead(model, spec, gone)
    overrides = {name: text for name, text in model.overrides.items() if name not in gone}
    twin = parse_model(tomli_w.dumps(data, multiline_strings=True), model.path, overrides)
    check_units_cached(twin)
    return twin


def _used(name: str, data: Mapping[str, Any], spec: CellsSpec) -> bool:
    """Whether anything reads a new parameter."""
    texts = [str(data["neuron"]), str(data["synapse"]), *spec.parameters.values()]
    return any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts)


def _check_instead(model: ModelSpec, spec: CellsSpec, gone: list[str]) -> None:
    """Refuse parameters that would be ignored with another value than the section was written for."""
    for name in gone:
        where = f"{model.path.name}: [pynn.instead] {name}"
        was, now = spec.instead.get(name), model.parameters[name]
        if was is None:
            raise BackendError(
                f"{where} is missing: cells do not use [parameters] {name}; say at which value the section was measured"
            )
        if _plain(was) != _plain(now.text):
            raise BackendError(
                f"{where} = {was!r}: [parameters] {name} is {now.text!r} now. Cells do not use it: what [pynn] says in "
                "its place was measured at the value quoted there. Measure again (docs/pynn.md), or leave it"
            )


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _put(table: dict[str, Any], lines: Mapping[str, Line], where: str, section: str) -> None:
    """Put lines into a neuron's section, in place."""
    equations = split_equations(table["equations"], f"{section} equations")
    texts = {name: equation.text for name, equation in equations.items()}
    written = {
        name: f"{e.left} = {e.text} : {e.unit}" + (" (unless refractory)" if e.pauses else "")
        for name, e in equations.items()
    }
    for key, line in lines.items():
        group = key.removeprefix("group.") if key.startswith("group.") else None
        ode = re.fullmatch(r"d(\w+)/dt", key)
        name = ode[1] if ode else key
        if group is not None:
            present = table.setdefault("group", {}).get(group)
        else:
            present = table.get(key) if key in _WHOLE else texts.get(name)
        _check_quote(line, present, f"{where} {key}", section)
        if group is not None:
            _set(table["group"], group, line.takes)
        elif key in _WHOLE:
            _set(table, key, line.takes)
        else:
            _set(written, name, None if line.takes is None else f"{key} = {line.takes} : 1")
    table["equations"] = "\n".join(written.values()) + "\n"


def _set(table: dict[str, Any], key: str, value: str | None) -> None:
    if value is None:
        del table[key]
    else:
        table[key] = value


def _check_quote(line: Line, present: str | None, where: str, section: str) -> None:
    if line.instead_of is None and present is None:
        return
    if line.instead_of is None or present is None or _plain(line.instead_of) != _plain(present):
        has = "no such line" if present is None else repr(present.strip())
        raise BackendError(
            f"{where}: it stands for {line.instead_of!r}, and {section} has {has}: what cells do in its place was "
            "written for the line that is quoted. Write and measure it anew for yours (docs/pynn.md)"
        )
