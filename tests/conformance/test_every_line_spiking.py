"""The strings are the model, spikes too: each line of a spiking model, changed, changes what happens or is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.errors import RnlaError
from rnla_neuro.network import NetworkSpec
from rnla_neuro.resources import models_dir
from rnla_neuro.spec.loader import available_models, parse_model
from rnla_neuro.spec.model import ModelSpec
from rnla_neuro_backends import brian2
from tests.conformance.nets import events
from tests.model_lines import Change, changes

SMALL = Path(__file__).parents[1] / "models"


def paths() -> list[Path]:
    """The small models of the tests, and all packaged ones with spikes or further populations."""
    packaged = [models_dir() / f"{name}.toml" for name in available_models()]
    found = [path for path in packaged if 'kind = "spiking"' in (text := path.read_text()) or "[projection." in text]
    return [SMALL / "spiking_small.toml", SMALL / "beside_small.toml", *found]


def content(model: ModelSpec) -> ModelSpec:
    """What was read, less the text itself."""
    return replace(model, text="", name="", summary="", source="")


def _cases() -> list[object]:
    return [
        pytest.param(path, id=path.stem, marks=() if path.parent == SMALL else pytest.mark.slow) for path in paths()
    ]


@pytest.mark.parametrize("path", _cases())
def test_no_line_is_passed_over(path: Path) -> None:
    """Quick: every variant of every line is read as something else, or refused."""
    text = path.read_text(encoding="utf-8")
    original = content(parse_model(text, path))
    silent, read, refused = [], 0, 0
    for change in changes(text):
        try:
            same = content(parse_model(change.text, path)) == original
        except RnlaError:
            refused += 1
            continue
        read += not same
        if same:
            silent.append((change.number, change.line, change.changed))
    assert silent == []
    assert read > 40
    assert refused > 40


def outcome(model: ModelSpec) -> np.ndarray:
    """Simulate four trials of a tiny network on Brian2's own groups; all that can be read from it, as one array."""
    network = NetworkSpec(model, (3, 3, 2), (1,))
    rng, seen = np.random.default_rng(0), []
    with brian2.BACKEND.build(network, target="numpy", road="plain") as simulation:
        for k in range(4):
            before = simulation.next_decision - simulation.trial_duration
            rewards = events((0, before, 1.0), (0, before + 0.0113, -0.7)) if k else events()
            action, recording = simulation.decide_recorded(rng.uniform(-1, 1, (1, 3)), rewards)
            seen += [action, recording.u, recording.ebar, recording.rate, recording.drive, recording.noise]
            seen += [recording.time, recording.spikes if recording.spikes is not None else 0]
        simulation.finish(events((0, simulation.next_decision, 2.0)))
        seen += [*simulation.weights(), *simulation.traces(), *simulation.diagnostics().values()]
        seen += [simulation.policy(np.ones((1, 3))), simulation.predict(np.ones((1, 3)))]
    return np.concatenate([np.ravel(x) for x in seen])


def verdict(path: Path, variants: list[Change], original: np.ndarray) -> str:
    """Return ``changed``, ``refused`` (every variant), or ``silent``."""
    silent = False
    for change in variants:
        try:
            other = outcome(parse_model(change.text, path))
        except RnlaError:
            continue
        if original.shape != other.shape or (np.abs(original - other) > 1e-9 * (np.abs(original) + 1e-12)).any():
            return "changed"
        silent = True
    return "silent" if silent else "refused"


@pytest.mark.slow
@pytest.mark.backend("brian2:plain")
def test_every_line_counts() -> None:
    """Slow, minutes: Brian2 groups are made for each line."""
    path = SMALL / "spiking_small.toml"
    text = path.read_text(encoding="utf-8")
    original = outcome(parse_model(text, path))
    by_line: dict[int, list[Change]] = {}
    for change in changes(text):
        by_line.setdefault(change.number, []).append(change)
    found = {number: verdict(path, variants, original) for number, variants in by_line.items()}
    lines = text.splitlines()
    silent = [lines[k - 1] for k, v in found.items() if v == "silent"]
    assert silent == ['eligibility = "E"']  # only a model that asks for the credit of a trial reads it
    assert list(found.values()).count("changed") >= 40
