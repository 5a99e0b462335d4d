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

import json
import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ..errors import HubspokeError, UsageError
from ..results import Record
from .database import database_fault
from .sqlite import open_sqlite
from .store import Registry

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import Buffer

TIMEOUT_SECONDS = 60.0
# What SQLite says of a statement; all else that it says is about the file.
_SQLITE_REFUSALS = (0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_TOOBIG)
# What PostgreSQL says of itself and not of a statement: connections, resources, its operator, the system, its faults.
_SERVER_FAULTS = ("08", "53", "57", "58", "XX")
_PASSING = ("55P03", "40P01", "40001")  # a lock that was not to be had, a deadlock, two writers
# How many steps SQLite's machine makes between two looks at the clock: about a millisecond.
_STEPS = 10_000
_ABOUT = "SELECT rolsuper, pg_is_in_recovery() FROM pg_roles WHERE rolname = current_user"
_CONFINE = (
    "CREATE FUNCTION pg_temp.hubspoke_ask(question text) RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER "
    "AS 'BEGIN RETURN QUERY EXECUTE question; END'",
    "ALTER FUNCTION pg_temp.hubspoke_ask(text) OWNER TO pg_read_all_data",
)
_RANGES = ("int4", "int8", "num", "ts", "tstz", "date")
# Since PostgreSQL 16 the server tells a domain by its own name, which the function's result must have.
_TYPES_SINCE_16 = "SELECT unnest(result_types)::text FROM pg_prepared_statements WHERE name = 'hubspoke_question'"
_TYPES = "SELECT format_type(oid, NULL) FROM unnest(%s::oid[]) WITH ORDINALITY AS t(oid, place) ORDER BY place"


# What PostgreSQL prints where Python has nothing that means the same: months, bounds without an end.
_AS_TEXT = ("interval", *(f"{kind}{many}range" for kind in _RANGES for many in ("", "multi")))


@dataclass(frozen=True)
class QueryResult(Record):
    """The answer: column names, each once, and rows as the driver gives them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def run_sql(registry: Registry, sql: str, limit: int | None = None, timeout: float = TIMEOUT_SECONDS) -> QueryResult:
    """Answer one SQL statement that reads, with at most `limit` rows; a UsageError gives the database's own words."""
    if not sql.strip().strip(";").strip():
        raise UsageError("The query is empty; write one such as SELECT ref, created_at FROM nodes.")
    if "\0" in sql or not _is_text(sql):
        raise UsageError("The query holds bytes that are no text; write it in UTF-8.")
    database = registry.database
    if database.path is not None:
        return _run_sqlite(database.path, sql, limit, timeout)
    return _run_postgres(database.engine, database.where, sql, limit, timeout)


def once_each(names: Sequence[str]) -> tuple[str, ...]:
    """The names, a repeated one with the first number that makes it another: `ref`, `ref_2`."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in count(2))
        free = next(own for own in numbered if own not in names and own not in found)
        found.append(free if name in found else name)
    return tuple(found)


def _is_text(sql: str) -> bool:
    try:
        return bool(sql.encode())
    except UnicodeEncodeError:
        return False


def _run_sqlite(path: Path, sql: str, limit: int | None, timeout: float) -> QueryResult:
    deadline = time.monotonic() + timeout
    try:
        with closing(open_sqlite(path, "ro")) as connection:
            # No second database can be attached, and no write passes, whatever the statement.
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            connection.execute("PRAGMA query_only=ON").close()
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            connection.text_factory = _readable
            with closing(connection.cursor()) as cursor:
                cursor.execute(sql)
                return _result(cursor, limit)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _sqlite_fault(error, path, timeout) from error


def _readable(text: bytes) -> str:
    """Text that SQLite took as it came: what is no UTF-8 is shown as `\\xff`."""
    return text.decode(errors="backslashreplace")


def _sqlite_fault(error: sqlite3.Error | sqlite3.Warning, path: Path, timeout: float) -> HubspokeError:
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return _too_long(timeout)
    # The last is what becomes of a statement that would lock a file to write to it.
    if code in _SQLITE_REFUSALS or extended == sqlite3.SQLITE_IOERR_LOCK:
        return _refused(str(error))
    return database_fault(DBAPIError(None, None, error), str(path))


def _run_postgres(engine: Engine, where: str, sql: str, limit: int | None, timeout: float) -> QueryResult:
    try:
        with engine.connect() as connection:
            try:
                confined, copy = connection.exec_driver_sql(_ABOUT).one()
                if confined and copy:
                    raise UsageError(
                        "This PostgreSQL is a copy that can only be read, where a superuser's question cannot be "
                        "confined to reading; ask with a login that is no superuser."
                    )
                connection.rollback()  # of the next transaction no question may have been asked
                for statement in _settings(timeout):
                    connection.exec_driver_sql(statement)
                for statement in _CONFINE if confined else ():
                    connection.exec_driver_sql(statement)
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                raw: Any = connection.connection.driver_connection
                return _ask(raw, sql, confined, limit, timeout, where)
            finally:
                # Closed, not returned to the pool: a lock or a setting of the session ends with it.
                connection.invalidate()
    except DBAPIError as error:
        raise database_fault(error, where) from error


def _ask(
    connection: psycopg.Connection[Any], sql: str, confined: bool, limit: int | None, timeout: float, where: str
) -> QueryResult:
    import psycopg

    began = time.monotonic()
    try:
        _load_without_loss(connection)
        names, types = _described(connection, sql)
        with connection.cursor() as cursor:
            if confined:
                shape = ", ".join(f"c{place} {kind}" for place, kind in enumerate(types))
                question = f"SELECT * FROM pg_temp.hubspoke_ask(%s) AS t({shape})".encode()
                cursor.execute(question, [sql])
            else:
                # Only a prepared statement is held to be one statement by the server.
                cursor.execute(sql.encode(connection.info.encoding), prepare=True)
            return QueryResult(once_each(names), _result(cursor, limit).rows)
    except psycopg.Error as error:
        if isinstance(error, psycopg.errors.QueryCanceled) and time.monotonic() - began >= timeout:
            raise _too_long(timeout) from error
        if _is_the_servers(error):
            raise database_fault(DBAPIError(None, None, error), where) from error
        raise _refused(str(error).splitlines()[0]) from error


def _is_the_servers(error: psycopg.Error) -> bool:
    """Whether an error is about the server, or the way to it, rather than about the statement."""
    import psycopg

    state = error.sqlstate
    if state is None:  # what the driver says by itself
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] in _SERVER_FAULTS or state in _PASSING


def _settings(timeout: float) -> tuple[str, ...]:
    """Of the transaction alone. Where all are read-only by default, the function still has to be made."""
    return (
        "SET LOCAL transaction_read_only = off",
        f"SET LOCAL statement_timeout = {max(1, round(timeout * 1000))}",
        "SET LOCAL client_encoding = 'UTF8'",
    )


def _load_without_loss(connection: psycopg.Connection[Any]) -> None:
    """Let the driver give as text what Python's own types would refuse or round."""
    from psycopg import DataError
    from psycopg.types import datetime as moments
    from psycopg.types.json import JsonLoader
    from psycopg.types.string import TextLoader

    class Json(JsonLoader):
        def load(self, data: Buffer) -> Any:
            return json.loads(bytes(data), parse_float=Decimal)

    def or_text(loader: type[Any]) -> type[Any]:
        class OrText(loader):  # type: ignore[misc]
            def load(self, data: Buffer) -> Any:
                try:
                    return super().load(data)
                except (DataError, ValueError, OverflowError):
                    return bytes(data).decode()

        return OrText

    held = {
        "date": moments.DateLoader,
        "time": moments.TimeLoader,
        "timetz": moments.TimetzLoader,
        "timestamp": moments.TimestampLoader,
        "timestamptz": moments.TimestamptzLoader,
        "json": Json,
        "jsonb": Json,
    }
    for name, loader in held.items():
        connection.adapters.register_loader(name, or_text(loader))
    for name in _AS_TEXT:
        connection.adapters.register_loader(name, TextLoader)


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
    return names, [re.sub(r"^(character|bit)\b(?=$|\[)", _unlimited, str(row[0])).replace("%", "%%") for row in types]


def _unlimited(name: re.Match[str]) -> str:
    """A type that means one character or bit where nothing is said of its length, as one that means any number."""
    return {"character": "bpchar", "bit": '"bit"'}[name[0]]


def _result(cursor: Any, limit: int | None) -> QueryResult:
    if cursor.description is None:
        return QueryResult((), ())
    columns = tuple(column[0] for column in cursor.description)
    rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
    return QueryResult(once_each(columns), tuple(tuple(row) for row in rows))


def _refused(text: str) -> UsageError:
    return UsageError(f"The database refused the query ({text.rstrip('.')}); only one statement that reads is allowed.")


def _too_long(timeout: float) -> HubspokeError:
    return HubspokeError(
        f"The query was stopped after {timeout:g} seconds; narrow it, or allow more time (`--timeout`)."
    )
