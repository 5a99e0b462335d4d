"""Item-to-item collaborative filtering: what was met together with the last items of the session."""

from __future__ import annotations

import numpy as np

from ...arrays import FloatArray
from ...catalog.sequences import Histories, Sequences, co_engaged_pairs


class ItemToItem:
    """Item-to-item collaborative filtering: cosine of co-occurrence within sequences. Linden et al., 2003.

    similarity(i, j) = c_ij / (sqrt(c_i * c_j) + shrinkage), with c_ij the number of times i and j stand at most
    `window` events apart in one sequence, and c_i the number of events of i. A session scores the recency-weighted sum
    of its items' similarities.
    """

    name = "item-cf"

    def __init__(
        self, sequences: Sequences, *, window: int = 10, shrinkage: float = 5.0, decay: float = 0.8, recent: int = 10
    ) -> None:
        self._n_items = n = sequences.n_items
        self._decay = decay
        self._recent = recent
        # Rows of the item-item similarity matrix: offsets (N + 1,), neighbours (M,), values (M,).
        left, right = co_engaged_pairs(sequences, window).T
        pairs, counts = np.unique(np.concatenate([left * n + right, right * n + left]), return_counts=True)
        left, self._neighbours = pairs // n, pairs % n
        events = sequences.item_counts().astype(np.float64)
        self._values = (counts / (np.sqrt(events[left] * events[self._neighbours]) + shrinkage)).astype(np.float32)
        self._offsets = np.concatenate([[0], np.cumsum(np.bincount(left.astype(np.int64), minlength=n))])

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) recency-weighted sums of similarities."""
        scores = np.zeros((len(histories), self._n_items), np.float32)
        for b, history in enumerate(histories):
            for age, item in enumerate(np.asarray(history)[-self._recent :][::-1]):
                row = slice(self._offsets[item], self._offsets[item + 1])
                # A row names each neighbour once, so plain indexed addition is safe.
                scores[b, self._neighbours[row]] += self._decay**age * self._values[row]
        return scores
