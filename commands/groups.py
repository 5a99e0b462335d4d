"""The click groups: commands are imported by name when they are called, errors become one sentence and an exit code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, NoReturn

import click

from .output import end, end_in_json, tell
from .streams import ResultLostError, drop_result


def every_command(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command below a group with its path, such as `domain list`; groups come before what is in them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from every_command(command, f"{path}{name} ")


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported only when one of them is needed.

    `lazy` maps a command's name to (module, attribute, short help); the help is there so that listing imports nothing.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the table."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = self.lazy[cmd_name]
        command: click.Command = getattr(importlib.import_module(module, __package__), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with their short help, none of them imported."""
        rows = [(name, short) for name, (_, _, short) in self.lazy.items()]
        rows += [(name, command.get_short_help_str(100)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class RootGroup(LazyGroup):
    """The program: a usage error is told on stderr, and with `--json` on stdout as well."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the program and end the process with its exit code."""
        given = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in given
        extra.pop("standalone_mode", None)
        try:
            _require_text(given)
            result = super().main(given, prog_name or "hubspoke", standalone_mode=False, **extra)
        except click.ClickException as error:
            shown = StringIO()
            error.show(shown)
            tell(shown.getvalue().rstrip("\n"))
            end_in_json("UsageError", error.format_message(), error.exit_code, as_json)
        except click.Abort:
            tell("Interrupted.")
            sys.exit(130)
        except OSError as error:  # of a command each error is told by its call: this is a page of help
            lost = ResultLostError(error)
            drop_result()
            end(type(lost).__name__, str(lost), lost.exit_code, as_json=False)
        sys.exit(result if isinstance(result, int) else 0)


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse an argument with bytes that the encoding of this locale does not know: it could not be stored or shown."""
    for argument in arguments:
        try:
            argument.encode("utf-8")
        except UnicodeEncodeError:
            raise click.UsageError(
                f"The argument {argument!r} is no text in {sys.getfilesystemencoding()}, the encoding of this locale; "
                "write it in UTF-8, and set PYTHONUTF8=1 where the locale has another encoding."
            ) from None
