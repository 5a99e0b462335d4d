"""Staleness: which parts of what serves now are behind what they were made from.

A part is behind where its domain has a newer snapshot that says something else than the one it saw, or the hub's alias
`live` has moved on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, union
from sqlalchemy.orm import Session, aliased

from ...results import Record
from ..kinds import DomainStatus, NodeKind, SnapshotKind
from ..records import content_of
from ..references import HUB_SCOPE, LIVE
from ..rows import Joined
from ..schema import Alias, Domain, Edge, Model, Node, Release, Snapshot
from ..stores.releases import PART_COLUMNS, live_query
from .graph import keep_to_indexes

NEWER_HUB: Final = "newer hub"
OTHER_HUB: Final = "other hub"
NEWER_ITEMS: Final = "newer items"
NEWER_EVENTS: Final = "newer events"
_NEWER = {SnapshotKind.ITEMS: NEWER_ITEMS, SnapshotKind.EVENTS: NEWER_EVENTS}


@dataclass(frozen=True)
class Staleness(Record):
    """One part that serves, and what it is behind."""

    domain: str  # the domain that has moved on, or whose release has
    part: str  # the part that is behind
    what: str  # `newer hub`, `newer items` or `newer events`; `other hub` where hub@live was taken back to an older one
    has: str  # what the part was made from
    newest: str  # what there is now
    detail: str  # one sentence for people, without a full stop

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
    found = []
    for row in session.execute(hub_query(domain_id)):
        what = NEWER_HUB if row.newest_version > row.has_version else OTHER_HUB
        detail = f"serves from {row.has} while {HUB_SCOPE}@{LIVE} is {row.newest}"
        found.append(Staleness(row.domain, row.part, what, row.has, row.newest, detail))
    for row in session.execute(snapshot_query(domain_id)):
        if content_of(row.has_hash) == content_of(row.newest_hash):
            continue  # a catalog that came back: nothing to catch up with
        detail = f"{_rows(row.has_rows)} in {row.has}, {_rows(row.newest_rows)} in {row.newest}"
        found.append(Staleness(row.domain, row.part, _NEWER[SnapshotKind(row.kind)], row.has, row.newest, detail))
    return sorted(found, key=lambda one: (one.domain, one.part, one.has))


def hub_query(domain_id: int | None) -> Joined:
    """Live releases of another hub than hub@live: both hubs and their versions."""
    live_hub, has_node, newest_node, release_node = aliased(Alias), aliased(Node), aliased(Node), aliased(Node)
    has, newest = aliased(Model), aliased(Model)
    return (
        live_query(domain_id)
        .with_only_columns(
            Domain.name.label("domain"),
            release_node.ref.label("part"),
            has_node.ref.label("has"),
            has.version.label("has_version"),
            newest_node.ref.label("newest"),
            newest.version.label("newest_version"),
        )
        .join(live_hub, (live_hub.scope == HUB_SCOPE) & (live_hub.name == LIVE) & (live_hub.node_id != Release.hub_id))
        .join(has, has.id == Release.hub_id)
        .join(newest, newest.id == live_hub.node_id)
        .join(has_node, has_node.id == has.id)
        .join(newest_node, newest_node.id == newest.id)
        .join(release_node, release_node.id == Release.id)
    )


def snapshot_query(domain_id: int | None) -> Joined:
    """Parts that serve and the snapshots they saw that are not the newest of their domain and kind, with the newest."""
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
        select(
            Domain.name.label("domain"),
            part_node.ref.label("part"),
            has.kind,
            has_node.ref.label("has"),
            has.rows.label("has_rows"),
            has.content_hash.label("has_hash"),
            newest_node.ref.label("newest"),
            newest.rows.label("newest_rows"),
            newest.content_hash.label("newest_hash"),
        )
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


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
