"""The registry's domains: add, describe, archive, list with counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from ...errors import UsageError
from ..kinds import DomainStatus, NodeKind
from ..records import DomainCounts, DomainRecord
from ..references import LIVE, Reference, check_domain_name
from ..rows import Joined, NodeStore, domain_row, new_node
from ..schema import Alias, Domain, Node

_COUNTED = {
    NodeKind.ITEM_SNAPSHOT: "item_snapshots",
    NodeKind.EVENT_SNAPSHOT: "event_snapshots",
    NodeKind.SPOKE: "spokes",
    NodeKind.INDEX: "indexes",
    NodeKind.EVALUATION: "evaluations",
    NodeKind.RELEASE: "releases",
}
_Live = aliased(Node)


class DomainStore(NodeStore[DomainRecord]):
    """Domains of a registry; here they go by their plain names."""

    kinds = (NodeKind.DOMAIN,)
    table = Domain
    record = DomainRecord
    inner = ("counts", DomainCounts())

    def add(self, name: str, description: str = "", settings: Mapping[str, Any] | None = None) -> DomainRecord:
        """Add a product category; a name that is malformed, reserved or taken is a UsageError."""
        check_domain_name(name)
        with self.database.write() as session:
            if session.scalar(select(Domain.id).where(Domain.name == name)) is not None:
                raise UsageError(f"There is a domain {name!r} already; see `hubspoke domain show {name}`.")
            node = new_node(session, Reference(NodeKind.DOMAIN, name), None, description or name)
            row = Domain(id=node.id, name=name, description=description, settings=dict(settings or {}))
            row.status = DomainStatus.ACTIVE
            session.add(row)
            return self.read(session, node)

    def get(self, name: str) -> DomainRecord:
        """The domain of that name; where there is none, a NotFoundError with the nearest names that exist."""
        with self.database.read() as session:
            return self._read(session, domain_row(session, name))

    def find(self, name: str) -> DomainRecord | None:
        """The domain of that name, or None."""
        with self.database.read() as session:
            row = session.scalar(select(Domain).where(Domain.name == name))
            return None if row is None else self._read(session, row)

    def set_settings(self, name: str, settings: Mapping[str, Any]) -> DomainRecord:
        """Replace the domain's settings."""
        return self._change(name, settings=dict(settings))

    def archive(self, name: str, archived: bool = True) -> DomainRecord:
        """Take a domain out of the listings, or bring it back; nothing of it is deleted."""
        return self._change(name, status=DomainStatus.ARCHIVED if archived else DomainStatus.ACTIVE)

    def _change(self, name: str, **columns: Any) -> DomainRecord:
        with self.database.write() as session:
            row = domain_row(session, name)
            for column, value in columns.items():
                setattr(row, column, value)
            return self._read(session, row)

    def _read(self, session: Session, row: Domain) -> DomainRecord:
        return self.read(session, session.get_one(Node, row.id))

    @classmethod
    def _query(cls) -> Joined:
        return (
            select(Domain, Node, _Live.ref.label("live"))
            .join(Node, Node.id == Domain.id)
            .outerjoin(Alias, (Alias.scope == Domain.name) & (Alias.name == LIVE))
            .outerjoin(_Live, _Live.id == Alias.node_id)
        )

    @classmethod
    def _inner_values(cls, session: Session, query: Joined) -> Mapping[int, DomainCounts]:
        chosen = query.with_only_columns(Domain.id).order_by(None)
        counts = select(Node.domain_id, Node.kind, func.count()).where(Node.domain_id.in_(chosen))
        found: dict[int, dict[str, int]] = {}
        for owner, kind, count in session.execute(counts.group_by(Node.domain_id, Node.kind)):
            if kind in _COUNTED:
                found.setdefault(int(owner or 0), {})[_COUNTED[NodeKind(kind)]] = count
        return {owner: DomainCounts(**numbers) for owner, numbers in found.items()}

    def list(self, archived: bool = False) -> list[DomainRecord]:
        """Every domain by name, in two queries; the archived ones only if asked for."""
        query = self._query().order_by(Domain.name)
        with self.database.read() as session:
            return self.records(session, query if archived else query.where(Domain.status == DomainStatus.ACTIVE))
