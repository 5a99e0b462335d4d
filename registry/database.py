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

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from ..errors import MissingExtraError, NotFoundError, SchemaVersionError, UsageError
from .faults import database_faults

# Oldest first; a test holds them equal to the files of migrations/versions.
REVISIONS = ("0001", "0002")
HEAD_REVISION = REVISIONS[-1]

WAIT_SECONDS = 15
_CONNECT_SECONDS = 10
_RETRY_SECONDS = 0.01
_WRITES = "hubspoke_writes"
# Any fixed number does: it keeps this program's writers apart and nobody else's.
_WRITER_LOCK = 0x68756273706F6B65
_NO_SUCH_TABLE = ("42P01", "3F000")


def parse_url(url: str) -> URL:
    """The URL with its driver made explicit.

    Raises:
        UsageError: neither an SQLite file nor a PostgreSQL database.
    """
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
    """One database that holds, or is to hold, a registry.

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://...`.
        create: make the SQLite file and its folder where they are missing, and let a migration rebuild tables
            (foreign keys are then checked at its end instead of at every statement).

    Raises:
        NotFoundError: the SQLite file is missing.
        MissingExtraError: the PostgreSQL driver is not installed.
    """

    def __init__(self, url: str, create: bool = False) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = Path(self.url.database or "").absolute() if self.is_sqlite else None
        self.where = str(self.path) if self.path else self.url.render_as_string(hide_password=True)
        if self.path and not create and not self.path.is_file():
            raise NotFoundError(f"There is no registry at {self.path}; run `hubspoke init` to make one.")
        self.engine = self._sqlite_engine(create) if self.is_sqlite else self._postgres_engine()
        self.writer = self.engine.execution_options(**{_WRITES: True})

    def _sqlite_engine(self, create: bool) -> Engine:
        engine = create_engine(self.url, connect_args={"timeout": WAIT_SECONDS})

        @event.listens_for(engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            # The driver's own idea of when to begin is switched off; `_begin` says it.
            connection.isolation_level = None
            connection.execute(f"PRAGMA foreign_keys={'OFF' if create else 'ON'}").close()
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
                connect_args={"connect_timeout": _CONNECT_SECONDS, "application_name": name[:63]},
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
        """A session for reading.

        Raises:
            HubspokeError: the database cannot be reached or read.
        """
        with database_faults(self.where), Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that holds the registry's only writer's place; commits at the end, rolls back on any error.

        Raises:
            LockedError: another process has been writing for longer than `WAIT_SECONDS`.
            HubspokeError: the database cannot be reached or written.
        """
        with database_faults(self.where), Session(self.writer) as session, session.begin():
            session.connection()  # takes the place now rather than at the first statement
            yield session

    def current_revision(self) -> str | None:
        """The schema revision of the database, None where it is blank."""
        query = text("SELECT version_num FROM alembic_version")
        with database_faults(self.where), self.engine.connect() as connection:
            try:
                return connection.execute(query).scalar()
            except DBAPIError as error:
                if _is_missing_table(error):
                    return None
                raise

    def check_schema(self) -> None:
        """Do nothing where the schema is this code's own.

        Raises:
            NotFoundError: the database is blank.
            SchemaVersionError: the schema is older or newer.
        """
        revision = self.current_revision()
        if revision is None:
            raise NotFoundError(f"There is no registry in {self.where} yet; run `hubspoke init` to make one.")
        if revision not in REVISIONS:
            raise newer_schema(self.where, revision)
        if revision != HEAD_REVISION:
            raise SchemaVersionError(
                f"The registry {self.where} has schema {revision}, this version needs {HEAD_REVISION}; "
                "run `hubspoke registry upgrade`."
            )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def newer_schema(where: str, revision: str) -> SchemaVersionError:
    """The error of a registry that this code is too old for."""
    return SchemaVersionError(
        f"The registry {where} has schema {revision}, made by a newer hubspoke than this one (which knows up to "
        f"{HEAD_REVISION}); upgrade the package."
    )


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Keep the file's changes in a write-ahead log, so that readers and the writer do not wait for each other.

    SQLite refuses this at once, whatever its busy timeout, while another process writes or does the same.
    """
    end = monotonic() + WAIT_SECONDS
    while True:
        try:
            return connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            # The lowest byte is the primary code.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() >= end:
                raise
            sleep(_RETRY_SECONDS)


def _is_missing_table(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state in _NO_SUCH_TABLE if state else "no such table" in str(error.orig)
