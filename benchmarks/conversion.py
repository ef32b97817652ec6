"""What is lost when trained weights move to a model's twin, and what learning recovers: results/conversion.md.

    python benchmarks/conversion.py                 # a quarter of an hour on two cores
    python benchmarks/conversion.py --seeds 2 --iterations 3000 --learn 300      # a look

Digits, 64-40-10. Networks of `rate_nla` (and of `spiking_nla`, for the way back) learn from reward; their weights are
loaded into another model by `rnla convert`, evaluated on the 450 test images in silent trials, and learn on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rnla_neuro.analysis.statistics import summary
from rnla_neuro.conversion import convert_run
from rnla_neuro.experiment import RunRequest, run

RESULTS = Path(__file__).parent / "results"
GENTLE = {"eta": "0.01"}  # of 0.08: these networks have learned already
WAYS = (
    # from, to, parameters of the other model
    ("rate_nla", "spiking_nla", {}),
    ("rate_nla", "spiking_nla", {"r_max": "200*Hz"}),
    ("rate_nla", "spiking_nla", {"r_max": "100*Hz"}),
    ("rate_nla", "spiking_nla", {"r_max": "50*Hz"}),
    ("rate_nla", "spiking_nla", {"r_max": "20*Hz"}),
    ("rate_nla", "spiking_nla", {"r_max": "200*Hz", "T": "20*ms"}),
    ("rate_nla", "spiking_leaky_nla", {}),
    ("rate_nla", "spiking_lif_nla", {}),
    ("rate_nla", "spiking_poisson_nla", {}),
    ("rate_nla", "spiking_poisson_nla", {"r_max": "50*Hz"}),
    ("spiking_nla", "rate_nla", {}),
)


def one_way(source: Any, to: str, overrides: dict[str, str], learn: int, folder: Path) -> dict[str, Any]:
    """Convert, learn on, and return the accuracies."""
    made = convert_run(source, to, folder, learn=learn, overrides=overrides | GENTLE)
    about = dict(made.summary["conversion"])
    values = [about[when]["values"] for when in ("before", "converted", "after")]
    lost = [a - b for a, b in zip(values[1], values[0], strict=True)]
    gained = [a - b for a, b in zip(values[2], values[1], strict=True)]
    about |= {"lost": summary(lost), "gained": summary(gained), "overrides": overrides}
    del about["from"]
    return about


def cell(found: dict[str, Any], signed: bool = False) -> str:
    """Write a mean and its interval."""
    sign = "+" if signed else ""
    mean, ends = found["mean"], found["ci95"]
    return f"{mean:{sign}.4f}" if ends is None else f"{mean:{sign}.4f} [{ends[0]:{sign}.4f}, {ends[1]:{sign}.4f}]"


def table(rows: list[dict[str, Any]], command: str, about: dict[str, Any]) -> str:
    """Write the page."""
    first, last = about["seeds"][0], about["seeds"][-1]
    head = f"""# Conversion between twins

`{command}`; digits, 64-40-10, seeds {first}-{last}, mean [95 % interval, Student's t].

Test accuracy (450 images, silent trials) of the network that has learned {about["iterations"]:,} decisions in the
first model (*before*), of the same weights in the second (*converted*), and after {about["learn"]:,} more decisions
there, at eta = {GENTLE["eta"]}. *lost* and *gained* are paired differences of the seeds. Backends: rate models
`equilibrium`, spiking ones `brian2`. Parameters that are not named are those of the model files.

| from | to | before | converted | lost by conversion | after learning on | gained by learning |
|---|---|---|---|---|---|---|
"""
    lines = []
    for row in rows:
        options = ", ".join(f"{name} = {value.replace('*', ' ')}" for name, value in row["overrides"].items())
        to = f"`{row['to_model']}`{', ' + options if options else ''}"
        figures = [
            cell(row[k], signed=k in ("lost", "gained")) for k in ("before", "converted", "lost", "after", "gained")
        ]
        lines.append(f"| `{row['from_model']}` | {to} | {' | '.join(figures)} |")
    return head + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 401")
    parser.add_argument("--iterations", type=int, default=30_000, help="decisions in the first model")
    parser.add_argument("--learn", type=int, default=5_000, help="decisions in the second")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of conversion.md and conversion.json")
    options = parser.parse_args()
    seeds = tuple(range(401, 401 + options.seeds))
    about = {"seeds": seeds, "iterations": options.iterations, "learn": options.learn}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sources: dict[str, Any] = {}
        for k, (model, to, overrides) in enumerate(WAYS):
            if model not in sources:
                backend = "equilibrium" if model.startswith("rate") else "brian2"
                request = RunRequest("digits", model, backend=backend, seeds=seeds, iterations=options.iterations)
                sources[model] = run(request, Path(folder) / model)
            rows.append(one_way(sources[model], to, overrides, options.learn, Path(folder) / f"way{k}"))
            print(
                model, to, overrides, *(cell(rows[-1][when]) for when in ("before", "converted", "after")), flush=True
            )
    command = "python benchmarks/conversion.py"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "conversion.md").write_text(table(rows, command, about), encoding="utf-8")
    text = json.dumps({"command": command, **about, "rows": rows}, indent=1)
    (options.out / "conversion.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
