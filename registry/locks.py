"""Locks between processes that never wait: the second holder is told at once who the first is.

Both end with their process: `flock` on a file beside an SQLite registry, an advisory lock of a PostgreSQL session.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ..errors import LockedError
from ..files import file_faults
from .database import Database, database_faults

_HOLDER = text(
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.database = a.datid "
    "AND a.datname = current_database() AND l.classid = :high AND l.objid = :low"
)


@contextmanager
def file_lock(folder: Path, name: str) -> Iterator[None]:
    """Hold `name` by a file in `folder`; the kernel lets go of it when the process ends in whatever way."""
    path = folder / f"{quote(name, safe='')}.lock"
    with file_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # Never truncated on opening: until the lock is ours the number in it is the holder's.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise _held(name, holder) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def advisory_lock(database: Database, name: str) -> Iterator[None]:
    """Hold `name` by a PostgreSQL session of its own; the server lets go of it when the session ends."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    with database_faults(database.where):
        # Autocommit: a transaction held open through a training would keep the server from cleaning up.
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with database_faults(database.where):
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
                unsigned = key % (1 << 64)
                holder = connection.scalar(_HOLDER, {"high": unsigned >> 32, "low": unsigned & 0xFFFFFFFF})
                raise _held(name, str(holder or "").removeprefix("hubspoke "))
        yield
    finally:
        # The server may notice the end of the session some time after it, so it is told first where it still listens.
        with suppress(DBAPIError):
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        # Closed rather than returned to the pool: that lets go of the lock in any case.
        connection.invalidate()
        connection.close()


def _held(name: str, holder: str) -> LockedError:
    holder = f"Process {holder}" if holder else "Another process"
    return LockedError(f"{holder} holds {name!r}; wait for it to end, or stop it, and repeat the command.")
