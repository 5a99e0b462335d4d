"""`hubspoke launch`: a new category from its catalog to its first recommendations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ..files import atomic_write
from .call import Call, Noun
from .domain import ingested
from .models import dict_table
from .options import (
    Files,
    choice,
    config_options,
    dry_run,
    how_many,
    ingest_options,
    read_config,
    read_options,
    table_files,
)
from .output import facts, table
from .recommend import recommended

if TYPE_CHECKING:
    from ..workflows.launch_reports import LaunchReport


class _Launch(Noun):
    """`launch NAME` is short for `launch new NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A first word that is no command of the group is the name of a category, or an option of `new`."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["new", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Launch)
def launch() -> None:
    """A new category from its catalog to its first recommendations, and what serves it kept up to date.

    `hubspoke launch garden --catalog FILE` is short for `hubspoke launch new garden --catalog FILE`.
    """


@launch.command(example="hubspoke launch new garden --catalog garden/items.csv --images garden/photos")
@click.argument("name")
@table_files("--catalog", "Catalog: CSV, TSV, JSON, XML or Parquet.", required=True)
@table_files("--events", "Events, where there are any yet.")
@click.option("--hub", metavar="REF", help="Hub version (default: hub@live).")
@how_many(10, "Recommendations to show.")
@ingest_options
@config_options
@dry_run
def new(
    call: Call,
    /,
    name: str,
    catalog: str | list[str],
    config: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    **given: Any,
) -> None:
    """Launch a category: add its data, embed it, index it, train where there are events, and recommend.

    Every step that was done before is reused; a killed launch is gone on with by the same command.
    """
    launch, asked = call.new_workspace(dry_run).launch, (name, catalog, given.pop("events"))
    result = launch(*asked, config=read_config(config, settings), dry_run=dry_run, **read_options(given))
    head = facts((name, getattr(result, name)) for name in ("domain", "mode", "release", "seconds"))
    taken = map(ingested, filter(None, (result.items, result.events)))
    shown = map(recommended, result.recommendations)
    call.show(result, lambda _: "\n\n".join([head, dict_table(result.steps), *taken, *shown]))


@launch.command(example="hubspoke launch refresh garden --catalog garden/items.csv --events garden/events.csv")
@click.argument("domain")
@table_files("--catalog", "Newer catalog, ingested first.")
@table_files("--events", "Newer events, ingested first.")
@choice("--retrain", ("due", "always", "never"), "Train a new spoke where it is due, always, or never.")
@ingest_options
@config_options
@dry_run
def refresh(
    call: Call,
    /,
    domain: str,
    catalog: Files,
    events: Files,
    retrain: Literal["due", "always", "never"],
    config: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    **given: Any,
) -> None:
    """Bring what serves a category up to its newest data. Made to be run by a scheduler: repeated, it does nothing.

    The live index is extended by the newest catalog. A new spoke is due where none serves yet, where the live hub has
    moved on, or where events have grown by a tenth. It goes live if it ranks the newest events as well as what is live
    or better, and meets the gate; else the command ends with 3 and what was live stays.
    """
    result = call.workspace().refresh(
        domain,
        catalog,
        events,
        retrain=retrain,
        config=read_config(config, settings),
        dry_run=dry_run,
        **read_options(given),
    )
    names = ("domain", "before", "after", "due", "retrained", "why", "seconds")
    head = facts([*((name, getattr(result, name)) for name in names), ("judged", result.judged and str(result.judged))])
    taken = map(ingested, filter(None, (result.items, result.events)))
    call.show(result, lambda _: "\n\n".join([head, dict_table(result.steps), *taken]))


@launch.command(example="hubspoke launch report garden -o report.html")
@click.argument("ref")
@click.option("-o", "--output", metavar="FILE", help="Write the report as one HTML page, pictures included.")
def report(call: Call, ref: str, output: str | None) -> None:
    """What a launch did: the clock, what was read, what the embeddings are like, samples, what to do next.

    REF is a category, for what is live there, or a release.
    """
    stored = call.workspace().launch_report(ref)
    if output is not None:
        from ..reports.launch import launch_page

        with atomic_write(Path(output)) as stream:
            stream.write(launch_page(stored))
        call.note(f"Wrote {output}.")
    call.show(stored.report, _reported)


def _reported(report: LaunchReport) -> str:
    shares = facts((name, f"{share:.0%}") for name, share in report.coverage.items())
    checks = table(
        ("check", "ok", "found"), [(one.name, one.ok, one.says) for one in report.space], "no content is read"
    )
    head = facts((name, getattr(report, name)) for name in ("domain", "release", "mode", "at", "seconds", "gate"))
    return "\n\n".join([head, dict_table(report.steps), shares, checks, "\n".join(report.next_steps)])
