"""Baselines behind the recommender interface: counted, factorised or embedded from training events alone.

`FITTED` has them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ...catalog.schema import TimeKind
from ...catalog.sequences import Sequences
from .als import AlternatingLeastSquares
from .item_to_item import ItemToItem
from .neighbours import SessionNeighbours
from .popularity import Popularity, RecentPopularity
from .product2vec import Product2Vec, SkipGram

if TYPE_CHECKING:
    from ..recommender import Recommender

Fit = Callable[[Sequences, TimeKind], "Recommender"]
"""Training sessions and what their timestamps mean, to a recommender."""

FITTED: Mapping[str, Fit] = {
    "popularity": lambda sessions, _: Popularity(sessions),
    "popularity-7d": lambda sessions, time_kind: RecentPopularity(sessions, days=7, time_kind=time_kind),
    "item-cf": lambda sessions, _: ItemToItem(sessions.by_user()),
    "als": lambda sessions, _: AlternatingLeastSquares(sessions.by_user()),
    "product2vec": lambda sessions, _: Product2Vec(sessions),
    "sknn": lambda sessions, _: SessionNeighbours(sessions),
}

__all__ = [
    "FITTED",
    "AlternatingLeastSquares",
    "Fit",
    "ItemToItem",
    "Popularity",
    "Product2Vec",
    "RecentPopularity",
    "SessionNeighbours",
    "SkipGram",
]
