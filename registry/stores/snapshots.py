"""The registry's snapshots: immutable data of a domain, equal content registered once until it is taken again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select

from ..artifacts.manifests import StoredArtifact
from ..kinds import DomainStatus, NodeKind, Relation, SnapshotKind, choice
from ..records import AGAIN, Parent, SnapshotRecord
from ..rows import NodeStore, add_edges, domain_row, put_artifact
from ..schema import Domain, Node, Snapshot


class SnapshotStore(NodeStore[SnapshotRecord]):
    """Snapshots of a registry."""

    kinds = (NodeKind.ITEM_SNAPSHOT, NodeKind.EVENT_SNAPSHOT)
    table = Snapshot
    record = SnapshotRecord

    def add(
        self,
        domain: str,
        kind: str,
        content_hash: str,
        rows: int,
        artifact: StoredArtifact,
        as_of: datetime | None = None,
        details: Mapping[str, Any] | None = None,
        again: bool = False,
    ) -> tuple[SnapshotRecord, bool]:
        """Register a snapshot (`kind`: items or events); equal content gives the earlier one and False.

        With `again` only the newest one is given, and content that another has overtaken becomes the newest anew.
        """
        table = choice(SnapshotKind, kind, "kind of snapshot")
        with self.database.write() as session:
            owner = domain_row(session, domain)
            taken = self._query().where(Snapshot.domain_id == owner.id, Snapshot.kind == table)
            holds_it = or_(
                Snapshot.content_hash == content_hash,
                Snapshot.content_hash.startswith(f"{content_hash}{AGAIN}", autoescape=True),
            )
            same = self.records(session, taken.where(holds_it).order_by(Snapshot.version))
            newest = session.scalar(
                select(func.max(Snapshot.version)).where(Snapshot.domain_id == owner.id, Snapshot.kind == table)
            )
            if same and (not again or same[-1].version == newest):
                return same[-1], False
            columns = {
                "kind": table,
                "content_hash": f"{content_hash}{AGAIN}{len(same) + 1}" if same else content_hash,
                "rows": int(rows),
                "artifact": put_artifact(session, artifact),
                "as_of": as_of,
                "details": dict(details or {}),
            }
            node = self._new(session, table.node_kind, owner, f"{domain} {table}, version {{}}", columns)
            add_edges(session, node, [Parent(f"domain:{domain}", Relation.BUILT_FROM)])
            return self.read(session, node), True

    def list(self, domain: str | None = None, kind: str | None = None) -> list[SnapshotRecord]:
        """Snapshots, oldest first, of one domain and one kind if asked."""
        where = [] if kind is None else [Snapshot.kind == choice(SnapshotKind, kind, "kind of snapshot")]
        return self._list(domain, *where)

    def newest(self) -> dict[tuple[str, str], str]:
        """The newest snapshot of every active domain by its name and kind, in one statement."""
        last = select(func.max(Snapshot.id)).group_by(Snapshot.domain_id, Snapshot.kind)
        query = select(Domain.name, Snapshot.kind, Node.ref).join(Node, Node.id == Snapshot.id)
        query = query.join(Domain, Domain.id == Snapshot.domain_id)
        query = query.where(Snapshot.id.in_(last), Domain.status == DomainStatus.ACTIVE)
        with self.database.read() as session:
            return {(name, kind): ref for name, kind, ref in session.execute(query)}
