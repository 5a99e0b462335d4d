"""Staleness: which parts of what serves now are behind what they were made from.

A part is behind where its domain has a newer snapshot than the one it saw, or the hub's alias `live` has moved on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row, func, select, union
from sqlalchemy.orm import Session, aliased

from ...results import Record
from ..kinds import DomainStatus, NodeKind, SnapshotKind
from ..references import HUB_SCOPE, LIVE
from ..rows import Joined
from ..schema import Alias, Domain, Edge, Model, Node, Release, Snapshot
from ..stores.releases import PART_COLUMNS, live_query
from .graph import keep_to_indexes

NEWER_HUB: Final = "newer hub"
OTHER_HUB: Final = "other hub"
NEWER_ITEMS: Final = "newer items"
NEWER_EVENTS: Final = "newer events"
_SNAPSHOTS = {SnapshotKind.ITEMS: NEWER_ITEMS, SnapshotKind.EVENTS: NEWER_EVENTS}


@dataclass(frozen=True)
class Staleness(Record):
    """One part that serves, and what it is behind.

    Attributes:
        domain: the domain that has moved on, or whose release has.
        part: the part that is behind.
        what: `newer hub`, `newer items` or `newer events`; `other hub` where hub@live was taken back to an older one.
        has: what the part was made from.
        newest: what there is now.
        detail: one sentence for people, without a full stop.
    """

    domain: str
    part: str
    what: str
    has: str
    newest: str
    detail: str

    @property
    def ref(self) -> str:
        """The part that is behind."""
        return self.part


def staleness(session: Session, domain_id: int | None) -> list[Staleness]:
    """What is behind in the live release of every domain that is not archived, or of one, in two queries.

    Of the hub's data, one domain is told only about its own; for all domains hub@live is looked at too, released or
    not.
    """
    keep_to_indexes(session)
    found = [*_hubs(session, domain_id), *_snapshots(session, domain_id)]
    return sorted(found, key=lambda one: (one.domain, one.part, one.has))


def hub_query(domain_id: int | None) -> Joined:
    """Live releases of another hub than hub@live: domain name, release, its hub and version, hub@live and version."""
    live_hub, has_node, newest_node, release_node = aliased(Alias), aliased(Node), aliased(Node), aliased(Node)
    has, newest = aliased(Model), aliased(Model)
    return (
        live_query(domain_id)
        .with_only_columns(Domain.name, release_node.ref, has_node.ref, has.version, newest_node.ref, newest.version)
        .join(live_hub, (live_hub.scope == HUB_SCOPE) & (live_hub.name == LIVE) & (live_hub.node_id != Release.hub_id))
        .join(has, has.id == Release.hub_id)
        .join(newest, newest.id == live_hub.node_id)
        .join(has_node, has_node.id == has.id)
        .join(newest_node, newest_node.id == newest.id)
        .join(release_node, release_node.id == Release.id)
    )


def snapshot_query(domain_id: int | None) -> Joined:
    """Parts that serve and the snapshots they saw that are not the newest of their domain and kind.

    Columns: domain name, part, kind of snapshot, snapshot and its rows, newest snapshot and its rows.
    """
    parts = [
        live_query(domain_id).with_only_columns(part.label("id")).where(part.is_not(None))
        for part in PART_COLUMNS.values()
    ]
    if domain_id is None:
        parts.append(select(Alias.node_id).where(Alias.scope == HUB_SCOPE, Alias.name == LIVE))
    part = union(*parts).subquery("part")
    part_node, has_node, newest_node = aliased(Node), aliased(Node), aliased(Node)
    has, newest, any_ = aliased(Snapshot), aliased(Snapshot), aliased(Snapshot)
    highest = select(func.max(any_.version)).where(any_.domain_id == has.domain_id, any_.kind == has.kind)
    query = (
        select(Domain.name, part_node.ref, has.kind, has_node.ref, has.rows, newest_node.ref, newest.rows)
        .select_from(part)
        .join(Edge, Edge.child_id == part.c.id)
        .join(has, has.id == Edge.parent_id)
        .join(Domain, Domain.id == has.domain_id)
        .join(newest, (newest.domain_id == has.domain_id) & (newest.kind == has.kind) & (newest.version > has.version))
        .join(part_node, part_node.id == part.c.id)
        .join(has_node, has_node.id == has.id)
        .join(newest_node, newest_node.id == newest.id)
        .where(newest.version == highest.correlate(has).scalar_subquery())
        .distinct()
    )
    if domain_id is None:
        return query.where(Domain.status == DomainStatus.ACTIVE)
    return query.where((has.domain_id == domain_id) | (part_node.kind != NodeKind.HUB))


def _hubs(session: Session, domain_id: int | None) -> list[Staleness]:
    rows: Sequence[Row[*tuple[str, str, str, int, str, int]]] = session.execute(hub_query(domain_id)).all()
    return [
        Staleness(
            domain=domain,
            part=release,
            what=NEWER_HUB if newest_version > version else OTHER_HUB,
            has=hub,
            newest=newest,
            detail=f"serves from {hub} while {HUB_SCOPE}@{LIVE} is {newest}",
        )
        for domain, release, hub, version, newest, newest_version in rows
    ]


def _snapshots(session: Session, domain_id: int | None) -> list[Staleness]:
    return [
        Staleness(
            domain=domain,
            part=part,
            what=_SNAPSHOTS[SnapshotKind(kind)],
            has=has,
            newest=newest,
            detail=f"{_rows(rows)} in {has}, {_rows(newest_rows)} in {newest}",
        )
        for domain, part, kind, has, rows, newest, newest_rows in session.execute(snapshot_query(domain_id))
    ]


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
