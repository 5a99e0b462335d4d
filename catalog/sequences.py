"""Item sequences as flat numpy arrays: the one form in which behaviour leaves the catalog room.

Items are row numbers of the item snapshot, so a sequence means nothing without the snapshot it was built on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from ..arrays import IntArray
from ..errors import InvalidDataError
from .schema import EVENT_CODES


@dataclass(frozen=True, eq=False)
class History:
    """One shopper's events, oldest first: (T,) item rows, microseconds, and types as codes (`Sequences`), if known.

    Numpy reads it as the array of its rows, so only a model that reads times and types needs to tell the two apart.
    """

    items: IntArray
    timestamps: IntArray | None = None
    event_types: IntArray | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, part: slice | IntArray) -> History:
        times, types = (None if known is None else known[part] for known in (self.timestamps, self.event_types))
        return History(self.items[part], times, types)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.items, dtype, copy=copy)


Histories: TypeAlias = "SequenceOf[History | IntArray]"


@dataclass(frozen=True)
class Sequences:
    """S sequences over E events, oldest event first inside a sequence."""

    items: IntArray  # (E,) row of each event's item in the item snapshot
    timestamps: IntArray  # (E,) microseconds UTC
    offsets: IntArray  # (S + 1,) sequence s holds events offsets[s] to offsets[s + 1]
    users: IntArray  # (S,) index into `user_ids`; several sequences (sessions) may belong to one user
    user_ids: tuple[str, ...]
    n_items: int  # in the snapshot, N
    event_types: npt.NDArray[np.int8] | None = None  # (E,) 1 + place in `EVENT_TYPES`, 0 for any other type

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, s: int) -> IntArray:
        return self.items[self.offsets[s] : self.offsets[s + 1]]

    def history(self, s: int) -> History:
        """Sequence s with what is known of its events."""
        return self.events_at(slice(self.offsets[s], self.offsets[s + 1]))

    def events_at(self, places: slice | IntArray) -> History:
        """Some of the events with what is known of them, in the order of their places."""
        types = None if self.event_types is None else self.event_types[places].astype(np.int64)
        return History(self.items[places], self.timestamps[places], types)

    def __iter__(self) -> Iterator[IntArray]:
        return (self[s] for s in range(len(self)))

    @property
    def lengths(self) -> IntArray:
        """(S,) number of events of each sequence."""
        return np.diff(self.offsets)

    def item_counts(self) -> IntArray:
        """(N,) number of events of each item."""
        return np.bincount(self.items, minlength=self.n_items).astype(np.int64)

    def first_counts(self, since: int | None = None) -> IntArray:
        """(N,) number of users whose first event is on each item; of those after `since` (microseconds) alone."""
        own = self.by_user()
        first = own.offsets[:-1]
        if since is not None:
            first = first[own.timestamps[first] > since]
        return np.bincount(own.items[first], minlength=self.n_items).astype(np.int64)

    @property
    def n_events(self) -> int:
        """Events in all sequences, E."""
        return len(self.items)

    @property
    def n_users(self) -> int:
        """Users with a sequence."""
        return len(np.unique(self.users))

    @property
    def newest(self) -> int | None:
        """Microseconds UTC of the newest event; None without events."""
        return int(self.timestamps.max()) if len(self.items) else None

    @property
    def n_shards(self) -> int:
        """Parts that it is read in: what is held in memory is one."""
        return 1

    def shard(self, number: int) -> Sequences:
        """Part `number`, counted from 0: all of it."""
        return self

    def length_counts(self) -> tuple[IntArray, IntArray]:
        """The lengths that occur, and how many sequences have each."""
        lengths, counts = np.unique(self.lengths, return_counts=True)
        return lengths, counts

    @property
    def fingerprint(self) -> str:
        """SHA-256 over its events, how they are grouped and whose they are."""
        digest = hashlib.sha256("\0".join([f"{self.n_items}|{len(self)}", *self.user_ids]).encode())
        for array in (self.items, self.offsets, self.timestamps, self.users, self.event_types):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def keep_events(self, mask: npt.NDArray[np.bool_]) -> Sequences:
        """Only the events where `mask` (E,) is true; sequences that end up empty are left out."""
        kept_before = np.concatenate([[0], np.cumsum(mask)])
        offsets = kept_before[self.offsets]
        filled = np.diff(offsets) > 0
        return replace(
            self,
            items=self.items[mask],
            timestamps=self.timestamps[mask],
            offsets=np.concatenate([[0], offsets[1:][filled]]).astype(np.int64),
            users=self.users[filled],
            event_types=None if self.event_types is None else self.event_types[mask],
        )

    def by_user(self) -> Sequences:
        """One sequence per user: a user's sessions joined in their order (they are already sorted by user and time)."""
        if len(self) == 0:
            return self
        starts = np.concatenate([[True], self.users[1:] != self.users[:-1]])
        offsets = np.concatenate([self.offsets[:-1][starts], self.offsets[-1:]])
        return replace(self, offsets=offsets, users=self.users[starts])


def build_sequences(sessions: pl.DataFrame, item_ids: pl.Series) -> Sequences:
    """Turn a table such as `CleanSessions.frame` into `Sequences`, one per session, over a snapshot's item ids."""
    return sequences_of(coded_events(sessions, item_ids), len(item_ids))


def coded_events(sessions: pl.DataFrame, item_ids: pl.Series) -> pl.DataFrame:
    """Cleaned sessions in the numbers of `Sequences`, row by row; an event on an item not in `item_ids` is refused."""
    rows = pl.DataFrame({"item_id": item_ids, "row": np.arange(len(item_ids), dtype=np.int64)})
    joined = sessions.join(rows, on="item_id", how="left", maintain_order="left")
    missing = joined["row"].null_count()
    if missing:
        example = joined.filter(pl.col("row").is_null())["item_id"][0]
        raise InvalidDataError(
            f"{missing} events name items that the item snapshot lacks (first: {example!r}); "
            "ingest the newer catalog before the events."
        )
    coded = joined.select("user_id", "session", "row", pl.col("timestamp").cast(pl.Int64))
    if "event_type" not in joined.columns:
        return coded
    return coded.with_columns(
        joined["event_type"].replace_strict(EVENT_CODES, default=0, return_dtype=pl.Int8).fill_null(0)
    )


def sequences_of(coded: pl.DataFrame, n_items: int) -> Sequences:
    """Sequences of the events that `coded_events` gave, or of some of them that no session is cut by."""
    session = coded["session"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], session[1:] != session[:-1]])) if len(session) else np.array([])
    codes = coded["user_id"].rle_id().to_numpy().astype(np.int64) if len(session) else np.array([], dtype=np.int64)
    first_of_user = np.flatnonzero(np.diff(codes, prepend=-1))
    return Sequences(
        items=coded["row"].to_numpy().astype(np.int64),
        timestamps=coded["timestamp"].to_numpy().astype(np.int64),
        offsets=np.concatenate([starts, [len(session)]]).astype(np.int64),
        users=codes[starts.astype(np.int64)],
        user_ids=tuple(str(user) for user in coded["user_id"].gather(first_of_user)),
        n_items=n_items,
        event_types=coded["event_type"].to_numpy() if "event_type" in coded.columns else None,
    )


def co_engaged_pairs(sequences: Sequences, window: int) -> IntArray:
    """(P, 2) distinct items at most `window` events apart in one sequence (each pair once, earlier item first)."""
    sequence = np.repeat(np.arange(len(sequences)), sequences.lengths)
    pairs = []
    for gap in range(1, window + 1):
        same = sequence[gap:] == sequence[:-gap]
        left, right = sequences.items[:-gap][same], sequences.items[gap:][same]
        pairs.append(np.stack([left, right], axis=1)[left != right])
    return np.concatenate(pairs).astype(np.int64) if pairs else np.zeros((0, 2), np.int64)
