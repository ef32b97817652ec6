"""What a comparison came to, in sentences: only what the numbers support."""

from __future__ import annotations

from typing import Final

from rnla_neuro.analysis.comparison import Cell, Comparison, Measured, MeasureSpec, PairedTest
from rnla_neuro.analysis.report.formatting import interval, number, p_value
from rnla_neuro.errors import RnlaError
from rnla_neuro.rewards import RewardDelay

LEVEL: Final = 0.05
_MOST_PAIRS: Final = 8  # more sentences are not read: the table has them all


def delay_words(delay: str) -> str:
    """Say a reward delay in words; one that cannot be read stays as it is.

    >>> delay_words("none"), delay_words("iterations:1"), delay_words("gamma:2,15ms"), delay_words("fixed:3ms")
    ('no delay', '1 decision late', 'Gamma(2, 15 ms) late', '3 ms late')
    """
    try:
        law = RewardDelay.parse(delay)
    except RnlaError:
        return delay
    if law.kind == "none":
        return "no delay"
    if law.kind == "iterations":
        return f"{law.iterations} decision{'s' * (law.iterations != 1)} late"
    time = _spaced(delay.partition(":")[2].rpartition(",")[2].strip() or delay)
    return f"Gamma({law.shape:g}, {time}) late" if law.kind == "gamma" else f"{time} late"


def several(n: int, what: str) -> str:
    """Say how many of something there are."""
    return f"{number(n)} {what}{'' if n == 1 else 's'}"


def label_of(spec: MeasureSpec) -> str:
    """Return the label of a measure, as it begins a line."""
    return spec.label[:1].upper() + spec.label[1:]


def unit_of(spec: MeasureSpec) -> str:
    """Return the unit of a measure, unless its label says it already ("spikes a decision" are spikes)."""
    return "" if len(spec.unit) > 2 and spec.unit in spec.label else spec.unit


def listed(names: list[str]) -> str:
    """Join names as one would say them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def what_was_compared(comparison: Comparison) -> str:
    """Say what was compared, and how often."""
    models = listed([f"`{model.name}`" for model in comparison.models])
    verb = "were" if len(comparison.models) > 1 else "was"
    text = f"{several(len(comparison.models), 'model')} ({models}) {verb} trained on `{comparison.task}`"
    delays = [delay_words(delay) for delay in comparison.delays]
    rewards = "at once" if delays == ["no delay"] else listed(delays).replace("no delay", "at once")
    text += (
        f" on the same {several(len(comparison.seeds), 'seed')}, for {several(comparison.iterations, 'decision')} "
        f"a seed. The reward of a decision came {rewards}."
    )
    if any(delay.startswith("Gamma(") for delay in delays):
        text += " Gamma(k, s) is a random delay with shape k and scale s: k times s on average."
    if comparison.chance is not None:
        text += f" Random actions are right with probability {number(comparison.chance)}."
    return text


def measured_words(measure: MeasureSpec, measured: Measured) -> str:
    """Say a mean, its interval, and for how many seeds there is none."""
    mean, ends = interval(measured.mean, measured.low, measured.high, unit_of(measure))
    text = f"{mean} ({ends})" if ends else mean
    lost = sum(value is None for value in measured.values)
    if lost:
        text += f" [{len(measured.values) - lost} of {len(measured.values)} seeds]"
    return text


def ranking(comparison: Comparison, measure: MeasureSpec) -> list[str]:
    """Say, for each delay, what the models came to in one measure, the best first."""
    sentences = []
    for delay in comparison.delays:
        found = [(cell, cell.measures.get(measure.key)) for cell in comparison.cells if cell.delay == delay]
        known = [(cell, one, one.mean) for cell, one in found if one is not None and one.mean is not None]
        if known:
            known.sort(key=lambda item: item[2], reverse=measure.better != "lower")
            parts = [f"`{cell.model}` {measured_words(measure, one)}" for cell, one, _ in known]
            sentences.append(f"{delay_words(delay)}: {'; '.join(parts)}")
    return sentences


def differences(comparison: Comparison, measure: MeasureSpec) -> list[tuple[str, list[str]]]:
    """Say which differences in one measure are shown by the tests, which are likely, and which are open.

    Returns:
        Pairs of a sentence and what it is about; a sentence about nothing is left out.
    """
    tests = [test for test in comparison.tests if test.measure == measure.key and test.difference is not None]
    tests.sort(key=lambda test: -abs(test.difference or 0.0))
    shown = [test for test in tests if is_shown(test)]
    likely = [test for test in tests if not is_shown(test) and _leaves_out_zero(test)]
    open_ = [test for test in tests if not is_shown(test) and not _leaves_out_zero(test)]
    groups = [
        ("Differences that the tests show, after correction:", [difference_words(t, measure) for t in shown]),
        (
            "Likely, since the 95 % interval of the difference leaves out zero, but not shown by the corrected tests:",
            [difference_words(t, measure) for t in likely],
        ),
        (
            "No difference was found between the following; that is no proof of equality, since the interval says how "
            "large a difference may still be:",
            [_open_words(t, measure) for t in open_],
        ),
    ]
    return [(sentence, _shortened(items)) for sentence, items in groups if items]


def _shortened(items: list[str]) -> list[str]:
    """Keep the first few of many."""
    if len(items) <= _MOST_PAIRS + 1:
        return items
    return [*items[:_MOST_PAIRS], f"and {len(items) - _MOST_PAIRS} more: see the paired tests below"]


def _leaves_out_zero(test: PairedTest) -> bool:
    """Return whether the interval of a difference is on one side of zero."""
    return test.low is not None and test.high is not None and (test.low > 0 or test.high < 0)


def difference_words(test: PairedTest, measure: MeasureSpec) -> str:
    """Say one difference: which way, how large, and its corrected p."""
    size, ends = interval(abs(test.difference or 0.0), *_turned(test), unit_of(measure))
    more = "above" if (test.difference or 0.0) > 0 else "below"
    p = p_value(test.p_corrected)
    equals = "" if p.startswith("<") else "= "
    tested = f"; p {equals}{p}" if test.p_corrected is not None else ""
    return f"{delay_words(test.delay)}: `{test.a}` {more} `{test.b}` by {size} ({ends}{tested})"


def _open_words(test: PairedTest, measure: MeasureSpec) -> str:
    """Say a difference that may as well be none."""
    size, ends = interval(test.difference, test.low, test.high, unit_of(measure), sign=True)
    words = f"{size}, {ends}" if ends else f"{size}, no interval"
    return f"{delay_words(test.delay)}: `{test.a}` minus `{test.b}` ({words})"


def is_shown(test: PairedTest) -> bool:
    """Return whether the corrected test shows a difference."""
    return test.p_corrected is not None and test.p_corrected < LEVEL


_LATE_BASELINES: Final = {
    "reinforce": "`reinforce` is told the mean delay, and credits the decision that lies so far back: a reward that is "
    "always as late leaves its result as it is. The neural models are not told.",
    "backprop": "`backprop` learns from right answers, not from rewards: delays change nothing for it.",
}


def caveats(comparison: Comparison) -> list[str]:
    """Say what the numbers cannot say."""
    found = []
    n = len(comparison.seeds)
    if n == 1:
        found.append("There is a single seed: there are no intervals and no tests, and differences may be chance.")
    elif n < 10:
        found.append(
            f"Intervals are 95 % bootstrap intervals of the mean over {n} seeds; from so few they are rather too "
            "narrow than too wide."
        )
    else:
        found.append(f"Intervals are 95 % bootstrap intervals of the mean over {n} seeds.")
    found += _weak_tests(comparison)
    found += [f"`{one.model}` ({delay_words(one.delay)}) is missing: {one.reason}" for one in comparison.failures]
    cells = {(cell.model, cell.delay) for cell in comparison.cells}
    cells |= {(failure.model, failure.delay) for failure in comparison.failures}
    lost = [
        f"`{model.name}` ({delay_words(delay)})"
        for model in comparison.models
        for delay in comparison.delays
        if (model.name, delay) not in cells
    ]
    if lost:
        found.append(f"There is no run of {listed(lost)}.")
    baselines = {model.name for model in comparison.models if model.kind == "baseline"}  # run on the task's model
    found += [_substitute(cell) for cell in comparison.cells if cell.model not in baselines and _other_ran(cell)]
    if any(delay != "none" for delay in comparison.delays):
        found += [text for name, text in _LATE_BASELINES.items() if name in baselines]
    doubtful = {energy.platform for cell in comparison.cells for energy in cell.energy if not energy.verified}
    if doubtful:
        names = listed([f"“{name}”" for name in sorted(doubtful)])
        found.append(f"Energies are estimates, not measurements; those of {names} use figures that were not verified.")
    return found


def _weak_tests(comparison: Comparison) -> list[str]:
    """Say where a test that depends on signs or ranks alone cannot reach the level, whatever the data."""
    exact = ("sign", "permutation", "wilcoxon")
    tests = [t for t in comparison.tests if t.n > 0 and any(word in t.test.lower() for word in exact)]
    if not tests:
        return []
    n = max(test.n for test in tests)
    least = 2 / 2**n
    if least < LEVEL:
        return []
    return [
        f"With {several(n, 'pair')} the test used ({tests[0].test}) cannot give p below {p_value(least)}, however "
        f"large the difference: nothing can be significant at {LEVEL:g}; it takes 6 seeds or more. Read the intervals."
    ]


def _other_ran(cell: Cell) -> bool:
    """Return whether another model file ran than the one that was named."""
    return bool(cell.ran) and cell.ran != cell.model


def _substitute(cell: Cell) -> str:
    """Say which model file ran in place of the one that was named."""
    return f"`{cell.model}`, {delay_words(cell.delay)}: the model file that ran is `{cell.ran}`."


def _turned(test: PairedTest) -> tuple[float | None, float | None]:
    """Return the interval of the difference in the direction in which it is positive."""
    if (test.difference or 0.0) >= 0:
        return test.low, test.high
    return (None if test.high is None else -test.high), (None if test.low is None else -test.low)


def _spaced(time: str) -> str:
    """Put a space between a number and its unit: ``15ms``."""
    digits = time.rstrip("abcdefghijklmnopqrstuvwxyzµTABCDEFGHIJKLMNOPQRSUVWXYZ")
    return f"{digits} {time[len(digits) :]}".strip()
