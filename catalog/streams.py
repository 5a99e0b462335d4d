"""Event tables beyond memory: cut into sessions once, user range by user range, and read back shard by shard.

What is read is to the last event what `clean_sessions` and `build_sequences` make of the whole table. A file holds all
sessions of a range of users, a shard a run of files, so whatever is cut or counted user by user is exact.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from ..arrays import IntArray
from ..errors import CorruptArtifactError, InvalidDataError
from ..files import atomic_folder, file_sha256
from .schema import TimeKind
from .sequences import Sequences, coded_events, sequences_of
from .sessions import NO_SESSION_ID, SessionSettings, clean_sessions, none_given
from .validation import Step

FORMAT = 1
MANIFEST_FILE = "manifest.json"
# Events of a range of users, at least, unless a caller wants smaller ones; what is held while a table is cut.
RANGE_EVENTS = 125_000
PIECES = 4  # a range is read in so many pieces, and longer than wanted by one of them and one user at most
# What cutting sessions and counting events need of the event schema.
READ = ("user_id", "item_id", "timestamp", "event_type", "session_id", "position")

Filter = Callable[[Sequences], Sequences]
Read = TypeVar("Read")


# ---- on disk ----


class SessionPart(BaseModel):
    """One file: all sessions of a range of users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    events: int
    sha256: str


class SessionManifest(BaseModel):
    """What a folder of session files holds; the parts are in the order of their users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    n_items: int
    mode: str
    waterfall: tuple[dict[str, Any], ...]
    parts: tuple[SessionPart, ...]

    @property
    def events(self) -> int:
        """Events in all sessions."""
        return sum(part.events for part in self.parts)


@dataclass(frozen=True)
class SessionFiles:
    """A folder of session files, each of them checked against its hash when it is read."""

    folder: Path
    manifest: SessionManifest

    @classmethod
    def open(cls, folder: Path) -> SessionFiles | None:
        """The folder that `write_session_files` left there, None where it left none that this version reads."""
        try:
            manifest = SessionManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        except (OSError, ValidationError):
            return None
        return cls(folder, manifest) if manifest.format == FORMAT else None

    def read(self, parts: Sequence[SessionPart]) -> Sequences:
        """The sessions of some of the files, which follow each other, as one; its users are numbered from 0."""
        return sequences_of(pl.concat([self._frame(part) for part in parts]), self.manifest.n_items)

    def _frame(self, part: SessionPart) -> pl.DataFrame:
        path = self.folder / part.name
        damaged = CorruptArtifactError(
            f"{path} is gone or no longer what was written; remove the folder {self.folder} and repeat the command, "
            "which writes it again."
        )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise damaged from error
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise damaged
        return pl.read_parquet(io.BytesIO(content))


def write_session_files(
    events: Path,
    item_ids: pl.Series,
    folder: Path,
    settings: SessionSettings | None = None,
    time_kind: TimeKind = "real",
    *,
    range_events: int = RANGE_EVENTS,
) -> SessionFiles:
    """Cut an event table (Parquet, sorted by user) into sessions and leave them in `folder`.

    Memory holds one range of at least `range_events` events at a time; no user is in two ranges. Events on items that
    the catalog lacks are left out, as the waterfall says.
    """
    try:
        with atomic_folder(folder) as unfinished:
            _write(events, item_ids, unfinished, settings or SessionSettings(), time_kind, range_events)
            if folder.is_dir() and SessionFiles.open(folder) is None:
                shutil.rmtree(folder)  # of another version, or damaged
    except OSError:
        if SessionFiles.open(folder) is None:  # otherwise somebody else was faster, and has written the same
            raise
    made = SessionFiles.open(folder)
    assert made is not None
    return made


def _write(
    events: Path, item_ids: pl.Series, folder: Path, settings: SessionSettings, time_kind: TimeKind, range_events: int
) -> None:
    parts: list[SessionPart] = []
    steps: list[Step] = []
    mode, sessions = "", 0
    for frame in user_ranges(events, range_events):
        known, step = drop_unknown_items(frame, item_ids)
        found = clean_sessions(known, settings, time_kind, part=True)
        mode, waterfall = found.mode, [step, *found.waterfall]
        # No session and no user is in two ranges, so that their waterfalls can be summed.
        steps = [a + b for a, b in zip(steps, waterfall, strict=True)] if steps else waterfall
        if found.frame.height:
            coded = coded_events(found.frame, item_ids).with_columns(pl.col("session") + sessions)
            sessions = int(coded["session"][-1]) + 1
            path = folder / f"part-{len(parts):06d}.parquet"
            coded.write_parquet(path, compression="zstd")
            parts.append(SessionPart(name=path.name, events=coded.height, sha256=file_sha256(path)))
    unknown = steps[0]
    if unknown.rows_in and not unknown.rows_out:
        raise InvalidDataError(
            f"None of the {unknown.rows_in} events of {events} is on an item of the catalog; "
            "ingest the catalog that they belong to."
        )
    if any(step.name == NO_SESSION_ID and not step.rows_out for step in steps):
        raise none_given()
    shown = steps[1:] if unknown.rows_in == unknown.rows_out else steps
    written = tuple(step.to_json() for step in shown)
    manifest = SessionManifest(n_items=len(item_ids), mode=mode, waterfall=written, parts=tuple(parts))
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


def drop_unknown_items(events: pl.DataFrame, item_ids: pl.Series) -> tuple[pl.DataFrame, Step]:
    """Events on items of the catalog or on none (searches), and what leaving out the others cost."""
    known = pl.col("item_id").is_null() | pl.col("item_id").is_in(item_ids.implode())
    kept = events.filter(known)
    return kept, Step("events on items outside the catalog left out", events.height, kept.height)


def user_ranges(events: Path, at_least: int = RANGE_EVENTS) -> Iterator[pl.DataFrame]:
    """An event table, sorted by user, in pieces of at least so many rows (but for the last) that cut no user in two."""
    held, done = pl.DataFrame(), None
    for piece in _pieces(events, max(1, at_least // PIECES)):
        held = pl.concat([held, piece]) if held.height else piece
        users = held["user_id"]
        if not users.is_sorted() or (held.height and done is not None and users[0] <= done):
            raise InvalidDataError(f"{events} is not sorted by user; ingest the events again.")
        whole = users.search_sorted(users[-1], side="left") if held.height else 0
        if whole >= at_least:
            done = users[whole - 1]
            yield held.head(whole)
            held = held.slice(whole)
    yield held


def _pieces(events: Path, rows: int) -> Iterator[pl.DataFrame]:
    try:
        with pq.ParquetFile(events) as file:
            columns = [name for name in file.schema_arrow.names if name in READ]
            yield pl.DataFrame(file.schema_arrow.empty_table().select(columns))
            for batch in file.iter_batches(rows, columns=columns):
                yield pl.DataFrame(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError) as error:
        raise CorruptArtifactError(f"{events} cannot be read; ingest the data again.") from error


# ---- read back ----


@dataclass(frozen=True)
class Census:
    """What one pass over all shards counts."""

    item_counts: IntArray  # (N,) events of each item
    lengths: Counter[int]  # how many sequences have each length
    users: int
    newest: int | None
    fingerprint: str


class SequenceStream:
    """Sequences in session files, read and filtered in shards of at most `shard_events` events, or one file."""

    def __init__(self, files: SessionFiles, shard_events: int, filters: tuple[Filter, ...] = ()) -> None:
        self._files, self.manifest, self.n_items = files, files.manifest, files.manifest.n_items
        self.shard_events, self._filters = shard_events, filters
        self._shards: list[list[SessionPart]] = []
        events = 0
        for part in files.manifest.parts:
            if not self._shards or events + part.events > shard_events:
                self._shards.append([])
                events = 0
            self._shards[-1].append(part)
            events += part.events

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
        """Part `number`, counted from 0; its users are numbered from 0."""
        return self.kept_of(self._files.read(self._shards[number]))

    def kept_of(self, sequences: Sequences) -> Sequences:
        """What the filters of this stream leave of any sequences of whole users."""
        return reduce(lambda left, keep: keep(left), self._filters, sequences)

    def shards(self) -> Iterator[Sequences]:
        """All parts in their order."""
        return ahead(self.shard, range(self.n_shards))

    def filter(self, keep: Filter) -> SequenceStream:
        """The same with every shard filtered: what `keep` leaves of a whole user depends on no other."""
        return SequenceStream(self._files, self.shard_events, (*self._filters, keep))

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


# What is trained on: held in memory, or read shard by shard.
SequenceSource: TypeAlias = Sequences | SequenceStream


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
