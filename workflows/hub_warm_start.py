"""Hub trainings that go on from an earlier version: what it was trained on, and how far the new one is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import IntArray
from ..hub.content import fit_content_space
from ..hub.drift import embedding_drift
from ..hub.model import Hub
from ..registry.kinds import Relation, SnapshotKind
from ..registry.records import ModelRecord
from .context import Context
from .datasets import Dataset, read_table
from .hub_stages.base import Category
from .loading import load_hub


@dataclass(frozen=True)
class HubParent:
    """An earlier hub version that a training goes on from."""

    record: ModelRecord
    hub: Hub
    items: Mapping[str, frozenset[str]]  # by domain, of the catalogs that it was trained on

    def rows(self, dataset: Dataset) -> IntArray:
        """(A,) rows of the items of a category that the version was trained on."""
        known = self.items.get(dataset.domain.name, frozenset())
        return np.flatnonzero([item in known for item in dataset.items["item_id"]])

    def told(self, child: Hub, begun: Sequence[Category], ended: Sequence[Category]) -> dict[str, Any]:
        """What the record of a version that went on from it says: of the parent, and of the drift by category.

        Content embeddings of both are taken under the calibration that a category has by the parent, which a spoke
        that goes on from its own parent keeps; `begun` holds what the parent's encoders made, `ended` the child's.
        """
        drift = {}
        for before, after in zip(begun, ended, strict=True):
            rows = self.rows(before.dataset)
            fused = self.hub.fusion.fuse(before.encoded)
            space = fit_content_space(fused, self.hub.config)
            theirs, ours = (space.embed(own)[rows] for own in (fused, child.fusion.fuse(after.encoded)))
            if space.dimension and len(rows):
                drift[before.name] = {"items": len(rows), **embedding_drift(ours, theirs)}
        return {"warm_start": {"parent": self.record.ref}, "drift": drift}


def load_hub_parent(context: Context, ref: str) -> HubParent:
    """The version behind a reference, with the items that its lineage says it was trained on."""
    hub, record = load_hub(context, ref)
    items: dict[str, frozenset[str]] = {}
    for edge in context.registry.lineage.upstream(record.ref).edges:
        if (edge.child, edge.relation, edge.part) == (record.ref, Relation.TRAINED_ON, SnapshotKind.ITEMS):
            snapshot = context.registry.snapshots.get(edge.parent)
            items[snapshot.domain] = frozenset(read_table(context, snapshot)["item_id"])
    return HubParent(record, hub, items)
