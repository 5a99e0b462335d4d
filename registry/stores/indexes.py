"""The registry's index versions: which model filled them, over which items, into which embedding space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class NewIndex:
    """An index of `model` over the item snapshot `items` (references) of `domain`, to be registered."""

    domain: str
    model: str
    items: str
    fingerprint: str  # of its inputs and settings
    space_fingerprint: str
    factory: str  # kind of index in FAISS's words
    dimension: int
    metric: str
    n_items: int
    artifact: StoredArtifact
    seconds: float | None = None  # what building it took
    parents: Sequence[Parent] = ()  # beside the model and the snapshot
    config: Mapping[str, Any] = field(default_factory=dict)  # what was asked for, what it is set to and was measured


class IndexStore(NodeStore[IndexRecord]):
    """Index versions of a registry."""

    kinds = (NodeKind.INDEX,)
    table = IndexVersion
    record = IndexRecord

    def add(self, new: NewIndex) -> IndexRecord:
        """Register an index whose model is ready; the model and the item snapshot become its parents."""
        with self.database.write() as session:
            owner, filler = domain_row(session, new.domain), ready_model(session, new.model)
            covered = expect_kind(find_node(session, new.items), NodeKind.ITEM_SNAPSHOT)
            columns = {
                "model_id": filler.id,
                "items_id": covered.id,
                "fingerprint": new.fingerprint,
                "space_fingerprint": new.space_fingerprint,
                "factory": new.factory,
                "dimension": int(new.dimension),
                "metric": new.metric,
                "n_items": int(new.n_items),
                "artifact": put_artifact(session, new.artifact),
                "config": dict(new.config),
                "seconds": new.seconds,
            }
            node = self._new(session, NodeKind.INDEX, owner, f"{new.domain} index, version {{}}", columns)
            made_of = [Parent(filler.ref, Relation.BUILT_FROM), Parent(covered.ref, Relation.EMBEDS)]
            add_edges(session, node, [*made_of, *new.parents])
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
