"""The recommender interface: every system, learned or counted, scores a catalog for a batch of sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import Histories, History


class Recommender(Protocol):
    """Anything that ranks a catalog of N items for a session."""

    @property
    def name(self) -> str:
        """How results name it."""

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) scores, higher is better, for B histories of item rows, oldest first; an empty history is allowed."""


class VectorRecommender:
    """Inner products of (N, D) item vectors and the (B, D) session vectors that `encode` makes: what an index computes.

    What `hide` picks of a history is never recommended after it and scores minus infinity.
    """

    def __init__(
        self,
        name: str,
        item_vectors: FloatArray,
        encode: Callable[[Histories], FloatArray],
        hide: Callable[[IntArray | History], IntArray] | None = None,
    ) -> None:
        self.name = name
        self.item_vectors = item_vectors
        self._encode = encode
        self._hide = hide

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) inner products."""
        scores: FloatArray = self._encode(histories) @ self.item_vectors.T
        if self._hide is not None:
            for own, history in zip(scores, histories, strict=True):
                own[self._hide(history)] = -np.inf
        return scores
