"""Items that were met together: the matrix behind item-to-item collaborative filtering, and what it says of a session.

Linden et al., 2003.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import Histories, Sequences, co_engaged_pairs

WINDOW = 10
SHRINKAGE = 5.0
DECAY = 0.8
RECENT = 10


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A sparse item-item matrix: row i holds `items[offsets[i]:offsets[i + 1]]` in order, each with its similarity.

    similarity(i, j) = c_ij / (sqrt(c_i * c_j) + shrinkage), with c_ij the number of times i and j stand at most
    `window` events apart in one sequence, and c_i the number of events of i.
    """

    offsets: IntArray  # (N + 1,)
    items: IntArray  # (M,)
    values: FloatArray  # (M,)

    @classmethod
    def fit(cls, sequences: Sequences, window: int = WINDOW, shrinkage: float = SHRINKAGE) -> Neighbours:
        """Count over all sequences."""
        n = sequences.n_items
        left, right = co_engaged_pairs(sequences, window).T
        pairs, counts = np.unique(np.concatenate([left * n + right, right * n + left]), return_counts=True)
        left, right = pairs // n, pairs % n
        events = sequences.item_counts().astype(np.float64)
        values = (counts / (np.sqrt(events[left] * events[right]) + shrinkage)).astype(np.float32)
        return cls(_offsets(left, n), right, values)

    @property
    def n_items(self) -> int:
        """Rows of the matrix, N."""
        return len(self.offsets) - 1

    def nearest(self, at_most: int) -> Neighbours:
        """The same with the `at_most` most similar of each row; of equal ones the first."""
        left = self._left()
        order = np.lexsort((self.items, -self.values, left))
        place = np.arange(len(order)) - self.offsets[:-1][left[order]]
        kept = np.sort(order[place < at_most])
        return Neighbours(_offsets(left[kept], self.n_items), self.items[kept], self.values[kept])

    def onto(self, rows: IntArray, n_items: int) -> Neighbours:
        """The same matrix for another catalog of `n_items`: `rows` (N,) says where each item is there, -1 for gone."""
        left, right = rows[self._left()], rows[self.items]
        both = np.flatnonzero((left >= 0) & (right >= 0))
        both = both[np.lexsort((right[both], left[both]))]
        return Neighbours(_offsets(left[both], n_items), right[both], self.values[both])

    def around(self, history: IntArray, decay: float = DECAY, recent: int = RECENT) -> tuple[IntArray, FloatArray]:
        """The (m,) rows, in order, that the last items of a history were met with, and their summed similarities.

        An item weighs decay^age, age 0 for the last event.
        """
        last = history[-recent:][::-1]
        spans = [slice(self.offsets[item], self.offsets[item + 1]) for item in last.tolist()]
        if not spans:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        found = np.concatenate([self.items[span] for span in spans])
        weighed = [np.float32(decay**age) * self.values[span] for age, span in enumerate(spans)]
        rows, place = np.unique(found, return_inverse=True)
        return rows, np.bincount(place, np.concatenate(weighed), len(rows)).astype(np.float32)

    def scores(self, histories: Histories, decay: float = DECAY, recent: int = RECENT) -> FloatArray:
        """(B, N) the same for every row of the catalog, zero for what was never met."""
        scores = np.zeros((len(histories), self.n_items), np.float32)
        for own, history in zip(scores, histories, strict=True):
            rows, values = self.around(np.asarray(history), decay, recent)
            own[rows] = values
        return scores

    def _left(self) -> IntArray:
        """(M,) the row of each entry."""
        return np.repeat(np.arange(self.n_items), np.diff(self.offsets))


def _offsets(rows: IntArray, n: int) -> IntArray:
    """(N + 1,) where each row of sorted `rows` begins."""
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)
