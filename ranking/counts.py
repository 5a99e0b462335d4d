"""What shoppers did with every item up to a moment, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray, IntArray
from ..catalog.parsing import DAY_US
from ..catalog.sequences import Sequences

Number = TypeVar("Number", np.int64, np.float32)
# Last days whose events are counted beside those of all time.
WINDOWS = (28, 7)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts over N items; times are microseconds, and say nothing where events have only an order."""

    moment: int  # of the newest event that is counted
    dated: bool  # whether events have times
    taken: IntArray  # (N, 1 + W) events of each item: of all time, and of each of the last `WINDOWS`
    first: IntArray  # (N,) time of an item's first event, and of its last; 0 without any
    last: IntArray
    again: FloatArray  # (N,) share of an item's events by a shopper who had taken it before

    @classmethod
    def of(cls, sequences: Sequences, dated: bool) -> Counts:
        """Count all events of these sequences."""
        n, items, times = sequences.n_items, sequences.items, sequences.timestamps
        moment = sequences.newest or 0
        all_time = sequences.item_counts()
        lately = [np.bincount(items[times > moment - days * DAY_US], minlength=n) for days in WINDOWS]
        first, last = np.full(n, np.iinfo(np.int64).max), np.zeros(n, np.int64)
        np.minimum.at(first, items, times)
        np.maximum.at(last, items, times)
        shoppers = np.repeat(sequences.users, sequences.lengths)
        distinct = np.bincount(np.unique(shoppers * n + items) % n, minlength=n)
        again = (all_time - distinct) / np.maximum(all_time, 1)
        taken = np.stack([all_time, *lately], axis=1).astype(np.int64)
        return cls(moment, dated, taken, np.where(all_time > 0, first, 0), last, again.astype(np.float32))

    def onto(self, rows: IntArray, n_items: int) -> Counts:
        """The same for another catalog of `n_items`: `rows` (N,) says where each item is there, -1 for gone."""
        here = np.flatnonzero(rows >= 0)

        def moved(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
            made = np.zeros((n_items, *values.shape[1:]), values.dtype)
            made[rows[here]] = values[here]
            return made

        times = moved(self.first), moved(self.last)
        return Counts(self.moment, self.dated, moved(self.taken), *times, moved(self.again))

    @property
    def popular(self) -> IntArray:
        """(n,) rows of items with an event, most taken of the shortest window first, then of the next and of all."""
        keys = self.taken if self.dated else self.taken[:, :1]
        # The last key of lexsort decides first, and equal ones stay by row.
        order = np.lexsort(tuple(-keys.T)).astype(np.int64)
        found: IntArray = order[self.taken[order, 0] > 0]
        return found
