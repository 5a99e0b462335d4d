"""How far one version has gone from another: its item vectors, their neighbours, and what it recommends.

The definitions are those of `hub.drift`, which trainings tell of their parents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import DoubleArray, FloatArray, IntArray
from ...catalog.sequences import History
from ...errors import UsageError
from ...evaluation.bootstrap import Estimate, mean_interval
from ...hub.drift import LIST, distances, lists_kept, neighbours_kept
from ...registry.records import MetricRecord
from ..index_measurement import embed_histories, newest_histories
from .records import metric_records

if TYPE_CHECKING:
    from ..context import Context
    from .subject import Subject

# Scores that are held at once.
MAX_SCORES = 4_000_000


def version_drift(context: Context, before: Subject, after: Subject) -> list[MetricRecord]:
    """Drift of `after` from `before` over the items that both hold, part by part of their vectors.

    The distance is left out of a part that the two have in different columns: there is nothing to subtract.
    """
    ours, theirs = _common(before, after)
    parts, others = after.blocks(), before.blocks()
    found: list[MetricRecord] = []
    for name in (name for name in parts if name in others):
        found += metric_records(name, _moved(parts[name][ours], others[name][theirs]))
    lists = _lists_changed(context, before, after, ours, theirs)
    return found + metric_records("all", {f"lists_changed@{LIST}": mean_interval(lists)})


def _common(before: Subject, after: Subject) -> tuple[IntArray, IntArray]:
    """Rows of the items that both versions hold, in each of them."""
    place = {item: row for row, item in enumerate(before.item_ids)}
    pairs = [(row, place[item]) for row, item in enumerate(after.item_ids) if item in place]
    if len(pairs) < 2:
        raise UsageError(
            f"{before.named.ref} and {after.named.ref} have {len(pairs)} items in common, too few to compare; name "
            "two versions over one catalog."
        )
    ours, theirs = np.array(pairs, dtype=np.int64).T
    return ours, theirs


def _moved(ours: FloatArray, theirs: FloatArray) -> dict[str, Estimate | float]:
    """The drift of (N, D) vectors of the same items, and who their neighbours still are."""
    found: dict[str, Estimate | float] = {}
    if ours.shape == theirs.shape:
        found["drift"] = mean_interval(distances(ours, theirs))
    found[f"neighbours_kept@{LIST}"] = mean_interval(neighbours_kept(ours, theirs))
    return found


def _lists_changed(context: Context, before: Subject, after: Subject, ours: IntArray, theirs: IntArray) -> DoubleArray:
    """(U,) share of the ten recommended of the common items that the earlier version does not recommend.

    For the newest sessions, what they hold left out; each version reads a session by its own mixture.
    """
    ids = [after.item_ids[row] for row in ours]
    histories, _ = newest_histories(context, after.dataset, ids)
    step = max(1, MAX_SCORES // len(ids))
    kept = [
        lists_kept(
            _scores(after, after.vectors[ours], histories[start : start + step]),
            _scores(before, before.vectors[theirs], histories[start : start + step]),
            LIST,
        )
        for start in range(0, len(histories), step)
    ]
    return np.asarray(1 - np.concatenate(kept))


def _scores(subject: Subject, vectors: FloatArray, histories: Sequence[History]) -> FloatArray:
    """(U, N) scores of items by a version, minus infinity for those of the session."""

    def embed(items: FloatArray, own: Sequence[History]) -> FloatArray:
        return subject.sessions.embed(items, own, exclude_seen=True)

    scores: FloatArray = embed_histories(embed, vectors, histories) @ vectors.T
    for row, history in enumerate(histories):
        scores[row, history.items] = -np.inf
    return scores
