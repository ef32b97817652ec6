"""Learning runs for checks: kept in run folders, and not run again where they are there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnla_neuro.comparing.plan import prepare
from rnla_neuro.errors import ConfigError, RunFolderError
from rnla_neuro.experiment import Progress, RunRequest, run, run_config
from rnla_neuro.records import whole_or_nothing
from rnla_neuro.results import Results
from rnla_neuro.run_config import key_without_seeds
from rnla_neuro.spec.loader import load_model

Tell = Callable[[str, float], None]


@dataclass
class Workshop:
    """Where checks are made, and how much of everything.

    Attributes:
        folder: Run folders, model files and figures go here.
        seeds: Seeds of every learning run; none of them was used for tuning.
        scale: Part of the full number of trials that is run.
        tell: Called with what is under way and the part of it that is done.
    """

    folder: Path
    seeds: tuple[int, ...]
    scale: float = 1.0
    tell: Tell = lambda what, part: None

    def trials(self, full: int) -> int:
        """Return how many trials stand for `full`."""
        return max(200, round(full * self.scale))

    def learn(self, name: str, task: str, trials: int, **request: Any) -> Results:
        """Return a finished run, from its folder if it is there.

        Args:
            name: Of its folder.
            task: What to learn.
            trials: Decisions a seed, of a full check.
            request: More of `RunRequest`.

        Raises:
            RunFolderError: The folder holds something else than this run.
        """
        asked = RunRequest(task, seeds=self.seeds, iterations=self.trials(trials), **request)
        path = self.folder / "runs" / name
        known = _same_run(path, asked)
        if known is not None:
            return known

        def tell(progress: Progress) -> None:
            self.tell(name, progress.iteration / progress.iterations)

        return run(asked, out=path, on_progress=tell)

    def model(self, name: str, base: str, edits: Mapping[str, str]) -> str:
        """Write a model that differs from another in some lines; return its path.

        Args:
            name: Of the new model.
            base: The model that it is made from.
            edits: What is replaced by what; each must occur.
        """
        text = load_model(base).text
        for old, new in edits.items():
            if old not in text:
                raise ConfigError(f"model {base!r} has no {old!r} any more: the check {name!r} must be written anew")
            text = text.replace(old, new)
        text = text.replace(f'name = "{base}"', f'name = "{name}"')
        path = self.folder / "models" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_nothing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return str(path)


def _same_run(path: Path, asked: RunRequest) -> Results | None:
    """Return the run of a folder if it is finished and the same as asked for; an unfinished one is removed."""
    if not path.exists():
        return None
    try:
        found = Results.load(path)
    except RunFolderError:
        raise RunFolderError(f"{path} is no run folder: choose another folder with --out") from None
    if found.status != "finished":
        shutil.rmtree(path)  # one of ours, interrupted: it is run anew
        return None
    wanted = run_config(prepare(asked), asked.iterations or 0)
    same = key_without_seeds(found.config, {}) == key_without_seeds(wanted, {})
    if not same or found.config.seeds != asked.seeds:
        raise RunFolderError(
            f"{path} holds a run of other settings: choose another folder with --out, or remove this one"
        )
    return found


def accuracies(results: Results) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the test accuracy of each seed, shape (n_seeds,)."""
    return np.array(results.summary["test_accuracy"]["values"], dtype=np.float64)
