"""What the recommended lists are like: how novel, diverse, surprising and true to a shopper's taste the top items are,
and which items are shown at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from .metrics import top_items

LIST_K = 10
NOVELTY = f"novelty@{LIST_K}"
DIVERSITY = f"diversity@{LIST_K}"
SERENDIPITY = f"serendipity@{LIST_K}"
CALIBRATION = f"calibration@{LIST_K}"
COLD_EXPOSURE = f"cold_exposure@{LIST_K}"
TAIL_EXPOSURE = f"tail_exposure@{LIST_K}"
GINI = f"gini@{LIST_K}"  # of all users together
# What a list is given of the shopper's own taste, so that a category it lacks costs no infinity (Steck, 2018).
SMOOTHING = 0.01


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


def expected_items(train_counts: IntArray, k: int = LIST_K) -> BoolArray:
    """(N,) the k items with the most training events, ties by row: what anybody would show; none without events."""
    most = np.argsort(-train_counts, kind="stable")[:k]
    expected = np.zeros(len(train_counts), np.bool_)
    expected[most[train_counts[most] > 0]] = True
    return expected


def serendipity(
    ranks: DoubleArray, users: IntArray, items: IntArray, expected: BoolArray, n_users: int, k: int = LIST_K
) -> DoubleArray:
    """(U,) share of each user's targets that are within k and not `expected` (N,); 0 where a user has no target.

    `ranks` (T,) are those of the target `items` (T,) of `users` (T,). After Ge et al., 2010: useful, and not what a
    primitive recommender shows anyway.
    """
    found = (ranks <= k) & ~expected[items]
    hits = np.bincount(users[found], minlength=n_users)
    return np.asarray(hits / np.maximum(np.bincount(users, minlength=n_users), 1))


def exposure(top: IntArray, slice_: BoolArray) -> DoubleArray:
    """(U,) share of each list's places (U, k), of which -1 is none, held by items of a slice (N,); 0 if empty."""
    shown = top >= 0
    return np.asarray((shown & slice_[np.maximum(top, 0)]).sum(axis=1) / np.maximum(shown.sum(axis=1), 1))


def miscalibration(histories: Sequence[IntArray], top: IntArray, categories: IntArray) -> DoubleArray:
    """(U,) KL(p || (1 - a) q + a p) in nats, p the categories of a history and q those of the list; a is `SMOOTHING`.

    `categories` (N,) number from 0, every item in one. 0 where a history or a list (U, k) is empty: nothing to differ.
    Steck, RecSys 2018.
    """
    found = np.zeros(len(top))
    for row, history in enumerate(histories):
        shown = top[row][top[row] >= 0]
        if not len(history) or not len(shown):
            continue
        taken, times = np.unique(categories[history], return_counts=True)
        p = times / len(history)
        q = (categories[shown][:, None] == taken).mean(axis=0)
        found[row] = max(0.0, float((p * np.log(p / ((1 - SMOOTHING) * q + SMOOTHING * p))).sum()))
    return found


def unit_content(content: FloatArray) -> FloatArray:
    """(N, R) content vectors scaled to length one; zero stays zero."""
    lengths = np.linalg.norm(content, axis=1, keepdims=True)
    return np.where(lengths > 0, content / np.where(lengths > 0, lengths, 1), 0.0).astype(np.float32)
