"""Spokes over whole catalogs, with or without a re-ranker, to learn from and to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..catalog.sequences import Histories
from ..evaluation.protocols import Protocol, microseconds
from ..ranking.features import NAMES
from ..ranking.reranker import Reranker
from ..ranking.trees import Examples
from ..spokes.mixture import floor_mixture
from ..spokes.spoke import Spoke, floor_settings
from .loading import load_hub, over_catalog
from .ranker import Ranker, Reranked, Served

if TYPE_CHECKING:
    from ..arrays import IntArray
    from ..registry.records import ModelRecord
    from .context import Context
    from .datasets import Dataset

# What the edge to the spoke that a re-ranker serves says.
SPOKE_PART = "spoke"


@dataclass(frozen=True, eq=False)
class SpokeOver:
    """A spoke version over a dataset's catalog."""

    spoke: Spoke
    served: Served
    floor: dict[str, Any]  # how the hub alone reads a session there, as `Mixture` writes it

    def reranked(self, reranker: Reranker, exclude_seen: bool, moment: int | None = None) -> Reranked:
        """The spoke with a re-ranker; `moment` is when all are asked, in microseconds."""
        alone = self.spoke.recommender("spoke", self.served.vectors, exclude_seen=exclude_seen)
        ranker = Ranker(reranker, self.served)
        return Reranked(ranker, self.served, alone, exclude_seen=exclude_seen, moment=moment)


def spoke_over(context: Context, spoke: str, dataset: Dataset) -> SpokeOver:
    """Load a spoke version and embed the catalog."""
    loaded, encoded = over_catalog(context, context.registry.models.get(spoke), dataset)
    hub, _ = load_hub(context, context.registry.models.hub_of(spoke).ref)
    vectors = loaded.embed_items(dataset.items["item_id"].to_list(), encoded, dataset.items)
    floor = floor_mixture(*floor_settings(hub, loaded.space)).model_dump(mode="json")
    return SpokeOver(loaded, Served(loaded.sessions, vectors, dataset.items), floor)


def reranked_over(context: Context, record: ModelRecord, dataset: Dataset, protocol: Protocol) -> Reranked:
    """A re-ranker and its spoke over a dataset's catalog, under a protocol's serving policy."""
    reranker = Reranker.load(context.artifacts.open(str(record.artifact)))
    moment = None if protocol.test_from is None else microseconds(protocol.test_from)
    over = spoke_over(context, spoke_of(context, record.ref), dataset)
    return over.reranked(reranker.onto(dataset.items["item_id"].to_list()), protocol.exclude_seen, moment)


def spoke_of(context: Context, reranker: str) -> str:
    """The spoke version that a re-ranker ranks for, as its lineage says."""
    edges = context.registry.lineage.upstream(reranker).edges
    return next(edge.parent for edge in edges if (edge.child, edge.part) == (reranker, SPOKE_PART))


def examples(reranked: Reranked, histories: Histories, targets: list[IntArray]) -> list[Examples]:
    """What is learned from B shoppers: their candidates, and which of them are among their targets, if any is."""
    scores, found = reranked.found(histories)
    made = []
    for own, wanted, (request, rows) in zip(scores, targets, found, strict=True):
        taken = np.isin(rows, wanted).astype(np.int64)
        if taken.any():
            features = reranked.ranker.features(request, rows, own[rows])
            spoke = features[:, NAMES.index("spoke_score")]
            made.append(Examples(features, taken, spoke, np.array([len(rows)])))
    return made
