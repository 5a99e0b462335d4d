"""`hubspoke domain`: add, list, show, validate, compare and archive product categories."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ..catalog.layout import GENERIC
from ..errors import InvalidDataError
from ..workflows.domains import DomainDetails
from .call import Call, Noun
from .options import Files, dry_run, ingest_options, read_options, reading_options, table_files
from .output import Columns, facts, records_table
from .plain import visible

if TYPE_CHECKING:
    from ..workflows.ingest import IngestResult


@click.group(cls=Noun)
def domain() -> None:
    """Product categories: each has its own catalog, events, spoke and indexes."""


@domain.command(
    example="hubspoke domain add garden --items garden/items.csv --events garden/events.csv --images garden/photos"
)
@click.argument("name")
@table_files("--items", "Catalog: CSV, TSV, JSON, XML or Parquet.")
@table_files("--events", "Events on these items, in one of the same formats.")
@ingest_options
@click.option("--description", default="", help="One line for people.")
@dry_run
def add(call: Call, /, name: str, items: Files, events: Files, description: str, dry_run: bool, **given: Any) -> None:
    """Add a category with its catalog and events. Bad data leaves nothing behind; the same again changes nothing."""
    domains = call.new_workspace(dry_run).domain
    result = domains.add(name, items, events, description=description, dry_run=dry_run, **read_options(given))
    state = "would be added" if result.dry_run and result.domain is None else "is there"
    head = f"{result.name} {state}{' already, with the same data' if result.cached else ''}."
    call.show(result, "\n".join([head, *map(ingested, filter(None, (result.items, result.events)))]))


@domain.command("list", example="hubspoke domain list --json")
@click.option("--archived", is_flag=True, help="Show archived domains too.")
def list_(call: Call, archived: bool) -> None:
    """Every category with the number of its versions and what is live."""
    columns: Columns = {
        "domain": lambda domain: domain.name if domain.status == "active" else f"{domain.name} (archived)",
        "items": "counts.item_snapshots",
        "events": "counts.event_snapshots",
        **{name: f"counts.{name}" for name in ("spokes", "indexes", "releases")},
        "live": "live",
        "description": "description",
    }
    empty = "No domain yet; add one with `hubspoke domain add NAME --items FILE`."
    call.show_list("domains", call.workspace().domain.list(archived), columns, empty)


@domain.command(example="hubspoke domain show garden")
@click.argument("name")
def show(call: Call, name: str) -> None:
    """One category: its newest data, its spokes, where its aliases point, and what is behind in what is live."""
    call.show(call.workspace().domain.show(name), _details)


@domain.command(example="hubspoke domain validate --items garden/items.csv --events garden/events.csv")
@click.argument("name", required=False)
@table_files("--items", "Check this catalog.")
@table_files("--events", "Check these events, against --items or NAME's catalog.")
@reading_options
def validate(call: Call, /, name: str | None, items: Files, events: Files, **given: Any) -> None:
    """Check files before they are added, or the stored data and pictures of a category. Ends with 4 on a problem."""
    workspace = call.workspace() if name else call.unopened()
    result = workspace.domain.validate(name, items, events, **read_options(given))
    call.show(result, result.text)
    if not result.ok:
        sys.exit(InvalidDataError.exit_code)


@domain.command(example="hubspoke domain similar garden")
@click.argument("name")
def similar(call: Call, name: str) -> None:
    """The established categories by how alike they are to one category, which may have no events yet.

    Every column is 1 for the category itself; `-` where there is nothing to compare. docs/transfer.md defines them.
    """
    columns: Columns = {
        name: name for name in ("domain", "rank", "language", "vision", "attributes", "behaviour", "shoppers")
    }
    empty = "No other category has a catalog; add one with `hubspoke domain add NAME --items FILE`."
    call.show(call.workspace().domain.similar(name), lambda found: records_table(found.similar, columns, empty))


@domain.command(example="hubspoke domain archive garden")
@click.argument("name")
@click.option("--restore", is_flag=True, help="Bring the category back.")
@dry_run
def archive(call: Call, name: str, restore: bool, dry_run: bool) -> None:
    """Take a category out of the listings. Nothing of it is deleted."""
    result = call.workspace().domain.archive(name, restore, dry_run)
    done = "active" if restore else "archived"
    state = f"would be {done}" if dry_run and not result.cached else f"is {done}"
    call.show(result, f"{name} {state}{' already' if result.cached else ''}.")


def ingested(result: IngestResult) -> str:
    """One ingested table in words."""
    ref, report = result.ref or f"a new snapshot of {result.kind}", result.report
    state = " (cached)" if result.cached else " (dry run)" if result.dry_run else ""
    form = "" if result.format == GENERIC else f", read as {result.format}"
    lines = [f"{ref}{state}: {result.rows} rows of {report['rows_in']}{form}"]
    own = [name for name, source in result.mapping.items() if name == source]
    lines += [f"  {name} <- {source}" for name, source in result.mapping.items() if name != source]
    lines += [f"  by their own names: {', '.join(own)}"] if own else []
    lines += [f"  {step['name']}: {step['rows_in']} rows became {step['rows_out']}"
              for step in report["waterfall"] if step["rows_in"] != step["rows_out"]]  # fmt: skip
    lines += [f"  {told['count']} x {told['code']}: {told['message']}" for told in report["told"]]
    lines += [f"  note: {note}" for note in report["notes"]]
    if found := result.sessions:
        lines.append("  {sessions} sessions of {users} users on {items} items (mode {mode})".format_map(found))
        lines += [f"  no session: {found['hint']}"] if "hint" in found else []
    return "\n".join(map(visible, lines))


def _details(details: DomainDetails) -> str:
    record, items, events = details.domain, details.items, details.events
    head = {
        "domain": record.name,
        "status": record.status,
        "description": record.description or None,
        "created": record.created_at,
        "items": items and f"{items.ref}, {items.rows} rows",
        "events": events and f"{events.ref}, {events.rows} rows",
        "sessions": record.settings.get("sessions", {}).get("mode"),
    }
    spokes = records_table(details.spokes, {"spoke": "ref", "status": "status", "created": "created_at"}, "")
    aliases = records_table(details.aliases, {"alias": "ref", "points at": "target"}, "")
    behind = records_table(details.staleness, {name: name for name in ("part", "what", "has", "newest", "detail")}, "")
    state = ("behind\n" + behind if behind else "up to date") if record.live else ""
    step = f"Bring the newest catalog live with `{details.next}`." if details.next else ""
    return "\n\n".join(filter(None, (facts(head.items()), spokes, aliases, state, step)))
