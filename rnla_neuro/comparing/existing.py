"""A comparison of runs that are there already: nothing is learned again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rnla_neuro.analysis.comparison import FILE, Comparison
from rnla_neuro.comparing.energy import platforms
from rnla_neuro.comparing.inside import look_inside
from rnla_neuro.comparing.measure import Places, compare
from rnla_neuro.comparing.plan import Planned
from rnla_neuro.errors import ConfigError, RunFolderError
from rnla_neuro.results import Results
from rnla_neuro.revisit import request_of
from rnla_neuro.run_config import key_without_seeds
from rnla_neuro.session import LEARNERS, connect


def comparison_of(
    folders: Sequence[str | Path],
    *,
    title: str = "",
    command: str = "",
    tell: Callable[[Path], None] = lambda path: None,
) -> Comparison:
    """Return the comparison of run folders, or the one that a folder of `rnla compare` holds.

    Runs that differ in their seeds alone are one cell. All cells are compared on the seeds that they share. What one
    looks at inside a run (a trial before and after learning, the alignment) is recorded where it is missing, and kept
    in the run folder.

    Args:
        folders: Of finished runs of one task, with as many decisions; or the folder of one comparison.
        title: Of the comparison; by default what is compared.
        command: The command line, for the record.
        tell: Called with each run folder before it is looked into.

    Raises:
        RunFolderError: A folder is no run, or its run is not finished.
        ConfigError: The runs are of several tasks or lengths, or share no seed.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) == 1 and (paths[0] / FILE).is_file():
        made = Comparison.read(paths[0])
        return replace(made, title=title) if title else made
    cells = _cells([_finished(path) for path in paths])
    seeds = _shared_seeds(cells)
    labels = _labels(cells)
    plan, places = [], []
    for runs, label in zip(cells, labels, strict=True):
        places.append(_places(runs, seeds))
        plan.append(_planned(runs[0], label, seeds))
        for results in {id(results): results for results, _ in places[-1].values()}.values():
            tell(results.path)
            look_inside(results)
    made = compare(title or _title(plan), plan, places, platforms(), {}, command)
    folder_of = {(p.model, p.delay): str(runs[0].path) for p, runs in zip(plan, cells, strict=True)}
    return replace(made, cells=tuple(replace(one, run=folder_of[one.model, one.delay]) for one in made.cells))


def _finished(path: Path) -> Results:
    """Read a run that is over."""
    results = Results.load(path)
    if results.status != "finished":
        raise RunFolderError(f"{path} is {results.status}: a report needs finished runs; 'rnla show {path}' shows it")
    if "conversion" in results.summary and not results.config.iterations:
        raise RunFolderError(
            f"{path} was converted and has not learned since; a report shows learning: 'rnla convert … --learn N'"
        )
    if "wall_time" not in results.summary:
        raise RunFolderError(f"{path} was written by an older version, and lacks what a report shows: run it again")
    return results


def _cells(runs: Sequence[Results]) -> list[list[Results]]:
    """Put runs together that differ in their seeds alone."""
    for what, values in (
        ("tasks", {run.config.task for run in runs}),
        ("numbers of decisions", {f"{run.config.iterations:,}" for run in runs}),
    ):
        if len(values) > 1:
            raise ConfigError(f"runs of several {what} cannot be compared: {', '.join(sorted(values))}")
    cells: dict[str, list[Results]] = {}
    for run in runs:
        cells.setdefault(key_without_seeds(run.config, run.versions), []).append(run)
    return list(cells.values())


def _shared_seeds(cells: Sequence[Sequence[Results]]) -> tuple[int, ...]:
    """Return the seeds that all cells have, in the order of the first."""
    each = [[seed for run in runs for seed in run.config.seeds] for runs in cells]
    shared = tuple(dict.fromkeys(seed for seed in each[0] if all(seed in seeds for seeds in each)))
    if not shared:
        known = "; ".join(
            f"{runs[0].path}: {', '.join(map(str, seeds))}" for runs, seeds in zip(cells, each, strict=True)
        )
        raise ConfigError(f"the runs share no seed, and models are compared seed by seed ({known})")
    return shared


def _labels(cells: Sequence[Sequence[Results]]) -> list[str]:
    """Name cells by model or learner; where that and the delay are the same, by their folders too."""
    names = []
    for runs in cells:
        config = runs[0].config
        model = Path(config.model).stem if config.model.endswith(".toml") else config.model
        names.append(model if config.learner == LEARNERS[0] else config.learner)
    keys = [(name, runs[0].config.reward_delay) for name, runs in zip(names, cells, strict=True)]
    twice = {name for name, delay in keys if keys.count((name, delay)) > 1}
    return [f"{name} ({runs[0].path.name})" if name in twice else name for name, runs in zip(names, cells, strict=True)]


def _places(runs: Sequence[Results], seeds: tuple[int, ...]) -> Places:
    """Return run and place of each seed."""
    found: Places = {}
    for results in runs:
        for place, seed in enumerate(results.config.seeds):
            if seed in seeds:
                found.setdefault(seed, (results, place))
    return found


def _planned(results: Results, label: str, seeds: tuple[int, ...]) -> Planned:
    """Return the cell that a run would have been."""
    config = results.config
    request = request_of(results, config.seeds[:1])
    bridge, network = connect(request, model_text=config.model_text or None)
    bridge.close()
    baseline = config.backend == "none"
    return Planned(
        model=label,
        delay=config.reward_delay,
        kind="baseline" if baseline else network.model.kind,
        summary=f"{config.learner} on the model {config.model}" if baseline else network.model.summary,
        request=replace(request, seeds=seeds),
        config=config,
        network=network,
    )


def _title(plan: Sequence[Planned]) -> str:
    """Say what is compared."""
    names = list(dict.fromkeys(planned.model for planned in plan))
    return f"{plan[0].config.task}: {', '.join(names)}"
