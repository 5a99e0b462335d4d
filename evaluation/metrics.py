"""Ranking metrics by user, over the whole catalog and exact under ties.

Nothing here samples: a rank counts every item of the catalog, and tied items share the mean of the places they hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import AnyFloatArray, BoolArray, DoubleArray, IntArray
from ..errors import InvalidDataError

KS = (10, 20, 100)
COVERAGE_K = 100
# Target rows are compared with the catalog in blocks of at most this many scores, so that memory stays flat.
_MAX_CELLS = 1 << 24


def target_ranks(scores: AnyFloatArray, rows: IntArray, targets: IntArray) -> DoubleArray:
    """Rank of each target among all items: 1 + (strictly higher scores) + (ties with others) / 2.

    Of `scores` (B, N), `rows` (T,) are those that the `targets` (T,) are ranked in. An item at -inf is filtered out:
    it takes no place above a target with a finite score, and as a target has rank inf.
    """
    if np.isnan(scores).any():
        raise InvalidDataError(
            f"{int(np.isnan(scores).sum())} of {scores.size} scores are NaN; "
            "check the recommender's vectors before evaluating it."
        )
    own = scores[rows, targets]
    ranks = np.empty(len(rows))
    # Every target against every item, rather than a sort: ties must be counted, and most users have one target.
    step = max(1, _MAX_CELLS // max(1, scores.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        block, mine = scores[rows[part]], own[part, None]  # (t, N), (t, 1)
        higher = np.count_nonzero(block > mine, axis=1)
        ties = np.count_nonzero(block == mine, axis=1) - 1
        ranks[part] = 1 + higher + ties / 2
    ranks[np.isneginf(own)] = np.inf
    return ranks


def user_metrics(ranks: DoubleArray, users: IntArray, n_users: int, ks: Sequence[int] = KS) -> dict[str, DoubleArray]:
    """Metrics of each user from the ranks of that user's targets.

    HR@k: any target within k. Recall@k: share of the targets within k. NDCG@k: binary relevance, sum of
    1 / log2(1 + rank) over the targets within k, over the same sum for an ideal ranking of min(k, targets) hits.
    MRR: 1 / best rank. With one target HR = Recall and all are the usual next-item metrics.

    `ranks` (T,) are of the targets of `users` (T,), 0 to U - 1, each of whom has at least one; values are (U,).
    """
    totals = np.bincount(users, minlength=n_users)
    if n_users and totals.min() == 0:
        raise InvalidDataError(f"{int((totals == 0).sum())} of {n_users} users have no target; leave them out first.")
    gains = 1 / np.log2(1 + ranks)
    hits = {k: np.bincount(users[ranks <= k], minlength=n_users) for k in ks}
    result = {f"hr@{k}": (hits[k] > 0).astype(np.float64) for k in ks}
    result |= {f"recall@{k}": hits[k] / totals for k in ks}
    result |= {f"ndcg@{k}": _ndcg(gains, ranks, users, totals, k) for k in ks}
    best = np.full(n_users, np.inf)
    np.minimum.at(best, users, ranks)
    return result | {"mrr": 1 / best}


def _ndcg(gains: DoubleArray, ranks: DoubleArray, users: IntArray, totals: IntArray, k: int) -> DoubleArray:
    within = ranks <= k
    dcg = np.bincount(users[within], weights=gains[within], minlength=len(totals))
    ideal = np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))[np.minimum(totals, k) - 1]
    # More than k targets of one user may tie just inside k; their shared places can then add up to more than k hits.
    ndcg: DoubleArray = np.minimum(dcg / ideal, 1.0)
    return ndcg


def top_items(scores: AnyFloatArray, k: int = COVERAGE_K) -> IntArray:
    """The k best items (B, k) of every row of scores (B, N), in row order of the catalog; -1 where one is filtered out.

    Ties at the edge go to the lower item row.
    """
    n_items = scores.shape[1]
    k = min(k, n_items)
    # The k-th score parts what is in from what is out in linear time; the order within the list does not matter.
    edge = np.partition(scores, n_items - k, axis=1)[:, n_items - k, None]  # (B, 1)
    chosen = scores > edge
    at_edge = scores == edge
    wanted = k - chosen.sum(axis=1)
    for row in np.flatnonzero(at_edge.sum(axis=1) > wanted):
        at_edge[row, np.flatnonzero(at_edge[row])[wanted[row] :]] = False
    items = np.nonzero(chosen | at_edge)[1].reshape(len(scores), k)
    return np.where(np.isneginf(np.take_along_axis(scores, items, axis=1)), -1, items)


def covered_items(top: IntArray, n_items: int) -> BoolArray:
    """(N,) whether an item stands in any of the lists `top` (U, k); negative entries are empty places."""
    covered = np.zeros(n_items, dtype=np.bool_)
    covered[top[top >= 0]] = True
    return covered
