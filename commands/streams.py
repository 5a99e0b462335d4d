"""The streams of the process: made so that nothing but a lost result can fail on them.

What is written to stderr (progress, notes, errors) is told to whoever listens, and to nobody where nobody does. A
result that stdout does not take is an error.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any

from ..errors import HubspokeError


class ResultLostError(HubspokeError):
    """What was to be written to stdout did not arrive."""

    def __init__(self, error: OSError) -> None:
        why = "its reader has gone" if isinstance(error, BrokenPipeError) else (error.strerror or str(error)).lower()
        super().__init__(
            f"The result could not be written to stdout ({why}); repeat the command with stdout going to a place that "
            "takes it."
        )


class _Patient(io.FileIO):
    """Waits where a pipe that does not block is full."""

    def write(self, data: Any, /) -> int:
        # The interface promises a number; None is said where writing would block.
        while (written := super().write(data)) is None:
            select.select([], [self.fileno()], [])
        return written


class _Forgiving(_Patient):
    """Passes over what cannot be written."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Give the process all three streams, with texts that their encoding lacks written as escapes."""
    if os.name != "posix":
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return
    # A number that is free would be given to the next file that is opened, such as the registry, and be written to.
    # Nothing can be written to what is open for reading: a result fails there, as it should.
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    sys.stdout = _stream(_Patient(1, "w", closefd=False), sys.stdout)
    sys.stderr = _stream(_Forgiving(2, "w", closefd=False), sys.stderr)


def _stream(raw: io.FileIO, before: Any) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", "utf-8")
    to_terminal = raw.isatty()
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=to_terminal)


def drop_result() -> None:
    """Forget what stdout did not take, so that the end of the process does not fail on it again."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
