"""What the recommended lists are like, whoever they are right for: how novel and how diverse the top items are."""

from __future__ import annotations

import numpy as np

from ..arrays import DoubleArray, FloatArray, IntArray
from .metrics import top_items

LIST_K = 10
NOVELTY = f"novelty@{LIST_K}"
DIVERSITY = f"diversity@{LIST_K}"


def best_of(scores: FloatArray, top: IntArray, k: int = LIST_K) -> IntArray:
    """The k best (B, k) of a longer list of best items (B, K): `top_items(scores, k)` without another look at all."""
    # Looking at 100 places instead of N items: the long list is there already, for coverage.
    own = np.where(top < 0, -np.inf, np.take_along_axis(scores, np.maximum(top, 0), axis=1))  # (B, K)
    places = top_items(own, k)
    return np.where(places < 0, -1, np.take_along_axis(top, np.maximum(places, 0), axis=1))


def surprise(train_counts: IntArray) -> DoubleArray:
    """(N,) bits of self-information of meeting an item in training: -log2((c_i + 1) / (sum of c + N)).

    The added one keeps an item without events finite; the shares still sum to one.
    """
    shares = (train_counts + 1) / (train_counts.sum() + len(train_counts))
    return np.asarray(-np.log2(shares))


def novelty(top: IntArray, bits: DoubleArray) -> DoubleArray:
    """(U,) mean `surprise` of each list's items (U, k), of which -1 is none; 0 for an empty list. Zhou et al., 2010."""
    shown = top >= 0
    total = np.where(shown, bits[np.maximum(top, 0)], 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(shown.sum(axis=1), 1))


def diversity(top: IntArray, content: FloatArray) -> DoubleArray:
    """(U,) 1 - mean cosine of the content of each list's pairs of items; 0 where there is none. Ziegler et al., 2005.

    Items in `top` (U, k) are -1 for an empty place; content vectors (N, R) have length one, or zero for an item without
    content, which is like no other.
    """
    shown = top >= 0
    vectors = np.where(shown[:, :, None], content[np.maximum(top, 0)], 0.0).astype(np.float64)  # (U, k, R)
    # |sum of v|^2 holds every pair twice beside each vector with itself.
    twice = (vectors.sum(axis=1) ** 2).sum(axis=1) - (vectors**2).sum(axis=(1, 2))
    length = shown.sum(axis=1)
    pairs = length * (length - 1)
    return np.where(pairs > 0, 1 - twice / np.maximum(pairs, 1), 0.0)


def unit_content(content: FloatArray) -> FloatArray:
    """(N, R) content vectors scaled to length one; zero stays zero."""
    lengths = np.linalg.norm(content, axis=1, keepdims=True)
    return np.where(lengths > 0, content / np.where(lengths > 0, lengths, 1), 0.0).astype(np.float32)
