"""The registry's releases: the exact set of versions that serves a domain, equal sets registered once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ..errors import IncompatibleError, UsageError
from .database import Database
from .indexes import ready_model
from .kinds import NodeKind, Relation
from .records import Parent, ReleaseRecord
from .references import Reference
from .rows import Joined, add_edges, domain_row, expect_kind, find_node, new_node, next_version
from .schema import Domain, IndexVersion, Model, Node, Release

_Hub = aliased(Node)
_Spoke = aliased(Node)
_Index = aliased(Node)


class ReleaseStore:
    """Releases of a registry."""

    database: Database

    def create_release(
        self, domain: str, hub: str, spoke: str | None, index: str, rules: Mapping[str, Any] | None = None
    ) -> tuple[ReleaseRecord, bool]:
        """Register the set that is to serve a domain; an equal set gives the earlier release and False.

        Raises:
            NotFoundError: a reference points at nothing.
            UsageError: a part is of the wrong kind or domain, or not ready.
            IncompatibleError: the index was filled by another model, or from another embedding space.
        """
        with self.database.write() as session:
            owner = domain_row(session, domain)
            parts = {"hub": expect_kind(ready_model(session, hub), NodeKind.HUB)}
            if spoke is not None:
                parts["spoke"] = _of_domain(owner, expect_kind(ready_model(session, spoke), NodeKind.SPOKE))
            parts["index"] = _of_domain(owner, expect_kind(find_node(session, index), NodeKind.INDEX))
            _check_fit(session, parts["index"], parts.get("spoke", parts["hub"]))
            fingerprint = _fingerprint({name: node.ref for name, node in parts.items()}, rules or {})
            same = _select().where(Release.domain_id == owner.id, Release.fingerprint == fingerprint)
            known = session.execute(same).first()
            if known is not None:
                return _record(*known), False
            node = _add(session, owner, fingerprint, parts, dict(rules or {}))
            add_edges(session, node, [Parent(part.ref, Relation.RELEASED_AS, name) for name, part in parts.items()])
            return read_release(session, node), True

    def get_release(self, ref: str) -> ReleaseRecord:
        """The release that `ref` points at; `garden` is what is live there.

        Raises:
            NotFoundError: it points at nothing.
            UsageError: it points at something else.
        """
        with self.database.read() as session:
            return read_release(session, find_node(session, ref))

    def list_releases(self, domain: str | None = None) -> list[ReleaseRecord]:
        """Releases, oldest first, of one domain if asked.

        Raises:
            NotFoundError: there is no such domain.
        """
        query = _select().order_by(Node.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(Release.domain_id == domain_row(session, domain).id)
            return [_record(*row) for row in session.execute(query)]


def read_release(session: Session, node: Node) -> ReleaseRecord:
    """The record of a node that is a release."""
    expect_kind(node, NodeKind.RELEASE)
    return _record(*session.execute(_select().where(Release.id == node.id)).one())


def _of_domain(owner: Domain, node: Node) -> Node:
    if node.domain_id != owner.id:
        raise UsageError(f"{node.ref} is not of domain {owner.name}; release a version of {owner.name}.")
    return node


def _check_fit(session: Session, index_node: Node, model_node: Node) -> None:
    index = session.get_one(IndexVersion, index_node.id)
    if index.model_id != model_node.id:
        filled_by = session.get_one(Node, index.model_id).ref
        raise IncompatibleError(
            f"{index_node.ref} was filled by {filled_by}, not by {model_node.ref}; "
            f"build an index with {model_node.ref}."
        )
    # A hub's index lives in the hub's space calibrated per catalog, so only a spoke states the index's own space.
    space = session.get_one(Model, model_node.id).space_fingerprint
    if model_node.kind == NodeKind.SPOKE and index.space_fingerprint != space:
        raise IncompatibleError(
            f"{index_node.ref} holds vectors of space {index.space_fingerprint}, {model_node.ref} speaks {space}; "
            f"build an index with {model_node.ref}."
        )


def _fingerprint(parts: Mapping[str, str], rules: Mapping[str, Any]) -> str:
    said = json.dumps({**parts, "rules": rules}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()


def _add(session: Session, owner: Domain, fingerprint: str, parts: dict[str, Node], rules: dict[str, Any]) -> Node:
    version = next_version(session, Release.version, Release.domain_id == owner.id)
    reference = Reference(NodeKind.RELEASE, owner.name, version)
    node = new_node(session, reference, owner.id, f"{owner.name} release {version}")
    session.add(
        Release(
            id=node.id,
            domain_id=owner.id,
            version=version,
            fingerprint=fingerprint,
            hub_id=parts["hub"].id,
            spoke_id=parts["spoke"].id if "spoke" in parts else None,
            index_id=parts["index"].id,
            rules=rules,
        )
    )
    session.flush()
    return node


def _select() -> Joined:
    return (
        select(Release, Node, Domain.name, _Hub.ref, _Spoke.ref, _Index.ref)
        .join(Node, Node.id == Release.id)
        .join(Domain, Domain.id == Release.domain_id)
        .join(_Hub, _Hub.id == Release.hub_id)
        .join(_Index, _Index.id == Release.index_id)
        .outerjoin(_Spoke, _Spoke.id == Release.spoke_id)
    )


def _record(release: Release, node: Node, domain: str, hub: str, spoke: str | None, index: str) -> ReleaseRecord:
    return ReleaseRecord(
        ref=node.ref,
        domain=domain,
        version=release.version,
        hub=hub,
        spoke=spoke,
        index=index,
        rules=release.rules,
        created_at=node.created_at,
    )
