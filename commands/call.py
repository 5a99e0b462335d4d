"""One call of a command: its global options, its workspace, its output and the end of every error."""

from __future__ import annotations

import functools
import inspect
import os
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NoReturn, TypeAlias, TypeVar

import click

from ..door import translated
from ..errors import HubspokeError, UsageError
from ..results import Record
from ..settings import current_folder, load_settings
from ..workflows.workspace import Workspace, open_workspace
from .options import together
from .output import Columns, end, facts, print_json, records_table, tell, write, write_text
from .progress import make_progress
from .streams import ResultLostError, drop_result

R = TypeVar("R", bound=Record | Mapping[str, Any])
INTERRUPTED = 130
# What several processes can do together; of anything else each would do all.
SHARED_COMMANDS = ("spoke train", "hub train")


class Call:
    """A command under way: `flags` are the settings of its command line, `progress` is where workflows report to."""

    def __init__(self, flags: Mapping[str, Any], json: bool, quiet: bool, debug: bool) -> None:
        self.flags, self.json, self.debug = flags, json, debug
        self.progress = make_progress(quiet)
        self.note = self.progress.note
        self._open = ExitStack()

    def workspace(self) -> Workspace:
        """The workspace that flags, environment and settings file name; it must exist."""
        return self._open.enter_context(open_workspace(progress=self.progress, **self.flags))

    def new_workspace(self, dry_run: bool = False) -> Workspace:
        """The same for commands that a newcomer starts with: a missing SQLite workspace is made, as stderr says.

        A dry run on a missing workspace works on an empty one in a temporary folder, so that nothing is changed.
        """
        workspace = self.unopened()
        if workspace.settings.registry_url is not None or workspace.exists():
            _ = workspace.registry
            return workspace
        if dry_run:
            scratch = self._open.enter_context(tempfile.TemporaryDirectory(prefix="hubspoke-"))
            flags = {**self.flags, "workspace": scratch}
            return self._open.enter_context(open_workspace(create=True, progress=self.progress, **flags))
        workspace.init()
        self.note(f"Made a new workspace in {workspace.settings.workspace}.")
        return workspace

    def unopened(self) -> Workspace:
        """The workspace whether or not it exists."""
        settings = load_settings(self.flags, os.environ, current_folder())
        return self._open.enter_context(Workspace(settings, self.progress))

    def show(self, result: R, text: Callable[[R], str] | str | None = None, exact: bool = False) -> None:
        """The result on stdout: as JSON if asked for, else as `text` gives it, by default as names and values.

        An `exact` text is for machines, such as CSV, and keeps every character.
        """
        self.progress.close()  # the terminal is given back before anything else is written
        content = result.to_dict() if isinstance(result, Record) else result
        if self.json:
            print_json(content)
        else:
            made = facts(content.items()) if text is None else text if isinstance(text, str) else text(result)
            write(made) if exact else write_text(made)

    def show_list(self, name: str, records: Sequence[Any], columns: Columns, empty: str) -> None:
        """A listing on stdout: a table, or `empty` where there is nothing; in JSON under `name`."""
        self.show({name: list(records)}, lambda _: records_table(records, columns, empty))

    def close(self) -> None:
        """Close the workspace and the progress."""
        self.progress.close()
        self._open.close()

    def fail(self, error: BaseException) -> NoReturn:
        """Tell the error in one sentence and end the process with its exit code."""
        self.progress.close()
        message, code = sentence(error)
        report = getattr(error, "report", None)
        if self.debug:
            traceback.print_exception(error)
        elif report is not None:
            tell(report.to_text())
        lost = isinstance(error, ResultLostError)
        if lost:
            drop_result()
        more = {} if report is None else {"report": report.to_json()}
        end(type(error).__name__, message, code, self.json and not lost, **more)


def sentence(error: BaseException) -> tuple[str, int]:
    """What to tell of an error, and the exit code."""
    if isinstance(error, HubspokeError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted; repeat the command to go on.", INTERRUPTED
    told = translated(error)
    if told is not None:
        return str(told), told.exit_code
    text = " ".join(str(error).split())
    named = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{named.rstrip('.')}; --debug shows the traceback.", 1


Function: TypeAlias = Callable[..., None]


def command(example: str | Sequence[str]) -> Callable[[Function], click.Command]:
    """Make a command that stands alone; in a group, `Noun` makes it."""
    return lambda function: click.command()(_called(function, example))


class Noun(click.Group):
    """A group whose commands take a `Call` first."""

    def command(  # type: ignore[override]
        self, name: str | None = None, *, example: str | Sequence[str]
    ) -> Callable[[Function], click.Command]:
        """Make a command of the group, with an example, the global options and the handling of every error."""
        make: Callable[[Function], click.Command] = super().command(name)
        return lambda function: make(_called(function, example))


_global_options = together(
    click.option("--registry", metavar="URL", help="Registry database (default: SQLite in the workspace)."),
    click.option("--workspace", metavar="DIR", help="Workspace folder (default: .hubspoke)."),
    click.option("--json", "as_json", is_flag=True, help="Write the result as JSON."),
    click.option("--quiet", is_flag=True, help="Write nothing but results and errors."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)


def _called(function: Function, example: str | Sequence[str]) -> Function:
    """Give a command its example, the global options, a `Call` as its first argument, and the end of every error."""

    def run(*args: Any, **kwargs: Any) -> None:
        flags = {"registry_url": kwargs.pop("registry"), "workspace": kwargs.pop("workspace")}
        call = Call(flags, *(bool(kwargs.pop(name)) for name in ("as_json", "quiet", "debug")))
        try:
            if world_size() > 1 and not click.get_current_context().command_path.endswith(SHARED_COMMANDS):
                raise UsageError(
                    f"WORLD_SIZE is {world_size()}, as under torchrun, but only `spoke train` and `hub train` share "
                    "their work among processes; run this command once, without torchrun."
                )
            function(call, *args, **kwargs)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except (Exception, KeyboardInterrupt) as error:
            call.fail(error)
        finally:
            call.close()

    # The options that all commands share come after a command's own.
    made = functools.update_wrapper(_global_options(run), function, updated=())
    examples = (example,) if isinstance(example, str) else example
    # Click prints what stands after \b line by line, as it is written.
    lines = [inspect.cleandoc(function.__doc__ or ""), "", "\b", "Example:", *(f"  {line}" for line in examples)]
    made.__doc__ = "\n".join(lines)
    made.__click_params__ += getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    return made


def world_size() -> int:
    """Processes that torchrun started, 1 without it."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """The number of this process among them."""
    return _number("RANK", 0) if world_size() > 1 else 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name} in the environment is {text!r}, not a number as torchrun sets it; unset it.")
    return int(text)
