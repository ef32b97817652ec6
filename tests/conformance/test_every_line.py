"""The strings are the model: each line of a model file, changed, changes what is simulated or is refused.

tests/unit/test_model_lines.py looks at the derived form, in every variant of a line; here the result itself
is looked at, in one variant a line that is allowed, on every backend. Of the compiled targets of the fused kernel the
text and the constants that they are given are looked at for every model, and the result for one, slowly.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from rnla_neuro.errors import RnlaError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.rewards import RewardDelay
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends import brian2, brian2_cpp, equilibrium
from rnla_neuro_backends.explicit.kernel import make_kernel
from tests.conformance.nets import events, told
from tests.model_lines import Change, changes, proven_models

_ENGINES = {
    "equilibrium:numpy": lambda network: equilibrium.BACKEND.build(network, core="numpy", start="rest"),
    "brian2:numpy": lambda network: brian2.BACKEND.build(network, target="numpy", road="fused", start="rest"),
    "brian2:plain": lambda network: brian2.BACKEND.build(network, target="numpy", road="plain", start="rest"),
    "brian2:cython": lambda network: brian2.BACKEND.build(network, target="cython", road="fused", start="rest"),
    "brian2_cpp": lambda network: brian2_cpp.BACKEND.build(network, start="rest"),
}
_QUICK = ("rate_nla",)
_NUMPY = ("equilibrium:numpy", "brian2:numpy")


def cases() -> list[object]:
    """Every model with numpy; the compiled targets and the plain road, which take minutes, with the default model."""
    pairs = [(engine, name) for engine in _NUMPY for name in proven_models()]
    pairs += [(engine, _QUICK[0]) for engine in _ENGINES if engine not in _NUMPY]
    return [
        pytest.param(
            engine,
            name,
            marks=[pytest.mark.backend(engine)] + [pytest.mark.slow] * (name not in _QUICK or engine not in _NUMPY),
            id=f"{engine}-{name}",
        )
        for engine, name in pairs
    ]


#: Lines without an effect: what describes the model. Blank lines and comments come on top.
_EXEMPT = ("name", "summary", "source")


Look = Callable[[ModelSpec], list[object]]


def outcome(model: ModelSpec, engine: str) -> np.ndarray:
    """Simulate five trials of a tiny network from rest; return all that can be read from it, as one array.

    Inputs and weights are large enough to pass the poster's borders in both layers; the start at rest shows
    the membrane's time constant, on which the equilibrium does not depend.
    """
    network = NetworkSpec(model, (3, 3, 2), (1,), delay=RewardDelay.parse("none"))
    rng = np.random.default_rng(0)
    seen = []
    with _ENGINES[engine](network) as simulation:
        hidden, action = simulation.weights()
        simulation.set_weights([hidden, 5 * action])
        for k in range(5):
            before = simulation.next_decision - simulation.trial_duration
            rewards = events(*((0, before + t, v) for t, v in ((0.0, 1.0), (0.0113, -0.7)))) if k else events()
            x = 3 * rng.standard_normal((1, 3))
            action, recording = simulation.decide_recorded(x, rewards, told(simulation, k))
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


def differs(one: object, other: object) -> bool:
    """Return whether results differ by more than rounding in another order could explain."""
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return one != other
    return one.shape != other.shape or bool((np.abs(one - other) > 1e-9 * (np.abs(one) + 1e-12)).any())


def given(model: ModelSpec) -> object:
    """What a compiled target of the fused kernel is given: its text, its constants, the weights at the start.

    Beside it, what is computed in Python for all of them: inputs, noise, greedy actions.
    """
    network = NetworkSpec(model, (3, 3, 2), (1,), delay=RewardDelay.parse("none"))
    kernel = make_kernel(network)
    constants = kernel.initial_arrays()
    numbers = [constants["params"], constants["matrices"], *(w.ravel() for w in network.initial_weights())]
    form = network.form
    on_the_host = (model.trial, model.exploration, form.input_rate, form.action_rate, form.policy, form.modulators)
    return kernel.key, np.concatenate(numbers).tobytes(), on_the_host


def check_line(name: str, variants: list[Change], look: Look, original: list[object]) -> str:
    """Return ``changed``, ``refused`` (every variant), or ``silent``: something is as it was."""
    path = models_dir() / f"{name}.toml"
    silent = False
    for change in variants:
        try:
            other = look(parse_model(change.text, path))
        except RnlaError:
            continue
        if all(differs(a, b) for a, b in zip(original, other, strict=True)):
            return "changed"
        silent = True
    return "silent" if silent else "refused"


@pytest.mark.parametrize(("engine", "name"), cases())
def test_every_line_counts(engine: str, name: str) -> None:
    """Of the fused kernel, the result with numpy *and* what the compiled targets are given."""

    def look(model: ModelSpec) -> list[object]:
        return [outcome(model, engine), *([given(model)] if engine == "brian2:numpy" else [])]

    path = models_dir() / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    original = look(parse_model(text, path))
    by_line: dict[int, list[Change]] = {}
    for change in changes(text):
        by_line.setdefault(change.number, []).append(change)
    verdict = {number: check_line(name, variants, look, original) for number, variants in by_line.items()}
    lines = text.splitlines()
    assert [lines[k - 1] for k, v in verdict.items() if v == "silent"] == []
    counts = {v: list(verdict.values()).count(v) for v in ("changed", "refused")}
    assert counts["changed"] >= 25, counts  # parameters, times, plasticity, nudging, exploration
    assert counts["refused"] >= 10, counts  # roles, sums and what the form prescribes


@pytest.mark.parametrize("name", proven_models())
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
