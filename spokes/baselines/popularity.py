"""Popularity, of all time and of the last days: the same list for every session."""

from __future__ import annotations

import numpy as np

from ...arrays import FloatArray
from ...catalog.schema import TimeKind
from ...catalog.sequences import Histories, Sequences
from ..features.trend import span_counts


class Popularity:
    """Items by their number of training events."""

    name = "popularity"

    def __init__(self, sequences: Sequences) -> None:
        self._scores: FloatArray = sequences.item_counts().astype(np.float32)  # (N,)

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) the same for all."""
        return np.tile(self._scores, (len(histories), 1))


class RecentPopularity(Popularity):
    """Items by their number of events in the last days of training; where that ties, by all training events.

    A score is a place from the end, 0 for an item without events; items that tie in both counts share one. Timestamps
    that only count events up (`order`) know no days. All time then stands in for the last days, and `note` says so.
    """

    def __init__(self, sequences: Sequences, *, days: int = 7, time_kind: TimeKind = "real") -> None:
        super().__init__(sequences)
        self.name = f"popularity-{days}d"
        self.note = None
        if time_kind == "order":
            self.note = f"{self.name} counts all events: their timestamps are an order without days"
            return
        counts = np.stack([span_counts(sequences, days), sequences.item_counts()], axis=1)  # (N, 2)
        places = np.unique(counts, axis=0, return_inverse=True)[1].reshape(-1)
        # Places instead of counts: both counts in one float32 would lose the smaller one's digits.
        lowest = 0 if not len(counts) or counts.sum(axis=1).min() == 0 else 1
        self._scores = (places + lowest).astype(np.float32)
