"""product2vec: skip-gram with negative sampling over sessions, the items of a session in the place of words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray, IntArray
from ...catalog.sequences import Histories, Sequences, co_engaged_pairs
from ...hub.calibration import unit_rows
from ...hub.reading import recency_weighted


@dataclass(frozen=True)
class SkipGram:
    """How vectors are trained."""

    dimension: int = 64
    window: int = 5  # items at most this many events apart in a session predict each other
    negatives: int = 5  # weight of the negatives relative to one pair
    drawn: int = 64  # negatives drawn for a batch, by (events)^power, and shared by its pairs
    power: float = 0.75
    epochs: int = 10
    batch: int = 2048  # pairs in a step
    learning_rate: float = 0.25  # of Adagrad, one accumulator per vector
    seed: int = 0  # of the first vectors, the order and the negatives


class Product2Vec:
    """Sessions and items as vectors of one space. Grbovic et al., 2015, after Mikolov et al., 2013.

    A session is the recency-weighted mean of its last items' vectors, each of length one; an item's score is their
    cosine. Items without a neighbour in training have no vector and score 0.
    """

    name = "product2vec"

    def __init__(
        self, sequences: Sequences, *, settings: SkipGram | None = None, decay: float = 0.6, recent: int = 5
    ) -> None:
        self._decay = decay
        self._recent = recent
        self.item_vectors = train_skip_gram(sequences, settings or SkipGram())  # (N, D)

    def score(self, histories: Histories) -> FloatArray:
        """(B, N) cosines."""
        sessions = recency_weighted(self.item_vectors, histories, self._decay, self._recent)
        return np.asarray(sessions @ self.item_vectors.T)


def train_skip_gram(sequences: Sequences, settings: SkipGram) -> FloatArray:
    """(N, D) vectors of length one; zero for an item that no pair holds. The same on every run with one seed."""
    n, d = sequences.n_items, settings.dimension
    rng = np.random.default_rng(settings.seed)
    pairs = co_engaged_pairs(sequences, settings.window)  # (P, 2)
    centres = AdagradTable(((rng.random((n, d), np.float32) - 0.5) / d).astype(np.float32), settings.learning_rate)
    contexts = AdagradTable(np.zeros((n, d), np.float32), settings.learning_rate)
    weights = np.bincount(pairs.reshape(-1), minlength=n).astype(np.float64) ** settings.power
    chances = np.cumsum(weights)
    for _ in range(settings.epochs if len(pairs) else 0):
        order = rng.permutation(len(pairs))
        for start in range(0, len(order), settings.batch):
            chosen = pairs[order[start : start + settings.batch]]
            # Each item of a pair predicts the other.
            centre, context = np.concatenate([chosen, chosen[:, ::-1]]).T
            drawn = np.searchsorted(chances, rng.random(settings.drawn) * chances[-1], side="right")
            u, v, noise = centres.vectors[centre], contexts.vectors[context], contexts.vectors[drawn]
            # A negative that is the very item to be predicted teaches nothing.
            counted = (drawn[None] != context[:, None]) * np.float32(settings.negatives / len(drawn))
            for_u, for_v, for_noise = skip_gram_gradients(u, v, noise, counted)
            centres.descend(centre, for_u)
            contexts.descend(np.concatenate([context, drawn]), np.concatenate([for_v, for_noise]))
    met = np.bincount(pairs.reshape(-1), minlength=n) > 0
    return np.where(met[:, None], unit_rows(centres.vectors), 0.0).astype(np.float32)


class AdagradTable:
    """Vectors (N, D) with one Adagrad accumulator each. Duchi et al., 2011."""

    def __init__(self, vectors: FloatArray, learning_rate: float) -> None:
        self.vectors = vectors
        self._rate = learning_rate
        self._squares = np.zeros(len(vectors), np.float32)

    def descend(self, rows: IntArray, gradients: FloatArray) -> None:
        """One step along minus the gradients (P, D) of `rows` (P,), those of a repeated row summed first."""
        order = np.argsort(rows, kind="stable")
        own, starts = np.unique(rows[order], return_index=True)
        summed = np.add.reduceat(gradients[order], starts, axis=0)
        self._squares[own] += (summed**2).mean(axis=1)
        self.vectors[own] -= self._rate * summed / np.sqrt(self._squares[own] + 1e-10)[:, None]


def skip_gram_gradients(
    u: FloatArray, v: FloatArray, noise: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gradients of sum_p [-log s(u_p . v_p) - sum_k w_pk log s(-u_p . n_k)] by u, v and n, s the logistic function.

    u (P, D) are the items that predict, v (P, D) those that are predicted, `noise` (K, D) the negatives, and `weights`
    (P, K) how much each of them counts for each pair.
    """
    pull: FloatArray = _logistic((u * v).sum(axis=1)) - 1  # (P,)
    push: FloatArray = weights * _logistic(u @ noise.T)  # (P, K)
    return pull[:, None] * v + push @ noise, pull[:, None] * u, push.T @ u


def _logistic(x: FloatArray) -> FloatArray:
    return np.asarray(np.reciprocal(1 + np.exp(-np.clip(x, -30, 30))))
