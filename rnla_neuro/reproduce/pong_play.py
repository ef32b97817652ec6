"""Plays Pong with R-STDP on NEST and with the learners of this package, and keeps the learning curves."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rnla_neuro.bridge import EnvironmentBridge, StepOutcome
from rnla_neuro.errors import RunFolderError
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.reproduce.rstdp import Expectation, RewardModulatedStdp, Setting, causal_traces
from rnla_neuro.reproduce.runs import Workshop
from rnla_neuro.seeding import streams
from rnla_neuro.session import RunRequest, Session

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TASK = "pong"
_POINTS = 200  # of a learning curve
_HERE = "rnla_neuro_backends.pynn_adapter.pong_rstdp"  # imports PyNN and NEST when it is used


@dataclass(frozen=True)
class Curves:
    """What came of playing, one row a seed.

    Attributes:
        at: Decisions after which was measured, shape (n,).
        expected: Mean expected reward over the states visited so far, shape (A, n).
        performance: Share of these states whose latest choice was rewarded at all, shape (A, n).
        weights: Whole-numbered weights at the end, shape (A, n_states, n_actions); of other learners empty.
        seconds: Wall time of a decision of one agent.
    """

    at: IntArray
    expected: FloatArray
    performance: FloatArray
    weights: FloatArray
    seconds: float

    def until(self, decisions: int) -> Curves:
        """Return the part up to a number of decisions."""
        n = int(np.searchsorted(self.at, decisions, side="right"))
        return replace(self, at=self.at[:n], expected=self.expected[:, :n], performance=self.performance[:, :n])

    def final(self, of: FloatArray) -> list[float]:
        """Return the mean of a measure over the last tenth of the decisions, one a seed."""
        late = self.at > 0.9 * self.at[-1]
        return [float(x) for x in of[:, late].mean(axis=1)]


@dataclass(frozen=True)
class RstdpPlay:
    """How R-STDP plays on NEST.

    Attributes:
        noise: Standard deviation of the noise current into each neuron, nA; published: 0.1.
        mismatch: Relative standard deviation of the neurons' constants.
        chip: Which neurons those are: the seed of the mismatch.
        eta: Learning rate; 0 measures what was learned before.
        weights: File of `Curves` whose weights are taken over; empty: new ones.
    """

    noise: float = 0.1
    mismatch: float = 0.0
    chip: int = 1
    eta: float = Setting.eta
    weights: str = ""


class _Measure:
    """Follows the mean expected reward while somebody plays."""

    def __init__(self, expectation: Expectation, iterations: int, tell: Callable[[float], None]) -> None:
        self._of, self._iterations, self._tell = expectation, iterations, tell
        self.at = np.unique(np.linspace(1, iterations, min(_POINTS, iterations)).round().astype(np.int64))
        self._next, self._rows = 0, []  # type: tuple[int, list[tuple[FloatArray, FloatArray]]]
        self._began = time.perf_counter()

    def after(self, k: int) -> None:
        """Measure, if it is time, after decision `k`, counted from 0."""
        if self._next < len(self.at) and k + 1 == self.at[self._next]:
            self._rows.append((self._of.mean, self._of.performance))
            self._next += 1
            self._tell((k + 1) / self._iterations)

    def curves(self, weights: FloatArray) -> Curves:
        """Return what was measured."""
        expected, performance = (np.stack(rows, axis=1) for rows in zip(*self._rows, strict=True))
        seconds = (time.perf_counter() - self._began) / self._iterations / len(expected)
        return Curves(self.at, expected, performance, weights, seconds)


def play_rstdp(
    play: RstdpPlay, seeds: tuple[int, ...], iterations: int, tell: Callable[[float], None] = lambda part: None
) -> Curves:
    """Let agents learn by R-STDP on NEST.

    Their noise comes from one generator of NEST, so it depends on all the seeds together.

    Raises:
        MissingExtraError: The extra ``pynn`` is not installed.
    """
    setting = Setting(eta=play.eta)
    chances = [streams(seed) for seed in seeds]
    rule = RewardModulatedStdp(setting, [chance.weights for chance in chances])
    if play.weights:
        rule.weights = _read(Path(play.weights)).weights
    network = importlib.import_module(_HERE).StateActionNetwork(
        rule.weights,
        duration=setting.duration,
        spikes=(setting.n_spikes, setting.interval),
        noise=play.noise,
        mismatch=play.mismatch,
        chip=play.chip,
        seed=int(np.random.default_rng(list(seeds)).integers(1, 2**31)),
    )
    seconds = setting.duration * 1e-3
    measure = _Measure(rule.expectation, iterations, tell)
    bridge = EnvironmentBridge(TASK, len(seeds), seeds, trial_duration=seconds, decision_time=seconds, watch=False)
    with network, bridge:
        for k in range(iterations):
            states = bridge.labels()
            assert states is not None
            traces, counts = _answer(network.decide(states), len(seeds), setting)
            outcome = bridge.step(rule.choose(counts))
            bridge.events(float("inf"))  # the rule takes its rewards at once
            changed = rule.learn(states, traces, outcome.reward)
            network.write(states, rule.weights[np.arange(len(seeds)), states], changed)
            measure.after(k)
    return measure.curves(rule.weights)


def _answer(response: Any, n_agents: int, setting: Setting) -> tuple[FloatArray, IntArray]:
    """Return traces and spike counts of all action neurons, both of shape (A, n_actions)."""
    n = setting.units
    neuron = response.agent * n + response.neuron
    traces = causal_traces(response.pre, neuron, response.times, n_agents * n, setting)
    return traces.reshape(n_agents, n), np.bincount(neuron, minlength=n_agents * n).reshape(n_agents, n)


def play_learner(request: RunRequest, iterations: int, tell: Callable[[float], None] = lambda part: None) -> Curves:
    """Let agents learn with a model and learner of this package, and measure as the publication does."""
    expectation = Expectation(len(request.seeds), Setting.units, Setting.n_reward)
    with Session(request) as session:
        measure = _Measure(expectation, iterations, tell)

        def watch(k: int, actions: IntArray, outcome: StepOutcome, label: IntArray | None) -> None:
            assert label is not None
            expectation.see(label, outcome.reward)
            measure.after(k)

        session.train(iterations, watch)
        session.finish()
    return measure.curves(np.zeros(0))


def kept(shop: Workshop, name: str, settings: dict[str, Any], make: Callable[[], Curves]) -> Curves:
    """Return curves from the workshop's folder, or make and keep them.

    Args:
        shop: Where.
        name: Of the file.
        settings: What determines the curves, as plain data.
        make: Plays.

    Raises:
        RunFolderError: The file there holds something else.
    """
    path = curves_path(shop, name)
    asked = json.dumps(settings | {"seeds": list(shop.seeds)}, sort_keys=True)
    if path.exists():
        if _settings(path) != asked:
            raise RunFolderError(
                f"{path} holds curves of other settings: choose another folder with --out, or remove this file"
            )
        return _read(path)
    curves = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_nothing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, settings=np.array(asked), **asdict(curves))
    return curves


def curves_path(shop: Workshop, name: str) -> Path:
    """Return where curves of a name are kept."""
    return shop.folder / "curves" / f"{name}.npz"


def _settings(path: Path) -> str:
    with _opened(path) as archive:
        return str(archive["settings"])


def _read(path: Path) -> Curves:
    with _opened(path) as archive:
        values: dict[str, Any] = {name: archive[name] for name in Curves.__dataclass_fields__}
    return Curves(**values | {"seconds": float(values["seconds"])})


def _opened(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunFolderError(f"the curves {path} cannot be read: {error}; remove the file") from error
