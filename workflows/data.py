"""Snapshots of a domain's items and events: take new ones, list them, see their sessions, compare two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError, UsageError
from ..registry.records import DomainRecord, SnapshotRecord
from ..results import Record

if TYPE_CHECKING:
    import polars as pl

    from ..catalog.schema import OnError
    from ..catalog.sessions import SessionSettings
    from .context import Context
    from .datasets import Table
    from .ingest import IngestResult, Request


@dataclass(frozen=True)
class DataIngested(Record):
    """Snapshots taken of one domain; `cached` where it had all of that content already."""

    domain: str
    items: IngestResult | None
    events: IngestResult | None
    cached: bool
    dry_run: bool = False


@dataclass(frozen=True)
class SessionsResult(Record):
    """Events cut into sessions: how many, and what each step of cleaning cost."""

    domain: str
    events: str
    settings: Mapping[str, Any]
    mode: str
    rows: int
    sessions: int
    users: int
    items: int
    rare_items: int
    waterfall: list[Mapping[str, Any]]


@dataclass(frozen=True)
class DiffResult(Record):
    """Two snapshots compared: item ids that came, went and changed, or (events) how many rows came and went."""

    old: str
    new: str
    kind: str
    n_added: int
    n_removed: int
    n_changed: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Data:
    """`context.data`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def ingest(
        self,
        domain: str,
        items: Table | None = None,
        events: Table | None = None,
        images: Path | str | None = None,
        until: datetime | None = None,
        since: datetime | None = None,
        item_map: Mapping[str, str] | None = None,
        event_map: Mapping[str, str] | None = None,
        on_error: OnError = "fail",
        event_type: str = "view",
        sessions: SessionSettings | None = None,
        dry_run: bool = False,
    ) -> DataIngested:
        """Take snapshots of new items or events of a domain; content that is there already is not written again.

        Args:
            domain: the domain.
            items: catalog file or table.
            events: event file or table; checked against `items`, else against the newest item snapshot.
            images: folder of the pictures; by default the folder of the catalog file.
            until: only events before this moment.
            since: only events from this moment on.
            item_map: canonical item column to source column; by default the one that the domain was added with.
            event_map: the same for events.
            on_error: `fail` stops at bad rows, `skip` leaves them out.
            event_type: type of events that name none.
            sessions: cut events into sessions this way from now on.
            dry_run: check everything, change nothing.

        Raises:
            UsageError: nothing is given.
            NotFoundError: no such domain or file.
            InvalidDataError: the data cannot be used.
            LockedError: another process is adding data to the domain.
        """
        from .ingest import Request

        if items is None and events is None and sessions is None:
            raise UsageError("There is nothing to ingest; give --items FILE, --events FILE or both.")
        record = self._context.registry.domains.get(domain)
        item_map = record.settings.get("item_map", {}) if item_map is None else item_map
        event_map = record.settings.get("event_map", {}) if event_map is None else event_map
        request = Request(items, events, images, item_map, event_map, on_error, since, until, event_type)
        if dry_run:
            return self._ingest(record, request, sessions, dry_run=True)
        with self._context.lock(f"data {domain}"):
            return self._ingest(record, request, sessions, dry_run=False)

    def _ingest(
        self, domain: DomainRecord, request: Request, sessions: SessionSettings | None, dry_run: bool
    ) -> DataIngested:
        from .datasets import session_settings
        from .ingest import check, note_image_root, prepare, record

        data = check(self._context, domain.name, request, sessions or session_settings(domain))
        prepared = [prepare(self._context, domain.name, part, dry_run) for part in data.parts]
        results = {p.part.kind: record(self._context, domain.name, p, dry_run) for p in prepared}
        unchanged = sessions is None or sessions.model_dump() == domain.settings.get("sessions")
        if not dry_run:
            for part in prepared:
                note_image_root(self._context, part)
            self._remember(domain, request, sessions)
        cached = unchanged and all(result.cached for result in results.values())
        return DataIngested(domain.name, results.get("items"), results.get("events"), cached, dry_run)

    def _remember(self, domain: DomainRecord, request: Request, sessions: SessionSettings | None) -> None:
        """Keep the column mappings and session settings that were given, for the next time."""
        changes: dict[str, Any] = {"item_map": dict(request.item_map), "event_map": dict(request.event_map)}
        changes = {key: mapping for key, mapping in changes.items() if mapping}
        if sessions is not None:
            changes["sessions"] = sessions.model_dump()
        if any(domain.settings.get(key) != value for key, value in changes.items()):
            # Read again: the snapshots just taken may have noted where their pictures lie.
            now = self._context.registry.domains.get(domain.name).settings
            self._context.registry.domains.set_settings(domain.name, {**now, **changes})

    def snapshots(self, domain: str | None = None, kind: str | None = None) -> list[SnapshotRecord]:
        """Snapshots, oldest first, of one domain and one kind if asked.

        Raises:
            NotFoundError: there is no such domain.
        """
        return self._context.registry.snapshots.list(domain, kind)

    def sessions(
        self, domain: str, events: str | None = None, settings: SessionSettings | None = None
    ) -> SessionsResult:
        """How the newest events of a domain, or those that `events` (a reference) names, fall into sessions.

        Args:
            domain: the domain.
            events: event snapshot.
            settings: try these instead of the domain's own.

        Raises:
            NotFoundError: no such domain or snapshot, or no events yet.
            UsageError: the reference is malformed or names something else.
            CorruptArtifactError: the stored table no longer matches its checksum.
        """
        from ..catalog.sessions import clean_sessions
        from .datasets import find_snapshot, read_table, session_settings, time_kind

        record = self._context.registry.domains.get(domain)
        snapshot = find_snapshot(self._context, domain, "events", events)
        if snapshot is None:
            raise NotFoundError(
                f"{domain} has no events yet; give it some with `hubspoke data ingest {domain} --events FILE`."
            )
        settings = settings or session_settings(record)
        cleaned = clean_sessions(read_table(self._context, snapshot), settings, time_kind(snapshot)).to_json()
        return SessionsResult(domain=domain, events=snapshot.ref, settings=settings.model_dump(), **cleaned)

    def diff(self, old: str, new: str) -> DiffResult:
        """What changed from one snapshot to another of the same kind.

        Raises:
            NotFoundError: no such snapshot.
            UsageError: a reference names no snapshot, or the two are of different kinds.
            CorruptArtifactError: a stored table no longer matches its checksum.
        """
        from ..catalog.snapshots import diff_snapshots
        from .datasets import read_table

        before, after = (self._context.registry.snapshots.get(ref) for ref in (old, new))
        if before.kind != after.kind:
            raise UsageError(
                f"{before.ref} holds {before.kind}, {after.ref} holds {after.kind}; compare two of the same kind."
            )
        tables = read_table(self._context, before), read_table(self._context, after)
        if before.kind == "events":
            came, went = _count_rows(*tables)
            return DiffResult(before.ref, after.ref, before.kind, came, went, 0)
        found = diff_snapshots(*tables)
        counts = len(found.added), len(found.removed), len(found.changed)
        return DiffResult(before.ref, after.ref, before.kind, *counts, found.added, found.removed, found.changed)


def _count_rows(old: pl.DataFrame, new: pl.DataFrame) -> tuple[int, int]:
    """Rows that came and rows that went, equal rows counted as often as they stand."""
    import polars as pl

    counts = [
        frame.select(row=pl.struct(pl.all()).struct.json_encode()).group_by("row").agg(pl.len().cast(pl.Int64).alias(n))
        for frame, n in ((old, "old"), (new, "new"))
    ]
    both = counts[0].join(counts[1], on="row", how="full", coalesce=True).fill_null(0)
    change = both["new"] - both["old"]
    return int(change.clip(lower_bound=0).sum()), int((-change).clip(lower_bound=0).sum())
