"""Tables from outside into snapshots: read, check, compare with what is there, and only then write.

A snapshot's files become an artifact in one rename and its row in one transaction, so a killed ingest leaves nothing
half-written and can simply be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import polars as pl

from ..catalog.downloads import Downloads
from ..catalog.feeds.formats import format_names
from ..catalog.guessing import guess_mapping
from ..catalog.intake import ReadResult
from ..catalog.layout import Layout, Level, TimeUnit
from ..catalog.parsing import utc
from ..catalog.readers import read_events, read_items
from ..catalog.schema import Kind, OnError
from ..catalog.sessions import SessionSettings, clean_sessions, why_none
from ..catalog.snapshots import content_hash, write_snapshot
from ..catalog.tables import Files, lacks_header
from ..catalog.variants import variant_ids
from ..errors import CorruptArtifactError, NotFoundError, UsageError
from ..forks import require_tables
from ..registry.artifacts.manifests import StoredArtifact
from ..registry.records import SnapshotRecord
from ..results import Record
from .datasets import TABLE_FOLDER, Table, find_snapshot, read_table

if TYPE_CHECKING:
    from .context import Context

# Inside the workspace: pictures that were fetched from addresses.
IMAGES = "images"
# What a snapshot's details hold beside the reader's provenance.
OWN_DETAILS = ("time_kind", "image_root", "sessions")
# How tables are read, with the defaults: what was told otherwise is remembered by the domain.
REMEMBERED: dict[str, Any] = {
    "item_map": None, "event_map": None, "format": None, "level": "product", "header": True, "columns": None,
    "encoding": None, "date_format": None, "time_unit": None, "event_types": None,
}  # fmt: skip


class ReadOptions(TypedDict, total=False):
    """How tables are read and events cut into sessions, as keywords; None is the default of each."""

    images: Path | str | None  # folder of the pictures; by default the folder of the catalog file
    item_map: Mapping[str, str] | None  # canonical item column to source column, over the guess
    event_map: Mapping[str, str] | None  # the same for events
    event_type: str  # of events that name none; by default `view`
    on_error: OnError  # `fail` stops at bad rows, `skip` leaves them out
    since: datetime | None  # only events from this moment on
    until: datetime | None  # only events before this moment
    sessions: SessionSettings | None  # how events are cut; by default as the domain is, or the settings' defaults
    format: str | Sequence[str] | None  # formats of `catalog.feeds` where one is not told by its columns
    level: Level  # what an item is where products have variants
    header: bool  # whether a first line names the columns
    columns: Sequence[str] | None  # names for the columns of a file without header line
    encoding: str | None  # of text that is no UTF-8
    date_format: str | None  # of times, in the letters of strftime
    time_unit: TimeUnit | None  # of times that are numbers
    event_types: Mapping[str, str] | None  # a word of the file to an event type, or to `skip`
    download_images: bool  # fetch pictures that are addresses into the workspace, once


@dataclass(frozen=True)
class IngestRequest:
    """What is to be ingested, and how: tables or their files, and `ReadOptions` with their defaults."""

    items: Table | None = None
    events: Table | None = None
    images: Path | str | None = None
    item_map: Mapping[str, str] | None = None
    event_map: Mapping[str, str] | None = None
    event_type: str = "view"
    on_error: OnError = "fail"
    since: datetime | None = None
    until: datetime | None = None
    sessions: SessionSettings | None = None
    format: str | Sequence[str] | None = None
    level: Level = "product"
    header: bool = True
    columns: Sequence[str] | None = None
    encoding: str | None = None
    date_format: str | None = None
    time_unit: TimeUnit | None = None
    event_types: Mapping[str, str] | None = None
    download_images: bool = False

    def layout(self, kind: Kind) -> Layout:
        """What is known of the file of that kind."""
        named = self._names_columns_of(kind)
        return Layout(
            format=self._format(kind),
            level=self.level,
            header=self.header or not (named if self.columns else self._lacks_header(kind)),
            columns=tuple(self.columns) if self.columns and named else None,
            encoding=self.encoding,
            date_format=self.date_format,
            time_unit=self.time_unit,
            event_types=dict(self.event_types or {}),
        )

    def _names_columns_of(self, kind: Kind) -> bool:
        """Whether `columns` are the names of that table, by what they or the mappings take for a user or a title."""
        names = list(self.columns or ())
        frame = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        events, items = guess_mapping(frame, "events").mapping, guess_mapping(frame, "items").mapping
        mapped = [len(set(names) & set((overrides or {}).values())) for overrides in (self.event_map, self.item_map)]
        if "user_id" in events or mapped[0] > mapped[1]:
            return kind == "events"
        if "title" in items or mapped[1] > mapped[0] or "timestamp" not in events:
            return kind == "items" or self.items is None
        return kind == "events" or self.events is None

    def _lacks_header(self, kind: Kind) -> bool:
        """Whether `--no-header` means that table: one that is given alone, or whose first line looks like data."""
        files = self._files
        lacking = [name for name, named in files.items() if lacks_header(named)] if len(files) > 1 else []
        return kind in (lacking or files)

    @property
    def _files(self) -> dict[str, Files]:
        """The tables that are files."""
        tables = {"items": self.items, "events": self.events}
        return {name: table for name, table in tables.items() if not (table is None or isinstance(table, pl.DataFrame))}

    def _format(self, kind: Kind) -> str | None:
        """The format asked for that is one of that kind; of several, or of both tables, only some may be."""
        asked = [self.format] if isinstance(self.format, str) else list(self.format or ())
        unknown = sorted(set(asked) - set(format_names()))
        if unknown:
            raise UsageError(f"{unknown[0]!r} is no format; use one of {', '.join(format_names())}.")
        fitting = [name for name in asked if name in format_names(kind)]
        if len(fitting) > 1:
            raise UsageError(f"{' and '.join(fitting)} are both formats of {kind}; name one.")
        if not fitting and asked and (self.items is None or self.events is None):
            raise UsageError(f"{asked[0]!r} is no format of {kind}; use one of {', '.join(format_names(kind))}.")
        return fitting[0] if fitting else None

    def read_items(self, downloads: Downloads | None = None) -> ReadResult:
        """The catalog in the canonical schema; `items` must be given. Addresses are fetched as `downloads` says."""
        assert self.items is not None
        return read_items(
            self.items, self.item_map, self.images, self.on_error, layout=self.layout("items"), downloads=downloads
        )

    def read_events(self, items: pl.DataFrame | None) -> ReadResult:
        """The events in the canonical schema, checked against the catalog's ids if known; `events` must be given."""
        assert self.events is not None
        return read_events(
            self.events,
            self.event_map,
            None if items is None else items["item_id"],
            self.on_error,
            default_event_type=self.event_type,
            until=self.until,
            since=self.since,
            layout=self.layout("events"),
            variants=None if items is None else variant_ids(items),
            attributes=None if items is None else items["attributes"],
        )

    def completed(self, settings: Mapping[str, Any]) -> IngestRequest:
        """Itself, with what a domain's settings say of whatever was left open."""
        left_open = [name for name in REMEMBERED if getattr(self, name) == REMEMBERED[name] and name in settings]
        completed = replace(self, **{name: settings[name] for name in left_open})
        if "header" in left_open and not completed.columns and not any(map(lacks_header, self._files.values())):
            # That an earlier file had no header line says nothing of one that has it.
            completed = replace(completed, header=True)
        return completed

    def remembered(self) -> dict[str, Any]:
        """What a domain's settings keep of it, for the next ingest."""
        given = {name: getattr(self, name) for name in REMEMBERED if getattr(self, name) not in (REMEMBERED[name], {})}
        if self.sessions is not None:
            given["sessions"] = self.sessions.model_dump()
        return given


@dataclass(frozen=True)
class IngestResult(Record):
    """One table that became, or in a dry run would become, a snapshot; `cached` where the domain had its content."""

    ref: str | None  # None where a dry run stopped short of making it
    kind: str  # `items` or `events`
    format: str  # of `catalog.feeds`, or `generic`
    rows: int  # kept
    content_hash: str
    cached: bool
    dry_run: bool
    mapping: Mapping[str, str]  # canonical to source column
    report: Mapping[str, Any]  # problems with their counts, why columns were read so, and the waterfall of the reader
    sessions: Mapping[str, Any] | None  # what events look like cut into sessions
    snapshot: SnapshotRecord | None


@dataclass(frozen=True)
class CheckedTable:
    """A table that passed all checks, and the domain's snapshot that holds the same content already."""

    read: ReadResult
    content_hash: str
    known: SnapshotRecord | None
    as_of: datetime | None = None
    sessions: Mapping[str, Any] | None = None
    again: bool = False  # whether it becomes the newest once more, as another has overtaken the known one

    @property
    def kind(self) -> str:
        """`items` or `events`."""
        return self.read.kind

    @property
    def image_root(self) -> str | None:
        """Where its pictures lie."""
        return None if self.read.image_root is None else str(self.read.image_root.resolve())


def check(
    context: Context,
    domain: str,
    request: IngestRequest,
    sessions: SessionSettings,
    dry_run: bool = False,
    again: bool = False,
) -> list[CheckedTable]:
    """Read and check what is asked for, items first; nothing is written, and the domain need not exist yet.

    With `again` a catalog that was overtaken by another becomes the newest once more: what was sold out is back.

    Only pictures at addresses are fetched already, into the workspace and not in a dry run: to be checked as others.
    """
    require_tables()
    exists = context.registry.domains.find(domain) is not None

    def table(read: ReadResult, as_of: datetime | None = None, cut: Mapping[str, Any] | None = None) -> CheckedTable:
        taken = context.registry.snapshots.list(domain, read.kind) if exists else []
        content = content_hash(read.frame)
        known = next((snapshot for snapshot in reversed(taken) if snapshot.content == content), None)
        back = again and read.kind == "items" and known is not None and known.ref != taken[-1].ref
        return CheckedTable(read, content, known, as_of, cut, back and _is_sound(context, known))

    checked = []
    items = None
    if request.items is not None:
        context.progress("reading items", 0, 1)
        fetch = request.download_images and not dry_run
        pictures = Downloads(context.settings.workspace / IMAGES, progress=context.progress.stage("fetching pictures"))
        read = request.read_items(pictures if fetch else None)
        items = read.frame
        checked.append(table(read))
        context.progress("reading items", 1, 1)
    if request.events is not None:
        context.progress("reading events", 0, 1)
        if items is None:
            snapshot = find_snapshot(context, domain, "items") if exists else None
            if snapshot is None:
                raise UsageError(
                    f"{domain} has no items that the events could be on; give its catalog with --items FILE too."
                )
            items = read_table(context, snapshot)
        read = request.read_events(items)
        cut = cut_sessions(read, sessions)
        # Known up to what was asked for, else up to the newest; bare counters have no moment.
        newest = None if read.time_kind == "order" else read.frame["timestamp"].max()
        as_of = utc(request.until) if request.until else newest if isinstance(newest, datetime) else None
        checked.append(table(read, as_of, cut))
        context.progress("reading events", 1, 1)
    return checked


def cut_sessions(read: ReadResult, settings: SessionSettings) -> dict[str, Any]:
    """What events look like cut into sessions; where there is none, why."""
    cut = clean_sessions(read.frame, settings, read.time_kind).to_json()
    if cut["sessions"] == 0:
        whole = settings.model_copy(update={"mode": "per_user"})
        cut["hint"] = why_none(cut["mode"], settings, clean_sessions(read.frame, whole).frame["user_id"].n_unique())
    return cut


def take_snapshots(
    context: Context,
    domain: str,
    tables: Sequence[CheckedTable],
    dry_run: bool,
    begin: Callable[[], object] | None = None,
) -> dict[str, IngestResult]:
    """Make checked tables snapshots of the domain, by kind; a dry run says what would become of them.

    Files first, rows last, with `begin` (which makes a new domain) between them: a full disk or a kill while tables are
    written leaves no domain behind.
    """
    if dry_run:
        there = {table.kind: None if table.again else table.known for table in tables}
        return {table.kind: _result(table, there[table.kind], there[table.kind] is not None, True) for table in tables}
    stored = [_store(context, table) for table in tables]
    if begin is not None:
        begin()
    results = {}
    for table, files in zip(tables, stored, strict=True):
        snapshot, made = table.known, False
        if files is not None:
            own = (table.read.report.time_kind, table.image_root, table.sessions)
            details = {**table.read.provenance, **dict(zip(OWN_DETAILS, own, strict=True))}
            what = (domain, table.kind, table.content_hash, table.read.frame.height, files, table.as_of)
            snapshot, made = context.registry.snapshots.add(*what, details, table.again)
        results[table.kind] = _result(table, snapshot, cached=not made, dry_run=False)
    for table in tables:
        known, root = table.known, table.image_root
        if known is None or root is None or table.again:
            continue
        # The same pictures in another folder: the snapshot stays as it is, the domain remembers where they lie now.
        record = context.registry.domains.get(known.domain)
        roots = dict(record.settings.get("image_roots", {}))
        if root != (roots.get(known.ref) or known.details.get("image_root")):
            settings = {**record.settings, "image_roots": {**roots, known.ref: root}}
            context.registry.domains.set_settings(known.domain, settings)
    return results


def _is_sound(context: Context, snapshot: SnapshotRecord | None) -> bool:
    """Whether the files of a snapshot are as they were written; others are to be written once more."""
    try:
        return snapshot is not None and bool(context.artifacts.open(snapshot.artifact))
    except (CorruptArtifactError, NotFoundError):
        return False


def _store(context: Context, table: CheckedTable) -> StoredArtifact | None:
    """Write the files of new content; those of a known snapshot that are lost or damaged are written once more."""
    known = table.known
    if known is None or table.again:
        return _write(context, table, table.read.provenance, table.image_root)
    try:
        context.artifacts.open(known.artifact)
    except (CorruptArtifactError, NotFoundError) as error:
        # To the byte: same content, same manifest.
        provenance = {name: value for name, value in known.details.items() if name not in OWN_DETAILS}
        if _write(context, table, provenance, known.details.get("image_root")).digest != known.artifact:
            raise CorruptArtifactError(
                f"{known.ref} is damaged, and another version of a library writes it otherwise than it was written; "
                "restore a backup of the artifacts."
            ) from error
        context.progress.note(f"{known.ref} was damaged; its files are as they were again.")
    return None


def _write(
    context: Context, table: CheckedTable, provenance: Mapping[str, Any], image_root: str | None
) -> StoredArtifact:
    context.progress(f"writing {table.kind}", 0, 1)
    with context.stage() as staged:
        write_snapshot(
            table.read.frame,
            table.read.kind,
            staged / TABLE_FOLDER,
            provenance,
            time_kind=table.read.report.time_kind,
            image_root=image_root,
        )
        stored = context.commit(staged, f"{table.kind} snapshot")
    context.progress(f"writing {table.kind}", 1, 1)
    return stored


def _result(table: CheckedTable, snapshot: SnapshotRecord | None, cached: bool, dry_run: bool) -> IngestResult:
    report = table.read.report
    return IngestResult(
        ref=None if snapshot is None else snapshot.ref,
        kind=table.kind,
        format=table.read.format,
        rows=table.read.frame.height,
        content_hash=table.content_hash,
        cached=cached,
        dry_run=dry_run,
        mapping=table.read.mapping,
        report={
            **report.summary(),
            "told": report.told(),
            "reasons": dict(report.reasons),
            "waterfall": [step.to_json() for step in report.waterfall],
        },
        sessions=table.sessions,
        snapshot=snapshot,
    )
