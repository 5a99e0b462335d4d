"""A log of lines: JSON Lines in a folder, appended to by any number of processes, read while they write.

A process writes a segment of its own, `….open.jsonl`. It is sealed, that is renamed to `….jsonl`, when it has grown
large, when its process ends well, or when somebody asks for what is there; nothing is ever added to a sealed one. Each
append is one write under the file's lock, so that a segment is never renamed under half of one. A killed process may
leave a last line without its end, which was never confirmed to anybody and is passed over.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from ..files import file_faults, flush, new_name, no_space

OPEN, SEALED = ".open.jsonl", ".jsonl"


class Line(Protocol):
    """What a log holds."""

    def line(self) -> bytes:
        """It as one line of UTF-8 JSON, with its end."""


class LogSettings(BaseModel):
    """How a log is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_bytes: int = Field(default=16_000_000, ge=1)  # a segment that has grown so large is sealed
    # A power cut may take the lines of so many seconds; 0 waits for the disk at every append. A kill takes nothing.
    sync_seconds: float = Field(default=1.0, ge=0)


@dataclass
class _OpenSegment:
    """A segment that is being written."""

    path: Path
    descriptor: int
    size: int = 0
    torn: bool = False  # half a line stands at its end

    @classmethod
    def begin(cls, folder: Path) -> _OpenSegment:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.time_ns():020d}-{new_name()}{OPEN}"
        # What is logged of shoppers is nobody's business beside the team's, which the umask may let in.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o660)
        flush(folder)
        return cls(path, descriptor)

    @property
    def is_over(self) -> bool:
        """Whether nothing may be added: somebody has sealed it, or what followed would join half a line.

        Asked under its lock.
        """
        return self.torn or not self.path.exists()

    def write(self, content: bytes) -> None:
        """All of it or nothing."""
        try:
            if os.write(self.descriptor, content) < len(content):
                raise no_space(self.path.parent)
        except BaseException:
            self.torn = True
            os.ftruncate(self.descriptor, self.size)
            self.torn = False
            raise
        self.size += len(content)


class LineLog:
    """One process's way into a log; any number of threads may append at once."""

    def __init__(self, folder: Path, settings: LogSettings | None = None) -> None:
        self.folder = folder
        self._settings = settings or LogSettings()
        self._lock = Lock()  # around all below
        self._segment: _OpenSegment | None = None
        self._unsynced = False
        self._closed = Event()
        self._syncing: Thread | None = None

    def append(self, lines: Sequence[Line]) -> None:
        """Write lines, all or none; when this returns they outlive the process."""
        content = b"".join(own.line() for own in lines)
        if not content:
            return
        with self._lock, file_faults(self.folder):
            with self._held() as segment:
                segment.write(content)
            self._unsynced = True
            if not self._settings.sync_seconds:
                os.fsync(segment.descriptor)
                self._unsynced = False
            elif self._syncing is None:
                self._syncing = Thread(target=self._keep_syncing, name="log", daemon=True)
                self._syncing.start()
            if segment.size >= self._settings.segment_bytes:
                self._seal()

    def sync(self) -> None:
        """Wait until what was appended outlives a power cut."""
        with self._lock:
            if not self._unsynced or self._segment is None:
                return
            descriptor = os.dup(self._segment.descriptor)
            self._unsynced = False
        try:  # outside the lock: appends need not wait for the disk
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Seal what is open."""
        self._closed.set()
        with self._lock:
            self._seal()

    @contextmanager
    def _held(self) -> Iterator[_OpenSegment]:
        """The segment to write to, under the lock that whoever seals it takes."""
        while True:
            segment = self._segment = self._segment or _OpenSegment.begin(self.folder)
            with _locked(segment.descriptor):
                if not segment.is_over:
                    yield segment
                    return
            self._let_go()

    def _seal(self) -> None:
        if self._segment is not None:
            path = self._segment.path
            self._let_go()
            _seal(path)

    def _let_go(self) -> None:
        """Leave a segment, its bytes safe: it may be the only place that has them."""
        if self._segment is not None:
            os.fsync(self._segment.descriptor)
            os.close(self._segment.descriptor)
        self._segment, self._unsynced = None, False

    def _keep_syncing(self) -> None:
        while not self._closed.wait(self._settings.sync_seconds):
            with suppress(OSError):  # the next append meets the disk again, and tells
                self.sync()


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Hold a file against other processes, for the time of a write or a rename."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def seal(folder: Path) -> None:
    """Seal every open segment, whoever writes it: its process goes on in another one."""
    for path in sorted(folder.glob(f"*{OPEN}")):
        _seal(path)


def _seal(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # somebody else was quicker
        return
    try:
        with _locked(descriptor), suppress(FileNotFoundError):
            if os.fstat(descriptor).st_size:
                path.rename(_sealed(path))
            else:
                path.unlink()
    finally:
        os.close(descriptor)


def _sealed(path: Path) -> Path:
    """The name of a segment once it is sealed."""
    return path.with_name(path.name.removesuffix(OPEN) + SEALED) if path.name.endswith(OPEN) else path


def read_pieces(folder: Path, sealed: bool = False, most: float = math.inf) -> Iterator[tuple[Path, bytes]]:
    """Every segment and its whole lines, or those that are `sealed` alone, the oldest first.

    Of a large log the newest of `most` bytes in all. Only a sealed one may be removed after it was read: an open one
    may have grown since.
    """
    paths = [path for path in sorted(folder.glob(f"*{SEALED}")) if not (sealed and path.name.endswith(OPEN))]
    for path in _newest(paths, most):
        # An open one may be sealed meanwhile.
        for own in dict.fromkeys((path, _sealed(path))):
            with suppress(FileNotFoundError):
                content = own.read_bytes()
                yield own, content[: content.rfind(b"\n") + 1]  # what stands behind the last end was never confirmed
                break


def _newest(paths: Sequence[Path], most: float) -> list[Path]:
    """The last ones of that many bytes in all, the very last in any case."""
    kept: list[Path] = []
    for path in reversed(paths):
        with suppress(FileNotFoundError):
            most -= path.stat().st_size
        if kept and most < 0:
            break
        kept.append(path)
    return kept[::-1]
