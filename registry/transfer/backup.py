"""Copies of a whole registry: a backup is always one SQLite file, which `--registry` opens directly by its URL.

SQLite copies itself within one read transaction, PostgreSQL's tables are read in one of REPEATABLE READ: writers go on
meanwhile, and the copy is the registry as it was at one moment. Artifacts are no part of it.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from ...errors import InvalidDataError, LockedError, NotFoundError, UsageError
from ...files import atomic_path, file_faults
from ...progress import Progress
from ..database import HEAD_REVISION, Database, DatabaseUrl, check_known, database_fault, database_faults, read_revision
from ..integrity import find_damage
from ..schema import Base, StoreStamp
from ..sqlite import open_sqlite, primary_code, side_files, sqlite_uri, sqlite_url

# Rows that are in memory at once.
_CHUNK = 1_000
_OF_THE_COPY = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)


@dataclass(frozen=True)
class RegistryCopy:
    """What was copied, or would be."""

    rows: Mapping[str, int]  # table to the number of its rows
    schema: str  # schema revision of what was copied
    bytes: int  # size of the file


def back_up(url: DatabaseUrl, file: Path, force: bool = False, report: Progress | None = None) -> RegistryCopy:
    """Write a consistent copy of a registry to `file`, which is complete or not there.

    A registry in an SQLite file is copied with the schema that it has, so that an upgrade may follow. A copy that does
    not pass the database's checks, because the registry does not, is an InvalidDataError.
    """
    with _source(url, file, force) as source, file_faults(file.absolute().parent), atomic_path(file.absolute()) as part:
        try:
            if source.path is not None:
                _copy_sqlite(source.path, part)
            else:
                _copy_postgres(source, part, report or Progress())
            copied = _inspect(part, source.where)
        finally:
            for side in side_files(part):
                side.unlink(missing_ok=True)
        _check_target(source, file.absolute(), force)
        return copied


def plan_backup(url: DatabaseUrl, file: Path, force: bool = False) -> RegistryCopy:
    """What `back_up` would copy now; nothing is written. Errors as those of `back_up`."""
    with _source(url, file, force) as source:
        schema = source.current_revision() or HEAD_REVISION
        with database_faults(source.where), source.engine.connect() as connection:
            return RegistryCopy(_counts(connection), schema, 0)


def inspect_backup(file: Path) -> RegistryCopy:
    """What is in a backup, once its integrity and foreign keys are checked."""
    if not file.is_file():
        raise NotFoundError(f"There is no backup {file}; check the path.")
    return _inspect(file, str(file))


def restore(url: DatabaseUrl, file: Path, report: Progress | None = None) -> RegistryCopy:
    """Copy a backup into a registry that is blank or missing, under the same ids; all rows in one transaction.

    A backup of an older schema is migrated on the way, in a copy of its own.
    """
    from ..migrate import upgrade

    known = plan_restore(url, file)
    with _at_head(file, known.schema) as readable:
        upgrade(url)
        with (
            closing(Database(sqlite_url(readable))) as source,
            closing(Database(url)) as target,
            target.write() as session,
            source.engine.connect() as out,
        ):
            into = session.connection()
            _check_blank(into, target.where)
            rows = _copy_tables(out, into, report or Progress())
            _continue_numbers(into)
    return replace(known, rows=rows)


def plan_restore(url: DatabaseUrl, file: Path) -> RegistryCopy:
    """What `restore` would copy; nothing is written. Errors as those of `restore`."""
    known = inspect_backup(file)
    try:
        target = Database(url)
    except NotFoundError:
        return known
    with closing(target):
        if check_known(target.current_revision(), target.where) is not None:
            with database_faults(target.where), target.engine.connect() as connection:
                _check_blank(connection, target.where)
    return known


# ---- checks ----


@contextmanager
def _source(url: DatabaseUrl, file: Path, force: bool) -> Iterator[Database]:
    """A registry that can be copied to `file`."""
    sqlite_url(file)  # a name that no URL can give would keep the copy from ever being opened
    with closing(Database(url)) as source:
        # An SQLite file is copied whatever its schema, as long as this code knows it.
        if source.path is None or check_known(source.current_revision(), source.where) is None:
            source.check_schema()
        _check_target(source, file.absolute(), force)
        yield source


def _inspect(file: Path, shown: str) -> RegistryCopy:
    with closing(Database(sqlite_url(file))) as database:
        revision = check_known(database.current_revision(), shown)
        if revision is None:
            raise InvalidDataError(f"{shown} holds no registry; name a file that `hubspoke registry backup` wrote.")
        with database_faults(shown), database.engine.connect() as connection:
            if (found := find_damage(connection)) is not None:
                raise InvalidDataError(f"{shown} is damaged ({found}); use an earlier backup.")
            return RegistryCopy(_counts(connection), revision, file.stat().st_size)


def _check_target(source: Database, file: Path, force: bool) -> None:
    if not file.parent.is_dir():
        raise NotFoundError(f"There is no folder {file.parent}; make it first.")
    if file.is_dir():
        raise UsageError(f"{file} is a folder; name a file in it, such as {file / 'registry.backup.db'}.")
    if source.path is not None and file.exists() and file.samefile(source.path):
        raise UsageError(f"{file} is the registry itself; name another file.")
    if file.exists() and not force:
        raise UsageError(f"{file} exists already; name another file, or replace it with --force.")
    # SQLite would read what a process left here as the newest part of the new file.
    for left in side_files(file):
        if left.exists():
            raise UsageError(f"{file} is in use as a database (there is {left.name}); name another file.")


def _check_blank(connection: Connection, where: str) -> None:
    for name in ("nodes", "artifacts"):  # every other row hangs on one of these
        if connection.execute(text(f"SELECT 1 FROM {name} LIMIT 1")).first() is not None:
            raise UsageError(
                f"The registry {where} has rows already; restore into a new one (--registry URL or --workspace DIR)."
            )


# ---- copying ----


def _copy_sqlite(path: Path, part: Path) -> None:
    try:
        with closing(open_sqlite(path, "ro")) as connection:
            connection.execute("VACUUM INTO ?", [sqlite_uri(part)])
            if connection.overtaken():
                raise LockedError(f"Another process changed {path} while it was copied; repeat the command.")
    except sqlite3.Error as error:
        # A full disk and a lack of rights are those of the copy, since reading needs neither.
        where = part.parent if primary_code(error) in _OF_THE_COPY else path
        raise database_fault(DBAPIError("VACUUM INTO", None, error), str(where)) from error


def _copy_postgres(source: Database, part: Path, report: Progress) -> None:
    from ..migrate import upgrade

    upgrade(sqlite_url(part))
    snapshot = source.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    # Foreign keys are checked at the end, with everything else.
    with (
        closing(Database(sqlite_url(part), foreign_keys=False)) as target,
        database_faults(source.where),
        snapshot.connect() as out,
        target.writer.begin() as into,
    ):
        # What is seen from here on is one moment, and the registry may have been upgraded before it.
        source.require(read_revision(out))
        _copy_tables(out, into, report)
    with closing(open_sqlite(part)) as connection:
        # One file, with nothing beside it.
        connection.execute("PRAGMA journal_mode=DELETE")


def _copy_tables(out: Connection, into: Connection, report: Progress) -> dict[str, int]:
    """Every table, parents first; table to the number of its rows."""
    rows: dict[str, int] = {}
    # From here on the target is the registry that is copied, whose artifacts it finds its own.
    into.execute(delete(StoreStamp))
    tables = Base.metadata.sorted_tables
    for done, table in enumerate(tables):
        report("copying tables", done, len(tables))
        query, rows[table.name] = select(table).order_by(*table.primary_key.columns), 0
        if table.name == "nodes":
            # Domains first: the other nodes refer to them.
            query = query.order_by(None).order_by(table.c.domain_id.is_not(None), table.c.id)
        with out.execute(query, execution_options={"yield_per": _CHUNK}) as result:
            for chunk in result.mappings().partitions():
                into.execute(insert(table), [dict(row) for row in chunk])
                rows[table.name] += len(chunk)
    report("copying tables", len(tables), len(tables))
    return rows


def _continue_numbers(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that came with a number; SQLite does so by itself."""
    if connection.dialect.name == "sqlite":
        return
    for table in Base.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            highest = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, column.name)
            connection.execute(select(func.setval(sequence, highest, False)))


def _counts(connection: Connection) -> dict[str, int]:
    there = set(inspect(connection).get_table_names())  # an older schema has fewer
    tables = [table for table in Base.metadata.sorted_tables if table.name in there]
    return {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


# ---- files ----


@contextmanager
def _at_head(file: Path, schema: str) -> Iterator[Path]:
    """The backup itself, or a copy of it that is migrated to this code's schema."""
    if schema == HEAD_REVISION:
        yield file
        return
    from ..migrate import upgrade

    with tempfile.TemporaryDirectory(prefix="hubspoke-") as folder:
        copy = Path(folder) / "registry.db"
        _copy_sqlite(file, copy)
        upgrade(sqlite_url(copy))
        yield copy
