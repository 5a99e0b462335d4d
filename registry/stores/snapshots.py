"""The registry's snapshots: immutable data of a domain, equal content registered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..artifacts.manifests import StoredArtifact
from ..kinds import Relation, SnapshotKind, choice
from ..records import Parent, SnapshotRecord
from ..references import Reference
from ..rows import Joined, Store, add_edges, domain_row, expect_kind, find_node, new_node, next_version, put_artifact
from ..schema import Domain, Node, Snapshot


class SnapshotStore(Store):
    """Snapshots of a registry."""

    def add(
        self,
        domain: str,
        kind: str,
        content_hash: str,
        rows: int,
        artifact: StoredArtifact,
        as_of: datetime | None = None,
        details: Mapping[str, Any] | None = None,
        parents: Sequence[Parent] = (),
    ) -> tuple[SnapshotRecord, bool]:
        """Register a snapshot (`kind`: items or events); equal content gives the earlier one and False.

        Raises:
            NotFoundError: there is no such domain, or no such parent.
        """
        table = choice(SnapshotKind, kind, "kind of snapshot")
        with self.database.write() as session:
            owner = domain_row(session, domain)
            same = _select().where(Snapshot.domain_id == owner.id, Snapshot.kind == table)
            known = session.execute(same.where(Snapshot.content_hash == content_hash)).first()
            if known is not None:
                return _record(*known), False
            node = _new_node(session, owner, table)
            session.add(
                Snapshot(
                    id=node.id,
                    domain_id=owner.id,
                    kind=table,
                    version=int(node.ref.rpartition("/")[2]),
                    content_hash=content_hash,
                    rows=int(rows),
                    artifact=put_artifact(session, artifact),
                    as_of=as_of,
                    details=dict(details or {}),
                )
            )
            session.flush()
            add_edges(session, node, [Parent(f"domain:{domain}", Relation.BUILT_FROM), *parents])
            return _record(*session.execute(_select().where(Snapshot.id == node.id)).one()), True

    def get(self, ref: str) -> SnapshotRecord:
        """The snapshot that `ref` points at.

        Raises:
            NotFoundError: it points at nothing.
            UsageError: it points at something else.
        """
        with self.database.read() as session:
            return read_snapshot(session, find_node(session, ref))

    def latest(self, domain: str, kind: str) -> SnapshotRecord:
        """The newest snapshot of a domain's items or events.

        Raises:
            NotFoundError: there is no such domain, or it has none.
        """
        table = choice(SnapshotKind, kind, "kind of snapshot")
        with self.database.read() as session:
            return read_snapshot(session, find_node(session, Reference(table.node_kind, domain)))

    def list(self, domain: str | None = None, kind: str | None = None) -> list[SnapshotRecord]:
        """Snapshots, oldest first, of one domain and one kind if asked.

        Raises:
            NotFoundError: there is no such domain.
        """
        query = _select().order_by(Node.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(Snapshot.domain_id == domain_row(session, domain).id)
            if kind is not None:
                query = query.where(Snapshot.kind == choice(SnapshotKind, kind, "kind of snapshot"))
            return [_record(*row) for row in session.execute(query)]


def read_snapshot(session: Session, node: Node) -> SnapshotRecord:
    """The record of a node that is a snapshot."""
    expect_kind(node, *(kind.node_kind for kind in SnapshotKind))
    return _record(*session.execute(_select().where(Snapshot.id == node.id)).one())


def _new_node(session: Session, owner: Domain, table: SnapshotKind) -> Node:
    version = next_version(session, Snapshot.version, Snapshot.domain_id == owner.id, Snapshot.kind == table)
    reference = Reference(table.node_kind, owner.name, version)
    return new_node(session, reference, owner.id, f"{owner.name} {table}, version {version}")


def _select() -> Joined:
    return (
        select(Snapshot, Node, Domain.name)
        .join(Node, Node.id == Snapshot.id)
        .join(Domain, Domain.id == Snapshot.domain_id)
    )


def _record(snapshot: Snapshot, node: Node, domain: str) -> SnapshotRecord:
    return SnapshotRecord(
        ref=node.ref,
        domain=domain,
        kind=snapshot.kind,
        version=snapshot.version,
        content_hash=snapshot.content_hash,
        rows=snapshot.rows,
        artifact=snapshot.artifact,
        as_of=snapshot.as_of,
        details=snapshot.details,
        created_at=node.created_at,
    )
