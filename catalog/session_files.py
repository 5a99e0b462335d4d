"""Sessions on disk, for event tables that memory does not hold: cut once, user range by user range, and read in shards.

What is read is to the last event what `clean_sessions` and `build_sequences` make of the whole table. The files are
written to a temporary folder that is renamed when complete, and every one is checked against its hash when it is read.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import CorruptArtifactError, InvalidDataError
from .schema import TimeKind
from .sequences import Sequences, coded_events, sequences_of
from .sessions import NO_SESSION_ID, CleanSessions, SessionSettings, clean_sessions, none_given
from .validation import Step

FORMAT = 1
MANIFEST_FILE = "manifest.json"
# Events of a range of users, at least, unless a caller wants smaller ones; what is held while a table is cut.
RANGE_EVENTS = 125_000
PIECES = 4  # a range is read in so many pieces, and longer than wanted by one of them and one user at most
STALE_SECONDS = 3600.0  # a temporary folder this old was left by a killed process
# What cutting sessions and counting events need of the event schema.
READ = ("user_id", "item_id", "timestamp", "event_type", "session_id", "position")
UNKNOWN_ITEMS = "events on items outside the catalog left out"


class SessionPart(BaseModel):
    """One file: all sessions of a range of users.

    Attributes:
        name: of the file.
        events: rows in it.
        sha256: of its bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    events: int
    sha256: str


class SessionManifest(BaseModel):
    """What a folder of session files holds.

    Attributes:
        format: version of this format.
        n_items: items of the snapshot whose rows the events name.
        mode: how sessions were cut.
        waterfall: what each step from events to sessions left, as in `CleanSessions`.
        parts: the files, in the order of their users.
    """

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
    """A folder of session files."""

    folder: Path
    manifest: SessionManifest

    @classmethod
    def open(cls, folder: Path) -> SessionFiles | None:
        """The folder that `write_session_files` left there, None where it left none that this version reads.

        The files themselves are checked when they are read.
        """
        try:
            manifest = SessionManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        except (OSError, ValidationError):
            return None
        return cls(folder, manifest) if manifest.format == FORMAT else None

    def read(self, parts: Sequence[SessionPart]) -> Sequences:
        """The sessions of some of the files, which follow each other, as one; its users are numbered from 0.

        Raises:
            CorruptArtifactError: a file is gone or is not what was written.
        """
        return sequences_of(pl.concat([self._frame(part) for part in parts]), self.manifest.n_items)

    def _frame(self, part: SessionPart) -> pl.DataFrame:
        path = self.folder / part.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise self._damaged(path) from error
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise self._damaged(path)
        return pl.read_parquet(io.BytesIO(content))

    def _damaged(self, path: Path) -> CorruptArtifactError:
        return CorruptArtifactError(
            f"{path} is gone or no longer what was written; remove the folder {self.folder} and repeat the command, "
            "which writes it again."
        )


def write_session_files(
    events: Path,
    item_ids: pl.Series,
    folder: Path,
    settings: SessionSettings | None = None,
    time_kind: TimeKind = "real",
    *,
    range_events: int = RANGE_EVENTS,
) -> SessionFiles:
    """Cut an event table into sessions and leave them in `folder`; memory holds one range of users at a time.

    Events on items that the catalog lacks are left out, as the waterfall says. Where the folder holds session files
    already they stay: whoever came first has written the same.

    Args:
        events: Parquet file of the event schema, sorted by user.
        item_ids: the item snapshot's `item_id` column, in its row order.
        folder: to be made.
        settings: thresholds.
        time_kind: what the timestamps mean.
        range_events: events of a range, at least; a user is never in two ranges.

    Raises:
        CorruptArtifactError: the table cannot be read.
        InvalidDataError: it is not sorted by user, no event is on an item of the catalog, or sessions are to be taken
            from `session_id` and no event has one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    unfinished = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    unfinished.mkdir()
    try:
        manifest = _write(events, item_ids, unfinished, settings or SessionSettings(), time_kind, range_events)
        _leave(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return SessionFiles.open(folder) or SessionFiles(folder, manifest)


def _write(
    events: Path,
    item_ids: pl.Series,
    folder: Path,
    settings: SessionSettings,
    time_kind: TimeKind,
    range_events: int,
) -> SessionManifest:
    parts: list[SessionPart] = []
    steps: list[Step] = []
    mode, sessions = "", 0
    for found in session_ranges(events, item_ids, settings, time_kind, range_events):
        steps = _added(steps, found.waterfall)
        mode = found.mode
        if found.frame.height:
            coded = coded_events(found.frame, item_ids).with_columns(pl.col("session") + sessions)
            sessions = int(coded["session"][-1]) + 1
            parts.append(_write_part(coded, folder, len(parts)))
    _check(steps, events)
    told = steps[1:] if steps[0].rows_in == steps[0].rows_out else steps
    waterfall = tuple(step.to_json() for step in told)
    manifest = SessionManifest(n_items=len(item_ids), mode=mode, waterfall=waterfall, parts=tuple(parts))
    _flushed(folder / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode())
    return manifest


def session_ranges(
    events: Path, item_ids: pl.Series, settings: SessionSettings, time_kind: TimeKind, range_events: int = RANGE_EVENTS
) -> Iterator[CleanSessions]:
    """The sessions of one range of users after the other; the first step of each waterfall is that of unknown items.

    Raises:
        CorruptArtifactError: the table cannot be read.
        InvalidDataError: it is not sorted by user.
    """
    for frame in user_ranges(events, range_events):
        known, step = drop_unknown_items(frame, item_ids)
        cleaned = clean_sessions(known, settings, time_kind, part=True)
        yield replace(cleaned, waterfall=(step, *cleaned.waterfall))


def drop_unknown_items(events: pl.DataFrame, item_ids: pl.Series) -> tuple[pl.DataFrame, Step]:
    """Events on items of the catalog or on none (searches), and what leaving out the others cost."""
    known = pl.col("item_id").is_null() | pl.col("item_id").is_in(item_ids.implode())
    kept = events.filter(known)
    return kept, Step(UNKNOWN_ITEMS, events.height, kept.height)


def user_ranges(events: Path, at_least: int = RANGE_EVENTS) -> Iterator[pl.DataFrame]:
    """An event table in pieces of at least so many rows (but for the last), none of which cuts a user in two.

    A table without rows is one piece.

    Raises:
        CorruptArtifactError: it cannot be read.
        InvalidDataError: it is not sorted by user.
    """
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
            yield _table(file.schema_arrow.empty_table().select(columns))
            for batch in file.iter_batches(rows, columns=columns):
                yield _table(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError) as error:
        raise CorruptArtifactError(f"{events} cannot be read; ingest the data again.") from error


def _table(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _added(steps: Sequence[Step], more: Sequence[Step]) -> list[Step]:
    """Waterfalls of different users as one: no session and no user is in two of them."""
    return [_sum(a, b) for a, b in zip(steps, more, strict=True)] if steps else list(more)


def _sum(a: Step, b: Step) -> Step:
    sessions = None if a.sessions is None or b.sessions is None else a.sessions + b.sessions
    users = None if a.users is None or b.users is None else a.users + b.users
    return Step(a.name, a.rows_in + b.rows_in, a.rows_out + b.rows_out, sessions, users)


def _check(steps: Sequence[Step], events: Path) -> None:
    unknown = steps[0]
    if unknown.rows_in and not unknown.rows_out:
        raise InvalidDataError(
            f"None of the {unknown.rows_in} events of {events} is on an item of the catalog; "
            "ingest the catalog that they belong to."
        )
    if any(step.name == NO_SESSION_ID and not step.rows_out for step in steps):
        raise none_given()


def _write_part(coded: pl.DataFrame, folder: Path, number: int) -> SessionPart:
    buffer = io.BytesIO()
    coded.write_parquet(buffer, compression="zstd")
    content = buffer.getvalue()
    name = f"part-{number:06d}.parquet"
    _flushed(folder / name, content)
    return SessionPart(name=name, events=coded.height, sha256=hashlib.sha256(content).hexdigest())


def _flushed(path: Path, content: bytes) -> None:
    """Bytes reach the disk before the rename does, or a power cut could leave an empty file under the final name."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _leave(unfinished: Path, folder: Path) -> None:
    if folder.is_dir() and SessionFiles.open(folder) is None:
        shutil.rmtree(folder)
    try:
        unfinished.rename(folder)
    except OSError:
        # Somebody else was faster.
        if SessionFiles.open(folder) is None:
            raise


def _remove_stale(folder: Path) -> None:
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        if time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
