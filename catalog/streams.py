"""Sequences that are read shard by shard: what a training needs of them, in memory that their number does not change.

A shard is a run of session files with a bounded number of events; users are never in two shards, so whatever is cut or
counted user by user is exact.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TypeVar

import numpy as np

from ..arrays import IntArray
from .sequences import Sequences
from .session_files import SessionFiles, SessionManifest, SessionPart

Cut = Callable[[Sequences], Sequences]
Read = TypeVar("Read")


@dataclass(frozen=True)
class Census:
    """What one pass over all shards counts.

    Attributes:
        item_counts: (N,) events of each item.
        lengths: how many sequences have each length.
        users: with a sequence.
        newest: microseconds UTC of the newest event; None without events.
        fingerprint: SHA-256 over the shards.
    """

    item_counts: IntArray
    lengths: Counter[int]
    users: int
    newest: int | None
    fingerprint: str


class SequenceStream:
    """Sequences in files.

    Args:
        files: sessions on disk.
        shard_events: events in a shard, at most; the events of one file, where those alone are more.
        cuts: applied to a shard when it is read, one after the other. Each sees whole users.

    Attributes:
        shard_events: as given.
    """

    def __init__(self, files: SessionFiles, shard_events: int, cuts: tuple[Cut, ...] = ()) -> None:
        self._files = files
        self.shard_events = shard_events
        self._cuts = cuts
        self._shards = _shards(files.manifest.parts, shard_events)

    @property
    def manifest(self) -> SessionManifest:
        """What all its files hold."""
        return self._files.manifest

    @property
    def n_items(self) -> int:
        """Items in the snapshot, N."""
        return self._files.manifest.n_items

    @property
    def n_shards(self) -> int:
        """Parts that it is read in."""
        return len(self._shards)

    @property
    def n_events(self) -> int:
        """Events in all sequences."""
        return int(self.census.item_counts.sum())

    @property
    def n_users(self) -> int:
        """Users with a sequence."""
        return self.census.users

    @property
    def newest(self) -> int | None:
        """Microseconds UTC of the newest event; None without events."""
        return self.census.newest

    @property
    def fingerprint(self) -> str:
        """SHA-256 over events, grouping and shards."""
        return self.census.fingerprint

    def shard(self, number: int) -> Sequences:
        """Part `number`, counted from 0; its users are numbered from 0.

        Raises:
            CorruptArtifactError: a file is gone or is not what was written.
        """
        return self.kept_of(self._files.read(self._shards[number]))

    def kept_of(self, sequences: Sequences) -> Sequences:
        """What the cuts of this stream leave of any sequences of whole users."""
        return reduce(lambda left, cut: cut(left), self._cuts, sequences)

    def shards(self) -> Iterator[Sequences]:
        """All parts in their order."""
        return ahead(self.shard, range(self.n_shards))

    def cut(self, cut: Cut) -> SequenceStream:
        """The same with every shard cut: `cut` sees whole users, and what it keeps of one depends on no other."""
        return SequenceStream(self._files, self.shard_events, (*self._cuts, cut))

    def item_counts(self) -> IntArray:
        """(N,) number of events of each item."""
        return self.census.item_counts

    def length_counts(self) -> tuple[IntArray, IntArray]:
        """The lengths that occur, and how many sequences have each."""
        pairs = np.array(sorted(self.census.lengths.items()), np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    @cached_property
    def census(self) -> Census:
        """What all shards hold together, counted when first asked for."""
        counts = np.zeros(self.n_items, np.int64)
        lengths: Counter[int] = Counter()
        users, newest, digest = 0, None, hashlib.sha256()
        for shard in self.shards():
            counts += shard.item_counts()
            found = (array.tolist() for array in shard.length_counts())
            lengths.update(dict(zip(*found, strict=True)))
            users += shard.n_users
            newest = max((moment for moment in (newest, shard.newest) if moment is not None), default=None)
            digest.update(shard.fingerprint.encode())
        return Census(counts, lengths, users, newest, digest.hexdigest())


def ahead(read: Callable[[int], Read], numbers: Iterable[int]) -> Iterator[Read]:
    """What `read` gives for each number, in their order; the next one is read while the caller works on this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="shards") as reader:
        waiting = None
        for number in numbers:
            reading = reader.submit(read, number)
            if waiting is not None:
                yield waiting.result()
            waiting = reading
        if waiting is not None:
            yield waiting.result()


def _shards(parts: tuple[SessionPart, ...], shard_events: int) -> list[tuple[SessionPart, ...]]:
    shards: list[list[SessionPart]] = []
    events = 0
    for part in parts:
        if not shards or events + part.events > shard_events:
            shards.append([])
            events = 0
        shards[-1].append(part)
        events += part.events
    return [tuple(shard) for shard in shards]
