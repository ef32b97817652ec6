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
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.equations import split_equations, split_statements
from rnla_neuro.spec.model import ModelSpec, SynapseSpec
from rnla_neuro_backends.brian2_model.strings import (
    NeuronStrings,
    Node,
    constant,
    lines,
    neuron_strings,
    reduction,
    reduction_sums,
    summand,
    sums,
    synapse_equations,
    update_order,
)

SIGNALS = ("R", "gate", "trial", "credit")
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
        self.namespace = {p.name: Quantity(p.value, dim=second.dim if p.unit == "s" else None)
                          for p in model.parameters.values()}  # fmt: skip
        self.namespace |= {"T": model.trial.duration * second, "n": float(sizes[-1])}
        kinds = ["input", *["hidden"] * (len(sizes) - 2), "action"]
        try:
            derive_form(model)
            self.at_once = True
        except BackendError:
            self.at_once = False
        made = {kind: neuron_strings(model, kind, self.at_once) for kind in dict.fromkeys(kinds)}
        self.strings: list[NeuronStrings] = [made[kind] for kind in kinds]
        self.order, self.late = update_order(model, self.strings)
        self.updaters: dict[Node, list[Any]] = {node: [] for node in self.order}
        self.schedule = Schedule()
        self.process = self.strings[-1].process
        self.noise_stepper: Any = None
        self.signals = self.group(1, "\n".join(f"{signal} : 1" for signal in SIGNALS), "signals")
        self.signals.credit = credit
        self.modulators = {channel: self.modulator(channel) for channel in model.neuromodulators}
        self.groups = [self.neurons(level) for level in range(len(sizes))]
        rates = {model.roles["rate"], model.roles["prospective_rate"]}
        self.bias = self.group(1, "\n".join(f"{rate} : 1" for rate in sorted(rates)), "bias")
        for rate in rates:
            setattr(self.bias, rate, 1.0)
        self.synapses = [self.projection(level, self.groups[level - 1], "") for level in self.levels()]
        self.bias_synapses = [self.projection(level, self.bias, "bias_") for level in self.levels()]
        self.reducers = self.reductions()
        self.place()

    def levels(self) -> range:
        """Layers that receive a projection."""
        return range(1, len(self.sizes))

    def group(self, size: int, equations: str, name: str) -> NeuronGroup:
        """Make a group with the network's namespace, clock and names."""
        return NeuronGroup(
            size,
            equations,
            method="euler",
            namespace=self.namespace,
            name=f"{self.name}_{name}",
            clock=self.clock,
            dtype=self.dtype,
        )

    def neurons(self, level: int) -> NeuronGroup:
        """Make a layer, with what keeps its past values and what moves its voltages at a jump."""
        last = len(self.sizes) - 1
        name = "input" if level == 0 else "action" if level == last else f"hidden{level}"
        strings = self.strings[level]
        group = self.group(self.sizes[level], strings.equations, name)
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
        for target in self.model.action.group:
            setattr(group, f"rnla_{target}_sum", float(self.sizes[-1]))
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

    def projection(self, level: int, pre: NeuronGroup, prefix: str) -> Synapses:
        """All-to-all synapses into a layer, from the layer below or from the bias unit."""
        model, post = self.model, self.groups[level]
        kind = "action" if level == len(self.sizes) - 1 else "hidden"
        spec: SynapseSpec = model.synapse_action if kind == "action" else model.synapse_hidden
        ending = "bias" if prefix else "weights"
        terms = {
            name: summand(model, spec, f"{name}_post", self.strings[level].tau)
            for name in sums(model, "post")
        }
        added = [f"{name}_{ending}_post = {term} : 1 (summed)" for name, term in terms.items()]
        back = [] if prefix or level == 1 else sums(model, "pre")
        added += [f"{name}_pre = {model.sums[f'{name}_pre']} : 1 (summed)" for name in back]
        linkable = self.linkable()
        where = f"{model.path.name}: [synapse.{kind}] equations"
        text = synapse_equations(
            model, spec, where, {name: unit for name, (_, unit) in linkable.items()}, added
        )
        synapses = Synapses(
            pre, post, text, method="euler", namespace=self.namespace, order=TRACES, clock=self.clock,
            name=f"{self.name}_{prefix}to_{post.name.removeprefix(self.name + '_')}", dtype=self.dtype,
        )  # fmt: skip
        for name, (group, _) in linkable.items():
            if name in synapses.equations:
                setattr(synapses, name, linked_var(group, name))
        synapses.connect()
        for name in sums(model, "post"):
            self.updaters[level, name].append(synapses.summed_updaters[f"{name}_{ending}_post"])
        for name in back:
            self.updaters[level - 1, name].append(synapses.summed_updaters[f"{name}_pre"])
        for channel, event in spec.on_event.items():
            code = "\n".join(map(str, split_statements(event, where)))
            self.schedule.synapses[channel].append(self.on_call(synapses, code))
        return synapses

    def reductions(self) -> Synapses | None:
        """Reductions over the action layer, as sums over all pairs of its neurons."""
        last = len(self.sizes) - 1
        where = f"{self.model.path.name}: [neuron.action] group"
        kinds = {name: reduction(text, where)[0] for name, text in self.model.action.group.items()}
        if not kinds:
            return None
        text = {name: reduction_sums(name, kind, single=self.dtype is np.float32) for name, kind in kinds.items()}
        equations = "\n".join(
            f"{target} = {term} : 1 (summed)" for pairs in text.values() for target, term in pairs.items()
        )
        action = self.groups[last]
        synapses = Synapses(
            action,
            action,
            equations,
            namespace=self.namespace,
            name=f"{self.name}_reductions",
            clock=self.clock,
            dtype=self.dtype,
        )
        synapses.connect()
        for name, pairs in text.items():
            self.updaters[last, name] += [synapses.summed_updaters[target] for target in pairs]
        return synapses

    def place(self) -> None:
        """Give every sum its place in the step: what follows from the voltages before the monitors look."""
        self.schedule.drives = [[] for _ in self.levels()]
        place = 0
        for node in self.order:
            for updater in self.updaters[node]:
                place += 1
                is_late = node in self.late
                updater.when, updater.order = (
                    ("groups", CURRENTS + place) if is_late else ("before_start", place)
                )
                (self.schedule.late if is_late else self.schedule.early).append(updater)
                if node[1] == self.model.roles["drive"]:
                    self.schedule.drives[node[0] - 1].append(updater)

    def network(self) -> Network:
        """Return a network of everything that was made."""
        parts = [self.signals, *self.modulators.values(), self.bias, *self.groups]
        parts += [*self.synapses, *self.bias_synapses, *([self.reducers] if self.reducers is not None else [])]
        return Network(*parts)
