"""Whether a database still is what was written: its pages, its indexes, and every reference from one row to another."""

from __future__ import annotations

from sqlalchemy import Connection, ForeignKeyConstraint, and_, exists, select, text

from .database import Database, damaged, database_faults
from .schema import Base

_HAS_AMCHECK = "SELECT has_function_privilege(oid, 'execute') FROM pg_proc WHERE proname = 'bt_index_check' LIMIT 1"
_CHECK_INDEXES = (
    "SELECT bt_index_check(i.indexrelid::regclass) FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid "
    "JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree' "
    "WHERE t.relnamespace = current_schema()::regnamespace AND i.indisvalid"
)


def check_integrity(database: Database) -> None:
    """Read all of the database; InvalidDataError with the first thing that is wrong and how to go on."""
    with database_faults(database.where), database.engine.connect() as connection:
        if (found := find_damage(connection)) is not None:
            raise damaged(database.where, found)


def find_damage(connection: Connection) -> str | None:
    """The first thing that is wrong, None where nothing is; what the database itself refuses to read is its error."""
    if connection.dialect.name != "sqlite":
        return _damage_on_server(connection)
    found: str = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
    if found != "ok":
        return " ".join(found.split())
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    return None if broken is None else _dangling(broken[0], broken[2])


def _damage_on_server(connection: Connection) -> str | None:
    """PostgreSQL has no check of its own without amcheck, so every value is read and every reference followed."""
    if connection.scalar(text(_HAS_AMCHECK)):
        connection.execute(text(_CHECK_INDEXES)).all()
    for table in Base.metadata.sorted_tables:
        connection.execute(text(f"SELECT count(md5(CAST(t AS text))) FROM {table.name} AS t")).all()
        for reference in table.foreign_key_constraints:
            if _is_broken(connection, reference):
                return _dangling(table.name, reference.referred_table.name)
    return None


def _is_broken(connection: Connection, reference: ForeignKeyConstraint) -> bool:
    child, parent = reference.table.alias(), reference.referred_table.alias()
    pairs = [(child.c[key.parent.name], parent.c[key.column.name]) for key in reference.elements]
    there = exists().where(and_(*(ours == theirs for ours, theirs in pairs)))
    orphans = select(text("1")).select_from(child).where(*(ours.is_not(None) for ours, _ in pairs), ~there).limit(1)
    return connection.execute(orphans).first() is not None


def _dangling(table: str, referred: str) -> str:
    return f"a row of {table} refers to a row of {referred} that is not there"
