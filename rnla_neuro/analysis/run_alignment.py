"""Alignment of self-nudging with the policy gradient along a run, from the weights that it has kept."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnla_neuro.analysis.alignment import AlignmentRow, align, label_rewards
from rnla_neuro.analysis.statistics import summary
from rnla_neuro.errors import ConfigError, RunFolderError
from rnla_neuro.results import Results
from rnla_neuro.simulation import FloatArray
from rnla_neuro.spec.derive import derive_form
from rnla_neuro.spec.loader import parse_model
from rnla_neuro.tasks.catalogue import get


def moments_of(results: Results, trials: tuple[int, ...] | None = None) -> dict[int, Path]:
    """Return the weights to look at by moment.

    Raises:
        RunFolderError: The run has kept no weights.
        ConfigError: None were kept at a moment that was asked for.
    """
    kept = {
        int(match[1]): path
        for path in (results.path / "checkpoints").glob("weights-*.npz")
        if (match := re.fullmatch(r"weights-(\d+)\.npz", path.name))
    }
    if not kept:
        raise RunFolderError(f"{results.path} has kept no weights (checkpoints/weights-N.npz)")
    for trial in trials or ():
        if trial not in kept:
            known = ", ".join(map(str, sorted(kept)))
            raise ConfigError(f"--trials {trial}: {results.path} has kept no weights there; it has {known}")
    return {trial: kept[trial] for trial in sorted(trials or kept)}


def agents_of(results: Results, seeds: tuple[int, ...] | None = None) -> dict[int, int]:
    """Return the place of each seed that was asked for."""
    places = {seed: place for place, seed in enumerate(results.config.seeds)}
    for seed in seeds or ():
        if seed not in places:
            known = ", ".join(map(str, places))
            raise ConfigError(f"--seeds: the run has no seed {seed}; it has {known}")
    return {seed: places[seed] for seed in seeds or places}


def align_run(
    results: Results,
    moments: Mapping[int, Path],
    agents: Mapping[int, int],
    n_inputs: int = 200,
    *,
    samples: int = 8,
    method: str = "auto",
    tell: Callable[[], None] = lambda: None,
) -> list[tuple[int, AlignmentRow]]:
    """Compare at each moment, for each seed.

    Args:
        results: A run of learner r-nla.
        moments: Files of weights by moment, as `moments_of` finds them.
        agents: Places of seeds, as `agents_of` finds them.
        n_inputs: Inputs that gradient and direction are averaged over.
        samples: Draws of the exploration an input.
        method: See `align`.
        tell: Called after each comparison, len(moments) * len(agents) times.

    Returns:
        Pairs of a seed and a row.
    """
    form, inputs, rewards = _problem(results, n_inputs)
    rows: list[tuple[int, AlignmentRow]] = []
    jobs = [(trial, path, seed, agent) for trial, path in moments.items() for seed, agent in agents.items()]
    for trial, path, seed, agent in jobs:
        weights, mean_reward = _load(path, agent)
        found = align(
            form,
            weights,
            inputs,
            rewards,
            mean_reward,
            trial=trial,
            samples=samples,
            seed=seed,
            method=method,
        )
        rows += [(seed, row) for row in found]
        tell()
    return rows


def _problem(results: Results, n_inputs: int) -> tuple[Any, FloatArray, FloatArray]:
    """Return the model's form, inputs (N, n_in), and the reward of each action (N, n_out).

    The inputs are up to `n_inputs` of those that were learned, always the same ones.
    """
    config = results.config
    model = parse_model(config.model_text, results.path / "model.toml", dict(config.overrides))
    task = get(config.task)
    _same_table(task.kwargs.get("path"), config.data_sha256)
    source = task.source()
    inputs, labels = source.dataset("train")
    some = np.sort(np.random.default_rng(0).permutation(len(inputs))[:n_inputs])
    inputs, labels = inputs[some], labels[some]
    return derive_form(model), inputs, label_rewards(labels, source.n_classes, source.hit, source.miss)


def _same_table(path: str | None, sha256: str) -> None:
    """Refuse a table that is not the one of the run any more."""
    if path is None:
        return
    if hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha256:
        raise RunFolderError(f"{path} has changed since the run: its data are not those that were learned")


def _load(path: Path, agent: int) -> tuple[list[FloatArray], float]:
    """Return one agent's weights, and the model's mean reward."""
    try:
        # opened here: np.load leaves the file of a damaged archive open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = sorted(
                (n for n in archive.files if n.startswith("projection")), key=lambda n: int(n[10:])
            )
            weights = [archive[name][agent] for name in names]
            mean = float(archive["R_mean"][agent])
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(f"the weights {path} are corrupted or incomplete: {error}") from error
    return weights, mean


def summarise(rows: list[tuple[int, AlignmentRow]]) -> list[dict[str, Any]]:
    """Average over seeds: a row a moment, layer and baseline."""
    groups: dict[tuple[int, str, str], list[AlignmentRow]] = {}
    for _, row in rows:
        groups.setdefault((row.trial, row.layer, row.baseline), []).append(row)
    return [
        {
            "trial": trial,
            "layer": layer,
            "baseline": baseline,
            "cosine": summary(row.cosine for row in group),
            "standard_error": summary(row.standard_error for row in group),
            "norm_ratio": summary(row.norm_ratio for row in group),
        }
        for (trial, layer, baseline), group in groups.items()
    ]
