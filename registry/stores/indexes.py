"""The registry's index versions: which model filled them, over which items, into which embedding space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from ...errors import UsageError
from ..artifacts.manifests import StoredArtifact
from ..kinds import ModelKind, ModelStatus, NodeKind, Relation
from ..records import IndexRecord, Parent
from ..references import Reference
from ..rows import Joined, Store, add_edges, domain_row, expect_kind, find_node, new_node, next_version, put_artifact
from ..schema import Domain, IndexVersion, Model, Node

_ModelNode = aliased(Node)
_ItemsNode = aliased(Node)


class IndexStore(Store):
    """Index versions of a registry."""

    def add(
        self,
        domain: str,
        model: str,
        items: str,
        *,
        fingerprint: str,
        space_fingerprint: str,
        factory: str,
        dimension: int,
        metric: str,
        n_items: int,
        artifact: StoredArtifact,
        config: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        parents: Sequence[Parent] = (),
    ) -> IndexRecord:
        """Register an index of `model` over the item snapshot `items` (references); both become its parents.

        Raises:
            NotFoundError: a reference points at nothing.
            UsageError: a reference points at another kind of thing, or at a model that is not ready.
        """
        with self.database.write() as session:
            owner = domain_row(session, domain)
            model_node = ready_model(session, model)
            items_node = expect_kind(find_node(session, items), NodeKind.ITEM_SNAPSHOT)
            version = next_version(session, IndexVersion.version, IndexVersion.domain_id == owner.id)
            reference = Reference(NodeKind.INDEX, domain, version)
            node = new_node(session, reference, owner.id, f"{domain} index, version {version}")
            session.add(
                IndexVersion(
                    id=node.id,
                    domain_id=owner.id,
                    version=version,
                    model_id=model_node.id,
                    items_id=items_node.id,
                    fingerprint=fingerprint,
                    space_fingerprint=space_fingerprint,
                    factory=factory,
                    dimension=int(dimension),
                    metric=metric,
                    n_items=int(n_items),
                    artifact=put_artifact(session, artifact),
                    config=dict(config or {}),
                    seconds=seconds,
                )
            )
            session.flush()
            made_of = [Parent(model_node.ref, Relation.BUILT_FROM), Parent(items_node.ref, Relation.EMBEDS)]
            add_edges(session, node, [*made_of, *parents])
            return read_index(session, node)

    def find(self, domain: str, fingerprint: str) -> IndexRecord | None:
        """The newest index of the domain made from the same inputs, or None."""
        with self.database.read() as session:
            owner = domain_row(session, domain)
            same = _select().where(IndexVersion.domain_id == owner.id, IndexVersion.fingerprint == fingerprint)
            row = session.execute(same.order_by(IndexVersion.version.desc()).limit(1)).first()
            return None if row is None else _record(*row)

    def get(self, ref: str) -> IndexRecord:
        """The index that `ref` points at.

        Raises:
            NotFoundError: it points at nothing.
            UsageError: it points at something else.
        """
        with self.database.read() as session:
            return read_index(session, find_node(session, ref))

    def list(self, domain: str | None = None) -> list[IndexRecord]:
        """Index versions, oldest first, of one domain if asked.

        Raises:
            NotFoundError: there is no such domain.
        """
        query = _select().order_by(Node.id)
        with self.database.read() as session:
            if domain is not None:
                query = query.where(IndexVersion.domain_id == domain_row(session, domain).id)
            return [_record(*row) for row in session.execute(query)]


def ready_model(session: Session, ref: str) -> Node:
    """The node of a hub or spoke version whose training has ended well.

    Raises:
        UsageError: it has not.
    """
    node = expect_kind(find_node(session, ref), *(kind.node_kind for kind in ModelKind))
    status = session.scalar(select(Model.status).where(Model.id == node.id))
    if status != ModelStatus.READY:
        raise UsageError(f"{node.ref} is {status}; use a version that is ready, or train it again.")
    return node


def read_index(session: Session, node: Node) -> IndexRecord:
    """The record of a node that is an index."""
    expect_kind(node, NodeKind.INDEX)
    return _record(*session.execute(_select().where(IndexVersion.id == node.id)).one())


def _select() -> Joined:
    return (
        select(IndexVersion, Node, Domain.name, _ModelNode.ref, _ItemsNode.ref)
        .join(Node, Node.id == IndexVersion.id)
        .join(Domain, Domain.id == IndexVersion.domain_id)
        .join(_ModelNode, _ModelNode.id == IndexVersion.model_id)
        .join(_ItemsNode, _ItemsNode.id == IndexVersion.items_id)
    )


def _record(index: IndexVersion, node: Node, domain: str, model: str, items: str) -> IndexRecord:
    return IndexRecord(
        ref=node.ref,
        domain=domain,
        version=index.version,
        model=model,
        items=items,
        fingerprint=index.fingerprint,
        space_fingerprint=index.space_fingerprint,
        factory=index.factory,
        dimension=index.dimension,
        metric=index.metric,
        n_items=index.n_items,
        artifact=index.artifact,
        config=index.config,
        seconds=index.seconds,
        created_at=node.created_at,
    )
