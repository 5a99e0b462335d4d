"""Session-based nearest neighbours: what stands in the past sessions that are most like this one."""

from __future__ import annotations

import numpy as np

from ...arrays import FloatArray, IntArray
from ...catalog.sequences import Histories, Sequences


class SessionNeighbours:
    """Vector-multiplication session kNN (V-SKNN). Ludewig and Jannach, 2018.

    An item of the session weighs decay^age, age 0 for the last event. A past session's similarity is the sum of the
    weights of the items that it shares, over the square root of its number of distinct items. An item scores the sum
    of the similarities of the `neighbours` most similar past sessions that hold it, of equally similar ones the newest.
    For each of its `recent` items the newest `sample` past sessions are looked at.
    """

    name = "sknn"

    def __init__(
        self, sequences: Sequences, *, neighbours: int = 100, sample: int = 1000, decay: float = 0.8, recent: int = 10
    ) -> None:
        self._n_items = sequences.n_items
        self._neighbours = neighbours
        self._decay = decay
        self._recent = recent
        # Sessions are numbered from old to new, and each holds an item once.
        newest = np.argsort(sequences.timestamps[sequences.offsets[1:] - 1], kind="stable")
        place = np.empty(len(sequences), np.int64)
        place[newest] = np.arange(len(sequences))
        pairs = np.unique(np.repeat(place, sequences.lengths) * sequences.n_items + sequences.items)
        items, numbers = pairs % sequences.n_items, pairs // sequences.n_items
        by_session = np.argsort(numbers, kind="stable")
        self._sessions = _Lists(numbers[by_session], items[by_session], len(sequences))
        by_item = np.lexsort((-numbers, items))
        self._found = _Lists(items[by_item], numbers[by_item], self._n_items)
        self._sample = sample
        self._norms = 1 / np.sqrt(np.maximum(np.bincount(numbers, minlength=len(sequences)), 1))

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) sums of similarities."""
        scores = np.zeros((len(histories), self._n_items), np.float32)
        for b, history in enumerate(histories):
            weights: dict[int, float] = {}
            for age, item in enumerate(np.asarray(history)[-self._recent :][::-1].tolist()):
                weights.setdefault(item, self._decay**age)
            lists = [self._found[item][: self._sample] for item in weights]
            if not any(map(len, lists)):
                continue
            votes = np.repeat(list(weights.values()), [len(own) for own in lists])
            sessions, place = np.unique(np.concatenate(lists), return_inverse=True)
            similarities = np.bincount(place, weights=votes, minlength=len(sessions)) * self._norms[sessions]
            nearest = np.lexsort((-sessions, -similarities))[: self._neighbours]
            held = [self._sessions[session] for session in sessions[nearest].tolist()]
            votes = np.repeat(similarities[nearest].astype(np.float32), [len(items) for items in held])
            scores[b] = np.bincount(np.concatenate(held), weights=votes, minlength=self._n_items)
        return scores


class _Lists:
    """Ragged rows: `values` (M,) of `rows` (M,), which are sorted and lie in 0 to n - 1."""

    def __init__(self, rows: IntArray, values: IntArray, n: int) -> None:
        self._offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).tolist()
        self._values = values

    def __getitem__(self, row: int) -> IntArray:
        return self._values[self._offsets[row] : self._offsets[row + 1]]
