"""What the host reads of a chip's voltages: whole numbers of a converter, with noise, within its range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnla_neuro.errors import ConfigError
from rnla_neuro.hardware.emulation.effects import Readout
from rnla_neuro.hardware.emulation.expressions import as_text, needed, replaced
from rnla_neuro.spec.equations import Equation, split_equations, split_statements
from rnla_neuro.spec.expressions import identifiers, parse, split_call
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.proof import derivative, symbol

#: Kinds of neurons at the places that [projection.*] go from and to.
_PLACES = {"hidden": ("hidden",), "above": ("hidden", "action"), "interneuron": ("interneuron", "interneuron_action")}


class Reader:
    """Puts a reading in the place of the voltage wherever it is the host that uses it.

    Args:
        model: The model.
        readout: The converter.

    Attributes:
        read: Kinds of neurons whose voltage is read.
    """

    def __init__(self, model: ModelSpec, readout: Readout) -> None:
        self._model, self._readout = model, readout
        self._voltage = model.roles["voltage"]
        self._name = f"{self._voltage}_read"
        self.read: set[str] = set()

    def _where(self, section: str) -> str:
        return f"{self._model.path.name}: [{section}] equations"

    def errors(self, kind: str, table: dict[str, Any]) -> bool:
        """Change what the host computes of a neuron: all that nothing on the chip depends on."""
        where = self._where(f"neuron.{kind}")
        equations = split_equations(table["equations"], where)
        if self._voltage not in equations:
            return False
        groups = dict(table.get("group", {}))
        on_chip = self._on_chip(kind, equations, groups, table, where)
        names = self._names(kind, where, [*(e.text for e in equations.values()), *groups.values()])
        changed = False
        lines = []
        for equation in equations.values():
            text = equation.text
            if not equation.is_ode and equation.name not in on_chip:
                text = replaced(text, names, where)
                if text != equation.text and "phi" in names:
                    text += " + 0*phi"  # which the file must go on reading
            changed |= text != equation.text
            flag = " (unless refractory)" if equation.pauses else ""
            lines.append(f"{equation.left} = {text} : {equation.unit}{flag}")
        for name, text in groups.items():
            if name not in on_chip:
                groups[name] = replaced(text, {self._voltage: self._name}, where)
                changed |= groups[name] != text
        if changed:
            table["equations"] = "\n".join(lines) + "\n"
            if groups:
                table["group"] = groups
            self.read.add(kind)
        return changed

    def _names(self, kind: str, where: str, texts: list[str]) -> dict[str, str]:
        """Return what stands in the place of the voltage, the rate function and its derivative."""
        names = {self._voltage: self._name}
        phi = self._model.neurons[kind].phi
        used = {name for text in texts for name in identifiers(text, where)}
        if phi is None or not used & {"phi", "phi_prime"}:
            return names
        own = symbol(self._voltage)
        rate = parse(phi, where, symbol)
        at = {own: symbol(self._name)}
        slope = as_text(derivative(rate, own).xreplace(at))
        if slope is None:
            raise ConfigError(
                f"{self._model.path.name}: [neuron.{kind}] phi = {phi!r}: the model cannot be emulated with a readout "
                "because the derivative of phi cannot be written as a string; way out: --chip-off readout"
            )
        return names | {"phi": f"({replaced(phi, names, where)})", "phi_prime": f"({slope})"}

    def _on_chip(
        self,
        kind: str,
        equations: Mapping[str, Equation],
        groups: Mapping[str, str],
        table: Mapping[str, Any],
        where: str,
    ) -> set[str]:
        """Return the names of a section that states, spikes and rates depend on."""
        roles = self._model.roles
        reads = {name: identifiers(one.text, where) for name, one in equations.items()}
        for name, text in groups.items():
            call = split_call(text, where)
            reads[name] = identifiers(call[1][0] if call is not None else text, where)
        start = {name for one in equations.values() if one.is_ode for name in reads[one.name]}
        start |= {roles[role] for role in ("rate", "prospective_rate") if role in roles}
        if "threshold" in table:
            start |= identifiers(table["threshold"], where)
            for statement in split_statements(table.get("reset", ""), where):
                start |= identifiers(statement.text, where)
        return needed(start, reads)

    def traces(self, table: dict[str, Any], name: str) -> bool:
        """Change the voltages that a projection's traces use."""
        chain = name in ("hidden", "action")
        text = table.get("equations", "")
        where = self._where(f"{'synapse' if chain else 'projection'}.{name}")
        ends = {"_post": (name,) if chain else _PLACES[table["to"]], "_pre": () if chain else _PLACES[table["from"]]}
        names = {f"{self._voltage}{end}": f"{self._name}{end}" for end, kinds in ends.items() if kinds}
        lines, changed = [], False
        for equation in split_equations(text, where).values():
            made = replaced(equation.text, names, where)
            for end, kinds in ends.items():
                if f"{self._voltage}{end}" in names and f"{self._voltage}{end}" in identifiers(equation.text, where):
                    self.read |= {kind for kind in kinds if kind in self._model.neurons}
                    changed = True
            lines.append(f"{equation.left} = {made} : {equation.unit}")
        if changed:
            table["equations"] = "\n".join(lines) + "\n"
        return changed

    def define(self, kind: str, table: dict[str, Any]) -> None:
        """Add the reading to a neuron's equations.

        The noise is uniform, of the standard deviation of the platform: the lower half of the bits of ``chance``, whose
        upper half a threshold may use.
        """
        r = self._readout
        value = f"({self._voltage} - ({r.low!r}))/{r.step!r}"
        if r.noise > 0:
            spread = r.noise / r.step * 12**0.5
            value += f" + {spread!r}*(4096*chance - floor(4096*chance) - 0.5)"
        most = (r.high - r.low) / r.step
        line = f"{self._name} = {r.low!r} + {r.step!r}*floor(clip({value}, 0, {most!r}) + 0.5) : 1"
        table["equations"] = table["equations"].rstrip() + "\n" + line + "\n"
