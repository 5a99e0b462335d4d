"""`hubspoke registry`: questions in SQL, and the schema."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ..errors import UsageError
from .answers import csv_text, exact, table_value
from .call import Call, Noun
from .options import dry_run
from .output import records_table, table


@click.group(cls=Noun)
def registry() -> None:
    """The registry: the SQL database that knows every version and how it was made."""


@registry.command(
    example=(
        'hubspoke registry sql "SELECT ref, kind, created_at FROM nodes" --csv',
        'hubspoke registry sql "SELECT domain, live, hub FROM v_domains" --limit 20',
    )
)
@click.argument("query")
@click.option("--csv", "as_csv", is_flag=True, help="Write the rows as CSV.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most this many rows (default: all).")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop the statement after this time.",
)
def sql(call: Call, query: str, as_csv: bool, limit: int | None, timeout: float) -> None:
    """Answer one SQL statement. The database lets it read only.

    `hubspoke registry schema` lists the views that keep their names and columns from release to release; the tables
    behind them may change.
    """
    if as_csv and call.json:
        raise UsageError("--csv and --json are two forms of the same rows; give one of them.")
    result = call.workspace().sql(query, limit, timeout)
    rows = {"columns": list(result.columns), "rows": [exact(row) for row in result.to_dicts()]}
    if as_csv:
        call.show(rows, csv_text(result.columns, result.rows), exact=True)
    else:
        cells = [[table_value(value) for value in row] for row in result.rows]
        call.show(rows, lambda _: table(result.columns, cells, "no rows"))


@registry.command(example=("hubspoke registry schema", "hubspoke registry schema v_models v_metrics --json"))
@click.argument("views", nargs=-1)
def schema(call: Call, views: tuple[str, ...]) -> None:
    """The views that questions in SQL may rely on, or those named: columns, types and what they mean."""
    from ..registry.views import find_views

    found = find_views(views)
    columns = {"column": "name", "type": "type", "meaning": "meaning"}
    texts = (f"{view.name}: {view.meaning}\n{records_table(view.columns, columns)}" for view in found)
    call.show({"views": found}, lambda _: "\n\n".join(texts))


@registry.command(example="hubspoke registry backup registry-monday.db")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@dry_run
def backup(call: Call, file: Path, force: bool, dry_run: bool) -> None:
    """Write a consistent copy of the registry to FILE, also while others write to the registry.

    FILE is an SQLite registry whatever database the registry is in: --registry opens it by the URL that is printed.
    Artifacts are not in it.
    """
    made = call.unopened().backup(file, force, dry_run)
    done, size = ("would be copied", "") if dry_run else ("copied", f", {made.bytes:,} bytes")
    call.show(
        made,
        f"{sum(made.rows.values()):,} rows of {made.registry} {done} to {made.file} (schema {made.schema}{size}).\n"
        f"Artifacts are not in it: copy {made.artifacts} too, or use `hubspoke bundle export`.\n"
        f"`--registry {shlex.quote(made.url)}` opens it.",
    )


@registry.command(example="hubspoke registry restore registry-monday.db --workspace restored --yes")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be copied and change nothing (as without --yes).")
@click.option("--yes", is_flag=True, help="Copy it.")
def restore(call: Call, file: Path, dry_run: bool, yes: bool) -> None:
    """Copy a backup into this workspace's registry, which must be missing or without rows."""
    if dry_run and yes:
        raise UsageError("--dry-run changes nothing and --yes copies; give one of the two.")
    made = call.unopened().restore(file, dry_run=not yes)
    done = "copied" if yes else "would be copied"
    way = "" if made.before == made.schema else f", brought from schema {made.before}"
    call.show(
        made,
        f"{sum(made.rows.values()):,} rows of {made.file} {done} to {made.registry} (schema {made.schema}{way}).\n"
        f"Artifacts are not in it: {made.artifacts} must hold those of the registry that was backed up.",
    )
    if not yes:
        call.note("Nothing was changed; `--yes` restores it.")


@registry.command(example="hubspoke registry adopt --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what the store holds and change nothing (as without --yes).")
@click.option("--yes", is_flag=True, help="Take it over.")
def adopt(call: Call, dry_run: bool, yes: bool) -> None:
    """Let the artifacts of the store belong to this registry, whichever they belonged to.

    From then on `hubspoke gc` here removes what this registry does not know, and the registry that they belonged to may
    no longer write to the store.
    """
    if dry_run and yes:
        raise UsageError("--dry-run changes nothing and --yes takes over; give one of the two.")
    result = call.workspace().adopt(dry_run=not yes)
    what = f"the {result.known + result.unknown} artifacts in {result.store}, {result.unknown} of them unknown to it"
    if result.cached:
        call.show(result, f"{result.registry} owns {what}, already.")
        return
    call.show(result, f"{result.registry} {'owns' if yes else 'would own'} {what} ({result.unknown_bytes:,} bytes).")
    if not yes:
        call.note("Nothing was changed; `--yes` takes it over.")


@registry.command(example="hubspoke registry upgrade")
@dry_run
def upgrade(call: Call, dry_run: bool) -> None:
    """Bring the registry's schema to this version, or make the registry where there is none."""
    result = call.unopened().init(dry_run)
    verb = "is already" if result.cached else "would go" if dry_run else "went"
    way = f"at {result.schema}" if result.cached else f"from {result.before or 'nothing'} to {result.schema}"
    call.show(result, f"The schema of {result.registry} {verb} {way}.")


@registry.command(example="hubspoke registry current --json")
def current(call: Call) -> None:
    """The registry's schema and the one that this version needs."""
    call.show(call.unopened().schema())
