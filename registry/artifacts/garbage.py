"""Which artifacts the registry refers to, and the forgetting of those that it does not.

The columns that refer to artifacts are found in the tables' own foreign keys, so that a new table is covered when it
is declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Column, delete, select, union
from sqlalchemy.orm import Session

from ..database import Database
from ..schema import Artifact, Base, Node

# SQLite of old takes no more than 999 values in one statement.
_AT_ONCE = 500


def referenced_artifacts(database: Database) -> frozenset[str]:
    """Digests that a row of any table names."""
    with database.read() as session:
        return _referenced(session)


def forget_artifacts(database: Database, digests: Iterable[str]) -> frozenset[str]:
    """Delete the rows of those of `digests` that nothing refers to; all of `digests` that nothing refers to.

    One transaction holds the writers' place meanwhile, so that no reference appears between the question and the
    deletion.
    """
    with database.write() as session:
        unreferenced = frozenset(digests) - _referenced(session)
        for some in _batches(sorted(unreferenced)):
            session.execute(delete(Artifact).where(Artifact.digest.in_(some)))
        return unreferenced


def users_of(database: Database, digest: str) -> list[str]:
    """References of the nodes that name an artifact, oldest first."""
    users: dict[int, str] = {}
    with database.read() as session:
        for column in _columns():
            node = select(Node.id, Node.ref).join(column.table, column.table.c.id == Node.id)
            users.update((row[0], row[1]) for row in session.execute(node.where(column == digest)))
    return [users[key] for key in sorted(users)]


def _columns() -> Iterator[Column[Any]]:
    """Every column whose values are digests of artifacts."""
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column is Artifact.__table__.c.digest:
                yield key.parent


def _referenced(session: Session) -> frozenset[str]:
    named = union(*(select(column).where(column.is_not(None)) for column in _columns()))
    return frozenset(session.scalars(named))


def _batches(digests: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(digests), _AT_ONCE):
        yield digests[start : start + _AT_ONCE]
