"""The registry's artifacts: which directories of the artifact store its rows refer to, and forgetting the others.

The columns that refer to artifacts are found in the tables' own foreign keys, so that a new table is covered when it
is declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Column, delete, select, union
from sqlalchemy.orm import Session

from ..records import ArtifactRecord
from ..rows import Store, batches, fill
from ..schema import Artifact, Base, Node


class ArtifactRows(Store):
    """Artifacts as the registry knows them; their bytes lie in the artifact store."""

    def list(self) -> list[ArtifactRecord]:
        """Every artifact that a row of the registry has ever named, oldest first."""
        with self.database.read() as session:
            rows = session.scalars(select(Artifact).order_by(Artifact.created_at))
            return [fill(ArtifactRecord, row, {}) for row in rows]

    def referenced(self) -> frozenset[str]:
        """Digests that a row of any table names."""
        with self.database.read() as session:
            return _referenced(session)

    def users(self, digest: str) -> tuple[str, ...]:
        """References of the nodes that name an artifact, oldest first."""
        users: dict[int, str] = {}
        with self.database.read() as session:
            for column in _columns():
                node = select(Node.id, Node.ref).join(column.table, column.table.c.id == Node.id)
                users.update((row[0], row[1]) for row in session.execute(node.where(column == digest)))
        return tuple(users[key] for key in sorted(users))

    def forget(self, digests: Iterable[str]) -> frozenset[str]:
        """Delete the rows of those of `digests` that nothing refers to; all of `digests` that nothing refers to."""
        # The writers' place is held meanwhile: no reference appears between the question and the deletion.
        with self.database.write() as session:
            unreferenced = frozenset(digests) - _referenced(session)
            for some in batches(unreferenced):
                session.execute(delete(Artifact).where(Artifact.digest.in_(some)))
            return unreferenced


def _columns() -> Iterator[Column[Any]]:
    """Every column whose values are digests of artifacts."""
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column is Artifact.__table__.c.digest:
                yield key.parent


def _referenced(session: Session) -> frozenset[str]:
    named = union(*(select(column).where(column.is_not(None)) for column in _columns()))
    return frozenset(session.scalars(named))
