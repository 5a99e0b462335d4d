"""What to show a shopper who has no session in a category: what is popular with newcomers, or else what is new.

Events in other categories are looked up and told, but have no part in the list: wherever that was measured they did not
make it better (docs/benchmarks.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import DoubleArray
from ..results import Record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import polars as pl

    from ..catalog.schema import TimeKind
    from ..catalog.sequences import Sequences
    from ..registry.records import SnapshotRecord
    from .context import Context
    from .datasets import Dataset

RECENT_DAYS = 28


@dataclass(frozen=True)
class Elsewhere(Record):
    """A category that knows a shopper."""

    domain: str
    events: int  # that the shopper has there


def other_event_tables(context: Context, domain: str) -> list[tuple[str, Path]]:
    """Every other active category with the folder of its newest events."""
    from .datasets import find_snapshot, table_folder

    names = [own.name for own in context.registry.domains.list() if own.name != domain]
    newest = [(name, find_snapshot(context, name, "events")) for name in names]
    return [(name, table_folder(context, events)) for name, events in newest if events is not None]


def known_elsewhere(tables: Iterable[tuple[str, Path]], user: str) -> list[Elsewhere]:
    """The categories among these that know a shopper, most events first; each reads that shopper's rows alone."""
    from ..catalog.snapshots import read_user_events

    found = [Elsewhere(name, read_user_events(folder, user).height) for name, folder in tables]
    return sorted((own for own in found if own.events), key=lambda own: (-own.events, own.domain))


@dataclass(frozen=True)
class Ranking:
    """A catalog in one order for everybody."""

    name: str  # what decides: `newcomer-popularity` or `newest`
    scores: DoubleArray  # (N,)


def rank_for_newcomers(
    context: Context, dataset: Dataset, events: SnapshotRecord | None, shown: pl.DataFrame
) -> Ranking:
    """The items of an index by their popularity with newcomers, or by date where nobody has a session yet.

    `shown` is what the newest catalog says of the items, in the order of the index.
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
            return Ranking("newcomer-popularity", scores)
    created = shown["created_at"].dt.timestamp("ms").fill_null(0).to_numpy() / 1000.0
    # Catalogs without dates keep their order.
    return Ranking("newest", created if created.any() else np.arange(len(created), 0, -1, dtype=float))


def newcomer_popularity(sequences: Sequences, time_kind: TimeKind) -> DoubleArray:
    """(N,) log(1 + shoppers who began with the item) + log(1 + its events) + log(1 + those of the last 28 days).

    The last days count where timestamps are times, not just an order.
    """
    from ..spokes.features.trend import span_counts

    counted = [sequences.first_counts(), sequences.item_counts()]
    if time_kind != "order":
        counted.append(span_counts(sequences, RECENT_DAYS))
    scores: DoubleArray = np.log1p(counted).sum(axis=0)
    return scores
