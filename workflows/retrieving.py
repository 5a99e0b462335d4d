"""The first stage of a list: what an index finds for a shopper, with what the shopper's past gives some rows."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from ..retrieval.base import ItemIndex
from ..retrieval.caps import Scored, best_first
from ..retrieval.exact import rounded

# Rows that a shopper's past gives more, and how much: (M,) each.
Lifted = tuple[IntArray, FloatArray]


@dataclass(frozen=True)
class Retriever:
    """An index asked for as much of its ranking as a list reads: the same ranking, however much that is."""

    index: ItemIndex

    def scores(self, query: FloatArray, rows: IntArray, lifted: Lifted | None = None) -> DoubleArray:
        """(n,) scores of some rows for a (D,) session vector, with what the shopper's past gives them."""
        from ..spokes.repeats import given_to

        found = self.index.scores(query, rows)
        return found if lifted is None else rounded(found + given_to(rows, lifted))

    def ranked(
        self, query: FloatArray, k: int, allowed: BoolArray, barred: set[int], lifted: Lifted | None = None
    ) -> Iterator[Scored]:
        """(N,) allowed rows that are not barred, best first; `k` is how many are likely to be read."""
        if lifted is None or not len(lifted[0]):
            return self._searched(query, k, allowed, barred)
        # What the shopper took before is scored by itself, and the index is asked for the rest.
        own = np.array([row for row in lifted[0].tolist() if allowed[row] and row not in barred], np.int64)
        taken = list(zip(own.tolist(), self.scores(query, own, lifted).tolist(), strict=True))
        rest = self._searched(query, k, allowed, barred.union(own.tolist()))
        return heapq.merge(sorted(taken, key=best_first), rest, key=best_first)

    def _searched(self, query: FloatArray, k: int, allowed: BoolArray, barred: set[int]) -> Iterator[Scored]:
        # Most lists are full at once, so more than `k` is looked for only where caps use it up. The longer list of an
        # index begins with the shorter one.
        given = 0
        while True:
            found = self.index.search(query[None], k, allowed, barred)[0]
            yield from found[given:]
            if len(found) < k:
                return
            given, k = len(found), 2 * k
