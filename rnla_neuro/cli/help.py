"""How help looks: coloured, options in groups, examples to copy. By click alone: rich loads slowly."""

from __future__ import annotations

import inspect
from typing import Any

import click
from click.formatting import HelpFormatter, wrap_text

WIDTH = 100


class Option(click.Option):
    """An option that stands under a heading of its own in the help."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        kwargs.setdefault("show_default", kwargs.get("default") not in (None, "") and not kwargs.get("is_flag"))
        super().__init__(*args, **kwargs)
        self.group = group


class Command(click.Command):
    """A command with examples.

    Args:
        examples: Pairs of what one wants and the command line for it.
        arguments: Name and meaning of each argument.
    """

    def __init__(
        self,
        *args: Any,
        examples: tuple[tuple[str, str], ...] = (),
        arguments: tuple[tuple[str, str], ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples, self.arguments = examples, arguments

    def format_help(self, ctx: click.Context, formatter: HelpFormatter) -> None:
        """Write usage, text, arguments, options by group, examples."""
        write_usage(self, ctx, formatter)
        write_text(self.help or "", formatter)
        write_rows("Arguments", [(name, "", text) for name, text in self.arguments], formatter)
        groups: dict[str, list[tuple[str, str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option):
                group = getattr(parameter, "group", "Options")
                groups.setdefault(group, []).append(_row(parameter, ctx))
        for title in sorted(groups, key=lambda title: title == "Options"):
            write_rows(title, groups[title], formatter)
        write_examples(self.examples, formatter)


def write_usage(command: click.Command, ctx: click.Context, formatter: HelpFormatter) -> None:
    """Write the line of usage."""
    pieces = " ".join(command.collect_usage_pieces(ctx))
    formatter.write(f"{_heading('Usage:')} {click.style(ctx.command_path, bold=True)} {pieces}\n")


def write_text(text: str, formatter: HelpFormatter) -> None:
    """Write paragraphs, wrapped and indented."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        indent = "  "
        body = wrap_text(" ".join(paragraph.split()), formatter.width - 2, indent, indent)
        formatter.write(f"\n{body}\n")


def write_rows(title: str, rows: list[tuple[str, str, str]], formatter: HelpFormatter) -> None:
    """Write a heading and rows of name, form of the value, and text."""
    if not rows:
        return
    formatter.write(f"\n{_heading(title + ':')}\n")
    formatter.indent()
    coloured = [
        (f"{click.style(name, fg='cyan')} {click.style(form, fg='green')}".rstrip(), text)
        for name, form, text in rows
    ]
    formatter.write_dl(coloured, col_max=34)
    formatter.dedent()


def write_examples(examples: tuple[tuple[str, str], ...], formatter: HelpFormatter) -> None:
    """Write what one wants, and the command line for it."""
    if not examples:
        return
    formatter.write(f"\n{_heading('Examples:')}\n")
    for wish, line in examples:
        formatter.write(f"  {click.style('# ' + wish, dim=True)}\n  {click.style(line, fg='cyan')}\n")


def _heading(text: str) -> str:
    return click.style(text, bold=True, fg="yellow")


def _row(option: click.Option, ctx: click.Context) -> tuple[str, str, str]:
    """Return names, form of the value, and text of an option."""
    names = ", ".join((*option.opts, *option.secondary_opts))
    form = "" if option.is_flag or option.count else option.make_metavar(ctx)
    text = option.help or ""
    if option.show_default is True and option.default is not None:
        text += click.style(f" [default: {option.default}]", dim=True)
    return names, form, text
