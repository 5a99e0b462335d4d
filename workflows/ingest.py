"""Tables from outside into snapshots: read, check, compare with what is there, and only then write.

A snapshot's files become an artifact in one rename and its row in one transaction, so a killed ingest leaves nothing
half-written and can simply be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ..catalog.parsing import utc
from ..catalog.readers import ReadResult, events_from_frame, items_from_frame, read_events, read_items
from ..catalog.schema import OnError, TimeKind
from ..catalog.sessions import SessionSettings, clean_sessions
from ..catalog.snapshots import content_hash, write_snapshot
from ..errors import CorruptArtifactError, NotFoundError, UsageError
from ..registry.artifacts.manifests import StoredArtifact
from ..registry.records import SnapshotRecord
from ..results import Record
from .datasets import TABLE_FOLDER, Table, find_snapshot, read_table

if TYPE_CHECKING:
    from .context import Context


# What a snapshot's details hold beside the reader's provenance.
OWN_DETAILS = ("time_kind", "image_root", "sessions")


@dataclass(frozen=True)
class Request:
    """What is to be ingested and how it is to be read.

    Attributes:
        items: catalog file or table.
        events: event file or table.
        images: folder of the pictures; by default the folder of the catalog file.
        item_map: canonical item column to source column, laid over the guess.
        event_map: the same for events.
        on_error: whether bad rows stop the ingest or are left out.
        since: only events from this moment on.
        until: only events before this moment.
        event_type: type of events that name none.
    """

    items: Table | None = None
    events: Table | None = None
    images: Path | str | None = None
    item_map: Mapping[str, str] = field(default_factory=dict)
    event_map: Mapping[str, str] = field(default_factory=dict)
    on_error: OnError = "fail"
    since: datetime | None = None
    until: datetime | None = None
    event_type: str = "view"


@dataclass(frozen=True)
class IngestResult(Record):
    """One table that became, or in a dry run would become, a snapshot.

    Attributes:
        ref: the snapshot; None where a dry run stopped short of making it.
        kind: `items` or `events`.
        rows: rows kept.
        content_hash: SHA-256 of the logical content.
        cached: whether the domain had a snapshot of that content already.
        dry_run: whether nothing was written.
        mapping: canonical column to source column.
        report: counts of problems and the waterfall of the reader.
        sessions: what the events look like cut into sessions (events only).
        snapshot: the registry's record.
    """

    ref: str | None
    kind: str
    rows: int
    content_hash: str
    cached: bool
    dry_run: bool
    mapping: Mapping[str, str]
    report: Mapping[str, Any]
    sessions: Mapping[str, Any] | None
    snapshot: SnapshotRecord | None


@dataclass(frozen=True)
class Checked:
    """A table that passed all checks and waits to be written."""

    kind: str
    frame: pl.DataFrame
    content_hash: str
    read: ReadResult
    as_of: datetime | None = None
    sessions: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Prepared:
    """A checked table with the snapshot that holds its content already, or the artifact that now does."""

    part: Checked
    known: SnapshotRecord | None
    stored: StoredArtifact | None


@dataclass(frozen=True)
class CheckedData:
    """Everything of one request that waits to be written."""

    items: Checked | None
    events: Checked | None

    @property
    def parts(self) -> tuple[Checked, ...]:
        """Those that there are, items first."""
        return tuple(part for part in (self.items, self.events) if part is not None)


def check(context: Context, domain: str, request: Request, sessions: SessionSettings) -> CheckedData:
    """Read and check everything that is asked for; nothing is written.

    Raises:
        NotFoundError: no such file.
        InvalidDataError: the data cannot be used; as `ValidationFailedError` with `.report` where rows have errors.
        UsageError: events without any catalog.
    """
    items = None
    if request.items is not None:
        context.progress("reading items", 0, 1)
        items = _checked("items", read_item_table(request))
        context.progress("reading items", 1, 1)
    events = None
    if request.events is not None:
        context.progress("reading events", 0, 1)
        item_ids = items.frame["item_id"] if items else _catalog_ids(context, domain)
        events = _checked_events(read_event_table(request, item_ids), request, sessions)
        context.progress("reading events", 1, 1)
    return CheckedData(items, events)


def read_item_table(request: Request) -> ReadResult:
    """The catalog of a request in the canonical schema.

    Raises:
        NotFoundError: no such file.
        InvalidDataError: the data cannot be used.
    """
    if isinstance(request.items, pl.DataFrame):
        return items_from_frame(request.items, request.item_map, request.images, request.on_error)
    return read_items(Path(request.items or ""), request.item_map, request.images, request.on_error)


def read_event_table(request: Request, item_ids: pl.Series | None) -> ReadResult:
    """The events of a request in the canonical schema, checked against the catalog's ids where they are given.

    Raises:
        NotFoundError: no such file.
        InvalidDataError: the data cannot be used.
    """
    how = (request.event_map, item_ids, request.on_error, request.event_type, request.until, request.since)
    if isinstance(request.events, pl.DataFrame):
        return events_from_frame(request.events, *how)
    return read_events(Path(request.events or ""), *how)


def _catalog_ids(context: Context, domain: str) -> pl.Series:
    snapshot = find_snapshot(context, domain, "items") if context.registry.domains.find(domain) else None
    if snapshot is None:
        raise UsageError(f"{domain} has no items that the events could be on; give its catalog with --items FILE too.")
    return read_table(context, snapshot)["item_id"]


def _checked(kind: str, read: ReadResult) -> Checked:
    return Checked(kind, read.frame, content_hash(read.frame), read)


def _checked_events(read: ReadResult, request: Request, sessions: SessionSettings) -> Checked:
    kind: TimeKind = read.report.time_kind or "real"
    cleaned = clean_sessions(read.frame, sessions, kind)
    as_of = None if request.until is None else utc(request.until)
    if as_of is None and kind != "order":
        newest = read.frame["timestamp"].max()
        as_of = newest if isinstance(newest, datetime) else None
    return replace(_checked("events", read), as_of=as_of, sessions=cleaned.to_json())


def known_snapshot(context: Context, domain: str, part: Checked) -> SnapshotRecord | None:
    """The domain's snapshot that holds the same content already, or None."""
    if context.registry.domains.find(domain) is None:
        return None
    same = (s for s in context.registry.snapshots.list(domain, part.kind) if s.content_hash == part.content_hash)
    return next(same, None)


def prepare(context: Context, domain: str, part: Checked, dry_run: bool = False) -> Prepared:
    """Write a checked table's files, unless the domain has a snapshot of that content; no row is written yet.

    Raises:
        HubspokeError: the disk is full, or the store cannot be written; nothing is left behind.
    """
    known = known_snapshot(context, domain, part)
    if dry_run:
        return Prepared(part, known, None)
    if known is not None:
        _repair(context, known, part)
        return Prepared(part, known, None)
    return Prepared(part, None, _write(context, part, part.read.provenance, _image_root(part)))


def _repair(context: Context, known: SnapshotRecord, part: Checked) -> None:
    """Write a lost or damaged snapshot's files once more, to the byte: same content, same manifest."""
    try:
        context.artifacts.open(known.artifact)
        return
    except (CorruptArtifactError, NotFoundError) as error:
        provenance = {name: value for name, value in known.details.items() if name not in OWN_DETAILS}
        stored = _write(context, part, provenance, known.details.get("image_root"))
        if stored.digest != known.artifact:
            raise CorruptArtifactError(
                f"{known.ref} is damaged, and another version of a library writes it otherwise than it was written; "
                "restore a backup of the artifacts."
            ) from error
    context.progress.note(f"{known.ref} was damaged; its files are as they were again.")


def record(context: Context, domain: str, prepared: Prepared, dry_run: bool = False) -> IngestResult:
    """Make a prepared table a snapshot of the domain; where its files were not written (a dry run), say what would be.

    Raises:
        NotFoundError: there is no such domain.
    """
    part = prepared.part
    if prepared.stored is not None:
        details = _details(part)
        snapshot, made = context.registry.snapshots.add(
            domain, part.kind, part.content_hash, part.frame.height, prepared.stored, part.as_of, details
        )
        return _result(part, snapshot, cached=not made, dry_run=False)
    return _result(part, prepared.known, cached=prepared.known is not None, dry_run=dry_run)


def _write(context: Context, part: Checked, provenance: Mapping[str, Any], image_root: str | None) -> StoredArtifact:
    context.progress(f"writing {part.kind}", 0, 1)
    with context.artifacts.stage() as staged:
        write_snapshot(
            part.frame,
            "items" if part.kind == "items" else "events",
            staged / TABLE_FOLDER,
            provenance,
            time_kind=part.read.report.time_kind,
            image_root=image_root,
        )
        stored = context.artifacts.commit(staged, f"{part.kind} snapshot")
    context.progress(f"writing {part.kind}", 1, 1)
    return stored


def _details(part: Checked) -> dict[str, Any]:
    return {
        **part.read.provenance,
        "time_kind": part.read.report.time_kind,
        "image_root": _image_root(part),
        "sessions": part.sessions,
    }


def _image_root(part: Checked) -> str | None:
    root = part.read.image_root
    return None if root is None else str(root.resolve())


def note_image_root(context: Context, prepared: Prepared) -> None:
    """The same pictures in another folder: the snapshot stays as it is, the domain remembers where they lie now."""
    known, root = prepared.known, _image_root(prepared.part)
    if known is None or root is None:
        return
    record = context.registry.domains.get(known.domain)
    roots = dict(record.settings.get("image_roots", {}))
    if root == (roots.get(known.ref) or known.details.get("image_root")):
        return
    context.registry.domains.set_settings(known.domain, {**record.settings, "image_roots": {**roots, known.ref: root}})


def _result(part: Checked, snapshot: SnapshotRecord | None, cached: bool, dry_run: bool) -> IngestResult:
    report = part.read.report
    return IngestResult(
        ref=None if snapshot is None else snapshot.ref,
        kind=part.kind,
        rows=part.frame.height,
        content_hash=part.content_hash,
        cached=cached,
        dry_run=dry_run,
        mapping=part.read.mapping.columns,
        report={**report.summary(), "waterfall": [step.to_json() for step in report.waterfall]},
        sessions=part.sessions,
        snapshot=snapshot,
    )
