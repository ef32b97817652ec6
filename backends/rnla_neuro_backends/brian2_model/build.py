"""Makes the Brian2 groups of a model, and gives every sum its place in the time step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import Clock, Network, NeuronGroup, Quantity, Synapses, linked_var, second

from rnla_neuro.errors import BackendError
from rnla_neuro.seeding import streams
from rnla_neuro.spec.constants import default_constants
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.equations import split_equations, split_statements
from rnla_neuro.spec.expressions import identifiers
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.populations import Projection, populations, projections
from rnla_neuro_backends.brian2_model.order import Node, update_order
from rnla_neuro_backends.brian2_model.strings import (
    NeuronStrings,
    constant,
    lines,
    neuron_strings,
    parts_of,
    reduction,
    reduction_sums,
    summand,
    synapse_equations,
)
from rnla_neuro_backends.brian2_model.units import unit_dimension

SIGNALS = ("R", "gate", "trial", "credit")
_TIMED = "t_trial"
# Slots within "groups": traces first, they belong to time t; the voltages (order 0) last.
TRACES, PROCESS, CURRENTS, CAPTURE = -4000, -3000, -2000, -1000


@dataclass
class Schedule:
    """Code that is run outside the order of a time step, when something jumps."""

    drives: list[list[Any]] = field(default_factory=list)  # by layer
    early: list[Any] = field(default_factory=list)
    late: list[Any] = field(default_factory=list)
    measure: list[Any] = field(default_factory=list)
    settle: list[Any] = field(default_factory=list)
    capture: list[Any] = field(default_factory=list)
    keep: list[Any] = field(default_factory=list)
    shift: list[Any] = field(default_factory=list)
    modulators: dict[str, Any] = field(default_factory=dict)
    synapses: dict[str, list[Any]] = field(default_factory=dict)

    def all(self) -> list[Any]:
        """Every piece of code once."""
        runners = [
            *self.early,
            *self.late,
            *self.measure,
            *self.settle,
            *self.capture,
            *self.keep,
            *self.shift,
            *self.modulators.values(),
        ]
        return runners + [runner for group in self.synapses.values() for runner in group]


class Builder:
    """Makes the groups of a network one after the other.

    With `own_noise` the groups step noise that is a process in time, by Brian2's random numbers; without,
    somebody else sets it. `dtype` is the floating-point type of all variables, None for Brian2's default.
    """

    def __init__(
        self,
        model: ModelSpec,
        sizes: tuple[int, ...],
        seed: int,
        credit: float,
        name: str,
        clock: Clock | None,
        dtype: type | None = None,
        own_noise: bool = True,
    ):
        self.model, self.sizes, self.name, self.clock = model, sizes, name, clock
        self.dtype, self.own_noise = dtype, own_noise
        self.seed, self.streams = seed, streams(seed)
        self.namespace = {p.name: Quantity(p.value, dim=unit_dimension(p.unit)) for p in model.parameters.values()}
        self.namespace |= {"T": model.trial.duration * second, "n": float(sizes[-1])}
        self.populations, self.projections = populations(model, sizes), projections(model, sizes)
        try:
            derive_form(model)
            self.at_once = True
        except BackendError:
            self.at_once = False
        self.strings: list[NeuronStrings] = [
            neuron_strings(model, self.populations, self.projections, k, self.at_once)
            for k in range(len(self.populations))
        ]
        self.order, self.late = update_order(model, self.populations, self.projections, self.strings)
        self.updaters: dict[Node, list[Any]] = {node: [] for node in self.order}
        self.schedule = Schedule()
        self.process = self.strings[len(sizes) - 1].process
        self.noise_stepper: Any = None
        lines_ = [*(f"{signal} : 1" for signal in SIGNALS), f"{_TIMED} : second"]
        self.signals = self.group(1, "\n".join(lines_), "signals")
        self.signals.credit = credit
        self.modulators = {channel: self.modulator(channel) for channel in model.neuromodulators}
        self.groups = [self.neurons(number) for number in range(len(self.populations))]
        self.bias = self.constant_unit()
        links = range(len(self.projections))
        self.synapses = [self.projection(k, self.groups[self.projections[k].pre], "") for k in links]
        self.bias_synapses = [
            self.projection(k, self.bias, "bias_") if self.projections[k].bias else None for k in links
        ]
        self.reducers = [self.reductions(number) for number, p in enumerate(self.populations) if p.spec.group]
        self.place()

    @property
    def all_synapses(self) -> list[Synapses]:
        """Those from neurons, then those from the bias unit."""
        return [*self.synapses, *(synapses for synapses in self.bias_synapses if synapses is not None)]

    @property
    def fixed(self) -> list[tuple[tuple[int, str], Any]]:
        """Constants of single neurons, which hold their defaults: (number of the population, name), and variable."""
        return [
            ((number, name), group.variables[name])
            for number, (population, group) in enumerate(zip(self.populations, self.groups, strict=True))
            for name in population.spec.constants
        ]

    def constant_unit(self) -> NeuronGroup:
        """Make the bias unit: its rate is 1, and so is whatever else a synapse reads of the neuron before it."""
        roles = self.model.roles
        units = {roles[role]: "1" for role in ("rate", "prospective_rate") if role in roles}
        for link in self.projections:
            if link.bias:
                own = split_equations(self.populations[link.pre].spec.equations, link.section)
                for name in presynaptic(link):
                    units.setdefault(name, own[name].unit if name in own else "1")
        bias = self.group(1, "\n".join(f"{name} : {units[name]}" for name in sorted(units)), "bias")
        for name in units:
            setattr(bias, f"{name}_", 1.0)
        return bias

    def group(self, size: int, equations: str, name: str, **spikes: Any) -> NeuronGroup:
        """Make a group with the network's namespace, clock and names."""
        return NeuronGroup(
            size,
            equations,
            method="euler",
            namespace=self.namespace,
            name=f"{self.name}_{name}",
            clock=self.clock,
            dtype=self.dtype,
            **spikes,
        )

    def neurons(self, level: int) -> NeuronGroup:
        """Make a population, with what keeps its past values and what moves its voltages at a jump."""
        last = len(self.sizes) - 1
        population, strings = self.populations[level], self.strings[level]
        spec, spikes = population.spec, {}
        if spec.threshold is not None:
            reset = "\n".join(map(str, split_statements(spec.reset, population.name)))
            spikes = {"threshold": spec.threshold, "reset": reset, "refractory": spec.refractory or False}
        group = self.group(population.size, strings.equations, population.name, **spikes)
        if strings.timed:
            setattr(group, _TIMED, linked_var(self.signals, _TIMED))
        now = "\n".join(f"rnla_{past}_now = {past}" for past in strings.past)
        later = "\n".join(f"{past}_prev = rnla_{past}_now" for past in strings.past)
        if strings.past:
            moved = "\n".join(f"{past}_prev += {past} - rnla_{past}_now" for past in strings.past)
            self.schedule.capture.append(group.run_regularly(now, when="groups", order=CAPTURE))
            self.schedule.keep.append(group.run_regularly(later, when="after_groups"))
            self.schedule.shift.append(self.on_call(group, moved))
        if level > 0 and self.at_once:
            u = self.model.roles["voltage"]
            self.schedule.measure.append(self.on_call(group, f"rnla_mismatch = {u} - rnla_rest"))
            self.schedule.settle.append(self.on_call(group, f"{u} = rnla_rest + rnla_mismatch"))
        for target in spec.group:
            setattr(group, f"rnla_{target}_sum", float(population.size))
        for constant_, value in default_constants(self.model, population.kind).items():
            setattr(group, f"{constant_}_", np.full(population.size, value))
        if level == last:
            self.fluctuate(group)
        return group

    @staticmethod
    def on_call(group: NeuronGroup | Synapses, code: str) -> Any:
        """Code of a group that runs only when it is called, not at every step."""
        runner = group.run_regularly(code, when="end")
        runner.active = False
        return runner

    def fluctuate(self, group: NeuronGroup) -> None:
        """Step noise that is a process in time; exact for any dt."""
        spec, name = self.model.exploration, self.process
        if spec.law == "ornstein-uhlenbeck" and self.own_noise:
            kept, fresh = f"exp(-dt/({spec.tau}))", f"sqrt(1 - exp(-2*dt/({spec.tau})))*randn()"
            step = f"{name} = {name}*{kept} + ({spec.scale})*{fresh}"
            self.noise_stepper = group.run_regularly(step, when="groups", order=PROCESS)

    def modulator(self, channel: str) -> NeuronGroup:
        """Make the one neuron that holds a neuromodulator channel's variables."""
        spec = self.model.neuromodulators[channel]
        where = f"{self.model.path.name}: [neuromodulator.{channel}]"
        own = split_equations(spec.equations, where)
        statements = split_statements(spec.on_event, where)
        others = dict.fromkeys([*spec.initial, *(statement.name for statement in statements)])
        text = [*lines(spec.equations, where), *(f"{name} : 1" for name in others if name not in own)]
        text += [f"{signal} : 1 (linked)" for signal in ("R", "trial")]
        group = self.group(1, "\n".join(text), channel)
        for signal in ("R", "trial"):
            setattr(group, signal, linked_var(self.signals, signal))
        values = {name: float(value) for name, value in self.namespace.items()}
        for name, start in spec.initial.items():
            setattr(group, f"{name}_", constant(start, f"{where} initial.{name}", values))
        self.schedule.modulators[channel] = self.on_call(group, "\n".join(map(str, statements)))
        self.schedule.synapses[channel] = []
        return group

    def linkable(self) -> dict[str, tuple[NeuronGroup, str]]:
        """Names that synapses may read from elsewhere: group, and unit as Brian2 writes it."""
        names = dict.fromkeys(SIGNALS, (self.signals, "1"))
        for channel, group in self.modulators.items():
            spec = self.model.neuromodulators[channel]
            own = split_equations(spec.equations, channel)
            others = [
                *spec.initial,
                *(statement.name for statement in split_statements(spec.on_event, channel)),
            ]
            names |= {name: (group, own[name].unit if name in own else "1") for name in [*own, *others]}
        return names

    def projection(self, number: int, pre: NeuronGroup, prefix: str) -> Synapses:
        """All-to-all synapses of a projection, from its neurons or from the bias unit."""
        model, link = self.model, self.projections[number]
        spec, post, tau = link.spec, self.groups[link.post], self.strings[link.post].tau
        into = {name: parts_of(self.projections, number, name)[bool(prefix)] for name in link.sums}
        added = [
            f"{into[name]}_post = {summand(model, spec, name, text, tau)} : 1 (summed)"
            for name, text in link.sums.items()
        ]
        back = {} if prefix else link.feedback
        added += [f"{name}_pre = {text} : 1 (summed)" for name, text in back.items()]
        linkable = self.linkable()
        where = f"{model.path.name}: [{link.section}] equations"
        text = synapse_equations(
            model, spec, where, {name: unit for name, (_, unit) in linkable.items()}, added
        )
        synapses = Synapses(
            pre, post, text, method="euler", namespace=self.namespace, order=TRACES, clock=self.clock,
            name=f"{self.name}_{prefix}{self.name_of(number)}", dtype=self.dtype,
        )  # fmt: skip
        for name, (group, _) in linkable.items():
            if name in synapses.equations:
                setattr(synapses, name, linked_var(group, name))
        synapses.connect()
        for name, target in into.items():
            self.updaters[link.post, name].append(synapses.summed_updaters[f"{target}_post"])
        for name in back:
            self.updaters[link.pre, name].append(synapses.summed_updaters[f"{name}_pre"])
        for channel, event in spec.on_event.items():
            code = "\n".join(map(str, split_statements(event, where)))
            self.schedule.synapses[channel].append(self.on_call(synapses, code))
        return synapses

    def name_of(self, number: int) -> str:
        """Name of a projection's groups, without the network's."""
        link, post = self.projections[number], self.populations[self.projections[number].post].name
        return f"to_{post}" if link.section.startswith("synapse") else f"{link.name}_to_{post}"

    def reductions(self, number: int) -> Synapses:
        """Reductions over a population, as sums over all pairs of its neurons."""
        population, group = self.populations[number], self.groups[number]
        where = f"{self.model.path.name}: [neuron.{population.kind}] group"
        kinds = {name: reduction(text, where)[0] for name, text in population.spec.group.items()}
        text = {name: reduction_sums(name, kind, single=self.dtype is np.float32) for name, kind in kinds.items()}
        equations = "\n".join(
            f"{target} = {term} : 1 (summed)" for pairs in text.values() for target, term in pairs.items()
        )
        synapses = Synapses(
            group,
            group,
            equations,
            namespace=self.namespace,
            name=f"{self.name}_{population.name}_reductions",
            clock=self.clock,
            dtype=self.dtype,
        )
        synapses.connect()
        for name, pairs in text.items():
            self.updaters[number, name] += [synapses.summed_updaters[target] for target in pairs]
        return synapses

    def place(self) -> None:
        """Give every sum its place in the step: what follows from the voltages before the monitors look."""
        self.schedule.drives = [[] for _ in self.sizes[1:]]
        place = 0
        for node in self.order:
            for updater in self.updaters[node]:
                place += 1
                is_late = node in self.late
                updater.when, updater.order = (
                    ("groups", CURRENTS + place) if is_late else ("before_start", place)
                )
                (self.schedule.late if is_late else self.schedule.early).append(updater)
                if node[1] == self.model.roles.get("drive") and 0 < node[0] < len(self.sizes):
                    self.schedule.drives[node[0] - 1].append(updater)

    def network(self) -> Network:
        """Return a network of everything that was made."""
        parts = [self.signals, *self.modulators.values(), self.bias, *self.groups]
        return Network(*parts, *self.all_synapses, *self.reducers)


def presynaptic(link: Projection) -> list[str]:
    """Names of the variables of the neuron before it that a synapse reads."""
    texts = [*link.sums.values(), *(eq.text for eq in split_equations(link.spec.equations, link.section).values())]
    found = sorted(set().union(*(identifiers(text, link.section) for text in texts)))
    return [name.removesuffix("_pre") for name in found if name.endswith("_pre")]
