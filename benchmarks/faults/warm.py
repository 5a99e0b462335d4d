"""Commands in processes forked from one that has imported everything, so that thousands of them fit on a small machine.

A forked command is a process of its own, in a group of its own, with the locks, files and connections of a command from
the shell; only the seconds of imports are missing. The process that forks must not itself open a registry with the
package, nor compute with polars or torch: their threads do not survive a fork.
"""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import click
from hubspoke import cli
from hubspoke.commands.groups import every_command

CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 130}  # that the command line may end with
FORKED = multiprocessing.get_context("fork")
_HEAVY = (
    "polars",
    "faiss",
    "peft",
    "scipy.sparse.csgraph",
    "sqlalchemy.dialects.postgresql.psycopg",
    "alembic.command",
)
_FLOORS = ("workflows", "spokes", "hub", "retrieval", "evaluation", "catalog", "registry", "migrations")


@dataclass(frozen=True)
class Ended:
    """How a command ended; a negative code is the signal that ended it."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def done(self) -> bool:
        """Whether the caller was told that it is done."""
        return self.code == 0

    @cached_property
    def json(self) -> Any:
        """What `--json` wrote."""
        return json.loads(self.out)

    def fault(self, *codes: int) -> str | None:
        """What is wrong with this end, where it may be one of `codes` (0 always): a kind of fault, else None."""
        if "Traceback (most recent call last)" in self.out + self.err or "--debug shows the traceback" in self.err:
            return "raw traceback"
        if self.code not in CODES or self.code not in (0, *codes):
            return "wrong exit code"
        told = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        if self.code and len(told) != 1:
            return "no sentence"
        return None

    def __str__(self) -> str:
        last = (self.err.strip().splitlines() or [""])[-1]
        return f"hubspoke {' '.join(self.arguments)} -> {self.code} {last}"


class Running:
    """A command under way in a process group of its own."""

    def __init__(self, pid: int, arguments: tuple[str, ...], written: Path) -> None:
        self.pid, self.arguments, self.written = pid, arguments, written
        self.started = time.monotonic()

    def wait(self) -> Ended:
        """Its end, once it is there."""
        _, status = os.waitpid(self.pid, 0)
        seconds = time.monotonic() - self.started
        texts = [_text(self.written.with_suffix(suffix)) for suffix in (".out", ".err")]
        return Ended(self.arguments, os.waitstatus_to_exitcode(status), *texts, seconds)

    def kill(self, after: float = 0.0) -> Ended:
        """SIGKILL for the whole group after so many seconds; one that has ended meanwhile keeps its own end."""
        time.sleep(max(0.0, self.started + after - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait()


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    path.unlink()
    return text


def warm_up() -> None:
    """Import what commands import, and let the garbage collector leave it where forks share it."""
    floors = [importlib.import_module(f"hubspoke.{name}") for name in _FLOORS]
    modules = (
        module.name for floor in floors for module in pkgutil.walk_packages(floor.__path__, f"{floor.__name__}.")
    )
    for name in (*_HEAVY, *(name for name in modules if not name.startswith("hubspoke.migrations."))):
        importlib.import_module(name)
    assert any(isinstance(command, click.Command) for _, command in every_command(cli.cli))
    gc.collect()
    gc.freeze()


def start(*arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> Running:
    """Begin `hubspoke ARGUMENTS` in `folder`."""
    descriptor, name = tempfile.mkstemp(prefix="hubspoke-said-", suffix=".out")
    os.close(descriptor)
    written = Path(name)
    written.with_suffix(".err").touch()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(arguments, folder, environment or {}, written)
    with suppress(OSError):  # the child does the same; whoever comes second may be refused
        os.setpgid(pid, pid)
    return Running(pid, arguments, written)


def run(*arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> Ended:
    """Run `hubspoke ARGUMENTS` in `folder` to its end."""
    return start(*arguments, folder=folder, environment=environment).wait()


def _become(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], written: Path) -> NoReturn:
    """In the child: be the command line."""
    code = 1
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        os.chdir(folder)
        os.environ.update(environment)
        for number, path in enumerate((Path(os.devnull), written, written.with_suffix(".err"))):
            os.dup2(os.open(path, os.O_RDWR), number)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "rw"[n > 0], closefd=False) for n in range(3))
        sys.argv = ["hubspoke", *arguments]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class Beside:
    """A function in a process of its own; `result` waits for what it gave."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._ours, theirs = FORKED.Pipe(duplex=False)
        self._process = FORKED.Process(target=lambda: theirs.send(function(*arguments)))
        self._process.start()
        theirs.close()

    def result(self) -> Any:
        """What the function returned."""
        found = self._ours.recv()
        self._process.join()
        return found
