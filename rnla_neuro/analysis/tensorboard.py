"""Scalars of a run for TensorBoard; needs the extra ``tensorboard``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnla_neuro.analysis.statistics import running_mean
from rnla_neuro.errors import MissingExtraError, RunFolderError
from rnla_neuro.results import Results


def export(results: Results, logdir: str | Path, *, window: int = 100, points: int = 1000) -> int:
    """Write each recorded column as a scalar, one TensorBoard run a seed (``logdir/seed-901``).

    A scalar is the mean over the last `window` decisions, at up to `points` moments: every single decision
    would be a cloud of zeros and ones that TensorBoard thins out itself. Its step is the number of decisions.

    Args:
        results: The run.
        logdir: A new folder; TensorBoard would show the curves of two exports as one zigzag.
        window: Decisions of the sliding window of the running mean.
        points: Moments a column and seed.

    Returns:
        Number of scalars written.

    Raises:
        MissingExtraError: tensorboardX is not installed.
        RunFolderError: `logdir` exists, the run has no records, or the disk refuses.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise MissingExtraError(
            "TensorBoard scalars need a package more: pip install 'rnla_neuro[tensorboard]'"
        ) from None
    folder = Path(logdir)
    if results.iterations == 0:
        raise RunFolderError(f"{results.path} has no records to export: the run is {results.status}")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot make the folder {folder} for TensorBoard: {error.strerror}; give a new one"
        ) from error
    n = results.iterations
    at = np.unique(np.linspace(min(window, n) - 1, n - 1, points).round().astype(int))
    curves = {name: running_mean(results.array(name), window)[:, at] for name in results.columns}
    count = 0
    for agent, seed in enumerate(results.config.seeds):
        with SummaryWriter(logdir=str(folder / f"seed-{seed}")) as writer:
            for name, values in curves.items():
                for k, value in zip((at + 1).tolist(), values[agent].tolist(), strict=True):
                    if np.isfinite(value):
                        writer.add_scalar(name, value, k)
                        count += 1
    return count
