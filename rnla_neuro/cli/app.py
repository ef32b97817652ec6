"""The group of commands, and what becomes of errors, signals and closed pipes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from rnla_neuro import __version__
from rnla_neuro.cli import help as layout
from rnla_neuro.errors import RnlaError, unknown

# A command is the file of its name; the text stands here so that `rnla --help` loads none of them.
COMMANDS = {
    "run": "learn a task, watch it, and keep it in a run folder",
    "list": "list models, tasks and backends",
    "check": "check a model file, and say what was proven of it",
    "compile": "leave the program of a network in a folder, for reading",
    "show": "show runs: a table, and a picture of the learning curves",
    "calibrate": "measure the f-I curve of a spiking model's neuron, beside its phi",
    "align": "compare self-nudging with the exact policy gradient, layer by layer",
    "compare": "compare models, engines and reward delays: tables, tests, figures, report",
    "report": "write report.html of runs that are there, or of a comparison",
    "record": "record voltages, rates, errors and spikes of chosen trials of a run",
    "animate": "draw trials of a run as a moving picture, GIF or MP4",
    "convert": "load a run's weights into another model, its spiking twin say, or write a NIR graph",
    "reproduce": "check every claim of the poster, with figure, statistic and verdict",
}
EXAMPLES = (
    ("learn handwritten digits from reward alone, three seeds side by side", "rnla run digits --seeds 3"),
    ("what there is", "rnla list"),
    ("the options of a command, with examples", "rnla run --help"),
)

ERROR, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 130, 141, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: treated as Ctrl-C, so that whatever is written is written to its end."""


class Stopped(Exception):
    """A command was stopped by a signal, and this is what the user should know."""


class Commands(click.Group):
    """Loads a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"rnla_neuro.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one gets the nearest name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(unknown("command", args[0], COMMANDS), ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help without loading a command."""
        layout.write_usage(self, ctx, formatter)
        layout.write_text(self.help or "", formatter)
        layout.write_rows("Commands", [(name, "", text) for name, text in COMMANDS.items()], formatter)
        options = [("--version", "", "show the version"), ("-h, --help", "", "show this text")]
        layout.write_rows("Options", options, formatter)
        layout.write_examples(EXAMPLES, formatter)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"rnla {__version__}")
        ctx.exit()


@click.group(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": layout.WIDTH},
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version)
def app() -> None:
    """Reinforcement learning in time-continuous neural networks, written as Brian2 model strings."""


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    0: done. 2: a mistake of the user's, told on standard error. 130: Ctrl-C. 143: SIGTERM. 141: whoever read
    our output has closed it. With ``RNLA_DEBUG=1`` in the environment errors come with their traceback.
    """
    if "_RNLA_COMPLETE" in os.environ:  # the shell asks for completions
        app.main(list(arguments), prog_name="rnla")
    try:
        with _sigterm_as_interrupt(), _readable_warnings():
            try:
                code = _invoke(list(arguments))
            except Exception as error:  # noqa: BLE001 - what is not the user's mistake is raised again
                code = _explain(error)
            except KeyboardInterrupt as stop:
                click.echo("stopped", err=True)
                code = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
            sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain once more when it flushes standard output at exit
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def _invoke(arguments: list[str]) -> int:
    """Run the command; click's own `main` would handle errors and signals in its way."""
    try:
        with app.make_context("rnla", arguments, color=_colour()) as ctx:
            app.invoke(ctx)
    except click.exceptions.Exit as done:
        return done.exit_code
    return 0


def _colour() -> bool | None:
    """Return whether the environment asks for colours (https://no-color.org); None: only on a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def _explain(error: Exception) -> int:
    """Tell the user what went wrong; an error that is not theirs goes on as it is."""
    if isinstance(error, BrokenPipeError) or not isinstance(
        error, RnlaError | click.ClickException | Stopped
    ):
        raise error
    if isinstance(error, Stopped):
        click.echo(str(error), err=True)
        return TERMINATED if isinstance(error.__cause__, Terminated) else INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return ERROR
    if os.environ.get("RNLA_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message = f"{message.rstrip('.')}; see {error.ctx.command_path} --help"
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True, color=_colour())
    return ERROR


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread: whoever calls us there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _readable_warnings() -> Iterator[None]:
    """Show warnings as one line, without the line of code that they come from."""
    if os.environ.get("RNLA_DEBUG", "0") not in ("", "0"):
        yield
        return
    before = warnings.showwarning

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {message}", err=True, color=_colour())

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
