"""Named groups of items by events in training; a slice restricts the targets, never the ranking."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..arrays import BoolArray, IntArray

Slice = Literal["all", "cold", "zero_shot", "warm", "head", "torso", "tail"]


def item_slices(train_counts: IntArray, cold_threshold: int = 5) -> dict[str, BoolArray]:
    """Masks (N,) over the catalog by training events (N,), in the order of `Slice`.

    all; cold (fewer than `cold_threshold` training events, zero-shot items among them); zero_shot (none); warm (not
    cold); head (the tenth of the items with the most training events, ties by row), torso (the next four tenths),
    tail (the rest). An item without training events is always tail. Sizes are rounded up.
    """
    n_items = len(train_counts)
    place = np.empty(n_items, dtype=np.int64)
    place[np.argsort(-train_counts, kind="stable")] = np.arange(n_items)
    # A young catalog may lack events for a whole tenth; what nobody has met is not popular by its place.
    seen = train_counts > 0
    head = seen & (place < -(-n_items // 10))
    torso = seen & ~head & (place < -(-n_items // 2))
    return {
        "all": np.ones(n_items, dtype=np.bool_),
        "cold": train_counts < cold_threshold,
        "zero_shot": ~seen,
        "warm": train_counts >= cold_threshold,
        "head": head,
        "torso": torso,
        "tail": ~(head | torso),
    }
