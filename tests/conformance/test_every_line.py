"""The strings are the model: each line of a model file, changed, changes what is simulated or is refused.

tests/unit/test_model_lines.py looks at the derived form, in every variant of a line; here the result itself
is looked at, in one variant a line that is allowed.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from rnla_neuro.errors import RnlaError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.rewards import RewardDelay
from rnla_neuro.spec.loader import available_models, parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends.equilibrium import EquilibriumSimulation
from tests.conformance.nets import events
from tests.model_lines import Change, changes

_QUICK = ("rate_nla",)
_CASES = [pytest.param(name, marks=() if name in _QUICK else pytest.mark.slow) for name in available_models()]
#: Lines without an effect: what describes the model. Blank lines and comments come on top.
_EXEMPT = ("name", "summary", "source")


def outcome(model: ModelSpec) -> np.ndarray:
    """Simulate five trials of a tiny network from rest; return all that can be read from it, as one array.

    Inputs and weights are large enough to pass the poster's borders in both layers; the start at rest shows
    the membrane's time constant, on which the equilibrium does not depend.
    """
    network = NetworkSpec(model, (3, 3, 2), (1,), delay=RewardDelay.parse("none"))
    rng = np.random.default_rng(0)
    seen = []
    with EquilibriumSimulation(network, core="numpy", start="rest") as simulation:
        hidden, action = simulation.weights()
        simulation.set_weights([hidden, 5 * action])
        for k in range(5):
            before = simulation.next_decision - simulation.trial_duration
            rewards = events(*((0, before + t, v) for t, v in ((0.0, 1.0), (0.0113, -0.7)))) if k else events()
            action, recording = simulation.decide_recorded(3 * rng.standard_normal((1, 3)), rewards)
            seen += [
                action,
                recording.u[0, -1],
                recording.ebar[0, -1],
                recording.rate[0, -1],
                recording.time,
                recording.noise,
            ]
        simulation.finish(events((0, simulation.next_decision, 2.0)))
        seen += [*simulation.weights(), *simulation.traces(), *simulation.diagnostics().values()]
        seen += [simulation.policy(np.ones((1, 3))), simulation.predict(np.ones((1, 3)))]
    return np.concatenate([np.ravel(x) for x in seen])


def differs(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether results differ by more than rounding in another order could explain."""
    return one.shape != other.shape or bool((np.abs(one - other) > 1e-9 * (np.abs(one) + 1e-12)).any())


def check_line(name: str, variants: list[Change], original: np.ndarray) -> str:
    """Return ``changed``, ``refused`` (every variant), or ``silent``."""
    path = models_dir() / f"{name}.toml"
    silent = False
    for change in variants:
        try:
            other = outcome(parse_model(change.text, path))
        except RnlaError:
            continue
        if differs(original, other):
            return "changed"
        silent = True
    return "silent" if silent else "refused"


@pytest.mark.backend("equilibrium:numpy")
@pytest.mark.parametrize("name", _CASES)
def test_every_line_counts(name: str) -> None:
    path = models_dir() / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    original = outcome(parse_model(text, path))
    by_line: dict[int, list[Change]] = {}
    for change in changes(text):
        by_line.setdefault(change.number, []).append(change)
    verdict = {number: check_line(name, variants, original) for number, variants in by_line.items()}
    lines = text.splitlines()
    assert [lines[k - 1] for k, v in verdict.items() if v == "silent"] == []
    counts = {v: list(verdict.values()).count(v) for v in ("changed", "refused")}
    assert counts["changed"] >= 30, counts  # parameters, times, plasticity, nudging, exploration
    assert counts["refused"] >= 10, counts  # roles, sums and what the form prescribes


@pytest.mark.parametrize("name", available_models())
def test_what_is_exempt(name: str) -> None:
    """Every line that is not changed above is a comment, a description, or opens something that must be there."""
    path = models_dir() / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    lines, changed = text.splitlines(), {change.number for change in changes(text)}
    exempt = []
    for number, line in enumerate(lines, 1):
        if number in changed or not line.strip() or line.startswith("#") or line.strip() == '"""':
            continue
        if line.startswith("[") or line.endswith('"""'):  # sections, and keys of several lines
            other = re.sub(r"\w+(?=\]$| = )", "something_else", line)
            assert other != line
            changed_text = "\n".join([*lines[: number - 1], other, *lines[number:]]) + "\n"
            try:
                model = parse_model(changed_text, path)
            except RnlaError:
                continue
            # a channel that only a pulse reads may have any name: then it is another channel
            assert list(model.neuromodulators) == ["something_else"], line
            continue
        exempt.append(line.split(" = ")[0])
    assert sorted(exempt) == sorted(_EXEMPT)


def test_the_comparison() -> None:
    one = np.array([1.0, 0.0, -2.0])
    assert not differs(one, one * (1 + 1e-12))
    assert differs(one, one * (1 + 1e-6))
    assert differs(one, np.array([1.0, 1e-6, -2.0]))
    assert differs(one, one[:2])
