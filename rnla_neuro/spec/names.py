"""All names of a model by section, and which of them something reads."""

from __future__ import annotations

from collections.abc import Iterable

from rnla_neuro.errors import ModelError, did_you_mean, unknown
from rnla_neuro.spec.equations import Equation, split_equations
from rnla_neuro.spec.expressions import CONSTANTS, FUNCTIONS, calls, identifiers
from rnla_neuro.spec.model import ModelSpec, NeuronSpec, SynapseSpec
from rnla_neuro.spec.symbols import REDUCTIONS, engine_names


class Names:
    """All names of a model, by section, and which of them something reads."""

    def __init__(self, model: ModelSpec, has_gate: bool):
        self.model = model
        self.file = model.path.name
        self.roles = dict(model.roles)
        self.has_gate = has_gate
        self.used: set[str] = set()  # parameters and engine names that something reads
        self.used_in: dict[str, set[str]] = {}
        self.equations: dict[str, dict[str, Equation]] = (
            {
                f"neuron.{part}": split_equations(spec.equations, f"{self.file}: [neuron.{part}] equations")
                for part, spec in self.neurons().items()
            }
            | {
                f"synapse.{part}": split_equations(spec.equations, f"{self.file}: [synapse.{part}] equations")
                for part, spec in self.synapses().items()
            }
            | {
                f"projection.{name}": split_equations(spec.equations, f"{self.file}: [projection.{name}] equations")
                for name, spec in model.projections.items()
            }
            | {
                f"neuromodulator.{channel}": split_equations(
                    spec.equations, f"{self.file}: [neuromodulator.{channel}] equations"
                )
                for channel, spec in model.neuromodulators.items()
            }
        )

    def neurons(self) -> dict[str, NeuronSpec]:
        """Neuron types by name."""
        return self.model.neurons

    def synapses(self) -> dict[str, SynapseSpec]:
        """Projection types by name."""
        return {"hidden": self.model.synapse_hidden, "action": self.model.synapse_action}

    def where(self, section: str, key: str) -> str:
        """File, section and key, for messages."""
        return f"{self.file}: [{section}] {key}"

    def variables(self, section: str) -> set[str]:
        """Variables that a section defines, group reductions included."""
        kind, _, name = section.partition(".")
        groups = set(self.neurons()[name].group) if kind == "neuron" else set()
        return self.own(section) | groups

    def own(self, section: str) -> set[str]:
        """Variables and constants that a section defines."""
        kind, _, name = section.partition(".")
        constants = set(self.neurons()[name].constants) if kind == "neuron" else set()
        return set(self.equations[section]) | constants

    def sent(self) -> set[str]:
        """What a synapse of the chain may read of the neuron before it: what inputs and hidden neurons both have."""
        return self.own("neuron.hidden") & self.own("neuron.input")

    def received(self, section: str) -> set[str]:
        """Variables of a neuron's section that projections of [projection.*] sum into."""
        return {
            key.removesuffix("_post")
            for spec in self.model.projections.values()
            if section in self.sections(spec.target)
            for key in spec.sums
        }

    def sections(self, place: str) -> list[str]:
        """Sections of the neurons that stand at a place, one of `PLACES`."""
        found = {
            "hidden": ["neuron.hidden"],
            "above": ["neuron.hidden", "neuron.action"],
            "interneuron": ["neuron.interneuron", "neuron.interneuron_action"],
        }[place]
        return [section for section in found if section in self.equations]

    def common(self, place: str) -> set[str]:
        """Variables that the neurons at a place have, whichever of its sections it is."""
        return set.intersection(
            *(self.variables(section) | self.received(section) for section in self.sections(place))
        )

    def engine(self, place: str, section: str = "") -> dict[str, str]:
        """Engine-supplied names at a place; a name that the section defines is not one of them."""
        names = engine_names(place, self.roles)
        noise = self.roles.get("noise", "")
        own = self.variables("neuron.action")
        if noise in own:
            names.pop(noise + "_prev", None)
            names.pop(noise, None)
        elif noise != "noise":
            names.pop("noise", None)
        if not self.has_gate:
            names.pop("gate", None)
        return {
            name: unit for name, unit in names.items() if not section or name not in self.variables(section)
        }

    def check(self, text: str, where: str, allowed: Iterable[str], reader: str = "") -> set[str]:
        """Refuse a name that is not allowed here; note what is read."""
        names = identifiers(text, where)
        allowed = set(allowed) | set(self.model.parameters)
        for name in sorted(names - set(CONSTANTS)):
            if name in allowed:
                continue
            if name == "gate" and not self.has_gate:
                raise ModelError(f"{where}: 'gate' is used, but [trial] gate is missing in {self.file}")
            if name in FUNCTIONS:
                raise ModelError(f"{where}: {name!r} is a function and needs an argument")
            raise ModelError(
                f"{where}: in {' '.join(text.split())!r}: {name!r} is not a variable of this section, "
                f"a parameter or a name that the engine supplies here;{did_you_mean(name, allowed)} allowed: "
                f"{', '.join(sorted(allowed))}"
            )
        for call in calls(text, where) - set(FUNCTIONS) - set(REDUCTIONS) - {"randn", "rand"}:
            raise ModelError(f"{where}: in {' '.join(text.split())!r}: {unknown('function', call, FUNCTIONS)}")
        self.used |= names
        self.used_in.setdefault(reader, set()).update(names)
        return names
