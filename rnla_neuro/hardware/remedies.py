"""What to change where a network does not fit, and which single change is enough: each is tried by a fit of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf, log10

from rnla_neuro.errors import RnlaError
from rnla_neuro.hardware.cells import input_rate, read_cells
from rnla_neuro.hardware.demand import demands
from rnla_neuro.hardware.fit import count_lines, fit
from rnla_neuro.hardware.fit_circuits import TWIN
from rnla_neuro.hardware.placement import place
from rnla_neuro.hardware.report import FitReport, Line, Verdict
from rnla_neuro.hardware.spec import Figure, HardwareSpec
from rnla_neuro.network import FloatArray, NetworkSpec
from rnla_neuro.spec.equations import split_equations
from rnla_neuro.spec.expressions import divisors, identifiers
from rnla_neuro.spec.inputs import with_input
from rnla_neuro.spec.loader import parse_model

_COUNTED = ("circuits", "merging", "fan_in", "synapses", "rows", "units", "readout")
_TIMES = ("tau_m", "tau_syn", "tau_refrac")
_CODES = ("poisson", "regular", "latency")
_MOST_JOINED = 5  # changes that are joined

Case = tuple[NetworkSpec, HardwareSpec]


@dataclass(frozen=True)
class Remedy:
    """A change, and what a fit with it says.

    Attributes:
        change: What to change, as an option or a line of the platform file.
        why: What that does, in words.
        enough: Whether the network fits with this change alone.
        solves: Keys of the lines of which some fit with it that did not before.
        leaves: Keys of the lines that do not fit with it.
    """

    change: str
    why: str
    enough: bool
    solves: tuple[str, ...]
    leaves: tuple[str, ...]


@dataclass(frozen=True)
class _Change:
    """A change that can be tried."""

    change: str
    why: str
    apply: Callable[[Case], Case]


def remedies(
    report: FitReport,
    network: NetworkSpec,
    hardware: HardwareSpec,
    weights: Sequence[FloatArray] | None = None,
    code: str = "",
) -> tuple[Remedy, ...]:
    """Return what can be changed, those that are enough alone first; empty where the network fits.

    Args:
        report: What `fit` said of the same network, platform and weights.
        network: The network.
        hardware: The platform.
        weights: As for `fit`.
        code: The input code that the network was built with, as ``--input`` takes it.

    Where no change is enough alone, one more remedy joins changes, each the one that solves most of what is left.
    """
    if report.fits:
        return ()
    case, wrong = (network, hardware), _keys(report)
    tried = [_tried([change], case, weights, wrong) for change in _changes(report, network, hardware, code)]
    found = [one for one in tried if one is not None and one.solves]
    if found and not any(one.enough for one in found):
        joined = _tried(_joined(report, case, weights, code), case, weights, wrong)
        found += [] if joined is None else [joined]
    return tuple(sorted(found, key=lambda one: not one.enough))


def _keys(report: FitReport) -> Counter[str]:
    """Return the keys of what does not fit the chip itself, and how many lines of each: two time constants, say."""
    return Counter(line.key for line in (*report.exceeded, *report.off_chip))


def _fit(case: Case, before: Case, weights: Sequence[FloatArray] | None) -> FitReport:
    """Fit a changed network; its weights are those given where it still has their shapes."""
    same = [one.shape for one in case[0].projections] == [one.shape for one in before[0].projections]
    return fit(*case, weights if same and case[0].seeds == before[0].seeds else None)


def _tried(
    changes: Sequence[_Change], case: Case, weights: Sequence[FloatArray] | None, wrong: Counter[str]
) -> Remedy | None:
    """Fit with changes; None: they cannot be made."""
    changed = case
    try:
        for change in changes:
            changed = change.apply(changed)
    except RnlaError:
        return None
    report = _fit(changed, case, weights)
    text = " and ".join(change.change for change in changes)
    why = changes[0].why if len(changes) == 1 else "together"
    solves = tuple(sorted(wrong - _keys(report)))
    return Remedy(text, why, report.fits, solves, tuple(sorted(_keys(report))))


def _joined(report: FitReport, case: Case, weights: Sequence[FloatArray] | None, code: str) -> list[_Change]:
    """Take the change that solves most of what is left, then of what that leaves, and so on."""
    chosen: list[_Change] = []
    state = case
    for _ in range(_MOST_JOINED):
        best: tuple[int, _Change, Case, FitReport] | None = None
        for change in _changes(report, *state, code):
            try:
                after = change.apply(state)
            except RnlaError:
                continue
            then = _fit(after, case, weights)
            solved = (_keys(report) - _keys(then)).total()
            if solved and (best is None or solved > best[0]):
                best = solved, change, after, then
        if best is None:
            break
        _, change, state, report = best
        chosen.append(change)
        if report.fits:
            break
    return chosen


def _changes(report: FitReport, network: NetworkSpec, hardware: HardwareSpec, code: str) -> Iterator[_Change]:
    wrong = {line.key: line for line in (*report.exceeded, *report.off_chip)}
    if "neuron" in wrong and network.model.name != TWIN:
        yield _twin(code)
    if "input" in wrong:
        yield from _inputs(wrong["input"], network, hardware, code)
    if wrong.keys() & set(_COUNTED):
        yield from _smaller(network, hardware, code)
        yield from _more_units(report)
    times = [line for line in report.exceeded if line.key in _TIMES]
    if times:
        yield from _other_times(times, network)
        yield from _other_clock(times, network, hardware)
    if "weight_range" in wrong:
        yield _wider(wrong["weight_range"])
    if "threshold" in wrong:
        yield _wider_span(wrong["threshold"], hardware)


def _network(network: NetworkSpec, **changes: object) -> NetworkSpec:
    """Return a network with other fields; of its seeds one is enough to look at."""
    return replace(network, **{"seeds": network.seeds[:1], **changes})  # type: ignore[arg-type]


def _named_code(code: str) -> str:
    """Return the code of ``--input`` without its population."""
    return next((part.strip() for part in code.split(",") if part.strip() in _CODES), "")


def _twin(code: str) -> _Change:
    def apply(case: Case) -> Case:
        from rnla_neuro import resources

        network, hardware = case
        path = resources.models_dir() / f"{TWIN}.toml"
        model = parse_model(path.read_text(encoding="utf-8"), path)
        if network.model.input.threshold is not None:
            model = with_input(model, _named_code(code) or _code_of(network) or "poisson", units=False)
        return replace(network, model=model), hardware

    return _Change(f"MODEL {TWIN}", "its neurons are leaky integrate-and-fire", apply)


def _code_of(network: NetworkSpec) -> str:
    """Return the code whose equations a network's input has; empty: none of them."""
    plain = network.model.input
    for name in _CODES:
        try:
            if with_input(network.model, name, units=False).input.threshold == plain.threshold:
                return name
        except RnlaError:
            continue
    return ""


def _inputs(line: Line, network: NetworkSpec, hardware: HardwareSpec, code: str) -> Iterator[_Change]:
    """Change how inputs are sent."""
    extra = [part.strip() for part in code.split(",") if part.strip().startswith("population")]
    for name in _CODES:
        if name == _named_code(code):
            continue

        def apply(case: Case, name: str = name) -> Case:
            plain = with_input(case[0].model, "analog", units=False)  # the parameters of another code go
            return replace(case[0], model=with_input(plain, name, units=False)), case[1]

        yield _Change(f"--input {','.join([*extra, name])}", "input as spikes", apply)
    if line.verdict != Verdict.EXCEEDS or hardware.inputs.rate is None:
        return
    most = hardware.inputs.rate.number
    rate = input_rate(network.model)
    fit_in = floor(most / (rate.middle * hardware.speed_up))
    if 0 < fit_in < network.sizes[0]:
        yield _fewer_inputs(fit_in, network, code)
    part = most / (network.sizes[0] * rate.middle * hardware.speed_up)
    texts = [network.model.input.equations, network.model.input.threshold or ""]
    for name, parameter in network.model.parameters.items():
        if parameter.unit == "Hz" and any(name in text for text in texts):
            yield _set(name, f"{_down(parameter.value * part):g}*Hz", "a lower rate of the input neurons")
    if rate.peak == rate.middle == 1 / network.model.trial.duration:
        yield _set("T", f"{_up(network.model.trial.duration / part):g}*second", "longer trials")


def _set(name: str, value: str, why: str) -> _Change:
    """Set a parameter of the model."""

    def apply(case: Case) -> Case:
        model = case[0].model
        return replace(case[0], model=parse_model(model.text, model.path, {**model.overrides, name: value})), case[1]

    return _Change(f"--set {name}={value.replace('*', '')}", why, apply)


def _counts_fit(network: NetworkSpec, hardware: HardwareSpec) -> bool:
    populations = demands(network, hardware)
    if any(line.verdict == Verdict.EXCEEDS for line in count_lines(populations, None, hardware)):
        return False  # nothing has to be placed to see that
    lines = count_lines(populations, place(populations, hardware), hardware)
    return all(line.verdict != Verdict.EXCEEDS for line in lines)


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number from 1 to `most` that fits, by bisection; 0: none does."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _smaller(network: NetworkSpec, hardware: HardwareSpec, code: str) -> Iterator[_Change]:
    """Take fewer hidden neurons, or fewer inputs: the largest number that fits."""
    n_in, hidden, n_out = network.sizes[0], network.sizes[1:-1], network.sizes[-1]
    top = max(hidden)

    def scaled(k: int) -> tuple[int, ...]:
        return (n_in, *(max(1, round(h * k / top)) for h in hidden), n_out)

    best = _largest(top - 1, lambda k: _counts_fit(_network(network, sizes=scaled(k)), hardware))
    if best:
        sizes = scaled(best)
        yield _Change(
            f"--hidden {','.join(map(str, sizes[1:-1]))}",
            "the largest hidden layers that fit",
            lambda case: (_network(case[0], sizes=sizes), case[1]),
        )
    fewer = _largest(n_in - 1, lambda k: _counts_fit(_network(network, sizes=(k, *network.sizes[1:])), hardware))
    if fewer:
        yield _fewer_inputs(fewer, network, code)


def _fewer_inputs(most: int, network: NetworkSpec, code: str) -> _Change:
    """Take a smaller population code, where there is one, or fewer inputs."""
    parts = [part.strip() for part in code.split(",") if part.strip()]
    n, why, text = most, "fewer of them, such as a smaller picture", ""
    for k, part in enumerate(parts):
        name, _, count = part.partition(":")
        if name == "population" and most >= 2 * (network.sizes[0] // int(count)):
            each = most // (network.sizes[0] // int(count))
            n, why = each * (network.sizes[0] // int(count)), "a smaller population code"
            text = "--input " + ",".join([*parts[:k], f"population:{each}", *parts[k + 1 :]])
    return _Change(
        text or f"{n:,} inputs", why, lambda case: (_network(case[0], sizes=(n, *case[0].sizes[1:])), case[1])
    )


def _more_units(report: FitReport) -> Iterator[_Change]:
    """Take as many chips as the placement needs."""
    line = report.line("units")
    if line is None or line.verdict != Verdict.EXCEEDS or line.used is None:
        return
    count = int(line.used)

    def apply(case: Case) -> Case:
        own = case[1].neurons
        return case[0], replace(case[1], neurons=replace(own, units=_figure(own.units, count)))

    yield _Change(
        f"{count:,} {line.what}", "spikes cross between them, over links that this check does not know", apply
    )


def _figure(old: Figure | None, value: float) -> Figure:
    if old is None:
        return Figure(value, None, None, "1", "tried")
    return replace(old, value=float(value))


def _other_times(times: list[Line], network: NetworkSpec) -> Iterator[_Change]:
    """Set the parameter that is a time constant to the nearest end of its range."""
    for line in times:
        assert line.used is not None
        ends = [end for end in (line.low, line.high) if end is not None]
        nearest = min(ends, key=lambda end: abs(end - (line.used or 0.0)))
        for name in _parameters(network, line.used):
            yield _set(name, f"{nearest * 1e3:.6g}*ms", f"the nearest {line.what} of the platform")


def _parameters(network: NetworkSpec, value: float) -> list[str]:
    """Return the parameters that are a time of a neuron with some value."""
    model = network.model
    used: set[str] = set()
    for name, spec in model.neurons.items():
        equations = split_equations(spec.equations, f"[neuron.{name}] equations")
        for equation in equations.values():
            used |= divisors(equation.text, "")
        if spec.refractory is not None:
            used |= identifiers(spec.refractory, "")
    same = [n for n, p in model.parameters.items() if p.unit == "s" and abs(p.value - value) <= 1e-9 * abs(value)]
    cells = read_cells(model).values()
    direct = {tau for cell in cells for tau in (cell.tau, *cell.filters.values(), cell.refractory)}
    return [name for name in same if name in used and value in direct]


def _other_clock(times: list[Line], network: NetworkSpec, hardware: HardwareSpec) -> Iterator[_Change]:
    """Run the model at another speed: one factor for all times, where one brings all of them into range."""
    report = [line for line in fit(_network(network), hardware).lines if line.key in _TIMES and line.used]
    slowest = max((line.used or 0.0) / line.high for line in report if line.high) if report else 0.0
    quickest = min(((line.used or 0.0) / line.low for line in report if line.low), default=float("inf"))
    if not 0.0 < slowest <= quickest:
        return
    factor = _up(slowest) if slowest > 1 else _down(min(quickest, 1.0))
    if not slowest <= factor <= quickest:
        factor = slowest
    speed = hardware.speed_up * factor

    def apply(case: Case) -> Case:
        clock = case[1].time
        return case[0], replace(case[1], time=replace(clock, speed_up=_figure(clock.speed_up, speed)))

    yield _Change(f"[time.speed_up] value = {speed:g}", "the whole model faster or slower on the platform", apply)


def _wider(line: Line) -> _Change:
    """Let the largest integer stand for a larger weight."""
    value = _up(line.used or 0.0)

    def apply(case: Case) -> Case:
        own = case[1].weights
        return case[0], replace(case[1], weights=replace(own, range=_figure(own.range, value)))

    step = f"; the step grows by a factor of {value / line.high:.2g}" if line.high else ""
    return _Change(f"[weights.range] value = {value:g}", f"a coarser grid that holds the largest weight{step}", apply)


def _wider_span(line: Line, hardware: HardwareSpec) -> _Change:
    """Let the readout's range stand for more of the model's voltage."""
    span = hardware.readout.span
    assert span is not None
    assert line.used is not None
    assert line.high is not None
    value = _up(span.number * line.used / line.high)

    def apply(case: Case) -> Case:
        own = case[1].readout
        return case[0], replace(case[1], readout=replace(own, span=_figure(own.span, value)))

    return _Change(f"[readout.span] value = {value:g}", "fewer LSB for 1 of the model's voltage", apply)


def _up(value: float) -> float:
    """Round up to two digits.

    >>> _up(1.234), _up(0.0501), _up(2.0)
    (1.3, 0.051, 2.0)
    """
    if not 0.0 < value < inf:
        return value
    scale = 10.0 ** (floor(log10(value)) - 1)
    return float(f"{ceil(round(value / scale, 9)) * scale:.2g}")


def _down(value: float) -> float:
    """Round down to two digits."""
    if not 0.0 < value < inf:
        return value
    scale = 10.0 ** (floor(log10(value)) - 1)
    return float(f"{floor(round(value / scale, 9)) * scale:.2g}")
