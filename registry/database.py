"""The connection to the registry's database: SQLite or PostgreSQL behind one interface.

Writers take turns on both (BEGIN IMMEDIATE, an advisory lock), so version numbers, aliases and cycle checks never race.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
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

# Oldest first; a test holds them equal to the files of migrations/versions.
REVISIONS = ("0001", "0002", "0003", "0004", "0005")
HEAD_REVISION = REVISIONS[-1]

WAIT_SECONDS = 15
_CONNECT_SECONDS = 10
_RETRY_SECONDS = 0.01
_WRITES = "hubspoke_writes"
# Any fixed number does: it keeps this program's writers apart and nobody else's.
_WRITER_LOCK = 0x68756273706F6B65


def parse_url(url: str) -> URL:
    """The URL with its driver made explicit."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(
            f"{url!r} is not a database URL; write sqlite:///path/registry.db or postgresql+psycopg://user@host/name."
        ) from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite")
    shown = parsed.render_as_string(hide_password=True)
    raise UsageError(
        f"A registry cannot live at {shown}; use an SQLite file (sqlite:///path/registry.db) or postgresql+psycopg://."
    )


class Database:
    """One database that holds, or is to hold, a registry; `create` makes a missing SQLite file and its folder.

    Without `foreign_keys` SQLite does not check them: rebuilding a table and copying tables one by one break them on
    the way, and whoever does so checks all at the end (PRAGMA foreign_key_check).
    """

    def __init__(self, url: str, *, create: bool = False, foreign_keys: bool = True) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = Path(self.url.database or "").absolute() if self.is_sqlite else None
        self.where = str(self.path) if self.path else self.url.render_as_string(hide_password=True)
        if self.path and create:
            with file_faults(self.path.parent):
                self.path.parent.mkdir(parents=True, exist_ok=True)
        elif self.path and not self.path.is_file():
            raise NotFoundError(f"There is no registry at {self.path}; run `hubspoke init` to make one.")
        self.engine = self._sqlite_engine(create, foreign_keys) if self.is_sqlite else self._postgres_engine()
        self.writer = self.engine.execution_options(**{_WRITES: True})

    def _sqlite_engine(self, create: bool, foreign_keys: bool) -> Engine:
        engine = create_engine(self.url, connect_args={"timeout": WAIT_SECONDS})

        @event.listens_for(engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            # The driver must not begin transactions by itself: `_begin` does.
            connection.isolation_level = None
            connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}").close()
            if create:
                _write_ahead(connection)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get(_WRITES)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

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

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that holds the registry's only writer's place; commits at the end, rolls back on any error."""
        with database_faults(self.where), Session(self.writer) as session, session.begin():
            session.connection()  # takes the place now rather than at the first statement
            yield session

    def current_revision(self) -> str | None:
        """The schema revision of the database, None where it is blank."""
        with database_faults(self.where), self.engine.connect() as connection:
            return read_revision(connection)

    def check_schema(self) -> None:
        """Refuse a database that is blank, or of another schema than this code's own."""
        revision = check_known(self.current_revision(), self.where)
        if revision is None:
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
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def check_known(revision: str | None, where: str) -> str | None:
    """The revision itself; one that this code is too old for is a SchemaVersionError."""
    if revision is not None and revision not in REVISIONS:
        raise SchemaVersionError(
            f"The registry {where} has schema {revision}, made by a newer hubspoke than this one (which knows up to "
            f"{HEAD_REVISION}); upgrade the package."
        )
    return revision


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Keep the file's changes in a write-ahead log, so that readers and the writer do not wait for each other.

    SQLite refuses this at once, whatever its busy timeout, while another process writes or does the same.
    """
    end = monotonic() + WAIT_SECONDS
    while True:
        try:
            return connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or monotonic() >= end:
                raise
            sleep(_RETRY_SECONDS)


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
    match _primary_code(original) if isinstance(original, sqlite3.Error) else getattr(original, "sqlstate", None):
        # On PostgreSQL: lock not available, deadlock, serialization failure.
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | "55P03" | "40P01" | "40001":
            return LockedError(f"Another process is writing to {where}; wait for it to end and repeat the command.")
        case sqlite3.SQLITE_READONLY | "25006" | "42501":  # read-only transaction, insufficient privilege
            return not_writable(where)
        case sqlite3.SQLITE_FULL | "53100":  # disk full
            return no_space(where)
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return InvalidDataError(
                f"{where} is not a readable SQLite database ({text}); restore a backup, "
                "or set HUBSPOKE_REGISTRY_URL to another."
            )
        case sqlite3.SQLITE_CANTOPEN:
            return HubspokeError(
                f"{where} cannot be opened; check that its folder exists and that this user may read it."
            )
        # On PostgreSQL: no answer at all, or a server that ends or begins.
        case None | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "08003" | "08006":
            return HubspokeError(
                f"The database {where} cannot be reached ({text}); check HUBSPOKE_REGISTRY_URL and that the server "
                "runs."
            )
        case "XX001" | "XX002":  # damaged data, damaged index
            return InvalidDataError(f"The database {where} is damaged ({text}); restore a backup.")
    return HubspokeError(f"The database {where} refused ({text}); run `hubspoke doctor`.")


def _primary_code(error: sqlite3.Error) -> int:
    # The lowest byte of an extended code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
