"""Named groups: items by events in training, category, brand and price, users by the length of their histories.

A slice restricts the targets, never the ranking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from ..arrays import BoolArray, DoubleArray, IntArray

Slice = Literal["all", "cold", "zero_shot", "warm", "head", "torso", "tail"]
SLICES: tuple[str, ...] = get_args(Slice)
# What the words before a colon are, as in `category:Pots`: slices by what a catalog says, and by the history.
CATEGORY, BRAND, PRICE, LENGTH = "category", "brand", "price", "length"
# The most common values of a column have slices of their own; so many of each.
VALUES = 10
# A registry keeps names of slices up to this length.
NAME_LENGTH = 60
PRICE_BANDS = 5
# Where a longer history begins: 1 to 4 events, 5 to 9, ...
LENGTHS = (1, 5, 10, 20, 50)


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


def value_slices(kind: str, values: Sequence[str | None], most: int = VALUES) -> dict[str, BoolArray]:
    """Masks (N,) of the items of each of the `most` common values (N,), the most common first; equal ones by name."""
    counts = Counter(value for value in values if value)
    common = sorted(counts, key=lambda value: (-counts[value], value))[:most]
    told = np.array([value or "" for value in values], dtype=object)
    found: dict[str, BoolArray] = {}
    for value in common:
        # Two long values may share their beginning; then they share a slice.
        name = f"{kind}:{value}"[:NAME_LENGTH]
        own = np.asarray(told == value, np.bool_)
        found[name] = found[name] | own if name in found else own
    return found


def price_bands(prices: DoubleArray, bands: int = PRICE_BANDS) -> IntArray:
    """(N,) fifth of the known prices that each price (N,) lies in, 0 the cheapest; -1 where a price is not known (NaN).

    Equal prices are in one band, so that bands may differ in size.
    """
    known = ~np.isnan(prices)
    found = np.full(len(prices), -1, np.int64)
    if known.any():
        edges = np.quantile(prices[known], np.arange(1, bands) / bands)
        found[known] = np.searchsorted(edges, prices[known], side="left")
    return found


def price_slices(bands: IntArray) -> dict[str, BoolArray]:
    """Masks (N,) of the items of each band that holds any, `price:1` the cheapest."""
    return {f"{PRICE}:{band + 1}": bands == band for band in range(PRICE_BANDS) if (bands == band).any()}


def length_slices(lengths: IntArray) -> dict[str, BoolArray]:
    """Masks (U,) of the users by the events of their histories (U,), such as `length:5-9`; empty ones are left out."""
    ends = [*(start - 1 for start in LENGTHS[1:]), None]
    masks: Mapping[str, BoolArray] = {
        f"{LENGTH}:{start}+" if end is None else f"{LENGTH}:{start}-{end}": (
            lengths >= start if end is None else (lengths >= start) & (lengths <= end)
        )
        for start, end in zip(LENGTHS, ends, strict=True)
    }
    return {name: mask for name, mask in masks.items() if mask.any()}
