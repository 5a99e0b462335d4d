"""Whether an index is sound: its files, its items, its embedding space, and its vectors made once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import Record
from .index_loading import embed, load_index
from .models import prepare

if TYPE_CHECKING:
    from ..arrays import IntArray
    from ..retrieval.base import ItemIndex
    from .context import Context

# Items embedded again, and how far a vector may then be from the stored one.
CHECKED_ITEMS = 1000
TOLERANCE = 1e-4
# A structure over other vectors than those that it stands for finds next to nothing of what it should.
LEAST_RECALL = 0.5
NEIGHBOURS = 10


@dataclass(frozen=True)
class IndexCheck(Record):
    """What an inspection of an index found: one row per check, with `name`, `ok` and `detail`."""

    ref: str
    ok: bool
    checks: Sequence[Mapping[str, Any]]


def check_index(context: Context, ref: str) -> IndexCheck:
    """Inspect an index: checksums, sizes, finite vectors, the embedding space, and items embedded once more."""
    from .datasets import load_dataset

    prepare(context)
    loaded = load_index(context, context.registry.indexes.get(ref))  # checks the files' checksums
    record, vectors = loaded.record, loaded.index.vectors()
    dataset = load_dataset(context, record.domain, items=record.items, with_events=False)
    row_of = {item: row for row, item in enumerate(dataset.items["item_id"].to_list())}
    spaces = {loaded.index.space_fingerprint, record.space_fingerprint, loaded.spoke.space_fingerprint}
    # Spread over the catalog rather than drawn, so that a check that is repeated looks at the same items.
    rows = np.linspace(0, len(vectors) - 1, min(CHECKED_ITEMS, len(vectors))).astype(np.int64)
    again = embed(context, loaded, dataset, np.array([row_of[loaded.index.item_ids[row]] for row in rows]))
    gap = float(np.abs(again - vectors[rows]).max(initial=0.0)) if again.shape[1] == vectors.shape[1] else np.inf
    recall = _recall(loaded.index, rows)
    found = (
        # What loading it has found out already.
        ("checksums", True, "every file matches"),
        ("items", True, f"{len(vectors)} of {dataset.items.height}, in the order of the catalog"),
        ("finite", True, f"{vectors.shape[0]} x {vectors.shape[1]}"),
        ("search", recall >= LEAST_RECALL, f"{recall:.0%} of what comparing with every vector finds"),
        ("embedding space", len(spaces) == 1, " / ".join(sorted(own[:12] for own in spaces))),
        ("vectors", gap <= TOLERANCE, f"{len(rows)} items embedded again, largest difference {gap:.1e}"),
    )
    checks = [{"name": name, "ok": ok, "detail": detail} for name, ok, detail in found]
    return IndexCheck(record.ref, all(ok for _, ok, _ in found), checks)


def _recall(index: ItemIndex, rows: IntArray) -> float:
    """The share of the nearest neighbours of some items that searching finds."""
    from ..retrieval.exact import best_first, nearest

    vectors, k = index.vectors(), min(NEIGHBOURS, len(index))
    queries = np.ascontiguousarray(vectors[rows[:: max(1, len(rows) // 100)]])
    if not len(queries):
        return 1.0
    best = best_first(vectors, queries, nearest(vectors, queries, k))[1]  # (B, k), best first
    # Equal scores may stand for other items.
    enough = best[:, -1] - TOLERANCE * np.maximum(1.0, np.abs(best[:, 0]))
    found = np.array([[score for _, score in own] for own in index.search(queries, k)])
    return float((found >= enough[:, None]).mean())
