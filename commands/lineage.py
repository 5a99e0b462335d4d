"""`hubspoke lineage`: what a version was made from, or what was made from it, as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from .call import Call, command_options

if TYPE_CHECKING:
    from ..registry.lineage import LineageTree
    from ..registry.records import EdgeRecord


@click.group()
def lineage() -> None:
    """Lineage: how each version came from the others."""


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
    call.show({"lineage": tree}, lambda: "\n".join(lines(tree)))


def lines(tree: LineageTree) -> list[str]:
    """The tree as indented lines."""
    return [tree.node.ref, *_below(tree, "")]


def _below(tree: LineageTree, indent: str) -> Iterator[str]:
    for i, child in enumerate(tree.children):
        last = i == len(tree.children) - 1
        repeated = "  (shown above)" if child.repeated else ""
        yield f"{indent}{'└─ ' if last else '├─ '}{child.node.ref}  {_said(child.edges)}{repeated}"
        yield from _below(child, indent + ("   " if last else "│  "))


def _said(edges: tuple[EdgeRecord, ...]) -> str:
    return ", ".join(f"{e.relation.replace('_', ' ')}{f' ({e.part})' if e.part else ''}" for e in edges)
