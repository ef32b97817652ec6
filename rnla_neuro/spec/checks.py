"""Names of a model file: roles, variables, parameters, engine-supplied symbols, statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rnla_neuro.errors import ModelError, did_you_mean, unknown
from rnla_neuro.spec.equations import Statement, split_statements
from rnla_neuro.spec.expressions import divisors, identifiers, split_call, split_decision
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro.spec.names import Names
from rnla_neuro.spec.populations_checks import check_projections
from rnla_neuro.spec.spiking_checks import check_spiking
from rnla_neuro.spec.symbols import REDUCTIONS, engine_place, reserved_reason


def _check_definitions(names: Names) -> None:
    """No variable or parameter has a reserved name, and none hides another."""
    parameters = names.model.parameters
    for name in parameters:
        _refuse_reserved(name, names.where("parameters", name))
    for section in names.equations:
        for name, equation in names.equations[section].items():
            where = names.where(section, f"equations, {equation.left}")
            if not (section.startswith(("synapse", "projection")) and name == names.roles.get("weight")):
                _refuse_reserved(name, where)
            if name in parameters:
                raise ModelError(f"{where}: {name!r} is also a parameter")
            kind, _, part = section.partition(".")
            if kind == "neuron" and name in names.neurons()[part].group:
                raise ModelError(f"{where}: {name!r} is also a group reduction")
    for part, spec in names.neurons().items():
        section = f"neuron.{part}"
        for name in spec.group:
            where = names.where(section, f"group.{name}")
            _refuse_reserved(name, where)
            if name in parameters:
                raise ModelError(f"{where}: {name!r} is also a parameter")
        for name, text in spec.constants.items():
            where = names.where(section, f"initial.{name}")
            _refuse_reserved(name, where)
            if name in parameters or name in names.equations[section] or name in spec.group:
                what = "a parameter" if name in parameters else f"a variable of [{section}]"
                raise ModelError(f"{where}: {name!r} is also {what}")
            names.check(text, where, {"T", "dt"}, f"{section}:initial")


def _refuse_reserved(name: str, where: str) -> None:
    reason = reserved_reason(name)
    if reason:
        raise ModelError(f"{where}: the name {name!r} is not allowed: {reason}")


def _check_roles(names: Names) -> None:
    """Every role points at a variable that exists, of the right type."""
    model, roles, equations = names.model, names.roles, names.equations
    layers = ("neuron.hidden", "neuron.action")
    places = {
        "voltage": layers,
        "rate": ("neuron.input", *layers),
        "prospective_rate": ("neuron.input", "neuron.hidden"),
        "error": layers,
        "prospective_error": layers,
        "eligibility": ("synapse.hidden", "synapse.action"),
    }
    seen: dict[str, str] = {}
    for role, name in roles.items():
        if name in seen:
            raise ModelError(
                f"{names.where('roles', role)} = {name!r}: it has the role {seen[name]!r} already"
            )
        seen[name] = role
        for section in places.get(role, ()):
            if name not in equations[section]:
                nearest = did_you_mean(name, equations[section])
                raise ModelError(
                    f"{names.where('roles', role)} = {name!r}: [{section}] defines no such variable;{nearest}"
                    f" it defines {', '.join(equations[section]) or 'none'}"
                )
            if role in ("voltage", "eligibility") and not equations[section][name].is_ode:
                raise ModelError(
                    f"{names.where('roles', role)} = {name!r}: [{section}] must define it by an ODE, "
                    f"d{name}/dt = …"
                )
    wanted = {"current": "_post", "drive": "_post", "feedback": "_pre"}
    targets = {roles[role] + ending: role for role, ending in wanted.items() if role in roles}
    for key in model.sums:
        if key not in targets:
            raise ModelError(unknown(f"sum in {names.file}: [synapse.sums]", key, targets))
    for key, role in targets.items():
        if key not in model.sums:
            raise ModelError(
                f"{names.file}: [synapse.sums]: {key!r} is missing (role {role!r} is {roles[role]!r})"
            )
    for role in targets.values():
        reason = reserved_reason(roles[role])
        if reason:
            raise ModelError(f"{names.where('roles', role)} = {roles[role]!r} is not allowed: {reason}")


def _check_neurons(names: Names) -> None:
    roles = names.roles
    for part, spec in names.neurons().items():
        section = f"neuron.{part}"
        engine = names.engine(engine_place(section), section)
        received = names.received(section)
        if spec.phi is None:
            engine.pop("phi", None)
            engine.pop("phi_prime", None)
        else:
            if roles["voltage"] not in names.equations[section]:
                raise ModelError(
                    f"{names.where(section, 'phi')}: phi is a function of the voltage {roles['voltage']!r}, which "
                    f"[{section}] does not define"
                )
            names.check(spec.phi, names.where(section, "phi"), {roles["voltage"]}, f"{section}:phi")
        for equation in names.equations[section].values():
            where = names.where(section, f"equations, {equation.left}")
            names.check(equation.text, where, names.variables(section) | set(engine) | received, section)
        if spec.phi is not None and not {"phi", "phi_prime"} & names.used_in.get(section, set()):
            raise ModelError(f"{names.where(section, 'phi')}: nothing in [{section}] reads phi")
        supplied = set(names.engine("group")) if part == "action" else {"n"}
        _check_group(names, section, spec.group, supplied | received)
        check_spiking(names, section, spec, names.variables(section) | set(engine) | received)


def _check_group(names: Names, section: str, group: Mapping[str, str], supplied: set[str]) -> None:
    later = set(group)
    for name, text in group.items():  # in the file's order: each may use those before it
        where = names.where(section, f"group.{name}")
        argument = _reduction(text, where, REDUCTIONS)[1]
        names.check(argument, where, (names.variables(section) | supplied) - later, section)
        later.remove(name)


def _reduction(text: str, where: str, kinds: Iterable[str], count: int = 1) -> tuple[str, str]:
    """Split ``softmax(g*u)`` into kind and argument."""
    call = split_call(text, where)
    if call is None or call[0] not in kinds or len(call[1]) != count:
        forms = ", ".join(f"{kind}(…)" for kind in kinds)
        name = call[0] if call else text
        raise ModelError(f"{where} = {text!r}:{did_you_mean(name, kinds)} expected one of {forms}")
    return call[0], call[1][0]


def _check_sums(names: Names) -> None:
    rates = names.sent()
    for key, text in names.model.sums.items():
        ending = "_post" if key.endswith("_pre") else "_pre"
        pool = names.variables("neuron.hidden") if ending == "_post" else rates
        allowed = {f"{name}{ending}" for name in pool} | {names.roles["weight"]}
        names.check(text, names.where("synapse.sums", key), allowed, "sums")


def _plastic_names(names: Names, part: str) -> set[str]:
    """Names that an equation of a projection may use."""
    layer = f"neuron.{part}"
    summed = ("current", "drive", "feedback" if part == "hidden" else "noise")
    post = names.variables(layer) | {names.roles[role] for role in summed if role in names.roles}
    post |= names.received(layer)
    pre = names.sent()
    own = set(names.equations[f"synapse.{part}"]) | {names.roles["weight"]}
    return own | {f"{name}_post" for name in post} | {f"{name}_pre" for name in pre}


def _pulse_names(names: Names) -> set[str]:
    return {
        name
        for channel in names.model.neuromodulators
        for name in names.equations[f"neuromodulator.{channel}"]
    }


def _check_synapses(names: Names) -> None:
    weight = names.roles["weight"]
    for part, spec in names.synapses().items():
        section = f"synapse.{part}"
        allowed = _plastic_names(names, part) | set(names.engine("synapse")) | _pulse_names(names)
        for equation in names.equations[section].values():
            where = names.where(section, f"equations, {equation.left}")
            names.check(equation.text, where, allowed, section)
        for channel, text in spec.on_event.items():
            if channel not in names.model.neuromodulators:
                what = f"neuromodulator channel in {names.file}: [{section}] on_event"
                raise ModelError(unknown(what, channel, names.model.neuromodulators))
            _check_update(names, section, channel, text)
        if not spec.on_event and weight not in names.equations[section]:
            raise ModelError(
                f"{names.file}: [{section}]: nothing changes {weight!r}; add on_event.reward or d{weight}/dt"
            )
        for trace in set(names.equations[section]) - {weight}:
            if trace not in names.used_in.get(section + ":events", set()) | _others(names, section, trace):
                raise ModelError(f"{names.file}: [{section}] equations: nothing reads {trace!r}")
        for key, text in (("initial", spec.initial), ("initial_bias", spec.initial_bias)):
            names.check(text, names.where(section, key), names.engine("initial"), section)


def _others(names: Names, section: str, trace: str) -> set[str]:
    """Names read by the equations of a section other than the trace's own."""
    return set().union(
        *(
            identifiers(equation.text, section)
            for name, equation in names.equations[section].items()
            if name != trace
        )
    )


def _statements(names: Names, channel: str) -> list[Statement]:
    """Return what a channel does on an event."""
    where = names.where(f"neuromodulator.{channel}", "on_event")
    return split_statements(names.model.neuromodulators[channel].on_event, where)


def _check_update(names: Names, section: str, channel: str, text: str) -> None:
    where = names.where(section, f"on_event.{channel}")
    own = set(names.equations[section])
    weight = names.roles["weight"]
    spec = names.model.neuromodulators[channel]
    assigned = {statement.name for statement in _statements(names, channel)}
    values = own | assigned | set(spec.initial) | set(names.equations[f"neuromodulator.{channel}"])
    allowed = values | {weight} | set(names.engine("on_event"))
    for statement in split_statements(text, where):
        if statement.name not in own | {weight}:
            raise ModelError(
                f"{where}: {str(statement)!r}: {unknown('variable', statement.name, own | {weight})}"
            )
        names.check(statement.text, where, allowed, section + ":events")


def _check_neuromodulators(names: Names) -> None:
    for channel, spec in names.model.neuromodulators.items():
        section = f"neuromodulator.{channel}"
        pulses = names.equations[section]
        for equation in pulses.values():
            where = names.where(section, f"equations, {equation.left}")
            names.check(
                equation.text, where, set(pulses) | set(names.engine("neuromodulator")) - {"R"}, section
            )
        for name, text in spec.initial.items():
            where = names.where(section, f"initial.{name}")
            _refuse_reserved(name, where)
            names.check(text, where, {"n"}, section)
        _check_order(names, section, _statements(names, channel))


def _check_order(names: Names, section: str, statements: list[Statement]) -> None:
    """A variable is read only after it has a value, and each state variable is used."""
    channel = section.removeprefix("neuromodulator.")
    initial = set(names.model.neuromodulators[channel].initial)
    known = initial | set(names.equations[section])
    where = names.where(section, "on_event")
    engine = set(names.engine("neuromodulator"))
    assigned = {statement.name for statement in statements}
    for statement in statements:
        _refuse_reserved(statement.name, where)
        if statement.name in names.model.parameters:
            raise ModelError(
                f"{where}: {str(statement)!r} changes the parameter {statement.name!r}; it is a constant"
            )
        read = identifiers(statement.text, where) | ({statement.name} if statement.op != "=" else set())
        for name in sorted((read & assigned) - known):
            raise ModelError(
                f"{where}: {str(statement)!r}: {name!r} has no value yet; add initial.{name} to [{section}]"
            )
        names.check(statement.text, where, known | engine, f"{section}:events")
        known.add(statement.name)
    readers = [names.used_in.get(f"{section}:events", set())]
    readers += [
        names.used_in.get(f"synapse.{part}{end}", set())
        for part in ("hidden", "action")
        for end in ("", ":events")
    ]
    readers += [names.used_in.get(f"projection.{name}{end}", set())
                for name in names.model.projections for end in ("", ":events")]  # fmt: skip
    for name in sorted(known):
        if not any(name in reader for reader in readers):
            raise ModelError(f"{names.file}: [{section}]: nothing reads {name!r}")


def _check_exploration(names: Names) -> None:
    spec, roles = names.model.exploration, names.roles
    if names.model.takes_target and (spec.law != "none" or "noise" in roles):
        found = f"law {spec.law!r}" if spec.law != "none" else f"the role noise = {roles['noise']!r}"
        where = names.where("neuron.action", "equations")
        raise ModelError(
            f"{where}: 'target' is used, and the file explores ({found}): who is told what to do does not explore; "
            "write law = 'none' in [exploration], and no noise"
        )
    names.check(spec.scale, names.where("exploration", "scale"), set(), "exploration")
    if spec.tau is not None:
        names.check(spec.tau, names.where("exploration", "tau"), {"T", "dt"}, "exploration")
    where = names.where("exploration", "policy")
    read = {roles["drive"]} if "drive" in roles else {roles["current"]} | names.variables("neuron.action")
    names.check(_reduction(spec.policy, where, ("softmax",))[1], where, read | {"n"}, "exploration")
    where = names.where("exploration", "decision")
    argument = _reduction(spec.decision, where, ("argmax",))[1]
    call = split_call(argument, where)
    if call is not None and call[0] == "lowpass":
        if len(call[1]) != 2:
            raise ModelError(f"{where} = {spec.decision!r}: lowpass takes an expression and a time constant")
        argument = call[1][0]
        names.check(call[1][1], where, {"T", "dt"}, "exploration")
    allowed = names.variables("neuron.action") | {roles.get("drive", roles["current"]), "n"}
    allowed |= {roles["noise"]} if "noise" in roles else set()
    names.check(argument, where, allowed, "exploration")


def _check_read(names: Names, read_by_values: set[str]) -> None:
    """Everything in the file is read by something: a line without effect is a mistake."""
    for name in names.model.parameters:
        if name not in names.used and name not in read_by_values:
            raise ModelError(f"{names.where('parameters', name)}: nothing reads this parameter")
    if names.has_gate and "gate" not in names.used:
        raise ModelError(f"{names.where('trial', 'gate')}: no equation uses gate; remove the key or use it")
    synaptic = {
        name
        for reader, read in names.used_in.items()
        if reader == "sums" or reader.startswith(("synapse", "projection"))
        for name in read
    }
    for section in (f"neuron.{part}" for part in names.neurons()):
        read = names.used_in.get(section, set()) | names.used_in["exploration"] | names.used_in["sums"]
        for name in (names.variables(section) | names.received(section)) - set(names.roles.values()):
            if name in names.received(section) and _read_elsewhere(names, name):
                continue
            if name not in read and f"{name}_post" not in synaptic and f"{name}_pre" not in synaptic:
                raise ModelError(f"{names.file}: [{section}]: nothing reads {name!r}")


def _read_elsewhere(names: Names, name: str) -> bool:
    """Whether any section that gets a sum reads it: ``above`` may be a hidden layer or the action layer."""
    got = (f"neuron.{part}" for part in names.neurons())
    return any(name in names.used_in.get(section, set()) for section in got if name in names.received(section))


def _check_time_constants(names: Names) -> None:
    """A time that an equation divides by, or that filters something, is above zero."""
    constants: set[str] = set()
    for section, equations in names.equations.items():
        for equation in equations.values():
            constants |= divisors(equation.text, names.where(section, f"equations, {equation.left}"))
    filters = [names.model.exploration.tau] if names.model.exploration.tau is not None else []
    low_pass = split_decision(names.model.exploration.decision, names.where("exploration", "decision"))[1]
    filters += [] if low_pass is None else [low_pass]
    for text in filters:
        constants |= divisors(f"1/({text})", names.where("exploration", "tau"))
    for name, parameter in names.model.parameters.items():
        if parameter.unit == "s" and name in constants and not parameter.value > 0:
            raise ModelError(
                f"{names.where('parameters', name)} = {parameter.text!r} ({parameter.value * 1e3:g} ms): "
                "an equation divides by this time constant; it must be above 0"
            )


def check_names(model: ModelSpec, has_gate: bool, read_by_values: set[str]) -> None:
    """Check roles and every name that a model uses.

    Args:
        model: The model, not yet checked.
        has_gate: Whether [trial] sets gate.
        read_by_values: Parameters that other parameters or [trial] refer to.

    Raises:
        ModelError: The message names file, section and key, what is allowed, and the nearest known name.
    """
    names = Names(model, has_gate)
    _check_definitions(names)
    _check_roles(names)
    _check_neurons(names)
    _check_sums(names)
    _check_synapses(names)
    check_projections(names, _pulse_names(names), _check_update)
    _check_neuromodulators(names)
    _check_exploration(names)
    _check_time_constants(names)
    _check_read(names, read_by_values)
