"""The registry's releases: the exact set of versions that serves a domain, equal sets registered once."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import IncompatibleError, UsageError
from ..artifacts.manifests import StoredArtifact
from ..kinds import DomainStatus, NodeKind, Relation
from ..records import PARTS, Parent, ReleaseParts, ReleaseRecord
from ..references import LIVE
from ..rows import Joined, NodeStore, add_edges, domain_row, expect_kind, find_node, now, put_artifact
from ..schema import Alias, Domain, Edge, IndexVersion, LaunchReport, Model, Node, Release, Snapshot
from .models import MODEL_KINDS, ready_model

# The columns of a release's parts, and their nodes.
PART_COLUMNS = {name: getattr(Release, f"{name}_id") for name in PARTS}
_PART_NODES = {name: aliased(Node) for name in PARTS}


class ReleaseStore(NodeStore[ReleaseRecord]):
    """Releases of a registry; `garden` is what is live there."""

    kinds = (NodeKind.RELEASE,)
    table = Release
    record = ReleaseRecord

    def find(self, domain: str, parts: ReleaseParts) -> ReleaseRecord | None:
        """The release of exactly these parts, None where there is none yet; the parts are checked as by `make`."""
        with self.database.read() as session:
            owner = domain_row(session, domain)
            node = same_release(session, owner, fitting_parts(session, owner, parts))
            return None if node is None else self.read(session, node)

    def live(self) -> dict[str, str]:
        """Domain that is not archived to the release that is live there."""
        query = live_query(None).with_only_columns(Domain.name, Node.ref).join(Node, Node.id == Release.id)
        with self.database.read() as session:
            return {row[0]: row[1] for row in session.execute(query)}

    def report(self, ref: str) -> str | None:
        """The artifact of what the newest launch of a release reported; None where it was made otherwise."""
        with self.database.read() as session:
            row = session.get(LaunchReport, expect_kind(find_node(session, ref), NodeKind.RELEASE).id)
            return None if row is None else row.artifact

    def keep_report(self, ref: str, report: StoredArtifact) -> None:
        """Remember what a launch reported of a release, in place of an earlier launch."""
        with self.database.write() as session:
            node, digest = expect_kind(find_node(session, ref), NodeKind.RELEASE), put_artifact(session, report)
            session.merge(LaunchReport(id=node.id, artifact=digest, at=now()))

    @classmethod
    def make(cls, session: Session, owner: Domain, parts: ReleaseParts) -> Node:
        """The release of these parts inside the caller's transaction, registered where there is none yet."""
        nodes = fitting_parts(session, owner, parts)
        known = same_release(session, owner, nodes)
        if known is not None:
            return known
        ids = {f"{name}_id": part.id for name, part in nodes.items()}
        node = cls._new(session, NodeKind.RELEASE, owner, f"{owner.name} release {{}}", ids)
        add_edges(session, node, [Parent(part.ref, Relation.RELEASED_AS, name) for name, part in nodes.items()])
        return node

    @classmethod
    def _query(cls) -> Joined:
        query = super()._query()
        for name, part in _PART_NODES.items():
            query = query.add_columns(part.ref.label(name)).outerjoin(part, part.id == PART_COLUMNS[name])
        return query

    def list(self, domain: str | None = None) -> list[ReleaseRecord]:
        """Releases, oldest first, of one domain if asked."""
        return self._list(domain)


def live_query(domain_id: int | None) -> Joined:
    """Releases that are live, with their domain; of one domain, or of all that are not archived."""
    query = (
        select(Domain.id, Domain.name)
        .select_from(Domain)
        .join(Alias, (Alias.scope == Domain.name) & (Alias.name == LIVE))
        .join(Release, Release.id == Alias.node_id)
    )
    return query.where(Domain.status == DomainStatus.ACTIVE if domain_id is None else Domain.id == domain_id)


def same_release(session: Session, owner: Domain, nodes: dict[str, Node]) -> Node | None:
    """The release of exactly these parts, by name, or None."""
    same = select(Node).join(Release, Release.id == Node.id).where(Release.domain_id == owner.id)
    for name, column in PART_COLUMNS.items():
        # A missing part compares to NULL, which SQLAlchemy writes as IS NULL.
        same = same.where(column == (nodes[name].id if name in nodes else None))
    return session.scalar(same.order_by(Node.id).limit(1))


def fitting_parts(session: Session, owner: Domain, parts: ReleaseParts) -> dict[str, Node]:
    """The parts' nodes by name: each of the right kind and domain, ready, fitting the others."""
    nodes = {}
    for name in PARTS:
        ref, kind = getattr(parts, name), NodeKind(name)
        if ref is None:
            continue
        node = expect_kind(ready_model(session, ref) if kind in MODEL_KINDS else find_node(session, ref), kind)
        if kind is not NodeKind.HUB and node.domain_id != owner.id:
            raise UsageError(f"{node.ref} is not of domain {owner.name}; release a version of {owner.name}.")
        nodes[name] = node
    # Every part speaks the embedding space of the others.
    hub, spoke, index_node = nodes["hub"], nodes.get("spoke"), nodes["index"]
    index = session.get_one(IndexVersion, index_node.id)
    serving = spoke or hub
    if index.model_id != serving.id:
        filled_by = session.get_one(Node, index.model_id).ref
        raise IncompatibleError(
            f"{index_node.ref} was filled by {filled_by}, not by {serving.ref}; build an index with {serving.ref}."
        )
    if session.get_one(Snapshot, index.items_id).domain_id != index_node.domain_id:
        items = session.get_one(Node, index.items_id).ref
        raise IncompatibleError(f"{index_node.ref} covers {items}, the catalog of another domain; build it again.")
    if spoke is not None:
        adapted = select(Edge.parent_id).where(Edge.child_id == spoke.id, Edge.relation == Relation.ADAPTED_FROM)
        hubs = set(session.scalars(adapted))
        if hubs and hub.id not in hubs:
            own = session.get_one(Node, min(hubs)).ref
            raise IncompatibleError(f"{spoke.ref} stands on {own}, not on {hub.ref}; release it with {own}.")
        _check_space(session, index_node, index.space_fingerprint, spoke)
    if "reranker" in nodes:
        reads = session.get_one(Model, nodes["reranker"].id).space_fingerprint
        _check_space(session, nodes["reranker"], reads, serving, index.space_fingerprint)
    return nodes


def _check_space(session: Session, part: Node, space: str | None, model: Node, spoken: str | None = None) -> None:
    # A hub's index lives in the hub's space calibrated per catalog, so only a spoke states the index's own space.
    wanted = spoken or session.get_one(Model, model.id).space_fingerprint
    if space == wanted:
        return
    remedy = f"train it again on {model.ref}"
    if part.kind == NodeKind.INDEX:
        remedy = f"build an index with `hubspoke index build {model.ref}`"
    has, speaks = ((fingerprint or "none")[:12] for fingerprint in (space, wanted))
    raise IncompatibleError(f"{part.ref} is of embedding space {has}, {model.ref} speaks {speaks}; {remedy}.")
