"""Item-to-item collaborative filtering: what was met together with the last items of the session."""

from __future__ import annotations

from ...arrays import FloatArray
from ...catalog.sequences import Histories, Sequences
from ...ranking.neighbours import DECAY, RECENT, SHRINKAGE, WINDOW, Neighbours


class ItemToItem:
    """Item-to-item collaborative filtering: cosine of co-occurrence within sequences. Linden et al., 2003.

    A session scores the recency-weighted sum of its items' similarities (see `Neighbours`).
    """

    name = "item-cf"

    def __init__(
        self,
        sequences: Sequences,
        *,
        window: int = WINDOW,
        shrinkage: float = SHRINKAGE,
        decay: float = DECAY,
        recent: int = RECENT,
    ) -> None:
        self._neighbours = Neighbours.fit(sequences, window, shrinkage)
        self._decay = decay
        self._recent = recent

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) recency-weighted sums of similarities."""
        return self._neighbours.scores(histories, self._decay, self._recent)
