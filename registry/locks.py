"""Locks between processes that never wait: the second holder is told at once who the first is.

Both end with their process. Beside an SQLite registry it is `flock` on a file of the folder `locks`, found from where
the database truly lies: symbolic links, relative and doubled paths and bind mounts of the folder lead to the same file.
Hard links and bind mounts of the database file alone do not, so that Linux is also asked by the number of the
database's inode, among the processes of one machine. In PostgreSQL it is an advisory lock, which belongs to the
database itself, whatever host, user or alias names it.

A lock can be lost: a server ends sessions and starts again, a file can be removed. Who holds one for long asks `check`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import HubspokeError, LockedError
from ..files import file_faults
from .database import Database, database_faults

_THIS_LOCK = "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = :high AND l.objid = :low"
_HOLDER = text(
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    f"WHERE {_THIS_LOCK} AND l.database = a.datid AND a.datname = current_database()"
)
_OURS = text(
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
    f"WHERE {_THIS_LOCK} AND l.pid = pg_backend_pid() AND d.datname = current_database()"
)
# What file systems answer that know no such locks.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock(ABC):
    """A name that this process holds against every other one."""

    lost: str  # how it comes about that it is held no more

    def __init__(self, name: str) -> None:
        self.name = name
        # Asked where the lock was lost for a while and nobody holds it now: raises a LockedError where somebody did.
        self.unchanged: Callable[[], object] = lambda: None

    def check(self) -> None:
        """Nothing where the lock is still held, or could be taken again; a LockedError where another has taken it.

        Another HubspokeError where that cannot be told, because the server is not reached.
        """
        if self._holds():
            return
        self._release()
        try:
            self._take()
        except LockedError as error:
            raise LockedError(
                f"This process lost its lock on {self.name!r} ({self.lost}), and another one has taken it; "
                "wait for that one to end and repeat the command."
            ) from error
        self.unchanged()

    @abstractmethod
    def _holds(self) -> bool: ...

    @abstractmethod
    def _take(self) -> None: ...

    @abstractmethod
    def _release(self) -> None: ...


@contextmanager
def held(lock: Lock) -> Iterator[Lock]:
    """Hold a lock for the block; a LockedError where another process has it."""
    lock._take()
    try:
        yield lock
    finally:
        lock._release()


class FileLock(Lock):
    """Held by a file beside the SQLite database `path`; the kernel lets go of it when the process ends."""

    lost = "its file was removed"

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(name)
        self._database = path.resolve()
        self._folder = self._database.parent / "locks"
        self._file = self._folder / f"{quote(name, safe='')}.lock"
        self._descriptor: int | None = None
        self._inode: socket.socket | None = None

    def _holds(self) -> bool:
        return self._descriptor is not None and _is_at(self._descriptor, self._file)

    def _take(self) -> None:
        with file_faults(self._folder):
            while self._descriptor is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._descriptor = self._locked_file()
        self._inode = self._locked_inode()
        # The number only tells others who holds it, which a full disk may leave out.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def _locked_file(self) -> int | None:
        """The lock's file, opened and locked; None where it was removed at that moment."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            # Never truncated on opening: until the lock is ours the number in it is the holder's.
            descriptor, ours = os.open(self._file, flags, 0o666), True
        except PermissionError:
            if not self._file.exists():
                raise
            # Another user's, who gives no right to write to it: where nobody holds it, a new one takes its place.
            descriptor, ours = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC), False
        try:
            self._flock(descriptor)
            if not ours:
                self._file.unlink()
            if _is_at(descriptor, self._file):
                descriptor, kept = -1, descriptor
                return kept
        finally:
            if descriptor != -1:
                os.close(descriptor)
        return None

    def _flock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(self.name, os.pread(descriptor, 32, 0).decode(errors="replace").strip()) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise HubspokeError(
                f"The file system of {self._folder} has no file locks ({error.strerror}); put the registry on a local "
                "disk, or in PostgreSQL."
            ) from error

    def _locked_inode(self) -> socket.socket | None:
        """The database file's own number, held in the kernel's list of names; None where there is no such list."""
        try:
            stat = self._database.stat()
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError:
            return None
        digest = hashlib.sha256(f"{stat.st_dev} {stat.st_ino} {self.name}".encode()).hexdigest()
        try:
            bound.bind(f"\0hubspoke {digest}")
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                self._release()
                raise _taken(self.name, "") from None
            return None
        return bound

    def _release(self) -> None:
        if self._inode is not None:
            self._inode.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._inode = self._descriptor = None


class AdvisoryLock(Lock):
    """Held by a PostgreSQL session of its own; the server lets go of it when the session ends."""

    lost = "the database ended its session"

    def __init__(self, database: Database, name: str) -> None:
        super().__init__(name)
        self._database = database
        self._key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        unsigned = self._key % (1 << 64)
        self._halves = {"high": unsigned >> 32, "low": unsigned & 0xFFFFFFFF}
        self._session: Connection | None = None

    def _holds(self) -> bool:
        # Not merely that the session lives: behind a pooler that changes servers it may be another one's.
        try:
            return self._session is not None and self._session.scalar(_OURS, self._halves) == 1
        except SQLAlchemyError:
            return False

    def _take(self) -> None:
        with database_faults(self._database.where):
            # Autocommit: a transaction held open through a training would keep the server from cleaning up.
            session = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._session = session
        try:
            with database_faults(self._database.where):
                if not session.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}):
                    holder = session.scalar(_HOLDER, self._halves)
                    raise _taken(self.name, str(holder or "").removeprefix("hubspoke "))
        except BaseException:
            self._release()
            raise

    def _release(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        # The server may notice the end of the session some time after it, so it is told first where it still listens.
        # Whatever goes wrong with a session that is lost anyway must not stand in the place of what went wrong before.
        with suppress(SQLAlchemyError):
            session.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": self._key})
        # Closed rather than returned to the pool: that lets go of the lock in any case.
        with suppress(SQLAlchemyError):
            session.invalidate()
        with suppress(SQLAlchemyError):
            session.close()


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one that lies at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _taken(name: str, holder: str) -> LockedError:
    holder = f"Process {holder}" if holder else "Another process"
    return LockedError(f"{holder} holds {name!r}; wait for it to end, or stop it, and repeat the command.")
