"""Checks the units of a model file with Brian2's own parser, in milliseconds and without a run.

No Brian2 group is made (a group would allocate arrays on the active device); only Brian2's equation
parser and its functions on expressions are used, so nothing global changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.core.variables import Variable
from brian2.equations.equations import EquationError, Equations, dimensions_and_type_from_string
from brian2.equations.unitcheck import check_dimensions
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.units.allunits import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, DimensionMismatchError

from rnla_neuro.errors import ModelError, unknown
from rnla_neuro.spec.equations import split_equations, split_statements
from rnla_neuro.spec.expressions import identifiers, split_call
from rnla_neuro.spec.model import ModelSpec, NeuromodulatorSpec, NeuronSpec, ProjectionSpec, SynapseSpec
from rnla_neuro.spec.quantities import normalise
from rnla_neuro.spec.symbols import REDUCTIONS, engine_names, engine_place

Dims = dict[str, Dimension]
T = TypeVar("T")

_TIME: Dimension = second.dim
_LONG = {"s": "second", "V": "volt", "A": "amp", "S": "siemens", "F": "farad", "C": "coulomb", "m": "metre"}


def check_units(model: ModelSpec) -> None:
    """Check that every line of a model file has consistent units and only known names.

    Args:
        model: The model file's contents.

    Raises:
        ModelError: Units do not fit, a name is unknown, or Brian2 cannot read a line. The message names
            the file, the section and the line, and gives Brian2's reason.
    """
    _Check(model).run()


class _Check:
    """The names of a model with their dimensions, and one method per section."""

    def __init__(self, model: ModelSpec) -> None:
        self.model = model
        self.base: Dims = {"t": _TIME, "dt": _TIME, "T": _TIME, "pi": DIMENSIONLESS, "inf": DIMENSIONLESS}
        for parameter in model.parameters.values():
            where = self.where("parameters", parameter.name)
            self.base[parameter.name] = self.unit(where, parameter.unit)
        self.neurons = {
            kind: self.supplied(engine_place(f"neuron.{kind}"))
            | self.declared(f"neuron.{kind}", neuron.equations)
            | dict.fromkeys(neuron.constants, DIMENSIONLESS)
            for kind, neuron in model.neurons.items()
        }
        self.modulators: Dims = {}

    def where(self, section: str, key: str) -> str:
        return f"{self.model.path.name}: [{section}] {key}"

    def run(self) -> None:
        """Check section by section, in an order in which units become known."""
        self.parameters()
        self.sums()
        self.projected()
        for kind, names in self.neurons.items():
            self.neuron(f"neuron.{kind}", self.model.neurons[kind], names)
        for channel, spec in self.model.neuromodulators.items():
            self.modulator(f"neuromodulator.{channel}", spec)
        # With no hidden layer the action layer hears the input, and every hidden neuron may hear either.
        for kind, spec_ in (("hidden", self.model.synapse_hidden), ("action", self.model.synapse_action)):
            for pre in ("input", "hidden"):
                self.synapse(f"synapse.{kind}", spec_, self.neurons[pre], self.neurons[kind])
        for name, projection in self.model.projections.items():
            for pre, post in self.pairs(projection):
                self.synapse(f"projection.{name}", projection, self.neurons[pre], self.neurons[post])
        self.exploration()

    def guard(self, where: str, line: str, action: Callable[[], T], known: Iterable[str] = ()) -> T:
        """Run a function of Brian2 and word its errors as ours."""
        try:
            return action()
        except DimensionMismatchError as error:
            reason = str(error)
        except KeyError as error:
            found = re.search(r"Unknown identifier (\w+)", str(error))
            reason = unknown("name", found[1], known) if found else str(error)
        except EquationError as error:
            reason = f"{error} {error.__cause__ or ''}"
        except (SyntaxError, ValueError, TypeError, AttributeError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
        # Brian2 calls the dimensionless unit radian in one of its messages.
        reason = " ".join(reason.split()).replace("expected unit radian", "expected unit 1")
        raise ModelError(f"{where}: {' '.join(line.split())!r}: {reason}") from None

    def unit(self, where: str, text: str) -> Dimension:
        return self.guard(where, text, lambda: unit_dimension(text))

    def dims_of(self, where: str, text: str, names: Dims) -> Dimension:
        return self.guard(where, text, lambda: _dimensions(text, names), names)

    def expect(self, where: str, text: str, dims: Dimension, names: Dims, line: str | None = None) -> None:
        self.guard(where, line or text, lambda: check_dimensions(text, dims, _variables(names)), names)

    def supplied(self, place: str) -> Dims:
        """What the engine supplies in a part of the file, with the parameters."""
        names = engine_names(place, dict(self.model.roles))
        return self.base | {name: unit_dimension(unit) for name, unit in names.items()}

    def declared(self, section: str, text: str) -> Dims:
        """Dimensions of the variables of some equations, which Brian2's parser reads one by one."""
        where, names = self.where(section, "equations"), {}
        for equation in split_equations(text, where).values():
            line = f"{equation.left} = {equation.text} : {equation.unit}"
            self.guard(where, line, partial(Equations, line))
            names[equation.name] = self.unit(where, equation.unit)
        return names

    def parameters(self) -> None:
        for parameter in self.model.parameters.values():
            where = self.where("parameters", parameter.name)
            text = normalise(parameter.text)
            self.expect(where, text, self.base[parameter.name], _default_units(text, where) | self.base)

    def sums(self) -> None:
        """Give each neuron type the summed variables, with the units of the summands."""
        pairs = (("input", "hidden"), ("hidden", "hidden"), ("hidden", "action"), ("input", "action"))
        for target, text in self.model.sums.items():
            name, _, side = target.rpartition("_")
            where = self.where("synapse.sums", target)
            if side not in ("pre", "post"):
                raise ModelError(f"{where}: the name of a sum ends in _post or _pre")
            for pre, post in pairs:
                if side == "post" or pre != "input":  # nothing reaches back into the input
                    dims = self.dims_of(where, text, self.synaptic({}, self.neurons[pre], self.neurons[post]))
                    self.neurons[post if side == "post" else pre][name] = dims

    def pairs(self, spec: ProjectionSpec) -> list[tuple[str, str]]:
        """Kinds of neurons that a projection may connect."""
        beside = [kind for kind in self.neurons if kind.startswith("interneuron")]
        places: dict[str, list[str]] = {"hidden": ["hidden"], "above": ["hidden", "action"], "interneuron": beside}
        return [(pre, post) for pre in places[spec.source] for post in places[spec.target]]

    def projected(self) -> None:
        """Give each neuron type what further projections sum into it, with the units of the summands."""
        for name, spec in self.model.projections.items():
            for target, text in spec.sums.items():
                where = self.where(f"projection.{name}", f"sums.{target}")
                for pre, post in self.pairs(spec):
                    dims = self.dims_of(where, text, self.synaptic({}, self.neurons[pre], self.neurons[post]))
                    self.neurons[post][target.removesuffix("_post")] = dims

    def neuron(self, section: str, neuron: NeuronSpec, names: Dims) -> None:
        if neuron.phi is not None:
            dims = self.dims_of(self.where(section, "phi"), neuron.phi, names)
            names.update(phi=dims, phi_prime=dims / names[self.model.roles["voltage"]])
        names.update({f"{name}_prev": dims for name, dims in names.items() if f"{name}_prev" in names})
        for name, text in neuron.group.items():  # in the file's order: one may use those before it
            names[name] = self.reduction(self.where(section, f"group.{name}"), text, names)
        self.equations(section, neuron.equations, names)
        for name, text in neuron.constants.items():
            self.expect(self.where(section, f"initial.{name}"), text, DIMENSIONLESS, self.base)
        if neuron.threshold is not None:
            self.dims_of(self.where(section, "threshold"), neuron.threshold, names)
            self.statements(self.where(section, "reset"), neuron.reset, names)
        if neuron.refractory is not None:
            where = self.where(section, "refractory")
            known = self.base | dict.fromkeys(neuron.constants, DIMENSIONLESS)
            self.expect(where, neuron.refractory, _TIME, _default_units(neuron.refractory, where) | known)

    def reduction(self, where: str, text: str, names: Dims) -> Dimension:
        call = split_call(text, where)
        if call is None or len(call[1]) != 1 or call[0] not in REDUCTIONS:
            allowed = ", ".join(f"{name}(…)" for name in REDUCTIONS)
            raise ModelError(f"{where} = {text!r}: expected one of {allowed}")
        if call[0] != "softmax":
            return self.dims_of(where, call[1][0], names)
        self.expect(where, call[1][0], DIMENSIONLESS, names, text)
        return DIMENSIONLESS

    def equations(self, section: str, text: str, names: Dims) -> None:
        where = self.where(section, "equations")
        for equation in split_equations(text, where).values():
            dims = names[equation.name] / _TIME if equation.is_ode else names[equation.name]
            line = f"{equation.left} = {equation.text} : {equation.unit}"
            self.expect(where, equation.text, dims, names, line)

    def statements(self, where: str, text: str, names: Dims) -> Dims:
        """Check statements in order; return the units of the names that appear first here."""
        names, new = dict(names), Dims()
        for statement in split_statements(text, where):
            value = statement.text
            if statement.op != "=":
                value = f"{statement.name} {statement.op[0]} ({value})"
            if statement.name in names:
                self.expect(where, value, names[statement.name], names, str(statement))
            else:
                new[statement.name] = names[statement.name] = self.dims_of(where, value, names)
        return new

    def modulator(self, section: str, spec: NeuromodulatorSpec) -> None:
        own, names = self.declared(section, spec.equations), self.supplied("neuromodulator")
        start = self.supplied("initial")
        for name, text in spec.initial.items():
            where = self.where(section, f"initial.{name}")
            own.setdefault(name, self.dims_of(where, text, start))
            self.expect(where, text, own[name], start)
        own |= self.statements(self.where(section, "on_event"), spec.on_event, names | own)
        self.equations(section, spec.equations, names | own)
        self.modulators |= own

    def synaptic(self, own: Dims, pre: Dims, post: Dims) -> Dims:
        names = self.supplied("synapse") | self.modulators | {self.model.roles["weight"]: DIMENSIONLESS}
        names |= {f"{name}_pre": dims for name, dims in pre.items()}
        return names | {f"{name}_post": dims for name, dims in post.items()} | own

    def synapse(self, section: str, spec: SynapseSpec, pre: Dims, post: Dims) -> None:
        names = self.synaptic(self.declared(section, spec.equations), pre, post)
        self.equations(section, spec.equations, names)
        for channel, text in spec.on_event.items():
            known = self.supplied("on_event") | names
            self.statements(self.where(section, f"on_event.{channel}"), text, known)
        weight = names[self.model.roles["weight"]]
        start = self.supplied("initial")
        if section.startswith("projection"):
            start |= self.supplied("projection.initial")
        for key in ("initial", "initial_bias"):
            self.expect(self.where(section, key), getattr(spec, key), weight, start)

    def exploration(self) -> None:
        spec, names = self.model.exploration, self.supplied("read") | self.neurons["action"]
        self.expect(self.where("exploration", "scale"), spec.scale, DIMENSIONLESS, self.base)
        if spec.tau is not None:
            self.expect(self.where("exploration", "tau"), spec.tau, _TIME, self.base)
        self.reduction(self.where("exploration", "policy"), spec.policy, names)
        where = self.where("exploration", "decision")
        call = split_call(spec.decision, where)
        if call is None or call[0] != "argmax" or len(call[1]) != 1:
            raise ModelError(f"{where} = {spec.decision!r}: expected argmax(…) or argmax(lowpass(…, tau))")
        inner = split_call(call[1][0], where)
        if inner is None or inner[0] != "lowpass":
            self.dims_of(where, call[1][0], names)
        elif len(inner[1]) == 2:
            self.dims_of(where, inner[1][0], names)
            self.expect(where, inner[1][1], _TIME, self.base, spec.decision)
        else:
            raise ModelError(f"{where} = {spec.decision!r}: lowpass takes an expression and a time constant")


def _default_units(text: str, where: str) -> Dims:
    """Return the units that an expression uses, and no others: Brian2 knows thousands."""
    return {name: DEFAULT_UNITS[name].dim for name in identifiers(text, where) if name in DEFAULT_UNITS}


@cache
def _variable(name: str, dims: Dimension) -> Variable:
    """Brian2's variable; making one takes 0.1 ms."""
    return Variable(name, dimensions=dims)


def _variables(names: Mapping[str, Dimension]) -> dict[str, Any]:
    return {**DEFAULT_FUNCTIONS, **{name: _variable(name, dims) for name, dims in names.items()}}


def _dimensions(text: str, names: Mapping[str, Dimension]) -> Dimension:
    dims: Dimension = parse_expression_dimensions(text, _variables(names))
    return dims


def unit_dimension(text: str) -> Dimension:
    """Dimension of a unit as it stands after the colon, or as `Parameter.unit` has it (``s``)."""
    dims, _ = dimensions_and_type_from_string(re.sub(r"\b[sVASFCm]\b", lambda found: _LONG[found[0]], text))
    return dims
