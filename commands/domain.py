"""`hubspoke domain`: add, list, show, validate and archive product categories."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ..errors import InvalidDataError
from .call import Call, command_options
from .options import dry_run, ingest_options, read_options, reading_options
from .output import facts, table

if TYPE_CHECKING:
    from ..workflows.domains import DomainAdded, DomainDetails
    from ..workflows.ingest import IngestResult


@click.group()
def domain() -> None:
    """Product categories: each has its own catalog, events, spoke and indexes."""


@domain.command()
@click.argument("name")
@click.option("--items", metavar="FILE", help="Catalog: CSV, TSV, JSON Lines or Parquet.")
@click.option("--events", metavar="FILE", help="Events on these items, in one of the same formats.")
@ingest_options
@click.option("--description", default="", help="One line for people.")
@dry_run
@command_options
def add(
    call: Call, /, name: str, items: str | None, events: str | None, description: str, dry_run: bool, **given: Any
) -> None:
    """Add a category with its catalog and events. Bad data leaves nothing behind; the same call again changes nothing.

    \b
    Example:
      hubspoke domain add garden --items garden/items.csv --events garden/events.csv --images garden/photos
    """
    domains = call.new_workspace(dry_run).domain
    result = domains.add(name, items, events, description=description, dry_run=dry_run, **read_options(given))
    call.show(result, lambda: _added(result))


@domain.command("list")
@click.option("--archived", is_flag=True, help="Show archived domains too.")
@command_options
def list_(call: Call, archived: bool) -> None:
    """Every category with the number of its versions and what is live.

    \b
    Example:
      hubspoke domain list --json
    """
    domains = call.workspace().domain.list(archived)
    headers = ("domain", "items", "events", "spokes", "indexes", "releases", "live", "description")
    counted = ("item_snapshots", "event_snapshots", "spokes", "indexes", "releases")
    rows = [
        (
            d.name if d.status == "active" else f"{d.name} (archived)",
            *(getattr(d.counts, name) for name in counted),
            d.live,
            d.description,
        )
        for d in domains
    ]
    empty = "No domain yet; add one with `hubspoke domain add NAME --items FILE`."
    call.show_list("domains", domains, lambda: table(headers, rows, empty))


@domain.command()
@click.argument("name")
@command_options
def show(call: Call, name: str) -> None:
    """One category: its newest data, its spokes, where its aliases point, and what is behind in what is live.

    \b
    Example:
      hubspoke domain show garden
    """
    details = call.workspace().domain.show(name)
    call.show(details, lambda: _details(details))


@domain.command()
@click.argument("name", required=False)
@click.option("--items", metavar="FILE", help="Check this catalog.")
@click.option("--events", metavar="FILE", help="Check these events, against --items or NAME's catalog.")
@reading_options
@command_options
def validate(call: Call, /, name: str | None, items: str | None, events: str | None, **given: Any) -> None:
    """Check files before they are added, or the stored data and pictures of a category. Ends with 4 on a problem.

    \b
    Example:
      hubspoke domain validate --items garden/items.csv --events garden/events.csv
    """
    workspace = call.workspace() if name else call.unopened()
    result = workspace.domain.validate(name, items, events, **read_options(given))
    call.show(result, lambda: result.text)
    if not result.ok:
        sys.exit(InvalidDataError.exit_code)


@domain.command()
@click.argument("name")
@click.option("--restore", is_flag=True, help="Bring the category back.")
@dry_run
@command_options
def archive(call: Call, name: str, restore: bool, dry_run: bool) -> None:
    """Take a category out of the listings. Nothing of it is deleted.

    \b
    Example:
      hubspoke domain archive garden
    """
    result = call.workspace().domain.archive(name, restore, dry_run)
    done = "active" if restore else "archived"
    state = f"would be {done}" if dry_run and not result.cached else f"is {done}"
    call.show(result, lambda: f"{name} {state}{' already' if result.cached else ''}.")


def _added(result: DomainAdded) -> str:
    state = "would be added" if result.dry_run and result.domain is None else "is there"
    head = f"{result.name} {state}{' already, with the same data' if result.cached else ''}."
    return "\n".join([head, *map(ingested, filter(None, (result.items, result.events)))])


def ingested(result: IngestResult) -> str:
    """One ingested table in words."""
    ref = result.ref or f"a new snapshot of {result.kind}"
    state = " (cached)" if result.cached else " (dry run)" if result.dry_run else ""
    lines = [f"{ref}{state}: {result.rows} rows of {result.report['rows_in']}"]
    lines += [f"  {name} <- {source}" for name, source in result.mapping.items() if name != source]
    lines += [f"  {n} x {code}" for code, n in result.report["counts"].items()]
    lines += [f"  note: {note}" for note in result.report["notes"]]
    if result.sessions is not None:
        line = "  {sessions} sessions of {users} users on {items} items (mode {mode})"
        lines.append(line.format_map(result.sessions))
    return "\n".join(lines)


def _details(details: DomainDetails) -> str:
    record, items, events = details.domain, details.items, details.events
    head = facts(
        [
            ("domain", record.name),
            ("status", record.status),
            ("description", record.description or None),
            ("created", record.created_at),
            ("items", None if items is None else f"{items.ref}, {items.rows} rows"),
            ("events", None if events is None else f"{events.ref}, {events.rows} rows"),
            ("sessions", record.settings.get("sessions", {}).get("mode")),
        ]
    )
    spokes = [(s.ref, s.status, s.created_at) for s in details.spokes]
    aliases = [(a.ref, a.target) for a in details.aliases]
    parts = [head]
    parts += [table(("spoke", "status", "created"), spokes)] if spokes else []
    parts += [table(("alias", "points at"), aliases)] if aliases else []
    behind = [(f.part, f.what, f.has, f.newest, f.detail) for f in details.staleness]
    if record.live:
        parts.append(
            "behind\n" + table(("part", "what", "has", "newest", "detail"), behind) if behind else "up to date"
        )
    return "\n\n".join(parts)
