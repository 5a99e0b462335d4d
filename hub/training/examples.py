"""What encoders learn from in one category: pairs that content can explain, hard negatives, two views of an item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from ...arrays import BoolArray, FloatArray, IntArray
from ..adapters.states import ItemStates
from ..content import ContentSpace
from ..fusion import EncodedItems

# Scores of items over a catalog that are held at once.
MAX_SCORES = 4_000_000


@dataclass(frozen=True)
class EncoderExamples:
    """N items of one category, with the states before the layers that are trained."""

    encoded: EncodedItems
    space: ContentSpace  # of the whole catalog before the training
    pairs: IntArray  # (P, 2) items that belong together
    known: IntArray  # (K, 2) all pairs of items that shoppers met together, which are no negatives of each other
    leaves: IntArray  # (N,) number of the item's leaf category
    views: tuple[ItemStates, ItemStates] | None = None  # the two views of each item, where they are learned from

    @cached_property
    def viewed(self) -> IntArray:
        """Items that have two views."""
        return np.flatnonzero(np.diff(self.views[0].items) > 0) if self.views else np.zeros(0, np.int64)

    @cached_property
    def _partners(self) -> IntArray:
        """The known pairs in both directions, a number each, in order."""
        n = len(self.encoded)
        return np.unique(np.concatenate([self.known @ (n, 1), self.known @ (1, n)]))

    @cached_property
    def _by_leaf(self) -> IntArray:
        """(N,) items, leaf by leaf."""
        return np.argsort(self.leaves, kind="stable")

    def hard_negatives(self, items: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        """`count` items for each of some, one after the other, drawn from their leaf categories."""
        ordered, asked = self.leaves[self._by_leaf], np.repeat(self.leaves[items], count)
        begin, end = np.searchsorted(ordered, asked), np.searchsorted(ordered, asked, side="right")
        return self._by_leaf[rng.integers(begin, end)]

    def false_negatives(self, anchors: IntArray, candidates: IntArray) -> BoolArray:
        """(B, C) true where a candidate is the anchor, or one that shoppers met together with it."""
        n = len(self.encoded)
        codes = anchors[:, None] * n + candidates[None, :]
        place = np.searchsorted(self._partners, codes)
        met = self._partners[np.minimum(place, len(self._partners) - 1)] == codes if len(self._partners) else False
        return np.asarray(met | (anchors[:, None] == candidates[None, :]), np.bool_)


def explainable(pairs: IntArray, content: FloatArray, share: float) -> IntArray:
    """The pairs (P, 2) whose partners are among the `share` of (N, R) content that lies nearest to the first item."""
    if share >= 1.0 or not len(pairs):
        return pairs
    limit, near = max(1, int(share * len(content))), np.zeros(len(pairs), np.bool_)
    block = max(1, MAX_SCORES // len(content))
    for start in range(0, len(pairs), block):
        first, second = pairs[start : start + block].T
        scores = content[first] @ content.T  # (b, N)
        own = scores[np.arange(len(first)), second]
        # The item itself lies nearest and does not count.
        near[start : start + block] = (scores > own[:, None]).sum(axis=1) - 1 < limit
    return pairs[near]


def drawn_items(pairs: IntArray, at_most: int, rng: np.random.Generator) -> IntArray:
    """The items of randomly drawn pairs (P, 2), `at_most` of them, in order: those met often are drawn often."""
    mixed = rng.permuted(rng.permutation(pairs), axis=1).ravel()
    items, first = np.unique(mixed, return_index=True)
    return np.sort(items[np.argsort(first)[:at_most]])


def among(pairs: IntArray, items: IntArray) -> IntArray:
    """The pairs of which both items are among some in order, as places in these."""
    places = np.minimum(np.searchsorted(items, pairs), max(0, len(items) - 1))
    kept = (items[places] == pairs).all(axis=1) if len(items) else np.zeros(len(pairs), np.bool_)
    found: IntArray = places[kept]
    return found


def leaf_numbers(items: pl.DataFrame) -> IntArray:
    """(N,) a number for each leaf category; items without a path have one together."""
    if "category_path" not in items.columns:
        return np.zeros(items.height, np.int64)
    paths = [tuple(path or ()) for path in items["category_path"].to_list()]
    numbers = {path: number for number, path in enumerate(sorted(set(paths)))}
    return np.array([numbers[path] for path in paths], np.int64)
