"""`hubspoke data`: take snapshots, list them, see how events fall into sessions, compare two snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from .call import Call, Noun
from .domain import ingested
from .options import (
    Files,
    SessionMode,
    choice,
    dry_run,
    events_ref,
    ingest_options,
    items_ref,
    read_options,
    read_sessions,
    table_files,
)
from .output import Columns, facts, table

if TYPE_CHECKING:
    from ..catalog.exports import ExportFormat

SHOWN_IDS = 10


@click.group(cls=Noun)
def data() -> None:
    """Snapshots: immutable, content-hashed copies of a category's items and events."""


@data.command(example="hubspoke data ingest garden --events garden/events.csv --until 2017-07-01")
@click.argument("domain")
@table_files("--items", "New catalog: CSV, TSV, JSON, XML or Parquet.")
@table_files("--events", "New events, in one of the same formats.")
@ingest_options
@dry_run
def ingest(call: Call, /, domain: str, items: Files, events: Files, dry_run: bool, **given: Any) -> None:
    """Take snapshots of new items or events. Content that is there already is not written again.

    Events are checked against --items, else against the newest item snapshot. Column mappings default to those that
    the category was added with.
    """
    result = call.workspace().data.ingest(domain, items, events, dry_run=dry_run, **read_options(given))
    parts = [ingested(part) for part in (result.items, result.events) if part is not None]
    settled = f"The session settings of {result.domain} {'would be set' if dry_run else 'are set'}."
    call.show(result, "\n".join(parts) or settled)


@data.command(example="hubspoke data snapshots garden --kind events")
@click.argument("domain", required=False)
@choice("--kind", ("items", "events"), "Only snapshots of this kind.", optional=True)
def snapshots(call: Call, domain: str | None, kind: str | None) -> None:
    """Snapshots, oldest first, of one category or of all."""
    columns: Columns = {
        "snapshot": "ref",
        "rows": "rows",
        "as of": "as_of",
        "taken": "created_at",
        "source": lambda snapshot: snapshot.details.get("source"),
        "content": lambda snapshot: snapshot.content_hash[:12],
    }
    call.show_list("snapshots", call.workspace().data.snapshots(domain, kind), columns, "No snapshot yet.")


@data.command(
    example=(
        "hubspoke data export garden --format recbole --output garden",
        "hubspoke data export garden --format parquet --output garden-data",
    )
)
@click.argument("domain")
@choice("--format", ("csv", "jsonl", "parquet", "recbole"), "How the tables are written.")
@click.option("-o", "--output", metavar="DIR", required=True, help="Folder to write to, made where it is missing.")
@items_ref
@events_ref
@click.option("--cut", is_flag=True, help="Write sessions as training cuts them, numbered in session_id.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@dry_run
def export(
    call: Call,
    domain: str,
    format: ExportFormat,
    output: str,
    items: str | None,
    events: str | None,
    cut: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Write the items and events of a category to files that other tools read, and that can be ingested again.

    `recbole` writes atomic files, DOMAIN.item and DOMAIN.inter; the others items and events under canonical names.
    Events are data of shoppers. Pictures are named, not copied.
    """
    result = call.workspace().data.export(
        domain, output, format, items=items, events=events, cut=cut, force=force, dry_run=dry_run
    )
    verb = "would be written" if dry_run else "written"
    lines = [f"{result.rows[kind]} rows of {kind} {verb} to {file}" for kind, file in result.files.items()]
    call.show(result, "\n".join(lines))


@data.command("sessions", example="hubspoke data sessions garden --events snapshot:garden/events/2")
@click.argument("domain")
@events_ref
@choice("--sessions", get_args(SessionMode), "Try this way of cutting instead of the category's own.", optional=True)
def sessions_(call: Call, domain: str, events: str | None, sessions: SessionMode | None) -> None:
    """How the events fall into sessions, and what each step of cleaning costs."""
    result = call.workspace().data.sessions(domain, events, read_sessions(sessions))
    shown = ("events", "mode", "sessions", "users", "items", "rare_items")
    head = facts((name.replace("_", " "), getattr(result, name)) for name in shown)
    # Rows left after each step, with sessions and users where they are counted.
    steps = [(s["name"], s["rows_in"], s["rows_out"], s.get("sessions"), s.get("users")) for s in result.waterfall]
    headers = ("step", "rows in", "rows out", "sessions", "users")
    call.show(result, lambda _: f"{head}\n\n{table(headers, steps, 'no steps')}")


@data.command(example="hubspoke data diff snapshot:garden/items/1 snapshot:garden/items/2")
@click.argument("old")
@click.argument("new")
def diff(call: Call, old: str, new: str) -> None:
    """What changed from one snapshot to another."""
    result = call.workspace().data.diff(old, new)
    lines = [f"{result.old} -> {result.new}"]
    for word in ("added", "removed", "changed"):
        count, ids = getattr(result, f"n_{word}"), getattr(result, word)
        shown = f": {', '.join(ids[:SHOWN_IDS])}{', ...' if len(ids) > SHOWN_IDS else ''}" if ids else ""
        lines.append(f"{count} {word}{shown}")
    call.show(result, "\n".join(lines))
