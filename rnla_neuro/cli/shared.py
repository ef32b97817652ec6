"""Options that several commands have in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from rnla_neuro.cli import values
from rnla_neuro.cli.help import Option
from rnla_neuro.errors import ConfigError

Decorator = Callable[[Any], Any]

TASK = ("TASK", "a name of 'rnla list tasks', a Gymnasium id (Acrobot-v1), or the path of a .csv or .npz table")


def hidden(**more: Any) -> Decorator:
    """``--hidden``; `more` as an `Option` takes it, such as ``group``."""
    return click.option(
        "--hidden", cls=Option, type=values.Text("SIZES", values.hidden),
        help="neurons of the hidden layers, such as 40,20; by default what fits the task", **more,
    )  # fmt: skip


def iterations(**more: Any) -> Decorator:
    """``--iterations``."""
    return click.option(
        "--iterations", cls=Option, type=values.Text("N", values.whole_above_zero("--iterations", "20000")),
        help="decisions of each seed; by default what the task needs", **more,
    )  # fmt: skip


def evaluation_episodes(**more: Any) -> Decorator:
    """``--evaluation-episodes``."""
    return click.option(
        "--evaluation-episodes", cls=Option, default="100",
        type=values.Text("N", values.whole_above_zero("--evaluation-episodes", "100")),
        help="greedy episodes of each seed at the end, for tasks without a test set", **more,
    )  # fmt: skip


def precision(**more: Any) -> Decorator:
    """``--precision``."""
    more.setdefault("help", "float64 or float32")
    return click.option("--precision", cls=Option, metavar="TYPE", default="float64", **more)


def input_code(**more: Any) -> Decorator:
    """``--input`` of a command that runs nothing."""
    return click.option(
        "--input", "input_code", cls=Option, metavar="CODE", default="",
        help="how input values are sent, as in 'rnla run', such as poisson or population:8,regular", **more,
    )  # fmt: skip


def as_json(**more: Any) -> Decorator:
    """``--json``."""
    more.setdefault("help", "one JSON object on standard output")
    return click.option("--json", "as_json", cls=Option, is_flag=True, **more)


def only_json(**more: Any) -> Decorator:
    """``--json`` of a command that also says how far it is."""
    return as_json(help="one JSON object on standard output, everything else on standard error", **more)


def platform(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse a ``--hardware`` of no name: what a script gives whose variable is not set.

    Raises:
        ConfigError: It was given, and is empty.
    """
    given = context.get_parameter_source(parameter.name or "") is not ParameterSource.DEFAULT
    if given and not value.strip():
        raise ConfigError(
            f"--hardware {value!r}: a name of 'rnla list hardware' or the path of a platform file is needed; without a "
            "chip, leave the option out"
        )
    return value


def chip(**more: Any) -> Decorator:
    """``--hardware``, ``--chip-seed``, ``--uncalibrated`` and ``--chip-off``."""
    options = (
        click.option(
            "--hardware", cls=Option, metavar="NAME|FILE", default="", callback=platform, **more,
            help="emulate a chip of this platform: a name of 'rnla list hardware', or the path of a platform file",
        ),
        click.option(
            "--chip-seed", cls=Option, default=(), type=values.Text("SEEDS", values.chips), **more,
            help="which chip: one for all seeds (3), or one each (1-5); by default 1",
        ),
        click.option(
            "--uncalibrated", "calibrated", cls=Option, is_flag=True, flag_value=False, default=True, **more,
            help="the chip as it was made",
        ),
        click.option(
            "--chip-off", cls=Option, default=(), type=values.Text("NAME,NAME", values.names), **more,
            help="leave effects out: quantisation, mismatch (or tau_m, tau_syn, threshold, reset, leak, weight alone), "
            "trial, readout, inputs, between_runs",
        ),
    )  # fmt: skip

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
