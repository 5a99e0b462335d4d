"""The registry's releases: the exact set of versions that serves a domain, equal sets registered once."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import IncompatibleError, UsageError
from ..kinds import DomainStatus, NodeKind, Relation
from ..records import Parent, ReleaseParts, ReleaseRecord
from ..references import LIVE, Reference
from ..rows import Joined, Store, add_edges, domain_row, expect_kind, find_node, new_node, next_version
from ..schema import Alias, Domain, Edge, IndexVersion, Model, Node, Release, Snapshot
from .indexes import ready_model

_Hub = aliased(Node)
_Spoke = aliased(Node)
_Index = aliased(Node)
_Reranker = aliased(Node)
_Rules = aliased(Node)


class ReleaseStore(Store):
    """Releases of a registry."""

    def add(self, domain: str, parts: ReleaseParts) -> tuple[ReleaseRecord, bool]:
        """Register the set that is to serve a domain; an equal set gives the earlier release and False.

        Raises:
            NotFoundError: a reference points at nothing.
            UsageError: a part is of the wrong kind or domain, or not ready.
            IncompatibleError: the parts do not fit together (`check_fit`).
        """
        with self.database.write() as session:
            node, created = make_release(session, domain_row(session, domain), parts)
            return read_release(session, node), created

    def find(self, domain: str, parts: ReleaseParts) -> ReleaseRecord | None:
        """The release of exactly these parts, None where there is none yet; the parts are checked as if to be released.

        Raises:
            as `add`.
        """
        with self.database.read() as session:
            owner = domain_row(session, domain)
            node = same_release(session, owner, fitting_parts(session, owner, parts))
            return None if node is None else read_release(session, node)

    def get(self, ref: str) -> ReleaseRecord:
        """The release that `ref` points at; `garden` is what is live there.

        Raises:
            NotFoundError: it points at nothing.
            UsageError: it points at something else.
        """
        with self.database.read() as session:
            return read_release(session, find_node(session, ref))

    def live(self) -> dict[str, str]:
        """Domain that is not archived to the release that is live there."""
        query = live_query(None).with_only_columns(Domain.name, Node.ref).join(Node, Node.id == Release.id)
        with self.database.read() as session:
            return {row[0]: row[1] for row in session.execute(query)}

    def list(self, domain: str | None = None) -> list[ReleaseRecord]:
        """Releases, oldest first, of one domain if asked.

        Raises:
            NotFoundError: there is no such domain.
        """
        query = _select().order_by(Node.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(Release.domain_id == domain_row(session, domain).id)
            return [_record(*row) for row in session.execute(query)]


def live_query(domain_id: int | None) -> Joined:
    """Releases that are live, with their domain; of one domain, or of all that are not archived."""
    query = (
        select(Domain.id, Domain.name)
        .select_from(Domain)
        .join(Alias, (Alias.scope == Domain.name) & (Alias.name == LIVE))
        .join(Release, Release.id == Alias.node_id)
    )
    return query.where(Domain.status == DomainStatus.ACTIVE if domain_id is None else Domain.id == domain_id)


def read_release(session: Session, node: Node) -> ReleaseRecord:
    """The record of a node that is a release."""
    expect_kind(node, NodeKind.RELEASE)
    return _record(*session.execute(_select().where(Release.id == node.id)).one())


def make_release(session: Session, owner: Domain, parts: ReleaseParts) -> tuple[Node, bool]:
    """The release of these parts inside the caller's transaction, and whether it is new.

    Raises:
        as `ReleaseStore.add`.
    """
    nodes = fitting_parts(session, owner, parts)
    known = same_release(session, owner, nodes)
    if known is not None:
        return known, False
    version = next_version(session, Release.version, Release.domain_id == owner.id)
    reference = Reference(NodeKind.RELEASE, owner.name, version)
    node = new_node(session, reference, owner.id, f"{owner.name} release {version}")
    session.add(Release(id=node.id, domain_id=owner.id, version=version, **_part_ids(nodes)))
    session.flush()
    add_edges(session, node, [Parent(part.ref, Relation.RELEASED_AS, name) for name, part in nodes.items()])
    return node, True


def _part_ids(nodes: dict[str, Node]) -> dict[str, int | None]:
    names = ("hub", "spoke", "index", "reranker", "rules")
    return {f"{name}_id": nodes[name].id if name in nodes else None for name in names}


def same_release(session: Session, owner: Domain, nodes: dict[str, Node]) -> Node | None:
    """The release of exactly these parts, by name, or None."""
    same = select(Node).join(Release, Release.id == Node.id).where(Release.domain_id == owner.id)
    for column, part in _part_ids(nodes).items():
        # `IS NOT DISTINCT FROM`: two missing parts are the same.
        same = same.where(getattr(Release, column).is_not_distinct_from(part))
    return session.scalar(same.order_by(Node.id).limit(1))


def fitting_parts(session: Session, owner: Domain, parts: ReleaseParts) -> dict[str, Node]:
    """The parts' nodes by name, each of the right kind and domain, ready, and fitting the others.

    Raises:
        as `ReleaseStore.add`.
    """
    nodes = {"hub": expect_kind(ready_model(session, parts.hub), NodeKind.HUB)}
    if parts.spoke is not None:
        nodes["spoke"] = _of_domain(owner, expect_kind(ready_model(session, parts.spoke), NodeKind.SPOKE))
    nodes["index"] = _of_domain(owner, expect_kind(find_node(session, parts.index), NodeKind.INDEX))
    if parts.reranker is not None:
        nodes["reranker"] = _of_domain(owner, expect_kind(ready_model(session, parts.reranker), NodeKind.RERANKER))
    if parts.rules is not None:
        nodes["rules"] = _of_domain(owner, expect_kind(find_node(session, parts.rules), NodeKind.RULES))
    _check_fit(session, nodes)
    return nodes


def _of_domain(owner: Domain, node: Node) -> Node:
    if node.domain_id != owner.id:
        raise UsageError(f"{node.ref} is not of domain {owner.name}; release a version of {owner.name}.")
    return node


def _check_fit(session: Session, nodes: dict[str, Node]) -> None:
    """Every part speaks the embedding space of the others.

    Raises:
        IncompatibleError: the spoke stands on another hub, the index was filled by another model or from another
            space, it covers another domain's catalog, or the re-ranker was trained on another spoke's space.
    """
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
        _check_hub(session, spoke, hub)
        _check_space(session, index_node, index.space_fingerprint, spoke)
    if "reranker" in nodes:
        reads = session.get_one(Model, nodes["reranker"].id).space_fingerprint
        _check_space(session, nodes["reranker"], reads, serving, index.space_fingerprint)


def _check_hub(session: Session, spoke: Node, hub: Node) -> None:
    adapted = select(Edge.parent_id).where(Edge.child_id == spoke.id, Edge.relation == Relation.ADAPTED_FROM)
    hubs = set(session.scalars(adapted))
    if hubs and hub.id not in hubs:
        own = session.get_one(Node, min(hubs)).ref
        raise IncompatibleError(f"{spoke.ref} stands on {own}, not on {hub.ref}; release it with {own}.")


def _check_space(session: Session, part: Node, space: str | None, model: Node, spoken: str | None = None) -> None:
    # A hub's index lives in the hub's space calibrated per catalog, so only a spoke states the index's own space.
    wanted = spoken or session.get_one(Model, model.id).space_fingerprint
    if space == wanted:
        return
    remedy = f"train it again on {model.ref}"
    if part.kind == NodeKind.INDEX:
        remedy = f"build an index with `hubspoke index build {model.ref}`"
    raise IncompatibleError(
        f"{part.ref} is of embedding space {_short(space)}, {model.ref} speaks {_short(wanted)}; {remedy}."
    )


def _short(fingerprint: str | None) -> str:
    return (fingerprint or "none")[:12]


def _select() -> Joined:
    return (
        select(Release, Node, Domain.name, _Hub.ref, _Spoke.ref, _Index.ref, _Reranker.ref, _Rules.ref)
        .join(Node, Node.id == Release.id)
        .join(Domain, Domain.id == Release.domain_id)
        .join(_Hub, _Hub.id == Release.hub_id)
        .join(_Index, _Index.id == Release.index_id)
        .outerjoin(_Spoke, _Spoke.id == Release.spoke_id)
        .outerjoin(_Reranker, _Reranker.id == Release.reranker_id)
        .outerjoin(_Rules, _Rules.id == Release.rules_id)
    )


def _record(
    release: Release,
    node: Node,
    domain: str,
    hub: str,
    spoke: str | None,
    index: str,
    reranker: str | None,
    rules: str | None,
) -> ReleaseRecord:
    return ReleaseRecord(
        ref=node.ref,
        domain=domain,
        version=release.version,
        hub=hub,
        spoke=spoke,
        index=index,
        reranker=reranker,
        rules=rules,
        created_at=node.created_at,
    )
