"""An index over a catalog that has changed: what was trained is kept until it is worth training anew.

A kind with a trained structure takes changes beside it (`retrieval.approximate`), at a cost that grows with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..retrieval.measurement import IndexRequest, Measurement
from .index_measurement import Asked, described

if TYPE_CHECKING:
    from ..arrays import FloatArray, IntArray
    from ..registry.records import IndexRecord
    from ..retrieval.base import ItemIndex

# A structure is trained anew when more than this share of it has changed, when its cells are more than this many times
# as slow as equal ones would be (and worse than they were when it was trained), or when it misses the recall wanted.
MOST_GROWTH = 0.25
MOST_IMBALANCE = 2.0
WORSE = 1.25


@dataclass(frozen=True)
class Grown:
    """An index brought up to other vectors, what the registry keeps of it, and why it was trained anew, if it was."""

    index: ItemIndex
    config: Mapping[str, Any]
    retrained: str | None


def grow(
    old: ItemIndex,
    config: Mapping[str, Any],
    vectors: FloatArray,
    item_ids: Sequence[str],
    old_rows: IntArray,
    asked: Asked,
) -> Grown:
    """An index of (N, D) vectors, of which row r is row `old_rows[r]` of the old one, or new where that is -1.

    `config` is what the registry keeps of the old one; `asked` are questions to the new one.
    """
    index = old.regrown(vectors, item_ids, old_rows)
    request = IndexRequest.model_validate({**config.get("requested", {}), "kind": old.index.kind})
    found = asked.sample.measured(index)
    why = retrain_due(index.index.state, config.get("trained", {}), found, request)
    if why is not None:
        return retrain(index, request, asked, why)
    state = dict(index.index.state)
    kept = {**described(index, found, asked, request, config.get("why")), "trained": config.get("trained", state)}
    return Grown(index, kept, None)


def retrain(index: ItemIndex, request: IndexRequest, asked: Asked, why: str) -> Grown:
    """The same kind trained over the vectors of an index as they are now, with the effort that the recall takes."""
    from ..retrieval.base import ItemIndex

    made = ItemIndex.build(index.vectors(), index.item_ids, index.space_fingerprint, index.index.kind)
    made = asked.sample.tuned(made, request.recall)
    config = described(made, asked.sample.measured(made), asked, request, f"trained anew: {why}")
    return Grown(made, config, why)


def retrain_due(
    state: Mapping[str, float], trained: Mapping[str, float], found: Measurement, request: IndexRequest
) -> str | None:
    """Why an index is to be trained anew; None where it is not."""
    if not state:  # it has nothing that is trained
        return None
    if state["growth"] > MOST_GROWTH:
        return f"{state['growth']:.0%} of what it was trained over has changed"
    imbalance = state.get("imbalance", 0.0)
    if imbalance > MOST_IMBALANCE and imbalance > WORSE * trained.get("imbalance", 0.0):
        return f"its cells are {imbalance:.1f} times as slow as equal ones"
    if found.recall < request.recall:
        return f"recall@10 {found.recall:.4f} < {request.recall:g}"
    return None


def stored_due(record: IndexRecord) -> str | None:
    """Why a stored index is to be trained anew, by what was measured of it; None where it is not, or nobody knows."""
    config = record.config
    if "measured" not in config:  # built before indexes were measured
        return None
    fields = {name: value for name, value in config["measured"].items() if name != "questions"}
    request = IndexRequest.model_validate(config["requested"])
    return retrain_due(config["state"], config["trained"], Measurement(**fields), request)
