"""`hubspoke launch`: a new category from its catalog to its first recommendations."""

from __future__ import annotations

from typing import Any

import click

from .call import Call, command
from .models import dict_table
from .options import config_options, dry_run, how_many, ingest_options, read_config, read_options
from .output import facts
from .recommend import recommended


@command(example="hubspoke launch garden --catalog garden/items.csv --images garden/photos")
@click.argument("name")
@click.option("--catalog", required=True, metavar="FILE", help="Catalog: CSV, TSV, JSON Lines or Parquet.")
@click.option("--events", metavar="FILE", help="Events, where there are any yet.")
@click.option("--hub", metavar="REF", help="Hub version (default: hub@live).")
@how_many(10, "Recommendations to show.")
@ingest_options
@config_options
@dry_run
def launch(
    call: Call, /, name: str, catalog: str, config: str | None, settings: tuple[str, ...], dry_run: bool, **given: Any
) -> None:
    """Launch a category: add its data, embed it, index it, train where there are events, and recommend.

    Every step that was done before is reused; a killed launch is gone on with by the same command.
    """
    launch, asked = call.new_workspace(dry_run).launch, (name, catalog, given.pop("events"))
    result = launch(*asked, config=read_config(config, settings), dry_run=dry_run, **read_options(given))
    head = facts((name, getattr(result, name)) for name in ("domain", "mode", "release", "seconds"))
    shown = map(recommended, result.recommendations)
    call.show(result, lambda _: "\n\n".join([head, dict_table(result.steps), *shown]))
