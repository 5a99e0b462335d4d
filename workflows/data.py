"""Snapshots of a domain's items and events: take new ones, list them, see their sessions, compare two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ..door import checked
from ..errors import NotFoundError, UsageError
from ..files import atomic_files
from ..registry.records import SnapshotRecord
from ..results import Record

if TYPE_CHECKING:
    from ..catalog.exports import ExportFormat
    from ..catalog.schema import Kind
    from ..catalog.sessions import SessionSettings
    from .catalog_change import CatalogChange
    from .context import Context
    from .datasets import Table
    from .ingest import IngestResult, ReadOptions
    from .inspection import FormatInfo, Inspection
    from .logged_events import LogIngest


@dataclass(frozen=True)
class DataIngested(Record):
    """Snapshots taken of one domain; `cached` where it had all of that content already."""

    domain: str
    items: IngestResult | None
    events: IngestResult | None
    cached: bool
    dry_run: bool = False
    log: LogIngest | None = None  # what the event log held, where it was taken up
    # What the newest catalog says otherwise than the live index; None where nothing is live, or it was filled from it.
    live: CatalogChange | None = None


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


@dataclass(frozen=True)
class DataExported(Record):
    """Snapshots of a domain written to files, or with `dry_run` what would be."""

    domain: str
    format: str
    items: str  # snapshot
    events: str | None
    files: Mapping[str, str]  # `items` and `events` to the file of each
    rows: Mapping[str, int]
    cut: bool  # whether events are sessions as training cuts them
    dry_run: bool = False


@checked
class Data:
    """`workspace.data`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def ingest(
        self,
        domain: str,
        items: Table | None = None,
        events: Table | None = None,
        *,
        from_log: bool = False,
        dry_run: bool = False,
        **options: Unpack[ReadOptions],
    ) -> DataIngested:
        """Take snapshots of new items or events of a domain; content that is there already is not written again.

        Events are checked against `items`, else against the newest item snapshot. `from_log` adds what services logged
        to the newest events, and empties the log. `live` of the result tells what the live index makes of the newest
        catalog. The `options` are those of `domain.add`; mappings and sessions
        default to those that the domain remembers, and new ones are remembered.
        """
        from .catalog_change import catalog_change
        from .datasets import session_settings
        from .ingest import IngestRequest, check, take_snapshots
        from .logged_events import NOTHING_LOGGED, read_log

        request = IngestRequest(items, events, **options)
        if items is None and events is None and request.sessions is None and not from_log:
            raise UsageError("There is nothing to ingest; give --items FILE, --events FILE or both, or --from-log.")
        if from_log and (events is not None or request.since or request.until):
            raise UsageError(
                "The event log is taken up whole and added to the newest events; leave --events, --since and --until "
                "to an ingest of their own."
            )
        domains = self._context.registry.domains
        known = domains.get(domain)
        request = request.completed(known.settings)
        changes = request.remembered()
        with nullcontext() if dry_run else self._context.lock(f"data {domain}"):
            sessions = request.sessions or session_settings(known)
            tables = check(self._context, domain, request, sessions, dry_run, again=True)
            logged = NOTHING_LOGGED
            if from_log:
                logged = read_log(self._context, domain, tables[0].read.frame if tables else None, sessions, dry_run)
            results = take_snapshots(self._context, domain, [*tables, *logged.tables], dry_run)
            if not dry_run:
                logged.remove()  # last: until its events are in a snapshot a segment is all there is of them
            if not dry_run and any(known.settings.get(key) != value for key, value in changes.items()):
                # Read again: the snapshots just taken may have noted where their pictures lie.
                domains.set_settings(domain, {**domains.get(domain).settings, **changes})
        unchanged = "sessions" not in changes or changes["sessions"] == known.settings.get("sessions")
        cached = unchanged and all(result.cached for result in results.values())
        taken = results.get("items"), results.get("events")
        about = (tables[0].read.frame, taken[0].ref, taken[0].content_hash) if taken[0] else ()
        change = catalog_change(self._context, domain, *about)
        return DataIngested(domain, *taken, cached, dry_run, logged.counts if from_log else None, change)

    def inspect(
        self,
        files: Sequence[Path | str],
        items: Sequence[Path | str] = (),
        events: Sequence[Path | str] = (),
        **options: Unpack[ReadOptions],
    ) -> Inspection:
        """Tell what is in files and how they would be read, before anything is written; no workspace is needed.

        Those that are not named as `items` or `events` are told apart by their columns.
        """
        from .inspection import inspect

        return inspect(files, items, events, **options)

    def formats(self, name: str | None = None) -> list[FormatInfo]:
        """Every format that is recognised, or the one of that name, with what is read from where."""
        from .inspection import formats

        return formats(name)

    def snapshots(self, domain: str | None = None, kind: str | None = None) -> list[SnapshotRecord]:
        """Snapshots, oldest first, of one domain and one kind if asked."""
        return self._context.registry.snapshots.list(domain, kind)

    def sessions(
        self, domain: str, events: str | None = None, settings: SessionSettings | None = None
    ) -> SessionsResult:
        """How the newest events of a domain, or those that `events` (a reference) names, fall into sessions.

        `settings` are tried instead of the domain's own.
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

    def export(
        self,
        domain: str,
        output: Path | str,
        format: ExportFormat = "csv",
        *,
        items: str | None = None,
        events: str | None = None,
        cut: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> DataExported:
        """Write the newest snapshots of a domain, or those that `items` and `events` name, to a folder.

        With `cut`, events are the sessions that training would cut them into, numbered in `session_id`.
        """
        import polars as pl

        from ..catalog.exports import file_name, write_export
        from ..catalog.sessions import clean_sessions
        from ..catalog.streams import drop_unknown_items
        from .datasets import find_snapshot, read_table, session_settings, time_kind

        record = self._context.registry.domains.get(domain)
        wanted: dict[Kind, str | None] = {"items": items, "events": events}
        found = {kind: find_snapshot(self._context, domain, kind, ref) for kind, ref in wanted.items()}
        snapshots = {kind: snapshot for kind, snapshot in found.items() if snapshot is not None}
        if "items" not in snapshots:
            raise NotFoundError(
                f"{domain} has no items yet; give it some with `hubspoke data ingest {domain} --items FILE`."
            )
        files = {kind: Path(output) / file_name(kind, format, domain) for kind in snapshots}
        there = [path for path in files.values() if path.exists()]
        if there and not force:
            raise UsageError(f"{there[0]} is there already; use another --output, or --force to replace it.")
        rows: dict[str, int] = {}
        with nullcontext() if dry_run else atomic_files(Path(output).absolute()) as folder:
            for kind, snapshot in snapshots.items():
                table = read_table(self._context, snapshot)
                if kind == "events" and cut:
                    table, _ = drop_unknown_items(table, read_table(self._context, snapshots["items"])["item_id"])
                    cleaned = clean_sessions(table, session_settings(record), time_kind(snapshot)).frame
                    table = cleaned.rename({"session": "session_id"}).with_columns(pl.col("session_id").cast(pl.String))
                rows[kind] = table.height
                if folder is not None:
                    write_export(table, kind, folder / files[kind].name, format, time_kind(snapshot))
        refs = {kind: snapshot.ref for kind, snapshot in snapshots.items()}
        named = {str(kind): str(path) for kind, path in files.items()}
        return DataExported(domain, format, refs["items"], refs.get("events"), named, rows, cut, dry_run)

    def diff(self, old: str, new: str) -> DiffResult:
        """What changed from one snapshot to another of the same kind."""
        import polars as pl

        from ..catalog.snapshots import diff_snapshots
        from .datasets import read_table

        before, after = (self._context.registry.snapshots.get(ref) for ref in (old, new))
        if before.kind != after.kind:
            raise UsageError(
                f"{before.ref} holds {before.kind}, {after.ref} holds {after.kind}; compare two of the same kind."
            )
        tables = read_table(self._context, before), read_table(self._context, after)
        if before.kind == "events":
            # Rows that came and rows that went, equal rows counted as often as they stand.
            row = pl.struct(pl.all()).struct.json_encode()
            old_rows, new_rows = (
                table.select(row=row).group_by("row").agg(pl.len().cast(pl.Int64).alias("n")) for table in tables
            )
            both = old_rows.join(new_rows, on="row", how="full", coalesce=True).fill_null(0)
            change = both["n_right"] - both["n"]
            came, went = int(change.clip(lower_bound=0).sum()), int((-change).clip(lower_bound=0).sum())
            return DiffResult(before.ref, after.ref, before.kind, came, went, 0)
        found = diff_snapshots(*tables)
        counts = len(found.added), len(found.removed), len(found.changed)
        return DiffResult(before.ref, after.ref, before.kind, *counts, found.added, found.removed, found.changed)
