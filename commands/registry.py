"""`hubspoke registry`: questions in SQL, and the schema."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .call import Call, command_options
from .options import dry_run
from .output import facts, table

if TYPE_CHECKING:
    from ..registry.query import QueryResult


@click.group()
def registry() -> None:
    """The registry: the SQL database that knows every version and how it was made."""


@registry.command()
@click.argument("query")
@click.option("--csv", "as_csv", is_flag=True, help="Write the rows as CSV.")
@command_options
def sql(call: Call, query: str, as_csv: bool) -> None:
    """Answer one SQL statement. The database lets it read only.

    \b
    Example:
      hubspoke registry sql "SELECT ref, kind, created_at FROM nodes" --csv
    """
    if as_csv and call.json:
        raise UsageError("--csv and --json are two forms of the same rows; give one of them.")
    result = call.workspace().sql(query)
    rows = {"columns": list(result.columns), "rows": [dict(row) for row in result.to_dicts()]}
    call.show(rows, lambda: _csv(result) if as_csv else table(result.columns, result.rows, "no rows"))


@registry.command()
@dry_run
@command_options
def upgrade(call: Call, dry_run: bool) -> None:
    """Bring the registry's schema to this version, or make the registry where there is none.

    \b
    Example:
      hubspoke registry upgrade
    """
    result = call.unopened().init(dry_run)
    verb = "is already" if result.cached else "would go" if dry_run else "went"
    way = f"at {result.schema}" if result.cached else f"from {result.before or 'nothing'} to {result.schema}"
    call.show(result, lambda: f"The schema of {result.registry} {verb} {way}.")


@registry.command()
@command_options
def current(call: Call) -> None:
    """The registry's schema and the one that this version needs.

    \b
    Example:
      hubspoke registry current --json
    """
    schema = call.unopened().schema()
    call.show(schema, lambda: facts(list(schema.to_dict().items())))


def _csv(result: QueryResult) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows(result.rows)
    return text.getvalue().rstrip("\n")
