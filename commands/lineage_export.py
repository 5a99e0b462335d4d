"""`hubspoke lineage export`: how everything was made, in the form that other lineage tools read."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import MissingExtraError
from .call import Call, command_options


@click.command()
@click.argument("refs", metavar="[REF]...", nargs=-1)
@click.option("--openlineage", is_flag=True, default=True, help="As OpenLineage run events: the one form so far.")
@click.option("--output", metavar="FILE", help="Write the events to FILE instead of stdout.")
@command_options
def export(call: Call, refs: tuple[str, ...], openlineage: bool, output: str | None) -> None:
    """Every run upstream of REF..., or of the whole registry: ingests, trainings, index builds, evaluations, releases.

    \b
    Example:
      hubspoke lineage export garden --output garden.ndjson
    """
    try:
        from ..workflows.openlineage import export as export_events
        from ..workflows.openlineage import line, run_events
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Exporting lineage needs OpenLineage's client; install it with `pip install 'hubspoke[openlineage]'`."
        ) from error
    workspace = call.workspace()
    if output is None and not call.json:
        # One by one: the events of a large registry do not fit on a screen, nor all in memory as text.
        call.progress.close()
        for event in run_events(workspace, refs):
            click.echo(line(event))
        return
    result = export_events(workspace, refs, None if output is None else Path(output))
    call.show(result, lambda: f"{result.n_events} events are in {result.output}.")
