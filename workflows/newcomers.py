"""What to show a shopper who has no session in a category: what is popular with newcomers, or else what is new.

What nobody has taken yet comes behind, by how near its content is to what is popular, and where nobody has taken
anything it is by date, or else by how typical of the catalog. Events in other categories are looked up and told, but
have no part in the list: wherever that was measured they did not make it better (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from ..errors import HubspokeError
from ..results import Record
from ..retrieval.exact import rounded

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from ..catalog.schema import TimeKind
    from ..catalog.sequences import Sequences
    from ..registry.records import SnapshotRecord
    from ..retrieval.caps import Scored
    from .context import Context
    from .datasets import Dataset

# Longer, shorter and adaptive windows were measured, and none is better (docs/benchmarks.md).
RECENT_DAYS = 28
BLOCK = 1000
POPULAR = 100  # the best so many say what is popular


@dataclass(frozen=True)
class Elsewhere(Record):
    """A category that knows a shopper."""

    domain: str
    events: int  # that the shopper has there


class OtherCategories:
    """The newest events of every other active category; one that cannot be read is told once and passed over."""

    def __init__(self, context: Context, domain: str) -> None:
        from .datasets import find_snapshot, table_folder

        self._context = context
        self._folders: dict[str, Path] = {}
        self.unread: set[str] = set()  # categories that may know a shopper, or not
        for name in (own.name for own in context.registry.domains.list() if own.name != domain):
            events = find_snapshot(context, name, "events")
            if events is None:
                continue
            try:
                self._folders[name] = table_folder(context, events)
            except HubspokeError as error:
                self._pass_over(name, error)

    def knowing(self, user: str) -> list[Elsewhere]:
        """The categories that know a shopper, most events first; of each only that shopper's rows are read."""
        from ..catalog.snapshots import read_user_events

        found = []
        for name, folder in list(self._folders.items()):
            try:
                found.append(Elsewhere(name, read_user_events(folder, user).height))
            except HubspokeError as error:
                self._pass_over(name, error)
        return sorted((own for own in found if own.events), key=lambda own: (-own.events, own.domain))

    def _pass_over(self, name: str, error: HubspokeError) -> None:
        self._folders.pop(name, None)
        self.unread.add(name)
        self._context.progress.note(f"whom {name} knows cannot be told: {error}")


@dataclass(frozen=True)
class Ranking:
    """A catalog of N items in one order for everybody."""

    name: str  # what decides: `newcomer-popularity`, `newest` or `typical`
    scores: DoubleArray  # (N,)
    order: IntArray  # (N,) rows, best first

    def among(self, allowed: BoolArray, barred: Collection[int]) -> Iterator[Scored]:
        """The allowed rows but the barred ones with their scores, best first; `allowed` is (N,)."""
        # Of a large catalog no more is looked at than a list takes.
        for start in range(0, len(self.order), BLOCK):
            rows = self.order[start : start + BLOCK]
            for row in rows[allowed[rows]].tolist():
                if row not in barred:
                    yield row, float(self.scores[row])

    def best_of(self, rows: IntArray, k: int) -> list[Scored]:
        """The best `k` of (n,) rows."""
        wanted = np.zeros(len(self.order), dtype=np.bool_)
        wanted[rows] = True
        return list(islice(self.among(wanted, ()), k))


def rank_for_newcomers(
    context: Context, dataset: Dataset, events: SnapshotRecord | None, shown: pl.DataFrame, content: FloatArray
) -> Ranking:
    """The items of an index by their popularity with newcomers, or by date where nobody has a session yet.

    `shown` is what the newest catalog says of the items, in the order of the index, and `content` (N, R) what tells
    them apart.
    """
    from .datasets import load_sequences, read_table, time_kind

    if events is not None:
        own, snapshot = dataset.domain, dataset.item_snapshot
        ids = read_table(context, snapshot)["item_id"]
        sequences, _, _ = load_sequences(context, own, snapshot, events, ids)
        row_of = {item: row for row, item in enumerate(ids.to_list())}
        rows = [row_of[item] for item in shown["item_id"].to_list()]
        scores = newcomer_popularity(sequences, time_kind(events))[rows]
        if scores.any():
            return _ranking("newcomer-popularity", scores, nearness(content, scores))
    typical = nearness(content, np.zeros(len(content)))
    created = shown["created_at"].dt.timestamp("ms").fill_null(0).to_numpy() / 1000.0
    return _ranking("newest", created, typical) if created.any() else _ranking("typical", typical, typical)


def newcomer_popularity(sequences: Sequences, time_kind: TimeKind) -> DoubleArray:
    """(N,) log(1 + shoppers who began with the item) + log(1 + its events) + the same of the last 28 days.

    The last days count where timestamps are times, not just an order.
    """
    from ..catalog.parsing import DAY_US
    from ..spokes.features.trend import span_counts

    counted = [sequences.first_counts(), sequences.item_counts()]
    if time_kind != "order" and sequences.newest is not None:
        counted.append(sequences.first_counts(since=sequences.newest - RECENT_DAYS * DAY_US))
        counted.append(span_counts(sequences, RECENT_DAYS))
    scores: DoubleArray = np.log1p(counted).sum(axis=0)
    return scores


def nearness(content: FloatArray, scores: DoubleArray) -> DoubleArray:
    """(N,) how near (N, R) items are to the mean of the best by score, each weighing as much as the score says.

    Scores are logarithms of counts; where all are equal it is nearness to the mean of the catalog.
    """
    weights = np.exp(scores - scores.max(initial=0.0))
    if scores.any():
        weights[scores < np.sort(scores)[-POPULAR:].min()] = 0.0
    # The vectors of a large catalog are not copied to be of length one.
    lengths = np.maximum(np.sqrt(np.einsum("nr,nr->n", content, content)), 1e-9)  # (N,)
    mean = ((weights / lengths / weights.sum()).astype(np.float32)) @ content  # (R,)
    return rounded((content @ mean / lengths).astype(np.float64))  # alike is alike, wherever it stands in the catalog


def _ranking(name: str, scores: DoubleArray, then: DoubleArray) -> Ranking:
    """By `scores`, equal ones by `then`, and what is equal in both by row; both are (N,)."""
    return Ranking(name, scores, np.lexsort((-then, -scores)))
