"""Product categories: add one with its data, look at it, check it, archive it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from ..door import checked
from ..errors import HubspokeError, UsageError
from ..forks import require_tables
from ..registry.records import AliasRecord, DomainRecord, ModelRecord, SnapshotRecord
from ..registry.references import check_domain_name
from ..results import Record

if TYPE_CHECKING:
    from ..catalog.intake import ReadResult
    from ..catalog.validation import ValidationReport
    from ..registry.lineage.staleness import Staleness
    from .context import Context
    from .datasets import Table
    from .ingest import IngestResult, ReadOptions
    from .similarity import SimilarDomains


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
    next: str | None  # the command that brings the newest catalog live; None where it is, or nothing is


@dataclass(frozen=True)
class DomainArchived(Record):
    """A domain taken out of the listings, or brought back; `cached` where it was so already."""

    domain: DomainRecord
    cached: bool
    dry_run: bool = False


@dataclass(frozen=True)
class Check(Record):
    """One thing looked at; `message` says what is wrong, or what was found."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True)
class Validation(Record):
    """What was checked: reports of tables, or checks of stored data; `text` is the same for a person."""

    ok: bool
    domain: str | None
    reports: tuple[Mapping[str, Any], ...]
    checks: tuple[Check, ...]
    text: str


@checked
class Domains:
    """`workspace.domain`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, archived: bool = False) -> list[DomainRecord]:
        """Every domain by name; the archived ones only if asked for."""
        return self._context.registry.domains.list(archived)

    def show(self, name: str) -> DomainDetails:
        """One domain with what it has."""
        from .catalog_change import next_step
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
            next=next_step(self._context, registry.releases.get(domain.live).index) if domain.live else None,
        )

    def add(
        self,
        name: str,
        items: Table | None = None,
        events: Table | None = None,
        *,
        description: str = "",
        dry_run: bool = False,
        **options: Unpack[ReadOptions],
    ) -> DomainAdded:
        """Add a category with its catalog and events; bad data leaves no domain behind.

        The same call again changes nothing (`cached`), and completes what a killed call left out. Column mappings and
        session settings are remembered for later ingests. Rows with errors raise a `ValidationFailedError`, which has
        a `.report`; `ReadOptions` explains the `options`.
        """
        from ..catalog.sessions import SessionSettings
        from .datasets import find_snapshot
        from .ingest import IngestRequest, check, take_snapshots

        check_domain_name(name)
        domains = self._context.registry.domains
        if events is not None and items is None and domains.find(name) is None:
            raise UsageError(f"{name} would have events but no items; give its catalog with --items FILE too.")
        request = IngestRequest(items, events, **options)
        sessions = request.sessions or SessionSettings()
        settings = {"sessions": sessions.model_dump(), **request.remembered()}
        with nullcontext() if dry_run else self._context.lock(f"data {name}"):
            existing = domains.find(name)
            if existing is not None:
                _refuse_other_settings(existing, settings, description)
            tables = check(self._context, name, request, sessions, dry_run)
            for table in tables if existing else ():
                # A kind of table that the domain lacks completes a killed call; any other must be there already.
                if table.known is None and find_snapshot(self._context, name, table.kind):
                    raise UsageError(
                        f"There is a domain {name!r} with other {table.kind} already; add a new version with "
                        f"`hubspoke data ingest {name} --{table.kind} FILE`."
                    )
                _note_overtaken(self._context, table.known)
            begin = None if existing else lambda: domains.add(name, description, settings)
            results = take_snapshots(self._context, name, tables, dry_run, begin)
            cached = existing is not None and all(result.cached for result in results.values())
            return DomainAdded(name, domains.find(name), results.get("items"), results.get("events"), cached, dry_run)

    def validate(
        self,
        name: str | None = None,
        items: Table | None = None,
        events: Table | None = None,
        **options: Unpack[ReadOptions],
    ) -> Validation:
        """Check tables before they are added, or the stored data and pictures of a domain; nothing is changed.

        With both a name and events but no items, the events are checked against the domain's newest catalog. Tables
        are read by the `options` of `add`, but for `on_error` and `sessions`: every problem is reported.
        """
        from .datasets import find_snapshot, read_table
        from .ingest import IngestRequest

        require_tables()
        if items is None and events is None:
            if name is None:
                raise UsageError("There is nothing to validate; name a domain, or give --items FILE or --events FILE.")
            return self._validate_stored(name)
        request = replace(IngestRequest(items, events, **options), on_error="fail")
        reports, catalog = [], None
        if request.items is not None:
            report, read = _report_of(request.read_items)
            reports.append(report)
            catalog = None if read is None else read.frame
        elif name is not None:
            snapshot = find_snapshot(self._context, name, "items")
            catalog = None if snapshot is None else read_table(self._context, snapshot)
        if request.events is not None:
            reports.append(_report_of(lambda: request.read_events(catalog))[0])
        return Validation(
            ok=all(report.ok for report in reports),
            domain=name,
            reports=tuple(report.to_json() for report in reports),
            checks=(),
            text="\n\n".join(report.to_text() for report in reports),
        )

    def _validate_stored(self, name: str) -> Validation:
        """Check every stored snapshot of a domain against its checksum, and the pictures of its newest items."""
        from .datasets import image_paths, load_dataset, read_table

        def pictures() -> str:
            paths = image_paths(load_dataset(self._context, name, with_events=False))
            return f"{sum(map(len, paths))} pictures of {sum(map(bool, paths))} items"

        def rows(snapshot: SnapshotRecord) -> str:
            return f"{read_table(self._context, snapshot).height} rows"

        snapshots = self._context.registry.snapshots.list(name)
        checks = [_check(snapshot.ref, partial(rows, snapshot)) for snapshot in snapshots]
        if any(snapshot.kind == "items" for snapshot in snapshots):
            checks.append(_check("pictures", pictures))
        if not checks:
            checks.append(Check("data", True, "no snapshot yet"))
        text = "\n".join(f"{'ok    ' if check.ok else 'failed'}  {check.name}: {check.message}" for check in checks)
        return Validation(all(check.ok for check in checks), name, (), tuple(checks), text)

    def similar(self, name: str) -> SimilarDomains:
        """The established categories, most similar first: in language, looks, attributes, behaviour and shoppers."""
        from .similarity import similar_domains

        return similar_domains(self._context, name)

    def archive(self, name: str, restore: bool = False, dry_run: bool = False) -> DomainArchived:
        """Take a domain out of the listings, or bring it back; nothing of it is deleted."""
        domain = self._context.registry.domains.get(name)
        cached = domain.status == ("active" if restore else "archived")
        if not dry_run and not cached:
            domain = self._context.registry.domains.archive(name, archived=not restore)
            running = self._context.registry.experiments.running(name)
            if running is not None and not restore:
                self._context.progress.note(
                    f"{running.ref} still runs, and nobody takes part while {name} is archived; "
                    f"`hubspoke experiment stop {name}` ends it."
                )
        return DomainArchived(domain, cached, dry_run)


def _report_of(read: Callable[[], ReadResult]) -> tuple[ValidationReport, ReadResult | None]:
    from ..catalog.validation import ValidationFailedError

    try:
        result = read()
    except ValidationFailedError as error:
        return error.report, None
    return result.report, result


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except HubspokeError as error:
        return Check(name, False, str(error))


def _note_overtaken(context: Context, known: SnapshotRecord | None) -> None:
    """Say of a catalog that is added again and was overtaken meanwhile which one stays the newest."""
    newest = None if known is None else context.registry.snapshots.list(known.domain, known.kind)[-1]
    if known is not None and newest is not None and known.kind == "items" and newest.ref != known.ref:
        context.progress.note(
            f"{known.ref} is this catalog, but {newest.ref} is newer and stays the newest; take it again with "
            f"`hubspoke data ingest {known.domain} --items FILE`."
        )


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
