"""`hubspoke lineage`: what a version was made from, or what was made from it, as a tree."""

from __future__ import annotations

import click

from ..workflows.lineage import tree_lines
from .call import Call, command_options
from .lineage_export import export


@click.group()
def lineage() -> None:
    """Lineage: how each version came from the others."""


lineage.add_command(export)


@lineage.command()
@click.argument("ref")
@click.option("--downstream", is_flag=True, help="What was made from REF instead of what it was made from.")
@click.option("--domains", is_flag=True, help="Show the category under every snapshot too.")
@command_options
def show(call: Call, ref: str, downstream: bool, domains: bool) -> None:
    """The lineage of a release, version, index or snapshot as a tree.

    \b
    Example:
      hubspoke lineage show garden
      hubspoke lineage show snapshot:garden/events/3 --downstream
    """
    tree = call.workspace().lineage.show(ref, "downstream" if downstream else "upstream", domains)
    call.show({"lineage": tree}, lambda: "\n".join(tree_lines(tree)))
