"""`rnla convert`: a run's weights in another model, its spiking twin say, or as a NIR graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rnla_neuro.cli import shared, values
from rnla_neuro.cli.help import Command, Option
from rnla_neuro.errors import ConfigError

EXAMPLES = (
    ("a rate network as its spiking twin: what is lost by it", "rnla convert runs/rate --to spiking_nla"),
    (
        "and what 5000 decisions of learning with spikes recover",
        "rnla convert runs/rate --to spiking_lif_nla --learn 5000 --out runs/lif",
    ),
    ("back again", "rnla convert runs/lif --to rate_nla"),
    ("at lower firing rates", "rnla convert runs/rate --to spiking_nla --set r_max=100Hz"),
    ("as a NIR graph, for other simulators and chips (extra 'nir')", "rnla convert runs/lif --to nir --out lif.nir"),
)
ARGUMENTS = (("RUN", "a run folder with trained weights"),)


@click.command(
    "convert",
    cls=Command,
    examples=EXAMPLES,
    arguments=ARGUMENTS,
    help="Load the weights of a run into another model, in a new run folder, and say what is lost by it: the test "
    "accuracy (or return) before, after conversion alone, and after learning on.\n\n"
    "Weights and biases are scaled by what the models' neurons send, which their files say.",
)
@click.argument("run")
@click.option(
    "--to", cls=Option, metavar="MODEL", required=True,
    help="name or file of the other model; or nir, for a NIR graph of a spiking network",
)  # fmt: skip
@click.option(
    "--learn", cls=Option, type=values.Text("N", values.whole_from_zero("--learn", "5000")), default="0",
    help="decisions of each seed that the new model learns on",
)  # fmt: skip
@click.option(
    "--set", "settings", cls=Option, metavar="NAME=VALUE", multiple=True,
    help="change a parameter of the new model, such as r_max=200Hz (can be repeated)",
)  # fmt: skip
@click.option(
    "--at", cls=Option, metavar="MOMENT", default="end",
    help="whose weights: end, or the number of decisions of a checkpoint",
)  # fmt: skip
@click.option("--backend", cls=Option, metavar="NAME", help="what runs the new model; by default what fits it")
@click.option(
    "--seed", cls=Option, type=values.Text("SEED", values.whole_from_zero("--seed", "1")),
    help="with --to nir: whose network; by default the first seed's",
)  # fmt: skip
@click.option(
    "--delays", cls=Option, is_flag=True, help="with --to nir: a Delay of one step a layer, as in our simulations"
)
@click.option(
    "--out", cls=Option, metavar="FOLDER|FILE",
    help="the new run folder, by default runs/TASK-MODEL-LEARNER-TIME; with --to nir a file that ends in .nir",
)  # fmt: skip
@shared.as_json()
def command(
    run: str,
    to: str,
    learn: int,
    settings: tuple[str, ...],
    at: str,
    backend: str | None,
    seed: int | None,
    delays: bool,
    out: str | None,
    as_json: bool,
) -> None:
    """Convert."""
    overrides = values.assignments(settings)
    nir = {"--seed": seed is not None, "--delays": delays}
    run_folder = {"--learn": learn > 0, "--set": bool(settings), "--backend": backend is not None}
    for option, given in (run_folder if to == "nir" else nir).items():
        if given:
            raise ConfigError(f"{option} says nothing with --to {to}: it is for {'models' if to == 'nir' else 'nir'}")
    if to == "nir":
        _to_nir(run, at, seed, delays, out, as_json=as_json)
        return
    if out is not None:
        values.new_folder(Path(out))
    from rnla_neuro.cli import screen

    with screen.only_json_on_stdout(as_json):
        from rnla_neuro.backend import get_backend
        from rnla_neuro.conversion import convert_run
        from rnla_neuro.spec.loader import load_model

        load_model(to, overrides)  # a wrong name is told at once
        if backend is not None:
            get_backend(backend)
        results = convert_run(run, to, out, at=at, learn=learn, backend=backend, overrides=overrides)
    about = dict(results.summary["conversion"])
    if as_json:
        screen.print_json(about | {"folder": str(results.path)})
        return
    screen.console().print(_table(about))
    click.echo(f"\nsends     {about['sends']}")
    click.echo(f"run       {results.path}")


def _to_nir(run: str, at: str, seed: int | None, delays: bool, out: str | None, *, as_json: bool) -> None:
    """Write a NIR graph."""
    target = f"{run.rstrip('/')}.nir" if out is None else out
    if Path(target).suffix != ".nir":
        raise ConfigError(f"--out {out}: with --to nir a file that ends in .nir is needed")
    from rnla_neuro.cli import screen
    from rnla_neuro.interchange.nir_files import export_run

    export = export_run(run, target, seed=seed, at=at, delays=delays)
    if as_json:
        about = {"file": target, "nodes": list(export.graph.nodes), "dt": export.dt, "left_out": list(export.left_out)}
        screen.print_json(about)
        return
    chain = " → ".join(_chain(export.graph))
    click.echo(f"graph     {chain}\nleft out  {'; '.join(export.left_out)}\nfile      {target}")


def _chain(graph: Any) -> list[str]:
    """Return the nodes in their order, with what they are."""
    following, name = dict(graph.edges), "input"
    names = [name]
    while name in following:
        name = following[name]
        names.append(f"{name} ({type(graph.nodes[name]).__name__})" if name != "output" else name)
    return names


def _table(about: dict[str, Any]) -> Any:
    """Make the table: before, converted, learned."""
    from rnla_neuro.cli.measures import interval
    from rnla_neuro.cli.screen import number, table

    rows = [(about["from_model"], "before", about["before"]), (about["to_model"], "converted", about["converted"])]
    if about.get("after"):
        rows.append((about["to_model"], f"and {about['learned']:,} decisions", about["after"]))
    cells = [[model, moment, number(found["mean"]), interval(found)] for model, moment, found in rows]
    measure = about["measure"].replace("_", " ")
    return table(f"{measure} of {about['from']}", ["model", "when", measure, "95 % interval"], cells, numbers=2)
