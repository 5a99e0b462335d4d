"""Questions in SQL, read-only because the database says so and not because of what the text looks like.

SQLite: the file is opened read-only, and no second one can be attached. PostgreSQL: a read-only transaction in which a
statement must give rows. A superuser could still write files and stop servers from inside a SELECT, so the statement of
a superuser runs in a `SECURITY DEFINER` function that belongs to `pg_read_all_data`, a role without a login that every
server has: inside one the server lets nobody change the role back, as `SET ROLE` alone would. The function is rolled
back with the rest. What remains: any role may take advisory locks and thereby keep writers waiting until the time limit
(the connection is closed after the statement), and may read what the role may read; give people whom you do not trust
with the database a login that may read the views alone.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ..errors import HubspokeError, UsageError
from ..results import Record
from .database import WAIT_SECONDS, database_fault
from .store import Registry

if TYPE_CHECKING:
    import psycopg

TIMEOUT_SECONDS = 60.0
# How many steps SQLite's machine makes between two looks at the clock: about a millisecond.
_STEPS = 10_000
_IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
_CONFINE = (
    "CREATE FUNCTION pg_temp.hubspoke_ask(question text) RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER "
    "AS 'BEGIN RETURN QUERY EXECUTE question; END'",
    "ALTER FUNCTION pg_temp.hubspoke_ask(text) OWNER TO pg_read_all_data",
)
# Since PostgreSQL 16 the server tells a domain by its own name, which the function's result must have.
_TYPES_SINCE_16 = "SELECT unnest(result_types)::text FROM pg_prepared_statements WHERE name = 'hubspoke_question'"
_TYPES = "SELECT format_type(oid, NULL) FROM unnest(%s::oid[]) WITH ORDINALITY AS t(oid, place) ORDER BY place"


@dataclass(frozen=True)
class QueryResult(Record):
    """The answer: column names and rows as the driver gives them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def run_sql(registry: Registry, sql: str, limit: int | None = None, timeout: float = TIMEOUT_SECONDS) -> QueryResult:
    """Answer one SQL statement that reads, with at most `limit` rows; a UsageError gives the database's own words."""
    if not sql.strip().strip(";").strip():
        raise UsageError("The query is empty; write one such as SELECT ref, created_at FROM nodes.")
    database = registry.database
    if database.path is not None:
        return _run_sqlite(database.path, sql, limit, timeout)
    return _run_postgres(database.engine, database.where, sql, limit, timeout)


def _run_sqlite(path: Path, sql: str, limit: int | None, timeout: float) -> QueryResult:
    uri = f"file:{quote(str(path))}?mode=ro"
    deadline = time.monotonic() + timeout
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            # No second database can be attached, and no write passes, whatever the statement.
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            connection.execute("PRAGMA query_only=ON").close()
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            with closing(connection.cursor()) as cursor:
                cursor.execute(sql)
                return _result(cursor, limit)
    except (sqlite3.Error, sqlite3.Warning) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise _too_long(timeout) from error
        raise _refused(str(error)) from error


def _run_postgres(engine: Engine, where: str, sql: str, limit: int | None, timeout: float) -> QueryResult:
    try:
        with engine.connect() as connection:
            try:
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, round(timeout * 1000))}")
                confined = bool(connection.exec_driver_sql(_IS_SUPERUSER).scalar())
                for statement in _CONFINE if confined else ():
                    connection.exec_driver_sql(statement)
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                raw: Any = connection.connection.driver_connection
                return _ask(raw, sql, confined, limit, timeout)
            finally:
                # Closed, not returned to the pool: a lock or a setting of the session ends with it.
                connection.invalidate()
    except DBAPIError as error:
        raise database_fault(error, where) from error


def _ask(
    connection: psycopg.Connection[Any], sql: str, confined: bool, limit: int | None, timeout: float
) -> QueryResult:
    import psycopg

    try:
        names, types = _described(connection, sql)
        with connection.cursor() as cursor:
            if confined:
                shape = ", ".join(f"c{place} {kind}" for place, kind in enumerate(types))
                question = f"SELECT * FROM pg_temp.hubspoke_ask(%s) AS t({shape})".encode()
                cursor.execute(question, [sql])
            else:
                # Only a prepared statement is held to be one statement by the server.
                cursor.execute(sql.encode(connection.info.encoding), prepare=True)
            return QueryResult(names, _result(cursor, limit).rows)
    except psycopg.errors.QueryCanceled as error:
        raise _too_long(timeout) from error
    except psycopg.Error as error:
        raise _refused(str(error).splitlines()[0]) from error


def _described(connection: psycopg.Connection[Any], sql: str) -> tuple[tuple[str, ...], list[str]]:
    """Names and types of the columns that one statement would give, as the server knows them without running it."""
    from psycopg import errors, pq

    encoding = connection.info.encoding
    prepared = connection.pgconn.prepare(b"hubspoke_question", sql.encode(encoding))
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        raise errors.error_from_result(prepared, encoding)
    described = connection.pgconn.describe_prepared(b"hubspoke_question")
    places = range(described.nfields)
    if not places:
        raise _refused("it gives no rows")
    names = tuple((described.fname(place) or b"?column?").decode(encoding) for place in places)
    if connection.info.server_version >= 160000:
        types = connection.execute(_TYPES_SINCE_16)
    else:
        types = connection.execute(_TYPES, [[described.ftype(place) for place in places]])
    return names, [str(row[0]).replace("%", "%%") for row in types]


def _result(cursor: Any, limit: int | None) -> QueryResult:
    if cursor.description is None:
        return QueryResult((), ())
    columns = tuple(column[0] for column in cursor.description)
    rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
    return QueryResult(columns, tuple(tuple(row) for row in rows))


def _refused(text: str) -> UsageError:
    return UsageError(f"The database refused the query ({text.rstrip('.')}); only one statement that reads is allowed.")


def _too_long(timeout: float) -> HubspokeError:
    return HubspokeError(
        f"The query was stopped after {timeout:g} seconds; narrow it, or allow more time (`--timeout`)."
    )
