"""Baselines behind the recommender interface: counted, factorised or embedded from training events alone.

`FITTED` has them by name. A new one is a file here and a line there; importing this loads none of them, nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ...catalog.schema import TimeKind
    from ...catalog.sequences import Sequences
    from ..recommender import Recommender

# Training sessions and what their timestamps mean, to a recommender.
Fit: TypeAlias = "Callable[[Sequences, TimeKind], Recommender]"


def _of(file: str) -> Any:
    return import_module(f".{file}", __package__)


FITTED: Mapping[str, Fit] = {
    "popularity": lambda sessions, _: _of("popularity").Popularity(sessions),
    "popularity-7d": lambda sessions, kind: _of("popularity").RecentPopularity(sessions, days=7, time_kind=kind),
    "item-cf": lambda sessions, _: _of("item_to_item").ItemToItem(sessions.by_user()),
    "als": lambda sessions, _: _of("als").AlternatingLeastSquares(sessions.by_user()),
    "product2vec": lambda sessions, _: _of("product2vec").Product2Vec(sessions),
    "sknn": lambda sessions, _: _of("neighbours").SessionNeighbours(sessions),
}
