"""How an SQLite file is opened: by its path, whatever that holds, and for reading also where nothing can be written.

SQLite needs files beside a database with a write-ahead log, even to read it. Where they cannot be made (a read-only
mount, a folder of somebody else's, a full disk) the database is opened as a file that nobody changes. That is wrong
where a log with changes lies beside it, and there it is refused.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from time import monotonic, sleep
from typing import Literal
from urllib.parse import quote

from sqlalchemy import URL

from ..errors import UsageError

WAIT_SECONDS = 15
_RETRY_SECONDS = 0.01
# What SQLite says where it cannot make or fill the files that it needs beside the database.
_NEEDS_WRITING = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL)


class SqliteConnection(sqlite3.Connection):
    """A connection that knows whether it takes the file for one that nobody changes, and why."""

    frozen: sqlite3.Error | None = None  # what SQLite said to opening it as a file that may change
    used: bool = False

    def freeze(self, path: Path, cause: sqlite3.Error) -> None:
        """Remember the file as it is now."""
        self.frozen, self._path, self._seen = cause, path, _stamp(path)
        # Sorting must need no room on a disk either.
        self.execute("PRAGMA temp_store=MEMORY").close()

    def overtaken(self) -> bool:
        """Whether a file that was taken for one that nobody changes has been changed since."""
        return self.frozen is not None and _stamp(self._path) != self._seen


def sqlite_url(path: Path) -> URL:
    """The URL of an SQLite file; written as a text it escapes what has a meaning in URLs, such as `%` and `?`."""
    try:
        database = os.fsencode(path.absolute()).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"The path {str(path)!r} is not UTF-8, so no URL can name it; choose another name.") from None
    return URL.create("sqlite", database=database)


def sqlite_uri(path: Path) -> str:
    """What SQLite itself opens a file by, where it is told to expect URIs."""
    # Two slashes more, because a path may begin with two itself. Bytes, because a path need not be text.
    return f"file://{quote(os.fsencode(path.absolute()))}"


def open_sqlite(path: Path, mode: Literal["ro", "rw", "rwc"] = "rw") -> SqliteConnection:
    """A connection in autocommit mode, which any thread may use; `rwc` makes the file where it is missing.

    Whatever the mode, the file can only be read where the system lets it be read only.
    """
    try:
        return _connect(path, f"mode={mode}")
    except sqlite3.OperationalError as error:
        if mode == "rwc" or primary_code(error) not in _NEEDS_WRITING or not _is_settled(path):
            raise
        try:
            connection = _connect(path, "mode=ro&immutable=1")
        except sqlite3.OperationalError:
            raise error from None
        connection.freeze(path, error)
        return connection


def side_files(path: Path) -> list[Path]:
    """What SQLite keeps beside a file that it has open, or had when its process was killed."""
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]


def write_ahead(connection: sqlite3.Connection) -> None:
    """Keep the file's changes in a write-ahead log, so that readers and the writer do not wait for each other.

    SQLite refuses this at once, whatever its busy timeout, while another process writes or does the same.
    """
    end = monotonic() + WAIT_SECONDS
    while True:
        try:
            return connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or monotonic() >= end:
                raise
            sleep(_RETRY_SECONDS)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's code of an error, without what an extended code adds."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def has_changes_beside(path: Path) -> bool:
    """Whether a log beside the file holds changes that are not in it yet, or a journal what has to be taken back."""
    log, _, journal = side_files(path)
    return any(side.is_file() and side.stat().st_size > 0 for side in (log, journal))


def _connect(path: Path, parameters: str) -> SqliteConnection:
    connection = sqlite3.connect(
        f"{sqlite_uri(path)}?{parameters}",
        uri=True,
        timeout=WAIT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=SqliteConnection,
    )
    try:
        # SQLite opens the file and those beside it when they are first needed.
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").close()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_settled(path: Path) -> bool:
    return path.is_file() and not has_changes_beside(path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
