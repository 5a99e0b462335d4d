"""`hubspoke data`: take snapshots, list them, see how events fall into sessions, compare two snapshots."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..errors import InvalidDataError
from ..files import atomic_write
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
    reading_options,
    table_files,
)
from .output import Columns, facts, table
from .plain import visible

if TYPE_CHECKING:
    from ..catalog.exports import ExportFormat
    from ..workflows.catalog_change import CatalogChange
    from ..workflows.inspection import FileInspection, Inspection
    from ..workflows.logged_events import LogIngest

SHOWN_IDS = 10


@click.group(cls=Noun)
def data() -> None:
    """Snapshots: immutable, content-hashed copies of a category's items and events."""


@data.command(
    example=(
        "hubspoke data ingest garden --events garden/events.csv --until 2017-07-01",
        "hubspoke data ingest garden --from-log",
    )
)
@click.argument("domain")
@table_files("--items", "New catalog: CSV, TSV, JSON, XML or Parquet.")
@table_files("--events", "New events, in one of the same formats.")
@click.option("--from-log", is_flag=True, help="Add what services logged to the newest events, and empty the log.")
@ingest_options
@dry_run
def ingest(
    call: Call, /, domain: str, items: Files, events: Files, from_log: bool, dry_run: bool, **given: Any
) -> None:
    """Take snapshots of new items or events. Content that is there already is not written again.

    Events are checked against --items, else against the newest item snapshot. Column mappings default to those that
    the category was added with.
    """
    options = read_options(given)
    result = call.workspace().data.ingest(domain, items, events, from_log=from_log, dry_run=dry_run, **options)
    parts = [ingested(part) for part in (result.items, result.events) if part is not None]
    parts += [] if result.log is None else [_taken_up(result.log, dry_run)]
    parts += [] if result.live is None else [_behind(result.live)]
    settled = f"The session settings of {result.domain} {'would be set' if dry_run else 'are set'}."
    call.show(result, "\n".join(parts) or settled)


def _behind(live: CatalogChange) -> str:
    """What lists show of the newest catalog at once, and what they cannot know before its index serves."""
    at_once = {
        "left the catalog and are not recommended": live.left,
        "became unavailable and are not recommended": live.unavailable,
        "are available again": live.available,
        "have another title": live.titles,
        "have another price": live.prices,
        "have another picture": live.pictures,
        "are of another category": live.categories,
    }
    later = {"are new and in no list": live.new, "are ranked by what they were before": live.outdated}
    lines = [f"live: {live.release} serves from {live.index}, filled from {live.has}"]
    for when, parts in (("shown at once", at_once), ("not before the next step", later)):
        lines += [f"  {when}: items that {what}: {items}" for what, items in parts.items() if items.count]
    return "\n".join([*lines, f"Bring the newest catalog live with `{live.next}`."])


def _taken_up(log: LogIngest, dry_run: bool) -> str:
    """What became of an event log."""
    verb = "would be added" if dry_run else "added"
    beside = {"were there already": log.duplicates, "are on unknown items": log.unknown_items}
    told = "".join(f", {count} {what}" for what, count in beside.items() if count)
    return f"event log: {log.added} of {log.rows} events {verb}{told}"


@data.command(example="hubspoke data inspect garden/items.csv garden/events.csv -o map.yaml")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--items", multiple=True, metavar="FILE", help="A file that is a catalog, whatever it looks like.")
@click.option("--events", multiple=True, metavar="FILE", help="A file of events, whatever it looks like.")
@click.option("-o", "--output", metavar="FILE", help="Write the mapping as YAML, for --map and --event-map.")
@reading_options
def inspect(
    call: Call,
    /,
    files: tuple[str, ...],
    items: tuple[str, ...],
    events: tuple[str, ...],
    output: str | None,
    **given: Any,
) -> None:
    """Tell what is in files and how they would be read, before anything is written.

    Which file is a catalog and which holds events is told by their columns. Ends with 4 where a file cannot be read at
    all.
    """
    result = call.unopened().data.inspect(files, items, events, **read_options(given))
    if output is not None:
        with atomic_write(Path(output)) as stream:
            stream.write(result.map)
        call.note(f"Wrote {output}.")
    call.show(result, _inspected)
    if any(file.error is not None and not file.columns for file in result.files):
        sys.exit(InvalidDataError.exit_code)


@data.command(example="hubspoke data formats shopify")
@click.argument("name", required=False)
def formats(call: Call, name: str | None) -> None:
    """Formats that are recognised by their columns, and where each is exported; with NAME what is read from where."""
    found = call.unopened().data.formats(name)
    if name is None or call.json:
        columns: Columns = {"format": "name", "holds": "kind", "what it is": "title", "exported by": "export"}
        call.show_list("formats", found, columns, "no format")
        return
    reads = [table(("column", "read from"), list(own.reads.items())) for own in found]
    heads = [f"{own.title}: {own.kind}, exported by {own.export}" for own in found]
    parts = [f"{head}\n\n{columns}" for head, columns in zip(heads, reads, strict=True)]
    call.show({"formats": found}, lambda _: "\n\n".join(parts))


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
    call.show(result, "\n".join(map(visible, lines)))


def _inspected(result: Inspection) -> str:
    """What an inspection found, file by file."""
    ids = result.ids
    parts = [_inspected_file(file) for file in result.files]
    if ids is not None:
        lines = [
            "events and catalog",
            f"  {ids['events_in_catalog']} events are on items of the catalog, {ids['events_not_in_catalog']} are not",
            f"  {ids['items_with_events']} of {ids['items']} items have events",
        ]
        lines += [f"  {ids['proposal']}"] if ids["proposal"] else []
        lines += [
            f"  {share:.0%} of the events' ids are in column {name} of the catalog: --map item_id={name}"
            for name, share in ids["catalog_columns"].items()
        ]
        parts.append("\n".join(map(visible, lines)))
    return "\n\n".join(parts)


def _inspected_file(file: FileInspection) -> str:
    head = f"{file.file}: {file.kind} ({file.because}), {file.rows} rows" + (
        f", read as {file.format}" if file.format else ""
    )
    rows = [(own.name, own.type, own.missing, own.distinct, ", ".join(own.samples)) for own in file.columns]
    parts = [visible(head)]
    if rows:
        parts.append(table(("column", "type", "missing", "distinct", "samples"), rows))
    reasons = file.reasons
    lines = [f"{name} <- {source} ({reasons.get(name, '')})" for name, source in file.mapping.items()]
    lines += [f"{own['severity']}: {own['count']} x {own['code']}: {own['message']}" for own in file.problems]
    lines += [f"note: {note}" for note in file.notes]
    lines += [f"cannot be used as it is: {file.error}"] if file.error and not file.problems else []
    parts.append("\n".join(map(visible, lines)))
    if file.facts:
        parts.append(f"in the {file.kept} rows that can be read\n" + facts(_fact(*own) for own in file.facts.items()))
    return "\n\n".join(filter(None, parts))


def _fact(name: str, value: Any) -> tuple[str, object]:
    if name == "languages":
        value = (
            ", ".join(f"{own} {share:.0%}" for own, share in value.items()) + " (guessed from script and short words)"
        )
    elif name == "prices":
        value = "; ".join(
            "{items} in {currency}: {lowest:g} to {highest:g}, median {median:g}".format_map(own) for own in value
        )
    elif isinstance(value, dict):
        value = ", ".join(f"{own} {count}" for own, count in value.items())
    return name.replace("_", " "), value or (0 if isinstance(value, int | float) else "-")
