"""The recommender interface: every system, learned or counted, scores a catalog for a batch of sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class VectorRecommender:
    """Inner products of item vectors and session vectors, what an index computes, and what is said of single items."""

    name: str
    item_vectors: FloatArray  # (N, D)
    encode: Callable[[Histories], FloatArray]  # makes the (B, D) session vectors
    hide: Callable[[IntArray | History], IntArray] | None = None  # items of a history that score -inf after it
    # Rows that a history gives more, (M,) each once, and how much.
    lift: Callable[[IntArray | History], tuple[IntArray, FloatArray]] | None = None

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) inner products and what stands beside them."""
        scores: FloatArray = self.encode(histories) @ self.item_vectors.T
        if self.lift is not None:
            for own, history in zip(scores, histories, strict=True):
                rows, values = self.lift(history)
                own[rows] += values
        if self.hide is not None:
            for own, history in zip(scores, histories, strict=True):
                own[self.hide(history)] = -np.inf
        return scores
