"""`rnla check`: is a model file sound, what was proven of it, is a network of it well-posed at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rnla_neuro.network import NetworkSpec
    from rnla_neuro.spec.form import EquilibriumForm, Traces, Update

EXAMPLES = (
    ("the default model, with the network for digits", "rnla check rate_nla"),
    ("your own model, in the network that you will run", "rnla check ./mine.toml --task xor --hidden 8"),
    (
        "with other parameters and late rewards",
        "rnla check rate_nla_late --set tau_elig=20ms --reward-delay gamma:2,0.5T",
    ),
    (
        "does it fit a chip, and where would it lie",
        "rnla check spiking_lif_nla --input poisson --hardware brainscales2 --picture",
    ),
    ("does what a run has learned fit", "rnla check runs/lif --hardware ./mychip.toml"),
)
ARGUMENTS = (("MODEL", "a name of 'rnla list models', or the path of a model file; with --hardware also a run folder"),)
PLATFORM = "Platform"


@click.command(
    "check",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Check units, names, roles and completeness of a model file; prove that its equations have the form "
    "which the backend solves; and compute whether the network is well-posed with its initial weights.\n\n"
    "With --hardware: does the network fit a platform, how large is every rounding, and where it does not fit, "
    "which change is enough.\n\n"
    "Exit code 0: it can be run, or fits. 1: it does not fit the platform. 2: it is refused, and the message says "
    "which term and why.",
)
@click.argument("model")
@click.option("--backend", cls=Option, metavar="NAME", default="equilibrium", help="a name of 'rnla list backends'")
@click.option(
    "--set", "settings", cls=Option, metavar="NAME=VALUE", multiple=True,
    help="change a parameter of the model, such as eta=0.05 or T=50ms (can be repeated)",
)  # fmt: skip
@shared.input_code()
@click.option(
    "--task", cls=Option, metavar="TASK", default="digits", help="how many inputs and actions the network has"
)
@shared.hidden()
@click.option(
    "--reward-delay", cls=Option, metavar="LAW", default="none",
    help="when rewards come, as in 'rnla run': it sets the credit of a trial",
)  # fmt: skip
@click.option(
    "--seeds", cls=Option, type=values.Text("SEEDS", values.seeds), default="10",
    help="whose initial weights are looked at, as in 'rnla run'",
)  # fmt: skip
@shared.precision(help="float64 or float32, for memory and time")
@click.option(
    "--hardware", cls=Option, group=PLATFORM, metavar="NAME|FILE", default="", callback=shared.platform,
    help="a name of 'rnla list hardware', or the path of a platform file; no backend is looked at then",
)  # fmt: skip
@click.option(
    "--run", "run", cls=Option, group=PLATFORM, metavar="FOLDER", default="",
    help="a run folder whose weights are looked at in place of initial ones (MODEL may be one too)",
)  # fmt: skip
@click.option(
    "--picture", cls=Option, group=PLATFORM, metavar="FILE", is_flag=False, flag_value="placement.png", default=None,
    help="also draw where everything would lie; without a name: placement.png (and .svg)",
)  # fmt: skip
@shared.as_json()
def command(
    model: str,
    backend: str,
    settings: tuple[str, ...],
    task: str,
    hidden: tuple[int, ...] | None,
    reward_delay: str,
    seeds: tuple[int, ...],
    precision: str,
    input_code: str,
    hardware: str,
    run: str,
    picture: str | None,
    as_json: bool,
) -> None:
    """Check."""
    overrides = values.assignments(settings)
    if hardware:
        options = {"task": task, "hidden": hidden, "seeds": seeds, "reward_delay": reward_delay, "input": input_code}
        _platform(model, hardware, run, picture, overrides, options | {"precision": precision}, as_json=as_json)
        return
    for option, given in (("--run", run), ("--picture", picture)):
        if given or (given is not None and option == "--picture"):
            raise ConfigError(f"{option} {given or repr(given)}: it is for a platform; give one with --hardware")
    from rnla_neuro.cli import engines, networks, screen

    with screen.only_json_on_stdout(as_json):
        from rnla_neuro.backend import get_backend

        engine = get_backend(backend)  # a wrong name is told before anything is computed
        network = networks.build(
            model, overrides, task, hidden, seeds, reward_delay=reward_delay, precision=precision, input=input_code
        )
        engine.check(network, {})
        refusal = engines.why_not_proven(network)
        start = _start(network) if refusal is None else None
        described = engine.describe(network)
        if refusal is not None and described is None:
            raise refusal
        proven = _proven(network.form) if refusal is None else []
    if as_json:
        about = {
            "model": network.model.name,
            "file": str(network.model.path),
            "backend": backend,
            "sizes": list(network.sizes),
            "precision": precision,
            "proven": [{"name": name.strip(), "text": text} for name, text in proven],
            "not_proven": None if refusal is None else str(refusal),
            "start": start,
            "engine": None if described is None else engines.as_json(described, network, task),
        }
        screen.print_json(about)
        return
    ok = click.style("ok", fg="green", bold=True)
    click.echo(f"{click.style(network.model.name, bold=True)}  {network.model.summary}")
    click.echo(f"{ok}  {network.model.path}: complete; names, roles and units agree")
    if refusal is None:
        rest = "proven of its equations: u = W r̄ + ē(u) + ξ̄ on the trajectory"
        click.echo(f"{ok}  {backend} can run it; {rest}")
        screen.print_rows(proven)
    else:
        click.echo(f"{ok}  {backend} can run it, step by step: its equations are not of the proven form")
        if described is None or all(str(refusal) not in reason for _, reason in described.fallbacks):
            screen.print_rows([("why", str(refusal))])
    if start is not None:
        sizes = "-".join(map(str, network.sizes))
        click.echo(f"{ok}  a network {sizes} is well-posed with the weights it starts with")
        screen.print_rows(_start_words(start, network))
    if described is not None:
        click.echo(f"{ok}  {backend} would run it {described.road}")
        screen.print_rows(engines.words(described, network, task))


def _platform(
    model: str,
    hardware: str,
    run: str,
    picture: str | None,
    overrides: Mapping[str, str],
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Check against a platform; the exit code says whether the network fits."""
    from rnla_neuro.cli import check_hardware, networks, screen

    stem = None if picture is None else check_hardware.picture_stem(picture)
    with screen.only_json_on_stdout(as_json):
        from rnla_neuro.hardware.reading import load_hardware

        platform = load_hardware(hardware)  # a wrong name is told before anything is computed
        task, code = options["task"], options["input"]
        if check_hardware.is_run(model):
            _refuse_of_run(model)
            network, weights, task, code = check_hardware.network_of_run(model)
            whose = f"weights of {model}"
        else:
            check_hardware.refuse_folder(model)
            check_hardware.refuse_sizes(options["hidden"])
            network = check_hardware.of_size(networks.build(model, overrides, **options, units=False))
            weights = check_hardware.trained(run, network) if run else network.initial_weights()
            whose = f"weights of {run}" if run else f"initial weights of {_seeds(network)}"
    fits = check_hardware.show(
        network, platform, weights, task=task, code=code, whose=whose, picture=stem, as_json=as_json
    )
    if not fits:
        click.get_current_context().exit(1)


def _seeds(network: NetworkSpec) -> str:
    count = len(network.seeds)
    return f"seed {network.seeds[0]}" if count == 1 else f"{count} seeds"


def _refuse_of_run(folder: str) -> None:
    """Refuse options that a run folder says itself."""
    context = click.get_current_context()
    for name in ("task", "hidden", "seeds", "reward_delay", "input_code", "settings", "precision", "run"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = {"settings": "--set", "input_code": "--input"}.get(name, "--" + name.replace("_", "-"))
            raise ConfigError(f"{option}: MODEL is the run folder {folder}, which says that itself; leave it out")


def _start(network: NetworkSpec) -> dict[str, Any]:
    """Compute the gain bound of the initial weights and the credit of a trial.

    Raises:
        ConvergenceError: The nudging is too strong for one equilibrium.
        ConfigError: The eligibility trace holds nothing of a trial when its reward arrives.
    """
    from rnla_neuro.network import gain_bound, nudging_slope, refuse_strong_nudging, steepest_rate

    slope, steepest = nudging_slope(network.form, network.sizes[-1]), steepest_rate(network.form)
    bound = gain_bound(network.initial_weights(), slope, steepest)
    refuse_strong_nudging(bound, network.model)
    return {
        "gain_bound": bound.value,
        "nudging_slope": bound.nudging,
        "layer_norms": list(bound.layer_norms),
        "seed": network.seeds[bound.agent],
        "room": 1 / bound.nudging - 1 if bound.nudging > 0 else None,
        "credit": network.credit,
    }


def _start_words(start: dict[str, Any], network: NetworkSpec) -> list[tuple[str, str]]:
    """Say what was computed for the start."""
    room = "no limit: there is no nudging" if start["room"] is None else f"up to {start['room']:.3g}"
    n = len(network.seeds)
    return [
        ("gain bound", f"b (1 + Σ‖W φ'‖²) = {start['gain_bound']:.3g}, below 1 (largest of {n} seeds)"),
        ("  nudging slope b", f"{start['nudging_slope']:.3g}"),
        ("  room for the weights", f"Σ‖W φ'‖² may grow {room}"),
        (
            "credit of a trial",
            f"{start['credit']:.3g} in the eligibility trace, reward delay {network.delay}",
        ),
    ]


def _proven(form: EquilibriumForm) -> list[tuple[str, str]]:
    """Say what the proof found, a line a part."""
    lines = [
        ("input rate", str(form.input_rate)),
        ("hidden rate φ(u)", str(form.phi)),
        ("its slope φ'(u)", str(form.phi_prime)),
        ("membrane", f"tau_m = {_ms(form.tau_m)}"),
        ("nudging ē", str(form.nudging)),
        *((f"  {group.name}", f"{group.kind}({group.argument})") for group in form.groups),
        ("action rate", str(form.action_rate)),
        ("exploration", _exploration(form)),
        ("policy", f"{form.policy.kind}({form.policy.argument})"),
        ("decision", _decision(form)),
    ]
    for name, traces in (("hidden", form.hidden), ("action", form.action)):
        lines += _traces(name, traces)
        for channel, update in traces.updates.items():
            lines += [(f"  on {channel}", text) for text in _update("w +=", traces, update)]
        for channel, flow in traces.flows.items():
            lines += [(f"  while {channel} lasts", text) for text in _update("dw/dt =", traces, flow)]
    for modulator in form.modulators:
        statements = "; ".join(f"{name} = {expr}" for name, expr in modulator.statements)
        pulse = f"; {modulator.pulse.variable} decays with {_ms(modulator.pulse.tau)}" if modulator.pulse else ""
        lines.append((f"neuromodulator {modulator.channel}", statements + pulse))
    return lines


def _exploration(form: EquilibriumForm) -> str:
    if form.noise == "none":
        return "none"
    tau = f", correlation time {_ms(form.noise_tau)}" if form.noise_tau is not None else ", held for a trial"
    lowpass = ", low-passed with tau_m" if form.noise_lowpass else ""
    return f"{form.noise}, scale {form.noise_scale:g}{tau}{lowpass}"


def _decision(form: EquilibriumForm) -> str:
    rule = form.decision
    if rule.tau is None:
        return f"argmax({rule.argument})"
    return f"argmax of {rule.argument}, low-passed with {_ms(rule.tau)}"


def _traces(layer: str, traces: Traces) -> list[tuple[str, str]]:
    """Say each trace of a projection: its time constant and what drives it."""
    lines = []
    for i, name in enumerate(traces.names):
        tau = f"tau {_ms(-1 / traces.A[i, i])}" if traces.A[i, i] else "no decay"
        drives = [
            f"({source.factor})*rbar_pre" + (" while the gate is open" if source.gated else "")
            for source, weight in zip(traces.sources, traces.B[i], strict=True)
            if weight
        ]
        drives += [other for j, other in enumerate(traces.names) if j != i and traces.A[i, j]]
        role = "eligibility" if i == traces.eligibility else "trace"
        lines.append((f"{layer} {role} {name}", f"{tau}, driven by {' and '.join(drives) or 'nothing'}"))
    return lines


def _update(verb: str, traces: Traces, update: Update) -> list[str]:
    """Say what an event does to the weights."""
    return [
        f"{verb} ({gain})*{name}" if gain.is_Add else f"{verb} {gain}*{name}"
        for name, gain in zip(traces.names, update.gains, strict=True)
        if not gain.is_zero
    ] + [f"{name} = 0" for name, reset in zip(traces.names, update.resets, strict=True) if reset]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"
