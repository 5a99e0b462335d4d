"""Ranking metrics by user, over the whole catalog; tied items share the mean of the places they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import AnyFloatArray, DoubleArray, IntArray
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
    # A rank among sampled items would be cheaper, but orders systems otherwise (Krichene and Rendle, 2020).
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


@dataclass(frozen=True)
class Hits:
    """Where T targets of U users were found."""

    ranks: DoubleArray  # (T,)
    users: IntArray  # (T,) 0 to U - 1
    totals: IntArray  # (U,) targets of each user, at least one

    def within(self, k: int) -> IntArray:
        """(U,) targets of each user among the first k."""
        return np.bincount(self.users[self.ranks <= k], minlength=len(self.totals))


def _ndcg(found: Hits, k: int) -> DoubleArray:
    """Binary relevance: sum of 1 / log2(1 + rank) over the targets within k, over that of min(k, targets) hits."""
    inside = found.ranks <= k
    gains = 1 / np.log2(1 + found.ranks[inside])
    dcg = np.bincount(found.users[inside], weights=gains, minlength=len(found.totals))
    ideal = np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))[np.minimum(found.totals, k) - 1]
    # More than k targets of one user may tie just inside k; their shared places can then add up to more than k hits.
    return np.asarray(np.minimum(dcg / ideal, 1.0))


def _reciprocal_rank(found: Hits) -> DoubleArray:
    """1 / best rank."""
    best = np.full(len(found.totals), np.inf)
    np.minimum.at(best, found.users, found.ranks)
    return 1 / best


# A metric is a line here; evaluations report it and gates take it. With one target HR is Recall, and all of them are
# the usual next-item metrics.
AT_K: Mapping[str, Callable[[Hits, int], DoubleArray]] = {
    "hr": lambda found, k: (found.within(k) > 0).astype(np.float64),
    "recall": lambda found, k: found.within(k) / found.totals,
    "ndcg": _ndcg,
}
OVERALL: Mapping[str, Callable[[Hits], DoubleArray]] = {"mrr": _reciprocal_rank}


def user_metrics(ranks: DoubleArray, users: IntArray, n_users: int, ks: Sequence[int] = KS) -> dict[str, DoubleArray]:
    """Values (U,) of every metric from `ranks` (T,) of the targets of `users` (T,), who have at least one each."""
    totals = np.bincount(users, minlength=n_users)
    if n_users and totals.min() == 0:
        raise InvalidDataError(f"{int((totals == 0).sum())} of {n_users} users have no target; leave them out first.")
    found = Hits(ranks, users, totals)
    result = {f"{name}@{k}": metric(found, k) for name, metric in AT_K.items() for k in ks}
    return result | {name: metric(found) for name, metric in OVERALL.items()}


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
