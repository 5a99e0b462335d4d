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
    from .context import Context

# Items embedded again, and how far a vector may then be from the stored one.
CHECKED_ITEMS = 64
TOLERANCE = 1e-4


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
    unknown = sum(item not in row_of for item in loaded.index.item_ids)
    spaces = {loaded.index.space_fingerprint, record.space_fingerprint, loaded.spoke.space_fingerprint}
    # Spread over the catalog rather than drawn, so that a check that is repeated looks at the same items.
    rows = np.linspace(0, len(vectors) - 1, min(CHECKED_ITEMS, len(vectors))).astype(np.int64)
    rows = rows[[loaded.index.item_ids[row] in row_of for row in rows]]
    again = embed(context, loaded, dataset, np.array([row_of[loaded.index.item_ids[row]] for row in rows]))
    gap = float(np.abs(again - vectors[rows]).max()) if len(rows) else 0.0
    found = (
        ("checksums", True, "every file matches"),
        ("items", unknown == 0 and len(vectors) == record.n_items, f"{len(vectors)} of {dataset.items.height}"),
        ("finite", bool(np.isfinite(vectors).all()), f"{vectors.shape[0]} x {vectors.shape[1]}"),
        ("embedding space", len(spaces) == 1, " / ".join(sorted(own[:12] for own in spaces))),
        ("vectors", gap <= TOLERANCE, f"{len(rows)} items embedded again, largest difference {gap:.1e}"),
    )
    checks = [{"name": name, "ok": ok, "detail": detail} for name, ok, detail in found]
    return IndexCheck(record.ref, all(ok for _, ok, _ in found), checks)
