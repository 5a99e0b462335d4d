"""The connection to the registry's database: SQLite or PostgreSQL behind one interface.

Writers take turns on both (BEGIN IMMEDIATE, an advisory lock), so version numbers, aliases and cycle checks never race.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Any, TypeAlias

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.orm import Session

from ..errors import (
    HubspokeError,
    InvalidDataError,
    LockedError,
    MissingExtraError,
    NotFoundError,
    SchemaVersionError,
    UsageError,
)
from ..files import file_faults, no_space, not_writable
from ..forks import renew_in_child
from .forked import leave_connections
from .sqlite import WAIT_SECONDS, SqliteConnection, has_changes_beside, open_sqlite, primary_code, write_ahead

# Oldest first; a test holds them equal to the files of migrations/versions.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
HEAD_REVISION = REVISIONS[-1]

_CONNECT_SECONDS = 10
_WRITES = "hubspoke_writes"
_REVISION = text("SELECT version_num FROM alembic_version")
# With less than this SQLite cannot make the files that it needs beside a database.
_LEAST_BYTES = 1 << 20
# Any fixed number does: it keeps this program's writers apart and nobody else's.
_WRITER_LOCK = 0x68756273706F6B65

# Written out, or in its parts: a path in its parts needs no escaping.
DatabaseUrl: TypeAlias = str | URL


def parse_url(url: DatabaseUrl) -> URL:
    """The URL with its driver made explicit; the path of an SQLite file is absolute, and `~` in it is followed.

    A URL is percent-decoded: in a text, `%25` stands for `%` and `%3F` for `?`.
    """
    try:
        parsed = make_url(url)
        shown(parsed)
    except (ArgumentError, ValueError):  # the latter of a port that is no number, and of what is not UTF-8
        hidden = re.sub(r"(:)[^:/]*@|((?:ssl)?password=)[^&]*", r"\1\2***", str(url))
        raise UsageError(
            f"{hidden!r} is not a database URL; write sqlite:///path/registry.db or postgresql+psycopg://user@host/name."
        ) from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and _is_plain_file(parsed):
        if "?" in str(url):  # SQLAlchemy would drop what it cannot read after it
            raise UsageError(f"An SQLite registry takes no parameters ({url}); write %3F for ? in its path.")
        return parsed.set(drivername="sqlite", database=str(_absolute(parsed.database or "")))
    raise UsageError(
        f"A registry cannot live at {shown(parsed)}; use an SQLite file (sqlite:///path/registry.db, and "
        "four slashes before an absolute path) or postgresql+psycopg://."
    )


def shown(url: DatabaseUrl) -> str:
    """The URL as a text that opens the same database, without its passwords, which may stand in its query too."""
    public = make_url(url).difference_update_query(["password", "sslpassword"])
    return public.render_as_string(hide_password=True).replace(" ", "%20")


def _is_plain_file(url: URL) -> bool:
    named = url.database not in (None, "", ":memory:") and "\0" not in str(url.database)
    return named and not any((url.host, url.port, url.username, url.password))


def _absolute(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise UsageError(f"Nobody's home folder is meant by {path}; write the path out.") from None


def _is_file(path: Path) -> bool:
    try:
        return S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _cannot_open(path, error.strerror or str(error)) from error


class Database:
    """One database that holds, or is to hold, a registry; `create` makes a missing SQLite file and its folder.

    Without `foreign_keys` SQLite does not check them: rebuilding a table and copying tables one by one break them on
    the way, and whoever does so checks all at the end (PRAGMA foreign_key_check).
    """

    def __init__(self, url: DatabaseUrl, *, create: bool = False, foreign_keys: bool = True) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # Links are followed: what lies beside the file (its log, its locks) must be the same by whatever name.
        self.path = Path(os.path.realpath(self.url.database or "")) if self.is_sqlite else None
        self.where = str(self.path) if self.path else shown(self.url)
        if self.path and create:
            with file_faults(self.path.parent):
                self.path.parent.mkdir(parents=True, exist_ok=True)
        elif self.path and not _is_file(self.path):
            raise NotFoundError(f"There is no registry at {self.path}; run `hubspoke init` to make one.")
        if self.path:
            self.engine = self._sqlite_engine(self.path, create, foreign_keys)
        else:
            self.engine = self._postgres_engine()
        renew_in_child(self.engine, leave_connections)
        self.writer = self.engine.execution_options(**{_WRITES: True})

    def _sqlite_engine(self, path: Path, create: bool, foreign_keys: bool) -> Engine:
        def connect() -> SqliteConnection:
            connection = open_sqlite(path, "rwc" if create else "rw")
            connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}").close()
            if create:
                write_ahead(connection)
            return connection

        # Opened by its path: SQLAlchemy would take a link out of a path before `..` follows it.
        engine = create_engine(self.url, creator=connect)

        @event.listens_for(engine, "checkout")
        def _checkout(connection: Any, _record: Any, _fairy: Any) -> None:
            if connection.frozen and connection.used:
                raise DisconnectionError  # opened anew: SQLite sees no change of a file that it takes for frozen
            connection.used = True

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get(_WRITES)
            begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
            if writes and (cause := _opened(connection).frozen):
                raise OperationalError(begin, None, cause)
            connection.exec_driver_sql(begin)

        return engine

    def _postgres_engine(self) -> Engine:
        # The name lets a process that finds a lock taken say by whom.
        name = f"hubspoke {os.getpid()}@{platform.node()}"
        try:
            engine = create_engine(
                self.url,
                pool_pre_ping=True,
                isolation_level="READ COMMITTED",
                connect_args={**_alive(self.url), "connect_timeout": _CONNECT_SECONDS, "application_name": name[:63]},
            )
        except (ModuleNotFoundError, NoSuchModuleError):
            raise MissingExtraError(
                "PostgreSQL needs the driver psycopg; install it with `pip install 'hubspoke[postgres]'`."
            ) from None

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if connection.get_execution_options().get(_WRITES):
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")

        return engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading."""
        with database_faults(self.where), Session(self.engine) as session:
            yield session
            if self.is_sqlite and _opened(session.connection()).overtaken():
                raise LockedError(f"Another process changed {self.where} while it was read; repeat the command.")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that holds the registry's only writer's place; commits at the end, rolls back on any error."""
        with database_faults(self.where), Session(self.writer) as session, session.begin():
            # Takes the place now rather than at the first statement. Another process may have changed the schema since
            # the registry was opened, and what this code writes would not be what the new one promises.
            self.require(session.scalar(_REVISION))
            yield session

    def current_revision(self) -> str | None:
        """The schema revision of the database, None where it is blank."""
        with database_faults(self.where), self.engine.connect() as connection:
            return read_revision(connection)

    def check_schema(self) -> None:
        """Refuse a database that is blank, or of another schema than this code's own."""
        self.require(self.current_revision())

    def require(self, revision: str | None) -> None:
        """Refuse a revision, as a transaction sees it, that is not this code's own."""
        if check_known(revision, self.where) is None:
            raise NotFoundError(f"There is no registry in {self.where} yet; run `hubspoke init` to make one.")
        if revision != HEAD_REVISION:
            raise SchemaVersionError(
                f"The registry {self.where} has schema {revision}, this version needs {HEAD_REVISION}; "
                "run `hubspoke registry upgrade`."
            )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _alive(url: URL) -> dict[str, int]:
    """What lets a connection notice within about two minutes that its server is gone, unless the URL says otherwise.

    One that holds a lock is silent for as long as an epoch takes, and whatever lies between may forget it.
    """
    asked = {"keepalives_idle": 60, "keepalives_interval": 15, "keepalives_count": 4, "tcp_user_timeout": 120_000}
    return {name: value for name, value in asked.items() if name not in url.query}


def read_revision(connection: Connection) -> str | None:
    """The schema revision that a connection sees, None where the database is blank."""
    # Looked for first: on PostgreSQL a question about a missing table would end the transaction.
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(_REVISION)
    return revision


def check_known(revision: str | None, where: str) -> str | None:
    """The revision itself; one that this code is too old for is a SchemaVersionError."""
    if revision is not None and revision not in REVISIONS:
        raise SchemaVersionError(
            f"The registry {where} has schema {revision}, made by a newer hubspoke than this one (which knows up to "
            f"{HEAD_REVISION}); upgrade the package."
        )
    return revision


def _opened(connection: Connection) -> SqliteConnection:
    opened: Any = connection.connection.driver_connection
    assert isinstance(opened, SqliteConnection)
    return opened


# What follows is the only place that reads the drivers' codes and words.
@contextmanager
def database_faults(where: str) -> Iterator[None]:
    """Translate what the driver raises inside the block."""
    try:
        yield
    except DBAPIError as error:
        raise database_fault(error, where) from error


def database_fault(error: DBAPIError, where: str) -> HubspokeError:
    """The driver's error as one of ours; `where` names the database without its password."""
    original = error.orig or error
    lines = str(original).strip().splitlines()
    text = lines[0].rstrip(".") if lines else type(original).__name__
    if isinstance(error, IntegrityError):
        return LockedError(f"Another process changed {where} at the same moment ({text}); repeat the command.")
    match primary_code(original) if isinstance(original, sqlite3.Error) else getattr(original, "sqlstate", None):
        # On PostgreSQL: lock not available, deadlock, serialization failure.
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | "55P03" | "40P01" | "40001":
            return LockedError(f"Another process is writing to {where}; wait for it to end and repeat the command.")
        case sqlite3.SQLITE_READONLY | "25006" | "42501":  # read-only transaction, insufficient privilege
            return not_writable(where)
        case sqlite3.SQLITE_FULL | "53100":  # disk full
            return no_space(where)
        case sqlite3.SQLITE_CORRUPT | "XX001" | "XX002":  # damaged data, damaged index
            return damaged(where, text)
        case sqlite3.SQLITE_NOTADB:
            return InvalidDataError(
                f"{where} is no SQLite database, so neither a registry nor a backup of one ({text}); name another file."
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR:
            return _file_fault(Path(where), text)
        case None if "NUL" in text:
            return UsageError("A text with a NUL character can be neither stored nor looked up; leave it out.")
        # On PostgreSQL: no answer at all, or a server that ends or begins.
        case None | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "08003" | "08006":
            return HubspokeError(f"The database {where} {_unreachable(str(original), text)}.")
    return HubspokeError(f"The database {where} refused ({text}); run `hubspoke doctor`.")


def damaged(where: str, text: str) -> InvalidDataError:
    """The error of a database that is no longer what was written."""
    if where.startswith("postgresql"):
        way = "restore a backup into a new database with `hubspoke registry restore BACKUP --registry URL --yes`."
    else:
        way = "move it and what lies beside it (-wal, -shm) away and run `hubspoke registry restore BACKUP --yes`."
    return InvalidDataError(f"{where} is damaged ({text}); {way}")


def _file_fault(path: Path, text: str) -> HubspokeError:
    """Why SQLite cannot use a file, as the system tells it: SQLite's own words name what failed and not the cause."""
    folder = path.parent
    if not os.access(path, os.R_OK):
        return _cannot_open(path, text)
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _LEAST_BYTES or (disk.f_files and not disk.f_favail):
        return no_space(path)
    if not os.access(folder, os.W_OK):
        if has_changes_beside(path):
            return HubspokeError(
                f"{path} has changes in a file beside it that can only be read where {folder} can be written; copy "
                f"{path.name} and all {path.name}-* to a folder that can, and use it there."
            )
        return not_writable(folder)
    return HubspokeError(f"{path} cannot be used ({text}); check the disk that holds it.")


def _cannot_open(path: Path, text: str) -> HubspokeError:
    return HubspokeError(
        f"{path} cannot be opened ({text}); check that its folder exists and that this user may read it."
    )


# What a server, or the way to it, answers to somebody who connects; the driver gives no code with it.
_REFUSALS = (
    (r"no password supplied", "asks for a password; give it in HUBSPOKE_REGISTRY_URL, PGPASSWORD or ~/.pgpass"),
    (r"password|SCRAM", "does not take this password; correct it in HUBSPOKE_REGISTRY_URL, PGPASSWORD or ~/.pgpass"),
    (
        r'role "[^"]*" does not exist',
        "knows no such user; correct the user in HUBSPOKE_REGISTRY_URL, or create it there",
    ),
    (
        r'database "[^"]*" does not exist',
        "is not there, though its server answers; make it (`createdb`), or correct HUBSPOKE_REGISTRY_URL",
    ),
    (
        r"translate host|resolve host|getaddrinfo|Name or service not known|No address associated",
        "is on a host that no network knows; correct the host in HUBSPOKE_REGISTRY_URL",
    ),
    (
        r"[Cc]onnection refused|No such file or directory",
        "does not answer: no server listens at that host and port; start it, or correct HUBSPOKE_REGISTRY_URL",
    ),
    (r"SSL|ssl|certificate", "and this client do not agree on SSL ({text}); correct sslmode in HUBSPOKE_REGISTRY_URL"),
    (r"pg_hba\.conf", "lets this user not in from this machine; ask for an entry in the server's pg_hba.conf"),
    (
        r"timeout|timed out",
        f"did not answer within {_CONNECT_SECONDS} seconds; check the network, and the host in HUBSPOKE_REGISTRY_URL",
    ),
    (r"too many|connection slots", "has no connection left; close others, or raise max_connections of the server"),
    (r"starting up|shutting down|recovery", "is starting or stopping; repeat the command in a moment"),
    (r"invalid port number", "has no such port ({text}); correct the port in HUBSPOKE_REGISTRY_URL"),
    (r"invalid (?:connection|URI)", "has an unknown option in its URL ({text}); correct HUBSPOKE_REGISTRY_URL"),
)


def _unreachable(whole: str, text: str) -> str:
    """Why nobody can connect, and the remedy."""
    for pattern, says in _REFUSALS:
        if re.search(pattern, whole):
            return says.replace("{text}", text)
    return f"cannot be reached ({text}); check HUBSPOKE_REGISTRY_URL and that the server runs"
