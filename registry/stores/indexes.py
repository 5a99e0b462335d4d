"""The registry's index versions: which model filled them, over which items, into which embedding space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import aliased

from ..artifacts.manifests import StoredArtifact
from ..kinds import NodeKind, Relation
from ..records import IndexRecord, Parent
from ..rows import Joined, NodeStore, add_edges, domain_row, expect_kind, find_node, put_artifact
from ..schema import IndexVersion, Node
from .models import ready_model

_Model = aliased(Node)
_Items = aliased(Node)


class IndexStore(NodeStore[IndexRecord]):
    """Index versions of a registry."""

    kinds = (NodeKind.INDEX,)
    table = IndexVersion
    record = IndexRecord

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
            owner, filler = domain_row(session, domain), ready_model(session, model)
            covered = expect_kind(find_node(session, items), NodeKind.ITEM_SNAPSHOT)
            columns = {
                "model_id": filler.id,
                "items_id": covered.id,
                "fingerprint": fingerprint,
                "space_fingerprint": space_fingerprint,
                "factory": factory,
                "dimension": int(dimension),
                "metric": metric,
                "n_items": int(n_items),
                "artifact": put_artifact(session, artifact),
                "config": dict(config or {}),
                "seconds": seconds,
            }
            node = self._new(session, NodeKind.INDEX, owner, f"{domain} index, version {{}}", columns)
            made_of = [Parent(filler.ref, Relation.BUILT_FROM), Parent(covered.ref, Relation.EMBEDS)]
            add_edges(session, node, [*made_of, *parents])
            return self.read(session, node)

    def find(self, domain: str, fingerprint: str) -> IndexRecord | None:
        """The newest index of the domain made from the same inputs, or None."""
        with self.database.read() as session:
            owner = domain_row(session, domain)
            same = self._query().where(IndexVersion.domain_id == owner.id, IndexVersion.fingerprint == fingerprint)
            return next(iter(self.records(session, same.order_by(IndexVersion.version.desc()).limit(1))), None)

    @classmethod
    def _query(cls) -> Joined:
        query = super()._query().add_columns(_Model.ref.label("model"), _Items.ref.label("items"))
        query = query.join(_Model, _Model.id == IndexVersion.model_id)
        return query.join(_Items, _Items.id == IndexVersion.items_id)

    def list(self, domain: str | None = None) -> list[IndexRecord]:
        """Index versions, oldest first, of one domain if asked."""
        return self._list(domain)
