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
from ..rows import Joined, Store, domain_row, expect_kind, new_node
from ..schema import Alias, Domain, Node

_FIELDS = {
    NodeKind.ITEM_SNAPSHOT: "item_snapshots",
    NodeKind.EVENT_SNAPSHOT: "event_snapshots",
    NodeKind.SPOKE: "spokes",
    NodeKind.INDEX: "indexes",
    NodeKind.EVALUATION: "evaluations",
    NodeKind.RELEASE: "releases",
}
_Live = aliased(Node)


class DomainStore(Store):
    """Domains of a registry."""

    def add(self, name: str, description: str = "", settings: Mapping[str, Any] | None = None) -> DomainRecord:
        """Add a product category.

        Raises:
            UsageError: the name is malformed, reserved or taken.
        """
        check_domain_name(name)
        with self.database.write() as session:
            if session.scalar(select(Domain.id).where(Domain.name == name)) is not None:
                raise UsageError(f"There is a domain {name!r} already; see `hubspoke domain show {name}`.")
            node = new_node(session, Reference(NodeKind.DOMAIN, name), None, description or name)
            session.add(
                Domain(
                    id=node.id,
                    name=name,
                    status=DomainStatus.ACTIVE,
                    description=description,
                    settings=dict(settings or {}),
                )
            )
            session.flush()
            return _read(session, name)

    def get(self, name: str) -> DomainRecord:
        """The domain of that name.

        Raises:
            NotFoundError: there is none; the sentence names the nearest names that exist.
        """
        with self.database.read() as session:
            return _read(session, name)

    def find(self, name: str) -> DomainRecord | None:
        """The domain of that name, or None."""
        with self.database.read() as session:
            known = session.scalar(select(Domain.id).where(Domain.name == name))
            return None if known is None else _read(session, name)

    def list(self, archived: bool = False) -> list[DomainRecord]:
        """Every domain by name, in two queries; the archived ones only if asked for."""
        with self.database.read() as session:
            query = _select().order_by(Domain.name)
            if not archived:
                query = query.where(Domain.status == DomainStatus.ACTIVE)
            counts = _counts(session)
            return [_record(counts.get(row[0].id, DomainCounts()), *row) for row in session.execute(query)]

    def set_settings(self, name: str, settings: Mapping[str, Any]) -> DomainRecord:
        """Replace the domain's settings.

        Raises:
            NotFoundError: there is no such domain.
        """
        with self.database.write() as session:
            domain_row(session, name).settings = dict(settings)
            session.flush()
            return _read(session, name)

    def archive(self, name: str, archived: bool = True) -> DomainRecord:
        """Take a domain out of the listings, or bring it back; nothing of it is deleted.

        Raises:
            NotFoundError: there is no such domain.
        """
        with self.database.write() as session:
            domain_row(session, name).status = DomainStatus.ARCHIVED if archived else DomainStatus.ACTIVE
            session.flush()
            return _read(session, name)


def _select() -> Joined:
    return (
        select(Domain, Node, _Live.ref)
        .join(Node, Node.id == Domain.id)
        .outerjoin(Alias, (Alias.scope == Domain.name) & (Alias.name == LIVE))
        .outerjoin(_Live, _Live.id == Alias.node_id)
    )


def read_domain(session: Session, node: Node) -> DomainRecord:
    """The record of a node that is a domain."""
    expect_kind(node, NodeKind.DOMAIN)
    row = session.execute(_select().where(Domain.id == node.id)).one()
    return _record(_counts(session, node.id).get(node.id, DomainCounts()), *row)


def _read(session: Session, name: str) -> DomainRecord:
    return read_domain(session, session.get_one(Node, domain_row(session, name).id))


def _counts(session: Session, domain_id: int | None = None) -> dict[int, DomainCounts]:
    query = select(Node.domain_id, Node.kind, func.count()).group_by(Node.domain_id, Node.kind)
    query = query.where(Node.domain_id.is_not(None) if domain_id is None else Node.domain_id == domain_id)
    found: dict[int, dict[str, int]] = {}
    for owner, kind, count in session.execute(query):
        if owner is not None and kind in _FIELDS:
            found.setdefault(owner, {})[_FIELDS[NodeKind(kind)]] = count
    return {owner: DomainCounts(**counts) for owner, counts in found.items()}


def _record(counts: DomainCounts, domain: Domain, node: Node, live: str | None) -> DomainRecord:
    return DomainRecord(
        ref=node.ref,
        name=domain.name,
        status=domain.status,
        description=domain.description,
        settings=domain.settings,
        created_at=node.created_at,
        counts=counts,
        live=live,
    )
