"""Questions in SQL, read-only because the database says so and not because of what the text looks like."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ..errors import UsageError
from .database import WAIT_SECONDS, Database
from .faults import database_fault
from .records import Record
from .store import Registry


@dataclass(frozen=True)
class QueryResult(Record):
    """The answer: column names and rows as the driver gives them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def run_sql(registry: Registry, sql: str) -> QueryResult:
    """Answer one SQL statement that reads.

    Raises:
        UsageError: the database refuses the statement; the sentence gives the database's words.
        HubspokeError: the database cannot be reached.
    """
    if not sql.strip().strip(";").strip():
        raise UsageError("The query is empty; write one such as SELECT ref, created_at FROM nodes.")
    database: Database = registry.database
    if database.path is not None:
        return _run_sqlite(database.path, sql)
    return _run_postgres(database.engine, database.where, sql)


def _run_sqlite(path: Path, sql: str) -> QueryResult:
    uri = f"file:{quote(str(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            # No second database can be attached, and no write passes, whatever the statement.
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            connection.execute("PRAGMA query_only=ON").close()
            with closing(connection.cursor()) as cursor:
                cursor.execute(sql)
                return _result(cursor)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _refused(str(error)) from error


def _run_postgres(engine: Engine, where: str, sql: str) -> QueryResult:
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            with closing(connection.connection.cursor()) as cursor:
                # The driver's cursor, since only a prepared statement is held to be one statement by the server.
                return _prepared(cursor, sql)
    except DBAPIError as error:
        raise database_fault(error, where) from error


def _prepared(cursor: Any, sql: str) -> QueryResult:
    import psycopg

    try:
        cursor.execute(sql, prepare=True)
        return _result(cursor)
    except psycopg.Error as error:
        raise _refused(str(error).splitlines()[0]) from error


def _result(cursor: Any) -> QueryResult:
    if cursor.description is None:
        return QueryResult((), ())
    columns = tuple(column[0] for column in cursor.description)
    return QueryResult(columns, tuple(tuple(row) for row in cursor.fetchall()))


def _refused(text: str) -> UsageError:
    return UsageError(f"The database refused the query ({text.rstrip('.')}); only one statement that reads is allowed.")
