"""The event log of a domain into a snapshot: what services logged, added to what the newest snapshot of events holds.

Seal, read, commit the snapshot, remove the segments: a kill between two of these loses nothing and doubles nothing,
since an event whose id is in the newest snapshot is not added again. Events on items that the catalog lacks are kept:
a later catalog may have them, and until then whatever reads events leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ..catalog.event_log import Segment, read_segments
from ..catalog.intake import ReadResult
from ..catalog.line_log import seal
from ..catalog.schema import EVENT_SCHEMA, TimeKind
from ..catalog.sessions import SessionSettings
from ..catalog.shopper_events import event_ids, events_frame
from ..catalog.snapshots import content_hash
from ..catalog.validation import ProblemGroup, Step, ValidationReport
from ..errors import UsageError
from ..registry.records import SnapshotRecord
from ..results import Record
from .datasets import find_snapshot, read_table, time_kind
from .ingest import CheckedTable, cut_sessions

if TYPE_CHECKING:
    from .context import Context

SOURCE = "event log"
FORMAT = "event-log"
ORDER = ["user_id", "timestamp", "position"]


@dataclass(frozen=True)
class LogIngest(Record):
    """What the event log of a domain held."""

    segments: int = 0  # files that were taken up
    rows: int = 0  # events in them
    added: int = 0  # to those of the newest snapshot
    duplicates: int = 0  # that came twice, or were in that snapshot already
    unknown_items: int = 0  # added, on items that the catalog lacks
    damaged: int = 0  # lines that are no event; their files stay beside the log, named *.damaged


@dataclass(frozen=True)
class LogRead:
    """A log as it was read: the table that it makes, if it adds anything, and the files to be removed after that."""

    counts: LogIngest
    segments: Sequence[Segment]
    tables: Sequence[CheckedTable]

    def remove(self) -> None:
        """Remove what was read, once it is in a snapshot."""
        for segment in self.segments:
            segment.remove()


NOTHING_LOGGED = LogRead(LogIngest(), (), ())


def log_folder(context: Context, domain: str) -> Path:
    """Where services log what shoppers of a domain do."""
    return context.settings.events_dir / domain


def read_log(
    context: Context, domain: str, items: pl.DataFrame | None, sessions: SessionSettings, dry_run: bool
) -> LogRead:
    """Seal and read the log of a domain, and add it to the newest events; a dry run leaves it open.

    `items` is the catalog that events are counted against, by default the newest.
    """
    folder = log_folder(context, domain)
    if not dry_run:
        seal(folder)
    segments, frames = [], []
    for segment, events in read_segments(folder, sealed=not dry_run):
        segments.append(segment)
        frames.append(events_frame(events))
    if items is None:
        items = _catalog(context, domain)
    logged = pl.concat(frames) if frames else pl.DataFrame(schema=EVENT_SCHEMA)
    newest = find_snapshot(context, domain, "events")
    known = pl.DataFrame(schema=EVENT_SCHEMA) if newest is None or logged.is_empty() else read_table(context, newest)
    ids = event_ids(logged)
    added = logged.filter(ids.is_first_distinct() & ~ids.is_in(event_ids(known).drop_nulls().implode()))
    unknown = ~added["item_id"].is_in(items["item_id"].implode()).fill_null(True)
    repeated, damaged = logged.height - added.height, sum(segment.damaged for segment in segments)
    counts = LogIngest(len(segments), logged.height, added.height, repeated, int(unknown.sum()), damaged)
    if added.is_empty():
        return LogRead(counts, segments, ())
    kind = "real" if newest is None else time_kind(newest)
    frame = pl.concat([known, added], how="diagonal").select(*EVENT_SCHEMA)
    frame = frame.sort(ORDER, maintain_order=True, nulls_last=True)
    return LogRead(counts, segments, (_checked(frame, _report(counts, known, added, unknown, kind), newest, sessions),))


def _catalog(context: Context, domain: str) -> pl.DataFrame:
    snapshot = find_snapshot(context, domain, "items")
    if snapshot is None:
        raise UsageError(f"{domain} has no items that the events could be on; give its catalog with --items FILE too.")
    return read_table(context, snapshot)


def _checked(
    frame: pl.DataFrame, report: ValidationReport, newest: SnapshotRecord | None, sessions: SessionSettings
) -> CheckedTable:
    provenance: dict[str, Any] = {
        "source": SOURCE,
        "format": FORMAT,
        "follows": None if newest is None else newest.ref,
        "mapping": {},
        "report": report.kept(),
        "waterfall": [step.to_json() for step in report.waterfall],
    }
    read = ReadResult("events", frame, report, {}, FORMAT, provenance=provenance)
    last = None if read.time_kind == "order" else frame["timestamp"].max()
    as_of = last if isinstance(last, datetime) else None
    return CheckedTable(read, content_hash(frame), None, as_of, cut_sessions(read, sessions))


def _report(
    counts: LogIngest, known: pl.DataFrame, added: pl.DataFrame, unknown: pl.Series, kind: TimeKind
) -> ValidationReport:
    rows = known.height + counts.rows
    kept = known.height + counts.added
    groups = []
    if counts.unknown_items:
        message = "item {value} is not in the catalog; its events wait for one that has it."
        places, values = unknown.arg_true() + 1, added["item_id"].filter(unknown)
        groups.append(ProblemGroup("warning", "unknown_item", "item_id", places, values, message))
    notes = [] if kind == "real" else ["the newest events tell no times of day, so sessions are cut as they were"]
    if counts.damaged:
        notes.append(f"{counts.damaged} lines of the log are no events; their files stay there, named *.damaged")
    steps = (Step("rows read", rows, rows), Step("events that were there already left out", rows, kept))
    return ValidationReport(SOURCE, tuple(groups), rows, kept, notes=tuple(notes), time_kind=kind, waterfall=steps)
