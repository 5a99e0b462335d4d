"""Product categories: add one with its data, look at it, check it, archive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..registry.records import AliasRecord, DomainRecord, ModelRecord, SnapshotRecord
from ..registry.references import check_domain_name
from ..results import Record

if TYPE_CHECKING:
    from ..catalog.schema import OnError
    from ..catalog.sessions import SessionSettings
    from ..registry.lineage.staleness import Staleness
    from .context import Context
    from .datasets import Table
    from .ingest import CheckedData, IngestResult, Request
    from .validation import Validation


@dataclass(frozen=True)
class DomainAdded(Record):
    """A new domain; None as `domain` where a dry run stopped short of making it."""

    name: str
    domain: DomainRecord | None
    items: IngestResult | None
    events: IngestResult | None
    cached: bool
    dry_run: bool = False


@dataclass(frozen=True)
class DomainDetails(Record):
    """A domain with its newest snapshots, its spokes, where its aliases point, and what is behind in what is live."""

    domain: DomainRecord
    items: SnapshotRecord | None
    events: SnapshotRecord | None
    spokes: tuple[ModelRecord, ...]
    aliases: tuple[AliasRecord, ...]
    staleness: tuple[Staleness, ...]


@dataclass(frozen=True)
class DomainArchived(Record):
    """A domain taken out of the listings, or brought back; `cached` where it was so already."""

    domain: DomainRecord
    cached: bool
    dry_run: bool = False


class Domains:
    """`context.domain`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, archived: bool = False) -> list[DomainRecord]:
        """Every domain by name; the archived ones only if asked for."""
        return self._context.registry.domains.list(archived)

    def show(self, name: str) -> DomainDetails:
        """One domain with what it has.

        Raises:
            NotFoundError: there is no such domain.
        """
        from .staleness import domain_staleness

        registry = self._context.registry
        domain = registry.domains.get(name)
        newest = {snapshot.kind: snapshot for snapshot in registry.snapshots.list(name)}
        return DomainDetails(
            domain=domain,
            items=newest.get("items"),
            events=newest.get("events"),
            spokes=tuple(registry.models.list("spoke", name)),
            aliases=tuple(registry.aliases.list(name)),
            staleness=domain_staleness(self._context, name),
        )

    def add(
        self,
        name: str,
        items: Table | None = None,
        events: Table | None = None,
        images: Path | str | None = None,
        item_map: Mapping[str, str] | None = None,
        event_map: Mapping[str, str] | None = None,
        on_error: OnError = "fail",
        sessions: SessionSettings | None = None,
        description: str = "",
        until: datetime | None = None,
        since: datetime | None = None,
        event_type: str = "view",
        dry_run: bool = False,
    ) -> DomainAdded:
        """Add a category with its catalog and events; bad data leaves no domain behind.

        The same call again changes nothing (`cached`), and completes what a killed call left out.

        Args:
            name: lower-case letters, digits and underscores.
            items: catalog file or table.
            events: event file or table; its items must be in the catalog.
            images: folder of the pictures; by default the folder of the catalog file.
            item_map: canonical item column to source column, laid over the guess; later ingests use it too.
            event_map: the same for events.
            on_error: `fail` stops at bad rows, `skip` leaves them out.
            sessions: how events are cut into sessions.
            description: one line for people.
            until: only events before this moment.
            since: only events from this moment on.
            event_type: type of events that name none.
            dry_run: check everything, change nothing.

        Raises:
            UsageError: the name is malformed or taken by a domain with other data.
            NotFoundError: no such file.
            InvalidDataError: the data cannot be used.
            LockedError: another process is adding data to the domain.
        """
        from .ingest import Request

        check_domain_name(name)
        if events is not None and items is None and self._context.registry.domains.find(name) is None:
            raise UsageError(f"{name} would have events but no items; give its catalog with --items FILE too.")
        request = Request(items, events, images, item_map or {}, event_map or {}, on_error, since, until, event_type)
        if dry_run:
            return self._add(name, description, request, sessions, dry_run=True)
        with self._context.lock(f"data {name}"):
            return self._add(name, description, request, sessions, dry_run=False)

    def _add(
        self, name: str, description: str, request: Request, sessions: SessionSettings | None, dry_run: bool
    ) -> DomainAdded:
        from ..catalog.sessions import SessionSettings
        from .ingest import check, note_image_root, prepare, record

        settings = _settings(request, sessions or SessionSettings())
        existing = self._context.registry.domains.find(name)
        if existing is not None:
            _refuse_other_settings(existing, settings, description)
        data = check(self._context, name, request, sessions or SessionSettings())
        if existing is not None:
            self._refuse_other_data(existing, data)
        # Files first, rows last: a full disk or a kill while tables are written leaves no domain behind.
        prepared = [prepare(self._context, name, part, dry_run) for part in data.parts]
        if existing is None and not dry_run:
            self._context.registry.domains.add(name, description, settings)
        results = {p.part.kind: record(self._context, name, p, dry_run) for p in prepared}
        for part in () if dry_run else prepared:
            note_image_root(self._context, part)
        domain = self._context.registry.domains.find(name)
        cached = existing is not None and all(result.cached for result in results.values())
        return DomainAdded(name, domain, results.get("items"), results.get("events"), cached, dry_run)

    def _refuse_other_data(self, existing: DomainRecord, data: CheckedData) -> None:
        """A table of a kind that the domain lacks completes a killed call; any other must be there already."""
        from .ingest import known_snapshot

        has = {"items": existing.counts.item_snapshots, "events": existing.counts.event_snapshots}
        for part in data.parts:
            if has[part.kind] and known_snapshot(self._context, existing.name, part) is None:
                raise UsageError(
                    f"There is a domain {existing.name!r} with other {part.kind} already; add a new version with "
                    f"`hubspoke data ingest {existing.name} --{part.kind} FILE`."
                )

    def validate(
        self,
        name: str | None = None,
        items: Table | None = None,
        events: Table | None = None,
        images: Path | str | None = None,
        item_map: Mapping[str, str] | None = None,
        event_map: Mapping[str, str] | None = None,
        event_type: str = "view",
    ) -> Validation:
        """Check tables before they are added, or the stored data and pictures of a domain.

        With both a name and events but no items, the events are checked against the domain's newest catalog.

        Raises:
            UsageError: neither a name nor a table is given.
            NotFoundError: no such domain or file.
        """
        from .ingest import Request
        from .validation import validate_domain, validate_tables

        request = Request(
            items, events, images, item_map or {}, event_map or {}, on_error="fail", event_type=event_type
        )
        if items is not None or events is not None:
            return validate_tables(self._context, name, request)
        if name is None:
            raise UsageError("There is nothing to validate; name a domain, or give --items FILE or --events FILE.")
        return validate_domain(self._context, name)

    def archive(self, name: str, restore: bool = False, dry_run: bool = False) -> DomainArchived:
        """Take a domain out of the listings, or bring it back; nothing of it is deleted.

        Raises:
            NotFoundError: there is no such domain.
        """
        domain = self._context.registry.domains.get(name)
        cached = domain.status == ("active" if restore else "archived")
        if not dry_run and not cached:
            domain = self._context.registry.domains.archive(name, archived=not restore)
        return DomainArchived(domain, cached, dry_run)


def _settings(request: Request, sessions: SessionSettings) -> dict[str, Any]:
    settings: dict[str, Any] = {"sessions": sessions.model_dump()}
    for key, mapping in (("item_map", request.item_map), ("event_map", request.event_map)):
        if mapping:
            settings[key] = dict(mapping)
    return settings


def _refuse_other_settings(existing: DomainRecord, settings: Mapping[str, Any], description: str) -> None:
    if existing.status == "archived":
        raise UsageError(
            f"{existing.name} is archived; bring it back with `hubspoke domain archive {existing.name} --restore`."
        )
    if existing.settings.get("sessions") != settings["sessions"]:
        raise UsageError(
            f"There is a domain {existing.name!r} with other session settings already; change them with "
            f"`hubspoke data ingest {existing.name} --sessions MODE`."
        )
    if description not in ("", existing.description):
        raise UsageError(
            f"There is a domain {existing.name!r} described as {existing.description!r} already; "
            "leave --description out or choose another name."
        )
