"""What a conversion between models did to the runs of a cell."""

from __future__ import annotations

from collections.abc import Sequence

from rnla_neuro.analysis.comparison import Converted, Measured
from rnla_neuro.comparing.inference import measured
from rnla_neuro.results import Results


def converted(runs: Sequence[tuple[Results, int]]) -> Converted | None:
    """Return what `rnla convert` kept of the runs of a cell, seed by seed.

    Args:
        runs: Run and place of each seed.

    Returns:
        None where a run was not made by conversion, or they came from several models or learned on differently.
    """
    abouts = [(results.summary.get("conversion"), place) for results, place in runs]
    known = [(about, place) for about, place in abouts if about is not None and about.get("after")]
    kinds = {(about["from_model"], about["measure"], about["learned"]) for about, _ in known}
    if len(known) < len(runs) or len(kinds) != 1:
        return None
    ((model, measure, learned),) = kinds
    before, alone, after = (
        measured(about[moment]["values"][place] for about, place in known)
        for moment in ("before", "converted", "after")
    )
    return Converted(
        model, measure, learned, before, alone, _difference(alone, before), after, _difference(after, alone)
    )


def _difference(a: Measured, b: Measured) -> Measured:
    pairs = zip(a.values, b.values, strict=True)
    return measured(None if x is None or y is None else x - y for x, y in pairs)
