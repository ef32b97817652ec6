"""Writes the Brian2 project of a model's plain groups: `NeuronGroup` and `Synapses`, played by generated C++.

What happens between two decisions is up to the environment, so that the program has to take it from there: the
template ``rnla_plain.cpp.j2`` sets inputs, noise and rewards step by step, and runs the groups' event code when an
event is due. Everything else is Brian2's own code.
"""

from __future__ import annotations

import gc
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinja2

import rnla_neuro_backends.brian2_model.importing  # noqa: F401

# isort: split
from brian2 import Clock
from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.variables import DynamicArrayVariable
from brian2.devices.cpp_standalone.device import CPPStandaloneDevice
from brian2.groups.group import CodeRunner

from rnla_neuro.spec.chance import CPP, SILENT
from rnla_neuro_backends.brian2_model.build import PROCESS, Builder
from rnla_neuro_backends.brian2_model.state import changing
from rnla_neuro_backends.brian2_program.isolation import isolated, standalone_device
from rnla_neuro_backends.brian2_program.objects import EXCHANGE, refuse_callbacks, register_templates
from rnla_neuro_backends.brian2_program.plain_kernel import MAX_SWEEPS, PlainKernel, build_groups
from rnla_neuro_backends.brian2_program.project import LONG, preferences
from rnla_neuro_backends.brian2_program.texts import TEMPLATES
from rnla_neuro_backends.explicit.kernel import KernelArray

CONDUCTOR = "rnla_plain.cpp"
SEEN = {"rec_u": "voltage", "rec_ebar": "error", "rec_rate": "rate"}
_SCHEDULE = ("early", "late", "measure", "settle", "capture", "keep", "shift")


def kept_groups(parts: Builder) -> list[Any]:
    """Return the groups whose variables are an agent's state, in the order of `StateNames`."""
    neurons = [parts.signals, *parts.modulators.values(), parts.bias, *parts.groups]
    return [*neurons, *parts.all_synapses]


def write_plain_project(kernel: PlainKernel, folder: Path) -> None:
    """Write sources and makefile of the program of a model's plain groups.

    Raises:
        OSError: The folder cannot be written.
    """
    register_templates()
    _describe(kernel, folder)
    gc.collect()  # as in `write_project`


def _describe(kernel: PlainKernel, folder: Path) -> None:
    device = standalone_device()
    with isolated(device, preferences(kernel)):
        project = _Project(kernel, device)
        refuse_callbacks(project.network)
        project.network.run(LONG * 1e3 * project.clock.dt, namespace={})
        folder.mkdir(parents=True, exist_ok=True)
        device.build(directory=str(folder), compile=False, run=False, with_output=False)
        (folder / CONDUCTOR).write_text(project.conductor())
    _compile_as_one(folder / "makefile")


def _compile_as_one(makefile: Path) -> None:
    """Let the makefile compile the conductor in place of the files that it includes."""
    text, found = re.subn(r"(?:code_objects/\w+\.cpp ?)+", f"{CONDUCTOR} ", makefile.read_text(), count=1)
    assert found == 1, "Brian2's makefile is not as expected"
    makefile.write_text(text)


class _Project:
    """The groups of a project, and what its C++ has to know of them."""

    def __init__(self, kernel: PlainKernel, device: CPPStandaloneDevice) -> None:
        self.kernel, self.device = kernel, device
        self.parts = parts = build_groups(kernel.network)
        self.clock: Clock = parts.clock
        self.kept = [v for group in kept_groups(parts) for v in changing(group)] + [v for _, v in parts.fixed]
        self.frozen = [
            group
            for pair, learns in zip(
                zip(parts.synapses, parts.bias_synapses, strict=True), kernel.network.plastic, strict=True
            )
            for group in pair
            if not learns and group is not None
        ]
        for group in self.frozen:
            if group.state_updater is not None:
                group.state_updater.active = False
        self.see: list[CodeRunner] = []
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self.layers = parts.groups[1 : len(parts.sizes)]
        top = self.layers[-1]
        self.decide = [self._look_at(top, "rnla_decision", "rnla_decided")]
        self.decide += [self._look_at(top, name, f"rnla_at_{name}") for name in kernel.policy_names]
        assert {field.name for field in fields(parts.schedule)} == {*_SCHEDULE, "drives", "modulators", "synapses"}
        self._see()
        self.network = parts.network()
        for function, when, order in (
            ("rnla_begin", EXCHANGE, 0),
            ("rnla_look", "start", 0),
            ("rnla_noise", "groups", PROCESS),
            *([("rnla_spikes", "after_thresholds", 0)] if kernel.network.model.spikes else []),
        ):
            self.network.add(_call(parts, function, when, order))
        self.network.schedule = [EXCHANGE, *self.network.schedule]
        for runner in self._on_call():
            runner.before_run({})

    def _look_at(self, group: Any, source: str, target: str) -> CodeRunner:
        """Keep a variable, which may be an expression, in an array of ours, when called."""
        group.variables.add_array(target, size=group.N, dtype=self.kernel.real)
        runner: CodeRunner = self.parts.on_call(group, f"{target} = {source}")
        return runner

    def _see(self) -> None:
        roles, at = self.kernel.network.model.roles, 0
        for group in self.layers:
            top = group is self.layers[-1]
            what = {name: roles[role] for name, role in SEEN.items()}
            what["rec_drive"] = roles.get("drive", roles["current"])
            if top and "noise" in roles:
                what["rec_noise"] = roles["noise"]
            for name, source in what.items():
                self.see.append(self._look_at(group, source, f"rnla_{name}"))
                part = {"variable": group.variables[f"rnla_{name}"], "at": 0 if name == "rec_noise" else at}
                self.seen.setdefault(name, []).append(part)
            at += int(group.N)

    def _on_call(self) -> list[CodeRunner]:
        runners = [*self.parts.schedule.all(), *self.decide, *self.see]
        return [runner for runner in runners if not runner.active]

    def conductor(self) -> str:
        """Return the C++ that plays blocks; after the network was described, when all code has its name."""
        kernel, parts = self.kernel, self.parts
        model, layers = kernel.network.model, self.layers
        noise = None if parts.process is None else layers[-1].variables[parts.process]
        held = model.exploration.law != "ornstein-uhlenbeck" and parts.process in ("target", model.roles.get("noise"))
        arrays = [{"name": a.name, "size": a.size, "ctype": self._ctype(a)} for a in kernel.arrays]
        learning = [group.state_updater for group in parts.all_synapses if group.state_updater is not None]
        wanted = {"decision": "rnla_decided"} | {f"at_{name}": f"rnla_at_{name}" for name in kernel.policy_names}
        environment = jinja2.Environment(
            variable_start_string="[[", variable_end_string="]]", block_start_string="[%", block_end_string="%]",
            trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        )  # fmt: skip
        text = (TEMPLATES / "rnla_plain.cpp.j2").read_text()
        exchange = (TEMPLATES / "rnla_exchange.hpp").read_text()
        return environment.from_string(text).render(
            agents=kernel.settings.n_agents,
            n_in=kernel.settings.sizes[0],
            n_out=kernel.settings.sizes[-1],
            n_neuron=sum(kernel.settings.sizes[1:]),
            max_steps=kernel.settings.max_steps,
            code=sorted(self.device.code_objects),
            at_the_end=self._at_the_end(),
            includes=self._includes(),
            exchange_source=exchange,
            chance_source=CPP,
            chances=self._chances(),
            spaces=self._spaces(),
            period=round(model.trial.duration / model.trial.dt),
            silent=SILENT,
            key=kernel.key,
            real=c_data_type(kernel.real),
            dt=repr(model.trial.dt),
            max_sweeps=MAX_SWEEPS,
            at_once=parts.at_once,
            held=held,
            arrays=arrays,
            variables=self._variables(),
            schedule=self._schedule(),
            channels=[self._channel(channel) for channel in parts.modulators],
            moves_weights=[str(bool(parts.schedule.synapses[channel])).lower() for channel in parts.modulators],
            layers=[self._layer(group) for group in layers],
            clock_t=self.device.get_array_name(self.clock.variables["t"]),
            signals={name: self._pointer(parts.signals.variables[name]) for name in ("R", "gate", "trial", "t_trial")},
            input=self._pointer(parts.groups[0].variables["x"]),
            noise="" if noise is None else self._pointer(noise),
            decided={name: self._pointer(layers[-1].variables[source]) for name, source in wanted.items()},
            learning=_names([updater for updater in learning if updater.active]),
            seen=self._seen(),
        )  # fmt: skip

    def _chances(self) -> list[dict[str, Any]]:
        """Where neurons draw: the variable, how many there are, the index of the first."""
        parts = self.parts
        return [
            {"pointer": self._pointer(group.variables["chance"]), "size": population.size, "first": population.first}
            for population, strings, group in zip(parts.populations, parts.strings, parts.groups, strict=True)
            if strings.draws
        ]

    def _spaces(self) -> list[dict[str, Any]]:
        """Where Brian2 lists the neurons of a layer that spiked."""
        return [
            {
                "pointer": self._pointer(group.variables["_spikespace"]),
                "size": population.size,
                "first": population.first,
                "layer": layer,
            }
            for layer, (population, group) in enumerate(zip(self.parts.populations, self.parts.groups, strict=True))
            if layer < len(self.parts.sizes) and "_spikespace" in group.variables
        ]

    def _schedule(self) -> dict[str, Any]:
        schedule = self.parts.schedule
        return {
            **{name: _names(getattr(schedule, name)) for name in _SCHEDULE},
            "drives": [_names(part) for part in schedule.drives],
            "decide": _names(self.decide),
            "see": _names(self.see),
        }

    def _seen(self) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [
                {**part, "pointer": self._pointer(part["variable"]), "size": part["variable"].size} for part in parts
            ]
            for name, parts in self.seen.items()
        }

    def _at_the_end(self) -> list[str]:
        """Names of the code that the program's main calls once it has run: it forgets the spikes of the last step."""
        return sorted({args[0].name for what, args in self.device.main_queue if what == "after_run_code_object"})

    def _includes(self) -> list[str]:
        """What the code objects include; inside a namespace it would come too late."""
        texts = [code.code.cpp_file for code in self.device.code_objects.values()]
        return sorted(
            {line.strip() for text in texts for line in text.splitlines() if line.lstrip().startswith("#include")}
        )

    def _pointer(self, variable: Any) -> str:
        if isinstance(variable, DynamicArrayVariable):
            return f"{self.device.get_array_name(variable, access_data=False)}.data()"
        return str(self.device.get_array_name(variable))

    def _variables(self) -> list[dict[str, Any]]:
        return [
            {"pointer": self._pointer(v), "name": array.name, "ctype": self._ctype(array), "size": array.stride}
            for v, array in zip(self.kept, self.kernel.state, strict=True)
        ]

    def _ctype(self, array: KernelArray) -> str:
        return str(c_data_type(self.kernel.dtype(array)))

    def _channel(self, channel: str) -> dict[str, Any]:
        runners = [
            r for r in self.parts.schedule.synapses[channel] if not any(r.group.name == g.name for g in self.frozen)
        ]
        return {"modulator": _names([self.parts.schedule.modulators[channel]])[0], "synapses": _names(runners)}

    def _layer(self, group: Any) -> dict[str, Any]:
        u = self._pointer(group.variables[self.kernel.network.model.roles["voltage"]])
        mismatch = self._pointer(group.variables["rnla_mismatch"]) if self.parts.at_once else "nullptr"
        return {"u": u, "mismatch": mismatch, "size": int(group.N)}


def _names(runners: list[CodeRunner]) -> list[str]:
    """Names of the code objects of runners."""
    return [code.name for runner in runners for code in runner.code_objects]


def _call(parts: Builder, function: str, when: str, order: int) -> CodeRunner:
    return CodeRunner(
        parts.signals,
        "rnla_call",
        clock=parts.clock,
        when=when,
        order=order,
        name=f"{function}_call",
        check_units=False,
        template_kwds={"rnla_function": function},
    )
